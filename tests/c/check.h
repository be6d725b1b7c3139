/* What the C tests share. */
#ifndef CHECK_H
#define CHECK_H

#include "c4c.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);              \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

/* The call returns `expected`, says so in `err`, and its message contains `part`. */
#define FAILS(expected, part, call)                                             \
    do {                                                                        \
        c4c_error err = {0};                                                    \
        err.struct_size = sizeof err;                                           \
        c4c_status status_ = (call);                                            \
        if (status_ != (expected) || err.status != status_ || strstr(err.message, part) == NULL) { \
            printf("%s:%d: %s: %s \"%s\", expected %s \"%s\"\n", __FILE__, __LINE__, #call,        \
                   c4c_status_name(status_), err.message, c4c_status_name(expected), part);        \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

static inline double length(const float *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * v[i];
    return sqrt(sum);
}

static inline c4c_model *load(const char *weights) {
    c4c_options options = {0};
    c4c_error err = {0};
    c4c_model *model = NULL;
    options.struct_size = sizeof options;
    options.weights_path = weights;
    err.struct_size = sizeof err;
    if (c4c_create(&options, &model, &err) != C4C_OK) {
        printf("%s\n", err.message);
        exit(1);
    }
    return model;
}

/* What the process has mapped, and how much of it is resident. */
static inline size_t memory_bytes(int resident) {
    size_t pages[2] = {0, 0};
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%zu %zu", &pages[0], &pages[1]) == 2);
    fclose(statm);
    return pages[resident != 0] * (size_t)sysconf(_SC_PAGESIZE);
}

static inline double resident_mib(void) {
    return (double)memory_bytes(1) / (1 << 20);
}

/* Where calls write. */
enum { ROOM = 8192 };

static float out[ROOM];

static inline void fill(void) {
    for (size_t i = 0; i < ROOM; i++)
        out[i] = 7;
}

/* Nothing was written since `fill`. */
static inline void untouched(void) {
    for (size_t i = 0; i < ROOM; i++)
        CHECK(out[i] == 7);
}

static inline int64_t file_read(void *file, uint8_t *buffer, size_t size) {
    size_t n = fread(buffer, 1, size, (FILE *)file);
    return n == 0 && ferror((FILE *)file) ? -1 : (int64_t)n;
}

static inline int64_t file_seek(void *file, int64_t offset, int32_t whence) {
    long here = ftell((FILE *)file);
    int64_t size = -1;
    if (whence != C4C_SEEK_SIZE)
        return fseek((FILE *)file, (long)offset, whence) == 0 ? ftell((FILE *)file) : -1;
    if (fseek((FILE *)file, 0, SEEK_END) == 0)
        size = ftell((FILE *)file);
    return fseek((FILE *)file, here, SEEK_SET) == 0 ? size : -1;
}

/* A video file as each call wants it. */
typedef struct {
    const char *path;
    uint8_t *data;
    size_t size;
    FILE *file;
    c4c_io io;
} clip;

static inline clip open_clip(const char *path) {
    clip c = {path, NULL, 0, fopen(path, "rb"), {sizeof(c4c_io), 0, NULL, file_read, file_seek}};
    CHECK(c.file != NULL);
    c.io.user_data = c.file;
    c.size = (size_t)file_seek(c.file, 0, C4C_SEEK_SIZE);
    c.data = malloc(c.size);
    CHECK(c.data != NULL && fread(c.data, 1, c.size, c.file) == c.size);
    rewind(c.file);
    return c;
}

static inline void close_clip(clip *c) {
    free(c->data);
    fclose(c->file);
}

/* All calls that take a video fail alike and write nothing. `fill` comes first. */
#define VIDEO_CALLS_FAIL(expected, part, model, clip, options, limits)          \
    do {                                                                        \
        c4c_segments *segments_ = NULL;                                         \
        FAILS(expected, part, c4c_embed_video_path(model, (clip)->path, options, limits, out, ROOM, &err)); \
        FAILS(expected, part,                                                   \
              c4c_embed_video_memory(model, (clip)->data, (clip)->size, options, limits, out, ROOM, &err)); \
        rewind((clip)->file);                                                   \
        FAILS(expected, part, c4c_embed_video_io(model, &(clip)->io, options, limits, out, ROOM, &err)); \
        FAILS(expected, part,                                                   \
              c4c_embed_video_paths(model, &(clip)->path, 1, options, limits, NULL, NULL, out, ROOM, NULL, &err)); \
        FAILS(expected, part,                                                   \
              c4c_embed_segments(model, (clip)->path, options, 1000000, 500000, limits, &segments_, &err)); \
        CHECK(segments_ == NULL);                                               \
        untouched();                                                            \
    } while (0)

/* Likewise all calls that take limits. */
#define ALL_CALLS_FAIL(expected, part, model, clip, limits)                     \
    do {                                                                        \
        static const uint8_t pixel_[3] = {1, 2, 3};                             \
        const char *text_ = "a dog";                                            \
        c4c_frame frame_ = {0};                                                 \
        frame_.struct_size = sizeof frame_;                                     \
        frame_.format = C4C_PIXEL_RGB24;                                        \
        frame_.width = frame_.height = 1;                                       \
        frame_.planes[0] = pixel_;                                              \
        frame_.strides[0] = 3;                                                  \
        FAILS(expected, part, c4c_embed_text(model, &text_, 1, limits, out, ROOM, &err)); \
        FAILS(expected, part, c4c_embed_frames(model, &frame_, 1, limits, out, ROOM, &err)); \
        FAILS(expected, part, c4c_embed_images(model, &frame_, 1, limits, out, ROOM, &err)); \
        FAILS(expected, part, c4c_score(model, &text_, 1, &frame_, 1, limits, out, ROOM, &err)); \
        VIDEO_CALLS_FAIL(expected, part, model, clip, NULL, limits);            \
    } while (0)

#endif
