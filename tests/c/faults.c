/* Wrong calls: each is a status that names what is wrong, and leaves its output alone.
 *
 *     faults WEIGHTS VIDEO TEXT_FILE
 */
#include "check.h"

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
    CREATE_FAILS(C4C_E_DEVICE, "`cuda:4095`", options.device = "cuda:4095");
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "precision 5", options.precision = 5);
    CREATE_FAILS(C4C_E_UNSUPPORTED, "F16", options.precision = C4C_PRECISION_F16; options.device = "cpu");
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "head 5", options.head = 5);
    CREATE_FAILS(C4C_E_WEIGHTS_MISMATCH, "lstm_visual", options.head = C4C_HEAD_SEQ_LSTM);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "activation 3", options.activation = 3);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "max_words is 78", options.max_words = 78);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "flags 0x8", options.flags = 8);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "num_threads is 1025", options.num_threads = 1025);
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "max_batch is 4097", options.max_batch = 4097);
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
    CHECK(info.head == C4C_HEAD_MEAN && info.max_words == 32);
    CHECK(info.image_size == 224 && info.context_length == 77 && info.num_threads >= 1);
    CHECK(fabsf(info.logit_scale - 4.6052f) < 1e-6f);
    if (strcmp(info.device, "cpu") == 0)
        CHECK(info.precision == C4C_PRECISION_F32 || info.precision == C4C_PRECISION_BF16);
    else
        CHECK(strcmp(info.device, "cuda:0") == 0 && info.precision == C4C_PRECISION_F16);
    CHECK(strcmp(info.weights, "torch.save/clip4clip") == 0);
}

