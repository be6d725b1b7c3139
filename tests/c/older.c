/* Programs that were compiled against an older header, whose structs are shorter: what lies behind them is neither read
 * nor written.
 *
 *     older WEIGHTS VIDEO
 */
#include "check.h"

/* Sizes as they were first published. */
enum { OPTIONS = 96, CALL = 24, FRAME = 96, VIDEO = 64, INFO = 200, STATS = 192 };

/* A struct with something else behind it. */
#define OLD(type)                                                               \
    union {                                                                     \
        type now;                                                               \
        unsigned char bytes[sizeof(type) + 16];                                 \
    }

#define FILL_BEHIND(old, size) memset((old).bytes + (size), 0xa5, sizeof(old).bytes - (size))

static int untouched_behind(const unsigned char *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        if (bytes[i] != 0xa5)
            return 0;
    return 1;
}

static void what_is_told(const c4c_model *model) {
    OLD(c4c_info) info = {{0}};
    OLD(c4c_stats) stats = {{0}};
    FILL_BEHIND(info, INFO);
    FILL_BEHIND(stats, STATS);
    info.now.struct_size = INFO;
    stats.now.struct_size = STATS;
    FAILS(C4C_OK, "", c4c_get_info(model, &info.now, &err));
    FAILS(C4C_OK, "", c4c_get_stats(model, &stats.now, &err));
    CHECK(info.now.struct_size == INFO && info.now.dim == c4c_dim(model) && info.now.weights[0] != 0);
    CHECK(stats.now.struct_size == STATS && stats.now.calls > 0 && stats.now.text_forward_us > 0);
    CHECK(untouched_behind(info.bytes, INFO, sizeof info.bytes));
    CHECK(untouched_behind(stats.bytes, STATS, sizeof stats.bytes));
    /* Shorter ones have never been. */
    info.now.struct_size = INFO - 1;
    stats.now.struct_size = STATS - 1;
    FAILS(C4C_E_INVALID_ARGUMENT, "out.struct_size is 199", c4c_get_info(model, &info.now, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out.struct_size is 191", c4c_get_stats(model, &stats.now, &err));
}

static void frames(const c4c_model *model) {
    static uint8_t pixels[2][8 * 8 * 3];
    const size_t dim = c4c_dim(model);
    c4c_frame now[2];
    memset(now, 0, sizeof now);
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof pixels[i]; k++)
            pixels[i][k] = (uint8_t)(k * (size_t)(i + 3));
        now[i].struct_size = sizeof now[i];
        now[i].format = C4C_PIXEL_RGB24;
        now[i].width = now[i].height = 8;
        now[i].planes[0] = pixels[i];
        now[i].strides[0] = 24;
    }
    float expected[2048];
    CHECK(2 * dim <= 2048);
    FAILS(C4C_OK, "", c4c_embed_images(model, now, 2, NULL, expected, 2048, &err));

    /* An array of the shorter ones: behind the first comes the second, behind that something else. */
    union {
        c4c_frame first; /* for its alignment */
        unsigned char bytes[2 * FRAME + 16];
    } old;
    memset(&old, 0xa5, sizeof old);
    for (size_t i = 0; i < 2; i++) {
        now[i].struct_size = FRAME;
        memcpy(old.bytes + i * FRAME, &now[i], FRAME);
    }
    FAILS(C4C_OK, "", c4c_embed_images(model, &old.first, 2, NULL, out, ROOM, &err));
    CHECK(memcmp(out, expected, 2 * dim * sizeof *out) == 0);
    CHECK(untouched_behind(old.bytes, 2 * FRAME, sizeof old.bytes));
}

static void videos(const c4c_model *model, const char *video) {
    OLD(c4c_video_options) options = {{0}};
    OLD(c4c_call) call = {{0}};
    const size_t dim = c4c_dim(model);
    FILL_BEHIND(options, VIDEO);
    FILL_BEHIND(call, CALL);
    options.now.struct_size = VIDEO;
    call.now.struct_size = CALL;
    FAILS(C4C_OK, "", c4c_embed_video_path(model, video, NULL, NULL, out, dim, &err));
    FAILS(C4C_OK, "", c4c_embed_video_path(model, video, &options.now, &call.now, out + dim, dim, &err));
    CHECK(memcmp(out, out + dim, dim * sizeof *out) == 0);
    options.now.struct_size = VIDEO - 1;
    FAILS(C4C_E_INVALID_ARGUMENT, "video.struct_size is 63",
          c4c_embed_video_path(model, video, &options.now, NULL, out, dim, &err));
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    OLD(c4c_options) options = {{0}};
    c4c_model *model = NULL;
    const char *text = "a dog";
    FILL_BEHIND(options, OPTIONS);
    options.now.struct_size = OPTIONS;
    options.now.weights_path = argv[1];
    FAILS(C4C_OK, "", c4c_create(&options.now, &model, &err));
    FAILS(C4C_OK, "", c4c_embed_text(model, &text, 1, NULL, out, ROOM, &err));
    what_is_told(model);
    frames(model);
    videos(model, argv[2]);
    c4c_free(model);
    return 0;
}
