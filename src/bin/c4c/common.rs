//! What the commands share: which model, how it runs, and how things go wrong.

use std::path::{Path, PathBuf};

use c4c::{Cancel, Level, Log, Modality, Model, Options, Precision, VideoOptions};

/// Why a command ended early. Everything that can go wrong has a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Library(#[from] c4c::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Other(String),
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
    ctrlc::set_handler(interrupted).map_err(|e| Failure::new(format_args!("cannot watch for Ctrl-C: {e}")))?;
    Ok(cancel)
}

/// Which model, and how it runs.
#[derive(clap::Args, Clone)]
pub struct ModelArgs {
    /// The checkpoint: a file, an index of shards, or a model folder. Without one, the demonstration's own, which knows moving
    /// coloured shapes and nothing else.
    #[arg(short, long, env = "C4C_MODEL", value_name = "CHECKPOINT")]
    model: Option<PathBuf>,
    /// How products are formed; auto takes bf16 where the CPU has instructions for it, else f32.
    #[arg(long, value_enum, default_value_t = PrecisionArg::Auto)]
    precision: PrecisionArg,
    /// Threads of one forward pass; one per core unless given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Token ids that a text is cut to, start and end counted; CLIP4Clip takes 64 for ActivityNet and DiDeMo.
    #[arg(long, value_name = "N", default_value_t = Options::DEFAULT_MAX_WORDS)]
    max_words: usize,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
pub enum PrecisionArg {
    Auto,
    F32,
    Bf16,
    Int8,
}

impl PrecisionArg {
    /// As the library asks for it.
    pub fn wanted(self) -> Option<Precision> {
        match self {
            PrecisionArg::Auto => None,
            PrecisionArg::F32 => Some(Precision::F32),
            PrecisionArg::Bf16 => Some(Precision::Bf16),
            PrecisionArg::Int8 => Some(Precision::Int8),
        }
    }
}

/// A model as these options say; what goes wrong in it later is told on stderr.
pub fn load(options: Options) -> Result<Model, Failure> {
    Ok(Model::load(options, Log::new(Level::Error, |_, message| eprintln!("{message}")))?)
}

impl ModelArgs {
    /// The checkpoint that was named, else the demonstration's.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        match &self.model {
            Some(path) => Ok(path.clone()),
            None => {
                let demo = demo_folder()?.join("pytorch_model.bin");
                eprintln!("no --model: taking {}, which knows moving coloured shapes and nothing else", demo.display());
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
        let (precision, num_threads, max_words) = (self.precision.wanted(), self.threads, self.max_words);
        load(Options { modality, precision, num_threads, max_words, ..Options::new(path) })
    }
}

/// How a video is sampled.
#[derive(clap::Args, Clone)]
pub struct VideoArgs {
    /// Frames that stand for a video, or for a segment of it, evenly from its first to its last.
    #[arg(long, value_name = "N", default_value_t = VideoOptions::DEFAULT_NUM_FRAMES)]
    num_frames: usize,
    /// Turns pictures as the container asks players to; CLIP4Clip does not.
    #[arg(long)]
    rotate: bool,
}

impl VideoArgs {
    pub fn options(&self) -> VideoOptions {
        VideoOptions { num_frames: self.num_frames, apply_rotation: self.rotate, ..VideoOptions::default() }
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
