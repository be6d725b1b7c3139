// Texts and pictures.

#include <thread>

#include "fixture.hpp"

using c4c::Frame;
using c4c::PixelFormat;
using c4c::Span;
using c4c::Status;

namespace {

// As the C function says it.
std::vector<float> text_by_c(const c4c::Model& model, const char* text) {
    std::vector<float> out(model.dim());
    EXPECT_EQ(c4c_embed_text(model.get(), &text, 1, nullptr, out.data(), out.size(), nullptr), C4C_OK);
    return out;
}

std::vector<float> image_by_c(const c4c::Model& model, const c4c_frame& frame) {
    std::vector<float> out(model.dim());
    EXPECT_EQ(c4c_embed_images(model.get(), &frame, 1, nullptr, out.data(), out.size(), nullptr), C4C_OK);
    return out;
}

c4c_frame c_frame(std::uint32_t format, std::uint32_t width, std::uint32_t height) {
    c4c_frame frame = {};
    frame.struct_size = sizeof frame;
    frame.format = format;
    frame.width = width;
    frame.height = height;
    return frame;
}

}  // namespace

TEST(Text, IsWhatCSays) {
    const c4c::Model& model = shared_model();
    const std::string text = "a dog runs on the beach";
    const std::vector<float> vector = model.embed_text(text);
    EXPECT_EQ(vector, text_by_c(model, text.c_str()));
    EXPECT_NEAR(norm(vector), 1, 1e-5);
    std::vector<float> out(model.dim() + 1, 7);
    model.embed_text(text.c_str(), out);
    EXPECT_EQ(out.back(), 7);
    out.pop_back();
    EXPECT_EQ(out, vector);
}

TEST(Text, SeveralAreRows) {
    const c4c::Model& model = shared_model();
    const std::vector<std::string> texts{"a dog", "a cat", ""};
    const c4c::Matrix rows = model.embed_texts(texts);
    ASSERT_EQ(rows.rows(), 3u);
    ASSERT_EQ(rows.cols(), model.dim());
    for (std::size_t i = 0; i < 3; i++) EXPECT_EQ(copy(rows[i]), text_by_c(model, texts[i].c_str()));
    EXPECT_EQ(model.embed_texts({"a dog", texts[1], ""}).values(), rows.values());
    const char* pointers[] = {"a dog", "a cat", ""};
    EXPECT_EQ(model.embed_texts(pointers).values(), rows.values());
    EXPECT_EQ(model.embed_texts({pointers, 3}).values(), rows.values());
    std::vector<float> out(3 * model.dim());
    model.embed_texts(texts, out);
    EXPECT_EQ(out, rows.values());
}

TEST(Text, ErrorsNameTheThingAndWriteNothing) {
    const c4c::Model& model = shared_model();
    std::vector<float> out(model.dim(), 7);
    const std::vector<float> untouched = out;
    const Status invalid = Status::invalid_argument;
    expect_error(invalid, "n_texts", [&] { model.embed_texts(std::vector<std::string>(), out); });
    expect_error(invalid, "texts[0] is NULL", [&] { model.embed_text(nullptr, out); });
    expect_error(invalid, "texts[1] is not UTF-8", [&] { model.embed_texts({"a", "\xff"}, out); });
    expect_error(invalid, "text has a NUL inside", [&] { model.embed_text(std::string("a\0b", 3), out); });
    expect_error(invalid, "texts[1] has a NUL", [&] { model.embed_texts({"a", std::string("a\0b", 3)}, out); });
    expect_error(invalid, "timeout_us is -1", [&] { model.embed_text("a", out, {std::chrono::microseconds(-1)}); });
    expect_error(Status::buffer_too_small, std::to_string(2 * model.dim()), [&] {
        model.embed_texts({"a", "b"}, out);
    });
    EXPECT_EQ(out, untouched);
}

TEST(Text, StrictModelsRefuseLongOnes) {
    c4c::Options options = defaults();
    options.max_words = 4;
    options.flags = c4c::OptionFlag::strict_text | c4c::OptionFlag::raw_output;
    const c4c::Model model(std::move(options));
    expect_error(Status::text_too_long, "", [&] { model.embed_text("one two three four five"); });
    EXPECT_GT(std::abs(norm(model.embed_text("one")) - 1), 1e-3);
}

