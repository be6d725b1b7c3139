//! `c4c selftest`: passes on vectors that are right, and fails on ones that are not.

use std::collections::HashMap;

use c4c::{Call, Frame, Log, Model, Options, PixelFormat, Precision, VideoOptions};
use ndarray::{Array1, Array2};
use serde_json::{json, Value};

use crate::{command, finished, run, world, VIDEOS};

/// A demonstration folder whose expected vectors are the library's own: what is tested is that `selftest` compares.
struct Demo {
    folder: tempfile::TempDir,
    golden: Value,
    captions: HashMap<&'static str, String>,
}

impl Demo {
    fn new() -> Demo {
        let world = world();
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(world.weights(), folder.path().join("pytorch_model.bin")).unwrap();
        std::os::unix::fs::symlink(world.video(""), folder.path().join("videos")).unwrap();
        let options = Options { precision: Some(Precision::F32), ..Options::new(world.weights()) };
        let model = Model::load(options, Log::default()).unwrap();
        let call = Call::default();
        let pictures: Vec<Vec<u8>> = (0..12)
            .map(|t| {
                let pixel = |(y, x): (usize, usize)| [0, 1, 2].map(|c| (x * (c + 1) + y * (3 - c) + 16 * t) as u8);
                (0..240).flat_map(|y| (0..320).map(move |x| (y, x))).flat_map(pixel).collect()
            })
            .collect();
        let frames: Vec<Frame> =
            pictures.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, 320, 240, rgb).unwrap()).collect();
        let frames = model.embed_frames(&frames, &call).unwrap();
        let video = |name: &&'static str| {
            let path = world.video(name);
            (*name, model.embed_video_path(&path, &VideoOptions::default(), &call).unwrap())
        };
        let videos: Vec<(&str, Array1<f32>)> = VIDEOS.iter().map(video).collect();
        let texts: Vec<String> = (0..200).map(|i| format!("text {} number {}", i * 7919 % 1000, i)).collect();
        let views: Vec<&str> = texts.iter().map(String::as_str).collect();
        let rows = model.embed_text(&views, &call).unwrap();
        let golden = json!({
            "texts": texts[..3].iter().zip(rows.rows())
                .map(|(text, row)| json!({"text": text, "vector": row.to_vec()})).collect::<Vec<_>>(),
            "frames": {"what": "12 frames made by formula", "vector": frames.to_vec()},
            "videos": videos.iter()
                .map(|(name, row)| json!({"video": name, "vector": row.to_vec()})).collect::<Vec<_>>(),
        });
        Demo { folder, golden, captions: captions(&texts, &rows, &videos) }.written()
    }

    fn written(self) -> Demo {
        std::fs::write(self.folder.path().join("golden.json"), self.golden.to_string()).unwrap();
        let line = |(video, text): (&&str, &String)| json!({"video": video, "caption": text}).to_string() + "\n";
        let captions: String = self.captions.iter().map(line).collect();
        std::fs::write(self.folder.path().join("captions.jsonl"), captions).unwrap();
        self
    }

    fn selftest(&self, status: i32, more: &[&str]) -> String {
        let mut command = command(&[&"selftest", &"--demo", &self.folder.path()]);
        String::from_utf8(finished(status, command.args(more).output().unwrap()).0).unwrap()
    }
}

/// Random weights mean nothing, but of many texts some are nearer to one of two videos and some to the other: the pair
/// of videos, and the two texts, that are told apart best.
fn captions(
    texts: &[String],
    rows: &Array2<f32>,
    videos: &[(&'static str, Array1<f32>)],
) -> HashMap<&'static str, String> {
    let pairs = (0..videos.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
    let margins = pairs.map(|(a, b)| {
        let nearer = rows.dot(&(&videos[a].1 - &videos[b].1));
        let by = |x: &usize, y: &usize| nearer[*x].total_cmp(&nearer[*y]);
        let (most, least) = ((0..texts.len()).max_by(by).unwrap(), (0..texts.len()).min_by(by).unwrap());
        (
            nearer[most].min(-nearer[least]),
            HashMap::from([(videos[a].0, texts[most].clone()), (videos[b].0, texts[least].clone())]),
        )
    });
    let (margin, captions) = margins.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    assert!(margin > 0.0, "no text is nearer to one of two videos");
    captions
}

#[test]
fn selftest_passes_and_fails() {
    let mut demo = Demo::new();
    let passed = demo.selftest(0, &["--precision", "f32", "--threads", "1"]);
    for part in [
        "ok     f32   texts",
        "ok     f32   frames",
        "ok     f32   videos",
        "2 of 2 captions",
        "all 4 checks passed on ",
    ] {
        assert!(passed.contains(part), "{passed}");
    }
    let weights = world().weights();
    assert_eq!(demo.selftest(0, &["--precision", "f32", "--model", weights.to_str().unwrap()]), passed);

    // Each of the four notices what is wrong with it, and only that one.
    let nudged = |vector: &Value| {
        let mut vector: Vec<f32> = serde_json::from_value(vector.clone()).unwrap();
        vector[5] += 0.02;
        json!(vector)
    };
    for (kind, vector) in [("texts", "/texts/1/vector"), ("frames", "/frames/vector"), ("videos", "/videos/2/vector")] {
        let before = demo.golden.clone();
        *demo.golden.pointer_mut(vector).unwrap() = nudged(demo.golden.pointer(vector).unwrap());
        demo = demo.written();
        let failed = demo.selftest(1, &["--precision", "f32"]);
        assert!(
            failed.contains(&format!("FAILED f32   {kind}")) && failed.contains("1 of 4 checks FAILED"),
            "{failed}"
        );
        demo.golden = before;
    }
    let mut swapped: Vec<String> = demo.captions.values().cloned().collect();
    demo.captions.values_mut().for_each(|text| *text = swapped.pop().unwrap());
    demo = demo.written();
    let failed = demo.selftest(1, &["--precision", "f32"]);
    assert!(failed.contains("FAILED f32   captions  0 of 2") && failed.contains("1 of 4 checks FAILED"), "{failed}");

    // A video that cannot be read, and vectors of another model.
    demo.golden["videos"][0]["video"] = json!("none.mp4");
    demo = demo.written();
    assert!(demo.selftest(1, &["--precision", "f32"]).contains("none.mp4"));
    demo.golden["frames"]["vector"] = json!([1.0]);
    let demo = demo.written();
    let (_, stderr) = run(1, &[&"selftest", &"--demo", &demo.folder.path()]);
    assert!(stderr.contains("another model"), "{stderr}");
    let (_, stderr) = run(1, &[&"selftest", &"--demo", &"none"]);
    assert!(stderr.contains("none/golden.json"), "{stderr}");
}

#[test]
fn selftest_of_all_precisions() {
    let output = command(&[&"selftest", &"--all-precisions", &"--demo", &Demo::new().folder.path()]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let code = i32::from(text.contains("FAILED"));
    assert_eq!(output.status.code(), Some(code), "{text}");
    // How near bf16 and int8 come is a matter of trained weights; that they are compared is not.
    assert_eq!(text.lines().filter(|line| line.starts_with("ok     f32 ")).count(), 4, "{text}");
    for precision in ["bf16", "f16", "int8"] {
        let refused =
            |line: &str| line.contains("this CPU") || line.contains("is for GPUs") || line.contains("is for CPUs");
        let has = |line: &str| line.contains(&format!(" {precision} ")) || refused(line);
        assert!(text.lines().any(has), "{text}");
    }
}