static void similarity(void) {
    const float a[4] = {3, 4, 0, 2}, b[6] = {1, 0, 0, -5, 2, 2}, zero[2] = {0, 0};
    const float expected[6] = {0.6f, -0.8f, 0.98994949f, 0, -1, 0.70710678f};
    fill();
    FAILS(C4C_E_INVALID_ARGUMENT, "a is NULL", c4c_similarity(NULL, 2, b, 3, 2, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "n_a is 0", c4c_similarity(a, 0, b, 3, 2, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "b is NULL", c4c_similarity(a, 2, NULL, 3, 2, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "n_b is 0", c4c_similarity(a, 2, b, 0, 2, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "n_b is", c4c_similarity(a, 2, b, SIZE_MAX / 2, 2, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "dim is 0", c4c_similarity(a, 2, b, 3, 0, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out is NULL", c4c_similarity(a, 2, b, 3, 2, NULL, ROOM, &err));
    FAILS(C4C_E_BUFFER_TOO_SMALL, "6", c4c_similarity(a, 2, b, 3, 2, out, 5, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "b[0] has the length 0", c4c_similarity(a, 2, zero, 1, 2, out, ROOM, &err));
    untouched();
    FAILS(C4C_OK, "", c4c_similarity(a, 2, b, 3, 2, out, 6, &err));
    for (int i = 0; i < 6; i++)
        CHECK(fabsf(out[i] - expected[i]) < 1e-6f);
    CHECK(out[6] == 7);
}

/* What calls come to is counted, each once, whatever it ends with. */
static void counts(const c4c_model *model) {
    const char *words[1] = {"a dog"}, *bad[1] = {"\xc3\x28"};
    c4c_stats before = {0}, after = {0};
    FAILS(C4C_E_INVALID_ARGUMENT, "out.struct_size", c4c_get_stats(model, &before, &err));
    before.struct_size = after.struct_size = sizeof before;
    FAILS(C4C_E_INVALID_ARGUMENT, "model is NULL", c4c_get_stats(NULL, &before, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out is NULL", c4c_get_stats(model, NULL, &err));
    FAILS(C4C_OK, "", c4c_get_stats(model, &before, &err));
    CHECK(c4c_embed_text(model, words, 1, NULL, out, ROOM, NULL) == C4C_OK);
    CHECK(c4c_embed_text(model, bad, 1, NULL, out, ROOM, NULL) == C4C_E_INVALID_ARGUMENT);
    CHECK(c4c_embed_text(model, words, 1, NULL, out, 1, NULL) == C4C_E_BUFFER_TOO_SMALL);
    CHECK(c4c_embed_video_path(model, "no/such", NULL, NULL, out, ROOM, NULL) == C4C_E_MEDIA_IO);
    c4c_cancel *cancel = c4c_cancel_new();
    c4c_call call = {sizeof call, 0, 0, cancel};
    c4c_cancel_fire(cancel);
    CHECK(c4c_embed_text(model, words, 1, &call, out, ROOM, NULL) == C4C_E_CANCELLED);
    c4c_cancel_free(cancel);
    FAILS(C4C_OK, "", c4c_get_stats(model, &after, &err));
    CHECK(after.calls - before.calls == 5 && after.running == 0);
    CHECK(after.failed_argument - before.failed_argument == 2 && after.failed_media - before.failed_media == 1);
    CHECK(after.cancelled - before.cancelled == 1 && after.timed_out == before.timed_out);
    CHECK(after.failed_memory == 0 && after.failed_other == 0);
    CHECK(after.texts - before.texts == 1 && after.text_batches - before.text_batches == 1);
    CHECK(after.text_forward_us > before.text_forward_us && after.images == before.images);
    CHECK(after.queued_texts == 0 && after.queued_images == 0 && after.waiting_calls == 0);
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
    untouched();
    call.struct_size = sizeof call;
    FAILS(C4C_OK, "", c4c_embed_text(model, texts, 2, &call, out, 2 * dim, &err));
    CHECK(fabs(length(out, dim) - 1) < 1e-6 && fabs(length(out + dim, dim) - 1) < 1e-6 && out[2 * dim] == 7);
    fill();
}

/* Every call that takes limits must refuse these. */
static void limits(const c4c_model *model, clip *video) {
    c4c_call call = {0};
    call.struct_size = sizeof call;
    call.timeout_us = -1;
    ALL_CALLS_FAIL(C4C_E_INVALID_ARGUMENT, "timeout_us is -1", model, video, &call);
    call.timeout_us = INT64_MIN;
    ALL_CALLS_FAIL(C4C_E_INVALID_ARGUMENT, "timeout_us", model, video, &call);
    call.timeout_us = 0;
    call.reserved = 1;
    ALL_CALLS_FAIL(C4C_E_UNSUPPORTED, "call.reserved", model, video, &call);
    call.reserved = 0;
    call.struct_size = 4;
    ALL_CALLS_FAIL(C4C_E_INVALID_ARGUMENT, "call.struct_size is 4", model, video, &call);
    struct {
        c4c_call call;
        uint64_t more;
    } newer = {{sizeof newer, 0, 0, NULL}, 1};
    ALL_CALLS_FAIL(C4C_E_UNSUPPORTED, "call has fields set", model, video, &newer.call);

    c4c_cancel_fire(NULL);
    c4c_cancel_free(NULL);
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
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "rotation is 45", frame.rotation = 45);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "rotation is 360", frame.rotation = 360);
    FRAME_FAILS(C4C_E_UNSUPPORTED, "reserved", frame.reserved = 1);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "location 2", frame.location = 2);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "device_index is 1", frame.device_index = 1);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "stream is set", frame.stream = out);

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

/* Frames in GPU memory. The addresses are not even mapped: nothing may look at them from here. */
static void gpu_frames(const c4c_model *model) {
    c4c_error none = {0};
    none.struct_size = sizeof none;
    uint32_t gpus = 0;
    CHECK(c4c_cuda_devices(&gpus, &none) == C4C_OK);
    c4c_frame good = {0};
    good.struct_size = sizeof good;
    good.format = C4C_PIXEL_NV12;
    good.width = good.height = 64;
    good.planes[0] = (const uint8_t *)(uintptr_t)0x1000000;
    good.planes[1] = (const uint8_t *)(uintptr_t)0x2000000;
    good.strides[0] = 64;
    good.strides[1] = -64;
    good.location = C4C_LOCATION_CUDA;
    good.device_index = gpus;
    const char *text = "a dog";
    /* With GPUs it is one too many, without them there is the reason. */
    const char *why = gpus > 0 ? "device_index" : none.message;
    FAILS(C4C_E_DEVICE, why, c4c_embed_images(model, &good, 1, NULL, out, ROOM, &err));
    FAILS(C4C_E_DEVICE, why, c4c_embed_frames(model, &good, 1, NULL, out, ROOM, &err));
    FAILS(C4C_E_DEVICE, why, c4c_score(model, &text, 1, &good, 1, NULL, out, ROOM, &err));
    FAILS(C4C_E_DEVICE, "frames[0]: ", c4c_embed_images(model, &good, 1, NULL, out, ROOM, &err));

    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1] is NULL", frame.planes[1] = NULL);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[0]: stride 63", frame.strides[0] = 63);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1]", frame.strides[1] = INT64_MIN);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "format 0", frame.format = 0);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "0x64", frame.width = 0);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "rotation is 1", frame.rotation = 1);
    c4c_frame mixed[3] = {good, good, good};
    mixed[2].location = C4C_LOCATION_HOST;
    FAILS(C4C_E_INVALID_ARGUMENT, "frames[2].location is 0, frames[0] has 1",
          c4c_embed_images(model, mixed, 3, NULL, out, ROOM, &err));
    untouched();
}

/* Planes of YUV, of odd sides so that half of a row is rounded up. */
static void yuv(const c4c_model *model) {
    enum { WIDTH = 41, HEIGHT = 31, HALF = 21, ROWS = 16 };
    static uint8_t luma[HEIGHT][WIDTH], u[ROWS][HALF], v[ROWS][HALF], both[ROWS][2 * HALF];
    c4c_frame good = {0};
    good.struct_size = sizeof good;
    good.format = C4C_PIXEL_I420;
    good.width = WIDTH;
    good.height = HEIGHT;
    good.planes[0] = luma[0];
    good.planes[1] = u[0];
    good.planes[2] = v[0];
    good.strides[0] = WIDTH;
    good.strides[1] = good.strides[2] = HALF;
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[0] is NULL", frame.planes[0] = NULL);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1] is NULL", frame.planes[1] = NULL);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[2] is NULL", frame.planes[2] = NULL);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[0]: stride 40", frame.strides[0] = WIDTH - 1);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1]: stride 20", frame.strides[1] = HALF - 1);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[2]: stride 20", frame.strides[2] = HALF - 1);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[0]: stride -40", frame.strides[0] = 1 - WIDTH);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1]: stride -20", frame.strides[1] = 1 - HALF);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[2]: stride -20", frame.strides[2] = 1 - HALF);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1]: stride 0", frame.strides[1] = 0);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[2]", frame.strides[2] = INT64_MIN);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1]", frame.strides[1] = INT64_MAX);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "color_matrix 4", frame.color_matrix = 4);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "color_range 3", frame.color_range = 3);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "rotation is 1", frame.rotation = 1);
    /* One plane of chroma is wrong before the other, and a plane before its stride. */
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1] is NULL", frame.planes[1] = frame.planes[2] = NULL);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1] is NULL", frame.planes[1] = NULL; frame.strides[1] = 1);

    good.format = C4C_PIXEL_NV12;
    good.planes[1] = both[0];
    good.strides[1] = 2 * HALF;
    good.planes[2] = NULL; /* It has no third plane. */
    good.strides[2] = -1;
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[0] is NULL", frame.planes[0] = NULL);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1] is NULL", frame.planes[1] = NULL);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[0]: stride 40", frame.strides[0] = WIDTH - 1);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1]: stride 41", frame.strides[1] = 2 * HALF - 1);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[0]: stride -40", frame.strides[0] = 1 - WIDTH);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1]: stride -41", frame.strides[1] = 1 - 2 * HALF);
    FRAME_FAILS(C4C_E_INVALID_ARGUMENT, "planes[1]: stride 0", frame.strides[1] = 0);
    FAILS(C4C_OK, "", c4c_embed_frames(model, &good, 1, NULL, out, ROOM, &err));
    fill();
}

