/* A process that may not make memory executable computes the same, without the kernels that are written as it runs.
 *
 *     hardened WEIGHTS VIDEO
 */
#include "check.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SET_MDWE = 65, REFUSE_EXEC_GAIN = 1 }; /* linux/prctl.h of Linux 6.3 */

static void embed(const char *weights, const char *video, float *to) {
    c4c_options options = {0};
    c4c_model *model = NULL;
    const char *texts[] = {"a dog runs on the beach"};
    options.struct_size = sizeof options;
    options.weights_path = weights;
    options.precision = C4C_PRECISION_F32;
    FAILS(C4C_OK, "", c4c_create(&options, &model, &err));
    const size_t dim = c4c_dim(model);
    CHECK(dim <= 512);
    FAILS(C4C_OK, "", c4c_embed_text(model, texts, 1, NULL, to, dim, &err));
    FAILS(C4C_OK, "", c4c_embed_video_path(model, video, NULL, NULL, to + dim, dim, &err));
    c4c_free(model);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    static float vectors[2][1024];
    int ends[2], status;
    CHECK(pipe(ends) == 0);
    /* The child asks first: what a process may not do it cannot be given back, and the library asks once. */
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) != 0)
            _exit(2);
        embed(argv[1], argv[2], vectors[0]);
        _exit(write(ends[1], vectors[0], sizeof vectors[0]) != (ssize_t)sizeof vectors[0]);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
        return puts("this kernel cannot refuse it"), 0;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(read(ends[0], vectors[0], sizeof vectors[0]) == (ssize_t)sizeof vectors[0]);
    embed(argv[1], argv[2], vectors[1]);
    for (size_t i = 0; i < 1024; i++)
        CHECK(fabsf(vectors[0][i] - vectors[1][i]) < 2e-6f);
    return 0;
}
