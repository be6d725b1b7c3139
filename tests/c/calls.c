/* What calls give, and how they end before their time: sources, lists of files, windows, limits, kinds of frames.
 *
 *     calls WEIGHTS MP4 MKV TS
 */
#define _DEFAULT_SOURCE /* usleep */
#include "check.h"

#include <pthread.h>

static c4c_model *model;
static size_t dim;

static int same(const float *a, const float *b) {
    return memcmp(a, b, dim * sizeof *a) == 0;
}

static void embed(const char *path, const c4c_video_options *options, float *to) {
    FAILS(C4C_OK, "", c4c_embed_video_path(model, path, options, NULL, to, dim, &err));
    CHECK(fabs(length(to, dim) - 1) < 1e-6);
}

static c4c_call limited(int64_t timeout_us, const c4c_cancel *cancel) {
    c4c_call call = {sizeof call, 0, timeout_us, cancel};
    return call;
}

static void *fire(void *cancel) {
    c4c_cancel_fire(cancel);
    return NULL;
}

static void fire_from_another_thread(c4c_cancel *cancel) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fire, cancel) == 0 && pthread_join(thread, NULL) == 0);
}

/* A host's reader that hands out small pieces and can be made to misbehave. */
typedef struct {
    const clip *clip;
    size_t most;         /* bytes that one read gives */
    long reads, seeks;   /* so many so far */
    long wrong_read;     /* the number of the first that goes wrong; -1: none */
    long wrong_seek;     /* likewise */
    int64_t read_result; /* what wrong reads return, beyond the size asked for if positive */
    int once;            /* whether the next read is right again */
    int knows_size;
    c4c_cancel *cancel; /* fired by the wrong read, which then is right */
    unsigned delay_us;  /* slept there, likewise */
    int lost;           /* whether a wrong read kept bytes back */
    pthread_t caller;
} reader;

static int64_t reader_read(void *user_data, uint8_t *buffer, size_t size) {
    reader *r = user_data;
    CHECK(pthread_equal(r->caller, pthread_self()) && size > 0);
    const long number = r->reads++;
    if (r->wrong_read >= 0 && (number == r->wrong_read || (number > r->wrong_read && !r->once))) {
        if (r->cancel == NULL && r->delay_us == 0) {
            r->lost |= ftell(r->clip->file) < (long)r->clip->size;
            return r->read_result < 0 ? r->read_result : (int64_t)size + r->read_result;
        }
        if (r->cancel != NULL)
            fire_from_another_thread(r->cancel);
        usleep(r->delay_us);
    }
    return file_read(r->clip->file, buffer, size < r->most ? size : r->most);
}

static int64_t reader_seek(void *user_data, int64_t offset, int32_t whence) {
    reader *r = user_data;
    CHECK(pthread_equal(r->caller, pthread_self()));
    CHECK(whence == SEEK_SET || whence == SEEK_CUR || whence == SEEK_END || whence == C4C_SEEK_SIZE);
    if ((whence == C4C_SEEK_SIZE && !r->knows_size) || (r->wrong_seek >= 0 && r->seeks++ >= r->wrong_seek))
        return -1;
    return file_seek(r->clip->file, offset, whence);
}

/* A well-behaved reader of the clip from its beginning. */
static reader reader_of(const clip *c) {
    reader r = {c, 1 + c->size / 12, 0, 0, -1, -1, -1, 0, 1, NULL, 0, 0, pthread_self()};
    rewind(c->file);
    return r;
}

static c4c_io io_of(reader *r, int seekable) {
    c4c_io io = {sizeof io, 0, r, reader_read, seekable ? reader_seek : NULL};
    return io;
}

