// Every field arrives where it belongs. The library's functions are stood in for by some that keep what they are given.

#include <gtest/gtest.h>

#include <c4c.hpp>
#include <cstring>

namespace {

std::uint32_t version = C4C_ABI_VERSION;
std::size_t dim = 2;
bool created = false;
c4c_options options;
std::string strings[4];
c4c_call limits;
c4c_video_options how;
c4c_info info;
c4c_stats stats;
c4c_frame frames[2];
const c4c_model* trimmed = nullptr;
std::uint32_t gpus = 0;
const char kept_name[] = "a name";

c4c_model* a_model() {
    static int model;
    return reinterpret_cast<c4c_model*>(&model);
}

}  // namespace

std::uint32_t c4c_abi_version() { return version; }

c4c_status c4c_create(const c4c_options* given, c4c_model** out, c4c_error*) {
    options = *given;
    const char* const texts[] = {given->model_name, given->weights_path, given->tokenizer_path, given->device};
    for (std::size_t i = 0; i < 4; i++) strings[i] = texts[i] != nullptr ? texts[i] : "NULL";
    created = true;
    *out = a_model();
    return C4C_OK;
}

void c4c_free(c4c_model*) {
    if (options.log != nullptr) options.log(options.log_user_data, C4C_LOG_WARN, "going");
    options.log = nullptr;
}

std::size_t c4c_dim(const c4c_model*) { return dim; }

c4c_status c4c_get_info(const c4c_model*, c4c_info* out, c4c_error*) {
    EXPECT_EQ(out->struct_size, sizeof *out);
    *out = info;
    return C4C_OK;
}

c4c_status c4c_get_stats(const c4c_model*, c4c_stats* out, c4c_error*) {
    EXPECT_EQ(out->struct_size, sizeof *out);
    *out = stats;
    return C4C_OK;
}

c4c_status c4c_trim(const c4c_model* model, c4c_error* err) {
    EXPECT_EQ(err->struct_size, sizeof *err);
    trimmed = model;
    return C4C_OK;
}

c4c_status c4c_cuda_devices(std::uint32_t* out_count, c4c_error* err) {
    EXPECT_EQ(err->struct_size, sizeof *err);
    *out_count = gpus;
    std::strcpy(err->message, gpus == 0 ? "no driver" : "");
    return C4C_OK;
}

c4c_status c4c_embed_images(const c4c_model*, const c4c_frame* given, std::size_t n, const c4c_call*, float*,
                            std::size_t, c4c_error*) {
    for (std::size_t i = 0; i < n; i++) frames[i] = given[i];
    return C4C_OK;
}

c4c_status c4c_embed_video_path(const c4c_model*, const char*, const c4c_video_options* video, const c4c_call* call,
                                float*, std::size_t, c4c_error* err) {
    EXPECT_EQ(err->struct_size, sizeof *err);
    how = *video;
    limits = *call;
    return C4C_OK;
}

// Asks again although it was told no.
c4c_status c4c_embed_video_io(const c4c_model*, const c4c_io* io, const c4c_video_options*, const c4c_call*, float*,
                              std::size_t, c4c_error*) {
    EXPECT_EQ(io->struct_size, sizeof *io);
    EXPECT_EQ(io->read(io->user_data, nullptr, 1), -1);
    EXPECT_EQ(io->read(io->user_data, nullptr, 1), -1);
    EXPECT_EQ(io->seek(io->user_data, 0, SEEK_SET), -1);
    return C4C_OK;
}

c4c_cancel* c4c_cancel_new() {
    static int token;
    return reinterpret_cast<c4c_cancel*>(&token);
}

void c4c_cancel_free(c4c_cancel*) {}

