// Making, asking, moving and closing a model.

#include <atomic>
#include <functional>
#include <mutex>

#include "fixture.hpp"

using c4c::Model;
using c4c::Status;

TEST(Model, SaysWhatWasLoaded) {
    c4c::Options options = defaults();
    options.precision = c4c::Precision::f32;
    options.head = c4c::Head::mean;
    options.activation = c4c::Activation::gelu;
    options.device = "cpu";
    options.max_words = 16;
    options.max_batch = 3;
    const Model model(std::move(options));
    const c4c::Info info = model.info();
    EXPECT_EQ(info.dim, model.dim());
    EXPECT_EQ(info.modality, c4c::Modality::both);
    EXPECT_EQ(info.precision, c4c::Precision::f32);
    EXPECT_EQ(info.head, c4c::Head::mean);
    EXPECT_EQ(info.activation, c4c::Activation::gelu);
    EXPECT_EQ(info.num_threads, 2u);
    EXPECT_EQ(info.max_words, 16u);
    EXPECT_EQ(info.max_batch, 3u);
    EXPECT_EQ(info.device, "cpu");
    EXPECT_TRUE(info.device_note.empty()) << info.device_note;
    EXPECT_FALSE(info.weights.empty());
    EXPECT_FALSE(info.model_name.empty());
}

// Whatever the machine has: GPUs that can be used, or none and a reason.
TEST(Device, IsChosenOrMissingForAReason) {
    const c4c::CudaDevices gpus = c4c::cuda_devices();
    const auto create = [](const std::string& device) {
        c4c::Options options = defaults();
        options.device = device;
        return Model(options);
    };
    const c4c::Info chosen = create("auto").info();
    if (gpus.count == 0) {
        ASSERT_FALSE(gpus.reason.empty());
        EXPECT_EQ(chosen.device, "cpu");
        // The one has less room than the other.
        EXPECT_EQ(gpus.reason.find(chosen.device_note), 0u) << chosen.device_note;
        EXPECT_FALSE(chosen.device_note.empty());
        for (const char* device : {"cuda", "cuda:1", "cuda:0,cuda:1", "cuda:*"}) {
            expect_error(Status::device, gpus.reason, [&] { create(device); });
        }
    } else {
        EXPECT_EQ(gpus.reason, "");
        EXPECT_EQ(chosen.device, "cuda:0");
        EXPECT_EQ(chosen.precision, c4c::Precision::f16);
        EXPECT_EQ(chosen.device_note, "");
    }
    expect_error(Status::device, "`cuda:4095` cannot be used", [&] { create("cuda:4095"); });
    for (const char* device : {"gpu", "CUDA", "cuda:", "cuda:x", "cuda:0,", "cuda:0,cuda:0", "cpu,cuda"}) {
        const std::string named = "options.device is `" + std::string(device) + "`";
        expect_error(Status::invalid_argument, named, [&] { create(device); });
    }
    expect_error(Status::unsupported, "F16 is for GPUs", [] {
        c4c::Options options = defaults();
        options.device = "cpu";
        options.precision = c4c::Precision::f16;
        Model model(options);
    });
}

TEST(Model, GivesMemoryBackAndGoesOn) {
    const Model model(defaults());
    const std::vector<float> before = model.embed_text("a dog");
    model.trim();
    EXPECT_EQ(model.embed_text("a dog"), before);
    if (model.info().device == "cpu") {
        EXPECT_EQ(model.stats().device_bytes, 0u);
    }
}

#if __cplusplus >= 202002L
TEST(Model, TakesDesignatedInitialisers) {
    const Model model({.weights = weights(), .modality = c4c::Modality::text, .num_threads = 1});
    EXPECT_EQ(model.info().modality, c4c::Modality::text);
    EXPECT_EQ(model.embed_text("a dog", {.timeout = std::chrono::minutes(5)}).size(), model.dim());
    const std::vector<std::uint8_t> pixels = noise(12, 1);
    const c4c::Frame frame{
        .format = c4c::PixelFormat::rgb24, .width = 2, .height = 2, .planes = {pixels.data()}, .strides = {6}};
    expect_error(Status::modality, "", [&] { model.embed_image(frame); });
    expect_error(Status::modality, "", [&] { model.embed_video_path(video(), {.num_frames = 4}); });
}
#endif

TEST(Model, RefusesWhatTheLibraryDoesNotKnow) {
    const auto fails = [](Status status, const char* part, const std::function<void(c4c::Options&)>& set) {
        c4c::Options options = defaults();
        set(options);
        expect_error(status, part, [&] { Model model(options); });
    };
    const Status invalid = Status::invalid_argument;
    fails(invalid, "weights_path", [](auto& o) { o.weights = ""; });
    fails(Status::weights_io, "/nowhere/model.bin", [](auto& o) { o.weights = "/nowhere/model.bin"; });
    fails(invalid, "modality 77", [](auto& o) { o.modality = static_cast<c4c::Modality>(77); });
    fails(invalid, "precision 77", [](auto& o) { o.precision = static_cast<c4c::Precision>(77); });
    fails(invalid, "head 77", [](auto& o) { o.head = static_cast<c4c::Head>(77); });
    fails(invalid, "activation 77", [](auto& o) { o.activation = static_cast<c4c::Activation>(77); });
    fails(invalid, "log_level 77", [](auto& o) { o.log_level = static_cast<c4c::LogLevel>(77); });
    fails(invalid, "flags 0x10", [](auto& o) { o.flags = static_cast<c4c::OptionFlag>(16); });
    fails(invalid, "model_name", [](auto& o) { o.model_name = "no_such_model"; });
    fails(invalid, "device", [](auto& o) { o.device = "abacus"; });
    fails(invalid, "max_batch_delay is -1", [](auto& o) { o.max_batch_delay = std::chrono::microseconds(-1); });
    fails(invalid, "max_batch_delay is 7200000000", [](auto& o) { o.max_batch_delay = std::chrono::hours(2); });
    for (std::string c4c::Options::*field :
         {&c4c::Options::weights, &c4c::Options::model_name, &c4c::Options::tokenizer, &c4c::Options::device}) {
        fails(invalid, "has a NUL inside", [&](auto& o) { o.*field = std::string("a\0b", 3); });
    }
}

