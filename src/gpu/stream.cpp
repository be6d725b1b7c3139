// CUDA streams by libtorch's device-agnostic interface: what implements it is registered when libtorch's CUDA half is loaded,
// and nothing here is linked with that.

#include <cstddef>
#include <cstdint>

#include <c10/core/Event.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include "told.hpp"

extern "C" {

// What a thread had before, and what it has been given.
struct c4c_entered {
    // The thread's device.
    int32_t device;
    int32_t entered;
    // Streams of `entered`: the thread's, and the one that is its own for now.
    int64_t stream;
    int64_t own;
    // A c10::WarningHandler, the thread's.
    int64_t warnings;
};

} // extern "C"

namespace {

c10::Device gpu(int32_t index) {
    return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
}

c10::Stream stream_of(int32_t device, int64_t id) {
    return c10::Stream(c10::Stream::UNSAFE, gpu(device), id);
}

// A cudaStream_t as libtorch numbers it: streams that it has not made by their address, the default stream 0. cudaStreamLegacy
// is another name of the latter.
int64_t number(void *stream) {
    const auto address = reinterpret_cast<intptr_t>(stream);
    return address == 1 ? 0 : static_cast<int64_t>(address);
}

// libtorch's warnings would go to stderr, and that is the host's.
struct Silent : c10::WarningHandler {
    void process(const c10::Warning &) override {}
};

void restore(const c4c_entered &before) {
    const c10::impl::VirtualGuardImpl cuda(c10::DeviceType::CUDA);
    cuda.exchangeStream(stream_of(before.entered, before.stream));
    // Where it is the same there may be no context on it yet, which setting it would make.
    if (before.device != before.entered)
        cuda.setDevice(gpu(before.device));
}

} // namespace

extern "C" {

// Makes `device` and a stream there the calling thread's: `own`, or where that is 0 one of libtorch's pool. Its warnings go to nobody.
int c4c_stream_enter(int32_t device, int64_t own, c4c_entered *entered, char *why, size_t room) {
    return told(why, room, [&] {
        const c10::impl::VirtualGuardImpl cuda(c10::DeviceType::CUDA);
        c4c_entered now{cuda.getDevice().index(), device, 0, own, 0};
        now.stream = cuda.getStream(gpu(device)).id();
        try {
            if (now.device != device)
                cuda.setDevice(gpu(device));
            if (own == 0)
                now.own = cuda.getStreamFromGlobalPool(gpu(device)).id();
            cuda.exchangeStream(stream_of(device, now.own));
        } catch (...) {
            restore(now);
            throw;
        }
        static Silent silent;
        now.warnings = reinterpret_cast<intptr_t>(c10::WarningUtils::get_warning_handler());
        c10::WarningUtils::set_warning_handler(&silent);
        *entered = now;
    });
}

// What the thread's stream is given from now on waits for what the caller's has been given so far; the host does not.
int c4c_stream_follow(const c4c_entered *entered, void *stream, char *why, size_t room) {
    return told(why, room, [&] {
        c10::Event made(c10::DeviceType::CUDA);
        made.record(stream_of(entered->entered, number(stream)));
        made.block(stream_of(entered->entered, entered->own));
    });
}

// Waits for the thread's stream, whatever it came to, and gives the thread back what it had.
void c4c_stream_leave(const c4c_entered *entered) {
    char why[64];
    told(why, sizeof why, [&] {
        const c10::impl::VirtualGuardImpl cuda(c10::DeviceType::CUDA);
        cuda.synchronizeStream(stream_of(entered->entered, entered->own));
    });
    told(why, sizeof why, [&] { restore(*entered); });
    c10::WarningUtils::set_warning_handler(reinterpret_cast<c10::WarningHandler *>(static_cast<intptr_t>(entered->warnings)));
}

} // extern "C"
