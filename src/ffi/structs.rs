//! The structs that cross the border. Each begins with its size as the caller knows it.

use std::os::raw::{c_char, c_void};

use super::types::{c4c_cancel, c4c_log_fn, c4c_status};

/// What went wrong. Owned by the caller; set `struct_size` and pass it, or pass NULL. A failing call fills it, a
/// succeeding one resets it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct c4c_error {
    /// `sizeof(c4c_error)`
    pub struct_size: u32,
    /// The call's result.
    pub status: c4c_status,
    /// NUL-terminated UTF-8, cut where it does not fit; empty on success, but for calls that say otherwise.
    pub message: [c_char; 504],
}

/// How one call may end before its time. NULL wherever it is taken: no limit.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct c4c_call {
    /// `sizeof(c4c_call)`
    pub struct_size: u32,
    /// 0
    pub reserved: u32,
    /// Microseconds from the call on, then `C4C_E_TIMEOUT`. 0: no limit.
    pub timeout_us: i64,
    /// Ends the call with `C4C_E_CANCELLED` when fired. NULL: nothing does.
    pub cancel: *const c4c_cancel,
}

/// What to load and how to run it. Zero in a field means its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct c4c_options {
    /// `sizeof(c4c_options)`
    pub struct_size: u32,
    /// `C4C_MODALITY_*`
    pub modality: u32,
    /// NULL: whatever the weights are. `"clip_vit_b32"` or `"clip_vit_b16"`: they must be that model's.
    pub model_name: *const c_char,
    /// A checkpoint file, an index of shards, or a model folder: CLIP4Clip's `pytorch_model.bin.N`, OpenAI's TorchScript
    /// archives, Hugging Face's and OpenCLIP's files. Told by their content. Required.
    pub weights_path: *const c_char,
    /// A `tokenizer.json`. NULL: the one in a Hugging Face model folder, else CLIP's own, built in.
    pub tokenizer_path: *const c_char,
    /// NULL or `"auto"`: the first GPU where CUDA can be used, else the CPU; `c4c_get_info` says which and why. `"cpu"`. `"cuda"`,
    /// which is `"cuda:0"`; `"cuda:N"`; several as `"cuda:0,cuda:1"`, or all as `"cuda:*"`: each gets a copy of the weights, and
    /// passes go to whichever is free. `C4C_E_DEVICE` with the reason where a GPU that is named cannot be used.
    pub device: *const c_char,
    /// `C4C_PRECISION_*`
    pub precision: u32,
    /// `C4C_HEAD_*`
    pub head: u32,
    /// `C4C_ACTIVATION_*`
    pub activation: u32,
    /// The token ids that a text is cut to, start and end counted: 1 to the model's context. 0: 32, as the operator.
    pub max_words: u32,
    /// `C4C_RAW_OUTPUT`, `C4C_STRICT_TEXT`, `C4C_NO_CUDA_GRAPHS`
    pub flags: u32,
    /// Threads of one forward pass on the CPU, at most 1024. 0: one per core that the process may use. This also sets the number
    /// that libtorch gives to new threads of the process which use it; models do not disturb each other's.
    pub num_threads: u32,
    /// The most images in one forward pass, of whatever callers, at most 4096. 0: chosen.
    pub max_batch: u32,
    /// Microseconds that texts or images which do not fill a forward pass wait for those of other callers. 0: not at all.
    pub max_batch_delay_us: u32,
    /// Receives messages. NULL: the library is silent.
    pub log: c4c_log_fn,
    /// Handed to `log`. Must stay valid until `c4c_free` returns.
    pub log_user_data: *mut c_void,
    /// `C4C_LOG_*`
    pub log_level: u32,
    /// 0
    pub reserved: u32,
}

