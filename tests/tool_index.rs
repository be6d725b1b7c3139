//! `c4c index` and `c4c search`: what goes into an index comes out of it, and nothing that happens meanwhile harms it.
#![cfg(feature = "tool")]

#[path = "tool_index/shelf.rs"]
mod shelf;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use c4c::{Call, Model, Source, VideoOptions};
use rusqlite::Connection;
use serde_json::Value;
use shelf::{lines, text, Shelf};
use support::checkpoint::{mix, Writer, TINY};

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn embed(model: &Model, path: &Path) -> Vec<f32> {
    model.embed_video_path(path, &VideoOptions::default(), &Call::default()).unwrap().to_vec()
}

/// Sends a signal by the system's command.
fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn what_is_indexed_is_found() {
    let shelf = Shelf::new();
    let clips = shelf.clips(4);
    shelf.copies(10, &clips);
    let odd = shelf.path("videos").join(OsStr::from_bytes(b"odd\xff\n.MP4"));
    std::fs::copy(&clips[1], &odd).unwrap();
    std::fs::create_dir(shelf.path("videos/.hidden")).unwrap();
    std::fs::copy(&clips[0], shelf.path("videos/.hidden/0.mp4")).unwrap();
    std::fs::copy(&clips[0], shelf.path("videos/.0.mp4")).unwrap();
    std::fs::write(shelf.path("videos/notes.txt"), "no video").unwrap();
    std::fs::write(shelf.path("videos/code.ts"), "let x: number = 1;").unwrap();
    std::fs::write(shelf.path("videos/bad.mp4"), "no video").unwrap();

    // All but the bad one, which is told.
    let (told, summary) = shelf.index(&[]);
    assert_eq!((&summary["indexed"], &summary["failed"], &summary["vectors"]), (&11.into(), &1.into(), &11.into()));
    let failed: Vec<&Value> = told.iter().filter(|line| line["state"] == "failed").collect();
    assert!(failed.len() == 1 && failed[0]["path"].as_str().unwrap().ends_with("videos/bad.mp4"), "{failed:?}");
    assert!(failed[0]["error"].as_str().unwrap().contains("no media file"));
    shelf.sound();

    // The scores are the dot products of the library's own vectors, the best first.
    let model = shelf.model();
    let hits = shelf.search(&["a red ball", "two blue squares", "-k", "20"]);
    assert_eq!(hits.len(), 22);
    for (query, hits) in ["a red ball", "two blue squares"].iter().zip(hits.chunks(11)) {
        let words = model.embed_text(&[query], &Call::default()).unwrap().row(0).to_vec();
        for (hit, rank) in hits.iter().zip(1..) {
            assert_eq!(
                (&hit["query"], &hit["rank"], &hit["state"]),
                (&(*query).into(), &rank.into(), &"present".into())
            );
            let path = match hit["path_hex"].as_str() {
                Some(hex) => {
                    assert_eq!(hex, odd.as_os_str().as_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>());
                    odd.clone()
                }
                None => hit["path"].as_str().unwrap().into(),
            };
            let (score, expected) = (hit["score"].as_f64().unwrap(), dot(&words, &embed(&model, &path)));
            assert!((score - expected).abs() < 1e-5, "{}: {score}, expected {expected}", path.display());
            assert_eq!((&hit["start"], &hit["end"]), (&0.0.into(), &1.0.into()));
        }
        let scores: Vec<f64> = hits.iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    }

    // People get a table, without what would break a line.
    let output = shelf.run(&["search", "a red ball", "-k", "11"]);
    let table = text(&output.stdout);
    assert_eq!(table.lines().count(), 12, "{table}");
    assert!(table.contains("  odd\u{fffd}\\n.MP4") && table.contains("0:00:00-0:00:01"), "{table}");
    assert!(text(&output.stderr).contains("searched 11 vectors in"), "{}", text(&output.stderr));

    // From standard input, one a line.
    let mut child = shelf.tool(&["search", "-", "--json", "-k", "1"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"a red ball\n\ntwo blue squares\n").unwrap();
    let queried = lines(&child.wait_with_output().unwrap().stdout);
    assert_eq!(queried, [hits[0].clone(), hits[11].clone()]);
}

#[test]
fn what_changes_is_embedded_again_and_nothing_else() {
    let shelf = Shelf::new();
    let clips = shelf.clips(3);
    shelf.copies(6, &clips[..2]);
    std::fs::write(shelf.path("videos/bad.mp4"), "no video").unwrap();
    shelf.index(&[]);
    let before = shelf.vectors();

    let (told, summary) = shelf.index(&[]);
    assert!(told.is_empty(), "{told:?}");
    assert_eq!((&summary["unchanged"], &summary["known_bad"], &summary["failed"]), (&6.into(), &1.into(), &0.into()));

    // Of another content and time; the bad one is good now, another has become bad, and one is gone.
    std::fs::copy(&clips[2], shelf.path("videos/0/1.mp4")).unwrap();
    std::fs::copy(&clips[2], shelf.path("videos/bad.mp4")).unwrap();
    std::fs::write(shelf.path("videos/0/2.mp4"), "damaged").unwrap();
    std::fs::remove_file(shelf.path("videos/0/0.mp4")).unwrap();
    let states: BTreeMap<String, String> = shelf
        .search(&["words"])
        .iter()
        .map(|hit| {
            (hit["path"].as_str().unwrap().rsplit('/').next().unwrap().into(), hit["state"].as_str().unwrap().into())
        })
        .collect();
    assert_eq!(
        (states["0.mp4"].as_str(), states["1.mp4"].as_str(), states["3.mp4"].as_str()),
        ("missing", "changed", "present")
    );
    let (told, summary) = shelf.index(&[]);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!((&summary["indexed"], &summary["failed"], &summary["gone"]), (&2.into(), &1.into(), &1.into()));
    let after = shelf.vectors();
    let new = embed(&shelf.model(), &clips[2]);
    assert!(support::distance(&after[Path::new("0/1.mp4")][0], &new) < 1e-6);
    assert!(support::distance(&before[Path::new("0/1.mp4")][0], &new) > 1e-5);
    assert_eq!(after[Path::new("bad.mp4")], [new]);
    assert!(after[Path::new("0/2.mp4")].is_empty());
    for name in ["0/0.mp4", "0/3.mp4", "0/4.mp4", "0/5.mp4"] {
        assert_eq!(before[Path::new(name)], after[Path::new(name)], "{name}");
    }
    shelf.sound();

    // What failed is tried again where that is asked for, and what is gone is dropped, of the named folder alone.
    assert_eq!(shelf.index(&["--retry"]).1["failed"], 1);
    std::fs::create_dir(shelf.path("other")).unwrap();
    std::fs::copy(&clips[0], shelf.path("other/0.mp4")).unwrap();
    let elsewhere = shelf.run(&["index", "../other", "--prune", "--json"]);
    assert_eq!(lines(&elsewhere.stdout).last().unwrap()["summary"]["dropped"], 0);
    let (told, summary) = shelf.index(&["--prune"]);
    assert_eq!((told.len(), &told[0]["state"], &summary["dropped"]), (1, &"dropped".into(), &1.into()));
    assert!(!shelf.vectors().contains_key(Path::new("0/0.mp4")));
    assert!(shelf.vectors().contains_key(&shelf.path("other/0.mp4")), "outside of the index's folder: absolute");
    shelf.sound();

    // The index and the videos beside it move together.
    std::fs::create_dir(shelf.path("up")).unwrap();
    std::fs::rename(shelf.path("videos"), shelf.path("up/videos")).unwrap();
    let library = shelf.path("up/videos/library.db");
    std::fs::create_dir(shelf.path("videos")).unwrap();
    let hits = shelf.search(&["words", "-i", library.to_str().unwrap()]);
    assert_eq!(hits.len(), 6);
    assert!(hits.iter().all(|hit| hit["state"] == "present"), "{hits:?}");
}

#[test]
fn long_videos_are_windows() {
    let shelf = Shelf::new();
    let film = shelf.film("videos/film.mp4");
    std::fs::copy(&shelf.clips(1)[0], shelf.path("videos/clip.mp4")).unwrap();
    let (told, _) = shelf.index(&["--segment", "20", "--step", "15"]);
    let segments: BTreeSet<i64> = told.iter().map(|line| line["segments"].as_i64().unwrap()).collect();
    assert_eq!(segments, BTreeSet::from([1, 5]));
    let model = shelf.model();
    let window = (20_000_000, 15_000_000);
    let own = model.embed_segments(Source::Path(&film), &VideoOptions::default(), window, &Call::default()).unwrap();
    for (row, vector) in own.vectors.rows().into_iter().zip(&shelf.vectors()[Path::new("film.mp4")]) {
        assert!(support::distance(&row.to_vec(), vector) < 1e-6);
    }
    let hits = shelf.search(&["words", "--per-video", "3"]);
    let of_film: Vec<&Value> = hits.iter().filter(|hit| hit["path"].as_str().unwrap().ends_with("film.mp4")).collect();
    assert_eq!((hits.len(), of_film.len()), (4, 3));
    for hit in of_film {
        let times = own.times_us.iter().map(|&(start, end)| (start as f64 / 1e6, end as f64 / 1e6));
        let found = times.zip(own.vectors.rows()).find(|((start, _), _)| hit["start"].as_f64() == Some(*start));
        let ((_, end), row) = found.unwrap();
        let words = model.embed_text(&["words"], &Call::default()).unwrap();
        assert!((hit["score"].as_f64().unwrap() - f64::from(words.row(0).dot(&row))).abs() < 1e-5);
        assert_eq!(hit["end"].as_f64(), Some(end));
    }
    assert_eq!(shelf.search(&["words"]).len(), 2, "the best of each");

    // What is not said stays, and what is said must be the same.
    assert_eq!(shelf.index(&[]).1["unchanged"], 2);
    assert_eq!(shelf.index(&["--segment", "20", "--step", "15"]).1["unchanged"], 2);
    shelf.fails(&["index", ".", "--segment", "20"], "windows of 20 s every 15 s, not windows of 20 s every 20 s");
    shelf.fails(&["index", ".", "--whole"], "not one vector for each video; leave out --whole");
    shelf.fails(&["index", ".", "--num-frames", "8"], "12 frames a vector, not 8; leave out --num-frames");
    shelf.fails(&["index", ".", "--rotate"], "leave out --rotate");
}

#[test]
fn more_results_than_sqlite_vec_gives_at_once() {
    const MANY: i64 = 9000;
    let shelf = Shelf::new();
    let clips = shelf.clips(2);
    shelf.copies(2, &clips);
    shelf.index(&["--whole"]);
    // One of the two gets thousands of windows, which fit better than the other video.
    let words = shelf.model().embed_text(&["words"], &Call::default()).unwrap().row(0).to_vec();
    let db = shelf.db();
    db.execute_batch("BEGIN").unwrap();
    for i in 0..MANY {
        db.execute("INSERT INTO segments VALUES (?, 1, ?, ?)", [i + 100, i + 100, i + 101]).unwrap();
        // Many are at one distance.
        let level = mix(i as u64) % 3000;
        let near = words.iter().enumerate().map(|(d, v)| v + (level * d as u64 % 7) as f32 * 1e-5);
        let bytes: Vec<u8> = near.flat_map(f32::to_le_bytes).collect();
        db.execute("INSERT INTO vectors (rowid, embedding) VALUES (?, ?)", rusqlite::params![i + 100, bytes]).unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
    assert_eq!(shelf.search(&["words", "-k", "2"]).len(), 2, "behind all the windows of one comes the other");
    for (k, expected) in [(4096, 4096), (6000, 6000), (20000, 9002)] {
        let hits = shelf.search(&["words", "-k", &k.to_string(), "--per-video", "1000000"]);
        assert_eq!(hits.len(), expected);
        let scores: Vec<f64> = hits.iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b));
        let which: BTreeSet<String> = hits.iter().map(|hit| format!("{}{}", hit["path"], hit["start"])).collect();
        assert_eq!(which.len(), expected, "none twice");
    }
}

