/* One model under load: 16 threads make a seeded mix of all calls, with cancels, deadlines and errors among them. Every
 * result is compared with what the same input gave alone, before there were other threads, and every failure has to be
 * the one that was asked for. In the end the model is freed while all threads call.
 *
 *     stress WEIGHTS VIDEO CALLS SECONDS SEED
 *
 * The load ends when CALLS calls have been made and SECONDS seconds have passed, whichever is later; 0 asks for
 * nothing. The video has to be of two seconds at least. Prints a line each minute and a summary. Exits with 1 and a
 * line that says why at the first thing that is wrong; is killed by SIGALRM if all calls hang. Times are told, not
 * judged.
 */
#define _DEFAULT_SOURCE /* alarm, clock_gettime, usleep */
#include "check.h"

#include <pthread.h>
#include <time.h>

/* What company in a batch may change in an element of a unit vector: sums are taken in another order. */
#define TOLERANCE 2e-6
/* The same of a score, as a part of the largest one. */
#define SCORE_TOLERANCE 1e-5
/* What the process may grow by from a tenth of the load to its end. The heaps of 16 threads on their way to their peak
 * take some tens of MiB; one picture leaked by every third of a few thousand calls would be more. */
#define GROWTH_MIB 128.0

enum {
    THREADS = 16,
    TEXTS = 64,
    PICTURES = 24,
    LISTS = 8, /* of frames */
    CLIPS = 6, /* ways to sample the video */
    MOST = 40, /* texts, frames or files in a call */
    SCORED_TEXTS = 16, /* the first ones go into scores, */
    SCORED_LISTS = 3,  /* with the first lists */
    REFUSALS = 10,     /* that each thread gets from the closed model */
    WARM_UP = 300,     /* calls at least, before memory is looked at for the first time */
    STUCK_S = 120,     /* without the end of any call */
    CODES = 100,       /* statuses are 0 to -99 */
    SAMPLES = 1 << 20, /* times that are kept for the percentiles */
};

enum { TEXT, IMAGES, FRAMES, SCORE, PATH, MEMORY, IO, PATHS, SEGMENTS, INFO, WRONG, MISSING, KINDS };
static const char *const kinds[KINDS] = {"text", "images", "frames", "score", "video path", "video memory",
                                         "video io", "paths", "segments", "info", "wrong", "missing"};
/* Of a hundred calls, so many are of each kind. */
static const uint64_t shares[KINDS] = {24, 14, 10, 10, 9, 7, 7, 3, 3, 3, 6, 4};
enum { UNLIMITED, FIRED, FIRE_LATER, DEADLINE };
enum { NO_TEXTS, NOT_UTF8, LITTLE_ROOM, NO_WIDTH, NULL_FRAMES, MANY_FRAMES, BACKWARDS, NO_WINDOW, WRONGS };

static c4c_model *model;
static size_t dim;
static clip video;
static c4c_info info;

/* The inputs, and what each gives alone. */
static char *texts[TEXTS];
static c4c_frame pictures[PICTURES], lists[LISTS][MOST];
static size_t lengths[LISTS], n_windows;
static c4c_video_options clips[CLIPS], cut;
static const int64_t window_us = 500000, step_us = 300000;
static float *text_rows, *picture_rows, *list_rows, *clip_rows, *window_rows, score_rows[SCORED_LISTS][SCORED_TEXTS];
static double largest_score;

/* The load. */
static uint64_t calls_wanted, begun, ended;
static double seconds_wanted, started;
static int alive, closing, closed, inside, released;

typedef struct {
    float ms[SAMPLES], most;
    size_t n;
} times;

/* What came of it, behind the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t counts[KINDS][CODES], rows, identical;
static double largest[2]; /* differences: of vectors, of scores */
static times cancels, overshoots;

typedef struct {
    uint64_t random;
    int kind, variant;
    c4c_status expected;
    size_t n, width;         /* rows of the result, and floats in each */
    const float *rows[MOST]; /* what they have to be; NULL: untouched */
    const char *texts[MOST]; /* or paths */
    c4c_frame frames[MOST];
    c4c_status statuses[MOST];
    const c4c_video_options *options;
    c4c_segments *segments;
    float *out;
    size_t room;
} worker;

#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, value) __atomic_store_n(&(x), value, __ATOMIC_SEQ_CST)
#define ADD(x, value) __atomic_fetch_add(&(x), value, __ATOMIC_SEQ_CST)
#define COUNT(x) ((unsigned long long)(x))

