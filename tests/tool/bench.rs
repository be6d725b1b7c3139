//! `c4c bench`: its report is complete and adds up. How fast it is, is not tested.

use serde_json::Value;

use crate::{run, world};

#[test]
fn speeds_are_reported() {
    let (red, bars) = (world().video("red.mkv"), world().video("bars.mp4"));
    let (stdout, _) = run(0, &[&"bench", &"--json", &"--seconds", &"0.01", &"--device", &"cpu", &red, &bars]);
    let report: Value = serde_json::from_slice(&stdout).unwrap();
    for field in ["load_seconds", "first_vector_seconds", "threads"] {
        assert!(report[field].as_f64().unwrap() > 0.0, "{field}");
    }
    if cfg!(target_os = "linux") {
        assert!(report["resident_bytes"].as_u64().unwrap() > 1 << 20);
    }
    assert_eq!((&report["device"], &report["device_note"]), (&Value::from("cpu"), &Value::Null));
    let measurements = report["measurements"].as_array().unwrap();
    let batches: Vec<_> =
        measurements.iter().map(|m| (m["what"].as_str().unwrap(), m["batch"].as_u64().unwrap())).collect();
    let (red, bars) = (red.to_str().unwrap(), bars.to_str().unwrap());
    let mut expected = Vec::from([1, 32, 256].map(|batch| ("text", batch)));
    expected.extend([1, 12, 96].map(|batch| ("image", batch)));
    expected.extend([(red, 1), (bars, 1), ("the videos in one call", 2)]);
    assert_eq!(batches, expected);
    for m in measurements {
        let number = |field: &str| m[field].as_f64().unwrap();
        assert!(number("rounds") >= 1.0 && number("fastest_seconds") > 0.0, "{m}");
        assert!(number("median_seconds") >= number("fastest_seconds"), "{m}");
        assert!((number("vectors_per_second") * number("median_seconds") / number("batch") - 1.0).abs() < 1e-9, "{m}");
    }
    let (_, stderr) = run(1, &[&"bench", &"--seconds", &"0.01", &"none.mp4"]);
    assert!(stderr.contains("none.mp4"), "{stderr}");
    let table = String::from_utf8(run(0, &[&"bench", &"--seconds", &"0.01", &"--no-cuda-graphs"]).0).unwrap();
    assert!(table.contains("vectors/s") && table.contains("MB resident"), "{table}");
    // Where no GPU is taken, it says why not.
    assert!(table.contains("device        cuda:0") || table.contains("not a GPU: "), "{table}");
}
