/* Names, numbers and layouts that programs are compiled against. Compiles as C99, C11 and C++17; does nothing at run
 * time. The header is included twice on purpose. */
#include "c4c.h"
#include "c4c.h"

#define CONCAT_(a, b) a##b
#define CONCAT(a, b) CONCAT_(a, b)
#define HOLDS(condition) typedef char CONCAT(holds_on_line_, __LINE__)[(condition) ? 1 : -1]
#define AT(type, field, offset) HOLDS(offsetof(type, field) == (offset))

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-local-typedefs"
#endif

HOLDS(sizeof(void *) == 8);
HOLDS(C4C_ABI_VERSION == 0);
HOLDS(C4C_SEEK_SIZE == 0x10000);

HOLDS(sizeof(c4c_status) == 4);
HOLDS(C4C_OK == 0);
HOLDS(C4C_E_INVALID_ARGUMENT == -1);
HOLDS(C4C_E_BUFFER_TOO_SMALL == -2);
HOLDS(C4C_E_UNSUPPORTED == -3);
HOLDS(C4C_E_CLOSED == -4);
HOLDS(C4C_E_FORKED == -5);
HOLDS(C4C_E_WEIGHTS_IO == -20);
HOLDS(C4C_E_WEIGHTS_FORMAT == -21);
HOLDS(C4C_E_WEIGHTS_MISMATCH == -22);
HOLDS(C4C_E_MODALITY == -23);
HOLDS(C4C_E_TOKENIZER == -24);
HOLDS(C4C_E_TEXT_TOO_LONG == -25);
HOLDS(C4C_E_DEVICE == -40);
HOLDS(C4C_E_OUT_OF_MEMORY == -41);
HOLDS(C4C_E_BACKEND == -42);
HOLDS(C4C_E_MEDIA_IO == -60);
HOLDS(C4C_E_MEDIA_FORMAT == -61);
HOLDS(C4C_E_NO_VIDEO == -62);
HOLDS(C4C_E_DECODE == -63);
HOLDS(C4C_E_LIMIT == -64);
HOLDS(C4C_E_FORBIDDEN == -65);
HOLDS(C4C_E_CANCELLED == -80);
HOLDS(C4C_E_TIMEOUT == -81);
HOLDS(C4C_E_INTERNAL == -99);

HOLDS(C4C_MODALITY_BOTH == 0 && C4C_MODALITY_TEXT == 1 && C4C_MODALITY_VIDEO == 2);
HOLDS(C4C_PRECISION_AUTO == 0 && C4C_PRECISION_F32 == 1 && C4C_PRECISION_BF16 == 2);
HOLDS(C4C_PRECISION_F16 == 3 && C4C_PRECISION_INT8 == 4);
HOLDS(C4C_HEAD_AUTO == 0 && C4C_HEAD_MEAN == 1 && C4C_HEAD_SEQ_TRANSF == 2);
HOLDS(C4C_HEAD_SEQ_LSTM == 3 && C4C_HEAD_TIGHT_TRANSF == 4);
HOLDS(C4C_ACTIVATION_AUTO == 0 && C4C_ACTIVATION_QUICK_GELU == 1 && C4C_ACTIVATION_GELU == 2);
HOLDS(C4C_PIXEL_RGB24 == 1 && C4C_PIXEL_BGR24 == 2 && C4C_PIXEL_RGBA == 3 && C4C_PIXEL_BGRA == 4);
HOLDS(C4C_PIXEL_GRAY8 == 5 && C4C_PIXEL_I420 == 6 && C4C_PIXEL_NV12 == 7);
HOLDS(C4C_LOCATION_HOST == 0 && C4C_LOCATION_CUDA == 1);
HOLDS(C4C_MATRIX_UNKNOWN == 0 && C4C_MATRIX_BT601 == 1 && C4C_MATRIX_BT709 == 2 && C4C_MATRIX_BT2020 == 3);
HOLDS(C4C_RANGE_UNKNOWN == 0 && C4C_RANGE_LIMITED == 1 && C4C_RANGE_FULL == 2);
HOLDS(C4C_SAMPLING_UNIFORM == 0 && C4C_SAMPLING_KEYFRAMES == 1 && C4C_SAMPLING_FPS == 2);
HOLDS(C4C_SEEK_EXACT == 0 && C4C_SEEK_APPROXIMATE == 1);
HOLDS(C4C_HWACCEL_NONE == 0 && C4C_HWACCEL_CUDA == 1);
HOLDS(C4C_COLOR_TAGGED == 0 && C4C_COLOR_OPERATOR == 1);
HOLDS(C4C_RAW_OUTPUT == 1 && C4C_STRICT_TEXT == 2 && C4C_NO_CUDA_GRAPHS == 4);
HOLDS(C4C_APPLY_ROTATION == 1 && C4C_ALLOW_NETWORK == 2 && C4C_STRICT_DECODE == 4);
HOLDS(C4C_LOG_DEFAULT == 0 && C4C_LOG_ERROR == 1 && C4C_LOG_WARN == 2 && C4C_LOG_INFO == 3 && C4C_LOG_DEBUG == 4);

