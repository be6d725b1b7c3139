// Video files: by path, in memory, read by functions, many, and in windows.

#include <limits>
#include <sstream>
#include <thread>

#include "fixture.hpp"

using c4c::Reader;
using c4c::Status;
using c4c::VideoOptions;
using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

std::vector<float> by_c(const c4c_video_options* options) {
    const c4c::Model& model = shared_model();
    const std::string path = video();
    std::vector<float> out(model.dim());
    EXPECT_EQ(c4c_embed_video_path(model.get(), path.c_str(), options, nullptr, out.data(), out.size(), nullptr),
              C4C_OK);
    return out;
}

// Bytes in memory as a stream that cannot go back.
class Pipe : public std::streambuf {
public:
    explicit Pipe(std::vector<char>& bytes) { setg(bytes.data(), bytes.data(), bytes.data() + bytes.size()); }
};

// A stream whose buffer throws.
class Broken : public std::streambuf {
    int_type underflow() override { throw std::runtime_error("broken"); }
};

struct Stop {};

}  // namespace

TEST(Video, IsWhatCSays) {
    const c4c::Model& model = shared_model();
    const std::vector<float> vector = model.embed_video_path(video());
    EXPECT_EQ(vector, by_c(nullptr));
    EXPECT_NEAR(norm(vector), 1, 1e-5);
    std::vector<float> out(model.dim());
    model.embed_video_path(video(), out);
    EXPECT_EQ(out, vector);

    VideoOptions options;
    options.num_frames = 3;
    options.start = milliseconds(500);
    options.end = milliseconds(1500);
    c4c_video_options c = {};
    c.struct_size = sizeof c;
    c.num_frames = 3;
    c.start_us = 500000;
    c.end_us = 1500000;
    EXPECT_EQ(model.embed_video_path(video(), options), by_c(&c));
    EXPECT_NE(model.embed_video_path(video(), options), vector);
}

TEST(Video, RefusesWhatTheLibraryDoesNotKnow) {
    const c4c::Model& model = shared_model();
    const auto fails = [&](Status status, const char* part, auto set) {
        VideoOptions options;
        set(options);
        expect_error(status, part, [&] { model.embed_video_path(video(), options); });
    };
    const Status invalid = Status::invalid_argument;
    fails(invalid, "num_frames", [](auto& o) { o.num_frames = 5000; });
    fails(invalid, "sampling 77", [](auto& o) { o.sampling = static_cast<c4c::Sampling>(77); });
    fails(invalid, "seek 77", [](auto& o) { o.seek = static_cast<c4c::Seek>(77); });
    fails(invalid, "color 77", [](auto& o) { o.color = static_cast<c4c::Color>(77); });
    fails(invalid, "flags 0x80", [](auto& o) { o.flags = static_cast<c4c::VideoFlag>(128); });
    fails(invalid, "fps", [](auto& o) { o.sampling = c4c::Sampling::fps; });
    fails(invalid, "start_us is -1", [](auto& o) { o.start = microseconds(-1); });
    fails(invalid, "end_us", [](auto& o) { o.start = microseconds(2), o.end = microseconds(1); });
    fails(invalid, "decode_threads", [](auto& o) { o.decode_threads = 1000; });
    fails(Status::limit, "", [](auto& o) { o.max_pixels = 1; });
    fails(Status::no_video, "", [](auto& o) { o.stream_index = 7; });
    fails(Status::no_video, "", [](auto& o) { o.stream_index = -2; });
    expect_error(Status::media_io, "/nowhere/dog.mp4", [&] { model.embed_video_path("/nowhere/dog.mp4"); });
    expect_error(Status::forbidden, "", [&] { model.embed_video_path("https://example.org/dog.mp4"); });
    expect_error(invalid, "path has a NUL inside", [&] { model.embed_video_path(std::string("a\0b", 3)); });
    expect_error(invalid, "path has a NUL inside",
                 [&] { model.embed_segments(std::string("a\0b", 3), milliseconds(1), milliseconds(1)); });
    expect_error(invalid, "paths[1] has a NUL inside", [&] { model.embed_video_paths({"a", std::string("a\0b", 3)}); });
    std::vector<float> small(model.dim() - 1);
    expect_error(Status::buffer_too_small, std::to_string(model.dim()),
                 [&] { model.embed_video_path(video(), small); });
}

