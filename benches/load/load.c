/* One model and many callers: throughput, latency, how long a text waits behind videos, and how soon a cancelled call
 * returns.
 *
 *     load [--quick] [--json FILE] [--seconds S] [--only SECTION] [--threads N] [--max-batch N] WEIGHTS VIDEO
 *
 * SECTION: text, image, frames, video, mixed, big, latency or cancel.
 */
#define _DEFAULT_SOURCE /* getloadavg */
#include "c4c.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    WIDTH = 320,
    HEIGHT = 240,
    PICTURES = 64,
    TEXTS = 256,
    CLIP = 12,  /* frames of a video */
    BIG = 64,   /* images of a big call */
    LEAST = 3,  /* calls of each caller: a first one, whose latency does not count, and two more */
    CROWD = 16, /* callers to compare with a big call */
};

typedef enum { TEXT, IMAGE, FRAMES, VIDEO, MIXED, IMAGES, BATCH } kind;

static const struct {
    const char *option, *title;
} KINDS[] = {{"text", "a text"},   {"image", "an image"}, {"frames", "12 frames"}, {"video", "video path"},
             {"mixed", "mixed"}, {"images", "64 images"}, {"batch", "one batch"}};

static const char *const WORDS[] = {
    "a", "the", "man", "woman", "dog", "cat", "child", "is", "are", "running", "playing", "guitar", "in", "on",
    "street", "beach", "and", "with", "red", "small", "car", "driving", "two", "people", "talking", "about", "food",
    "cooking", "kitchen", "video", "game", "someone", "singing", "stage", "crowd", "cartoon", "horse", "water",
    "swimming", "ball", "team", "scores", "goal", "paper", "folding", "hands", "camera", "makeup", "of", "while",
    "night", "mountain",
};

static struct {
    const char *weights, *video, *only;
    double seconds;
    bool quick;
    c4c_model *model;
    c4c_info info;
    char texts[TEXTS][256];
    c4c_frame *frames;
    size_t pictures; /* as many as the largest call has */
    FILE *json;
    int rows; /* in it */
} bench;

/* Sundries */

static void fail(const char *what, const char *message) {
    fprintf(stderr, "load: %s: %s\n", what, message);
    fflush(stdout);
    _exit(1); /* not exit: other threads may be in the library */
}

static void must(c4c_status status, const char *what, const c4c_error *err) {
    char text[600];
    snprintf(text, sizeof text, "%s \"%s\"", c4c_status_name(status), err->message);
    if (status != C4C_OK)
        fail(what, text);
}

static void *room(size_t n, size_t size) {
    void *p = calloc(n > 0 ? n : 1, size);
    if (p == NULL)
        fail("calloc", "no memory");
    return p;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pause_for(double seconds) {
    struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - floor(seconds)))};
    nanosleep(&t, NULL);
}

/* xorshift32; the seed is not 0. */
static uint32_t draw(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static double fraction(uint32_t *seed) {
    return (draw(seed) >> 8) / 16777216.0;
}

static pthread_t spawn(void *(*body)(void *), void *arg) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, arg) != 0)
        fail("pthread_create", "no thread");
    return thread;
}

/* Samples of a time, in seconds */

typedef struct {
    double *v;
    size_t n;
} sample;