TEST(Fields, OfOptions) {
    c4c::Options o;
    c4c::Model defaults = c4c::Model(o);
    EXPECT_EQ(options.struct_size, sizeof options);
    c4c_options zero = {};
    zero.struct_size = sizeof zero;
    EXPECT_EQ(std::memcmp(&options, &zero, sizeof zero), 0) << "a default is not zero";

    o.weights = "weights";
    o.modality = c4c::Modality::video;
    o.model_name = "name";
    o.tokenizer = "tokenizer";
    o.device = "device";
    o.precision = c4c::Precision::int8;
    o.head = c4c::Head::tight_transf;
    o.activation = c4c::Activation::gelu;
    o.max_words = 11;
    o.flags = c4c::OptionFlag::raw_output | c4c::OptionFlag::strict_text | c4c::OptionFlag::no_cuda_graphs;
    o.num_threads = 12;
    o.max_batch = 13;
    o.max_batch_delay = std::chrono::microseconds(0xffffffff);
    std::string heard;
    o.log = [&](c4c::LogLevel level, std::string_view text) {
        EXPECT_EQ(level, c4c::LogLevel::warn);
        heard = text;
    };
    o.log_level = c4c::LogLevel::debug;
    const c4c::Model model(std::move(o));
    EXPECT_EQ(options.struct_size, sizeof options);
    EXPECT_EQ(options.modality, std::uint32_t{C4C_MODALITY_VIDEO});
    EXPECT_EQ(strings[0], "name");
    EXPECT_EQ(strings[1], "weights");
    EXPECT_EQ(strings[2], "tokenizer");
    EXPECT_EQ(strings[3], "device");
    EXPECT_EQ(options.precision, std::uint32_t{C4C_PRECISION_INT8});
    EXPECT_EQ(options.head, std::uint32_t{C4C_HEAD_TIGHT_TRANSF});
    EXPECT_EQ(options.activation, std::uint32_t{C4C_ACTIVATION_GELU});
    EXPECT_EQ(options.max_words, 11u);
    EXPECT_EQ(options.flags, 7u);
    EXPECT_EQ(options.num_threads, 12u);
    EXPECT_EQ(options.max_batch, 13u);
    EXPECT_EQ(options.max_batch_delay_us, 0xffffffffu);
    EXPECT_EQ(options.log_level, std::uint32_t{C4C_LOG_DEBUG});
    EXPECT_EQ(options.reserved, 0u);
    ASSERT_NE(options.log, nullptr);
    options.log(options.log_user_data, C4C_LOG_WARN, "a message");
    EXPECT_EQ(heard, "a message");
}

TEST(Fields, OfVideoOptionsAndCall) {
    const c4c::Model model{c4c::Options()};
    model.embed_video_path("");
    c4c_video_options zero = {};
    zero.struct_size = sizeof zero;
    EXPECT_EQ(std::memcmp(&how, &zero, sizeof zero), 0) << "a default is not zero";
    c4c_call none = {};
    none.struct_size = sizeof none;
    EXPECT_EQ(std::memcmp(&limits, &none, sizeof none), 0) << "a default is not zero";

    c4c::VideoOptions v;
    v.num_frames = 1;
    v.sampling = c4c::Sampling::fps;
    v.seek = c4c::Seek::approximate;
    v.fps = 1.5;
    v.start = std::chrono::seconds(2);
    v.end = std::chrono::milliseconds(3);
    v.color = c4c::Color::operator_;
    v.flags = c4c::VideoFlag::allow_network | c4c::VideoFlag::strict_decode;
    v.decode_threads = 4;
    v.stream_index = 5;
    v.max_pixels = 1ull << 40;
    v.hwaccel = c4c::HwAccel::cuda;
    v.hwaccel_device = 6;
    const c4c::Cancel cancel;
    model.embed_video_path("", v, {std::chrono::minutes(1), &cancel});
    EXPECT_EQ(how.struct_size, sizeof how);
    EXPECT_EQ(how.num_frames, 1u);
    EXPECT_EQ(how.sampling, std::uint32_t{C4C_SAMPLING_FPS});
    EXPECT_EQ(how.seek, std::uint32_t{C4C_SEEK_APPROXIMATE});
    EXPECT_EQ(how.fps, 1.5);
    EXPECT_EQ(how.start_us, 2000000);
    EXPECT_EQ(how.end_us, 3000);
    EXPECT_EQ(how.color, std::uint32_t{C4C_COLOR_OPERATOR});
    EXPECT_EQ(how.flags, 6u);
    EXPECT_EQ(how.decode_threads, 4u);
    EXPECT_EQ(how.stream_index_plus_1, 6u);
    EXPECT_EQ(how.max_pixels, 1ull << 40);
    EXPECT_EQ(how.hwaccel, std::uint32_t{C4C_HWACCEL_CUDA});
    EXPECT_EQ(how.hwaccel_device, 6u);
    EXPECT_EQ(limits.struct_size, sizeof limits);
    EXPECT_EQ(limits.timeout_us, 60000000);
    EXPECT_EQ(limits.cancel, cancel.get());
    v.stream_index = 0;
    model.embed_video_path("", v);
    EXPECT_EQ(how.stream_index_plus_1, 1u);
}