/* Ends the process at once: others are still in calls, and nothing may be torn down under them. */
#define FAIL(...)                                                               \
    do {                                                                        \
        printf(__VA_ARGS__);                                                    \
        printf("\n");                                                           \
        fflush(stdout);                                                         \
        _exit(1);                                                               \
    } while (0)

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *room_for(size_t n, size_t size) {
    void *p = calloc(n, size);
    CHECK(p != NULL);
    return p;
}

/* splitmix64 */
static uint64_t below(uint64_t *state, uint64_t n) {
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) % n;
}

/* The empty text, one far longer than any context, and others of one to sixty words. */
static char *make_text(uint64_t *random, int i) {
    static const char *const words[] = {"a", "dog", "running", "über", "the", "snow", "日本", "film-maker's", "!?",
                                        "antidisestablishmentarianism", "of", "red", "2024", "\t", "<tag>", "🎬"};
    const uint64_t n = i == 0 ? 0 : i == 1 ? 3000 : 1 + below(random, i % 4 == 0 ? 60 : 12);
    char *text = room_for(1, 1 + n * 32), *end = text;
    for (uint64_t w = 0; w < n; w++)
        end += sprintf(end, "%s%s", w == 0 ? "" : " ", words[below(random, sizeof words / sizeof *words)]);
    return text;
}

/* Gradients with noise, in all formats and any size. */
static c4c_frame make_picture(uint64_t *random, int i) {
    static const uint32_t formats[5] = {C4C_PIXEL_RGB24, C4C_PIXEL_BGR24, C4C_PIXEL_GRAY8, C4C_PIXEL_I420,
                                        C4C_PIXEL_NV12};
    c4c_frame f = {0};
    f.struct_size = sizeof f;
    f.format = formats[i % 5];
    f.width = 1 + (uint32_t)below(random, 400);
    f.height = 1 + (uint32_t)below(random, 300);
    const size_t luma = (size_t)f.width * f.height, half = (f.width + 1) / 2, chroma = half * ((f.height + 1) / 2);
    const uint64_t noise = 1 + below(random, 64), slope = 1 + below(random, 9), base = below(random, 256);
    uint8_t *data = room_for(3, luma + chroma); /* enough for each format */
    for (size_t j = 0; j < 3 * (luma + chroma); j++)
        data[j] = (uint8_t)(base + j * slope / f.width + below(random, noise));
    f.planes[0] = data;
    f.planes[1] = data + luma;
    f.planes[2] = data + luma + chroma;
    f.strides[0] = (int64_t)f.width * (i % 5 < 2 ? 3 : 1);
    f.strides[1] = (int64_t)half * (f.format == C4C_PIXEL_NV12 ? 2 : 1);
    f.strides[2] = (int64_t)half;
    return f;
}

