//! Asking for GPUs where there is none, or where something is missing. With a GPU in the machine the tests of what is missing are
//! left out; `tools/gpu_check.sh` is for there.

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use c4c::{cuda_devices, Call, Device, Devices, Level, Log, Model, Options, Precision, Status};
use support::checkpoint::{Writer, MICRO, TINY};

fn options(folder: &Path, devices: &str) -> Options {
    let path = folder.join("tiny.bin");
    if !path.exists() {
        Writer::new(&TINY, 1).torch_save(&path, "");
    }
    Options { devices: Devices::parse(devices).unwrap(), num_threads: Some(1), ..Options::new(path) }
}

#[test]
fn a_named_gpu_that_is_not_there_is_an_error_with_the_reason() {
    let Err(why) = cuda_devices() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (asked, named) in
        [("cuda", "cuda:0"), ("cuda:3", "cuda:3"), ("cuda:0,cuda:1", "cuda:0,cuda:1"), ("cuda:*", "cuda:*")]
    {
        let error = Model::load(options(folder.path(), asked), Log::default()).map(drop).unwrap_err();
        assert_eq!(error.status(), Status::Device);
        assert_eq!(
            error.message(),
            format!("options.device: `{named}` cannot be used: {why}; set \"auto\" or \"cpu\"")
        );
    }
}

#[test]
fn auto_takes_the_cpu_and_says_why() {
    let Err(why) = cuda_devices() else { return };
    let folder = tempfile::tempdir().unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&said);
    let log = Log::new(Level::Info, move |_, text| sink.lock().unwrap().push(text.to_string()));
    let model = Model::load(options(folder.path(), "auto"), log).unwrap();
    assert_eq!(model.info().devices, [Device::Cpu]);
    assert_eq!(model.info().device_note.as_ref(), Some(&why));
    assert!(said.lock().unwrap().iter().any(|text| text.contains(&why)), "{said:?}");
    assert_eq!(model.stats().device_bytes, 0);
    model.trim(&Call::default()).unwrap();
    assert_eq!(model.embed_text(&["a dog"], &Call::default()).unwrap().dim(), (1, TINY.embed));
    // Whoever wants the CPU has nothing to be told.
    let model = Model::load(options(folder.path(), "cpu"), Log::default()).unwrap();
    assert_eq!((model.info().devices.as_slice(), &model.info().device_note), ([Device::Cpu].as_slice(), &None));
}

#[test]
fn precisions_are_a_device_s() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("micro.bin");
    Writer::new(&MICRO, 1).torch_save(&path, "");
    let options = Options { devices: Devices::Cpu, precision: Some(Precision::F16), ..Options::new(path) };
    let error = Model::load(options, Log::default()).map(drop).unwrap_err();
    assert_eq!(error.status(), Status::Unsupported);
    assert_eq!(error.message(), "options.precision: F16 is for GPUs; set AUTO, F32, BF16 or INT8");
}

/// Set for a process with another driver.
const CHILD: &str = "C4C_TEST_DRIVER";

/// What a process is told that finds a driver of this source.
fn with_driver(source: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (code, library) = (folder.path().join("driver.c"), folder.path().join("libcuda.so.1"));
    std::fs::write(&code, source).unwrap();
    assert!(Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &code]).status().unwrap().success());
    let before = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let path = std::env::join_paths(
        std::iter::once(folder.path().to_path_buf())
            .chain(std::env::split_paths(&before))
            .filter(|p| !p.as_os_str().is_empty()),
    );
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_a_driver_says", "--nocapture"])
        .env("LD_LIBRARY_PATH", path.unwrap())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text.lines().find_map(|line| line.split_once("told: ")).expect("nothing was told").1.to_string()
}

/// A driver is asked first, and what it says goes before what libtorch would make of it. One that finds a GPU lets libtorch's
/// CUDA half be loaded, of which a CPU's installation does not have all parts.
#[test]
fn what_a_driver_says() {
    if std::env::var_os(CHILD).is_some() {
        println!("told: {}", cuda_devices().map_or_else(|why| why, |n| format!("{n} devices")));
        return;
    }
    let driver = |init: i32, count: i32, devices: i32| {
        format!(
            "int cuInit(unsigned flags) {{ return {init}; }}
             int cuDeviceGetCount(int *n) {{ *n = {devices}; return {count}; }}
             int cuGetErrorString(int code, const char **text) {{ *text = \"no such luck\"; return 0; }}"
        )
    };
    if with_driver(&driver(0, 0, 0)).starts_with("this libtorch is one for CPUs") {
        return;
    }
    assert_eq!(with_driver(&driver(999, 0, 0)), "the NVIDIA driver says: no such luck (999)");
    assert_eq!(
        with_driver(&driver(0, 100, 0)),
        "the NVIDIA driver says: no such luck (100); is CUDA_VISIBLE_DEVICES empty?"
    );
    assert_eq!(with_driver(&driver(0, 0, 0)), "the NVIDIA driver shows no device (is CUDA_VISIBLE_DEVICES empty?)");
    assert_eq!(with_driver("int nothing;"), "libcuda.so.1 has no cuInit");
    // This one is not good for more, so libtorch finds nothing with it even where all of its parts are there.
    let told = with_driver(&driver(0, 0, 1));
    let expected = ["libtorch's CUDA half cannot be loaded: lib", "libtorch finds no CUDA device", "libtorch says: "];
    assert!(expected.iter().any(|text| told.starts_with(text)), "{told}");
}
