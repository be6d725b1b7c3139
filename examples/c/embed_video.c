/* How well do these sentences describe this video?
 *     cc embed_video.c -lc4c -o embed_video
 *     ./embed_video pytorch_model.bin video.mp4 "a dog runs" "a cat sleeps"
 */
#include <c4c.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void check(c4c_status status, const c4c_error *err) {
    if (status == C4C_OK)
        return;
    fprintf(stderr, "%s: %s\n", c4c_status_name(status), err->message);
    exit(1);
}

static float dot(const float *a, const float *b, size_t n) {
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double now_ms(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv) {
    if (argc < 4)
        return fprintf(stderr, "usage: %s CHECKPOINT VIDEO SENTENCE...\n", argv[0]), 2;
    const double start = now_ms();
    c4c_error err = {.struct_size = sizeof err};
    c4c_options options = {.struct_size = sizeof options, .weights_path = argv[1]};
    c4c_model *model;
    check(c4c_create(&options, &model, &err), &err);
    const size_t dim = c4c_dim(model), n = (size_t)argc - 3;
    float *video = calloc(dim, sizeof *video), *texts = calloc(n * dim, sizeof *texts);
    if (video == NULL || texts == NULL)
        return 1;
    const double loaded = now_ms();
    check(c4c_embed_video_path(model, argv[2], NULL, NULL, video, dim, &err), &err);
    const double seen = now_ms();
    check(c4c_embed_text(model, (const char *const *)&argv[3], n, NULL, texts, n * dim, &err), &err);
    const double read = now_ms();

    printf("video  %+.4f %+.4f %+.4f %+.4f ... %zu floats, norm %.7f\n", video[0], video[1], video[2], video[3], dim,
           sqrt(dot(video, video, dim)));
    printf("times  load %.0f ms, video %.0f ms, %zu texts %.0f ms\n", loaded - start, seen - loaded, n, read - seen);
    for (size_t i = 0; i < n; i++)
        printf("%+.4f  %s\n", dot(video, texts + i * dim, dim), argv[3 + i]);
    free(texts);
    free(video);
    c4c_free(model);
    return 0;
}