#[test]
fn an_index_belongs_to_its_model() {
    let shelf = Shelf::new();
    let clips = shelf.clips(2);
    shelf.copies(2, &clips);
    shelf.index(&["--precision", "f32"]);
    Writer::new(&TINY, 2).torch_save(&shelf.path("other.bin"), "");
    shelf.fails(&["search", "words", "--model", "../other.bin"], "was made with another model: the cosine");
    shelf.fails(&["index", ".", "--model", "../other.bin"], "tiny.bin; name that one with --model");
    // Also where there is something to do.
    std::fs::copy(&clips[0], shelf.path("videos/new.mp4")).unwrap();
    shelf.fails(&["index", ".", "--model", "../other.bin"], "was made with another model");
    assert_eq!(shelf.vectors().len(), 2);
    // The same model in another precision, from another place.
    std::fs::rename(shelf.path("tiny.bin"), shelf.path("moved.bin")).unwrap();
    shelf.fails(&["search", "words"], "tiny.bin; name with --model where the one is");
    shelf.fails(&["index", "."], "there is no checkpoint");
    let moved = shelf.run(&["index", ".", "--model", "../moved.bin", "--precision", "int8"]);
    assert!(moved.status.success(), "{}", text(&moved.stderr));
    assert_eq!(shelf.search(&["words", "--model", "../moved.bin", "--precision", "bf16"]).len(), 3);
}

