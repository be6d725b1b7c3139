//! Everything that can go wrong, and the one table from kinds of error to status numbers.

use std::fmt;

/// The library's result type.
pub type Result<T> = std::result::Result<T, Error>;

/// The kinds of failure. The numbers are the C contract (`c4c_status`) and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    InvalidArgument = -1,
    BufferTooSmall = -2,
    Unsupported = -3,
    Closed = -4,
    Forked = -5,
    WeightsIo = -20,
    WeightsFormat = -21,
    WeightsMismatch = -22,
    Modality = -23,
    Tokenizer = -24,
    TextTooLong = -25,
    Device = -40,
    OutOfMemory = -41,
    Backend = -42,
    MediaIo = -60,
    MediaFormat = -61,
    NoVideo = -62,
    Decode = -63,
    Limit = -64,
    Forbidden = -65,
    Cancelled = -80,
    Timeout = -81,
    Internal = -99,
}

impl Status {
    const ALL: [Status; 23] = [
        Status::InvalidArgument,
        Status::BufferTooSmall,
        Status::Unsupported,
        Status::Closed,
        Status::Forked,
        Status::WeightsIo,
        Status::WeightsFormat,
        Status::WeightsMismatch,
        Status::Modality,
        Status::Tokenizer,
        Status::TextTooLong,
        Status::Device,
        Status::OutOfMemory,
        Status::Backend,
        Status::MediaIo,
        Status::MediaFormat,
        Status::NoVideo,
        Status::Decode,
        Status::Limit,
        Status::Forbidden,
        Status::Cancelled,
        Status::Timeout,
        Status::Internal,
    ];

    /// The status with this number; `None` for 0 (success) and for numbers that are not assigned.
    pub fn from_code(code: i32) -> Option<Status> {
        Self::ALL.into_iter().find(|s| s.code() == code)
    }

    /// The number that crosses the C border.
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// An error: what kind, and a message that names the thing and the way out.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    status: Status,
    message: String,
}

impl Error {
    /// An error of kind `status`.
    pub fn new(status: Status, message: impl fmt::Display) -> Self {
        Error { status, message: message.to_string() }
    }

    /// Which kind of failure this is.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The human-readable text.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(Status::InvalidArgument, message)
    }

    pub(crate) fn unsupported(message: impl fmt::Display) -> Self {
        Self::new(Status::Unsupported, message)
    }

    pub(crate) fn weights_format(message: impl fmt::Display) -> Self {
        Self::new(Status::WeightsFormat, format_args!("weights: {message}"))
    }

    pub(crate) fn weights_mismatch(message: impl fmt::Display) -> Self {
        Self::new(Status::WeightsMismatch, format_args!("weights: {message}"))
    }

    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::new(Status::Internal, message)
    }
}

impl Error {
    /// Of what libtorch threw. It appends a C++ backtrace to its messages; only the first line is for people.
    pub(crate) fn libtorch(text: &str) -> Self {
        let line = text.lines().next().unwrap_or_default();
        let lower = line.to_ascii_lowercase();
        let memory = ["out of memory", "not enough memory", "can't allocate memory", "bad_alloc", "alloc_failed"];
        let status = if memory.iter().any(|m| lower.contains(m)) { Status::OutOfMemory } else { Status::Backend };
        Error::new(status, format_args!("libtorch: {line}"))
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        match error {
            tch::TchError::Torch(text) => Error::libtorch(&text),
            other => Error::libtorch(&other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(status));
        }
        assert_eq!(Status::from_code(0), None);
        assert_eq!(Status::from_code(-6), None);
    }

    #[test]
    fn libtorch_errors_keep_one_line_and_their_kind() {
        let error: Error = tch::TchError::Torch("shape mismatch\n frame #0: …".into()).into();
        assert_eq!((error.status(), error.message()), (Status::Backend, "libtorch: shape mismatch"));
        let error: Error = tch::TchError::Torch("DefaultCPUAllocator: can't allocate memory: you tried".into()).into();
        assert_eq!(error.status(), Status::OutOfMemory);
        for text in [
            "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.19 GiB",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        ] {
            assert_eq!(Error::libtorch(text).status(), Status::OutOfMemory);
        }
    }
}
