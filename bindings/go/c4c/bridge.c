#include "bridge.h"
#include "_cgo_export.h"

static void log_message(void *handle, int32_t level, const char *message) {
    c4cGoLog((uintptr_t)handle, level, (char *)message);
}

static int32_t report_progress(void *handle, size_t done, size_t total) {
    return c4cGoProgress((uintptr_t)handle, done, total);
}

static int64_t read_bytes(void *handle, uint8_t *buffer, size_t size) {
    return c4cGoRead((uintptr_t)handle, buffer, size);
}

static int64_t seek_to(void *handle, int64_t offset, int32_t whence) {
    return c4cGoSeek((uintptr_t)handle, offset, whence);
}

c4c_status c4c_go_create(const c4c_options *options, uintptr_t logger, c4c_model **out_model, c4c_error *err) {
    c4c_options with_log = *options;
    if (logger != 0) {
        with_log.log = log_message;
        with_log.log_user_data = (void *)logger;
    }
    return c4c_create(&with_log, out_model, err);
}

c4c_status c4c_go_embed_video_io(const c4c_model *model, uintptr_t source, int32_t seekable,
                                 const c4c_video_options *video, const c4c_call *call, float *out, size_t out_len,
                                 c4c_error *err) {
    const c4c_io io = {
        .struct_size = sizeof io,
        .user_data = (void *)source,
        .read = read_bytes,
        .seek = seekable ? seek_to : NULL,
    };
    return c4c_embed_video_io(model, &io, video, call, out, out_len, err);
}

c4c_status c4c_go_embed_video_paths(const c4c_model *model, const char *const *paths, size_t n_paths,
                                    const c4c_video_options *video, const c4c_call *call, uintptr_t progress,
                                    float *out, size_t out_len, c4c_status *statuses, c4c_error *err) {
    return c4c_embed_video_paths(model, paths, n_paths, video, call, progress != 0 ? report_progress : NULL,
                                 (void *)progress, out, out_len, statuses, err);
}