static void add(sample *s, double v) {
    if ((s->n & (s->n - 1)) == 0) /* full: the room is a power of two */
        s->v = realloc(s->v, (s->n == 0 ? 1 : 2 * s->n) * sizeof *s->v);
    if (s->v == NULL)
        fail("realloc", "no memory");
    s->v[s->n++] = v;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort(sample *s) {
    if (s->n > 0)
        qsort(s->v, s->n, sizeof *s->v, ascending);
}

/* The nearest rank of a sorted sample. */
static double at(const sample *s, double p) {
    if (s->n == 0)
        return NAN;
    size_t rank = (size_t)ceil(p * (double)s->n);
    return s->v[rank > 0 ? rank - 1 : 0];
}

/* How full the forward passes are */

typedef struct {
    double texts, text_batches, images, image_batches;
} counts;

#pragma weak c4c_get_stats /* so that the program also runs with a build that lacks it */

static counts count(void) {
    counts c = {0};
    c4c_stats stats = {0};
    c4c_error err = {0};
    stats.struct_size = sizeof stats;
    err.struct_size = sizeof err;
    if (c4c_get_stats != NULL) {
        must(c4c_get_stats(bench.model, &stats, &err), "c4c_get_stats", &err);
        c = (counts){(double)stats.texts, (double)stats.text_batches, (double)stats.images,
                     (double)stats.image_batches};
    }
    return c;
}

/* A row of a table, which is also an object in the JSON's list */

static void row(const char *section, const char *format, ...) {
    char label[64];
    va_list args;
    va_start(args, format);
    vsnprintf(label, sizeof label, format, args);
    va_end(args);
    if (bench.json != NULL)
        fprintf(bench.json, "%s\n    {\"section\": \"%s\", \"label\": \"%s\"", bench.rows++ > 0 ? "," : "", section,
                label);
    printf("| %s |", label);
}

/* Not a number: nothing was counted. */
static void field(const char *name, int decimals, double v) {
    char text[64];
    snprintf(text, sizeof text, "%.*f", decimals, v);
    printf(" %s |", isfinite(v) ? text : "-");
    snprintf(text, sizeof text, "%.4f", v);
    if (bench.json != NULL)
        fprintf(bench.json, ", \"%s\": %s", name, isfinite(v) ? text : "null");
}

static void met(bool is) {
    printf(" %s |", is ? "met" : "missed");
    if (bench.json != NULL)
        fprintf(bench.json, ", \"met\": %s", is ? "true" : "false");
}

static void row_end(void) {
    if (bench.json != NULL)
        fputs("}", bench.json);
    printf("\n");
    fflush(stdout);
}

static void times(const sample *s) {
    field("n", 0, (double)s->n);
    field("p50_ms", 1, 1e3 * at(s, 0.5));
    field("p99_ms", 1, 1e3 * at(s, 0.99));
    field("max_ms", 1, 1e3 * at(s, 1));
}

static void passes(counts before, counts after) {
    field("texts_per_pass", 2, (after.texts - before.texts) / (after.text_batches - before.text_batches));
    field("images_per_pass", 2, (after.images - before.images) / (after.image_batches - before.image_batches));
}

/* Calls */

static void make_inputs(void) {
    const size_t size = (size_t)3 * WIDTH * HEIGHT;
    uint8_t *pixels = room(PICTURES, size);
    uint32_t seed = 2463534242u;
    for (size_t i = 0; i < PICTURES * size; i++)
        pixels[i] = (uint8_t)draw(&seed);
    bench.pictures = bench.info.max_batch > BIG ? bench.info.max_batch : BIG;
    bench.frames = room(bench.pictures, sizeof *bench.frames);
    for (size_t i = 0; i < bench.pictures; i++) {
        c4c_frame *f = &bench.frames[i];
        f->struct_size = sizeof *f;
        f->format = C4C_PIXEL_RGB24;
        f->width = WIDTH;
        f->height = HEIGHT;
        f->planes[0] = pixels + i % PICTURES * size;
        f->strides[0] = 3 * WIDTH;
    }
    for (int i = 0; i < TEXTS; i++) {
        for (uint32_t words = 4 + draw(&seed) % 17; words > 0; words--) {
            strcat(bench.texts[i], WORDS[draw(&seed) % (sizeof WORDS / sizeof *WORDS)]);
            strcat(bench.texts[i], words > 1 ? " " : "");
        }
    }
}

/* One call; `items` receives how many texts or pictures it was. */
static c4c_status call(kind k, uint32_t *seed, const c4c_call *limits, size_t *items, c4c_error *err) {
    static const kind DRAWN[] = {TEXT, IMAGE, FRAMES, VIDEO};
    if (k == MIXED)
        k = DRAWN[draw(seed) % 4];
    *items = k == TEXT || k == IMAGE ? 1 : k == IMAGES ? BIG : k == BATCH ? bench.info.max_batch : CLIP;
    const char *text = bench.texts[draw(seed) % TEXTS];
    const c4c_frame *frames = bench.frames + draw(seed) % (bench.pictures - *items + 1);
    const size_t space = *items * bench.info.dim;
    float *out = room(space, sizeof *out);
    c4c_status status;
    err->struct_size = sizeof *err;
    if (k == TEXT)
        status = c4c_embed_text(bench.model, &text, 1, limits, out, space, err);
    else if (k == FRAMES)
        status = c4c_embed_frames(bench.model, frames, CLIP, limits, out, space, err);
    else if (k == VIDEO)
        status = c4c_embed_video_path(bench.model, bench.video, NULL, limits, out, space, err);
    else
        status = c4c_embed_images(bench.model, frames, *items, limits, out, space, err);
    free(out);
    return status;
}

/* Likewise, to the end; returns the time it took. */
static double timed(kind k, uint32_t *seed) {
    c4c_error err = {0};
    size_t items;
    double begin = now();
    must(call(k, seed, NULL, &items, &err), KINDS[k].title, &err);
    return now() - begin;
}

/* The median time of `max_batch` images in one call: as long as a forward pass may take. */
static double batch_time(void) {
    uint32_t seed = 5;
    sample s = {0};
    for (int i = 0; i < (bench.quick ? 3 : 7); i++)
        add(&s, timed(BATCH, &seed));
    sort(&s);
    double median = at(&s, 0.5);
    free(s.v);
    return median;
}

/* Callers in a closed loop: each calls again as soon as its call has returned */

typedef struct crowd crowd;

typedef struct {
    crowd *crowd;
    pthread_t thread;
    uint32_t seed;
    size_t items;
    sample times;
} caller;

struct crowd {
    kind kind;
    int n;
    double begin, until;
    atomic_int behind; /* callers that have not begun their LEAST-th call; all go on until there is none */
    atomic_bool stop;
    caller *callers;
    double calls_per_s, items_per_s;
    sample latency; /* without each caller's first call, which met an emptier queue */
};

static void *closed_loop(void *arg) {
    caller *me = arg;
    crowd *all = me->crowd;
    while (!atomic_load(&all->stop) && (now() < all->until || atomic_load(&all->behind) > 0)) {
        c4c_error err = {0};
        size_t items;
        if (me->times.n + 1 == LEAST)
            atomic_fetch_sub(&all->behind, 1);
        double begin = now();
        must(call(all->kind, &me->seed, NULL, &items, &err), KINDS[all->kind].title, &err);
        add(&me->times, now() - begin);
        me->items += items;
    }
    return NULL;
}

static void start(crowd *all, kind k, int n, double seconds) {
    memset(all, 0, sizeof *all);
    all->kind = k;
    all->n = n;
    all->callers = room((size_t)n, sizeof *all->callers);
    atomic_init(&all->behind, n);
    atomic_init(&all->stop, false);
    all->begin = now();
    all->until = all->begin + seconds;
    for (int i = 0; i < n; i++) {
        caller *c = &all->callers[i];
        c->crowd = all;
        c->seed = 2654435761u * (uint32_t)(i + 1);
        c->thread = spawn(closed_loop, c);
    }
}

/* Waits for all callers. The model is busy from the first call to the last, so the rates are over all of that time. */
static void join(crowd *all) {
    for (int i = 0; i < all->n; i++)
        pthread_join(all->callers[i].thread, NULL);
    double seconds = now() - all->begin;
    for (int i = 0; i < all->n; i++) {
        caller *c = &all->callers[i];
        all->calls_per_s += (double)c->times.n / seconds;
        all->items_per_s += (double)c->items / seconds;
        for (size_t j = 1; j < c->times.n; j++)
            add(&all->latency, c->times.v[j]);
        free(c->times.v);
    }
    sort(&all->latency);
    free(all->callers);
}

static void stop(crowd *all) {
    atomic_store(&all->stop, true);
    join(all);
    free(all->latency.v);
}

/* Sections */

static bool wanted(const char *section) {
    return bench.only == NULL || strcmp(bench.only, section) == 0;
}

static void throughput(kind k) {
    static const int CALLERS[] = {1, 2, 4, 16, 64};
    printf("\n## Throughput: %s\n\n| callers | calls/s | items/s | n | p50 ms | p99 ms | max ms | texts/pass | "
           "images/pass |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n", KINDS[k].title);
    for (size_t i = 0; i < sizeof CALLERS / sizeof *CALLERS; i++) {
        crowd all;
        counts before = count();
        start(&all, k, CALLERS[i], bench.seconds);
        join(&all);
        row(KINDS[k].option, "%d", CALLERS[i]);
        field("calls_per_s", 2, all.calls_per_s);
        field("items_per_s", 2, all.items_per_s);
        times(&all.latency);
        passes(before, count());
        row_end();
        free(all.latency.v);
    }
}

/* In turns, since the machine's speed drifts: each crowd is compared with the big calls before and after it. */
static void big(void) {
    const int rounds = bench.quick ? 3 : 5;
    uint32_t seed = 7;
    sample rates = {0}, ratios = {0};
    printf("\n## One call of %d images, and %d callers of one\n\n| round | one call, images/s | %d callers, images/s | "
           "ratio | texts/pass | images/pass |\n|--:|--:|--:|--:|--:|--:|\n", BIG, CROWD, CROWD);
    add(&rates, BIG / timed(IMAGES, &seed));
    for (int i = 0; i < rounds; i++) {
        crowd all;
        counts before = count();
        start(&all, IMAGE, CROWD, bench.seconds);
        join(&all);
        counts after = count();
        add(&rates, BIG / timed(IMAGES, &seed));
        const double one = (rates.v[i] + rates.v[i + 1]) / 2;
        add(&ratios, all.items_per_s / one);
        row("big", "%d", i + 1);
        field("one_call_images_per_s", 2, one);
        field("crowd_images_per_s", 2, all.items_per_s);
        field("ratio", 3, all.items_per_s / one);
        passes(before, after);
        row_end();
        free(all.latency.v);
    }
    sort(&rates);
    sort(&ratios);
    printf("\n| median | best call, images/s | one call, images/s | ratio | at least 0.90 |\n|---|--:|--:|--:|---|\n");
    row("big", "all rounds");
    field("best_one_call_images_per_s", 2, at(&rates, 1));
    field("one_call_images_per_s", 2, at(&rates, 0.5));
    field("ratio", 3, at(&ratios, 0.5));
    met(at(&ratios, 0.5) >= 0.90);
    row_end();
    free(rates.v);
    free(ratios.v);
}

/* One caller of texts, with short random pauses so that it does not fall into step with the others. */
static sample text_times(double seconds, size_t least) {
    uint32_t seed = 11;
    sample s = {0};
    timed(TEXT, &seed);
    for (double until = now() + seconds; now() < until || s.n < least;) {
        pause_for(0.02 * fraction(&seed));
        add(&s, timed(TEXT, &seed));
    }
    sort(&s);
    return s;
}

static void latency(double batch) {
    static const struct {
        const char *name;
        kind kind;
        int callers;
    } BESIDE[] = {{"nothing", TEXT, 0}, {"4 callers of 12 frames", FRAMES, 4}, {"2 callers of video paths", VIDEO, 2}};
    double aim = NAN;
    printf("\n## A text beside videos\n\nOne batch of %u images: %.1f ms. Aim: p99 at most 3 times the p99 alone and "
           "one batch.\n\n| beside | n | p50 ms | p99 ms | max ms | texts/pass | images/pass | aim ms | aim |\n"
           "|---|--:|--:|--:|--:|--:|--:|--:|---|\n", bench.info.max_batch, 1e3 * batch);
    for (size_t i = 0; i < sizeof BESIDE / sizeof *BESIDE; i++) {
        crowd all;
        const size_t least = i == 0 ? 100 : bench.quick ? 20 : 50;
        counts before = count();
        start(&all, BESIDE[i].kind, BESIDE[i].callers, INFINITY);
        sample s = text_times(2 * bench.seconds, least);
        counts after = count();
        stop(&all);
        row("latency", "%s", BESIDE[i].name);
        times(&s);
        passes(before, after);
        field("aim_ms", 1, 1e3 * aim);
        if (i > 0)
            met(at(&s, 0.99) <= aim);
        row_end();
        if (i == 0)
            aim = 3 * at(&s, 0.99) + batch;
        free(s.v);
    }
}

typedef struct {
    c4c_cancel *token;
    double delay, fired;
} fuse;

static void *burn(void *arg) {
    fuse *f = arg;
    pause_for(f->delay);
    f->fired = now();
    c4c_cancel_fire(f->token);
    return NULL;
}

/* One call that is to end `delay` after its beginning, by a token or by its deadline. Returns the time from then to its
 * return; negative if it was done before. */
static double overrun(kind k, bool by_token, double delay, uint32_t *seed) {
    c4c_call limits = {0};
    c4c_error err = {0};
    fuse f = {NULL, delay, 0};
    size_t items;
    pthread_t thread;
    limits.struct_size = sizeof limits;
    if (by_token) {
        limits.cancel = f.token = c4c_cancel_new();
        if (f.token == NULL)
            fail("c4c_cancel_new", "no token");
        thread = spawn(burn, &f);
    } else {
        limits.timeout_us = 1 + (int64_t)(1e6 * delay);
        f.fired = now() + 1e-6 * (double)limits.timeout_us;
    }
    c4c_status status = call(k, seed, &limits, &items, &err);
    double end = now();
    if (by_token)
        pthread_join(thread, NULL);
    c4c_cancel_free(f.token);
    if (status != (by_token ? C4C_E_CANCELLED : C4C_E_TIMEOUT))
        must(status, KINDS[k].title, &err);
    return end - f.fired;
}

static void cancel(double batch) {
    static const kind CALLS[] = {TEXT, FRAMES, IMAGES, VIDEO};
    static const char *const WAYS[] = {"deadline", "token"};
    const size_t enough = bench.quick ? 8 : 30;
    uint32_t seed = 13;
    crowd others;
    printf("\n## From the end that was asked for to the return, beside 2 callers of 12 frames\n\n"
           "One batch of %u images: %.1f ms. Aim: at most one batch and 50 ms.\n\n| call, ended by | n | p50 ms | p99 "
           "ms | max ms | aim |\n|---|--:|--:|--:|--:|---|\n", bench.info.max_batch, 1e3 * batch);
    start(&others, FRAMES, 2, INFINITY);
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        timed(CALLS[i], &seed);
        const double whole = timed(CALLS[i], &seed);
        for (int by_token = 1; by_token >= 0; by_token--) {
            sample s = {0};
            for (size_t tries = 0; s.n < enough && tries < 4 * enough; tries++) {
                double over = overrun(CALLS[i], by_token, 0.9 * whole * fraction(&seed), &seed);
                if (over >= 0)
                    add(&s, over);
            }
            sort(&s);
            row("cancel", "%s, %s", KINDS[CALLS[i]].title, WAYS[by_token]);
            times(&s);
            met(at(&s, 1) <= batch + 0.05);
            row_end();
            free(s.v);
        }
    }
    stop(&others);
}

