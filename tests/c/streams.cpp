// The library's part in streams, on a stand-in for CUDA that notes what it is asked for.

#include "../../src/gpu/stream.cpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>

#define CHECK(condition)                                                \
    do {                                                                \
        if (!(condition)) {                                             \
            std::printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            std::exit(1);                                               \
        }                                                               \
    } while (0)

namespace {

// What the thread has, and what has happened.
int current_device = 0;
std::map<int, int64_t> current_stream;
std::string happened;
int64_t pool = 100;
int events = 0;
const char *fails = "";

void note(const std::string &what) {
    happened += what + ";";
}

void maybe_fail(const char *what) {
    if (std::strcmp(fails, what) == 0)
        throw std::runtime_error(std::string(what) + " does not work");
}

std::string name(const c10::Stream &stream) {
    return std::to_string(stream.device_index()) + "/" + std::to_string(stream.id());
}

struct Stand final : c10::impl::DeviceGuardImplInterface {
    static constexpr c10::DeviceType kind = c10::DeviceType::CUDA;
    c10::DeviceType type() const override { return kind; }
    c10::Device exchangeDevice(c10::Device d) const override {
        const c10::Device before = getDevice();
        setDevice(d);
        return before;
    }
    c10::Device getDevice() const override { return c10::Device(kind, static_cast<c10::DeviceIndex>(current_device)); }
    void setDevice(c10::Device d) const override {
        current_device = d.index();
        note("device " + std::to_string(d.index()));
    }
    void uncheckedSetDevice(c10::Device d) const noexcept override { current_device = d.index(); }
    c10::Stream getStream(c10::Device d) const override {
        return c10::Stream(c10::Stream::UNSAFE, d, current_stream[d.index()]);
    }
    c10::Stream getStreamFromGlobalPool(c10::Device d, bool) const override {
        maybe_fail("pool");
        return c10::Stream(c10::Stream::UNSAFE, d, ++pool);
    }
    c10::Stream exchangeStream(c10::Stream s) const override {
        const c10::Stream before = getStream(s.device());
        current_stream[s.device_index()] = s.id();
        return before;
    }
    c10::DeviceIndex deviceCount() const noexcept override { return 2; }
    void record(void **event, const c10::Stream &stream, c10::DeviceIndex, c10::EventFlag) const override {
        maybe_fail("record");
        *event = &events;
        events++;
        note("record " + name(stream));
    }
    void block(void *event, const c10::Stream &stream) const override {
        CHECK(event == &events);
        note("block " + name(stream));
    }
    void destroyEvent(void *event, c10::DeviceIndex) const noexcept override {
        CHECK(event == &events);
        events--;
    }
    void synchronizeStream(const c10::Stream &stream) const override {
        maybe_fail("synchronize");
        note("synchronize " + name(stream));
    }
};

const Stand stand;
char why[64];

bool follows(const c4c_entered &entered, uintptr_t stream, const std::string &expected) {
    happened.clear();
    CHECK(c4c_stream_follow(&entered, reinterpret_cast<void *>(stream), why, sizeof why) == 0);
    return happened == expected && events == 0;
}

} // namespace

int main() {
    c4c_entered entered{};
    // Before there is a CUDA half.
    CHECK(c4c_stream_enter(0, 0, &entered, why, sizeof why) == -1 && std::strstr(why, "cuda") != nullptr);
    CHECK(std::strlen(why) == sizeof why - 1);
    c10::impl::registerDeviceGuard(c10::DeviceType::CUDA, &stand);

    // Another device than the thread's, and there another stream. Warnings go to nobody meanwhile.
    c10::WarningHandler *const warnings = c10::WarningUtils::get_warning_handler();
    current_stream = {{0, 5}, {1, 6}};
    CHECK(c4c_stream_enter(1, 0, &entered, why, sizeof why) == 0);
    CHECK(current_device == 1 && current_stream[0] == 5 && current_stream[1] == 101 && entered.own == 101);
    CHECK(c10::WarningUtils::get_warning_handler() != warnings);
    CHECK(follows(entered, 0x7f10, "record 1/32528;block 1/101;"));
    // The default stream by two names, and the thread's own default stream.
    CHECK(follows(entered, 0, "record 1/0;block 1/101;"));
    CHECK(follows(entered, 1, "record 1/0;block 1/101;"));
    CHECK(follows(entered, 2, "record 1/2;block 1/101;"));
    happened.clear();
    c4c_stream_leave(&entered);
    CHECK(happened == "synchronize 1/101;device 0;");
    CHECK(current_device == 0 && current_stream[0] == 5 && current_stream[1] == 6);
    CHECK(c10::WarningUtils::get_warning_handler() == warnings);

    // The thread's device, with a stream that it had before: neither is asked for.
    happened.clear();
    CHECK(c4c_stream_enter(0, 101, &entered, why, sizeof why) == 0);
    CHECK(current_stream[0] == 101 && entered.own == 101 && pool == 101);
    c4c_stream_leave(&entered);
    CHECK(happened == "synchronize 0/101;" && current_stream[0] == 5);

    // What fails leaves the thread as it was, and says why.
    fails = "pool";
    CHECK(c4c_stream_enter(1, 0, &entered, why, sizeof why) == -1 && std::strcmp(why, "pool does not work") == 0);
    CHECK(current_device == 0 && current_stream[1] == 6);
    CHECK(c4c_stream_enter(1, 101, &entered, why, sizeof why) == 0);
    fails = "record";
    CHECK(c4c_stream_follow(&entered, nullptr, why, 7) == -1 && std::strcmp(why, "record") == 0);
    CHECK(events == 0);
    fails = "synchronize";
    c4c_stream_leave(&entered);
    CHECK(current_device == 0 && current_stream[0] == 5 && current_stream[1] == 6);
    return 0;
}
