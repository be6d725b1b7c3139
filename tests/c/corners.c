/* Corners of the promises about threads: calls within callbacks, a delay that never ends, much beside little, forks,
 * many models, limits that strike at once, files that are none, and a process that gets no more threads.
 *
 *     corners WEIGHTS VIDEO [3D_WEIGHTS [TIGHT_WEIGHTS]]
 *
 * WEIGHTS are of a meanP, which takes any number of frames. With the weights of a model with 3D patches a film in
 * passes of different sizes too, with those of a tightTransf texts beside long scores. Exits with 1 and a line at the
 * first thing that is wrong; is killed by SIGALRM if it hangs.
 */
#define _GNU_SOURCE /* alarm, mkdtemp, RTLD_NEXT */
#include "check.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* What company may change in an element of a unit vector. */
#define TOLERANCE 2e-6f

/* Of images and token ids in the lines. */
#define MOST_BYTES ((64 + 4) << 20)

enum { BULK = 20000, FILM = 2000, SINGLES = 20, DIM = 1024, SIDE = 24, HANG_S = 120 };

#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, value) __atomic_store_n(&(x), value, __ATOMIC_SEQ_CST)
#define ADD(x, value) __atomic_add_fetch(&(x), value, __ATOMIC_SEQ_CST)

static const char *weights;
static c4c_model *model;
static clip video;
static size_t dim;
static const char *const dog[] = {"a dog runs"};
static uint8_t pixels[SIDE * SIDE * 3];
static c4c_frame picture;
/* What each gives alone. */
static float of_dog[DIM], of_picture[DIM], of_video[DIM];