TEST(Fields, OfInfo) {
    std::uint32_t next = 100;
    for (std::uint32_t* field :
         {&info.dim, &info.modality, &info.head, &info.activation, &info.precision, &info.num_threads, &info.max_batch,
          &info.max_words, &info.image_size, &info.patch_size, &info.vision_width, &info.vision_layers,
          &info.text_width, &info.text_layers, &info.context_length, &info.vocab_size}) {
        *field = next++;
    }
    info.logit_scale = 4.5f;
    std::strcpy(info.device, "a device");
    std::strcpy(info.model_name, kept_name);
    std::strcpy(info.weights, "some weights");
    std::strcpy(info.device_note, "a reason");
    const c4c::Info i = c4c::Model(c4c::Options()).info();
    EXPECT_EQ(i.dim, 100u);
    EXPECT_EQ(static_cast<std::uint32_t>(i.modality), 101u);
    EXPECT_EQ(static_cast<std::uint32_t>(i.head), 102u);
    EXPECT_EQ(static_cast<std::uint32_t>(i.activation), 103u);
    EXPECT_EQ(static_cast<std::uint32_t>(i.precision), 104u);
    EXPECT_EQ(i.num_threads, 105u);
    EXPECT_EQ(i.max_batch, 106u);
    EXPECT_EQ(i.max_words, 107u);
    EXPECT_EQ(i.image_size, 108u);
    EXPECT_EQ(i.patch_size, 109u);
    EXPECT_EQ(i.vision_width, 110u);
    EXPECT_EQ(i.vision_layers, 111u);
    EXPECT_EQ(i.text_width, 112u);
    EXPECT_EQ(i.text_layers, 113u);
    EXPECT_EQ(i.context_length, 114u);
    EXPECT_EQ(i.vocab_size, 115u);
    EXPECT_EQ(i.logit_scale, 4.5f);
    EXPECT_EQ(i.device, "a device");
    EXPECT_EQ(i.model_name, kept_name);
    EXPECT_EQ(i.weights, "some weights");
    EXPECT_EQ(i.device_note, "a reason");
}

TEST(Fields, OfStats) {
    std::uint64_t next = 1ull << 33;
    for (std::uint64_t* field :
         {&stats.calls, &stats.running, &stats.failed_argument, &stats.failed_media, &stats.failed_memory,
          &stats.failed_other, &stats.cancelled, &stats.timed_out, &stats.texts, &stats.images, &stats.text_batches,
          &stats.image_batches, &stats.queued_texts, &stats.queued_images, &stats.waiting_calls, &stats.bytes_held}) {
        *field = next++;
    }
    stats.mean_text_batch = 1.5;
    stats.mean_image_batch = 2.5;
    stats.queue_us = 1;
    stats.decode_us = 2;
    stats.preprocess_us = 3;
    stats.text_forward_us = 4;
    stats.image_forward_us = 5;
    stats.device_bytes = 1ull << 34;
    const c4c::Stats s = c4c::Model(c4c::Options()).stats();
    const std::uint64_t first = 1ull << 33;
    EXPECT_EQ(s.calls, first);
    EXPECT_EQ(s.running, first + 1);
    EXPECT_EQ(s.failed_argument, first + 2);
    EXPECT_EQ(s.failed_media, first + 3);
    EXPECT_EQ(s.failed_memory, first + 4);
    EXPECT_EQ(s.failed_other, first + 5);
    EXPECT_EQ(s.cancelled, first + 6);
    EXPECT_EQ(s.timed_out, first + 7);
    EXPECT_EQ(s.texts, first + 8);
    EXPECT_EQ(s.images, first + 9);
    EXPECT_EQ(s.text_batches, first + 10);
    EXPECT_EQ(s.image_batches, first + 11);
    EXPECT_EQ(s.queued_texts, first + 12);
    EXPECT_EQ(s.queued_images, first + 13);
    EXPECT_EQ(s.waiting_calls, first + 14);
    EXPECT_EQ(s.bytes_held, first + 15);
    EXPECT_EQ(s.mean_text_batch, 1.5);
    EXPECT_EQ(s.mean_image_batch, 2.5);
    EXPECT_EQ(s.queue.count(), 1);
    EXPECT_EQ(s.decode.count(), 2);
    EXPECT_EQ(s.preprocess.count(), 3);
    EXPECT_EQ(s.text_forward.count(), 4);
    EXPECT_EQ(s.image_forward.count(), 5);
    EXPECT_EQ(s.device_bytes, 1ull << 34);
}