#[test]
fn what_cannot_be_is_said() {
    let shelf = Shelf::new();
    shelf.fails(&["search", "words"], "there is no index library.db");
    shelf.fails(&["index", ".", "--model", "../tiny.bin"], "there are no videos");
    assert!(!shelf.path("videos/library.db").exists());
    shelf.fails(&["index", "nowhere"], "nowhere: no such file");
    std::fs::copy(&shelf.clips(1)[0], shelf.path("videos/0.mp4")).unwrap();
    shelf.fails(&["index", ".", "--model", "../tiny.bin", "-o", "/proc/library.db"], "name another place");
    shelf.fails(&["index", ".", "--model", "../none.bin"], "none.bin");
    let notes = "not a database, but long enough to be taken for one".repeat(50);
    std::fs::write(shelf.path("videos/notes.db"), notes).unwrap();
    shelf.fails(&["search", "words", "-i", "notes.db"], "is no index of c4c");
    std::fs::write(shelf.path("videos/empty.db"), "").unwrap();
    shelf.fails(&["search", "words", "-i", "empty.db"], "empty.db holds no index yet");
    shelf.fails(&["index", ".", "-o", "nowhere/library.db"], "there is no folder nowhere");
    shelf.fails(&["index", ".", "-o", "notes.db"], "is no index of c4c");
    Connection::open(shelf.path("videos/other.db")).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    shelf.fails(&["index", ".", "-o", "other.db"], "is no index of c4c");
    shelf.index(&[]);
    shelf.db().execute_batch("PRAGMA user_version = 99").unwrap();
    shelf.fails(&["search", "words"], "version 99");
    assert_eq!(shelf.run(&["search", "words", "-k", "0"]).status.code(), Some(2));
    assert_eq!(shelf.run(&["index"]).status.code(), Some(2));
}