/* The library, and what it is made of, gets its threads here: as many as `threads_left` says; below 0 any number. */
static int threads_left = -1;

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = NULL;
    void *const symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&real, &symbol, sizeof real);
    if (LOAD(threads_left) >= 0 && ADD(threads_left, -1) < 0) {
        STORE(threads_left, 0);
        return EAGAIN;
    }
    return real(thread, attr, start, arg);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void nap(long ms) {
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static int near(const float *row, const float *expected) {
    for (size_t i = 0; i < dim; i++)
        if (!(fabsf(row[i] - expected[i]) <= TOLERANCE))
            return 0;
    return 1;
}

static c4c_options options_of(const char *weights) {
    c4c_options options = {0};
    options.struct_size = sizeof options;
    options.weights_path = weights;
    return options;
}

static c4c_model *make(const c4c_options *options) {
    c4c_model *made = NULL;
    FAILS(C4C_OK, "", c4c_create(options, &made, &err));
    return made;
}

static c4c_stats stats(const c4c_model *of) {
    c4c_stats s = {0};
    s.struct_size = sizeof s;
    FAILS(C4C_OK, "", c4c_get_stats(of, &s, &err));
    return s;
}

static void text_is_right(const c4c_model *of) {
    float row[DIM];
    FAILS(C4C_OK, "", c4c_embed_text(of, dog, 1, NULL, row, DIM, &err));
    CHECK(near(row, of_dog));
}

static void picture_is_right(const c4c_model *of) {
    float row[DIM];
    FAILS(C4C_OK, "", c4c_embed_images(of, &picture, 1, NULL, row, DIM, &err));
    CHECK(near(row, of_picture));
}

static void video_is_right(const c4c_model *of) {
    float row[DIM];
    FAILS(C4C_OK, "", c4c_embed_video_path(of, video.path, NULL, NULL, row, DIM, &err));
    CHECK(near(row, of_video));
}

/* Calls on a thread of their own: once, or until it is told to stop. */
typedef struct {
    const c4c_model *model;
    void (*call)(const c4c_model *);
    int once, calls;
    pthread_t thread;
} caller;

static void *call_on(void *arg) {
    caller *c = arg;
    do {
        c->call(c->model);
        ADD(c->calls, 1);
    } while (!LOAD(c->once));
    return NULL;
}

static void start(caller *callers, int n) {
    for (int i = 0; i < n; i++)
        CHECK(pthread_create(&callers[i].thread, NULL, call_on, &callers[i]) == 0);
}

static void stop(caller *callers, int n) {
    for (int i = 0; i < n; i++)
        STORE(callers[i].once, 1);
    for (int i = 0; i < n; i++)
        CHECK(pthread_join(callers[i].thread, NULL) == 0);
}

/* All that calls left to the model is done, and given back. */
static void nothing_is_left(const c4c_model *of) {
    c4c_stats s = stats(of);
    for (int i = 0; i < 1000 && s.queued_texts + s.queued_images + s.bytes_held > 0; i++) {
        nap(10);
        s = stats(of);
    }
    CHECK(s.queued_texts == 0 && s.queued_images == 0 && s.bytes_held == 0 && s.waiting_calls == 0);
}

static void ends_well(pid_t child) {
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Calls within callbacks of calls on the same model. */

static int32_t call_in_progress(void *count, size_t done, size_t total) {
    CHECK(done <= total && stats(model).running >= 1);
    text_is_right(model);
    video_is_right(model);
    ++*(int *)count;
    return 0;
}

static int64_t call_in_read(void *file, uint8_t *buffer, size_t size) {
    text_is_right(model);
    video_is_right(model);
    CHECK(stats(model).running >= 1);
    return file_read(file, buffer, size);
}

static void nested(const c4c_model *of) {
    const char *paths[] = {video.path, "no/such/file", video.path, video.path};
    float rows[4 * DIM];
    c4c_status statuses[4];
    int told = 0;
    FAILS(C4C_OK, "no/such/file",
          c4c_embed_video_paths(of, paths, 4, NULL, NULL, call_in_progress, &told, rows, 4 * dim, statuses, &err));
    CHECK(told == 4 && statuses[1] == C4C_E_MEDIA_IO);
    for (size_t i = 0; i < 4; i++)
        CHECK(i == 1 || (statuses[i] == C4C_OK && near(rows + i * dim, of_video)));
    clip mine = open_clip(video.path);
    mine.io.read = call_in_read;
    rewind(mine.file);
    FAILS(C4C_OK, "", c4c_embed_video_io(of, &mine.io, NULL, NULL, rows, dim, &err));
    CHECK(near(rows, of_video));
    close_clip(&mine);
}

/* From more threads than there may be cores, so that turns at decoding are wanted. */
static void calls_within_calls(void) {
    caller callers[4];
    for (int i = 0; i < 4; i++)
        callers[i] = (caller){model, nested, 1, 0, 0};
    start(callers, 4);
    stop(callers, 4);
}

/* A delay for company that does not come. */

static c4c_cancel *token;

static void fire_soon(const c4c_model *of) {
    while (stats(of).queued_texts == 0)
        nap(1);
    c4c_cancel_fire(token);
}

static void score_is_right(const c4c_model *of) {
    float score = 0;
    double cosine = 0;
    c4c_info info = {0};
    info.struct_size = sizeof info;
    FAILS(C4C_OK, "", c4c_get_info(of, &info, &err));
    FAILS(C4C_OK, "", c4c_score(of, dog, 1, &picture, 1, NULL, &score, 1, &err));
    for (size_t i = 0; i < dim; i++)
        cosine += (double)of_dog[i] * of_picture[i];
    CHECK(info.head != C4C_HEAD_MEAN || fabs(score / exp((double)info.logit_scale) - cosine) < 1e-5);
}

static void no_company(void) {
    c4c_options options = options_of(weights);
    options.max_batch = 4;
    options.max_batch_delay_us = UINT32_MAX;
    c4c_model *patient = make(&options);
    c4c_call call = {sizeof call, 0, 50000, NULL};
    double begun = now();
    fill();
    FAILS(C4C_E_TIMEOUT, "deadline", c4c_embed_text(patient, dog, 1, &call, out, ROOM, &err));
    CHECK(now() - begun >= 0.05 && now() - begun < 5);
    token = c4c_cancel_new();
    const c4c_call cancelled = {sizeof cancelled, 0, 0, token};
    caller firing = {patient, fire_soon, 1, 0, 0};
    start(&firing, 1);
    begun = now();
    FAILS(C4C_E_CANCELLED, "", c4c_embed_text(patient, dog, 1, &cancelled, out, ROOM, &err));
    CHECK(now() - begun < 5);
    stop(&firing, 1);
    untouched();
    c4c_cancel_free(token);

    /* Full passes wait for nobody, whoever fills them; what is left over does. */
    const c4c_frame five[5] = {picture, picture, picture, picture, picture};
    FAILS(C4C_OK, "", c4c_embed_images(patient, five, 4, NULL, out, ROOM, &err));
    CHECK(near(out + 3 * dim, of_picture));
    fill();
    FAILS(C4C_E_TIMEOUT, "deadline", c4c_embed_images(patient, five, 5, &call, out, ROOM, &err));
    untouched();
    caller four[4];
    for (int i = 0; i < 4; i++)
        four[i] = (caller){patient, picture_is_right, 1, 0, 0};
    start(four, 4);
    stop(four, 4);
    char text[512] = "";
    const char *texts[48]; /* of 32 ids, of which 16 texts fill a pass */
    for (int i = 0; i < 60; i++)
        strcat(text, "a dog ");
    for (int i = 0; i < 48; i++)
        texts[i] = text;
    float *rows = calloc(48 * dim, sizeof *rows);
    FAILS(C4C_OK, "", c4c_embed_text(patient, texts, 48, NULL, rows, 48 * dim, &err));
    free(rows);
    nothing_is_left(patient);

    /* Who waits when the model is freed is served. */
    caller waiting[3] = {{patient, text_is_right, 1, 0, 0}, {patient, picture_is_right, 1, 0, 0},
                         {patient, score_is_right, 1, 0, 0}};
    start(waiting, 3);
    while (stats(patient).queued_texts < 2 || stats(patient).queued_images < 1)
        nap(1);
    begun = now();
    c4c_free(patient);
    CHECK(now() - begun < 5);
    stop(waiting, 3);
}

/* Much beside little: 20,000 texts in a call. */

static void bulk(const c4c_model *of) {
    static const char *texts[BULK];
    static char others[16][16];
    float *rows = calloc(BULK * dim, sizeof *rows), expected[16][DIM];
    CHECK(rows != NULL);
    for (int i = 0; i < 16; i++) {
        sprintf(others[i], "dog number %d", i);
        const char *text = others[i];
        FAILS(C4C_OK, "", c4c_embed_text(of, &text, 1, NULL, expected[i], DIM, &err));
    }
    for (int i = 0; i < BULK; i++)
        texts[i] = others[i % 16];
    FAILS(C4C_OK, "", c4c_embed_text(of, texts, BULK, NULL, rows, BULK * dim, &err));
    for (size_t i = 0; i < BULK; i++)
        CHECK(near(rows + i * dim, expected[i % 16]));
    free(rows);
}

/* Single calls come back all the while, and the lines hold no more than they may. */
static void beside(void (*much)(const c4c_model *), void (*little)(const c4c_model *), int least) {
    caller other = {model, much, 1, 0, 0};
    int singles = 0;
    start(&other, 1);
    for (; LOAD(other.calls) == 0; singles++) {
        little(model);
        CHECK(stats(model).bytes_held <= MOST_BYTES);
    }
    stop(&other, 1);
    CHECK(singles > least);
    nothing_is_left(model);
}

/* A film of 2,000 frames. */

static c4c_status film(const c4c_model *of, const c4c_call *call, float *to) {
    c4c_frame *frames = calloc(FILM, sizeof *frames);
    CHECK(frames != NULL);
    for (int i = 0; i < FILM; i++)
        frames[i] = picture;
    const c4c_status status = c4c_embed_frames(of, frames, FILM, call, to, DIM, NULL);
    free(frames);
    return status;
}

static void whole_film(const c4c_model *of) {
    float row[DIM];
    CHECK(film(of, NULL, row) == C4C_OK && near(row, of_picture));
}

static void many_frames(const c4c_model *of) {
    c4c_video_options options = {0};
    float row[DIM];
    options.struct_size = sizeof options;
    options.num_frames = 4096;
    for (int i = 0; i < 8; i++) {
        FAILS(C4C_OK, "", c4c_embed_video_path(of, video.path, &options, NULL, row, DIM, &err));
        CHECK(fabs(length(row, dim) - 1) < 1e-5);
    }
}

static c4c_call of_film;

static void cancelled_film(const c4c_model *of) {
    float row[DIM];
    CHECK(film(of, &of_film, row) == C4C_E_CANCELLED);
}

static void kept_film(const c4c_model *of) {
    float row[DIM];
    CHECK(film(of, &of_film, row) == C4C_OK && near(row, of_picture));
}

/* A film that is cancelled gives everything back; one whose token is freed goes on. */
static void tokens_of_films(void) {
    for (int kept = 0; kept < 2; kept++) {
        const uint64_t images = stats(model).images;
        caller other = {model, kept ? kept_film : cancelled_film, 1, 0, 0};
        token = c4c_cancel_new();
        of_film = (c4c_call){sizeof of_film, 0, 0, token};
        start(&other, 1);
        while (stats(model).images == images)
            nap(1);
        if (!kept)
            c4c_cancel_fire(token);
        c4c_cancel_free(token);
        stop(&other, 1);
        nothing_is_left(model);
    }
}

/* Limits that strike at once, or in a callback. */

static int32_t end_at_two(void *fired, size_t done, size_t total) {
    (void)total;
    if (done == 2)
        c4c_cancel_fire(fired);
    return fired == NULL && done == 2;
}

static int fired_in_read;

/* Frees the token within the call that has it. */
static int64_t read_and_free(void *file, uint8_t *buffer, size_t size) {
    if (fired_in_read)
        c4c_cancel_fire(token);
    c4c_cancel_free(token);
    token = NULL;
    return file_read(file, buffer, size);
}

static void limits(void) {
    const char *paths[] = {video.path, video.path, video.path, video.path};
    c4c_call hasty = {sizeof hasty, 0, 1, NULL};
    c4c_status statuses[6];
    c4c_segments *segments = NULL;
    int late = 0;
    for (int i = 0; i < 20; i++) {
        statuses[0] = c4c_embed_text(model, dog, 1, &hasty, out, ROOM, NULL);
        statuses[1] = c4c_embed_images(model, &picture, 1, &hasty, out, ROOM, NULL);
        statuses[2] = c4c_score(model, dog, 1, &picture, 1, &hasty, out, ROOM, NULL);
        statuses[3] = c4c_embed_video_path(model, video.path, NULL, &hasty, out, ROOM, NULL);
        statuses[4] = c4c_embed_video_paths(model, paths, 4, NULL, &hasty, NULL, NULL, out, ROOM, NULL, NULL);
        statuses[5] = c4c_embed_segments(model, video.path, NULL, 500000, 500000, &hasty, &segments, NULL);
        c4c_segments_free(segments);
        segments = NULL;
        for (int j = 0; j < 6; j++) {
            /* A result that is there at the same moment is one. */
            CHECK(statuses[j] == C4C_E_TIMEOUT || statuses[j] == C4C_OK);
            late += j > 2 && statuses[j] == C4C_E_TIMEOUT;
        }
    }
    /* Files take longer than that on any machine. */
    CHECK(late >= 55);
    nothing_is_left(model);

    fill();
    token = c4c_cancel_new();
    c4c_call call = {sizeof call, 0, 0, token};
    FAILS(C4C_E_CANCELLED, "",
          c4c_embed_video_paths(model, paths, 4, NULL, NULL, end_at_two, NULL, out, ROOM, NULL, &err));
    FAILS(C4C_E_CANCELLED, "",
          c4c_embed_video_paths(model, paths, 4, NULL, &call, end_at_two, token, out, ROOM, NULL, &err));
    untouched();
    ALL_CALLS_FAIL(C4C_E_CANCELLED, "", model, &video, &call);
    c4c_cancel_free(token);
    clip mine = open_clip(video.path);
    mine.io.read = read_and_free;
    for (fired_in_read = 0; fired_in_read < 2; fired_in_read++) {
        rewind(mine.file);
        call.cancel = token = c4c_cancel_new();
        FAILS(fired_in_read ? C4C_E_CANCELLED : C4C_OK, "",
              c4c_embed_video_io(model, &mine.io, NULL, &call, out, ROOM, &err));
    }
    close_clip(&mine);
    nothing_is_left(model);
}

/* A child in which nothing of the model works and nothing hangs. */
static void fork_once(int make_own) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(HANG_S / 4);
        c4c_stats s = {0};
        c4c_info info = {0};
        s.struct_size = sizeof s;
        info.struct_size = sizeof info;
        fill();
        ALL_CALLS_FAIL(C4C_E_FORKED, "forked", model, &video, NULL);
        FAILS(C4C_E_FORKED, "forked", c4c_get_stats(model, &s, &err));
        FAILS(C4C_E_FORKED, "forked", c4c_get_info(model, &info, &err));
        CHECK(c4c_dim(model) == dim && s.calls == 0 && info.dim == 0);
        c4c_free(model);
        if (make_own) {
            model = load(weights);
            calls_within_calls();
            c4c_free(model);
        }
        _exit(0);
    }
    ends_well(child);
}

