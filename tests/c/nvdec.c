/* Stands in for NVIDIA's driver where there is none: as much of libcuda and libnvcuvid as FFmpeg calls to decode. It does
 * not decode; it paints a pattern of the picture's number in display order, so that a test knows what each frame must look
 * like. "Device" memory is ordinary memory. Structs are those of NVIDIA's Video Codec SDK, as far as they are read here. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HOST = 1, INVALID_VALUE = 1, INVALID_DEVICE = 101, H264 = 4, HEVC = 8, CHROMA_420 = 1, PITCH = 512 };

/* For the test to set and to read. */
int nvdec_supports = 1;
int nvdec_contexts, nvdec_created, nvdec_open, nvdec_most_open, nvdec_pictures, nvdec_copies, nvdec_mapped;

/* What FFmpeg wants to be there and has no use for in these tests. */
#define NOTHING(name) \
    int name(void) { return 0; }
NOTHING(cuInit)
NOTHING(cuDeviceGetName)
NOTHING(cuDeviceComputeCapability)
NOTHING(cuCtxSetLimit)
NOTHING(cuCtxDestroy_v2)
NOTHING(cuCtxGetDevice)
NOTHING(cuMemAllocManaged)
NOTHING(cuMemsetD8Async)
NOTHING(cuMemcpy)
NOTHING(cuMemcpyAsync)
NOTHING(cuMemcpyHtoD_v2)
NOTHING(cuMemcpyHtoDAsync_v2)
NOTHING(cuMemcpyDtoH_v2)
NOTHING(cuMemcpyDtoHAsync_v2)
NOTHING(cuMemcpyDtoD_v2)
NOTHING(cuMemcpyDtoDAsync_v2)
NOTHING(cuDevicePrimaryCtxRetain)
NOTHING(cuDevicePrimaryCtxRelease)
NOTHING(cuDevicePrimaryCtxSetFlags)
NOTHING(cuDevicePrimaryCtxGetState)
NOTHING(cuDevicePrimaryCtxReset)
NOTHING(cuStreamCreate)
NOTHING(cuStreamQuery)
NOTHING(cuStreamSynchronize)
NOTHING(cuStreamDestroy_v2)
NOTHING(cuStreamAddCallback)
NOTHING(cuStreamWaitEvent)
NOTHING(cuEventCreate)
NOTHING(cuEventDestroy_v2)
NOTHING(cuEventSynchronize)
NOTHING(cuEventQuery)
NOTHING(cuEventRecord)
NOTHING(cuLaunchKernel)
NOTHING(cuLinkCreate)
NOTHING(cuLinkAddData)
NOTHING(cuLinkComplete)
NOTHING(cuLinkDestroy)
NOTHING(cuModuleLoadData)
NOTHING(cuModuleUnload)
NOTHING(cuModuleGetFunction)
NOTHING(cuModuleGetGlobal)
NOTHING(cuTexObjectCreate)
NOTHING(cuTexObjectDestroy)
NOTHING(cuGLGetDevices_v2)
NOTHING(cuGraphicsGLRegisterImage)
NOTHING(cuGraphicsUnregisterResource)
NOTHING(cuGraphicsMapResources)
NOTHING(cuGraphicsUnmapResources)
NOTHING(cuGraphicsSubResourceGetMappedArray)
NOTHING(cuGraphicsResourceGetMappedPointer_v2)
NOTHING(cuArray3DCreate_v2)
NOTHING(cuArrayDestroy)
NOTHING(cuvidGetDecodeStatus)
NOTHING(cuvidReconfigureDecoder)
NOTHING(cuvidCtxLockCreate)
NOTHING(cuvidCtxLockDestroy)
NOTHING(cuvidCtxLock)
NOTHING(cuvidCtxUnlock)
NOTHING(cuvidCreateVideoSource)
NOTHING(cuvidCreateVideoSourceW)
NOTHING(cuvidDestroyVideoSource)
NOTHING(cuvidSetVideoSourceState)
NOTHING(cuvidGetVideoSourceState)
NOTHING(cuvidGetSourceVideoFormat)
NOTHING(cuvidGetSourceAudioFormat)
NOTHING(cuvidCreateVideoParser)
NOTHING(cuvidParseVideoData)
NOTHING(cuvidDestroyVideoParser)

