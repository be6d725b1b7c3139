/* What Go cannot say: its functions as C function pointers, and cgo handles, which are numbers, as user data. */
#ifndef C4C_GO_BRIDGE_H
#define C4C_GO_BRIDGE_H

#include <c4c.h>

/* c4c_create, with messages to the *slog.Logger of the handle; 0: none. */
c4c_status c4c_go_create(const c4c_options *options, uintptr_t logger, c4c_model **out_model, c4c_error *err);

/* c4c_embed_video_io on the *source of the handle. */
c4c_status c4c_go_embed_video_io(const c4c_model *model, uintptr_t source, int32_t seekable,
                                 const c4c_video_options *video, const c4c_call *call, float *out, size_t out_len,
                                 c4c_error *err);

/* c4c_embed_video_paths that tells the *observer of the handle; 0: nobody. */
c4c_status c4c_go_embed_video_paths(const c4c_model *model, const char *const *paths, size_t n_paths,
                                    const c4c_video_options *video, const c4c_call *call, uintptr_t progress,
                                    float *out, size_t out_len, c4c_status *statuses, c4c_error *err);

#endif
