/* Signals that are sent to the process are taken by the host's threads, never by the library's.
 *
 *     signals WEIGHTS VIDEO
 */
#define _GNU_SOURCE /* gettid */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { ROUNDS = 40, SIGNALS = 20 };

static volatile pid_t caller;
static volatile sig_atomic_t taken, elsewhere, done;

static void handler(int number) {
    (void)number;
    taken++;
    if (gettid() != caller)
        elsewhere++;
}

static void *calls(void *arg) {
    void *const *from = arg;
    const c4c_model *model = from[0];
    const char *texts[] = {"a dog runs"};
    c4c_video_options options = {0};
    float out[4096];
    caller = gettid();
    options.struct_size = sizeof options;
    for (int i = 0; i < ROUNDS; i++) {
        options.decode_threads = (uint32_t)(i % 3 + 1);
        options.seek = i % 2 ? C4C_SEEK_APPROXIMATE : C4C_SEEK_EXACT;
        CHECK(c4c_embed_text(model, texts, 1, NULL, out, 4096, NULL) == C4C_OK);
        CHECK(c4c_embed_video_path(model, from[1], &options, NULL, out, 4096, NULL) == C4C_OK);
    }
    done = 1;
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    c4c_model *model = load(argv[1]);
    struct sigaction action = {0};
    action.sa_handler = handler;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);

    /* Who is not asked cannot be preferred: after this, the caller is the only thread of the host that takes it. */
    pthread_t thread;
    void *arguments[] = {model, argv[2]};
    CHECK(pthread_create(&thread, NULL, calls, arguments) == 0);
    sigset_t mask, pending;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &mask, NULL) == 0);
    while (caller == 0)
        usleep(100);
    while (!done) {
        CHECK(kill(getpid(), SIGUSR1) == 0);
        usleep(500);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    printf("%d signals taken, %d of them by a thread of the library\n", (int)taken, (int)elsewhere);
    CHECK(taken > SIGNALS && elsewhere == 0);

    /* With the caller gone nobody takes it but whoever waits for it. */
    int number = 0;
    sigpending(&pending);
    if (sigismember(&pending, SIGUSR1))
        CHECK(sigwait(&mask, &number) == 0);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    usleep(50000);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
    CHECK(sigwait(&mask, &number) == 0 && number == SIGUSR1);
    c4c_free(model);
    return 0;
}
