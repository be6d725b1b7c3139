/* Memory stays flat: models made and freed, texts and videos embedded, many times over.
 *
 *     soak WEIGHTS VIDEO CYCLES EMBEDS
 */
#define _DEFAULT_SOURCE /* sysconf */
#include "check.h"

#include <unistd.h>

static double resident_mib(void) {
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%*s %ld", &pages) == 1);
    fclose(statm);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void embed(const c4c_model *model, const char *video, int i) {
    static float out[4096];
    char text[64];
    snprintf(text, sizeof text, "sentence number %d of many", i);
    const char *texts[] = {text};
    CHECK(c4c_embed_text(model, texts, 1, NULL, out, 4096, NULL) == C4C_OK);
    CHECK(c4c_embed_video_path(model, video, NULL, NULL, out, 4096, NULL) == C4C_OK);
    CHECK(c4c_embed_video_path(model, "no/such/file", NULL, NULL, out, 4096, NULL) == C4C_E_MEDIA_IO);
}

/* Runs `n` rounds and prints what they held after the tenth and at the end; false if it grew by more than 16 MiB, far
 * less than one leaked picture, decoder or model in each round would make. */
#define STAYS_FLAT(what, n, round)                                              \
    do {                                                                        \
        double early = 0, late = 0;                                             \
        for (int i = 0; i < (n); i++) {                                         \
            round;                                                              \
            if (i == 9)                                                         \
                early = resident_mib();                                         \
        }                                                                       \
        late = resident_mib();                                                  \
        printf("%s: %.1f MiB after 10, %.1f MiB after %d\n", what, early, late, n); \
        CHECK(late - early < 16);                                               \
    } while (0)

int main(int argc, char **argv) {
    CHECK(argc == 5);
    STAYS_FLAT("create, embed, free", atoi(argv[3]), {
        c4c_model *model = load(argv[1]);
        embed(model, argv[2], i);
        c4c_free(model);
    });
    c4c_model *model = load(argv[1]);
    STAYS_FLAT("embed", atoi(argv[4]), embed(model, argv[2], i));
    c4c_free(model);
    return 0;
}