/* The program */

static const char SECTIONS[] = " text image frames video mixed big latency cancel ";

static void usage(void) {
    fprintf(stderr, "load [--quick] [--json FILE] [--seconds S] [--only SECTION] [--threads N] [--max-batch N] WEIGHTS "
                    "VIDEO\nSECTION:%s\n", SECTIONS);
    exit(1);
}

static void parse(int argc, char **argv, c4c_options *options) {
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            bench.quick = true;
            continue;
        }
        if (i + 1 == argc)
            usage();
        const char *name = argv[i], *value = argv[++i];
        if (strcmp(name, "--json") == 0) {
            bench.json = fopen(value, "w");
            if (bench.json == NULL)
                fail(value, "cannot be written");
        } else if (strcmp(name, "--seconds") == 0)
            bench.seconds = atof(value);
        else if (strcmp(name, "--only") == 0)
            bench.only = value;
        else if (strcmp(name, "--threads") == 0)
            options->num_threads = (uint32_t)atoi(value);
        else if (strcmp(name, "--max-batch") == 0)
            options->max_batch = (uint32_t)atoi(value);
        else
            usage();
    }
    if (argc - i != 2)
        usage();
    bench.weights = argv[i];
    bench.video = argv[i + 1];
    if (bench.seconds <= 0)
        bench.seconds = bench.quick ? 2 : 8;
    char section[64];
    snprintf(section, sizeof section, " %s ", bench.only != NULL ? bench.only : "text");
    if (strstr(SECTIONS, section) == NULL)
        usage();
}