#[test]
fn an_interrupt_loses_nothing_and_one_writes_at_a_time() {
    let shelf = Shelf::new();
    let clips = shelf.clips(3);
    shelf.copies(9, &clips);
    shelf.film("videos/slow.mp4");
    // Thousands of windows: it is at work until it is told to end.
    let args = ["index", ".", "--json", "--model", "../tiny.bin", "--segment", "20", "--step", "0.002"];
    // What runs in the background of a script has interrupts ignored, and so have these tests there.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(env!("CARGO_BIN_EXE_c4c")).args(args).current_dir(shelf.path("videos"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&told.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["state"], "indexed");
    // A second one is refused, and what is there can be searched.
    shelf.fails(&args, "another program is writing to it");
    assert!(!shelf.search(&["words"]).is_empty());
    signal(&child, "-INT");
    let told: Vec<Value> = told.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("of 10 files; the same command goes on from here"),
        "{}",
        text(&output.stderr)
    );
    let done = told.last().unwrap()["summary"]["indexed"].as_u64().unwrap();
    assert!((1..10).contains(&done), "{done}");
    shelf.sound();
    assert_eq!(shelf.vectors().len() as u64, done);
    assert!(!shelf.vectors().contains_key(Path::new("slow.mp4")));
    std::fs::remove_file(shelf.path("videos/slow.mp4")).unwrap();
    let (told, summary) = shelf.index(&[]);
    assert_eq!((told.len() as u64, &summary["unchanged"], &summary["videos"]), (9 - done, &done.into(), &9.into()));
    shelf.sound();
}