/* A file, memory, and a host's reader of any kind are the same video. */
static void sources(const clip *c, int in_order) {
    float expected[ROOM];
    embed(c->path, NULL, expected);
    FAILS(C4C_OK, "", c4c_embed_video_memory(model, c->data, c->size, NULL, NULL, out, dim, &err));
    CHECK(same(out, expected) && out[dim] == 7);
    rewind(c->file);
    fill();
    FAILS(C4C_OK, "", c4c_embed_video_io(model, &c->io, NULL, NULL, out, dim, &err));
    CHECK(same(out, expected) && out[dim] == 7);
    for (int kind = 0; kind < 4; kind++) {
        reader r = reader_of(c);
        r.knows_size = kind != 1;
        r.most = kind == 2 ? 100 : r.most;
        c4c_io io = io_of(&r, kind != 3);
        fill();
        c4c_status status = c4c_embed_video_io(model, &io, NULL, NULL, out, dim, NULL);
        /* MP4's index is at the end; small files are buffered, and it is found nevertheless. */
        CHECK(status == C4C_OK || (kind == 3 && !in_order));
        if (status == C4C_OK)
            CHECK(same(out, expected));
        else
            untouched();
    }

    /* Options reach every source. */
    c4c_video_options options = {0};
    options.struct_size = sizeof options;
    options.num_frames = 3;
    options.start_us = 500000;
    options.end_us = 1200000;
    float part[ROOM];
    embed(c->path, &options, part);
    CHECK(!same(part, expected));
    FAILS(C4C_OK, "", c4c_embed_video_memory(model, c->data, c->size, &options, NULL, out, dim, &err));
    CHECK(same(out, part));
    reader r = reader_of(c);
    c4c_io io = io_of(&r, !in_order);
    FAILS(C4C_OK, "", c4c_embed_video_io(model, &io, &options, NULL, out, dim, &err));
    CHECK(same(out, part));
    fill();
}

/* Options that change nothing for a file of 50 whole frames at 25 per second, without tags, with one key frame. */
static void options(const char *path) {
    float all[ROOM], first[ROOM];
    c4c_video_options plain = {0}, options;
    plain.struct_size = sizeof plain;
    plain.num_frames = 1;
    embed(path, &plain, first);
    plain.num_frames = 50;
    embed(path, &plain, all);
    CHECK(!same(first, all));
#define SAME(expected, change)                                                  \
    do {                                                                        \
        options = plain;                                                        \
        change;                                                                 \
        embed(path, &options, out);                                             \
        CHECK(same(out, expected));                                             \
    } while (0)
    SAME(all, options.seek = C4C_SEEK_APPROXIMATE);
    SAME(all, options.sampling = C4C_SAMPLING_FPS; options.fps = 25);
    SAME(all, options.sampling = C4C_SAMPLING_FPS; options.fps = 1e9);
    SAME(first, options.sampling = C4C_SAMPLING_FPS; options.fps = 1e-300);
    SAME(first, options.sampling = C4C_SAMPLING_KEYFRAMES);
    SAME(all, options.color = C4C_COLOR_OPERATOR);
    SAME(all, options.flags = C4C_APPLY_ROTATION | C4C_ALLOW_NETWORK | C4C_STRICT_DECODE);
    SAME(all, options.end_us = INT64_MAX);
    SAME(first, options.end_us = 1; options.num_frames = 1);
    SAME(all, options.decode_threads = 256);
    SAME(all, options.stream_index_plus_1 = 1);
    SAME(all, options.max_pixels = 320 * 240);
    fill();
}

enum { ERROR, ERROR_ONCE, TOO_MANY, CANCEL, KINDS };