/* All calls that take a video must fail alike after one change of good options. */
#define VIDEO_FAILS(expected, part, change)                                     \
    do {                                                                        \
        c4c_video_options options = {0};                                        \
        options.struct_size = sizeof options;                                   \
        change;                                                                 \
        VIDEO_CALLS_FAIL(expected, part, model, video, &options, NULL);         \
    } while (0)

static void video_options(const c4c_model *model, clip *video) {
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "struct_size is 1", options.struct_size = 1);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "struct_size is 63", options.struct_size = 63);
    VIDEO_FAILS(C4C_E_UNSUPPORTED, "video", options.struct_size = UINT32_MAX);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "num_frames is 4097", options.num_frames = 4097);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "sampling 3", options.sampling = 3);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "seek 2", options.seek = 2);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "fps is 0", options.sampling = C4C_SAMPLING_FPS);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "fps is -1", options.sampling = C4C_SAMPLING_FPS; options.fps = -1);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "fps is NaN", options.sampling = C4C_SAMPLING_FPS; options.fps = (double)NAN);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "fps is inf", options.sampling = C4C_SAMPLING_FPS;
                options.fps = (double)INFINITY);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "fps is -inf", options.sampling = C4C_SAMPLING_FPS;
                options.fps = -(double)INFINITY);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "fps is 1", options.fps = 1);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "fps is NaN", options.fps = (double)NAN);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "fps is 1", options.sampling = C4C_SAMPLING_KEYFRAMES; options.fps = 1);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "start_us is -1", options.start_us = -1);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "end_us is -1", options.end_us = -1);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "start_us is -2", options.start_us = -2; options.end_us = -1);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "end_us is 5", options.start_us = 5; options.end_us = 5);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "end_us is 4", options.start_us = 5; options.end_us = 4);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "color 2", options.color = 2);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "flags 0x8", options.flags = 8);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "flags 0x80000001", options.flags = 0x80000000u | C4C_APPLY_ROTATION);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "decode_threads is 257", options.decode_threads = 257);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "video.hwaccel 2", options.hwaccel = 2);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "hwaccel_device is 1", options.hwaccel_device = 1);
    /* No machine has so many. */
    VIDEO_FAILS(C4C_E_DEVICE, "video.hwaccel: CUDA device 4095", options.hwaccel = C4C_HWACCEL_CUDA;
                options.hwaccel_device = 4095);
    /* In the order of the fields, whichever are wrong. */
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "num_frames", memset(&options, 0xff, sizeof options);
                options.struct_size = sizeof options);

    /* What only the file tells. */
    VIDEO_FAILS(C4C_E_NO_VIDEO, "stream 99", options.stream_index_plus_1 = 100);
    VIDEO_FAILS(C4C_E_LIMIT, "max_pixels", options.max_pixels = 100);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "start_us", options.start_us = 1000 * 1000 * 1000);
    VIDEO_FAILS(C4C_E_INVALID_ARGUMENT, "start_us", options.start_us = INT64_MAX - 1; options.end_us = INT64_MAX);
}