/* Inputs, and their results by calls that have the model to themselves: one text, one picture, one video at a time. */
static void make_pool(uint64_t seed) {
    text_rows = room_for(TEXTS * dim, sizeof(float));
    picture_rows = room_for(PICTURES * dim, sizeof(float));
    list_rows = room_for(LISTS * dim, sizeof(float));
    clip_rows = room_for(CLIPS * dim, sizeof(float));
    for (size_t i = 0; i < TEXTS; i++) {
        texts[i] = make_text(&seed, (int)i);
        const char *text = texts[i];
        FAILS(C4C_OK, "", c4c_embed_text(model, &text, 1, NULL, text_rows + i * dim, dim, &err));
        CHECK(fabs(length(text_rows + i * dim, dim) - 1) < 1e-5);
    }
    for (size_t i = 0; i < PICTURES; i++) {
        pictures[i] = make_picture(&seed, (int)i);
        FAILS(C4C_OK, "", c4c_embed_images(model, &pictures[i], 1, NULL, picture_rows + i * dim, dim, &err));
        CHECK(fabs(length(picture_rows + i * dim, dim) - 1) < 1e-5);
    }
    for (size_t i = 0; i < LISTS; i++) {
        lengths[i] = i == 0 ? 1 : i == 1 ? MOST : 1 + below(&seed, MOST);
        for (size_t j = 0; j < lengths[i]; j++)
            lists[i][j] = pictures[below(&seed, PICTURES)];
        FAILS(C4C_OK, "", c4c_embed_frames(model, lists[i], lengths[i], NULL, list_rows + i * dim, dim, &err));
        for (size_t t = 0; i < SCORED_LISTS && t < SCORED_TEXTS; t++) {
            const char *text = texts[t];
            FAILS(C4C_OK, "", c4c_score(model, &text, 1, lists[i], lengths[i], NULL, &score_rows[i][t], 1, &err));
            largest_score = fmax(largest_score, fabs((double)score_rows[i][t]));
        }
    }
    clips[1].num_frames = 3;
    clips[1].start_us = 200000;
    clips[1].end_us = 1000000;
    clips[2].sampling = C4C_SAMPLING_FPS;
    clips[2].fps = 3;
    clips[2].end_us = 2000000;
    clips[3].sampling = C4C_SAMPLING_KEYFRAMES;
    clips[3].num_frames = 4;
    clips[4].seek = C4C_SEEK_APPROXIMATE;
    clips[4].decode_threads = 1;
    clips[5].color = C4C_COLOR_OPERATOR;
    clips[5].num_frames = 1;
    for (size_t i = 0; i < CLIPS; i++) {
        clips[i].struct_size = sizeof clips[i];
        FAILS(C4C_OK, "", c4c_embed_video_path(model, video.path, &clips[i], NULL, clip_rows + i * dim, dim, &err));
    }

    /* Each window by a call for that part of the video. */
    c4c_segments *segments = NULL;
    cut = clips[1];
    cut.end_us = 2000000;
    FAILS(C4C_OK, "", c4c_embed_segments(model, video.path, &cut, window_us, step_us, NULL, &segments, &err));
    n_windows = c4c_segments_count(segments);
    CHECK(n_windows > 1 && n_windows <= MOST);
    window_rows = room_for(n_windows * dim, sizeof(float));
    for (size_t i = 0; i < n_windows; i++) {
        c4c_video_options part = cut;
        CHECK(c4c_segments_time(segments, i, &part.start_us, &part.end_us) == C4C_OK);
        FAILS(C4C_OK, "", c4c_embed_video_path(model, video.path, &part, NULL, window_rows + i * dim, dim, &err));
    }
    c4c_segments_free(segments);
    info.struct_size = sizeof info;
    FAILS(C4C_OK, "", c4c_get_info(model, &info, &err));
}

/* Chooses a call and its inputs, and looks up what it has to give. */
static void prepare(worker *w) {
    uint64_t *random = &w->random, share = below(random, 100);
    for (w->kind = 0; share >= shares[w->kind]; w->kind++)
        share -= shares[w->kind];
    const int kind = w->kind;
    const size_t option = below(random, CLIPS), few_or_many = 1 + below(random, below(random, 2) ? MOST : 3);
    w->variant = (int)below(random, kind == FRAMES ? LISTS : kind == SCORE ? SCORED_LISTS : WRONGS);
    w->expected = kind == MISSING              ? C4C_E_MEDIA_IO
                  : kind != WRONG              ? C4C_OK
                  : w->variant == LITTLE_ROOM  ? C4C_E_BUFFER_TOO_SMALL
                                               : C4C_E_INVALID_ARGUMENT;
    w->n = kind == SEGMENTS                                   ? n_windows
           : kind == PATHS                                    ? 2 + few_or_many % 5
           : kind == TEXT || kind == IMAGES || kind == SCORE  ? few_or_many
                                                              : 1;
    w->width = kind == SCORE ? 1 : dim;
    w->options = &clips[option];
    w->segments = NULL;
    for (size_t i = 0; i < w->room; i++)
        w->out[i] = 7;
    const size_t missing = below(random, w->n);
    for (size_t i = 0; i < w->n; i++) {
        const size_t text = below(random, kind == SCORE ? SCORED_TEXTS : TEXTS), picture = below(random, PICTURES);
        w->texts[i] = kind != PATHS ? texts[text] : i == missing ? "no/such/file" : video.path;
        w->frames[i] = pictures[picture];
        w->statuses[i] = 9;
        w->rows[i] = kind == TEXT                     ? text_rows + text * dim
                     : kind == IMAGES                 ? picture_rows + picture * dim
                     : kind == FRAMES                 ? list_rows + (size_t)w->variant * dim
                     : kind == SCORE                  ? &score_rows[w->variant][text]
                     : kind == SEGMENTS               ? window_rows + i * dim
                     : kind == PATHS && i == missing  ? NULL
                                                      : clip_rows + option * dim;
    }
}

