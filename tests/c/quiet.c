/* A damaged video is embedded without a word from FFmpeg, whose log level and default output stay as they were.
 *
 *     quiet WEIGHTS DAMAGED_VIDEO
 */
#include "check.h"

#include <libavutil/log.h>

int main(int argc, char **argv) {
    CHECK(argc == 3);
    float out[4096];
    av_log_set_level(AV_LOG_DEBUG);
    c4c_model *model = load(argv[1]);
    CHECK(c4c_embed_video_path(model, argv[2], NULL, NULL, out, 4096, NULL) == C4C_OK);
    CHECK(c4c_embed_video_path(model, argv[1], NULL, NULL, out, 4096, NULL) == C4C_E_MEDIA_FORMAT);
    c4c_free(model);
    CHECK(av_log_get_level() == AV_LOG_DEBUG);
    av_log(NULL, AV_LOG_ERROR, "the host's own message\n");
    return 0;
}