TEST(Memory, IsTheSameVideo) {
    const c4c::Model& model = shared_model();
    const std::vector<float> expected = by_c(nullptr);
    const std::vector<char> file = bytes_of(video());
    EXPECT_EQ(model.embed_video_memory(file), expected);
    EXPECT_EQ(model.embed_video_memory({file.data(), file.size()}), expected);
    EXPECT_EQ(model.embed_video_memory(std::string(file.begin(), file.end())), expected);
    std::vector<float> out(model.dim());
    model.embed_video_memory(file, out);
    EXPECT_EQ(out, expected);
    expect_error(Status::media_format, "", [&] { model.embed_video_memory(std::string(1000, 'x')); });
    expect_error(Status::invalid_argument, "size is 0", [&] { model.embed_video_memory({file.data(), 0}); });
}

TEST(Io, StreamsAreTheSameVideo) {
    const c4c::Model& model = shared_model();
    const std::vector<float> expected = by_c(nullptr);
    std::ifstream file(video(), std::ios::binary);
    file.exceptions(std::ios::failbit | std::ios::badbit | std::ios::eofbit);
    EXPECT_EQ(model.embed_video_io(Reader::from(file)), expected);
    EXPECT_TRUE(file.good());

    // From where it stands.
    std::vector<char> bytes = bytes_of(video());
    std::istringstream behind(std::string(1000, 'x') + std::string(bytes.begin(), bytes.end()));
    behind.seekg(1000);
    std::vector<float> out(model.dim());
    model.embed_video_io(Reader::from(behind), out);
    EXPECT_EQ(out, expected);

    Pipe pipe(bytes);
    std::istream once(&pipe);
    const Reader reader = Reader::from(once);
    EXPECT_FALSE(reader.seek);
    const c4c::Result<std::vector<float>> streamed = model.try_embed_video_io(reader);
    // An MP4 file with its index at the end cannot be read so.
    if (streamed) {
        EXPECT_EQ(*streamed, expected);
    } else {
        EXPECT_EQ(streamed.status(), Status::media_format) << streamed.message();
    }
}

TEST(Io, ReaderOfAStreamKeepsToTheContract) {
    std::istringstream stream("xx0123456789");
    stream.seekg(2);
    const Reader reader = Reader::from(stream);
    std::uint8_t buffer[4];
    EXPECT_EQ(reader.seek(0, c4c::Whence::size), 10);
    EXPECT_EQ(reader.read(buffer, 4), 4);
    EXPECT_EQ(std::string(buffer, buffer + 4), "0123");
    EXPECT_EQ(reader.seek(0, c4c::Whence::size), 10);
    EXPECT_EQ(reader.seek(2, c4c::Whence::current), 6);
    EXPECT_EQ(reader.seek(-1, c4c::Whence::end), 9);
    EXPECT_EQ(reader.read(buffer, 4), 1);
    EXPECT_EQ(buffer[0], '9');
    EXPECT_EQ(reader.read(buffer, 4), 0);
    EXPECT_EQ(reader.seek(1, c4c::Whence::set), 1);
    EXPECT_EQ(reader.seek(-1, c4c::Whence::set), -1);
    EXPECT_EQ(reader.seek(-100, c4c::Whence::set), -1);
    EXPECT_EQ(reader.seek(std::numeric_limits<std::int64_t>::max(), c4c::Whence::set), -1);
    EXPECT_EQ(reader.seek(std::numeric_limits<std::int64_t>::min(), c4c::Whence::set), -1);
    EXPECT_EQ(reader.seek(0, static_cast<c4c::Whence>(77)), -1);
}

