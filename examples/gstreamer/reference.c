/* The vectors that tap is to find: those of a file's windows, read by c4c itself. For test.sh.
 *
 *     reference WEIGHTS VIDEO EVERY_SECONDS FRAMES
 */
#include <c4c.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    c4c_error err = {.struct_size = sizeof err};
    if (argc != 5)
        return fprintf(stderr, "usage: %s WEIGHTS VIDEO EVERY_SECONDS FRAMES\n", argv[0]), 2;
    c4c_options options = {.struct_size = sizeof options, .weights_path = argv[1]};
    const int64_t every_us = (int64_t)(strtod(argv[3], NULL) * 1e6);
    c4c_video_options video = {.struct_size = sizeof video, .num_frames = (uint32_t)strtoul(argv[4], NULL, 10),
                               .flags = C4C_APPLY_ROTATION};
    c4c_model *model = NULL;
    c4c_segments *segments = NULL;
    c4c_status status = c4c_create(&options, &model, &err);
    if (status == C4C_OK)
        status = c4c_embed_segments(model, argv[2], &video, every_us, every_us, NULL, &segments, &err);
    if (status != C4C_OK)
        fprintf(stderr, "%s: %s: %s\n", argv[2], c4c_status_name(status), err.message);
    const float *row = c4c_segments_data(segments);
    for (size_t i = 0; i < c4c_segments_count(segments); i++, row += c4c_dim(model)) {
        printf("{\"vector\":[");
        for (size_t j = 0; j < c4c_dim(model); j++)
            printf(j == 0 ? "%.9g" : ",%.9g", (double)row[j]);
        printf("]}\n");
    }
    c4c_segments_free(segments);
    c4c_free(model);
    return status == C4C_OK ? 0 : 1;
}
