//! Numbers and opaque types.

use std::os::raw::{c_char, c_void};

use crate::runtime::Cancel;

/// The version of this interface that the header describes. The library's file name carries it
/// (`libc4c.so.0`); `c4c_abi_version` says which one is loaded.
pub const C4C_ABI_VERSION: u32 = 0;

/// What a call came to: `C4C_OK` or one of the negative numbers of `c4c_status_code`.
pub type c4c_status = i32;

/// The values of `c4c_status`. Numbers are never reused; treat an unknown negative one as an error.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum c4c_status_code {
    /// Success.
    C4C_OK = 0,
    /// An argument breaks the rules that its call states. The message names it.
    C4C_E_INVALID_ARGUMENT = -1,
    /// The output has less room than the call writes. The message says how much is needed.
    C4C_E_BUFFER_TOO_SMALL = -2,
    /// A known field or value that this library does not serve, or a newer caller's.
    C4C_E_UNSUPPORTED = -3,
    /// The model is being freed.
    C4C_E_CLOSED = -4,
    /// The process was forked after `c4c_create`; the child needs a model of its own.
    C4C_E_FORKED = -5,
    /// The weights file is missing or cannot be read.
    C4C_E_WEIGHTS_IO = -20,
    /// The weights file is damaged or no checkpoint of a CLIP.
    C4C_E_WEIGHTS_FORMAT = -21,
    /// A tensor is missing, superfluous or of the wrong shape, or this is another model than was asked for.
    C4C_E_WEIGHTS_MISMATCH = -22,
    /// The model was created without the tower that the call needs.
    C4C_E_MODALITY = -23,
    /// `tokenizer_path` is no tokenizer, or another model's.
    C4C_E_TOKENIZER = -24,
    /// With `C4C_STRICT_TEXT`: a text makes more than `max_words` token ids.
    C4C_E_TEXT_TOO_LONG = -25,
    /// The named device is not there. The message says why.
    C4C_E_DEVICE = -40,
    /// Memory ran out.
    C4C_E_OUT_OF_MEMORY = -41,
    /// libtorch reported an error.
    C4C_E_BACKEND = -42,
    /// The media file is missing or cannot be read.
    C4C_E_MEDIA_IO = -60,
    /// No known container or codec, or not one frame can be decoded.
    C4C_E_MEDIA_FORMAT = -61,
    /// The file has no video stream.
    C4C_E_NO_VIDEO = -62,
    /// With `C4C_STRICT_DECODE`: the data is corrupt.
    C4C_E_DECODE = -63,
    /// A stated bound such as `max_pixels` is exceeded.
    C4C_E_LIMIT = -64,
    /// A URL without `C4C_ALLOW_NETWORK` or of a kind that is never opened, or a file that wants others opened.
    C4C_E_FORBIDDEN = -65,
    /// The call was cancelled.
    C4C_E_CANCELLED = -80,
    /// The call's deadline passed.
    C4C_E_TIMEOUT = -81,
    /// A bug in this library.
    C4C_E_INTERNAL = -99,
}

/// `c4c_options.modality`: which towers are loaded.
#[repr(u32)]
pub enum c4c_modality {
    /// Texts and videos.
    C4C_MODALITY_BOTH = 0,
    /// Texts only; the calls for pictures and videos return `C4C_E_MODALITY`.
    C4C_MODALITY_TEXT = 1,
    /// Pictures and videos only.
    C4C_MODALITY_VIDEO = 2,
}

/// `c4c_options.precision`: the arithmetic of the forward pass.
#[repr(u32)]
pub enum c4c_precision {
    /// F16 on GPUs; BF16 on CPUs with instructions for it (AVX512-BF16, AMX), else F32. `c4c_get_info` says what was chosen.
    C4C_PRECISION_AUTO = 0,
    /// IEEE single precision; on GPUs without TF32.
    C4C_PRECISION_F32 = 1,
    /// bfloat16 weights and products; sums, normalisations, attention and heads in single precision. F32 on CPUs that have
    /// fast products of single precision only.
    C4C_PRECISION_BF16 = 2,
    /// Half precision, as the original runs on a GPU: weights, products and what passes from block to block; heads in single
    /// precision. For GPUs, `C4C_E_UNSUPPORTED` on CPUs.
    C4C_PRECISION_F16 = 3,
    /// Eight-bit weights and products in three of four layers of the transformer blocks, with a step for each output and
    /// each token; the rest as with BF16. The fastest and the least exact: for CPUs with AVX512-VNNI or AMX, `C4C_E_UNSUPPORTED` on others and on GPUs.
    C4C_PRECISION_INT8 = 4,
}