TEST(Fields, OfFrames) {
    const c4c::Model model{c4c::Options()};
    const std::uint8_t pixels[8] = {};
    int stream = 0;
    const c4c::Frame here = c4c::Frame::nv12(pixels, 2, pixels + 4, 2, 2, 2);
    const c4c::Frame both[] = {here, here.on_cuda(3, &stream)};
    model.embed_images(both);
    for (const c4c_frame& frame : frames) {
        EXPECT_EQ(frame.struct_size, sizeof frame);
        EXPECT_EQ(frame.format, std::uint32_t{C4C_PIXEL_NV12});
        EXPECT_EQ(frame.planes[1], pixels + 4);
        EXPECT_EQ(frame.strides[1], 2);
    }
    EXPECT_EQ(frames[0].location, std::uint32_t{C4C_LOCATION_HOST});
    EXPECT_EQ(frames[0].device_index, 0u);
    EXPECT_EQ(frames[0].stream, nullptr);
    EXPECT_EQ(frames[1].location, std::uint32_t{C4C_LOCATION_CUDA});
    EXPECT_EQ(frames[1].device_index, 3u);
    EXPECT_EQ(frames[1].stream, &stream);
    EXPECT_EQ(here.on_cuda(0, nullptr).stream, nullptr);
}

TEST(Trim, IsOfTheModel) {
    const c4c::Model model{c4c::Options()};
    model.trim();
    EXPECT_EQ(trimmed, model.get());
}

TEST(CudaDevices, AreCountedOrMissingForAReason) {
    gpus = 0;
    EXPECT_EQ(c4c::cuda_devices().count, 0u);
    EXPECT_EQ(c4c::cuda_devices().reason, "no driver");
    gpus = 8;
    EXPECT_EQ(c4c::cuda_devices().count, 8u);
    EXPECT_EQ(c4c::cuda_devices().reason, "");
}

TEST(Log, IsThereUntilTheModelIsGone) {
    int heard = 0;
    c4c::Options o;
    o.log = [&](c4c::LogLevel, std::string_view message) { heard += message == "going"; };
    c4c::Model model(o);
    model = c4c::Model();
    EXPECT_EQ(heard, 1);
    model = c4c::Model(o);
    model.close();
    EXPECT_EQ(heard, 2);
    { const c4c::Model other(o); }
    EXPECT_EQ(heard, 3);
    c4c::Model first(o);
    c4c::Model second = std::move(first);
    first = std::move(second);
    EXPECT_EQ(heard, 3);
    first.close();
    EXPECT_EQ(heard, 4);
}

TEST(Reader, IsNotAskedAgainOnceItHasThrown) {
    int calls = 0;
    c4c::Reader reader;
    reader.read = [&](std::uint8_t*, std::size_t) -> std::int64_t { throw ++calls; };
    reader.seek = [&](std::int64_t, c4c::Whence) -> std::int64_t { throw ++calls; };
    EXPECT_THROW(c4c::Model(c4c::Options()).embed_video_io(reader), int);
    EXPECT_EQ(calls, 1);
}

TEST(Memory, ThatRunsOutIsAStatus) {
    const c4c::Model model{c4c::Options()};
    const auto fails = [&](std::size_t floats) {
        dim = floats;
        EXPECT_EQ(model.try_embed_video_path("").status(), c4c::Status::out_of_memory);
        EXPECT_THROW(model.embed_video_path(""), c4c::Error);
    };
    // More than a vector takes.
    fails(~std::size_t{0});
#ifndef C4C_SANITIZE
    // More than there is. AddressSanitizer's allocator would end the process.
    fails(std::size_t{1} << 58);
#endif
    dim = 2;
    EXPECT_EQ(model.embed_video_path("").size(), 2u);
}

TEST(Abi, AnotherOneIsRefusedBeforeAnythingElse) {
    version = C4C_ABI_VERSION + 1;
    created = false;
    EXPECT_FALSE(c4c::abi_matches());
    const c4c::Result<c4c::Model> model = c4c::Model::try_create({});
    version = C4C_ABI_VERSION;
    EXPECT_EQ(model.status(), c4c::Status::unsupported);
    EXPECT_STREQ(model.message(), "the loaded libc4c has interface 1, c4c.h has 0");
    EXPECT_FALSE(created);
}