/// As under nohup: what whoever started it has had ignored stays so.
#[test]
fn a_hangup_that_is_ignored_ends_nothing() {
    let shelf = Shelf::new();
    shelf.copies(4, &shelf.clips(2));
    shelf.film("videos/slow.mp4");
    let index = format!(
        "trap '' HUP; exec {} index . --json --model ../tiny.bin --segment 20 --step 0.05",
        env!("CARGO_BIN_EXE_c4c")
    );
    let mut shell = Command::new("sh");
    let mut child =
        shell.args(["-c", &index]).current_dir(shelf.path("videos")).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    told.next().unwrap().unwrap();
    signal(&child, "-HUP");
    let told: Vec<Value> = told.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(child.wait().unwrap().success());
    assert_eq!(told.last().unwrap()["summary"]["indexed"], 5);
}

/// A kill in the first commit leaves a file of which nothing counts, and the journal that says so.
#[test]
fn an_index_that_was_never_finished_is_begun_anew() {
    let shelf = Shelf::new();
    shelf.copies(1, &shelf.clips(1));
    let db = Connection::open(shelf.path("half.db")).unwrap();
    let written = "PRAGMA cache_size = 1; BEGIN IMMEDIATE; CREATE TABLE t (x);
        INSERT INTO t SELECT randomblob(4000) FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8));";
    db.execute_batch(written).unwrap();
    for name in ["half.db", "half.db-journal"] {
        std::fs::copy(shelf.path(name), shelf.path(name.replace("half", "videos/library"))).unwrap();
    }
    assert!(std::fs::metadata(shelf.path("videos/library.db")).unwrap().len() > 0);
    let (told, _) = shelf.index(&[]);
    assert_eq!(told.len(), 1);
    shelf.sound();
}

/// `C4C_KILL_FILES` and `C4C_KILLS` make more of it.
#[test]
fn kills_lose_nothing_and_double_nothing() {
    let number = |name: &str, default: usize| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    let (files, kills) = (number("C4C_KILL_FILES", 120), number("C4C_KILLS", 5));
    let shelf = Shelf::new();
    let clips = shelf.clips(5);
    shelf.copies(files, &clips);
    let mut told = BTreeSet::new();
    let tell = |told: &mut BTreeSet<PathBuf>, line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(path) = line["path"].as_str() {
            assert_eq!(line["state"], "indexed", "{line}");
            assert!(told.insert(path.into()), "{path} was embedded twice");
        }
    };
    for kill in 0..kills {
        let mut command = shelf.tool(&["index", ".", "--json", "--model", "../tiny.bin"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // At any moment: of the start, or after some files.
        let random = mix(kill as u64) as usize;
        let (after, wait) = if kill % 3 == 2 { (0, 300) } else { (1 + random % (files / kills), 100) };
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.by_ref().take(after).for_each(|line| tell(&mut told, &line.unwrap()));
        std::thread::sleep(Duration::from_millis((random >> 32) as u64 % wait));
        child.kill().unwrap();
        // What it had said before it died; the last line may have been cut off.
        lines.map(|line| line.unwrap()).filter(|line| line.ends_with('}')).for_each(|line| tell(&mut told, &line));
        child.wait().unwrap();
        // Every other time whoever reads first sets right what the kill has left, and every other time the tool does.
        if kill % 2 == 1 && !told.is_empty() {
            shelf.sound();
            let there = shelf.vectors();
            println!("kill {kill}: {} of {files} in the index, {} told", there.len(), told.len());
            let there: BTreeSet<PathBuf> = there.into_keys().map(|path| shelf.path("videos").join(path)).collect();
            assert!(there.is_superset(&told), "lost: {:?}", told.difference(&there));
        }
    }
    let (last, summary) = shelf.index(&[]);
    last.iter().for_each(|line| tell(&mut told, &line.to_string()));
    assert_eq!((&summary["videos"], &summary["vectors"]), (&files.into(), &files.into()));
    assert_eq!(last.len() as u64 + summary["unchanged"].as_u64().unwrap(), files as u64);
    shelf.sound();
    let model = shelf.model();
    let own: Vec<Vec<f32>> = clips.iter().map(|clip| embed(&model, clip)).collect();
    let vectors = shelf.vectors();
    assert_eq!(vectors.len(), files);
    for (path, vectors) in vectors {
        let i: usize = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        assert_eq!(vectors.len(), 1, "{}", path.display());
        assert!(support::distance(&vectors[0], &own[i % clips.len()]) < 1e-6, "{}", path.display());
    }
}