static c4c_status wrong(worker *w, c4c_error *err) {
    const char *list[2] = {texts[2], "\xff\xfe"};
    c4c_frame flat = pictures[0];
    c4c_call call = {sizeof call, 0, -1, NULL};
    c4c_video_options options = clips[0];
    flat.width = 0;
    options.num_frames = 4097;
    switch (w->variant) {
    case NO_TEXTS: return c4c_embed_text(model, list, 0, NULL, w->out, w->room, err);
    case NOT_UTF8: return c4c_embed_text(model, list, 2, NULL, w->out, w->room, err);
    case LITTLE_ROOM: return c4c_embed_images(model, pictures, 3, NULL, w->out, 3 * dim - 1, err);
    case NO_WIDTH: return c4c_embed_frames(model, &flat, 1, NULL, w->out, w->room, err);
    case NULL_FRAMES: return c4c_score(model, list, 1, NULL, 1, NULL, w->out, w->room, err);
    case MANY_FRAMES: return c4c_embed_video_path(model, video.path, &options, NULL, w->out, w->room, err);
    case BACKWARDS: return c4c_embed_video_memory(model, video.data, video.size, NULL, &call, w->out, w->room, err);
    default: return c4c_embed_segments(model, video.path, NULL, 0, 1, NULL, &w->segments, err);
    }
}

static c4c_stats stats(void) {
    c4c_stats s = {0};
    s.struct_size = sizeof s;
    FAILS(C4C_OK, "", c4c_get_stats(model, &s, &err));
    return s;
}

static c4c_status ask(c4c_error *err) {
    c4c_info told = {0};
    told.struct_size = sizeof told;
    const c4c_status status = c4c_get_info(model, &told, err);
    if (status == C4C_OK && memcmp(&told, &info, sizeof info) != 0)
        FAIL("c4c_get_info tells something else than before");
    if (!LOAD(closing) && stats().running > THREADS)
        FAIL("more calls are running than there are threads");
    return status;
}

static c4c_status by_io(const c4c_video_options *options, const c4c_call *limits, float *to, size_t room,
                        int64_t (*read)(void *, uint8_t *, size_t), c4c_error *err) {
    FILE *file = fopen(video.path, "rb");
    CHECK(file != NULL);
    c4c_io io = {sizeof io, 0, file, read, file_seek};
    const c4c_status status = c4c_embed_video_io(model, &io, options, limits, to, room, err);
    fclose(file);
    return status;
}

static c4c_status perform(worker *w, const c4c_call *limits, c4c_error *err) {
    const c4c_video_options *options = w->options;
    const size_t i = (size_t)w->variant, n = w->n, room = w->room;
    float *to = w->out;
    switch (w->kind) {
    case TEXT: return c4c_embed_text(model, w->texts, n, limits, to, room, err);
    case IMAGES: return c4c_embed_images(model, w->frames, n, limits, to, room, err);
    case FRAMES: return c4c_embed_frames(model, lists[i], lengths[i], limits, to, room, err);
    case SCORE: return c4c_score(model, w->texts, n, lists[i], lengths[i], limits, to, room, err);
    case PATH: return c4c_embed_video_path(model, video.path, options, limits, to, room, err);
    case MEMORY: return c4c_embed_video_memory(model, video.data, video.size, options, limits, to, room, err);
    case IO: return by_io(options, limits, to, room, file_read, err);
    case PATHS:
        return c4c_embed_video_paths(model, w->texts, n, options, limits, NULL, NULL, to, room, w->statuses, err);
    case SEGMENTS: return c4c_embed_segments(model, video.path, &cut, window_us, step_us, limits, &w->segments, err);
    case INFO: return ask(err);
    case WRONG: return wrong(w, err);
    default: return c4c_embed_video_path(model, "no/such/file", options, limits, to, room, err);
    }
}

