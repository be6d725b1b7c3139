//! Generates the C header, cuts the merge table to size, and tells the linker where libtorch is and what we are called.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// CLIP cuts the table so that bytes, bytes at the end of a word, merges and two special tokens make 49,408 tokens.
const MERGES: usize = 49408 - 2 * 256 - 2;
const MERGE_TABLE: &str = "assets/bpe_simple_vocab_16e6.txt.gz";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    merges(&out)?;
    header(&out)?;
    ffmpeg()?;
    native()?;
    streams()?;
    link()?;
    Ok(())
}

/// The published table has more merges than CLIP uses; the library holds those that it uses, ready to read.
fn merges(out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={MERGE_TABLE}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(MERGE_TABLE)?).read_to_string(&mut text)?;
    let lines: Vec<&str> = text.lines().skip(1).take(MERGES).collect();
    if lines.len() != MERGES || lines.iter().any(|l| l.split(' ').count() != 2) {
        return Err(format!("{MERGE_TABLE} is not CLIP's merge table").into());
    }
    fs::write(out.join("merges.txt"), lines.join("\n"))?;
    Ok(())
}

/// The header goes into OUT_DIR; a test compares it with the committed one, and `make header` copies it there.
fn header(out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src/ffi");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    let config = cbindgen::Config::from_file("cbindgen.toml")?;
    let sources = ["types", "structs", "model", "info", "embed", "video", "segments", "call", "about"];
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in sources {
        builder = builder.with_src(format!("src/ffi/{source}.rs"));
    }
    let path = out.join("c4c.h");
    builder.generate()?.write_to_file(&path);
    println!("cargo:rustc-env=C4C_GENERATED_HEADER={}", path.display());
    Ok(())
}

/// The C pieces: what FFmpeg offers to C only.
fn ffmpeg() -> Result<(), Box<dyn Error>> {
    let pieces = ["src/video/av_log.c", "src/video/orientation.c"];
    pieces.iter().for_each(|piece| println!("cargo:rerun-if-changed={piece}"));
    let avformat = pkg_config::Config::new().cargo_metadata(false).probe("libavformat")?;
    cc::Build::new()
        .files(pieces)
        .includes(avformat.include_paths)
        .warnings_into_errors(true)
        .try_compile("c4c_ffmpeg")?;
    Ok(())
}

/// The towers on libtorch's micro-kernels, and what only C++ reaches of its GPUs.
fn native() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src/clip/native");
    println!("cargo:rerun-if-changed=src/gpu/gpu.cpp");
    println!("cargo:rerun-if-changed=src/gpu/told.hpp");
    let include = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB")?).join("../include");
    let build = || {
        let mut build = cc::Build::new();
        build
            .cpp(true)
            .std("c++17")
            // As libtorch is, in every build.
            .opt_level(3)
            .flag("-fvisibility=hidden")
            // What keeps loops from becoming vectors, and nobody asks for.
            .flag("-fno-math-errno")
            .flag("-fno-trapping-math")
            .flag("-ffp-contract=fast");
        build
    };
    // Not -I: libtorch's headers warn. It comes before what it uses, for linkers that look once.
    let libtorch = ["-isystem", &include.to_string_lossy()];
    build().flags(libtorch).file("src/clip/native/tower.cpp").try_compile("c4c_native")?;
    build().flags(libtorch).file("src/gpu/gpu.cpp").try_compile("c4c_gpu")?;
    let mut cpus = vec![("plain", "0", None)];
    if std::env::var("CARGO_CFG_TARGET_ARCH")? == "x86_64" {
        cpus.extend([("v3", "3", Some("-march=x86-64-v3")), ("v4", "4", Some("-march=x86-64-v4"))]);
    }
    for (name, level, flag) in cpus {
        let mut kernels = build();
        // So that the larger of two numbers is one instruction.
        kernels.flag("-fno-signed-zeros");
        if let Some(flag) = flag {
            kernels.flag(flag).flag_if_supported("-mprefer-vector-width=512");
        }
        kernels.define("C4C_LEVEL", level).define("C4C_KERNELS", format!("c4c_kernels_{name}").as_str());
        kernels.file("src/clip/native/kernels.cpp").try_compile(&format!("c4c_kernels_{name}"))?;
    }
    Ok(())
}

/// CUDA streams through libtorch's core, which is C++.
fn streams() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src/gpu/stream.cpp");
    let include = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB")?).join("../include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .flag("-fvisibility=hidden")
        // Not -I: libtorch's headers warn.
        .flags(["-isystem", &include.to_string_lossy()])
        .file("src/gpu/stream.cpp")
        .try_compile("c4c_stream")?;
    // A test compiles it, too.
    println!("cargo:rustc-env=C4C_LIBTORCH_INCLUDE={}", include.display());
    Ok(())
}

fn link() -> Result<(), Box<dyn Error>> {
    let libtorch = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB")?);
    // RUNPATH, so that LD_LIBRARY_PATH can still put another libtorch in its place.
    for path in ["$ORIGIN", "$ORIGIN/../lib", &libtorch.to_string_lossy()] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{path}");
    }
    let abi = abi_version()?;
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libc4c.so.{abi}");
    // It stays after dlclose: FFmpeg, which a host may share with us, still has our log callback.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Only c4c_* may be seen from outside; dependencies have #[no_mangle] functions of their own.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    println!("cargo:rustc-env=C4C_LIBTORCH_VERSION={}", libtorch_version(&libtorch)?);
    Ok(())
}

/// The SONAME follows the ABI's number, which stands in one place.
fn abi_version() -> Result<String, Box<dyn Error>> {
    let types = fs::read_to_string("src/ffi/types.rs")?;
    let line = types.lines().find_map(|l| l.strip_prefix("pub const C4C_ABI_VERSION: u32 = "));
    Ok(line.ok_or("src/ffi/types.rs has no C4C_ABI_VERSION")?.trim_end_matches(';').to_string())
}

fn libtorch_version(lib: &Path) -> Result<String, Box<dyn Error>> {
    let header = lib.join("../include/torch/headeronly/version.h");
    let text = fs::read_to_string(&header).map_err(|e| format!("{}: {e}; is this libtorch 2.11?", header.display()))?;
    let part = |name: &str| -> Result<&str, String> {
        let line = text.lines().find_map(|l| l.strip_prefix("#define TORCH_VERSION_")?.strip_prefix(name));
        line.map(str::trim).ok_or_else(|| format!("{} has no TORCH_VERSION_{name}", header.display()))
    };
    Ok(format!("{}.{}.{}", part("MAJOR")?, part("MINOR")?, part("PATCH")?))
}