HOLDS(sizeof(c4c_error) == 512);
AT(c4c_error, status, 4);
AT(c4c_error, message, 8);

HOLDS(sizeof(c4c_call) == 24);
AT(c4c_call, reserved, 4);
AT(c4c_call, timeout_us, 8);
AT(c4c_call, cancel, 16);

HOLDS(sizeof(c4c_options) == 96);
AT(c4c_options, modality, 4);
AT(c4c_options, model_name, 8);
AT(c4c_options, weights_path, 16);
AT(c4c_options, tokenizer_path, 24);
AT(c4c_options, device, 32);
AT(c4c_options, precision, 40);
AT(c4c_options, head, 44);
AT(c4c_options, activation, 48);
AT(c4c_options, max_words, 52);
AT(c4c_options, flags, 56);
AT(c4c_options, num_threads, 60);
AT(c4c_options, max_batch, 64);
AT(c4c_options, max_batch_delay_us, 68);
AT(c4c_options, log, 72);
AT(c4c_options, log_user_data, 80);
AT(c4c_options, log_level, 88);
AT(c4c_options, reserved, 92);

HOLDS(sizeof(c4c_frame) == 112);
AT(c4c_frame, format, 4);
AT(c4c_frame, width, 8);
AT(c4c_frame, height, 12);
AT(c4c_frame, planes, 16);
AT(c4c_frame, strides, 48);
AT(c4c_frame, color_matrix, 80);
AT(c4c_frame, color_range, 84);
AT(c4c_frame, rotation, 88);
AT(c4c_frame, reserved, 92);
AT(c4c_frame, location, 96);
AT(c4c_frame, device_index, 100);
AT(c4c_frame, stream, 104);

HOLDS(sizeof(c4c_video_options) == 72);
AT(c4c_video_options, num_frames, 4);
AT(c4c_video_options, sampling, 8);
AT(c4c_video_options, seek, 12);
AT(c4c_video_options, fps, 16);
AT(c4c_video_options, start_us, 24);
AT(c4c_video_options, end_us, 32);
AT(c4c_video_options, color, 40);
AT(c4c_video_options, flags, 44);
AT(c4c_video_options, decode_threads, 48);
AT(c4c_video_options, stream_index_plus_1, 52);
AT(c4c_video_options, max_pixels, 56);
AT(c4c_video_options, hwaccel, 64);
AT(c4c_video_options, hwaccel_device, 68);

HOLDS(sizeof(c4c_io) == 32);
AT(c4c_io, reserved, 4);
AT(c4c_io, user_data, 8);
AT(c4c_io, read, 16);
AT(c4c_io, seek, 24);

HOLDS(sizeof(c4c_info) == 456);
AT(c4c_info, dim, 4);
AT(c4c_info, logit_scale, 68);
AT(c4c_info, device, 72);
AT(c4c_info, model_name, 104);
AT(c4c_info, weights, 136);
AT(c4c_info, device_note, 200);

HOLDS(sizeof(c4c_stats) == 200);
AT(c4c_stats, calls, 8);
AT(c4c_stats, timed_out, 64);
AT(c4c_stats, texts, 72);
AT(c4c_stats, mean_text_batch, 104);
AT(c4c_stats, queued_texts, 120);
AT(c4c_stats, bytes_held, 144);
AT(c4c_stats, queue_us, 152);
AT(c4c_stats, image_forward_us, 184);
AT(c4c_stats, device_bytes, 192);

