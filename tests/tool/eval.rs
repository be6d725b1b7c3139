//! `c4c eval`: every kind of caption file, and ranks worked out once more.

use std::path::Path;

use ndarray::Array2;
use serde_json::{json, Value};

use crate::{command, finished, run, world, VIDEOS};

/// A caption file in `folder`, and what `eval` says of it.
fn eval(status: i32, folder: &Path, name: &str, content: &str, more: &[&str]) -> (Value, String) {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    let mut command = command(&[&"eval", &"--json", &"--captions", &path, &"--videos", &world().video("")]);
    let (stdout, stderr) = finished(status, command.args(more).output().unwrap());
    (serde_json::from_slice(&stdout).unwrap_or_default(), stderr)
}

const CAPTIONS: [(&str, &str); 6] = [
    ("bars", "coloured bars"),
    ("fractal", "a \"fractal\", zoomed"),
    ("pattern", "a test pattern"),
    ("red", "nothing but red"),
    ("bars", "the test picture of an old television"),
    ("red", "a red wall"),
];

#[test]
fn evaluation_from_every_kind_of_caption_file() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let row = |(i, (video, text)): (usize, &(&str, &str))| format!("ret{i},msr{i},{video},{}\n", quoted(text));
    let jsfusion: String = CAPTIONS.iter().enumerate().map(row).collect();
    let jsfusion = format!("key,vid_key,video_id,sentence\n{jsfusion}");
    let sentences: Vec<Value> =
        CAPTIONS.iter().map(|(video, text)| json!({"video_id": video, "caption": text, "sen_id": 7})).collect();
    let videos = ["bars", "fractal", "pattern", "red"].map(|v| json!({"video_id": v, "split": "test", "url": ""}));
    let msrvtt = json!({"info": {}, "videos": videos, "sentences": sentences}).to_string();
    let line = |(video, text): &(&str, &str)| json!({"video": video, "caption": text}).to_string() + "\n";
    let jsonl: String = CAPTIONS.iter().map(line).collect();

    let ranks = folder.path().join("ranks.csv");
    let vectors = folder.path().join("vectors");
    let more = ["--ranks", ranks.to_str().unwrap(), "--vectors", vectors.to_str().unwrap()];
    let (report, _) = eval(0, folder.path(), "MSRVTT_JSFUSION_test.csv", &jsfusion, &more);
    assert_eq!((&report["texts"], &report["videos"]), (&json!(6), &json!(4)));
    assert!(report["seconds"]["videos"].as_f64().unwrap() > 0.0);
    for (name, content) in [("MSRVTT_data.json", &msrvtt), ("captions.jsonl", &jsonl)] {
        let (same, _) = eval(0, folder.path(), name, content, &[]);
        for field in ["text_to_video", "video_to_text", "texts", "videos"] {
            assert_eq!(same[field], report[field], "{name}");
        }
    }

    // The ranks once more, from the library's vectors.
    let texts: Vec<Vec<f32>> = CAPTIONS.iter().map(|(_, text)| world.text(text)).collect();
    let videos: Vec<Vec<f32>> = VIDEOS.iter().map(|name| world.vector(name)).collect();
    let read = |name: &str| -> Array2<f32> { ndarray_npy::read_npy(vectors.join(name)).unwrap() };
    assert_eq!(read("texts.npy").into_raw_vec_and_offset().0, texts.concat());
    assert_eq!(read("videos.npy").into_raw_vec_and_offset().0, videos.concat());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let own = |name: &str| VIDEOS.iter().position(|video| video.starts_with(name)).unwrap();
    let place = |scores: &[f64], own: usize| scores.iter().filter(|&&score| score >= scores[own]).count();
    let mut expected = Vec::new();
    for ((video, text), vector) in CAPTIONS.iter().zip(&texts) {
        let scores: Vec<f64> = videos.iter().map(|video| dot(video, vector)).collect();
        expected.push(["text_to_video", video, text, "", &place(&scores, own(video)).to_string()].map(str::to_owned));
    }
    for (i, video) in ["bars", "fractal", "pattern", "red"].iter().enumerate() {
        let best = |name: &&str| {
            let of_it = CAPTIONS.iter().zip(&texts).filter(|((video, _), _)| name.starts_with(video));
            of_it.map(|(_, text)| dot(&videos[i], text)).fold(f64::MIN, f64::max)
        };
        let scores: Vec<f64> = VIDEOS.iter().map(best).collect();
        expected.push(["video_to_text", video, "", "", &place(&scores, i).to_string()].map(str::to_owned));
    }
    let mut reader = csv::Reader::from_path(&ranks).unwrap();
    let found: Vec<Vec<String>> =
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect();
    assert_eq!(found, expected);
    let mean = |direction: &str| {
        let of_it = expected.iter().filter(|row| row[0] == direction);
        let ranks: Vec<f64> = of_it.map(|row| row[4].parse().unwrap()).collect();
        json!(ranks.iter().sum::<f64>() / ranks.len() as f64)
    };
    assert_eq!(report["text_to_video"]["mean_rank"], mean("text_to_video"));
    assert_eq!(report["video_to_text"]["mean_rank"], mean("video_to_text"));
}