/// A picture in the caller's memory, borrowed for the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct c4c_frame {
    /// `sizeof(c4c_frame)`; the same in all elements of an array.
    pub struct_size: u32,
    /// `C4C_PIXEL_*`
    pub format: u32,
    /// Pixels, at least 1.
    pub width: u32,
    /// Pixels, at least 1.
    pub height: u32,
    /// The first byte of the top row of each plane. Planes that the format does not have are not looked at.
    pub planes: [*const u8; 4],
    /// Bytes from a row to the one below it, at least a row's. Negative: the rows lie bottom-up.
    pub strides: [i64; 4],
    /// `C4C_MATRIX_*`
    pub color_matrix: u32,
    /// `C4C_RANGE_*`
    pub color_range: u32,
    /// Clockwise degrees to show it upright: 0, 90, 180 or 270.
    pub rotation: u32,
    /// 0
    pub reserved: u32,
    /// `C4C_LOCATION_*`; the same in all elements of an array.
    pub location: u32,
    /// With `C4C_LOCATION_CUDA` CUDA's number of the GPU whose memory the planes point to, else 0. It need not be the model's.
    pub device_index: u32,
    /// With `C4C_LOCATION_CUDA` the `cudaStream_t` whose work so far makes the pixels, NULL for the default stream; else NULL.
    /// They may change again when the call returns.
    pub stream: *mut c_void,
}

/// How a video file is sampled and decoded. Zero in a field means its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct c4c_video_options {
    /// `sizeof(c4c_video_options)`
    pub struct_size: u32,
    /// Frames that make the embedding, at most 4096; KEYFRAMES and FPS may find fewer. 0: 12.
    pub num_frames: u32,
    /// `C4C_SAMPLING_*`
    pub sampling: u32,
    /// `C4C_SEEK_*`
    pub seek: u32,
    /// Frames per second with `C4C_SAMPLING_FPS`, else 0.
    pub fps: f64,
    /// Only frames that are shown from here on, in microseconds from the first frame.
    pub start_us: i64,
    /// Only frames that are shown before this. 0: to the end. Where no frame begins between the two, the one that is on the
    /// screen at `start_us`.
    pub end_us: i64,
    /// `C4C_COLOR_*`
    pub color: u32,
    /// `C4C_APPLY_ROTATION`, `C4C_ALLOW_NETWORK`, `C4C_STRICT_DECODE`
    pub flags: u32,
    /// Threads that decode, at most 256. 0: one per core that the process may use. Over all calls on files and memory, no more
    /// decode at a time than there are cores: they take turns.
    pub decode_threads: u32,
    /// 1 for stream 0 and so on. 0: the best video stream.
    pub stream_index_plus_1: u32,
    /// The most pixels that a frame may have. 0: 8192 * 8192.
    pub max_pixels: u64,
    /// `C4C_HWACCEL_*`
    pub hwaccel: u32,
    /// The number of the GPU that decodes with `C4C_HWACCEL_CUDA`, else 0.
    pub hwaccel_device: u32,
}

/// Where the bytes of a video come from, for c4c_embed_video_io. The functions are called by the thread that made the call,
/// one at a time.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct c4c_io {
    /// `sizeof(c4c_io)`
    pub struct_size: u32,
    /// 0
    pub reserved: u32,
    /// Handed to the functions.
    pub user_data: *mut c_void,
    /// Fills `buffer` with up to `size` bytes and returns how many; 0 at the end, negative on error. Required.
    pub read: Option<unsafe extern "C" fn(user_data: *mut c_void, buffer: *mut u8, size: usize) -> i64>,
    /// Goes to `offset` from the beginning, from here or from the end (`whence`: SEEK_SET, SEEK_CUR, SEEK_END of stdio.h) and
    /// returns the new place, or with C4C_SEEK_SIZE the size; negative on error. NULL: the bytes come once, in order.
    pub seek: Option<unsafe extern "C" fn(user_data: *mut c_void, offset: i64, whence: i32) -> i64>,
}