/* Whichever read goes wrong. */
static void bad_readers(const clip *c, int seekable) {
    float expected[ROOM];
    embed(c->path, NULL, expected);
    for (int kind = 0; kind < KINDS; kind++) {
        for (long wrong = 0;; wrong++) {
            reader r = reader_of(c);
            c4c_io io = io_of(&r, seekable);
            c4c_cancel *cancel = kind == CANCEL ? c4c_cancel_new() : NULL;
            c4c_call call = limited(0, cancel);
            c4c_error err = {0};
            err.struct_size = sizeof err;
            r.wrong_read = wrong;
            r.read_result = kind == TOO_MANY ? 1 : wrong % 2 == 0 ? -1 : INT64_MIN;
            r.once = kind == ERROR_ONCE;
            r.cancel = cancel;
            c4c_status status = c4c_embed_video_io(model, &io, NULL, &call, out, ROOM, &err);
            c4c_cancel_free(cancel);
            if (r.reads <= wrong) { /* It is over before that. */
                CHECK(status == C4C_OK && wrong > 10 && same(out, expected));
                fill();
                break;
            }
            /* One more look behind the end, and bytes that came when they were asked for again, may be done without. */
            if (status == C4C_OK && kind != CANCEL && (r.once || !r.lost)) {
                CHECK(same(out, expected));
                fill();
                continue;
            }
            const char *part = kind == CANCEL ? "cancelled" : kind == TOO_MANY ? "more than" : "io.read returned -";
            if (status != (kind == CANCEL ? C4C_E_CANCELLED : C4C_E_MEDIA_IO) || strstr(err.message, part) == NULL) {
                printf("%s, read %ld, kind %d: %s \"%s\"\n", c->path, wrong, kind, c4c_status_name(status),
                       err.message);
                exit(1);
            }
            /* Limits are looked at before each read. */
            CHECK(kind != CANCEL || r.reads == wrong + 1);
            untouched();
        }
    }

    /* A place that cannot be reached may or may not be needed. */
    for (long wrong = 0, seeks = 1; seekable && wrong < seeks; wrong++) {
        reader r = reader_of(c);
        c4c_io io = io_of(&r, 1);
        r.wrong_seek = wrong;
        fill();
        if (c4c_embed_video_io(model, &io, NULL, NULL, out, ROOM, NULL) == C4C_OK)
            CHECK(same(out, expected));
        else
            untouched();
        seeks = r.seeks;
    }
    fill();
}

/* Limits that have passed when the call begins end every call, but come behind its arguments. */
static void passed(clip *c) {
    c4c_cancel *cancel = c4c_cancel_new();
    CHECK(cancel != NULL);
    c4c_cancel_fire(cancel);
    c4c_cancel_fire(cancel);
    c4c_call cancelled = limited(0, cancel);
    ALL_CALLS_FAIL(C4C_E_CANCELLED, "cancelled", model, c, &cancelled);
    cancelled.timeout_us = INT64_MAX;
    ALL_CALLS_FAIL(C4C_E_CANCELLED, "cancelled", model, c, &cancelled);
    c4c_call late = limited(1, NULL);
    ALL_CALLS_FAIL(C4C_E_TIMEOUT, "deadline", model, c, &late);
    c4c_status statuses[2] = {9, 9};
    const char *paths[2] = {c->path, "no/such"};
    FAILS(C4C_E_CANCELLED, "",
          c4c_embed_video_paths(model, paths, 2, NULL, &cancelled, NULL, NULL, out, ROOM, statuses, &err));
    FAILS(C4C_E_TIMEOUT, "",
          c4c_embed_video_paths(model, paths, 2, NULL, &late, NULL, NULL, out, ROOM, statuses, &err));
    CHECK(statuses[0] == 9 && statuses[1] == 9);
    FAILS(C4C_E_INVALID_ARGUMENT, "out is NULL", c4c_embed_video_path(model, c->path, NULL, &cancelled, NULL, 0, &err));
    FAILS(C4C_E_BUFFER_TOO_SMALL, "", c4c_embed_video_path(model, c->path, NULL, &late, out, 0, &err));
    untouched();
    c4c_cancel_free(cancel);

    /* Limits that nothing reaches change nothing, and one token serves many calls. */
    float expected[ROOM];
    embed(c->path, NULL, expected);
    cancel = c4c_cancel_new();
    for (int i = 0; i < 2; i++) {
        c4c_call call = limited(i == 0 ? 0 : INT64_MAX, cancel);
        FAILS(C4C_OK, "", c4c_embed_video_path(model, c->path, NULL, &call, out, ROOM, &err));
        CHECK(same(out, expected));
    }
    c4c_cancel_free(cancel);
    fill();
}

/* What the progress callback has heard, and what it is to do. */
typedef struct {
    size_t calls, total, stop_at;
    c4c_cancel *cancel;  /* fired by another thread at the first call */
    c4c_cancel *release; /* freed at the first call */
    pthread_t *thread;   /* fires `cancel` and is not waited for */
    unsigned delay_us;
    pthread_t caller;
} heard;

