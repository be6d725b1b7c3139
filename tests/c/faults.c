/* Wrong calls: each is a status that names what is wrong, and leaves its output alone.
 *
 *     faults WEIGHTS VIDEO TEXT_FILE
 */
#include "check.h"

enum { ROOM = 8192 };

static float out[ROOM];

static void fill(void) {
    for (size_t i = 0; i < ROOM; i++)
        out[i] = 7;
}

static void untouched(void) {
    for (size_t i = 0; i < ROOM; i++)
        CHECK(out[i] == 7);
}

/* A create that must fail after one change of good options. */
#define CREATE_FAILS(expected, part, change)                                    \
    do {                                                                        \
        c4c_options options = good;                                             \
        c4c_model *model = NULL;                                                \
        change;                                                                 \
        FAILS(expected, part, c4c_create(&options, &model, &err));              \
        CHECK(model == NULL);                                                   \
    } while (0)

static void create(const char *weights, const char *text_file) {
    c4c_options good = {0};
    good.struct_size = sizeof good;
    good.weights_path = weights;
    c4c_model *none = NULL;
    FAILS(C4C_E_INVALID_ARGUMENT, "options is NULL", c4c_create(NULL, &none, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out_model is NULL", c4c_create(&good, NULL, &err));
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "struct_size is 0", options.struct_size = 0);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "struct_size is 95", options.struct_size = sizeof options - 1);
    CREATE_FAILS(C4C_E_UNSUPPORTED, "options", options.struct_size = UINT32_MAX);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "modality 3", options.modality = 3);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "model_name is `resnet`", options.model_name = "resnet");
    CREATE_FAILS(C4C_E_WEIGHTS_MISMATCH, "model_name is `clip_vit_b16`", options.model_name = "clip_vit_b16");
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "weights_path is NULL", options.weights_path = NULL);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "weights_path is not UTF-8", options.weights_path = "\xff");
    CREATE_FAILS(C4C_E_WEIGHTS_IO, "no/such/file", options.weights_path = "no/such/file");
    CREATE_FAILS(C4C_E_WEIGHTS_FORMAT, "neither", options.weights_path = text_file);
    CREATE_FAILS(C4C_E_TOKENIZER, "no/such.json", options.tokenizer_path = "no/such.json");
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "device is `gpu`", options.device = "gpu");
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "device is `cuda:`", options.device = "cuda:");
    CREATE_FAILS(C4C_E_DEVICE, "`cuda:1`", options.device = "cuda:1");
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "precision 5", options.precision = 5);
    CREATE_FAILS(C4C_E_UNSUPPORTED, "precision", options.precision = C4C_PRECISION_INT8);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "head 5", options.head = 5);
    CREATE_FAILS(C4C_E_WEIGHTS_MISMATCH, "lstm_visual", options.head = C4C_HEAD_SEQ_LSTM);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "activation 3", options.activation = 3);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "max_words is 78", options.max_words = 78);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "flags 0x4", options.flags = 4);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "num_threads is 1025", options.num_threads = 1025);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "max_batch is 4097", options.max_batch = 4097);
    CREATE_FAILS(C4C_E_UNSUPPORTED, "max_batch_delay_us", options.max_batch_delay_us = 1);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "log_level 5", options.log_level = 5);
    CREATE_FAILS(C4C_E_UNSUPPORTED, "reserved", options.reserved = 1);

    /* A newer caller's longer struct: fine while the rest is zero. */
    struct {
        c4c_options options;
        uint32_t more[4];
    } newer = {good, {0, 0, 0, 0}};
    newer.options.struct_size = sizeof newer;
    newer.more[3] = 1;
    FAILS(C4C_E_UNSUPPORTED, "does not know", c4c_create(&newer.options, &none, &err));
    newer.more[3] = 0;
    FAILS(C4C_OK, "", c4c_create(&newer.options, &none, &err));
    c4c_free(none);
    c4c_free(NULL);

    /* Without a struct for the error, and with one that is none. */
    CHECK(c4c_create(NULL, &none, NULL) == C4C_E_INVALID_ARGUMENT);
    c4c_error small = {0};
    small.struct_size = 8;
    CHECK(c4c_create(&good, &none, &small) == C4C_E_INVALID_ARGUMENT);
    CHECK(small.status == 0);
    struct {
        c4c_error error;
        uint32_t more;
    } later = {{0, 0, {0}}, 1};
    later.error.struct_size = sizeof later;
    CHECK(c4c_create(&good, &none, &later.error) == C4C_E_UNSUPPORTED);
}