/* Forks while other threads are inside calls, and then at rest: only there may the child make a model of its own, since
 * locks of libtorch's libraries may be held for ever by threads that it does not have. */
static void forks(void) {
    caller callers[4] = {{model, text_is_right, 0, 0, 0}, {model, picture_is_right, 0, 0, 0},
                         {model, video_is_right, 0, 0, 0}, {model, video_is_right, 0, 0, 0}};
    start(callers, 4);
    for (int round = 0; round < 10; round++) {
        nap(round);
        fork_once(0);
    }
    stop(callers, 4);
    fork_once(1);
}

/* Models come and go while one works. */
static void come_and_go(const c4c_model *other) {
    static const uint32_t threads[] = {1, 2, 5, 1, 2, 3, 1, 5};
    c4c_options options = options_of(weights);
    c4c_info info = {0};
    info.struct_size = sizeof info;
    for (int i = 0; i < 8; i++) {
        options.num_threads = threads[i];
        options.max_batch = i % 2 ? 0 : 1;
        c4c_model *mine = make(&options);
        CHECK(c4c_get_info(mine, &info, NULL) == C4C_OK && info.num_threads == threads[i]);
        text_is_right(mine);
        picture_is_right(mine);
        if (i % 4 == 0)
            video_is_right(mine);
        CHECK(stats(mine).calls == (i % 4 ? 2 : 3));
        text_is_right(other);
        c4c_free(mine);
    }
}

