//! The C ABI as C programs see it: the header, the symbols, and programs that run against the built library.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::checkpoint::{Writer, SMALL, TINY};
use support::media::{ffmpeg, test_video};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The libc4c.so that was built with this test, beside it in `deps`.
fn library() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let library = deps.join("libc4c.so");
    assert!(library.exists(), "{} is missing", library.display());
    library
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

fn compiler(language: &str) -> Command {
    let name = if language.starts_with("c++") { "c++" } else { "cc" };
    let kind = if name == "c++" { "c++" } else { "c" };
    let mut command = Command::new(name);
    command.args(["-x", kind, &format!("-std={language}"), "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"]);
    command.arg(root().join("include"));
    command
}

struct Programs {
    folder: tempfile::TempDir,
}

impl Programs {
    /// A folder with the library under its file name and its SONAME, as an installation has it.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libc4c.so", "libc4c.so.0"] {
            std::os::unix::fs::symlink(library(), folder.path().join(name)).unwrap();
        }
        Programs { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn compile(&self, source: &str, flags: &[&str]) -> PathBuf {
        let program = self.path("program");
        let rpath = format!("-Wl,-rpath,{}", self.folder.path().display());
        run(compiler("c11")
            .arg(root().join(source))
            .args(["-L", self.folder.path().to_str().unwrap(), &rpath, "-lc4c", "-lm", "-pthread"])
            .args(flags)
            .arg("-o")
            .arg(&program));
        program
    }

    fn weights(&self) -> PathBuf {
        let path = self.path("tiny.bin");
        Writer::new(&TINY, 1).torch_save(&path, "");
        path
    }

    fn video(&self) -> PathBuf {
        let path = self.path("video.mp4");
        test_video(&path, "320x240", 25, 50, &["-c:v", "libx264", "-pix_fmt", "yuv420p"]);
        path
    }
}

/// Runs in an empty environment: the library finds libtorch by itself, and nothing but the program writes anything.
fn silent(program: &Path, args: &[&Path]) -> String {
    let output = run(Command::new(program).args(args).env_clear());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_committed_header_is_fresh() {
    let generated = std::fs::read_to_string(env!("C4C_GENERATED_HEADER")).unwrap();
    let committed = std::fs::read_to_string(root().join("include/c4c.h")).unwrap();
    assert!(generated == committed, "include/c4c.h is stale: run `make header`");
}

#[test]
fn the_header_compiles_alone_and_twice() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("alone.c");
    std::fs::write(&alone, "#include \"c4c.h\"\nextern int nothing;\n").unwrap();
    for language in ["c99", "c11", "c17", "c2x", "c++11", "c++17", "c++20"] {
        for source in [&alone, &root().join("tests/c/abi.c")] {
            run(compiler(language).arg("-fsyntax-only").arg(source));
        }
    }
}

#[test]
fn exports_are_ours_alone() {
    let output = run(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(library()));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut exports: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    exports.sort_unstable();
    let expected = std::fs::read_to_string(root().join("tests/exports.txt")).unwrap();
    assert_eq!(exports, expected.lines().collect::<Vec<_>>());
}

#[test]
fn every_function_says_who_may_call_it() {
    let header = std::fs::read_to_string(root().join("include/c4c.h")).unwrap();
    let functions = header.split("\n/**").filter(|part| part.contains("\nC4C_API"));
    let names: Vec<&str> = functions
        .map(|part| {
            assert!(part.contains("Thread-safety:"), "{part}");
            part.split("C4C_API").last().unwrap()
        })
        .collect();
    assert_eq!(names.len(), std::fs::read_to_string(root().join("tests/exports.txt")).unwrap().lines().count());
}

#[test]
fn the_library_knows_its_name() {
    let output = run(Command::new("readelf").arg("-d").arg(library()));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Library soname: [libc4c.so.0]"), "{text}");
    assert!(text.contains("$ORIGIN:$ORIGIN/../lib"), "{text}");
}

#[test]
fn wrong_calls_are_errors() {
    let programs = Programs::new();
    let text = programs.path("text.bin");
    std::fs::write(&text, "neither a checkpoint nor a video\n").unwrap();
    let program = programs.compile("tests/c/faults.c", &[]);
    assert_eq!(silent(&program, &[&programs.weights(), &programs.video(), &text]), "");
}

/// Whatever the machine has: a GPU that can be used, or none and a reason.
#[test]
fn devices_are_named_and_missing_ones_explained() {
    let programs = Programs::new();
    let program = programs.compile("tests/c/devices.c", &[]);
    assert_eq!(silent(&program, &[&programs.weights()]), "");
}

#[test]
fn older_programs_have_shorter_structs() {
    let programs = Programs::new();
    let program = programs.compile("tests/c/older.c", &[]);
    assert_eq!(silent(&program, &[&programs.weights(), &programs.video()]), "");
}

#[test]
fn every_way_to_embed_a_video() {
    let programs = Programs::new();
    let program = programs.compile("tests/c/calls.c", &[]);
    let mp4 = programs.video();
    // The same packets in containers that can be read without going back.
    let [mkv, ts] = ["video.mkv", "video.ts"].map(|name| {
        let path = programs.path(name);
        ffmpeg(&["-i", mp4.to_str().unwrap(), "-c", "copy", path.to_str().unwrap()]);
        path
    });
    assert_eq!(silent(&program, &[&programs.weights(), &mp4, &mkv, &ts]), "");
}