int cuDeviceGetCount(int *count) {
    *count = 1;
    return 0;
}

int cuDeviceGet(int *device, int number) {
    *device = number;
    return number == 0 ? 0 : INVALID_DEVICE;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)attribute, (void)device;
    *value = PITCH;
    return 0;
}

int cuCtxCreate_v2(void **context, unsigned flags, int device) {
    (void)flags, (void)device;
    *context = &nvdec_contexts;
    __atomic_add_fetch(&nvdec_contexts, 1, __ATOMIC_SEQ_CST);
    return 0;
}

int cuCtxPushCurrent_v2(void *context) { return context == &nvdec_contexts ? 0 : INVALID_VALUE; }

int cuCtxPopCurrent_v2(void **context) {
    *context = &nvdec_contexts;
    return 0;
}

int cuMemAlloc_v2(uint64_t *memory, size_t size) {
    *memory = (uintptr_t)malloc(size);
    return *memory == 0;
}

int cuMemAllocPitch_v2(uint64_t *memory, size_t *pitch, size_t width, size_t height, unsigned element) {
    (void)element;
    *pitch = (width + PITCH - 1) / PITCH * PITCH;
    return cuMemAlloc_v2(memory, *pitch * height);
}

int cuMemFree_v2(uint64_t memory) {
    free((void *)(uintptr_t)memory);
    return 0;
}

int cuGetErrorName(int error, const char **name) {
    *name = error == INVALID_DEVICE ? "CUDA_ERROR_INVALID_DEVICE" : "CUDA_ERROR";
    return 0;
}

int cuGetErrorString(int error, const char **text) {
    *text = error == INVALID_DEVICE ? "invalid device ordinal" : "no text";
    return 0;
}

struct place {
    size_t x, y;
    unsigned kind;
    void *host;
    uint64_t device;
    void *array;
    size_t pitch;
};

struct copy {
    struct place from, to;
    size_t width, height;
};

static uint8_t *at(const struct place *place) {
    uint8_t *base = place->kind == HOST ? place->host : (uint8_t *)(uintptr_t)place->device;
    return base + place->y * place->pitch + place->x;
}

int cuMemcpy2D_v2(const struct copy *copy) {
    for (size_t y = 0; y < copy->height; y++)
        memcpy(at(&copy->to) + y * copy->to.pitch, at(&copy->from) + y * copy->from.pitch, copy->width);
    if (copy->to.kind == HOST)
        __atomic_add_fetch(&nvdec_copies, 1, __ATOMIC_SEQ_CST);
    return 0;
}

int cuMemcpy2DAsync_v2(const struct copy *copy, void *stream) {
    (void)stream;
    return cuMemcpy2D_v2(copy);
}

struct capabilities {
    int codec, chroma;
    unsigned depth_minus_8, reserved[3];
    uint8_t supported, engines;
    uint16_t formats;
    unsigned most_width, most_height, most_macroblocks;
    uint16_t least_width, least_height;
};

int cuvidGetDecoderCaps(struct capabilities *c) {
    int known = c->codec == H264 ? c->depth_minus_8 == 0 : c->codec == HEVC && c->depth_minus_8 <= 2;
    c->supported = nvdec_supports && known && c->chroma == CHROMA_420;
    c->formats = 3;
    c->most_width = c->most_height = 8192;
    c->most_macroblocks = 8192 * 8192 / 256;
    c->least_width = c->least_height = 16;
    return 0;
}