static void many_models(void) {
    caller callers[6] = {{model, text_is_right, 0, 0, 0}, {model, video_is_right, 0, 0, 0}};
    for (int i = 2; i < 6; i++)
        callers[i] = (caller){model, come_and_go, 1, 0, 0};
    start(callers, 6);
    stop(callers + 2, 4);
    stop(callers, 2);
}

/* Paths that are no files, and a file that changes while it is read. */

static char file[600];

static void change_file(const c4c_model *of) {
    const int to = open(file, O_WRONLY | O_CREAT, 0600);
    CHECK(of != NULL && to >= 0 && pwrite(to, video.data, video.size, 0) == (ssize_t)video.size);
    nap(3);
    CHECK(ftruncate(to, (off_t)video.size / 3) == 0);
    close(to);
    nap(1);
}

static void odd_files(void) {
    char folder[512], pipe[600];
    const char *temporary = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/corners-XXXXXX", temporary == NULL ? P_tmpdir : temporary);
    CHECK(mkdtemp(folder) != NULL);
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    snprintf(file, sizeof file, "%s/file", folder);
    CHECK(mkfifo(pipe, 0600) == 0);
    const char *paths[] = {pipe, folder, "/dev/zero", "/dev/null", video.path};
    c4c_status statuses[5];
    fill();
    for (int i = 0; i < 4; i++)
        FAILS(C4C_E_MEDIA_IO, paths[i], c4c_embed_video_path(model, paths[i], NULL, NULL, out, ROOM, &err));
    untouched();
    CHECK(c4c_embed_video_paths(model, paths, 5, NULL, NULL, NULL, NULL, out, ROOM, statuses, NULL) == C4C_OK);
    for (int i = 0; i < 4; i++)
        CHECK(statuses[i] == C4C_E_MEDIA_IO);
    CHECK(statuses[4] == C4C_OK && near(out + 4 * dim, of_video));

    caller changing = {model, change_file, 0, 0, 0};
    change_file(model);
    start(&changing, 1);
    for (int i = 0; i < 40; i++) {
        const c4c_status status = c4c_embed_video_path(model, file, NULL, NULL, out, ROOM, NULL);
        CHECK(status == C4C_OK || (status <= C4C_E_MEDIA_IO && status >= C4C_E_LIMIT));
        CHECK(status != C4C_OK || fabs(length(out, dim) - 1) < 1e-5);
    }
    stop(&changing, 1);
    unlink(file);
    unlink(pipe);
    rmdir(folder);
    nothing_is_left(model);
}