#[test]
fn many_threads_one_model() {
    let programs = Programs::new();
    let program = programs.compile("tests/c/threads.c", &[]);
    assert_eq!(silent(&program, &[&programs.weights(), &programs.video()]), "");
}

/// Loaded as a plugin, beside a library that has an FFmpeg of its own inside.
#[test]
fn neighbours_keep_to_themselves() {
    let programs = Programs::new();
    let (program, neighbour) = (programs.path("program"), programs.path("libneighbour.so"));
    let source = |name: &str| root().join("tests/c").join(name);
    run(compiler("c11").args(["-shared", "-fPIC"]).arg(source("neighbour_library.c")).arg("-o").arg(&neighbour));
    run(compiler("c11").arg(source("neighbour.c")).args(["-ldl", "-lm", "-pthread", "-o"]).arg(&program));
    let library = programs.path("libc4c.so.0");
    assert_eq!(silent(&program, &[&library, &neighbour, &programs.weights(), &programs.video()]), "");

    // Every function of FFmpeg that the library calls is one that the neighbour has, too.
    let has = std::fs::read_to_string(source("neighbour_library.c")).unwrap();
    let symbols = run(Command::new("nm").arg("-D").arg(&library)).stdout;
    let symbols = String::from_utf8(symbols).unwrap();
    let calls: Vec<&str> = symbols
        .lines()
        .filter_map(|line| line.trim().strip_prefix("U ")?.split_once('@'))
        .filter_map(|(name, version)| version.trim_start_matches('@').starts_with("LIB").then_some(name))
        .collect();
    assert!(calls.len() > 20, "{symbols}");
    for name in calls {
        assert!(has.contains(&format!("name({name})")), "tests/c/neighbour_library.c has no {name}");
    }
}

/// As under systemd's MemoryDenyWriteExecute.
#[test]
fn no_code_needs_to_be_written() {
    let programs = Programs::new();
    let program = programs.compile("tests/c/hardened.c", &[]);
    println!("{}", silent(&program, &[&programs.weights(), &programs.video()]));
}

#[test]
fn signals_are_the_host_s() {
    let programs = Programs::new();
    let program = programs.compile("tests/c/signals.c", &[]);
    println!("{}", silent(&program, &[&programs.weights(), &programs.video()]));
}

/// All calls from 16 threads, with cancels, deadlines and errors, and a free in their midst.
#[test]
fn the_engine_under_load() {
    let programs = Programs::new();
    let program = programs.compile("tests/c/stress.c", &[]);
    let [calls, seconds, seed] = ["3000", "0", "1"].map(Path::new);
    println!("{}", silent(&program, &[&programs.weights(), &programs.video(), calls, seconds, seed]));
}

#[test]
fn corners_of_the_promises_about_threads() {
    let programs = Programs::new();
    let (deep, tight) = (programs.path("3d.bin"), programs.path("tight.bin"));
    Writer::with_head(&SMALL, 1, "3d").torch_save(&deep, "");
    Writer::with_head(&SMALL, 1, "tightTransf").torch_save(&tight, "");
    let program = programs.compile("tests/c/corners.c", &["-ldl"]);
    assert_eq!(silent(&program, &[&programs.weights(), &programs.video(), &deep, &tight]), "");
}

#[test]
fn too_little_memory_means_smaller_passes() {
    let programs = Programs::new();
    let program = programs.compile("tests/c/memory.c", &[]);
    println!("{}", silent(&program, &[&programs.weights()]));
}

#[test]
fn memory_stays_flat() {
    let programs = Programs::new();
    let program = programs.compile("tests/c/soak.c", &[]);
    println!("{}", silent(&program, &[&programs.weights(), &programs.video(), "40".as_ref(), "200".as_ref()]));
}

/// What FFmpeg has to say of a damaged file stays inside; what it says of the host's own work does not.
#[test]
fn nothing_is_written_to_the_host_s_streams() {
    let programs = Programs::new();
    let flags = ["-lavutil"];
    let program = programs.compile("tests/c/quiet.c", &flags);
    let video = programs.video();
    let mut bytes = std::fs::read(&video).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle..middle + 4000].fill(0x55);
    std::fs::write(&video, bytes).unwrap();
    let output = run(Command::new(&program).arg(programs.weights()).arg(&video).env_clear());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "the host's own message\n");
}

#[test]
fn the_example_runs() {
    let programs = Programs::new();
    let program = programs.compile("examples/c/embed_video.c", &[]);
    let args = [programs.weights(), programs.video(), "a red ball".into(), "a dog".into()];
    let printed = silent(&program, &args.each_ref().map(PathBuf::as_path));
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].starts_with("video ") && lines[0].contains("96 floats, norm 1.0000"), "{printed}");
    assert!(lines[1].starts_with("times "), "{printed}");
    assert!(lines[2].ends_with("a red ball") && lines[3].ends_with("a dog"), "{printed}");
    let similarity: f32 = lines[2].split_whitespace().next().unwrap().parse().unwrap();
    assert!((-1.0..=1.0).contains(&similarity));
}
