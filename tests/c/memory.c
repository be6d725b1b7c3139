/* Memory that does not suffice for a large pass suffices for smaller ones, and the model is none the worse for it.
 *
 *     memory WEIGHTS
 */
#include "check.h"

#include <sys/resource.h>

enum { IMAGES = 512, SIDE = 224 };

/* What may be allocated beside the pictures themselves, which the model holds as 150,528 bytes each: a few dozen images'
 * activations. Of 512 the first alone, the pixels as floats, would take 308 MB. */
#define ROOM_BYTES ((size_t)100 << 20)

int main(int argc, char **argv) {
    CHECK(argc == 2);
    static uint8_t pixels[SIDE * SIDE * 3];
    static c4c_frame frames[IMAGES];
    c4c_options options = {0};
    c4c_model *model = NULL;
    c4c_stats stats = {0};
    options.struct_size = sizeof options;
    options.weights_path = argv[1];
    options.max_batch = IMAGES;
    stats.struct_size = sizeof stats;
    FAILS(C4C_OK, "", c4c_create(&options, &model, &err));
    const size_t dim = c4c_dim(model);
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 7 + i / 301);
    for (int i = 0; i < IMAGES; i++) {
        frames[i].struct_size = sizeof *frames;
        frames[i].format = C4C_PIXEL_RGB24;
        frames[i].width = frames[i].height = SIDE;
        frames[i].planes[0] = pixels;
        frames[i].strides[0] = SIDE * 3;
    }
    /* All threads that there will be are there when memory becomes short. */
    float *rows = calloc(IMAGES * dim, sizeof *rows), *expected = calloc(24 * dim, sizeof *rows);
    CHECK(rows != NULL && expected != NULL);
    FAILS(C4C_OK, "", c4c_embed_images(model, frames, 24, NULL, expected, 24 * dim, &err));

    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = memory_bytes(0) + (size_t)IMAGES * sizeof pixels + ROOM_BYTES;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    FAILS(C4C_OK, "", c4c_embed_images(model, frames, IMAGES, NULL, rows, IMAGES * dim, &err));
    for (int i = 0; i < IMAGES; i++)
        for (size_t j = 0; j < dim; j++)
            CHECK(fabsf(rows[(size_t)i * dim + j] - expected[j]) < 2e-6f);
    FAILS(C4C_OK, "", c4c_get_stats(model, &stats, &err));
    CHECK(stats.images == 24 + IMAGES && stats.image_batches > 2 && stats.failed_memory == 0);
    printf("%d images in %d passes\n", IMAGES, (int)stats.image_batches - 1);

    limit.rlim_cur = before;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    FAILS(C4C_OK, "", c4c_embed_images(model, frames, 24, NULL, rows, 24 * dim, &err));
    c4c_free(model);
    free(rows);
    free(expected);
    return 0;
}