/* A process that gets no more threads: calls end with a status or do without, and all is well when there are threads
 * again. In a child, since it is tried with its first model. */
static void without_threads(void) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(HANG_S / 2);
        c4c_options options = options_of(weights);
        c4c_video_options sampling = {0};
        const char *paths[] = {video.path, video.path, video.path};
        c4c_status statuses[4] = {0};
        c4c_model *mine = NULL;
        sampling.struct_size = sizeof sampling;
        sampling.decode_threads = 4;
        /* Only one thread for a pass: GNU OpenMP ends the process where it cannot start the others. */
        options.num_threads = 1;
        FAILS(C4C_E_OUT_OF_MEMORY, "thread", (STORE(threads_left, 0), c4c_create(&options, &mine, &err)));
        STORE(threads_left, 1);
        mine = make(&options);
        for (int n = 0; n < 6; n++) {
            STORE(threads_left, n);
            FAILS(C4C_OK, "", c4c_embed_text(mine, dog, 1, NULL, out, ROOM, &err));
            statuses[3] = c4c_embed_video_path(mine, video.path, &sampling, NULL, out, ROOM, NULL);
            /* FFmpeg tells of a decoder without threads only that it could not be opened. */
            CHECK(statuses[3] == C4C_OK || statuses[3] == C4C_E_OUT_OF_MEMORY || statuses[3] == C4C_E_MEDIA_FORMAT);
            STORE(threads_left, n);
            statuses[3] = c4c_embed_video_paths(mine, paths, 3, NULL, NULL, NULL, NULL, out, ROOM, statuses, NULL);
            CHECK(statuses[3] == C4C_OK || statuses[3] == C4C_E_OUT_OF_MEMORY);
        }
        STORE(threads_left, -1);
        FAILS(C4C_OK, "", c4c_embed_video_path(mine, video.path, &sampling, NULL, out, ROOM, &err));
        c4c_free(mine);
        _exit(0);
    }
    ends_well(child);
}