/* After success every row is that of the input alone. Nothing else was written, and after a failure nothing at all. */
static void check_output(const worker *w, int success) {
    const char *name = kinds[w->kind];
    const float *from = w->kind == SEGMENTS ? c4c_segments_data(w->segments) : w->out;
    const size_t n = success ? w->n : 0;
    double most = 0;
    uint64_t compared = 0, exact = 0;
    if (c4c_segments_count(w->segments) != (w->kind == SEGMENTS ? n : 0) || (w->segments != NULL && !success))
        FAIL("%s: %zu segments", name, c4c_segments_count(w->segments));
    for (size_t i = 0; w->kind == PATHS && i < w->n; i++)
        if (w->statuses[i] != (!success ? 9 : w->rows[i] == NULL ? C4C_E_MEDIA_IO : C4C_OK))
            FAIL("paths: status %zu of %zu is %d", i, w->n, w->statuses[i]);
    for (size_t i = 0; i < n; i++) {
        const float *row = from + i * w->width, *expected = w->rows[i];
        for (size_t j = 0; j < w->width; j++) {
            double difference = fabs((double)row[j] - (expected == NULL ? 7 : (double)expected[j]));
            if (w->kind == SCORE)
                difference /= largest_score;
            if (!(difference <= (w->kind == SCORE ? SCORE_TOLERANCE : TOLERANCE))) /* also where it is no number */
                FAIL("%s: row %zu of %zu, float %zu: %.9g, expected %.9g", name, i, n, j, (double)row[j],
                     expected == NULL ? 7 : (double)expected[j]);
            most = fmax(most, difference);
        }
        compared += expected != NULL;
        exact += expected != NULL && memcmp(row, expected, w->width * sizeof *row) == 0;
    }
    for (size_t i = w->kind == SEGMENTS ? 0 : n * w->width; i < w->room; i++)
        if (w->out[i] != 7)
            FAIL("%s: written at %zu, behind the end of %zu rows", name, i, n);
    pthread_mutex_lock(&lock);
    largest[w->kind == SCORE] = fmax(largest[w->kind == SCORE], most);
    rows += compared;
    identical += exact;
    pthread_mutex_unlock(&lock);
}

typedef struct {
    c4c_cancel *cancel;
    unsigned after_us;
    double at;
} shot;

static void *fire(void *arg) {
    shot *s = arg;
    usleep(s->after_us);
    s->at = now();
    c4c_cancel_fire(s->cancel);
    return NULL;
}

static void note_time(times *t, double seconds) {
    const float ms = (float)(seconds * 1000);
    if (t->n < SAMPLES)
        t->ms[t->n++] = ms;
    t->most = fmaxf(t->most, ms);
}

static c4c_status one_call(worker *w) {
    prepare(w);
    const uint64_t dice = below(&w->random, 100);
    const int limit = w->kind >= INFO || dice >= 30 ? UNLIMITED : dice < 5 ? FIRED : dice < 18 ? FIRE_LATER : DEADLINE;
    c4c_call call = {sizeof call, 0, 0, NULL};
    c4c_error err = {0};
    shot s = {c4c_cancel_new(), (unsigned)below(&w->random, 20000), 0};
    pthread_t thread;
    err.struct_size = sizeof err;
    if (limit == DEADLINE)
        call.timeout_us = 100 + (int64_t)below(&w->random, 29900);
    else
        call.cancel = s.cancel;
    if (limit == FIRED)
        c4c_cancel_fire(s.cancel);
    if (limit == FIRE_LATER)
        CHECK(pthread_create(&thread, NULL, fire, &s) == 0);
    const int refused = LOAD(closed);
    const double start = now();
    const c4c_status status = perform(w, limit == UNLIMITED ? NULL : &call, &err);
    const double end = now();
    if (limit == FIRE_LATER)
        CHECK(pthread_join(thread, NULL) == 0);
    c4c_cancel_free(s.cancel);

    int fine = limit == FIRED ? status == C4C_E_CANCELLED : status == w->expected;
    fine |= (limit == FIRE_LATER && status == C4C_E_CANCELLED) || (limit == DEADLINE && status == C4C_E_TIMEOUT);
    fine |= LOAD(closing) && status == C4C_E_CLOSED;
    if (!fine || (refused && status != C4C_E_CLOSED))
        FAIL("%s, variant %d, limit %d of %lld us: %s \"%s\"", kinds[w->kind], w->variant, limit,
             (long long)call.timeout_us, c4c_status_name(status), err.message);
    /* A list of files succeeds with a word on the one that is missing. */
    if (err.status != status || (err.message[0] == 0) != (status == C4C_OK && w->kind != PATHS))
        FAIL("%s: %s, but the error is %d \"%s\"", kinds[w->kind], c4c_status_name(status), err.status, err.message);
    if (status == C4C_E_CLOSED)
        STORE(closed, 1);
    check_output(w, status == C4C_OK && w->kind != INFO);
    c4c_segments_free(w->segments);
    pthread_mutex_lock(&lock);
    counts[w->kind][-status]++;
    if (status == C4C_E_CANCELLED && limit == FIRE_LATER)
        note_time(&cancels, end - s.at);
    if (status == C4C_E_TIMEOUT)
        note_time(&overshoots, end - start - (double)call.timeout_us * 1e-6);
    pthread_mutex_unlock(&lock);
    ADD(ended, 1);
    return status;
}