/// `c4c_options.head`: how frames become a video.
#[repr(u32)]
pub enum c4c_head {
    /// From the weights: seqTransf, seqLSTM or tightTransf where they carry it, in this order, else meanP.
    C4C_HEAD_AUTO = 0,
    /// CLIP4Clip's meanP: the unit vector along the mean of the frames' unit vectors.
    C4C_HEAD_MEAN = 1,
    /// A transformer over the frames, then as MEAN. At most as many frames as it has positions, 77.
    C4C_HEAD_SEQ_TRANSF = 2,
    /// An LSTM over the frames, then as MEAN.
    C4C_HEAD_SEQ_LSTM = 3,
    /// A transformer over a text and the frames: c4c_score only, since it gives no vector for a video.
    C4C_HEAD_TIGHT_TRANSF = 4,
}

/// `c4c_options.activation`: the MLPs' non-linearity, which the weights do not tell.
#[repr(u32)]
pub enum c4c_activation {
    /// What a config.json or open_clip_config.json beside the weights says; without one QuickGELU, which OpenAI's models
    /// and CLIP4Clip's have.
    C4C_ACTIVATION_AUTO = 0,
    /// `x * sigmoid(1.702 * x)`
    C4C_ACTIVATION_QUICK_GELU = 1,
    /// The exact GELU, with erf: OpenCLIP's LAION and DataComp models.
    C4C_ACTIVATION_GELU = 2,
}

/// `c4c_frame.format`: how pixels lie in memory, 8 bits a channel.
#[repr(u32)]
pub enum c4c_pixel_format {
    /// plane 0: R G B, 3 bytes a pixel.
    C4C_PIXEL_RGB24 = 1,
    /// plane 0: B G R, 3 bytes a pixel.
    C4C_PIXEL_BGR24 = 2,
    /// plane 0: R G B A, 4 bytes a pixel; alpha is not looked at.
    C4C_PIXEL_RGBA = 3,
    /// plane 0: B G R A, 4 bytes a pixel; alpha is not looked at.
    C4C_PIXEL_BGRA = 4,
    /// plane 0: one byte a pixel.
    C4C_PIXEL_GRAY8 = 5,
    /// planes 0, 1, 2: Y, U and V; U and V have half as many columns and rows, rounded up.
    C4C_PIXEL_I420 = 6,
    /// plane 0: Y; plane 1: U and V in turns, half as many pairs and rows, rounded up.
    C4C_PIXEL_NV12 = 7,
}

/// `c4c_frame.location`: which memory the planes point to.
#[repr(u32)]
pub enum c4c_location {
    /// The process's own.
    C4C_LOCATION_HOST = 0,
    /// That of the GPU `c4c_frame.device_index`.
    C4C_LOCATION_CUDA = 1,
}

/// `c4c_frame.color_matrix`: how YUV becomes RGB. Without meaning for RGB and gray frames.
#[repr(u32)]
pub enum c4c_matrix {
    /// BT.601.
    C4C_MATRIX_UNKNOWN = 0,
    C4C_MATRIX_BT601 = 1,
    C4C_MATRIX_BT709 = 2,
    C4C_MATRIX_BT2020 = 3,
}

/// `c4c_frame.color_range`: which numbers are black and white.
#[repr(u32)]
pub enum c4c_range {
    /// Limited for YUV, full for RGB and gray.
    C4C_RANGE_UNKNOWN = 0,
    /// 16 to 235; not served for RGB and gray.
    C4C_RANGE_LIMITED = 1,
    /// 0 to 255.
    C4C_RANGE_FULL = 2,
}

/// `c4c_video_options.sampling`: which frames stand for the video.
#[repr(u32)]
pub enum c4c_sampling {
    /// `num_frames` frames evenly from the first to the last, as the operator's `uniform_temporal_subsample`: number
    /// `trunc(i * (total - 1) / (num_frames - 1))` of the frames that a full decode shows. Short videos repeat frames.
    C4C_SAMPLING_UNIFORM = 0,
    /// The key frames, by the container's word: all of them, or `num_frames` taken from them evenly.
    C4C_SAMPLING_KEYFRAMES = 1,
    /// The frames on the screen at 0, 1/fps, 2/fps ... seconds from `start_us`: all of them, or `num_frames` taken from them
    /// evenly, as CLIP4Clip's own reader does with 1 frame per second. A frame comes once.
    C4C_SAMPLING_FPS = 2,
}