struct creation {
    unsigned long width, height, surfaces;
    int codec, chroma;
    unsigned long flags, depth_minus_8, intra, most_width, most_height, reserved;
    short display[4];
    int format, deinterlace;
    unsigned long target_width, target_height, outputs;
};

struct decoder {
    struct creation info;
    int numbers[32];
    unsigned long mapped;
};

int cuvidCreateDecoder(struct decoder **decoder, const struct creation *info) {
    if (info->surfaces > 32 || info->target_width != info->width || info->target_height != info->height)
        return INVALID_VALUE;
    *decoder = calloc(1, sizeof **decoder);
    (*decoder)->info = *info;
    __atomic_add_fetch(&nvdec_created, 1, __ATOMIC_SEQ_CST);
    int open = __atomic_add_fetch(&nvdec_open, 1, __ATOMIC_SEQ_CST);
    /* Read by tests with one call at a time only. */
    if (open > nvdec_most_open)
        nvdec_most_open = open;
    return 0;
}

int cuvidDestroyDecoder(struct decoder *decoder) {
    free(decoder);
    __atomic_sub_fetch(&nvdec_open, 1, __ATOMIC_SEQ_CST);
    return 0;
}

struct picture {
    int width, height, surface, field, bottom, second;
    unsigned bytes;
    const uint8_t *data;
    unsigned slices;
    const unsigned *offsets;
    int reference, intra;
    unsigned reserved[30];
    union {
        struct {
            int parameters[24], order[2];
        } h264;
        struct {
            int parameters[62], order;
        } hevc;
    };
};

int cuvidDecodePicture(struct decoder *decoder, const struct picture *picture) {
    if (picture->surface < 0 || (unsigned long)picture->surface >= decoder->info.surfaces)
        return INVALID_VALUE;
    /* FFmpeg counts from 65536 in H.264, and by fields. */
    decoder->numbers[picture->surface] =
        decoder->info.codec == H264 ? (picture->h264.order[0] & 0xffff) / 2 : picture->hevc.order;
    __atomic_add_fetch(&nvdec_pictures, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static unsigned sample(int number, int component, unsigned long x, unsigned long y, int deep) {
    unsigned long n = (unsigned long)number, c = (unsigned long)component;
    unsigned long mix = n * 7 + c * 50 + x * (c + 1) + y * 3;
    return (unsigned)(deep ? (64 + mix * 5 % 870) << 6 : 16 + mix % 219);
}

int cuvidMapVideoFrame64(struct decoder *decoder, int surface, uint64_t *memory, unsigned *pitch, void *parameters) {
    (void)parameters;
    if (decoder->mapped == decoder->info.outputs)
        return INVALID_VALUE;
    unsigned long width = decoder->info.width, height = decoder->info.height;
    int deep = decoder->info.format == 1;
    *pitch = (unsigned)((width << deep) + PITCH - 1) / PITCH * PITCH;
    uint8_t *rows = malloc(*pitch * height * 3 / 2);
    for (unsigned long y = 0; y < height * 3 / 2; y++) {
        for (unsigned long x = 0; x < width; x++) {
            int component = y < height ? 0 : 1 + (int)(x % 2);
            unsigned value = component == 0 ? sample(decoder->numbers[surface], 0, x, y, deep)
                                            : sample(decoder->numbers[surface], component, x / 2, y - height, deep);
            rows[y * *pitch + (x << deep)] = (uint8_t)value;
            if (deep)
                rows[y * *pitch + (x << 1) + 1] = (uint8_t)(value >> 8);
        }
    }
    *memory = (uintptr_t)rows;
    decoder->mapped++;
    __atomic_add_fetch(&nvdec_mapped, 1, __ATOMIC_SEQ_CST);
    return 0;
}

int cuvidUnmapVideoFrame64(struct decoder *decoder, uint64_t memory) {
    free((void *)(uintptr_t)memory);
    decoder->mapped--;
    __atomic_sub_fetch(&nvdec_mapped, 1, __ATOMIC_SEQ_CST);
    return 0;
}
