// What tch does not offer of libtorch's GPUs: memory, and passes that are recorded once and replayed. Nothing here is linked
// with CUDA: memory goes through libc10's interface for all devices, and what only libtorch_cuda has is looked up by
// its name, once that is loaded.

#include <cstdint>
#include <iterator>
#include <stdexcept>
#include <string>

#include <dlfcn.h>

#include <ATen/Context.h>
#include <ATen/core/CachingHostAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include "told.hpp"

namespace {

constexpr c10::DeviceType CUDA = c10::DeviceType::CUDA;

// Keeps the last warning, which would go to stderr, and that is the host's.
struct Kept : c10::WarningHandler {
    std::string text;
    void process(const c10::Warning &warning) override { text = warning.msg(); }
};

c10::Device gpu(int32_t number) { return c10::Device(CUDA, static_cast<c10::DeviceIndex>(number)); }

} // namespace

extern "C" {

// How many GPUs libtorch can use; with 0, what it has to say about that. Needs libtorch_cuda.
int32_t c4c_gpu_count(int32_t *count, char *why, size_t room) {
    return told(why, room, [&] {
        Kept kept;
        const c10::WarningUtils::WarningHandlerGuard guard(&kept);
        *count = static_cast<int32_t>(c10::impl::VirtualGuardImpl(CUDA).deviceCount());
        say(kept.text.c_str(), why, room);
        // libtorch looks for its CUDA half once, and whoever asked before that was there has made it look.
        if (*count > 0 && !at::globalContext().hasCUDA())
            throw std::runtime_error("it was asked for CUDA before its CUDA half was loaded; create a model before that");
    });
}

// Waits for what this thread gave to the GPU; other threads may record meanwhile.
int32_t c4c_gpu_synchronize(int32_t device, char *why, size_t room) {
    return told(why, room, [&] {
        const c10::impl::VirtualGuardImpl guard(CUDA);
        guard.synchronizeStream(guard.getStream(gpu(device)));
    });
}

// How many bytes of the GPU libtorch holds for this process.
int32_t c4c_gpu_held(int32_t device, uint64_t *bytes, char *why, size_t room) {
    return told(why, room, [&] {
        const auto stats = c10::getDeviceAllocator(CUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(device));
        const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
        *bytes = static_cast<uint64_t>(stats.reserved_bytes[all].current);
    });
}

// Gives back what libtorch keeps for later: memory of all GPUs, and pinned memory of the host. `device` is one that has a context: to
// free memory makes one on the thread's own device.
int32_t c4c_gpu_trim(int32_t device, char *why, size_t room) {
    return told(why, room, [&] {
        const c10::impl::VirtualGuardImpl guard(CUDA);
        const c10::Device before = guard.exchangeDevice(gpu(device));
        char failed[512];
        const int32_t code = told(failed, sizeof failed, [] {
            c10::getDeviceAllocator(CUDA)->emptyCache();
            at::getHostAllocator(CUDA)->empty_cache();
        });
        guard.uncheckedSetDevice(before);
        if (code != 0) throw std::runtime_error(failed);
    });
}

} // extern "C"

namespace {

using Pool = c10::MempoolId_t;

// Room for an at::cuda::CUDAGraph, whose header needs the CUDA compiler's. In libtorch 2.11 it has 104 bytes and an alignment of 8.
struct Graph {
    alignas(64) unsigned char room[1024];
};

const char *const NAMES[] = {
    "_ZN2at4cuda9CUDAGraphC1Eb",
    "_ZN2at4cuda9CUDAGraphD1Ev",
    "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode",
    "_ZN2at4cuda9CUDAGraph11capture_endEv",
    "_ZN2at4cuda9CUDAGraph6replayEv",
    "_ZN2at4cuda17graph_pool_handleEv",
};

// cudaStreamCaptureModeThreadLocal: other threads may allocate and copy while one records.
constexpr int32_t THREAD_LOCAL = 1;

template <class Function> Function find(const char *name) {
    if (void *found = dlsym(RTLD_DEFAULT, name)) return reinterpret_cast<Function>(found);
    throw std::runtime_error(std::string("libtorch_cuda has no ") + name);
}

// Member functions take `this` first, in the C++ ABI of all systems that libtorch_cuda is made for.
struct Functions {
    void (*construct)(Graph *, bool) = find<decltype(construct)>(NAMES[0]);
    void (*destroy)(Graph *) = find<decltype(destroy)>(NAMES[1]);
    void (*begin)(Graph *, Pool, int32_t mode) = find<decltype(begin)>(NAMES[2]);
    void (*end)(Graph *) = find<decltype(end)>(NAMES[3]);
    void (*replay)(Graph *) = find<decltype(replay)>(NAMES[4]);
    Pool (*pool)() = find<decltype(pool)>(NAMES[5]);
};

const Functions &functions() {
    static const Functions found;
    return found;
}

} // namespace

extern "C" {

// The names that are looked up in libtorch_cuda, NULL after the last.
const char *c4c_graph_symbol(size_t i) { return i < std::size(NAMES) ? NAMES[i] : nullptr; }

// A pool of memory for recordings that are replayed one at a time.
int32_t c4c_graph_pool(uint64_t pool[2], char *why, size_t room) {
    return told(why, room, [&] {
        const Pool made = functions().pool();
        pool[0] = made.first;
        pool[1] = made.second;
    });
}

// From here on what this thread gives to its stream is recorded, and not done; NULL when it did not begin. What libtorch has begun
// and not ended it still refers to, so that a recording that failed to begin or to end must never be freed.
void *c4c_graph_begin(const uint64_t pool[2], char *why, size_t room) {
    Graph *graph = nullptr;
    const int32_t failed = told(why, room, [&] {
        functions();
        graph = new Graph;
        functions().construct(graph, false);
        functions().begin(graph, Pool(pool[0], pool[1]), THREAD_LOCAL);
    });
    return failed == 0 ? graph : nullptr;
}

int32_t c4c_graph_end(void *graph, char *why, size_t room) {
    return told(why, room, [&] { functions().end(static_cast<Graph *>(graph)); });
}

// Gives what was recorded to this thread's stream.
int32_t c4c_graph_replay(void *graph, char *why, size_t room) {
    return told(why, room, [&] { functions().replay(static_cast<Graph *>(graph)); });
}

void c4c_graph_free(void *graph) {
    char ignored[8];
    told(ignored, sizeof ignored, [&] { functions().destroy(static_cast<Graph *>(graph)); });
    delete static_cast<Graph *>(graph);
}

} // extern "C"