static void machine(const char *when) {
    double load = NAN;
    getloadavg(&load, 1);
    printf("\n| | load average | cores | threads | max batch | s a row |\n|---|--:|--:|--:|--:|--:|\n");
    row("machine", "%s", when);
    field("load_average", 2, load);
    field("cores", 0, (double)sysconf(_SC_NPROCESSORS_ONLN));
    field("threads", 0, bench.info.num_threads);
    field("max_batch", 0, bench.info.max_batch);
    field("seconds", 1, bench.seconds);
    row_end();
}

int main(int argc, char **argv) {
    c4c_options options = {0};
    c4c_error err = {0};
    err.struct_size = sizeof err;
    options.struct_size = sizeof options;
    parse(argc, argv, &options);
    options.weights_path = bench.weights;
    must(c4c_create(&options, &bench.model, &err), bench.weights, &err);
    bench.info.struct_size = sizeof bench.info;
    must(c4c_get_info(bench.model, &bench.info, &err), "c4c_get_info", &err);
    make_inputs();

    printf("# One model, many callers\n\nlibc4c %s, %s on %s\n", c4c_version(), bench.info.model_name,
           bench.info.device);
    if (bench.json != NULL)
        fprintf(bench.json, "{\n  \"build\": %s,\n  \"model\": \"%s\",\n  \"device\": \"%s\",\n  \"rows\": [",
                c4c_build_info(), bench.info.model_name, bench.info.device);
    machine("start");

    uint32_t seed = 3;
    for (kind k = TEXT; k <= IMAGES; k++)
        timed(k, &seed); /* warms up */
    for (kind k = TEXT; k <= MIXED; k++) {
        if (wanted(KINDS[k].option))
            throughput(k);
    }
    if (wanted("big"))
        big();
    const double batch = wanted("latency") || wanted("cancel") ? batch_time() : 0;
    if (wanted("latency"))
        latency(batch);
    if (wanted("cancel"))
        cancel(batch);

    machine("end");
    if (bench.json != NULL && (fputs("\n  ]\n}\n", bench.json) < 0 || fclose(bench.json) != 0))
        fail("--json", "cannot be written");
    c4c_free(bench.model);
    return 0;
}