static int32_t progress(void *user_data, size_t done, size_t total) {
    heard *h = user_data;
    CHECK(pthread_equal(h->caller, pthread_self()));
    CHECK(done == ++h->calls && total == h->total);
    if (done == 1 && h->thread != NULL)
        CHECK(pthread_create(h->thread, NULL, fire, h->cancel) == 0);
    else if (done == 1 && h->cancel != NULL)
        fire_from_another_thread(h->cancel);
    if (done == 1)
        c4c_cancel_free(h->release);
    usleep(h->delay_us);
    return done == h->stop_at;
}

static heard hearing(size_t total) {
    heard h = {0, total, SIZE_MAX, NULL, NULL, NULL, 0, pthread_self()};
    return h;
}

static void many(const clip *c, const clip *other) {
    static float expected[2][ROOM];
    const float *row = out;
    const char *paths[3] = {c->path, "no/such/file.mp4", other->path};
    c4c_status statuses[4] = {9, 9, 9, 9};
    c4c_video_options options = {0};
    options.struct_size = sizeof options;
    options.num_frames = 5;
    embed(c->path, &options, expected[0]);
    embed(other->path, &options, expected[1]);

    heard h = hearing(3);
    FAILS(C4C_OK, "no/such/file.mp4",
          c4c_embed_video_paths(model, paths, 3, &options, NULL, progress, &h, out, 3 * dim, statuses, &err));
    CHECK(h.calls == 3);
    CHECK(statuses[0] == C4C_OK && statuses[1] == C4C_E_MEDIA_IO && statuses[2] == C4C_OK && statuses[3] == 9);
    CHECK(same(row, expected[0]) && same(row + 2 * dim, expected[1]));
    for (size_t i = 0; i < ROOM; i++)
        CHECK(out[i] == 7 || i / dim == 0 || i / dim == 2);
    fill();

    /* Nobody asks for the statuses: the first failure is the call's. */
    FAILS(C4C_E_MEDIA_IO, "no/such/file.mp4",
          c4c_embed_video_paths(model, paths, 3, &options, NULL, NULL, NULL, out, 3 * dim, NULL, &err));
    untouched();
    paths[1] = paths[0];
    FAILS(C4C_OK, "", c4c_embed_video_paths(model, paths, 3, &options, NULL, NULL, NULL, out, 3 * dim, NULL, &err));
    CHECK(same(row, expected[0]) && same(row + dim, expected[0]) && same(row + 2 * dim, expected[1]));
    fill();
    c4c_error err = {0};
    err.struct_size = sizeof err;
    CHECK(c4c_embed_video_paths(model, paths, 3, &options, NULL, NULL, NULL, out, ROOM, statuses, &err) == C4C_OK);
    CHECK(err.message[0] == 0 && statuses[1] == C4C_OK);
    fill();

    /* More files than decoders, in their order. */
    enum { FILES = 40 };
    const char *list[FILES];
    c4c_status each[FILES];
    for (int i = 0; i < FILES; i++)
        list[i] = i % 3 == 0 ? c->path : i % 3 == 1 ? other->path : "no/such";
    h = hearing(FILES);
    options.num_frames = 1;
    embed(c->path, &options, expected[0]);
    embed(other->path, &options, expected[1]);
    FAILS(C4C_OK, "", c4c_embed_video_paths(model, list, FILES, &options, NULL, progress, &h, out, ROOM, each, &err));
    CHECK(h.calls == FILES);
    for (int i = 0; i < FILES; i++) {
        CHECK(each[i] == (i % 3 == 2 ? C4C_E_MEDIA_IO : C4C_OK));
        CHECK(i % 3 == 2 ? row[(size_t)i * dim] == 7 : same(row + (size_t)i * dim, expected[i % 3]));
    }
    fill();
}