/// `c4c_video_options.seek`: how frames are found.
#[repr(u32)]
pub enum c4c_seek {
    /// The very frames that a full decode would pick. Every packet is read once to find out which frames there are.
    C4C_SEEK_EXACT = 0,
    /// By the duration and the frame rate that the container states, and with its own index where it has one: for remote and
    /// huge files, of which only what is needed is read. Off by as much as the container is wrong; where it promises more
    /// than there is, the last frame stands for the rest. C4C_E_LIMIT where no duration is stated and `end_us` is 0.
    C4C_SEEK_APPROXIMATE = 1,
}

/// `c4c_video_options.hwaccel`: what decodes.
#[repr(u32)]
pub enum c4c_hwaccel {
    /// The CPU.
    C4C_HWACCEL_NONE = 0,
    /// NVDEC of the GPU `hwaccel_device`, through FFmpeg; `C4C_E_DEVICE` with the reason where that cannot be had. The CPU decodes
    /// streams that NVDEC does not, and all with `C4C_STRICT_DECODE`. Pictures are the CPU's but for damaged streams and codecs
    /// whose standards let decoders round.
    C4C_HWACCEL_CUDA = 1,
}

/// `c4c_video_options.color`: how decoded pictures become RGB.
#[repr(u32)]
pub enum c4c_color {
    /// By the matrix and range that the stream is tagged with; BT.601 limited where it is not. PQ and HLG are not tone-mapped:
    /// their values are taken as they are.
    C4C_COLOR_TAGGED = 0,
    /// As PyAV did in the operator's day: BT.601 whatever the tags say, and limited range unless the decoder's pixel format is
    /// itself one of full range (yuvj420p and its like).
    C4C_COLOR_OPERATOR = 1,
}

/// Bits of `c4c_options.flags`.
#[repr(u32)]
pub enum c4c_option_flag {
    /// Leave out the last L2 normalisation.
    C4C_RAW_OUTPUT = 1,
    /// A text with more than `max_words` token ids is an error; otherwise it is cut, as the operator does.
    C4C_STRICT_TEXT = 2,
    /// On GPUs: launch every kernel of every pass instead of replaying recorded passes. Small batches get slower, and the memory
    /// that the recordings hold stays free.
    C4C_NO_CUDA_GRAPHS = 4,
}

/// Bits of `c4c_video_options.flags`.
#[repr(u32)]
pub enum c4c_video_flag {
    /// Turn and mirror pictures as the file asks players to. Otherwise that is ignored, as the operator does.
    C4C_APPLY_ROTATION = 1,
    /// Open http, https and rtsp URLs, and playlists that these lead to. Nothing local is ever opened on their behalf. A
    /// server that is silent for 30 seconds is given up, whatever the call's deadline.
    C4C_ALLOW_NETWORK = 2,
    /// A corrupt packet or frame among those that the wanted frames need is an error; otherwise what the decoder conceals is
    /// used, and what it drops is not counted.
    C4C_STRICT_DECODE = 4,
}

/// `c4c_options.log_level`: the least important messages that the callback gets.
#[repr(u32)]
pub enum c4c_log_level {
    /// As `C4C_LOG_INFO`.
    C4C_LOG_DEFAULT = 0,
    C4C_LOG_ERROR = 1,
    C4C_LOG_WARN = 2,
    C4C_LOG_INFO = 3,
    C4C_LOG_DEBUG = 4,
}

/// Receives a message of the library: its level (`C4C_LOG_*`) and a NUL-terminated UTF-8 text that lives for the call.
/// Called from any thread, perhaps from several at once; must not call back into the library.
pub type c4c_log_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char)>;

/// Told how many of `total` things are done, on the thread that called. Non-zero ends the call with `C4C_E_CANCELLED`.
pub type c4c_progress_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, done: usize, total: usize) -> i32>;

/// What `c4c_io.seek` gets as `whence` when it is asked for the size in bytes: it returns that, or a negative number if it is
/// not known, and stays where it is.
pub const C4C_SEEK_SIZE: i32 = 0x10000;

/// A token that cancels calls. Made by c4c_cancel_new, released by c4c_cancel_free.
pub struct c4c_cancel {
    pub(super) token: Cancel,
}
