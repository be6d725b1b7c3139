//! `c4c embed`: the library's vectors, in every format, and nothing missing silently.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;

use c4c::{Call, Source, VideoOptions};
use ndarray::Array2;
use serde_json::Value;

use crate::{command, finished, run, world};

fn lines(jsonl: &[u8]) -> Vec<Value> {
    jsonl.split(|&byte| byte == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
}

fn vector(value: &Value) -> Vec<f32> {
    serde_json::from_value(value["vector"].clone()).unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_three_formats_have_the_librarys_bits() {
    let world = world();
    let (a, b) = (world.video("red.mkv"), world.video("bars.mp4"));
    let expected = [world.vector("red.mkv"), world.vector("bars.mp4")];
    let found = lines(&run(0, &[&"embed", &a, &b]).0);
    assert_eq!(found.iter().map(vector).collect::<Vec<_>>(), expected);
    assert_eq!(found[1]["path"].as_str(), b.to_str());
    assert_eq!(floats(&run(0, &[&"embed", &a, &b, &"--format", &"raw"]).0), expected.concat());
    let folder = tempfile::tempdir().unwrap();
    for (name, ending) in [("plain.npy", None), ("odd", Some("npy"))] {
        let path = folder.path().join(name);
        let mut command = command(&[&"embed", &a, &b, &"-o", &path]);
        command.args(ending.map(|ending| ["--format", ending]).iter().flatten());
        assert!(finished(0, command.output().unwrap()).0.is_empty());
        let rows: Array2<f32> = ndarray_npy::read_npy(&path).unwrap();
        assert_eq!(rows.dim(), (2, world.model.dim()));
        assert_eq!(rows.into_raw_vec_and_offset().0, expected.concat());
    }
    assert_eq!(names(folder.path()), ["odd", "plain.npy"]);
}

#[test]
fn texts_by_argument_by_file_and_from_stdin() {
    let world = world();
    let texts = ["a dog runs", "", "ein Hündchen 🐕"];
    let expected: Vec<Vec<f32>> = texts.iter().map(|text| world.text(text)).collect();
    let (found, _) = run(0, &[&"embed", &"--text", &texts[0], &texts[1], &texts[2]]);
    let found = lines(&found);
    assert_eq!(found.iter().map(vector).collect::<Vec<_>>(), expected);
    assert_eq!(found.iter().map(|line| line["text"].as_str().unwrap()).collect::<Vec<_>>(), texts);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("texts");
    std::fs::write(&path, texts.join("\r\n")).unwrap();
    assert_eq!(floats(&run(0, &[&"embed", &"--text-file", &path, &"--format", &"raw"]).0), expected.concat());
    let mut child = command(&[&"embed", &"--text-file", &"-", &"--format", &"raw"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all((texts.join("\n") + "\n").as_bytes()).unwrap();
    assert_eq!(floats(&finished(0, child.wait_with_output().unwrap()).0), expected.concat());

    std::fs::write(&path, b"good\nb\xff\n").unwrap();
    assert!(run(1, &[&"embed", &"--text-file", &path]).1.contains("line 2 is not UTF-8"));
}

#[test]
fn segments_are_the_librarys() {
    let world = world();
    let path = world.video("pattern.mp4");
    let options = VideoOptions { num_frames: 4, ..VideoOptions::default() };
    let expected =
        world.model.embed_segments(Source::Path(&path), &options, (500_000, 250_000), &Call::default()).unwrap();
    let found = run(0, &[&"embed", &path, &"--segment", &"0.5", &"--step", &"0.25", &"--num-frames", &"4"]).0;
    let found = lines(&found);
    assert!(found.len() > 2);
    let (rows, times): (Vec<_>, Vec<_>) =
        found.iter().map(|l| (vector(l), [&l["start"], &l["end"]].map(|s| s.as_f64().unwrap()))).unzip();
    assert_eq!(rows.concat(), expected.vectors.into_raw_vec_and_offset().0);
    assert_eq!(times, expected.times_us.iter().map(|t| [t.0 as f64 / 1e6, t.1 as f64 / 1e6]).collect::<Vec<_>>());
    // Rows of several videos could not be told apart.
    assert!(run(1, &[&"embed", &path, &path, &"--segment", &"0.5", &"--format", &"raw"]).1.contains("jsonl"));
}

#[test]
fn what_cannot_be_embedded_is_never_missing_silently() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    let (good, bad, none) = (world.video("red.mkv"), folder.path().join("bad.mp4"), folder.path().join("none.mp4"));
    std::fs::write(&bad, "no video").unwrap();
    let (found, stderr) = run(1, &[&"embed", &bad, &good, &none]);
    let found = lines(&found);
    assert_eq!(vector(&found[1]), world.vector("red.mkv"));
    for (i, path) in [(0, &bad), (2, &none)] {
        assert_eq!(found[i]["path"].as_str(), path.to_str());
        assert!(found[i]["error"].as_str().unwrap().contains(path.to_str().unwrap()) && found[i]["vector"].is_null());
        assert!(stderr.contains(path.to_str().unwrap()));
    }

    // What was there stays, and no half file lies beside it.
    let out = folder.path().join("out.npy");
    std::fs::write(&out, "before").unwrap();
    let (_, stderr) = run(1, &[&"embed", &bad, &good, &none, &"-o", &out]);
    assert!(stderr.contains("bad.mp4") && stderr.contains("none.mp4") && stderr.contains("--fill-nan"), "{stderr}");
    assert_eq!(std::fs::read(&out).unwrap(), b"before");
    assert_eq!(names(folder.path()), ["bad.mp4", "out.npy"]);
    assert!(run(1, &[&"embed", &bad, &good, &"--format", &"raw"]).0.is_empty());

    run(1, &[&"embed", &bad, &good, &"-o", &out, &"--fill-nan"]);
    let rows: Array2<f32> = ndarray_npy::read_npy(&out).unwrap();
    assert!(rows.row(0).iter().all(|v| v.is_nan()));
    assert_eq!(rows.row(1).to_vec(), world.vector("red.mkv"));

    // A name that is no text is found again by its bytes.
    let odd = folder.path().join(OsStr::from_bytes(b"\xff.mkv"));
    std::fs::copy(&good, &odd).unwrap();
    let found = lines(&run(0, &[&"embed", &odd]).0);
    assert!(found[0]["path_hex"].as_str().unwrap().ends_with("ff2e6d6b76"));
    assert_eq!(vector(&found[0]), world.vector("red.mkv"));
}

#[test]
fn devices_are_chosen() {
    let demo = tempfile::tempdir().unwrap();
    std::fs::write(demo.path().join("golden.json"), r#"{"texts":[],"frames":{"vector":[]},"videos":[]}"#).unwrap();
    std::fs::write(demo.path().join("captions.jsonl"), r#"{"video": "red.mkv", "caption": "red"}"#).unwrap();
    let (weights, demo) = (world().weights(), demo.path());
    let commands: [&[&dyn AsRef<OsStr>]; 3] =
        [&[&"embed", &"--text", &"a"], &[&"bench"], &[&"selftest", &"--model", &weights, &"--demo", &demo]];
    for command in commands {
        // No machine has so many, so that this holds with GPUs and without.
        let (_, stderr) = run(1, &[command, &[&"--device", &"cuda:4000"]].concat());
        let reason = stderr.strip_prefix("options.device: `cuda:4000` cannot be used: ");
        assert!(reason.is_some_and(|reason| !reason.starts_with(';')), "{stderr}");
    }
    let on_cpu = lines(&run(0, &[&"embed", &"--text", &"a", &"--device", &"cpu", &"--precision", &"f32"]).0);
    assert_eq!(vector(&on_cpu[0]).len(), world().model.dim());
    let (_, stderr) = run(1, &[&"embed", &"--text", &"a", &"--device", &"cpu", &"--precision", &"f16"]);
    assert!(stderr.contains("F16 is for GPUs"), "{stderr}");
}

#[test]
fn wrong_usage_and_closed_pipes() {
    let world = world();
    let video = world.video("red.mkv");
    run(2, &[&"embed"]);
    run(2, &[&"embed", &video, &"--text", &"a"]);
    run(2, &[&"embed", &"--text", &"a", &"--segment", &"1"]);
    run(2, &[&"selftest", &"--all-precisions", &"--precision", &"f32"]);
    run(2, &[&"bench", &"--seconds", &"nan"]);
    run(2, &[&"embed", &"--text", &"a", &"--threads", &"0"]);
    run(2, &[&"embed", &"--text", &"a", &"--max-words", &"2"]);
    for device in ["foo", "cuda:x", "cuda:0,cuda:0", ""] {
        let (_, stderr) = run(2, &[&"embed", &"--text", &"a", &"--device", &device]);
        assert!(stderr.contains("expected auto, cpu, cuda, cuda:N"), "{stderr}");
    }
    run(2, &[&"eval", &"--captions", &"c", &"--videos", &".", &"--num-frames", &"0"]);
    run(1, &[&"bench", &"no such file"]);

    let mut child = command(&[&"embed", &"--text-file", &"-"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all("many words\n".repeat(500).as_bytes()).unwrap();
    let (_, stderr) = finished(0, child.wait_with_output().unwrap());
    assert_eq!(stderr, "");

    // Nobody reads what went wrong, and an output that counts.
    let mut child = command(&[&"info", &"no such file"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut child = command(&[&"index", &video, &"-o", &world.folder.path().join("closed.db"), &"--json"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