TEST(Model, MayBeEmpty) {
    std::uint8_t pixel[3] = {};
    const c4c::Frame frame = c4c::Frame::packed(c4c::PixelFormat::rgb24, pixel, 1, 1);
    Model model;
    const auto is_empty = [&] {
        EXPECT_FALSE(model);
        EXPECT_EQ(model.get(), nullptr);
        EXPECT_EQ(model.dim(), 0u);
        const auto fails = [](const auto& call) { expect_error(Status::invalid_argument, "model is NULL", call); };
        fails([&] { model.info(); });
        fails([&] { model.stats(); });
        fails([&] { model.trim(); });
        fails([&] { model.embed_text("a dog"); });
        fails([&] { model.embed_texts({"a dog", "a cat"}); });
        fails([&] { model.embed_image(frame); });
        fails([&] { model.embed_frames(c4c::Span<const c4c::Frame>(&frame, 1)); });
        fails([&] { model.score({"a dog"}, c4c::Span<const c4c::Frame>(&frame, 1)); });
        fails([&] { model.embed_video_path("dog.mp4"); });
        fails([&] { model.embed_video_memory(pixel); });
        fails([&] { model.embed_video_io(c4c::Reader()); });
        fails([&] { model.embed_video_paths({"dog.mp4"}); });
        fails([&] { model.embed_segments("dog.mp4", std::chrono::seconds(1), std::chrono::seconds(1)); });
    };
    is_empty();
    model = Model(defaults());
    EXPECT_TRUE(model);
    const std::vector<float> before = model.embed_text("a dog");
    Model other = std::move(model);
    is_empty();
    EXPECT_EQ(other.embed_text("a dog"), before);
    model = std::move(other);
    EXPECT_EQ(model.embed_text("a dog"), before);
    Model& same = model;
    model = std::move(same);
    EXPECT_EQ(model.embed_text("a dog"), before);
    model.close();
    is_empty();
    model.close();
}

// What a log function has heard; it notes how many such functions there are.
struct Heard {
    std::mutex mutex;
    std::vector<std::pair<c4c::LogLevel, std::string>> messages;
};

static c4c::LogFn log_to(const std::shared_ptr<Heard>& heard) {
    return [heard](c4c::LogLevel level, std::string_view message) {
        const std::lock_guard<std::mutex> lock(heard->mutex);
        EXPECT_EQ(message.data()[message.size()], '\0');
        heard->messages.emplace_back(level, message);
    };
}

TEST(Log, LivesAsLongAsTheModelAndMovesWithIt) {
    const auto heard = std::make_shared<Heard>();
    const auto functions = [&] { return heard.use_count() - 1; };
    c4c::Options options = defaults();
    options.log = log_to(heard);
    options.log_level = c4c::LogLevel::debug;
    Model model(std::move(options));
    options = {};
    EXPECT_EQ(functions(), 1);
    ASSERT_FALSE(heard->messages.empty());
    EXPECT_EQ(heard->messages[0].first, c4c::LogLevel::info);
    EXPECT_NE(heard->messages[0].second.find(weights()), std::string::npos) << heard->messages[0].second;

    Model moved = std::move(model);
    heard->messages.clear();
    moved.embed_video_paths({"/nowhere/dog.mp4"});
    ASSERT_EQ(heard->messages.size(), 1u);
    EXPECT_EQ(heard->messages[0].first, c4c::LogLevel::warn);
    EXPECT_NE(heard->messages[0].second.find("/nowhere/dog.mp4"), std::string::npos);

    moved = Model();
    EXPECT_EQ(functions(), 0);

    // One that never became a model leaves nothing behind.
    c4c::Options bad;
    bad.weights = "/nowhere/model.bin";
    bad.log = log_to(heard);
    expect_error(Status::weights_io, "", [&] { Model none(std::move(bad)); });
    bad = {};
    EXPECT_EQ(functions(), 0);
}

TEST(Log, MayThrow) {
    std::atomic<int> calls{0};
    c4c::Options options = defaults();
    options.log = [&](c4c::LogLevel, std::string_view) {
        ++calls;
        throw std::runtime_error("a log that throws");
    };
    const Model model(std::move(options));
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(model.embed_text("a dog").size(), model.dim());
}

TEST(Log, TellsOfNothingBelowItsLevel) {
    std::atomic<int> calls{0};
    c4c::Options options = defaults();
    options.log = [&](c4c::LogLevel, std::string_view) { ++calls; };
    options.log_level = c4c::LogLevel::warn;
    const Model model(std::move(options));
    EXPECT_EQ(calls, 0);
}

TEST(Stats, CountCalls) {
    const Model model(defaults());
    model.embed_texts({"a dog", "a cat"});
    expect_error(Status::invalid_argument, "", [&] { model.embed_texts({}); });
    const c4c::Stats stats = model.stats();
    EXPECT_EQ(stats.calls, 2u);
    EXPECT_EQ(stats.running, 0u);
    EXPECT_EQ(stats.failed_argument, 1u);
    EXPECT_EQ(stats.texts, 2u);
    EXPECT_EQ(stats.text_batches, 1u);
    EXPECT_EQ(stats.mean_text_batch, 2.0);
    EXPECT_GT(stats.text_forward.count(), 0);
}