/* A film of 3D patches is the same in passes of any size and in company. */

static c4c_frame clip_of_3d[100];

static void film_of_3d(const c4c_model *of, float *row) {
    FAILS(C4C_OK, "", c4c_embed_frames(of, clip_of_3d, 100, NULL, row, DIM, &err));
}

static void others_of_3d(const c4c_model *of) {
    FAILS(C4C_OK, "", c4c_embed_images(of, clip_of_3d, 3, NULL, (float[3 * DIM]){0}, 3 * DIM, &err));
    FAILS(C4C_OK, "", c4c_embed_text(of, dog, 1, NULL, (float[DIM]){0}, DIM, &err));
}

static void three_d(const char *of_3d) {
    static uint8_t noise[100][SIDE * SIDE * 3];
    float expected[DIM], row[DIM];
    uint32_t random = 1;
    for (int i = 0; i < 100; i++) {
        for (size_t j = 0; j < sizeof noise[i]; j++)
            noise[i][j] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
        clip_of_3d[i] = picture;
        clip_of_3d[i].planes[0] = noise[i];
    }
    c4c_options options = options_of(of_3d);
    for (int i = 0; i < 2; i++) {
        options.max_batch = i == 0 ? 64 : 5;
        c4c_model *mine = make(&options);
        const size_t n = c4c_dim(mine);
        if (i == 0)
            film_of_3d(mine, expected);
        caller callers[2] = {{mine, others_of_3d, 0, 0, 0}, {mine, others_of_3d, 0, 0, 0}};
        start(callers, 2);
        for (int k = 0; k < 2; k++) {
            film_of_3d(mine, row);
            for (size_t j = 0; j < n; j++)
                CHECK(fabsf(row[j] - expected[j]) <= TOLERANCE);
        }
        stop(callers, 2);
        c4c_free(mine);
    }
}

