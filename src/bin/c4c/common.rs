//! What the commands share: which model, how it runs, and how things go wrong.

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use c4c::{Cancel, Devices, Level, Log, Modality, Model, Options, Precision, VideoOptions};

/// Why a command ended early. Everything that can go wrong has a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Library(#[from] c4c::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Other(String),
}

/// A line on stderr. Nobody may be reading it; that is no failure.
pub fn tell(line: impl std::fmt::Display) {
    writeln!(std::io::stderr(), "{line}").ok();
}

impl Failure {
    pub fn new(message: impl std::fmt::Display) -> Self {
        Failure::Other(message.to_string())
    }

    /// Whoever has closed the pipe has read enough.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Io(e) if e.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// The exit status of a command that was interrupted.
pub const INTERRUPTED: u8 = 130;

/// A token that the first Ctrl-C fires, or SIGTERM or SIGHUP; the second ends the process at once. To be called once.
pub fn cancelled_by_interrupt() -> Result<Cancel, Failure> {
    let cancel = Cancel::new();
    let token = cancel.clone();
    let interrupted = move || match token.is_fired() {
        // SAFETY: _exit may be called from any thread at any moment. `exit` may not: it would tear down libtorch under
        // the threads that are at work in it.
        true => unsafe { libc::_exit(i32::from(INTERRUPTED)) },
        false => token.fire(),
    };
    let ignored = ignored_signals();
    ctrlc::set_handler(interrupted).map_err(|e| Failure::new(format_args!("cannot watch for Ctrl-C: {e}")))?;
    for signal in ignored {
        // SAFETY: SIG_IGN may be set for each of these signals.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    Ok(cancel)
}

/// Which of the signals that end a command whoever started it has had ignored, as nohup does: that is to stay so.
fn ignored_signals() -> Vec<libc::c_int> {
    let is_ignored = |signal: &libc::c_int| {
        let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: without a new action sigaction only writes the present one to where it is told.
        let told = unsafe { libc::sigaction(*signal, std::ptr::null(), now.as_mut_ptr()) } == 0;
        // SAFETY: it was zeroed, which is a valid one, or written.
        told && unsafe { now.assume_init() }.sa_sigaction == libc::SIG_IGN
    };
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].into_iter().filter(is_ignored).collect()
}

/// Which model, and how it runs.
#[derive(clap::Args, Clone)]
pub struct ModelArgs {
    /// The checkpoint: a file, an index of shards, or a model folder. Without one, that of the index, else the
    /// demonstration's own, which knows moving coloured shapes and nothing else.
    #[arg(short, long, env = "C4C_MODEL", value_name = "CHECKPOINT")]
    model: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    /// Token ids that a text is cut to, start and end counted; CLIP4Clip takes 64 for ActivityNet and DiDeMo.
    #[arg(long, value_name = "N", default_value_t = Options::DEFAULT_MAX_WORDS, value_parser = max_words)]
    max_words: usize,
}

/// How a model runs.
#[derive(clap::Args, Clone)]
pub struct RunArgs {
    /// auto, cpu, cuda, cuda:N, several as cuda:0,cuda:1, or cuda:* for all GPUs; auto takes the first GPU where there is
    /// one that can be used, else the CPU.
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = devices)]
    device: Devices,
    /// How products are formed; auto takes f16 on a GPU, bf16 on a CPU that has instructions for it, else f32. f16 is for
    /// GPUs, int8 for CPUs.
    #[arg(long, value_enum, default_value_t = PrecisionArg::Auto)]
    precision: PrecisionArg,
    /// Threads of one forward pass on a CPU; one per core unless given.
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<usize>,
}

impl RunArgs {
    /// These options for the checkpoint at `path`.
    pub fn options(&self, path: impl Into<PathBuf>) -> Options {
        let (devices, precision, num_threads) = (self.device.clone(), self.precision.wanted(), self.threads);
        Options { devices, precision, num_threads, ..Options::new(path) }
    }
}

/// For clap: devices by the library's names.
fn devices(text: &str) -> Result<Devices, String> {
    Devices::parse(text).ok_or_else(|| "expected auto, cpu, cuda, cuda:N, several as cuda:0,cuda:1, or cuda:*".into())
}

/// For clap: as many threads as the C interface takes.
fn threads(text: &str) -> Result<usize, String> {
    within(text, 1..=1024)
}

/// For clap: fewer would leave nothing of most texts, and of the one by which an index knows its model.
fn max_words(text: &str) -> Result<usize, String> {
    within(text, 16..=usize::MAX)
}

/// For clap: as many frames as may stand for a video.
pub fn num_frames(text: &str) -> Result<usize, String> {
    within(text, 1..=VideoOptions::MAX_FRAMES)
}

fn within(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ if *range.end() == usize::MAX => Err(format!("expected {} or more", range.start())),
        _ => Err(format!("expected {} to {}", range.start(), range.end())),
    }
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
pub enum PrecisionArg {
    Auto,
    F32,
    Bf16,
    F16,
    Int8,
}

impl PrecisionArg {
    /// As the library asks for it.
    pub fn wanted(self) -> Option<Precision> {
        match self {
            PrecisionArg::Auto => None,
            PrecisionArg::F32 => Some(Precision::F32),
            PrecisionArg::Bf16 => Some(Precision::Bf16),
            PrecisionArg::F16 => Some(Precision::F16),
            PrecisionArg::Int8 => Some(Precision::Int8),
        }
    }
}

/// A model as these options say; what goes wrong in it later is told on stderr.
pub fn load(options: Options) -> Result<Model, Failure> {
    Ok(Model::load(options, Log::new(Level::Error, |_, message| tell(message)))?)
}

impl ModelArgs {
    /// The checkpoint that was named, else the demonstration's.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        match &self.model {
            Some(path) => Ok(path.clone()),
            None => {
                let demo = demo_folder()?.join("pytorch_model.bin");
                tell(format_args!(
                    "no --model: taking {}, which knows moving coloured shapes and nothing else",
                    demo.display()
                ));
                Ok(demo)
            }
        }
    }

    /// The checkpoint that was named.
    pub fn named(&self) -> Option<&Path> {
        self.model.as_deref()
    }

    /// The model with these towers.
    pub fn load(&self, modality: Modality) -> Result<Model, Failure> {
        self.load_from(self.path()?, modality)
    }

    /// The same from the checkpoint at `path`, whatever was named.
    pub fn load_from(&self, path: PathBuf, modality: Modality) -> Result<Model, Failure> {
        load(self.options(path, modality))
    }

    /// What this asks of the library for the checkpoint at `path`.
    pub fn options(&self, path: PathBuf, modality: Modality) -> Options {
        Options { modality, max_words: self.max_words, ..self.run.options(path) }
    }
}

/// Where the demonstration's checkpoint and videos are: beside the installed tool, or in the source tree that it was built in.
pub fn demo_folder() -> Result<PathBuf, Failure> {
    let exe = std::env::current_exe()?;
    let beside = exe.ancestors().skip(1).flat_map(|folder| {
        [folder.join("share/c4c/demo"), folder.join("models/demo")].into_iter().filter(|f| has_model(f))
    });
    beside.into_iter().next().ok_or_else(|| {
        Failure::new("the demonstration's checkpoint (share/c4c/demo) is not installed here; name one with --model")
    })
}

fn has_model(folder: &Path) -> bool {
    folder.join("pytorch_model.bin").is_file()
}
