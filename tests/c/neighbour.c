/* libc4c loaded by dlopen(RTLD_LOCAL) beside a library that has an FFmpeg of its own inside: neither gets the other's
 * functions, nobody else in the process sees what libc4c brought along, and after dlclose nothing is missing.
 *
 *     neighbour LIBC4C LIBNEIGHBOUR WEIGHTS VIDEO
 *
 * Compiled without libc4c: `cc -I include tests/c/neighbour.c -ldl -lm -pthread`.
 */
#define _GNU_SOURCE /* RTLD_DEFAULT, MAP_ANONYMOUS */
#include "check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { TEXTS = 2, ROWS = TEXTS + 1, DIM = 1024 };

static const char *const texts[TEXTS] = {"a dog runs on the beach", "two people cook"};
static const char *libc4c, *libneighbour, *weights, *video;

typedef float vectors[ROWS][DIM];

/* What is called of libc4c, found by dlsym. */
typedef struct {
    void *handle;
    __typeof__(&c4c_create) create;
    __typeof__(&c4c_dim) dim;
    __typeof__(&c4c_embed_text) embed_text;
    __typeof__(&c4c_embed_video_path) embed_video_path;
    __typeof__(&c4c_free) free;
} library;

static void *open_library(const char *path, int flags) {
    void *handle = dlopen(path, flags | RTLD_NOW);
    if (handle == NULL)
        printf("%s\n", dlerror());
    CHECK(handle != NULL);
    return handle;
}

/* A function by its name, into a pointer to it of whatever type. */
#define FIND(handle, pointer, name)                                                                                    \
    do {                                                                                                               \
        void *found_ = dlsym(handle, name);                                                                            \
        CHECK(found_ != NULL);                                                                                         \
        memcpy(&(pointer), &found_, sizeof(pointer));                                                                  \
    } while (0)

static library open_c4c(int flags) {
    library c4c = {.handle = open_library(libc4c, flags)};
    FIND(c4c.handle, c4c.create, "c4c_create");
    FIND(c4c.handle, c4c.dim, "c4c_dim");
    FIND(c4c.handle, c4c.embed_text, "c4c_embed_text");
    FIND(c4c.handle, c4c.embed_video_path, "c4c_embed_video_path");
    FIND(c4c.handle, c4c.free, "c4c_free");
    return c4c;
}

/* Writes two texts' vectors and a video's. */
static void embed(const library *c4c, vectors rows) {
    c4c_error err = {.struct_size = sizeof err};
    c4c_options options = {.struct_size = sizeof options, .weights_path = weights};
    c4c_model *model = NULL;
    static float flat[TEXTS * DIM];
    c4c_status status = c4c->create(&options, &model, &err);
    const size_t dim = c4c->dim(model);
    if (status == C4C_OK)
        status = c4c->embed_text(model, texts, TEXTS, NULL, flat, TEXTS * DIM, &err);
    if (status == C4C_OK)
        status = c4c->embed_video_path(model, video, NULL, NULL, rows[TEXTS], DIM, &err);
    if (status != C4C_OK)
        printf("%s\n", err.message);
    CHECK(status == C4C_OK && dim > 0 && dim <= DIM);
    for (size_t i = 0; i < TEXTS; i++)
        memcpy(rows[i], flat + i * dim, dim * sizeof(float));
    c4c->free(model);
}

/* The neighbour's functions are its own: nobody else has called them, and it finds them. */
static void check_neighbour(void *neighbour) {
    int (*calls)(void), (*work)(void);
    FIND(neighbour, calls, "neighbour_calls");
    FIND(neighbour, work, "neighbour_work");
    CHECK(calls() == 0);
    const int n = work();
    CHECK(n > 0 && calls() == n);
}

/* ---- what is done in a process of its own each ---- */

static void alone(vectors rows) {
    library c4c = open_c4c(RTLD_LOCAL);
    embed(&c4c, rows);
}

static void neighbour_first(vectors rows) {
    void *neighbour = open_library(libneighbour, RTLD_LOCAL);
    library c4c = open_c4c(RTLD_LOCAL);
    embed(&c4c, rows);
    check_neighbour(neighbour);
}

static void neighbour_second(vectors rows) {
    library c4c = open_c4c(RTLD_LOCAL);
    void *neighbour = open_library(libneighbour, RTLD_LOCAL);
    embed(&c4c, rows);
    check_neighbour(neighbour);
}

/* Names that the whole process sees come first everywhere, whoever they belong to; with RTLD_DEEPBIND they do not. */
static void neighbour_everywhere(vectors rows) {
    void *neighbour = open_library(libneighbour, RTLD_GLOBAL);
    library c4c = open_c4c(RTLD_LOCAL | RTLD_DEEPBIND);
    embed(&c4c, rows);
    check_neighbour(neighbour);
}

/* Without it, a video is refused in so many words, before anything is handed to the wrong FFmpeg: here it says to be of
 * version 0. */