/* Long scores of a tightTransf leave room for texts. */

static void long_score(const c4c_model *of) {
    const char *texts[500];
    const c4c_frame frames[4] = {picture, picture, picture, picture};
    float scores[500];
    for (int i = 0; i < 500; i++)
        texts[i] = dog[0];
    FAILS(C4C_OK, "", c4c_score(of, texts, 500, frames, 4, NULL, scores, 500, &err));
    for (int i = 1; i < 500; i++)
        CHECK(fabsf(scores[i] - scores[0]) <= 1e-4f * fabsf(scores[0]));
}

static void tight(const char *of_tight) {
    c4c_model *mine = load(of_tight);
    caller callers[2] = {{mine, long_score, 0, 0, 0}, {mine, long_score, 0, 0, 0}};
    start(callers, 2);
    int texts = 0;
    while (LOAD(callers[0].calls) + LOAD(callers[1].calls) < 4) {
        FAILS(C4C_OK, "", c4c_embed_text(mine, dog, 1, NULL, out, ROOM, &err));
        texts++;
    }
    stop(callers, 2);
    CHECK(texts >= SINGLES);
    c4c_free(mine);
}

int main(int argc, char **argv) {
    CHECK(argc >= 3);
    alarm(HANG_S);
    weights = argv[1];
    video = open_clip(argv[2]);
    without_threads();

    picture.struct_size = sizeof picture;
    picture.format = C4C_PIXEL_RGB24;
    picture.width = picture.height = SIDE;
    picture.planes[0] = pixels;
    picture.strides[0] = SIDE * 3;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * i / 7);
    model = load(weights);
    dim = c4c_dim(model);
    CHECK(dim <= DIM);
    FAILS(C4C_OK, "", c4c_embed_text(model, dog, 1, NULL, of_dog, DIM, &err));
    FAILS(C4C_OK, "", c4c_embed_images(model, &picture, 1, NULL, of_picture, DIM, &err));
    FAILS(C4C_OK, "", c4c_embed_video_path(model, video.path, NULL, NULL, of_video, DIM, &err));

    calls_within_calls();
    no_company();
    beside(bulk, text_is_right, SINGLES);
    beside(whole_film, picture_is_right, SINGLES);
    beside(many_frames, picture_is_right, SINGLES / 2);
    tokens_of_films();
    limits();
    odd_files();
    forks();
    many_models();
    if (argc > 3)
        three_d(argv[3]);
    if (argc > 4)
        tight(argv[4]);
    c4c_free(model);
    close_clip(&video);
    return 0;
}