#[test]
fn evaluation_of_groups_and_of_ties() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "video,caption,group\nbars,a b,still\nfractal.mp4,c d,moving\nred,e f,still\n";
    let (report, _) = eval(0, folder.path(), "a.csv", csv, &["--by-group", "--fps", "5"]);
    assert_eq!(report["groups"]["still"]["texts"], 2);
    let still = report["groups"]["still"]["r1"].as_f64().unwrap();
    let moving = report["groups"]["moving"]["r1"].as_f64().unwrap();
    let all = report["text_to_video"]["r1"].as_f64().unwrap();
    assert!((all - (2.0 * still + moving) / 3.0).abs() < 1e-9, "{report}");
    let table =
        run(0, &[&"eval", &"--by-group", &"--captions", &folder.path().join("a.csv"), &"--videos", &world().video("")])
            .0;
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("R@10") && table.contains("moving") && table.contains("3 texts of 3 videos"), "{table}");
    let (_, stderr) = eval(1, folder.path(), "b.csv", "video,text\nred,a\n", &["--by-group"]);
    assert!(stderr.contains("`group`"), "{stderr}");

    // The same video under two names, and the same words for both: neither is found first.
    let (report, _) = eval(0, folder.path(), "c.csv", "video,text\nred,the same\nred.mkv,the same\n", &[]);
    for direction in ["text_to_video", "video_to_text"] {
        let expected = json!({"r1": 0.0, "r5": 100.0, "r10": 100.0, "median_rank": 2.0, "mean_rank": 2.0});
        assert_eq!(report[direction], expected);
    }
}

#[test]
fn evaluation_without_some_videos() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "video,text\nred,a\nlost,b\nbars,c\nlost,d\ngone,e\n";
    let (_, stderr) = eval(1, folder.path(), "a.csv", csv, &[]);
    for part in ["lost: there is no such video", "gone: there is no such video", "2 of 4 videos", "--skip-missing"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    let bad = folder.path().join("bad.mp4");
    std::fs::write(&bad, "no video").unwrap();
    let csv = format!("{csv}{},f\n", bad.display());
    let (report, stderr) = eval(0, folder.path(), "a.csv", &csv, &["--skip-missing"]);
    assert!(stderr.contains("bad.mp4"), "{stderr}");
    assert_eq!(report["left_out"], json!(["lost", "gone", bad.to_str()]));
    assert_eq!((&report["texts"], &report["videos"]), (&json!(2), &json!(2)));
    let csv = format!("video,text\nred,a\n{},f\n", bad.display());
    assert!(eval(1, folder.path(), "a.csv", &csv, &[]).1.contains("1 of 2 videos"));
    assert!(eval(1, folder.path(), "a.csv", "video,text\nlost,a\n", &["--skip-missing"]).1.contains("none of the"));
}