TEST(Io, FailuresAreTheCalls) {
    const c4c::Model& model = shared_model();
    std::ifstream missing("/nowhere/dog.mp4", std::ios::binary);
    expect_error(Status::media_io, "", [&] { model.embed_video_io(Reader::from(missing)); });
    Broken broken;
    std::istream stream(&broken);
    expect_error(Status::media_io, "", [&] { model.embed_video_io(Reader::from(stream)); });
    expect_error(Status::invalid_argument, "io.read is NULL", [&] { model.embed_video_io(Reader()); });

    Reader reader;
    reader.read = [](std::uint8_t*, std::size_t) { return std::int64_t{-5}; };
    expect_error(Status::media_io, "-5", [&] { model.embed_video_io(reader); });
}

TEST(Io, WhatFunctionsThrowComesOut) {
    const c4c::Model& model = shared_model();
    int reads = 0;
    Reader reader;
    reader.read = [&](std::uint8_t*, std::size_t) -> std::int64_t { throw ++reads; };
    EXPECT_THROW(model.embed_video_io(reader), int);
    EXPECT_THROW(static_cast<void>(model.try_embed_video_io(reader)), int);
    EXPECT_EQ(reads, 2);

    std::ifstream file(video(), std::ios::binary);
    reader = Reader::from(file);
    reader.seek = [](std::int64_t, c4c::Whence) -> std::int64_t { throw Stop(); };
    EXPECT_THROW(model.embed_video_io(reader), Stop);
    EXPECT_EQ(model.stats().running, 0u);
}

TEST(Io, CancelledWhileReading) {
    const c4c::Model& model = shared_model();
    c4c::Cancel cancel;
    std::ifstream file(video(), std::ios::binary);
    const Reader inner = Reader::from(file);
    Reader reader = inner;
    reader.read = [&](std::uint8_t* buffer, std::size_t size) {
        std::thread([&] { cancel.fire(); }).join();
        return inner.read(buffer, size);
    };
    expect_error(Status::cancelled, "", [&] { model.embed_video_io(reader, {}, {{}, &cancel}); });
}

TEST(Paths, AFileThatFailsCostsItsRowOnly) {
    const c4c::Model& model = shared_model();
    const std::vector<float> expected = by_c(nullptr);
    const std::vector<std::string> paths{video(), "/nowhere/dog.mp4", video()};
    std::vector<std::size_t> told;
    const c4c::VideoBatch batch = model.embed_video_paths(paths, {}, {}, [&](std::size_t done, std::size_t total) {
        EXPECT_EQ(total, 3u);
        told.push_back(done);
        return true;
    });
    EXPECT_EQ(told, (std::vector<std::size_t>{1, 2, 3}));
    EXPECT_EQ(batch.statuses, (std::vector<Status>{Status::ok, Status::media_io, Status::ok}));
    EXPECT_NE(batch.message.find("/nowhere/dog.mp4"), std::string::npos) << batch.message;
    ASSERT_EQ(batch.vectors.rows(), 3u);
    EXPECT_EQ(copy(batch.vectors[0]), expected);
    EXPECT_EQ(copy(batch.vectors[1]), std::vector<float>(model.dim()));
    EXPECT_EQ(copy(batch.vectors[2]), expected);

    const std::size_t dim = model.dim();
    std::vector<float> out(3 * dim, 7);
    std::vector<Status> statuses(3, Status::internal);
    EXPECT_EQ(model.embed_video_paths(paths, out, statuses), batch.message);
    EXPECT_EQ(statuses, batch.statuses);
    const c4c::Matrix rows(out, dim);
    EXPECT_EQ(copy(rows[0]), expected);
    EXPECT_EQ(copy(rows[1]), std::vector<float>(dim, 7));
    EXPECT_EQ(model.embed_video_paths({video()}, out, statuses), "");
    EXPECT_EQ(model.embed_video_paths({video()}).message, "");

    // All or nothing.
    std::vector<float> whole(3 * dim, 7);
    expect_error(Status::media_io, "/nowhere/dog.mp4", [&] { model.embed_video_paths(paths, whole); });
    EXPECT_EQ(whole, std::vector<float>(3 * dim, 7));
    model.embed_video_paths({video(), video()}, whole);
    EXPECT_EQ(copy(c4c::Matrix(whole, dim)[1]), expected);

    std::vector<Status> few(2);
    expect_error(Status::buffer_too_small, "statuses has room for 2, 3 are needed",
                 [&] { model.embed_video_paths(paths, whole, few); });
}