static void neighbour_in_front(vectors rows) {
    int (*calls)(void);
    void *neighbour = open_library(libneighbour, RTLD_GLOBAL);
    library c4c = open_c4c(RTLD_LOCAL);
    FIND(neighbour, calls, "neighbour_calls");
    c4c_error err = {.struct_size = sizeof err};
    c4c_options options = {.struct_size = sizeof options, .weights_path = weights};
    c4c_model *model = NULL;
    CHECK(c4c.create(&options, &model, &err) == C4C_OK);
    const int before = calls();
    CHECK(c4c.embed_video_path(model, video, NULL, NULL, rows[0], DIM, &err) == C4C_E_UNSUPPORTED);
    CHECK(strstr(err.message, "libavutil 0") != NULL && strstr(err.message, "RTLD_DEEPBIND") != NULL);
    CHECK(calls() == before + 4);
    c4c.free(model);
}

/* Names of libc4c and of what it brought along are there for those who have its handle and for nobody else, before and
 * after it has worked. */
static void nothing_is_global(vectors rows) {
    static const char *const names[] = {"c4c_create",          "avformat_open_input", "avcodec_send_packet",
                                        "av_log_set_callback", "sws_scale",           "_ZN2at15get_num_threadsEv"};
    library c4c = open_c4c(RTLD_LOCAL);
    for (int worked = 0; worked < 2; worked++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            CHECK(dlsym(c4c.handle, names[i]) != NULL);
            if (dlsym(RTLD_DEFAULT, names[i]) != NULL)
                printf("%s is global\n", names[i]);
            CHECK(dlsym(RTLD_DEFAULT, names[i]) == NULL);
        }
        embed(&c4c, rows);
    }
}

/* ---- dlclose, when the thread that worked with libc4c, and might have kept it there, is gone ---- */

static void *load_and_work(void *rows) {
    library c4c = open_c4c(RTLD_LOCAL);
    embed(&c4c, *(vectors *)rows);
    return c4c.handle;
}

static void work_and_unload(vectors rows) {
    pthread_t thread;
    void *handle = NULL;
    CHECK(pthread_create(&thread, NULL, load_and_work, (void *)rows) == 0);
    CHECK(pthread_join(thread, &handle) == 0);
    CHECK(dlclose(handle) == 0);
}

static void again_and_again(vectors rows) {
    for (int i = 0; i < 3; i++)
        work_and_unload(rows);
}

/* A host that uses the same FFmpeg goes on to do so, and FFmpeg still calls what libc4c gave it to log with. */
static void ffmpeg_stays(vectors rows) {
    void (*av_log)(void *, int, const char *, ...);
    Dl_info info;
    library c4c = open_c4c(RTLD_LOCAL);
    CHECK(dladdr(dlsym(c4c.handle, "av_log"), &info) != 0);
    void *libavutil = open_library(info.dli_fname, RTLD_LOCAL);
    CHECK(dlclose(c4c.handle) == 0);
    work_and_unload(rows);
    FIND(libavutil, av_log, "av_log");
    av_log(NULL, 56, "AV_LOG_TRACE, which goes to the callback and not to stderr\n");
}

/* Runs it in a child, which therefore has nothing loaded before. */
static int wait_status(void (*body)(vectors), vectors rows) {
    memset(rows, 0, sizeof(vectors));
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        body(rows);
        exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

/* The same, and compares what it writes with `expected`. */
static void check(const char *name, void (*body)(vectors), vectors rows, vectors expected) {
    const int status = wait_status(body, rows);
    double most = 0;
    for (size_t i = 0; i < ROWS; i++) {
        CHECK(status != 0 || fabs(length(rows[i], DIM) - 1) < 1e-5);
        for (size_t j = 0; j < DIM; j++)
            most = fmax(most, fabs((double)rows[i][j] - expected[i][j]));
    }
    if (status != 0 || most > 1e-6)
        printf("%s: wait status %d, vectors differ by %g\n", name, status, most);
    CHECK(status == 0 && most <= 1e-6);
}

int main(int argc, char **argv) {
    CHECK(argc == 5);
    libc4c = argv[1];
    libneighbour = argv[2];
    weights = argv[3];
    video = argv[4];
    CHECK(dlsym(RTLD_DEFAULT, "c4c_create") == NULL); /* else this program was linked with it, and shows nothing */
    vectors *shared = mmap(NULL, 2 * sizeof(vectors), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    check("alone", alone, shared[0], shared[0]);
    check("the neighbour first", neighbour_first, shared[1], shared[0]);
    check("the neighbour second", neighbour_second, shared[1], shared[0]);
    check("the neighbour everywhere", neighbour_everywhere, shared[1], shared[0]);
    CHECK(wait_status(neighbour_in_front, shared[1]) == 0);
    check("nothing is global", nothing_is_global, shared[1], shared[0]);
    check("again and again", again_and_again, shared[1], shared[0]);
    check("FFmpeg stays", ffmpeg_stays, shared[1], shared[0]);
    return 0;
}