static void info(const c4c_model *model) {
    c4c_info info = {0};
    info.struct_size = sizeof info;
    FAILS(C4C_E_INVALID_ARGUMENT, "model is NULL", c4c_get_info(NULL, &info, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out is NULL", c4c_get_info(model, NULL, &err));
    info.struct_size = 0;
    FAILS(C4C_E_INVALID_ARGUMENT, "out.struct_size", c4c_get_info(model, &info, &err));
    info.struct_size = sizeof info;
    FAILS(C4C_OK, "", c4c_get_info(model, &info, &err));
    CHECK(info.struct_size == sizeof info && info.dim == c4c_dim(model) && c4c_dim(NULL) == 0);
    CHECK(info.head == C4C_HEAD_MEAN && info.precision == C4C_PRECISION_F32 && info.max_words == 32);
    CHECK(info.image_size == 224 && info.context_length == 77 && info.num_threads >= 1);
    CHECK(fabsf(info.logit_scale - 4.6052f) < 1e-6f);
    CHECK(strcmp(info.device, "cpu") == 0 && strcmp(info.weights, "torch.save/clip4clip") == 0);
}

static void text(const c4c_model *model) {
    const size_t dim = c4c_dim(model);
    const char *texts[2] = {"a dog", "a cat"};
    const char *with_null[2] = {"a dog", NULL};
    const char *bad[1] = {"\xc3\x28"};
    c4c_call call = {0};
    call.struct_size = sizeof call;
    FAILS(C4C_E_INVALID_ARGUMENT, "model is NULL", c4c_embed_text(NULL, texts, 2, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "texts is NULL", c4c_embed_text(model, NULL, 2, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "n_texts is 0", c4c_embed_text(model, texts, 0, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "n_texts", c4c_embed_text(model, texts, SIZE_MAX, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "texts[1] is NULL", c4c_embed_text(model, with_null, 2, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "texts[0] is not UTF-8", c4c_embed_text(model, bad, 1, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out is NULL", c4c_embed_text(model, texts, 2, NULL, NULL, ROOM, &err));
    FAILS(C4C_E_BUFFER_TOO_SMALL, "need 192", c4c_embed_text(model, texts, 2, NULL, out, 2 * dim - 1, &err));
    FAILS(C4C_E_BUFFER_TOO_SMALL, "out_len is 0", c4c_embed_text(model, texts, 2, NULL, out, 0, &err));
    call.timeout_us = -1;
    FAILS(C4C_E_INVALID_ARGUMENT, "timeout_us", c4c_embed_text(model, texts, 2, &call, out, ROOM, &err));
    call.timeout_us = 1000;
    FAILS(C4C_E_UNSUPPORTED, "timeout_us", c4c_embed_text(model, texts, 2, &call, out, ROOM, &err));
    call.timeout_us = 0;
    call.cancel = (const c4c_cancel *)&call;
    FAILS(C4C_E_UNSUPPORTED, "cancel", c4c_embed_text(model, texts, 2, &call, out, ROOM, &err));
    call.cancel = NULL;
    call.reserved = 1;
    FAILS(C4C_E_UNSUPPORTED, "reserved", c4c_embed_text(model, texts, 2, &call, out, ROOM, &err));
    call.reserved = 0;
    call.struct_size = 4;
    FAILS(C4C_E_INVALID_ARGUMENT, "call.struct_size", c4c_embed_text(model, texts, 2, &call, out, ROOM, &err));
    untouched();
    call.struct_size = sizeof call;
    FAILS(C4C_OK, "", c4c_embed_text(model, texts, 2, &call, out, 2 * dim, &err));
    CHECK(fabs(length(out, dim) - 1) < 1e-6 && fabs(length(out + dim, dim) - 1) < 1e-6 && out[2 * dim] == 7);
    fill();
}

/* Both calls that take frames must fail alike after one change of a good frame. */
#define FRAME_FAILS(expected, part, change)                                     \
    do {                                                                        \
        c4c_frame frame = good;                                                 \
        change;                                                                 \
        FAILS(expected, part, c4c_embed_frames(model, &frame, 1, NULL, out, ROOM, &err)); \
        FAILS(expected, part, c4c_embed_images(model, &frame, 1, NULL, out, ROOM, &err)); \
        untouched();                                                            \
    } while (0)

static void frames(const c4c_model *model) {
    enum { WIDTH = 40, HEIGHT = 30, STRIDE = 48 * 4 };
    static uint8_t pixels[HEIGHT][STRIDE];
    for (size_t y = 0; y < HEIGHT; y++)
        for (size_t x = 0; x < STRIDE; x++)
            pixels[y][x] = (uint8_t)(x * 3 + y * 7);
    const size_t dim = c4c_dim(model);
    c4c_frame good = {0};
    good.struct_size = sizeof good;
    good.format = C4C_PIXEL_RGB24;
    good.width = WIDTH;
    good.height = HEIGHT;
    good.planes[0] = pixels[0];
    good.strides[0] = STRIDE;
    FAILS(C4C_E_INVALID_ARGUMENT, "model is NULL", c4c_embed_frames(NULL, &good, 1, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "frames is NULL", c4c_embed_frames(model, NULL, 1, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "n_frames is 0", c4c_embed_frames(model, &good, 0, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "n_frames is 4097", c4c_embed_frames(model, &good, 4097, NULL, out, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "n_frames", c4c_embed_images(model, &good, SIZE_MAX, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out is NULL", c4c_embed_frames(model, &good, 1, NULL, NULL, ROOM, &err));
    FAILS(C4C_E_BUFFER_TOO_SMALL, "need 96", c4c_embed_frames(model, &good, 1, NULL, out, dim - 1, &err));
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "struct_size", frame.struct_size = 0);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "format 0", frame.format = 0);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "format 8", frame.format = 8);
    FRAME_FAILS(C4C_E_UNSUPPORTED, "format", frame.format = C4C_PIXEL_NV12);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "0x30", frame.width = 0);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "40x0", frame.height = 0);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[0] is NULL", frame.planes[0] = NULL);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "stride", frame.strides[0] = WIDTH * 3 - 1);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "stride", frame.strides[0] = 1 - WIDTH * 3);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "", frame.strides[0] = INT64_MIN);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "memory", frame.strides[0] = INT64_MAX);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "color_matrix 4", frame.color_matrix = 4);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "color_range 3", frame.color_range = 3);
    FRAME_FAILS(C4C_E_UNSUPPORTED, "color_range", frame.color_range = C4C_RANGE_LIMITED);
    FRAME_FAILS(C4C_E_UNSUPPORTED, "rotation", frame.rotation = 90);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "rotation is 45", frame.rotation = 45);
    FRAME_FAILS(C4C_E_UNSUPPORTED, "reserved", frame.reserved = 1);

    /* The distance between frames is the first one's struct_size. */
    struct {
        c4c_frame frame;
        uint64_t more;
    } pair[2] = {{good, 0}, {good, 0}};
    pair[0].frame.struct_size = pair[1].frame.struct_size = sizeof pair[0];
    FAILS(C4C_OK, "", c4c_embed_images(model, &pair[0].frame, 2, NULL, out, 2 * dim, &err));
    CHECK(memcmp(out, out + dim, dim * sizeof *out) == 0 && out[2 * dim] == 7);
    fill();
    pair[1].frame.struct_size = sizeof pair[1].frame;
    FAILS(C4C_E_INVALID_ARGUMENT, "frames[1].struct_size", c4c_embed_images(model, &pair[0].frame, 2, NULL, out, ROOM, &err));
    untouched();

    /* Bottom-up is the same picture told from its other end. */
    static uint8_t flipped[HEIGHT][STRIDE];
    for (size_t y = 0; y < HEIGHT; y++)
        memcpy(flipped[HEIGHT - 1 - y], pixels[y], STRIDE);
    c4c_frame both[2] = {good, good};
    both[1].planes[0] = flipped[HEIGHT - 1];
    both[1].strides[0] = -STRIDE;
    FAILS(C4C_OK, "", c4c_embed_images(model, both, 2, NULL, out, ROOM, &err));
    CHECK(memcmp(out, out + dim, dim * sizeof *out) == 0);
    fill();

    const char *texts[3] = {"a dog", "a cat", "a bird"};
    FAILS(C4C_E_INVALID_ARGUMENT, "model is NULL", c4c_score(NULL, texts, 3, &good, 1, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "texts is NULL", c4c_score(model, NULL, 3, &good, 1, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "frames is NULL", c4c_score(model, texts, 3, NULL, 1, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out is NULL", c4c_score(model, texts, 3, &good, 1, NULL, NULL, ROOM, &err));
    FAILS(C4C_E_BUFFER_TOO_SMALL, "need 3", c4c_score(model, texts, 3, &good, 1, NULL, out, 2, &err));
    untouched();
    FAILS(C4C_OK, "", c4c_score(model, texts, 3, &good, 1, NULL, out, 3, &err));
    CHECK(fabsf(out[0]) <= 100.01f && out[0] != out[1] && out[3] == 7);
    fill();
}

#define VIDEO_FAILS(expected, part, change)                                     \
    do {                                                                        \
        c4c_video_options options = {0};                                        \
        options.struct_size = sizeof options;                                   \
        change;                                                                 \
        FAILS(expected, part, c4c_embed_video_path(model, video, &options, NULL, out, ROOM, &err)); \
        untouched();                                                            \
    } while (0)

static void video(const c4c_model *model, const char *video, const char *text_file) {
    const size_t dim = c4c_dim(model);
    FAILS(C4C_E_INVALID_ARGUMENT, "model is NULL", c4c_embed_video_path(NULL, video, NULL, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "path is NULL", c4c_embed_video_path(model, NULL, NULL, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "path is not", c4c_embed_video_path(model, "\xff", NULL, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out is NULL", c4c_embed_video_path(model, video, NULL, NULL, NULL, ROOM, &err));
    FAILS(C4C_E_BUFFER_TOO_SMALL, "need 96", c4c_embed_video_path(model, video, NULL, NULL, out, dim - 1, &err));
    FAILS(C4C_E_MEDIA_IO, "no/such", c4c_embed_video_path(model, "no/such", NULL, NULL, out, ROOM, &err));
    FAILS(C4C_E_MEDIA_FORMAT, "", c4c_embed_video_path(model, text_file, NULL, NULL, out, ROOM, &err));
    FAILS(C4C_E_FORBIDDEN, "URL", c4c_embed_video_path(model, "https://a/b.mp4", NULL, NULL, out, ROOM, &err));
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "struct_size", options.struct_size = 1);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "num_frames is 4097", options.num_frames = 4097);
    VIDEO_FAILS(C4C_E_UNSUPPORTED, "sampling", options.sampling = C4C_SAMPLING_FPS);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "sampling 3", options.sampling = 3);
    VIDEO_FAILS(C4C_E_UNSUPPORTED, "seek", options.seek = C4C_SEEK_APPROXIMATE);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "seek 2", options.seek = 2);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "fps", options.fps = 1);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "fps", options.fps = (double)NAN);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "start_us", options.start_us = -1);
    VIDEO_FAILS(C4C_E_UNSUPPORTED, "end_us", options.end_us = 1);
    VIDEO_FAILS(C4C_E_UNSUPPORTED, "color", options.color = C4C_COLOR_OPERATOR);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "color 2", options.color = 2);
    VIDEO_FAILS(C4C_E_UNSUPPORTED, "C4C_APPLY_ROTATION", options.flags = C4C_APPLY_ROTATION);
    VIDEO_FAILS(C4C_E_UNSUPPORTED, "C4C_ALLOW_NETWORK", options.flags = C4C_ALLOW_NETWORK);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "flags 0x8", options.flags = 8);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "decode_threads is 257", options.decode_threads = 257);
    VIDEO_FAILS(C4C_E_NO_VIDEO, "stream 99", options.stream_index_plus_1 = 100);
    VIDEO_FAILS(C4C_E_LIMIT, "max_pixels", options.max_pixels = 100);
    FAILS(C4C_OK, "", c4c_embed_video_path(model, video, NULL, NULL, out, dim, &err));
    CHECK(fabs(length(out, dim) - 1) < 1e-6 && out[dim] == 7);
    fill();
}

int main(int argc, char **argv) {
    CHECK(argc == 4);
    fill();
    create(argv[1], argv[3]);
    c4c_model *model = load(argv[1]);
    info(model);
    text(model);
    frames(model);
    video(model, argv[2], argv[3]);
    c4c_free(model);
    CHECK(strcmp(c4c_status_name(C4C_E_LIMIT), "C4C_E_LIMIT") == 0);
    CHECK(strcmp(c4c_status_name(-1000), "unknown status") == 0);
    CHECK(c4c_abi_version() == C4C_ABI_VERSION && strchr(c4c_version(), '.') != NULL);
    CHECK(strstr(c4c_build_info(), "\"libtorch\":\"2.") != NULL && strstr(c4c_build_info(), "\"ffmpeg\":\"") != NULL);
    return 0;
}
