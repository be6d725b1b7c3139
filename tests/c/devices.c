/* Where a model computes: what may be named, and what is said where it cannot be had. For machines with GPUs and
 * without.
 *
 *     devices WEIGHTS
 */
#include "check.h"

static c4c_options options_of(const char *weights, const char *device, uint32_t precision) {
    c4c_options options = {0};
    options.struct_size = sizeof options;
    options.weights_path = weights;
    options.device = device;
    options.precision = precision;
    return options;
}

/* No model is made, and none is left behind. */
#define CREATE_FAILS(expected, part, weights, device, precision)                \
    do {                                                                        \
        c4c_options options = options_of(weights, device, precision);           \
        c4c_model *model = NULL;                                                \
        FAILS(expected, part, c4c_create(&options, &model, &err));              \
        CHECK(model == NULL);                                                   \
    } while (0)

static c4c_info info_of(const char *weights, const char *device) {
    c4c_options options = options_of(weights, device, C4C_PRECISION_AUTO);
    c4c_info info = {0};
    c4c_model *model = NULL;
    info.struct_size = sizeof info;
    FAILS(C4C_OK, "", c4c_create(&options, &model, &err));
    FAILS(C4C_OK, "", c4c_get_info(model, &info, &err));
    c4c_free(model);
    return info;
}

/* How many there are, and into `reason` why there is none. */
static uint32_t count(char *reason, size_t room) {
    uint32_t n = 77, again = 77;
    c4c_error err = {0};
    FAILS(C4C_E_INVALID_ARGUMENT, "out_count is NULL", c4c_cuda_devices(NULL, &err));
    CHECK(c4c_cuda_devices(NULL, NULL) == C4C_E_INVALID_ARGUMENT);
    err.struct_size = 4;
    CHECK(c4c_cuda_devices(&n, &err) == C4C_E_INVALID_ARGUMENT && n == 77);
    err.struct_size = sizeof err;
    CHECK(c4c_cuda_devices(&n, &err) == C4C_OK && err.status == C4C_OK);
    CHECK(c4c_cuda_devices(&again, NULL) == C4C_OK && again == n);
    /* A zero has a reason, anything else none. */
    CHECK((n == 0) == (err.message[0] != 0));
    CHECK(snprintf(reason, room, "%s", err.message) < (int)room);
    return n;
}

static void names(const char *weights) {
    static const char *const wrong[] = {
        "", ",", "gpu", "mps", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda 0", "cuda:99999999999999999999",
        "cuda:0,", "cuda:0,cuda:0", "cuda,cuda:0", "cpu,cuda", "cuda:0,cuda:*", "cuda:*,cuda:0"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char named[64];
        snprintf(named, sizeof named, "options.device is `%s`, expected \"auto\"", wrong[i]);
        CREATE_FAILS(C4C_E_INVALID_ARGUMENT, named, weights, wrong[i], C4C_PRECISION_AUTO);
    }
    CREATE_FAILS(C4C_E_INVALID_ARGUMENT, "options.device is not UTF-8", weights, "cuda:\xff", C4C_PRECISION_AUTO);
    /* One that no machine has, beside one that it may have: named with the reason and the way out. */
    CREATE_FAILS(C4C_E_DEVICE, "`cuda:4095` cannot be used: ", weights, "cuda:4095", C4C_PRECISION_AUTO);
    CREATE_FAILS(C4C_E_DEVICE, "set \"auto\" or \"cpu\"", weights, "cuda:4095", C4C_PRECISION_AUTO);
    CREATE_FAILS(C4C_E_DEVICE, "cuda:4095", weights, "cuda:0,cuda:4095", C4C_PRECISION_AUTO);
    /* The device is looked for before the weights are read, which may take long. */
    CREATE_FAILS(C4C_E_DEVICE, "cuda:4095", "no/such/file", "cuda:4095", C4C_PRECISION_AUTO);
}

static void on_the_cpu(const char *weights) {
    const c4c_info info = info_of(weights, "cpu");
    CHECK(strcmp(info.device, "cpu") == 0 && info.device_note[0] == 0 && info.precision != C4C_PRECISION_F16);
    CREATE_FAILS(C4C_E_UNSUPPORTED, "F16 is for GPUs; set AUTO", weights, "cpu", C4C_PRECISION_F16);

    /* Flags that are about GPUs only are taken, and change nothing. */
    c4c_options options = options_of(weights, "cpu", C4C_PRECISION_AUTO);
    const char *text = "a dog";
    c4c_model *model = NULL;
    c4c_stats stats = {0};
    options.flags = C4C_NO_CUDA_GRAPHS;
    FAILS(C4C_OK, "", c4c_create(&options, &model, &err));
    const size_t dim = c4c_dim(model);
    FAILS(C4C_OK, "", c4c_embed_text(model, &text, 1, NULL, out, dim, &err));
    stats.struct_size = sizeof stats;
    stats.device_bytes = 9;
    FAILS(C4C_OK, "", c4c_get_stats(model, &stats, &err));
    CHECK(stats.device_bytes == 0);

    /* What is given back comes again when it is needed. */
    FAILS(C4C_E_INVALID_ARGUMENT, "model is NULL", c4c_trim(NULL, &err));
    FAILS(C4C_OK, "", c4c_trim(model, &err));
    CHECK(c4c_trim(model, NULL) == C4C_OK);
    FAILS(C4C_OK, "", c4c_embed_text(model, &text, 1, NULL, out + dim, dim, &err));
    CHECK(memcmp(out, out + dim, dim * sizeof *out) == 0);
    c4c_free(model);
}

static void without_a_gpu(const char *weights, const char *reason) {
    static const char *const named[][2] = {{"cuda", "`cuda:0`"}, {"cuda:1", "`cuda:1`"}, {"cuda:*", "`cuda:*`"},
                                           {"cuda:0,cuda:1", "`cuda:0,cuda:1`"}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        char message[sizeof(c4c_error)];
        snprintf(message, sizeof message, "options.device: %s cannot be used: %.300s", named[i][1], reason);
        CREATE_FAILS(C4C_E_DEVICE, message, weights, named[i][0], C4C_PRECISION_AUTO);
    }
    for (int i = 0; i < 2; i++) {
        const c4c_info info = info_of(weights, i == 0 ? "auto" : NULL);
        CHECK(strcmp(info.device, "cpu") == 0 && info.device_note[0] != 0);
        CHECK(strncmp(info.device_note, reason, sizeof info.device_note - 1) == 0);
    }
    CREATE_FAILS(C4C_E_UNSUPPORTED, "F16", weights, "auto", C4C_PRECISION_F16);
}

static void with_gpus(const char *weights, uint32_t n) {
    char range[64];
    snprintf(range, sizeof range, "cuda:0 to cuda:%u", (unsigned)(n - 1));
    CREATE_FAILS(C4C_E_DEVICE, range, weights, "cuda:4095", C4C_PRECISION_AUTO);
    const c4c_info info = info_of(weights, "auto");
    CHECK(strcmp(info.device, "cuda:0") == 0 && info.device_note[0] == 0 && info.precision == C4C_PRECISION_F16);
    CREATE_FAILS(C4C_E_UNSUPPORTED, "INT8 is for CPUs", weights, "cuda", C4C_PRECISION_INT8);
}

int main(int argc, char **argv) {
    char reason[sizeof(c4c_error)];
    CHECK(argc == 2);
    const uint32_t n = count(reason, sizeof reason);
    names(argv[1]);
    on_the_cpu(argv[1]);
    if (n == 0)
        without_a_gpu(argv[1], reason);
    else
        with_gpus(argv[1], n);
    return 0;
}