/* Calls that are under way end with their limits, and with the host's word. */
static void under_way(const clip *c) {
    enum { FILES = 300, ENOUGH = FILES * 512 };
    static const char *paths[FILES];
    static c4c_status statuses[FILES];
    static float rows[ENOUGH];
    CHECK(dim <= 512);
    for (size_t i = 0; i < FILES; i++) {
        paths[i] = c->path;
        statuses[i] = 9;
    }
    for (size_t i = 0; i < ENOUGH; i++)
        rows[i] = 7;
#define PATHS(limits, h)                                                        \
    c4c_embed_video_paths(model, paths, FILES, NULL, limits, progress, h, rows, ENOUGH, statuses, &err)

    heard h = hearing(FILES);
    h.cancel = c4c_cancel_new();
    c4c_call call = limited(0, h.cancel);
    FAILS(C4C_E_CANCELLED, "cancelled", PATHS(&call, &h));
    CHECK(h.calls == 1);
    c4c_cancel_free(h.cancel);

    /* Whatever it is at when the token fires. */
    pthread_t thread;
    h = hearing(FILES);
    h.cancel = c4c_cancel_new();
    h.thread = &thread;
    call = limited(0, h.cancel);
    FAILS(C4C_E_CANCELLED, "cancelled", PATHS(&call, &h));
    CHECK(h.calls >= 1 && h.calls < FILES && pthread_join(thread, NULL) == 0);
    c4c_cancel_free(h.cancel);

    h = hearing(FILES);
    h.delay_us = 200000;
    call = limited(h.delay_us, NULL);
    FAILS(C4C_E_TIMEOUT, "deadline", PATHS(&call, &h));
    CHECK(h.calls <= 1);

    h = hearing(FILES);
    h.stop_at = 2;
    FAILS(C4C_E_CANCELLED, "progress", PATHS(NULL, &h));
    CHECK(h.calls == 2);

    for (size_t i = 0; i < FILES; i++)
        CHECK(statuses[i] == 9);
    for (size_t i = 0; i < ENOUGH; i++)
        CHECK(rows[i] == 7);

    /* The last word counts, too, and a token may go while a call has it. */
    h = hearing(2);
    h.stop_at = 2;
    FAILS(C4C_E_CANCELLED, "progress",
          c4c_embed_video_paths(model, paths, 2, NULL, NULL, progress, &h, out, ROOM, statuses, &err));
    CHECK(statuses[0] == 9);
    untouched();
    h = hearing(3);
    h.release = c4c_cancel_new();
    call = limited(0, h.release);
    FAILS(C4C_OK, "", c4c_embed_video_paths(model, paths, 3, NULL, &call, progress, &h, out, ROOM, statuses, &err));
    CHECK(h.calls == 3 && statuses[2] == C4C_OK);
    fill();

    /* A deadline within a read; the host's own work is waited for. */
    reader r = reader_of(c);
    c4c_io io = io_of(&r, 1);
    r.wrong_read = 0;
    r.delay_us = 100000;
    call = limited(r.delay_us, NULL);
    FAILS(C4C_E_TIMEOUT, "deadline", c4c_embed_video_io(model, &io, NULL, &call, out, ROOM, &err));
    CHECK(r.reads <= 1);
    untouched();

    /* A thousand windows and more. */
    c4c_segments *segments = NULL;
    c4c_cancel *cancel = c4c_cancel_new();
    call = limited(0, cancel);
    CHECK(pthread_create(&thread, NULL, fire, cancel) == 0);
    FAILS(C4C_E_CANCELLED, "cancelled", c4c_embed_segments(model, c->path, NULL, 10000, 1000, &call, &segments, &err));
    CHECK(pthread_join(thread, NULL) == 0 && segments == NULL);
    c4c_cancel_free(cancel);
    call = limited(100000, NULL);
    FAILS(C4C_E_TIMEOUT, "deadline", c4c_embed_segments(model, c->path, NULL, 10000, 1000, &call, &segments, &err));
    CHECK(segments == NULL);

    /* The model is as good as before. */
    float expected[ROOM];
    embed(c->path, NULL, expected);
    FAILS(C4C_OK, "", c4c_embed_video_memory(model, c->data, c->size, NULL, NULL, out, dim, &err));
    CHECK(same(out, expected));
    fill();
}