TEST(Paths, ProgressEndsThem) {
    const c4c::Model& model = shared_model();
    const std::vector<std::string> paths(2, video());
    expect_error(Status::cancelled, "",
                 [&] { model.embed_video_paths(paths, {}, {}, [](std::size_t, std::size_t) { return false; }); });
    int calls = 0;
    const c4c::ProgressFn throws = [&](std::size_t, std::size_t) -> bool { throw ++calls; };
    std::vector<float> out(2 * model.dim(), 7);
    std::vector<Status> statuses(2, Status::internal);
    EXPECT_THROW(model.embed_video_paths(paths, out, statuses, {}, {}, throws), int);
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(out, std::vector<float>(2 * model.dim(), 7));
    EXPECT_EQ(statuses, std::vector<Status>(2, Status::internal));
    EXPECT_THROW(static_cast<void>(model.try_embed_video_paths(paths, {}, {}, throws)), int);
    EXPECT_EQ(model.embed_video_paths(paths).message, "");
}

TEST(Segments, HaveTimesAndVectors) {
    const c4c::Model& model = shared_model();
    VideoOptions options;
    options.num_frames = 2;
    const c4c::Segments segments = model.embed_segments(video(), milliseconds(1000), milliseconds(500), options);
    ASSERT_GE(segments.size(), 2u);
    EXPECT_FALSE(segments.empty());
    ASSERT_EQ(segments.vectors().rows(), segments.size());
    ASSERT_EQ(segments.vectors().cols(), model.dim());
    std::size_t i = 0;
    for (const c4c::Segment segment : segments) {
        EXPECT_EQ(segment.start, milliseconds(500 * i));
        EXPECT_LE(segment.end, segment.start + milliseconds(1000));
        EXPECT_EQ(segment.vector.data(), segments.vectors()[i].data());
        VideoOptions window = options;
        window.start = segment.start;
        window.end = segment.end;
        EXPECT_EQ(copy(segment.vector), model.embed_video_path(video(), window)) << i;
        i++;
    }
    EXPECT_EQ(i, segments.size());
    EXPECT_EQ(segments.begin()->vector.data(), segments.vectors().data());
    const auto row = segments.vectors().begin();
    EXPECT_EQ(row->data(), segments.vectors().data());
    EXPECT_EQ(c4c::similarity(segments.vectors(), model.embed_text("a dog")).rows(), segments.size());
    expect_error(Status::invalid_argument, "step_us",
                 [&] { model.embed_segments(video(), milliseconds(1), milliseconds(0)); });
}

TEST(Segments, MoveAndOutliveTheModel) {
    c4c::Model model(defaults());
    c4c::Segments segments = model.embed_segments(video(), milliseconds(1000), milliseconds(1000));
    const std::size_t n = segments.size();
    const std::vector<float> first = copy(segments[0].vector);
    model.close();
    c4c::Segments moved = std::move(segments);
    EXPECT_EQ(moved.size(), n);
    EXPECT_EQ(copy(moved[0].vector), first);
    const c4c::Segments none;
    for (const c4c::Segments* empty : {&std::as_const(segments), &none}) {
        EXPECT_EQ(empty->size(), 0u);
        EXPECT_TRUE(empty->empty());
        EXPECT_EQ(empty->vectors().rows(), 0u);
        EXPECT_TRUE(empty->begin() == empty->end());
    }
}
