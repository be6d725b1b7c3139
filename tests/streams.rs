//! How the library takes a thread of the host's to a GPU and back, on a stand-in for CUDA.

use std::path::Path;
use std::process::Command;

#[test]
fn threads_find_their_device_and_stream_as_they_were() {
    let include = Path::new(env!("C4C_LIBTORCH_INCLUDE"));
    let lib = include.join("../lib");
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("streams");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/streams.cpp");
    let mut compiler = Command::new("c++");
    compiler.args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-isystem"]).arg(include).arg(source);
    compiler.arg("-L").arg(&lib).arg("-lc10").arg(format!("-Wl,-rpath,{}", lib.display())).arg("-o").arg(&program);
    for command in [&mut compiler, &mut Command::new(&program)] {
        let output = command.output().unwrap();
        let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
        assert!(output.status.success(), "{command:?}: {text}");
    }
}