static int64_t no_read(void *user_data, uint8_t *buffer, size_t size) {
    (void)user_data, (void)buffer, (void)size;
    printf("wrong arguments were used\n");
    exit(1);
}

static int32_t no_progress(void *user_data, size_t done, size_t total) {
    (void)user_data, (void)done, (void)total;
    printf("wrong arguments were used\n");
    exit(1);
}

static void one_video(const c4c_model *model, const clip *video, const char *text_file) {
    const size_t dim = c4c_dim(model);
    c4c_video_options wrong = {0};
    const char *path = video->path;
    FAILS(C4C_E_INVALID_ARGUMENT, "model is NULL", c4c_embed_video_path(NULL, NULL, &wrong, NULL, NULL, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "path is NULL", c4c_embed_video_path(model, NULL, &wrong, NULL, NULL, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "path is not", c4c_embed_video_path(model, "\xff", NULL, NULL, out, ROOM, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "video.struct_size", c4c_embed_video_path(model, path, &wrong, NULL, NULL, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out is NULL", c4c_embed_video_path(model, path, NULL, NULL, NULL, ROOM, &err));
    FAILS(C4C_E_BUFFER_TOO_SMALL, "need 96", c4c_embed_video_path(model, path, NULL, NULL, out, dim - 1, &err));
    FAILS(C4C_E_MEDIA_IO, "no/such", c4c_embed_video_path(model, "no/such", NULL, NULL, out, ROOM, &err));
    FAILS(C4C_E_MEDIA_FORMAT, "", c4c_embed_video_path(model, text_file, NULL, NULL, out, ROOM, &err));
    FAILS(C4C_E_FORBIDDEN, "URL", c4c_embed_video_path(model, "https://a/b.mp4", NULL, NULL, out, ROOM, &err));
    FAILS(C4C_E_FORBIDDEN, "URL", c4c_embed_video_path(model, "ftp://a/b.mp4", NULL, NULL, out, ROOM, &err));
    untouched();
    FAILS(C4C_OK, "", c4c_embed_video_path(model, path, NULL, NULL, out, dim, &err));
    CHECK(fabs(length(out, dim) - 1) < 1e-6 && out[dim] == 7);
    fill();

    const void *data = video->data;
    const size_t size = video->size;
    FAILS(C4C_E_INVALID_ARGUMENT, "model is NULL", c4c_embed_video_memory(NULL, NULL, 0, &wrong, NULL, NULL, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "data is NULL", c4c_embed_video_memory(model, NULL, 0, &wrong, NULL, NULL, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "size is 0", c4c_embed_video_memory(model, data, 0, &wrong, NULL, NULL, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "size is", c4c_embed_video_memory(model, data, SIZE_MAX, NULL, NULL, out, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "video.struct_size",
          c4c_embed_video_memory(model, data, size, &wrong, NULL, NULL, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out is NULL", c4c_embed_video_memory(model, data, size, NULL, NULL, NULL, 0, &err));
    FAILS(C4C_E_BUFFER_TOO_SMALL, "need 96", c4c_embed_video_memory(model, data, size, NULL, NULL, out, dim - 1, &err));
    FAILS(C4C_E_MEDIA_FORMAT, "", c4c_embed_video_memory(model, "no video", 8, NULL, NULL, out, ROOM, &err));
    FAILS(C4C_E_FORBIDDEN, "playlist",
          c4c_embed_video_memory(model, "#EXTM3U\n#EXTINF:1,\n/a.ts\n", 25, NULL, NULL, out, ROOM, &err));
    untouched();

    c4c_io io = {sizeof io, 0, NULL, no_read, NULL};
    FAILS(C4C_E_INVALID_ARGUMENT, "model is NULL", c4c_embed_video_io(NULL, NULL, &wrong, NULL, NULL, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "io is NULL", c4c_embed_video_io(model, NULL, &wrong, NULL, NULL, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "video.struct_size", c4c_embed_video_io(model, &io, &wrong, NULL, NULL, 0, &err));
    FAILS(C4C_E_INVALID_ARGUMENT, "out is NULL", c4c_embed_video_io(model, &io, NULL, NULL, NULL, ROOM, &err));
    FAILS(C4C_E_BUFFER_TOO_SMALL, "need 96", c4c_embed_video_io(model, &io, NULL, NULL, out, dim - 1, &err));
    io.struct_size = 0;
    FAILS(C4C_E_INVALID_ARGUMENT, "io.struct_size is 0", c4c_embed_video_io(model, &io, NULL, NULL, out, ROOM, &err));
    io.struct_size = sizeof io - 1;
    FAILS(C4C_E_INVALID_ARGUMENT, "io.struct_size is 31", c4c_embed_video_io(model, &io, NULL, NULL, out, ROOM, &err));
    io.struct_size = UINT32_MAX;
    FAILS(C4C_E_UNSUPPORTED, "io", c4c_embed_video_io(model, &io, NULL, NULL, out, ROOM, &err));
    io.struct_size = sizeof io;
    io.read = NULL;
    FAILS(C4C_E_INVALID_ARGUMENT, "io.read is NULL", c4c_embed_video_io(model, &io, &wrong, NULL, NULL, 0, &err));
    io.reserved = 1;
    FAILS(C4C_E_UNSUPPORTED, "io.reserved is 1", c4c_embed_video_io(model, &io, &wrong, NULL, NULL, 0, &err));
    struct {
        c4c_io io;
        uint64_t more;
    } newer = {video->io, 1};
    newer.io.struct_size = sizeof newer;
    FAILS(C4C_E_UNSUPPORTED, "io has fields set", c4c_embed_video_io(model, &newer.io, NULL, NULL, out, ROOM, &err));
    untouched();
    newer.more = 0;
    rewind(video->file);
    FAILS(C4C_OK, "", c4c_embed_video_io(model, &newer.io, NULL, NULL, out, ROOM, &err));
    fill();
}

static void many_videos(const c4c_model *model, const clip *video, const char *text_file) {
    const size_t dim = c4c_dim(model);
    c4c_video_options wrong = {0};
    const char *paths[2] = {video->path, video->path};
    const char *with_null[2] = {video->path, NULL};
    const char *bad[2] = {"\xff", NULL};
    c4c_status statuses[2] = {9, 9};
#define PATHS_FAIL(expected, part, model, paths, n, options, out, room)         \
    FAILS(expected, part,                                                       \
          c4c_embed_video_paths(model, paths, n, options, NULL, no_progress, NULL, out, room, statuses, &err))
    PATHS_FAIL(C4C_E_INVALID_ARGUMENT, "model is NULL", NULL, NULL, 0, &wrong, NULL, 0);
    PATHS_FAIL(C4C_E_INVALID_ARGUMENT, "paths is NULL", model, NULL, 0, &wrong, NULL, 0);
    PATHS_FAIL(C4C_E_INVALID_ARGUMENT, "n_paths is 0", model, paths, 0, &wrong, NULL, 0);
    PATHS_FAIL(C4C_E_INVALID_ARGUMENT, "n_paths", model, paths, SIZE_MAX, NULL, out, ROOM);
    PATHS_FAIL(C4C_E_INVALID_ARGUMENT, "paths[1] is NULL", model, with_null, 2, &wrong, NULL, 0);
    PATHS_FAIL(C4C_E_INVALID_ARGUMENT, "paths[0] is not UTF-8", model, bad, 2, &wrong, NULL, 0);
    PATHS_FAIL(C4C_E_INVALID_ARGUMENT, "video.struct_size", model, paths, 2, &wrong, NULL, 0);
    PATHS_FAIL(C4C_E_INVALID_ARGUMENT, "out is NULL", model, paths, 2, NULL, NULL, ROOM);
    PATHS_FAIL(C4C_E_BUFFER_TOO_SMALL, "need 192", model, paths, 2, NULL, out, 2 * dim - 1);
    PATHS_FAIL(C4C_E_BUFFER_TOO_SMALL, "out_len is 0", model, paths, 2, NULL, out, 0);
    CHECK(statuses[0] == 9 && statuses[1] == 9);
    untouched();

    const char *none[3] = {"no/such", text_file, "https://a/b.mp4"};
    c4c_status each[3] = {9, 9, 9};
    FAILS(C4C_E_MEDIA_IO, "no/such",
          c4c_embed_video_paths(model, none, 3, NULL, NULL, NULL, NULL, out, ROOM, NULL, &err));
    FAILS(C4C_OK, "no/such", c4c_embed_video_paths(model, none, 3, NULL, NULL, NULL, NULL, out, ROOM, each, &err));
    CHECK(each[0] == C4C_E_MEDIA_IO && each[1] == C4C_E_MEDIA_FORMAT && each[2] == C4C_E_FORBIDDEN);
    untouched();
}

static void segments(const c4c_model *model, const clip *video, const char *text_file) {
    c4c_video_options wrong = {0};
    const char *path = video->path;
    c4c_segments *segments = NULL, **to = &segments;
#define SEGMENTS_FAIL(expected, part, model, path, options, window, step, to)   \
    FAILS(expected, part, c4c_embed_segments(model, path, options, window, step, NULL, to, &err))
    SEGMENTS_FAIL(C4C_E_INVALID_ARGUMENT, "model is NULL", NULL, NULL, &wrong, 0, 0, NULL);
    SEGMENTS_FAIL(C4C_E_INVALID_ARGUMENT, "path is NULL", model, NULL, &wrong, 0, 0, NULL);
    SEGMENTS_FAIL(C4C_E_INVALID_ARGUMENT, "path is not UTF-8", model, "\xff", &wrong, 0, 0, NULL);
    SEGMENTS_FAIL(C4C_E_INVALID_ARGUMENT, "video.struct_size", model, path, &wrong, 0, 0, NULL);
    SEGMENTS_FAIL(C4C_E_INVALID_ARGUMENT, "window_us is 0", model, path, NULL, 0, 0, NULL);
    SEGMENTS_FAIL(C4C_E_INVALID_ARGUMENT, "window_us is -1", model, path, NULL, -1, 1, to);
    SEGMENTS_FAIL(C4C_E_INVALID_ARGUMENT, "step_us is 0", model, path, NULL, 1, 0, NULL);
    SEGMENTS_FAIL(C4C_E_INVALID_ARGUMENT, "step_us is -9", model, path, NULL, INT64_MAX, INT64_MIN, to);
    SEGMENTS_FAIL(C4C_E_INVALID_ARGUMENT, "out_segments is NULL", model, path, NULL, 1, 1, NULL);
    SEGMENTS_FAIL(C4C_E_MEDIA_IO, "no/such", model, "no/such", NULL, 1000000, 1000000, to);
    SEGMENTS_FAIL(C4C_E_MEDIA_FORMAT, "", model, text_file, NULL, 1000000, 1000000, to);
    CHECK(segments == NULL);

    int64_t start = 9, end = 9;
    CHECK(c4c_segments_count(NULL) == 0 && c4c_segments_data(NULL) == NULL);
    CHECK(c4c_segments_time(NULL, 0, &start, &end) == C4C_E_INVALID_ARGUMENT && start == 9 && end == 9);
    c4c_segments_free(NULL);
}

/* A model without vision tower has no use for videos, and says so whatever the file is. */
static void text_only(const char *weights, clip *video) {
    c4c_options options = {0};
    c4c_model *model = NULL;
    options.struct_size = sizeof options;
    options.weights_path = weights;
    options.modality = C4C_MODALITY_TEXT;
    CHECK(c4c_create(&options, &model, NULL) == C4C_OK);
    VIDEO_CALLS_FAIL(C4C_E_MODALITY, "text only", model, video, NULL, NULL);
    c4c_status status = 9;
    const char *none = "no/such";
    FAILS(C4C_E_MODALITY, "", c4c_embed_video_paths(model, &none, 1, NULL, NULL, NULL, NULL, out, ROOM, &status, &err));
    CHECK(status == 9);
    c4c_free(model);
}

int main(int argc, char **argv) {
    CHECK(argc == 4);
    fill();
    create(argv[1], argv[3]);
    c4c_model *model = load(argv[1]);
    clip video = open_clip(argv[2]);
    info(model);
    counts(model);
    similarity();
    fill();
    text(model);
    limits(model, &video);
    frames(model);
    gpu_frames(model);
    yuv(model);
    video_options(model, &video);
    one_video(model, &video, argv[3]);
    many_videos(model, &video, argv[3]);
    segments(model, &video, argv[3]);
    c4c_free(model);
    text_only(argv[1], &video);
    close_clip(&video);
    CHECK(strcmp(c4c_status_name(C4C_E_LIMIT), "C4C_E_LIMIT") == 0);
    CHECK(strcmp(c4c_status_name(-1000), "unknown status") == 0);
    CHECK(c4c_abi_version() == C4C_ABI_VERSION && strchr(c4c_version(), '.') != NULL);
    CHECK(strstr(c4c_build_info(), "\"libtorch\":\"2.") != NULL && strstr(c4c_build_info(), "\"ffmpeg\":\"") != NULL);
    return 0;
}