/* What hosts define, with the types that they have it in. */
int64_t host_read(void *, uint8_t *, size_t);
int64_t host_seek(void *, int64_t, int32_t);
int32_t host_progress(void *, size_t, size_t);
void host_log(void *, int32_t, const char *);
c4c_io io = {sizeof(c4c_io), 0, NULL, host_read, host_seek};
c4c_progress_fn progress = host_progress;
c4c_log_fn logging = host_log;

/* Every function with the type that it must have. */
c4c_status (*const create)(const c4c_options *, c4c_model **, c4c_error *) = c4c_create;
void (*const release)(c4c_model *) = c4c_free;
c4c_status (*const trim)(const c4c_model *, c4c_error *) = c4c_trim;
size_t (*const dim)(const c4c_model *) = c4c_dim;
c4c_status (*const get_info)(const c4c_model *, c4c_info *, c4c_error *) = c4c_get_info;
c4c_status (*const similarity)(const float *, size_t, const float *, size_t, size_t, float *, size_t, c4c_error *) =
    c4c_similarity;
c4c_status (*const get_stats)(const c4c_model *, c4c_stats *, c4c_error *) = c4c_get_stats;
c4c_status (*const embed_text)(const c4c_model *, const char *const *, size_t, const c4c_call *, float *, size_t,
                               c4c_error *) = c4c_embed_text;
c4c_status (*const embed_frames)(const c4c_model *, const c4c_frame *, size_t, const c4c_call *, float *, size_t,
                                 c4c_error *) = c4c_embed_frames;
c4c_status (*const embed_images)(const c4c_model *, const c4c_frame *, size_t, const c4c_call *, float *, size_t,
                                 c4c_error *) = c4c_embed_images;
c4c_status (*const embed_video_path)(const c4c_model *, const char *, const c4c_video_options *, const c4c_call *,
                                     float *, size_t, c4c_error *) = c4c_embed_video_path;
c4c_status (*const embed_video_memory)(const c4c_model *, const void *, size_t, const c4c_video_options *,
                                       const c4c_call *, float *, size_t, c4c_error *) = c4c_embed_video_memory;
c4c_status (*const embed_video_io)(const c4c_model *, const c4c_io *, const c4c_video_options *, const c4c_call *,
                                   float *, size_t, c4c_error *) = c4c_embed_video_io;
c4c_status (*const embed_video_paths)(const c4c_model *, const char *const *, size_t, const c4c_video_options *,
                                      const c4c_call *, c4c_progress_fn, void *, float *, size_t, c4c_status *,
                                      c4c_error *) = c4c_embed_video_paths;
c4c_status (*const embed_segments)(const c4c_model *, const char *, const c4c_video_options *, int64_t, int64_t,
                                   const c4c_call *, c4c_segments **, c4c_error *) = c4c_embed_segments;
size_t (*const segments_count)(const c4c_segments *) = c4c_segments_count;
const float *(*const segments_data)(const c4c_segments *) = c4c_segments_data;
c4c_status (*const segments_time)(const c4c_segments *, size_t, int64_t *, int64_t *) = c4c_segments_time;
void (*const segments_free)(c4c_segments *) = c4c_segments_free;
c4c_cancel *(*const cancel_new)(void) = c4c_cancel_new;
void (*const cancel_fire)(c4c_cancel *) = c4c_cancel_fire;
void (*const cancel_free)(c4c_cancel *) = c4c_cancel_free;
c4c_status (*const score)(const c4c_model *, const char *const *, size_t, const c4c_frame *, size_t, const c4c_call *,
                          float *, size_t, c4c_error *) = c4c_score;
const char *(*const status_name)(c4c_status) = c4c_status_name;
const char *(*const version)(void) = c4c_version;
uint32_t (*const abi_version)(void) = c4c_abi_version;
const char *(*const build_info)(void) = c4c_build_info;
c4c_status (*const cuda_devices)(uint32_t *, c4c_error *) = c4c_cuda_devices;
