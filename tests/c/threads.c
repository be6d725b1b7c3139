/* One model in many hands: calls from several threads, a log that is heard, a fork, and a free while calls run.
 *
 *     threads WEIGHTS VIDEO
 */
#define _DEFAULT_SOURCE /* usleep */
#include "check.h"

#include <pthread.h>
#include <sys/wait.h>

enum { THREADS = 6, CALLS = 15 };

static c4c_model *model;
static const char *video;
static float expected_text[4096], expected_video[4096];

static void *call(void *arg) {
    (void)arg;
    float out[4096];
    const size_t dim = c4c_dim(model);
    const char *texts[] = {"a dog runs"};
    for (int i = 0; i < CALLS; i++) {
        CHECK(c4c_embed_text(model, texts, 1, NULL, out, dim, NULL) == C4C_OK);
        /* On several threads libtorch may sum few tokens in another order than many. */
        for (size_t j = 0; j < dim; j++)
            CHECK(fabsf(out[j] - expected_text[j]) < 2e-6f);
        CHECK(c4c_embed_video_path(model, video, NULL, NULL, out, dim, NULL) == C4C_OK);
        CHECK(memcmp(out, expected_video, dim * sizeof *out) == 0);
    }
    return NULL;
}

/* A call long enough to be running when the model is freed. */
static void *long_call(void *started) {
    float out[4096];
    c4c_video_options options = {0};
    options.struct_size = sizeof options;
    options.num_frames = 600;
    __atomic_add_fetch((int *)started, 1, __ATOMIC_SEQ_CST);
    CHECK(c4c_embed_video_path(model, video, &options, NULL, out, 4096, NULL) == C4C_OK);
    return NULL;
}

/* Models made at the same time, of different numbers of threads and sizes of passes, work side by side. */
static void *make_and_use(void *arg) {
    const char *const *weights_and_threads = arg;
    const char *texts[] = {"a dog runs"};
    float out[4096];
    c4c_options options = {0};
    c4c_model *mine = NULL;
    c4c_info info = {0};
    options.struct_size = sizeof options;
    info.struct_size = sizeof info;
    options.weights_path = weights_and_threads[0];
    options.num_threads = options.max_batch = (uint32_t)atoi(weights_and_threads[1]);
    options.max_batch_delay_us = 100;
    for (int round = 0; round < 3; round++) {
        CHECK(c4c_create(&options, &mine, NULL) == C4C_OK);
        const size_t dim = c4c_dim(mine);
        CHECK(c4c_get_info(mine, &info, NULL) == C4C_OK && info.num_threads == options.num_threads);
        CHECK(c4c_embed_text(mine, texts, 1, NULL, out, 4096, NULL) == C4C_OK);
        for (size_t j = 0; j < dim; j++)
            CHECK(fabsf(out[j] - expected_text[j]) < 2e-6f);
        CHECK(c4c_embed_video_path(mine, video, NULL, NULL, out, 4096, NULL) == C4C_OK);
        for (size_t j = 0; j < dim; j++)
            CHECK(fabsf(out[j] - expected_video[j]) < 2e-6f);
        c4c_free(mine);
    }
    return NULL;
}

static void several_models(const char *weights) {
    static const char *const numbers[THREADS] = {"1", "2", "3", "1", "2", "7"};
    const char *arguments[THREADS][2];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        arguments[i][0] = weights;
        arguments[i][1] = numbers[i];
        CHECK(pthread_create(&threads[i], NULL, make_and_use, arguments[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void heard(void *count, int32_t level, const char *message) {
    CHECK(level >= C4C_LOG_ERROR && level <= C4C_LOG_DEBUG && strlen(message) > 0);
    __atomic_add_fetch((int *)count, 1, __ATOMIC_SEQ_CST);
}

static void fork_and_see(void) {
    pid_t child = fork();
    if (child == 0) {
        float out[4096];
        const char *texts[] = {"a dog runs"};
        c4c_stats stats = {0};
        stats.struct_size = sizeof stats;
        c4c_status status = c4c_embed_text(model, texts, 1, NULL, out, 4096, NULL);
        c4c_status told = c4c_get_stats(model, &stats, NULL);
        c4c_free(model);
        _exit(status == C4C_E_FORKED && told == C4C_E_FORKED ? 0 : 1);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    video = argv[2];
    int messages = 0;
    c4c_options options = {0};
    options.struct_size = sizeof options;
    options.weights_path = argv[1];
    options.log = heard;
    options.log_user_data = &messages;
    CHECK(c4c_create(&options, &model, NULL) == C4C_OK);
    CHECK(messages > 0);

    const char *texts[] = {"a dog runs"};
    CHECK(c4c_embed_text(model, texts, 1, NULL, expected_text, 4096, NULL) == C4C_OK);
    CHECK(c4c_embed_video_path(model, video, NULL, NULL, expected_video, 4096, NULL) == C4C_OK);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, call, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);

    fork_and_see();
    several_models(argv[1]);

    int started = 0;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, long_call, &started) == 0);
    while (__atomic_load_n(&started, __ATOMIC_SEQ_CST) < THREADS)
        usleep(1000);
    usleep(50 * 1000); /* from its last line before the call into the call */
    c4c_free(model);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);

    /* Create and free in many rounds, from whatever thread. */
    for (int i = 0; i < 5; i++)
        c4c_free(load(argv[1]));
    return 0;
}