static void *work(void *arg) {
    for (int refusals = 0; refusals < REFUSALS; refusals += one_call(arg) == C4C_E_CLOSED)
        if (!LOAD(closing) && ADD(begun, 1) >= calls_wanted && now() - started >= seconds_wanted)
            break;
    ADD(alive, -1);
    return NULL;
}

static void start_workers(pthread_t *threads, worker *workers) {
    STORE(alive, THREADS);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
}

static void join_workers(const pthread_t *threads) {
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Prints what the calls of some kinds came to, and returns how many they are. */
static uint64_t print_counts(int first, int behind) {
    uint64_t all = 0;
    for (int code = 0; code < CODES; code++) {
        uint64_t sum = 0;
        for (int kind = first; kind < behind; kind++)
            sum += counts[kind][code];
        if (sum > 0)
            printf(" %s %llu", c4c_status_name(-code), COUNT(sum));
        all += sum;
    }
    return all;
}

/* Waits for the workers, and tells each minute how far they are. Returns what the process held after a tenth. */
static double watch(void) {
    double warm = 0, told = started;
    uint64_t seen = 0;
    alarm(STUCK_S);
    while (LOAD(alive) > 0) {
        usleep(20000);
        const double time = now();
        const uint64_t so_far = LOAD(ended);
        if (so_far != seen)
            alarm(STUCK_S);
        seen = so_far;
        if (warm == 0 && so_far >= WARM_UP && so_far * 10 >= calls_wanted && (time - started) * 10 >= seconds_wanted)
            warm = resident_mib();
        if (time - told >= 60) {
            told = time;
            printf("%.0f s, %.1f MiB, %llu calls:", time - started, resident_mib(), COUNT(so_far));
            pthread_mutex_lock(&lock);
            print_counts(0, KINDS);
            pthread_mutex_unlock(&lock);
            printf("\n");
            fflush(stdout);
        }
    }
    return warm > 0 ? warm : resident_mib();
}

static int ascending(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *what, times *t) {
    qsort(t->ms, t->n, sizeof *t->ms, ascending);
    if (t->n > 0)
        printf("%s: p50 %.2f ms, p99 %.2f ms, max %.2f ms of %zu\n", what, (double)t->ms[t->n / 2],
               (double)t->ms[t->n * 99 / 100], (double)t->most, t->n);
}

static void print_summary(double seconds, double warm, double end) {
    for (int kind = 0; kind < KINDS; kind++) {
        printf("%-12s", kinds[kind]);
        printf(" of %llu\n", COUNT(print_counts(kind, kind + 1)));
    }
    printf("%llu calls in %.1f s\n", COUNT(ended), seconds);
    printf("%llu of %llu results identical, others apart by at most %.3g (vectors), %.3g (scores)\n", COUNT(identical),
           COUNT(rows), largest[0], largest[1]);
    print_times("from firing to return", &cancels);
    print_times("behind the deadline", &overshoots);
    printf("%.1f MiB after a tenth, %.1f MiB at the end\n", warm, end);
}

/* Calls that came to `code`, of those that the model counts. */
static uint64_t counted(c4c_status code) {
    uint64_t sum = 0;
    for (int kind = 0; kind < KINDS; kind++)
        sum += kind == INFO ? 0 : counts[kind][-code];
    return sum;
}

/* The model's own count of the load, which began with `before`, is the same. */
static void check_stats(c4c_stats before) {
    uint64_t calls = 0;
    for (int code = 0; code < CODES; code++)
        calls += counted(-code);
    c4c_stats s = stats();
    /* What cancelled calls left to the model is finished, although nobody waits for it. */
    for (int i = 0; i < 1000 && s.queued_texts + s.queued_images + s.bytes_held > 0; i++) {
        usleep(10000);
        s = stats();
    }
#define GREW(field, expected)                                                   \
    do {                                                                        \
        if (s.field - before.field != (expected))                               \
            FAIL("stats: " #field " grew by %llu, expected %llu", COUNT(s.field - before.field), COUNT(expected)); \
    } while (0)
    GREW(calls, calls);
    GREW(failed_argument, counted(C4C_E_INVALID_ARGUMENT) + counted(C4C_E_BUFFER_TOO_SMALL));
    GREW(failed_media, counted(C4C_E_MEDIA_IO));
    GREW(failed_memory, 0);
    GREW(failed_other, 0);
    GREW(cancelled, counted(C4C_E_CANCELLED));
    GREW(timed_out, counted(C4C_E_TIMEOUT));
    CHECK(s.running == 0 && s.queued_texts == 0 && s.queued_images == 0 && s.waiting_calls == 0 && s.bytes_held == 0);
    CHECK(s.text_batches > before.text_batches && s.mean_text_batch >= 1 && s.texts >= s.text_batches);
    CHECK(s.image_batches > before.image_batches && s.mean_image_batch >= 1 && s.images >= s.image_batches);
    printf("%llu texts in batches of %.1f, %llu images in batches of %.1f\n", COUNT(s.texts), s.mean_text_batch,
           COUNT(s.images), s.mean_image_batch);
}

static int64_t held_read(void *file, uint8_t *buffer, size_t size) {
    STORE(inside, 1);
    while (!LOAD(released))
        usleep(1000);
    return file_read(file, buffer, size);
}

static void *held_call(void *arg) {
    worker *w = arg;
    w->kind = IO;
    FAILS(C4C_OK, "", by_io(&clips[0], NULL, w->out, w->room, held_read, &err));
    check_output(w, 1);
    return NULL;
}

static void *free_model(void *arg) {
    c4c_free(arg);
    return NULL;
}

/* The model is freed while all threads call. One more call is held in its reader, so that c4c_free cannot return, and
 * the pointer stays good, until every thread has been refused and has stopped. Who is in a call gets the result; from
 * the first refusal on nobody is let in. */
static void close_under_load(worker *workers) {
    pthread_t threads[THREADS], holder, freer;
    const uint64_t before = LOAD(ended);
    prepare(&workers[THREADS]);
    workers[THREADS].n = 1;
    workers[THREADS].width = dim;
    workers[THREADS].rows[0] = clip_rows;
    STORE(closing, 1);
    alarm(STUCK_S);
    CHECK(pthread_create(&holder, NULL, held_call, &workers[THREADS]) == 0);
    while (!LOAD(inside))
        usleep(1000);
    start_workers(threads, workers);
    while (LOAD(ended) < before + 5 * THREADS)
        usleep(1000);
    CHECK(!LOAD(closed));
    CHECK(pthread_create(&freer, NULL, free_model, model) == 0);
    join_workers(threads);
    STORE(released, 1);
    CHECK(pthread_join(holder, NULL) == 0 && pthread_join(freer, NULL) == 0);
    printf("freed under load: %llu calls, %d of them refused\n", COUNT(LOAD(ended) - before), THREADS * REFUSALS);
}

int main(int argc, char **argv) {
    CHECK(argc == 6);
    calls_wanted = strtoull(argv[3], NULL, 10);
    seconds_wanted = strtod(argv[4], NULL);
    const uint64_t seed = strtoull(argv[5], NULL, 10);
    model = load(argv[1]);
    dim = c4c_dim(model);
    video = open_clip(argv[2]);
    started = now();
    make_pool(seed);
    printf("references in %.1f s\n", now() - started);
    fflush(stdout);

    static worker workers[THREADS + 1]; /* the last for the call that is held in the end */
    pthread_t threads[THREADS];
    uint64_t seeds = ~seed;
    for (int i = 0; i <= THREADS; i++) {
        workers[i].random = below(&seeds, UINT64_MAX);
        workers[i].room = (MOST + 1) * dim;
        workers[i].out = room_for(workers[i].room, sizeof(float));
    }
    const c4c_stats before = stats();
    started = now();
    start_workers(threads, workers);
    const double warm = watch();
    join_workers(threads);
    const double seconds = now() - started, end = resident_mib();
    print_summary(seconds, warm, end);
    CHECK(end - warm <= GROWTH_MIB);
    check_stats(before);
    close_under_load(workers);
    close_clip(&video);
    return 0;
}