TEST(Limits, EndCalls) {
    const c4c::Model& model = shared_model();
    c4c::Cancel cancel;
    EXPECT_EQ(model.embed_text("a dog", {std::chrono::hours(1), &cancel}).size(), model.dim());
    cancel.fire();
    expect_error(Status::cancelled, "", [&] { model.embed_text("a dog", {{}, &cancel}); });
    const auto past = std::chrono::steady_clock::now() - std::chrono::seconds(1);
    expect_error(Status::timeout, "", [&] { model.embed_texts({"a", "b"}, c4c::Call::until(past)); });
    // The longest there is.
    EXPECT_TRUE(model.try_embed_text("a dog", c4c::Call{std::chrono::microseconds::max()}));
}

TEST(Try, SaysWhyNot) {
    const c4c::Model& model = shared_model();
    const c4c::Result<std::vector<float>> good = model.try_embed_text("a dog");
    ASSERT_TRUE(good);
    EXPECT_EQ(*good, model.embed_text("a dog"));
    const c4c::Result<c4c::Matrix> bad = model.try_embed_texts({"a", "\xff"});
    EXPECT_FALSE(bad);
    EXPECT_EQ(bad.status(), Status::invalid_argument);
    EXPECT_STREQ(bad.message(), "texts[1] is not UTF-8");
    c4c::Options options;
    options.weights = "/nowhere/model.bin";
    EXPECT_EQ(c4c::Model::try_create(options).status(), Status::weights_io);
}

TEST(Image, EveryFormatIsWhatCSays) {
    const c4c::Model& model = shared_model();
    const std::uint32_t width = 30, height = 22;
    const struct {
        PixelFormat format;
        std::uint32_t c, bytes;
    } formats[] = {{PixelFormat::rgb24, C4C_PIXEL_RGB24, 3},
                   {PixelFormat::bgr24, C4C_PIXEL_BGR24, 3},
                   {PixelFormat::rgba, C4C_PIXEL_RGBA, 4},
                   {PixelFormat::bgra, C4C_PIXEL_BGRA, 4},
                   {PixelFormat::gray8, C4C_PIXEL_GRAY8, 1}};
    for (const auto& [format, c, bytes] : formats) {
        for (const std::uint32_t gap : {0u, 5u}) {
            const std::int64_t stride = width * bytes + gap;
            const auto pixels = noise(static_cast<std::size_t>(stride) * height, c);
            c4c_frame frame = c_frame(c, width, height);
            frame.planes[0] = pixels.data();
            frame.strides[0] = stride;
            const auto ours = Frame::packed(format, pixels.data(), width, height, gap == 0 ? 0 : stride);
            EXPECT_EQ(model.embed_image(ours), image_by_c(model, frame)) << c;
        }
    }

    const auto y = noise(32 * height, 1), u = noise(16 * height / 2, 2), v = noise(20 * height / 2, 3);
    const auto uv = noise(34 * height / 2, 4);
    c4c_frame i420 = c_frame(C4C_PIXEL_I420, width, height);
    c4c_frame nv12 = c_frame(C4C_PIXEL_NV12, width, height);
    i420.planes[0] = nv12.planes[0] = y.data();
    i420.strides[0] = nv12.strides[0] = 32;
    i420.planes[1] = u.data(), i420.planes[2] = v.data(), nv12.planes[1] = uv.data();
    i420.strides[1] = 16, i420.strides[2] = 20, nv12.strides[1] = 34;
    EXPECT_EQ(model.embed_image(Frame::i420(y.data(), 32, u.data(), 16, v.data(), 20, width, height)),
              image_by_c(model, i420));
    EXPECT_EQ(model.embed_image(Frame::nv12(y.data(), 32, uv.data(), 34, width, height)), image_by_c(model, nv12));

    // Colours and turning reach the library, and matter.
    Frame colored = Frame::nv12(y.data(), 32, uv.data(), 34, width, height);
    const std::vector<float> plain = model.embed_image(colored);
    colored.color_matrix = c4c::ColorMatrix::bt2020;
    colored.color_range = c4c::ColorRange::full;
    colored.rotation = 90;
    nv12.color_matrix = C4C_MATRIX_BT2020;
    nv12.color_range = C4C_RANGE_FULL;
    nv12.rotation = 90;
    EXPECT_EQ(model.embed_image(colored), image_by_c(model, nv12));
    EXPECT_NE(model.embed_image(colored), plain);
}

TEST(Image, BottomUpIsTheSamePicture) {
    const c4c::Model& model = shared_model();
    const auto pixels = noise(3 * 8 * 8, 5);
    std::vector<std::uint8_t> flipped;
    for (std::size_t row = 8; row-- > 0;) flipped.insert(flipped.end(), &pixels[24 * row], &pixels[24 * row] + 24);
    const Frame top = Frame::packed(PixelFormat::rgb24, pixels.data(), 8, 8);
    const Frame bottom = Frame::packed(PixelFormat::rgb24, &flipped[24 * 7], 8, 8, -24);
    EXPECT_EQ(model.embed_image(top), model.embed_image(bottom));
}

