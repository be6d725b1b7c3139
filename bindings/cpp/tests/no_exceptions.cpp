// The calls that throw nothing, compiled without exceptions and run-time types.

#include <c4c.hpp>
#include <cstdlib>
#include <fstream>

#if C4C_HPP_EXCEPTIONS
#error "this is to be compiled with -fno-exceptions"
#endif

namespace {

[[noreturn]] void fail(int line, const char* what, const char* message = "") {
    std::fprintf(stderr, "no_exceptions.cpp:%d: %s %s\n", line, what, message);
    std::exit(1);
}

template <class T>
T must(c4c::Result<T> result, int line) {
    if (!result) fail(line, "failed:", result.message());
    return *std::move(result);
}

}  // namespace

#define CHECK(condition) \
    if (!(condition)) fail(__LINE__, #condition)
#define MUST(call) must(call, __LINE__)

int main() {
    const char* const weights = std::getenv("C4C_TEST_WEIGHTS");
    const char* const video = std::getenv("C4C_TEST_VIDEO");
    if (weights == nullptr || video == nullptr) {
        fail(__LINE__, "C4C_TEST_WEIGHTS must name a checkpoint with both towers, C4C_TEST_VIDEO a video");
    }
    int logged = 0;
    c4c::Options options;
    options.weights = weights;
    options.num_threads = 2;
    options.log = [&](c4c::LogLevel, std::string_view) { logged++; };
    const c4c::Model model = MUST(c4c::Model::try_create(options));
    CHECK(logged == 1);
    const c4c::Info info = MUST(model.try_info());
    CHECK(info.dim == model.dim());
    const c4c::CudaDevices gpus = MUST(c4c::try_cuda_devices());
    CHECK((gpus.count == 0) == !gpus.reason.empty());
    CHECK((gpus.count == 0) == !info.device_note.empty());
    CHECK(model.try_trim());

    const std::vector<float> text = MUST(model.try_embed_text("a dog"));
    std::vector<float> out(2 * model.dim());
    CHECK(model.try_embed_text("a dog", c4c::Span<float>(out.data(), model.dim())));
    CHECK(std::equal(text.begin(), text.end(), out.begin()));
    CHECK(MUST(model.try_embed_texts({"a dog", "a cat"})).rows() == 2);

    const std::vector<std::uint8_t> pixels(3 * 16 * 16, 128);
    const c4c::Frame frame = c4c::Frame::packed(c4c::PixelFormat::rgb24, pixels.data(), 16, 16);
    const std::vector<c4c::Frame> frames(2, frame);
    CHECK(MUST(model.try_embed_image(frame)).size() == model.dim());
    CHECK(MUST(model.try_embed_images(frames)).rows() == 2);
    CHECK(MUST(model.try_embed_frames(frames)).size() == model.dim());
    CHECK(MUST(model.try_score({"a dog", "a cat"}, frames)).size() == 2);

    const std::vector<float> expected = MUST(model.try_embed_video_path(video));
    std::ifstream file(video, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    CHECK(MUST(model.try_embed_video_memory(bytes)) == expected);
    file.clear();
    file.seekg(0);
    CHECK(MUST(model.try_embed_video_io(c4c::Reader::from(file))) == expected);
    std::size_t told = 0;
    const auto progress = [&](std::size_t done, std::size_t) { return told = done, true; };
    const c4c::VideoBatch batch = MUST(model.try_embed_video_paths({video, "/nowhere"}, {}, {}, progress));
    CHECK(batch.statuses[0] == c4c::Status::ok && batch.statuses[1] == c4c::Status::media_io);
    CHECK(told == 2);
    const std::chrono::seconds second(1);
    CHECK(MUST(model.try_embed_segments(video, second, second)).size() > 0);
    CHECK(MUST(c4c::try_similarity(text, text))[0][0] > 0.999f);

    CHECK(model.try_embed_text("\xff").status() == c4c::Status::invalid_argument);
    CHECK(c4c::Model::try_create({}).status() == c4c::Status::invalid_argument);
    CHECK(c4c::Model().try_trim().status() == c4c::Status::invalid_argument);
    CHECK(c4c::Model().try_embed_text("a dog").status() == c4c::Status::invalid_argument);
    c4c::Cancel cancel;
    cancel.fire();
    CHECK(model.try_embed_text("a dog", {{}, &cancel}).status() == c4c::Status::cancelled);
    CHECK(MUST(model.try_stats()).cancelled == 1);
    std::puts("done");
}