/* Every window's vector is that of the part alone. */
static c4c_segments *windows(const char *path, c4c_video_options options, int64_t window_us, int64_t step_us,
                             size_t expected) {
    c4c_segments *segments = NULL;
    options.struct_size = sizeof options;
    const int64_t first_us = options.start_us, last_us = options.end_us;
    FAILS(C4C_OK, "", c4c_embed_segments(model, path, &options, window_us, step_us, NULL, &segments, &err));
    if (c4c_segments_count(segments) != expected)
        printf("%zu segments, not %zu\n", c4c_segments_count(segments), expected);
    CHECK(c4c_segments_count(segments) == expected);
    for (size_t i = 0; i < expected; i++) {
        int64_t start_us = -1, end_us = -1;
        CHECK(c4c_segments_time(segments, i, &start_us, &end_us) == C4C_OK);
        CHECK(c4c_segments_time(segments, i, NULL, NULL) == C4C_OK);
        CHECK(start_us == first_us + (int64_t)i * step_us);
        CHECK((window_us < INT64_MAX && end_us == start_us + window_us) || i == expected - 1);
        CHECK(end_us > start_us && (window_us == INT64_MAX || end_us <= start_us + window_us));
        CHECK(last_us == 0 || end_us <= last_us);
        options.start_us = start_us;
        options.end_us = end_us;
        embed(path, &options, out);
        if (!same(out, c4c_segments_data(segments) + i * dim))
            printf("window %zu, %lld to %lld us\n", i, (long long)start_us, (long long)end_us);
        CHECK(same(out, c4c_segments_data(segments) + i * dim));
    }
    int64_t start_us = 9, end_us = 9;
    CHECK(c4c_segments_time(segments, expected, &start_us, &end_us) == C4C_E_INVALID_ARGUMENT);
    CHECK(c4c_segments_time(segments, SIZE_MAX, &start_us, &end_us) == C4C_E_INVALID_ARGUMENT);
    CHECK(start_us == 9 && end_us == 9);
    fill();
    return segments;
}

/* Of a video of 50 frames in two seconds. The result outlives what comes after it. */
static c4c_segments *segments(const char *path) {
    c4c_video_options options = {0};
    int64_t end_us = 0;
    c4c_segments *kept = windows(path, options, 800000, 500000, 4);
    CHECK(c4c_segments_time(kept, 2, NULL, &end_us) == C4C_OK && end_us == 1800000);
    CHECK(c4c_segments_time(kept, 3, NULL, &end_us) == C4C_OK && end_us == 2000000);
    c4c_segments_free(windows(path, options, 1000000, 1000000, 2));
    c4c_segments_free(windows(path, options, 100000, 900000, 3));
    c4c_segments_free(windows(path, options, INT64_MAX, 1, 1));
    options.num_frames = 3;
    c4c_segments_free(windows(path, options, 10000, 77000, 26)); /* less than a frame is shown */
    c4c_segments_free(windows(path, options, 490001, 333333, 6));
    options.start_us = 310000;
    options.end_us = 1330000;
    c4c_segments_free(windows(path, options, 400000, 400000, 3));
    options.sampling = C4C_SAMPLING_FPS;
    options.fps = 7;
    c4c_segments_free(windows(path, options, 500000, 250000, 4));
    options.sampling = C4C_SAMPLING_KEYFRAMES;
    options.fps = 0;
    c4c_segments_free(windows(path, options, 500000, 250000, 4));
    options.color = C4C_COLOR_OPERATOR;
    options.flags = C4C_APPLY_ROTATION | C4C_STRICT_DECODE;
    options.sampling = C4C_SAMPLING_UNIFORM;
    c4c_segments_free(windows(path, options, 500000, 250000, 4));

    options.end_us = 0;
    options.start_us = 60 * 1000000;
    c4c_segments *none = NULL;
    options.struct_size = sizeof options;
    FAILS(C4C_E_INVALID_ARGUMENT, "start_us", c4c_embed_segments(model, path, &options, 1, 1, NULL, &none, &err));
    CHECK(none == NULL);
    return kept;
}

static c4c_frame packed(uint32_t format, uint32_t width, uint32_t height, uint32_t bytes, const uint8_t *pixels) {
    c4c_frame frame = {0};
    frame.struct_size = sizeof frame;
    frame.format = format;
    frame.width = width;
    frame.height = height;
    frame.planes[0] = pixels;
    frame.strides[0] = (int64_t)width * bytes;
    return frame;
}