/// What was loaded, and how it runs. Zero the struct, set `struct_size`, and let `c4c_get_info` fill it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct c4c_info {
    /// `sizeof(c4c_info)`
    pub struct_size: u32,
    /// Floats in one embedding.
    pub dim: u32,
    /// `C4C_MODALITY_*`
    pub modality: u32,
    /// `C4C_HEAD_*`; never AUTO.
    pub head: u32,
    /// `C4C_ACTIVATION_*`; never AUTO.
    pub activation: u32,
    /// `C4C_PRECISION_*`; never AUTO.
    pub precision: u32,
    /// Threads of one forward pass.
    pub num_threads: u32,
    /// The most images in one forward pass.
    pub max_batch: u32,
    /// Token ids that a text is cut to.
    pub max_words: u32,
    /// Side of the vision tower's square input in pixels; 0 without that tower.
    pub image_size: u32,
    /// Side of a patch in pixels; 0 without vision tower.
    pub patch_size: u32,
    /// 0 without vision tower.
    pub vision_width: u32,
    /// 0 without vision tower.
    pub vision_layers: u32,
    /// 0 without text tower.
    pub text_width: u32,
    /// 0 without text tower.
    pub text_layers: u32,
    /// The longest sequence of token ids; 0 without text tower.
    pub context_length: u32,
    /// 0 without text tower.
    pub vocab_size: u32,
    /// The natural logarithm of the temperature that multiplies cosines in training; 0 where the weights have none.
    pub logit_scale: f32,
    /// `"cpu"`, `"cuda:0"`, `"cuda:0,cuda:1"`; `"8 GPUs"` and the like where the list does not fit.
    pub device: [c_char; 32],
    /// `"clip_vit_b32"` and the like, or `"custom"`.
    pub model_name: [c_char; 32],
    /// The checkpoint's container and naming: `"torch.save/clip4clip"`.
    pub weights: [c_char; 64],
    /// Why `"auto"` took the CPU, and not a GPU; else empty.
    pub device_note: [c_char; 256],
}

/// What a model has done since it was made, and what it holds now. Zero the struct, set `struct_size`, and let
/// `c4c_get_stats` fill it. Times are sums over all calls and threads.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct c4c_stats {
    /// `sizeof(c4c_stats)`
    pub struct_size: u32,
    /// 0
    pub reserved: u32,
    /// Calls that embed or score, begun.
    pub calls: u64,
    /// Of these, not ended yet.
    pub running: u64,
    /// Of these, ended by what is wrong with the arguments, or by what the model is not made for: -1 to -3, -23 to -25.
    pub failed_argument: u64,
    /// By a video: -60 to -65.
    pub failed_media: u64,
    /// By C4C_E_OUT_OF_MEMORY.
    pub failed_memory: u64,
    /// By any other error.
    pub failed_other: u64,
    /// By C4C_E_CANCELLED.
    pub cancelled: u64,
    /// By C4C_E_TIMEOUT.
    pub timed_out: u64,
    /// Texts that went through the model.
    pub texts: u64,
    /// Images that went through the model. A frame that repeats the one before it goes once.
    pub images: u64,
    /// Forward passes of the text tower.
    pub text_batches: u64,
    /// Forward passes of the vision tower.
    pub image_batches: u64,
    /// Texts in a pass, on average; 0 before the first.
    pub mean_text_batch: f64,
    /// Images in a pass, on average; 0 before the first.
    pub mean_image_batch: f64,
    /// Texts that wait for the model now.
    pub queued_texts: u64,
    /// Images that wait for the model now.
    pub queued_images: u64,
    /// Calls that wait now for room in the queues, and decoders that wait for a core, which all models of the process share.
    pub waiting_calls: u64,
    /// Bytes of images and token ids that wait for the model or are in a pass.
    pub bytes_held: u64,
    /// How long texts and images waited between being handed over and their pass.
    pub queue_us: i64,
    /// How long calls took to find and decode frames: waiting for cores included, waiting for room in the queues not.
    pub decode_us: i64,
    /// Converting, scaling and cropping; for videos a part of the above, on however many threads.
    pub preprocess_us: i64,
    /// Forward passes of the text tower.
    pub text_forward_us: i64,
    /// Forward passes of the vision tower.
    pub image_forward_us: i64,
    /// Bytes of the model's GPUs that libtorch holds for this process: all models' weights and passes, and what it keeps for
    /// the next ones. 0 on a CPU.
    pub device_bytes: u64,
}
