/* ours WEIGHTS VIDEO PRECISION THREADS: one vector through the C interface. PRECISION is a C4C_PRECISION_*, THREADS serve the
 * forward pass and the decoder. Prints the vector as a JSON list.
 */
#include <c4c.h>

#include <stdio.h>
#include <stdlib.h>

static int failed(const c4c_error *err) {
    fprintf(stderr, "%s (%d)\n", err->message, (int)err->status);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 5)
        return fprintf(stderr, "usage: %s WEIGHTS VIDEO PRECISION THREADS\n", argv[0]), 2;
    const uint32_t threads = (uint32_t)atoi(argv[4]);
    c4c_error err = {.struct_size = sizeof err};
    /* The picture tower only, like the others. */
    const c4c_options options = {.struct_size = sizeof options, .weights_path = argv[1], .modality = C4C_MODALITY_VIDEO,
                                 .precision = (uint32_t)atoi(argv[3]), .num_threads = threads};
    const c4c_video_options video = {.struct_size = sizeof video, .decode_threads = threads};
    c4c_model *model;
    float out[1024];
    if (c4c_create(&options, &model, &err) != C4C_OK)
        return failed(&err);
    if (c4c_embed_video_path(model, argv[2], &video, NULL, out, sizeof out / sizeof *out, &err) != C4C_OK)
        return failed(&err);
    for (size_t i = 0; i < c4c_dim(model); i++)
        printf("%c%.9g", i == 0 ? '[' : ',', (double)out[i]);
    puts("]");
    c4c_free(model);
    return 0;
}