/* Turns `from` clockwise by quarters of a circle. */
static void turn(const uint8_t *from, uint32_t width, uint32_t height, uint32_t bytes, int quarters, uint8_t *to) {
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            uint32_t at = quarters == 1   ? x * height + (height - 1 - y)
                          : quarters == 2 ? (height - 1 - y) * width + (width - 1 - x)
                                          : (width - 1 - x) * height + y;
            memcpy(to + at * bytes, from + (y * width + x) * bytes, bytes);
        }
}

/* The vectors of two frames are alike, of a picture and of a video. */
static int alike(c4c_frame one, c4c_frame other) {
    c4c_frame both[2] = {one, other};
    float video[2][ROOM];
    FAILS(C4C_OK, "", c4c_embed_images(model, both, 2, NULL, out, ROOM, &err));
    FAILS(C4C_OK, "", c4c_embed_frames(model, &both[0], 1, NULL, video[0], ROOM, &err));
    FAILS(C4C_OK, "", c4c_embed_frames(model, &both[1], 1, NULL, video[1], ROOM, &err));
    CHECK(same(out, out + dim) == same(video[0], video[1]));
    int result = same(out, out + dim);
    fill();
    return result;
}

enum { MOST = 3 * 400 * 300 };

static void rotation(uint32_t width, uint32_t height) {
    CHECK(width % 16 == 0 && height % 16 == 0); /* Odd rows of YUV are rounded by other code. */
    static const uint32_t formats[5][2] = {
        {C4C_PIXEL_RGB24, 3}, {C4C_PIXEL_BGR24, 3}, {C4C_PIXEL_RGBA, 4}, {C4C_PIXEL_BGRA, 4}, {C4C_PIXEL_GRAY8, 1}};
    static uint8_t pixels[2 * MOST], turned[2 * MOST];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)((i * 7 + i / 31 * 3) ^ (i >> 7));
    for (int i = 0; i < 5; i++)
        for (int quarters = 1; quarters < 4; quarters++) {
            const uint32_t format = formats[i][0], bytes = formats[i][1];
            turn(pixels, width, height, bytes, quarters, turned);
            c4c_frame one = packed(format, width, height, bytes, pixels);
            c4c_frame other = quarters == 2 ? packed(format, width, height, bytes, turned)
                                            : packed(format, height, width, bytes, turned);
            one.rotation = (uint32_t)quarters * 90;
            CHECK(alike(one, other));
            one.rotation = 0;
            CHECK(!alike(one, other));
        }

    /* Bottom-up and turned at once, of YUV in whose chroma planes every pixel is the same, so that there is no position
     * of theirs to differ. */
    static uint8_t color[2 * MOST];
    memset(color, 90, sizeof color);
    turn(pixels, width, height, 1, 1, turned);
    c4c_frame one = packed(C4C_PIXEL_I420, width, height, 1, pixels + (height - 1) * width);
    c4c_frame other = packed(C4C_PIXEL_I420, height, width, 1, turned);
    for (uint32_t y = 0; y < height / 2; y++)
        for (uint32_t x = 0; x < width; x++) {
            uint8_t *low = pixels + y * width + x, *high = pixels + (height - 1 - y) * width + x, kept = *low;
            *low = *high;
            *high = kept;
        }
    one.strides[0] = -(int64_t)width;
    one.rotation = 90;
    one.planes[1] = one.planes[2] = other.planes[1] = other.planes[2] = color;
    one.strides[1] = one.strides[2] = (width + 1) / 2;
    other.strides[1] = other.strides[2] = (height + 1) / 2;
    CHECK(alike(one, other));
}