TEST(Image, SeveralAreRowsAndFramesAreOneVector) {
    const c4c::Model& model = shared_model();
    std::vector<std::vector<std::uint8_t>> pixels;
    std::vector<Frame> frames;
    for (std::uint32_t i = 0; i < 3; i++) {
        pixels.push_back(noise(3 * 40 * 30, i));
        frames.push_back(Frame::packed(PixelFormat::rgb24, pixels[i].data(), 40, 30));
    }
    const c4c::Matrix rows = model.embed_images(frames);
    ASSERT_EQ(rows.rows(), 3u);
    for (std::size_t i = 0; i < 3; i++) EXPECT_EQ(copy(rows[i]), model.embed_image(frames[i]));
    std::vector<float> out(3 * model.dim());
    model.embed_images(frames, out);
    EXPECT_EQ(out, rows.values());

    const std::vector<float> video = model.embed_frames(frames);
    EXPECT_EQ(video.size(), model.dim());
    EXPECT_NEAR(norm(video), 1, 1e-5);
    model.embed_frames(frames, out);
    EXPECT_EQ(std::vector<float>(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(model.dim())), video);

    // By meanP's rule: the cosine times the temperature.
    const std::vector<float> scores = model.score({"a dog", "a cat"}, frames);
    const c4c::Matrix cosines = c4c::similarity(model.embed_texts({"a dog", "a cat"}), video);
    ASSERT_EQ(scores.size(), 2u);
    const float scale = std::exp(model.info().logit_scale);
    for (std::size_t i = 0; i < 2; i++)
        EXPECT_NEAR(scores[i], scale * cosines[i][0], 1e-3 * static_cast<double>(scale));
    float into[2] = {};
    model.score({"a dog", "a cat"}, frames, into);
    EXPECT_EQ(copy(into), scores);
}

TEST(Image, RefusesWhatTheLibraryDoesNotKnow) {
    const c4c::Model& model = shared_model();
    const auto pixels = noise(12, 1);
    const auto fails = [&](Status status, const char* part, auto set) {
        Frame frame = Frame::packed(PixelFormat::rgb24, pixels.data(), 2, 2);
        set(frame);
        expect_error(status, part, [&] { model.embed_image(frame); });
    };
    const Status invalid = Status::invalid_argument;
    fails(invalid, "format 77", [](Frame& f) { f.format = static_cast<PixelFormat>(77); });
    fails(invalid, "format 0", [](Frame& f) { f = Frame(); });
    fails(invalid, "color_matrix 77", [](Frame& f) { f.color_matrix = static_cast<c4c::ColorMatrix>(77); });
    fails(invalid, "color_range 77", [](Frame& f) { f.color_range = static_cast<c4c::ColorRange>(77); });
    fails(Status::unsupported, "color_range", [](Frame& f) { f.color_range = c4c::ColorRange::limited; });
    fails(invalid, "rotation is 45", [](Frame& f) { f.rotation = 45; });
    fails(invalid, "0x2 pixels", [](Frame& f) { f.width = 0; });
    fails(invalid, "stride", [](Frame& f) { f.strides[0] = 5; });
    fails(invalid, "planes[0]", [](Frame& f) { f.planes[0] = nullptr; });
    // A planar format needs its other planes.
    fails(invalid, "planes[1]", [&](Frame& f) { f = Frame::packed(PixelFormat::nv12, pixels.data(), 2, 2); });
    const Frame none[] = {Frame()};
    expect_error(invalid, "n_frames", [&] { model.embed_frames(Span<const Frame>(none, 0)); });
}

TEST(Threads, ShareOneModel) {
    const c4c::Model& model = shared_model();
    const auto pixels = noise(3 * 40 * 30, 9);
    const Frame frame = Frame::packed(PixelFormat::rgb24, pixels.data(), 40, 30);
    const std::vector<float> text = model.embed_text("a dog"), image = model.embed_image(frame);
    std::vector<int> wrong(8);
    std::vector<std::thread> threads;
    for (int& count : wrong) {
        threads.emplace_back([&] {
            for (int i = 0; i < 20; i++) {
                count += model.embed_text("a dog") != text;
                count += model.embed_image(frame) != image;
                count += model.stats().calls == 0;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, std::vector<int>(8));
}
