//! Where results go: to stdout, or to a file that appears complete or not at all.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, StdoutLock, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::common::Failure;
use crate::walk::{reason, shown};

pub enum Output {
    Stdout(BufWriter<StdoutLock<'static>>),
    /// A device or a pipe, which nothing can take the place of.
    Device(BufWriter<File>),
    File(Part),
}

/// A file that is written beside the one that it will be.
pub struct Part {
    file: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
}

impl Output {
    /// The file at `path`, or stdout without one.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn open(path: Option<&Path>) -> Result<Output, Failure> {
        let Some(path) = path else { return Ok(Output::Stdout(BufWriter::new(std::io::stdout().lock()))) };
        let failed = |e: std::io::Error| Failure::new(format_args!("cannot write {}: {}", shown(path), reason(&e)));
        match path.metadata() {
            Ok(there) if there.is_dir() => Err(Failure::new(format_args!("{} is a folder", shown(path)))),
            Ok(there) if !there.is_file() => {
                let file = File::options().write(true).open(path).map_err(failed)?;
                Ok(Output::Device(BufWriter::new(file)))
            }
            // A link stays one.
            Ok(_) => Part::create(path.canonicalize().map_err(failed)?).map(Output::File).map_err(failed),
            Err(_) => Part::create(path.to_owned()).map(Output::File).map_err(failed),
        }
    }

    /// Whether people see it, and a progress bar would be in the way.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Output::Stdout(_)) && std::io::stdout().is_terminal()
    }

    /// A line of JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut *self, value).map_err(std::io::Error::from)?;
        Ok(self.write_all(b"\n")?)
    }

    /// Everything is written: a file gets its name.
    pub fn finish(self) -> Result<(), Failure> {
        match self {
            Output::Stdout(mut stdout) => Ok(stdout.flush()?),
            Output::Device(mut file) => Ok(file.flush()?),
            Output::File(part) => part.finish(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Output::Stdout(to) => to.write(bytes),
            Output::Device(to) => to.write(bytes),
            Output::File(to) => to.file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Output::Stdout(to) => to.flush(),
            Output::Device(to) => to.flush(),
            Output::File(to) => to.file.flush(),
        }
    }
}

impl Part {
    fn create(path: PathBuf) -> std::io::Result<Part> {
        let mut part = path.clone().into_os_string();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let file = File::create(&part)?;
        // Who may read what is replaced may read what replaces it, and nobody else.
        if let Ok(there) = path.metadata() {
            file.set_permissions(there.permissions())?;
        }
        Ok(Part { file: BufWriter::new(file), part, path })
    }

    fn finish(mut self) -> Result<(), Failure> {
        let done = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        let done = done.and_then(|()| std::fs::rename(&self.part, &self.path));
        done.map_err(|e| Failure::new(format_args!("cannot write {}: {}", shown(&self.path), reason(&e))))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already where it got its name.
        std::fs::remove_file(&self.part).ok();
    }
}