/* The same YUV as three planes and as two, in rows of any distance and direction. */
static void yuv(uint32_t width, uint32_t height) {
    enum { GAP = 13 };
    static uint8_t luma[MOST], u[MOST], v[MOST], both[2 * MOST], up[MOST];
    const uint32_t w = (width + 1) / 2, h = (height + 1) / 2;
    c4c_frame i420 = packed(C4C_PIXEL_I420, width, height, 1, luma), nv12 = i420;
    i420.planes[1] = u;
    i420.planes[2] = v;
    i420.strides[0] = width + GAP;
    i420.strides[1] = w + GAP;
    i420.strides[2] = w + 2 * GAP;
    nv12.format = C4C_PIXEL_NV12;
    nv12.planes[1] = both;
    nv12.strides[0] = width + GAP;
    nv12.strides[1] = 2 * w + GAP;
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width + GAP; x++)
            luma[y * (width + GAP) + x] = (uint8_t)(16 + (x * 5 + y * 3 + x * y / 7) % 220);
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++) {
            u[y * (w + GAP) + x] = both[y * (2 * w + GAP) + 2 * x] = (uint8_t)(16 + (x * 9 + y) % 224);
            v[y * (w + 2 * GAP) + x] = both[y * (2 * w + GAP) + 2 * x + 1] = (uint8_t)(16 + (x + y * 11) % 224);
        }
    for (uint32_t matrix = C4C_MATRIX_UNKNOWN; matrix <= C4C_MATRIX_BT2020; matrix++)
        for (uint32_t range = C4C_RANGE_UNKNOWN; range <= C4C_RANGE_FULL; range++) {
            i420.color_matrix = nv12.color_matrix = matrix;
            i420.color_range = nv12.color_range = range;
            i420.rotation = nv12.rotation = matrix * 90;
            CHECK(alike(i420, nv12));
        }
    i420.rotation = nv12.rotation = 0;

    /* Planes that the format does not have are not looked at. */
    nv12.planes[2] = nv12.planes[3] = i420.planes[3] = (const uint8_t *)1;
    CHECK(alike(i420, nv12));
    /* Unknown is BT.601 of limited range, and the others are others. */
    i420.color_matrix = C4C_MATRIX_UNKNOWN;
    i420.color_range = C4C_RANGE_UNKNOWN;
    nv12.color_matrix = C4C_MATRIX_BT601;
    nv12.color_range = C4C_RANGE_LIMITED;
    CHECK(alike(i420, nv12));
    nv12.color_range = C4C_RANGE_FULL;
    CHECK(width == 1 || !alike(i420, nv12));
    nv12.color_range = C4C_RANGE_LIMITED;
    nv12.color_matrix = C4C_MATRIX_BT709;
    CHECK(width == 1 || !alike(i420, nv12));

    /* The chroma of one bottom-up, the luma of the other. */
    i420 = nv12;
    for (uint32_t y = 0; y < h; y++)
        memcpy(up + (h - 1 - y) * (2 * w), both + y * (2 * w + GAP), 2 * w);
    i420.planes[1] = up + (h - 1) * (2 * w);
    i420.strides[1] = -2 * (int64_t)w;
    CHECK(alike(i420, nv12));
    i420 = nv12;
    for (uint32_t y = 0; y < height; y++)
        memcpy(up + (height - 1 - y) * width, luma + y * (width + GAP), width);
    i420.planes[0] = up + (height - 1) * width;
    i420.strides[0] = -(int64_t)width;
    CHECK(alike(i420, nv12));
}

int main(int argc, char **argv) {
    CHECK(argc == 5);
    model = load(argv[1]);
    dim = c4c_dim(model);
    clip mp4 = open_clip(argv[2]), mkv = open_clip(argv[3]), ts = open_clip(argv[4]);
    fill();
    sources(&mp4, 0);
    sources(&mkv, 1);
    sources(&ts, 1);
    options(argv[2]);
    options(argv[3]);
    bad_readers(&mp4, 1);
    bad_readers(&mkv, 1);
    bad_readers(&mkv, 0);
    bad_readers(&ts, 1);
    bad_readers(&ts, 0);
    passed(&mp4);
    many(&mp4, &ts);
    under_way(&mp4);
    rotation(320, 240);
    rotation(48, 96);
    yuv(320, 240);
    yuv(61, 33);
    yuv(1, 1);
    c4c_segments *kept = segments(argv[2]);
    float vectors[ROOM];
    const float *data = c4c_segments_data(kept);
    memcpy(vectors, data, 4 * dim * sizeof *data);
    c4c_free(model);
    CHECK(c4c_segments_count(kept) == 4 && c4c_segments_data(kept) == data);
    CHECK(memcmp(vectors, data, 4 * dim * sizeof *data) == 0);
    c4c_segments_free(kept);
    close_clip(&mp4);
    close_clip(&mkv);
    close_clip(&ts);
    return 0;
}
