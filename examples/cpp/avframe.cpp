// How well do these sentences describe this video? Frames come from a decoder of the program's own, and are not copied.
//
//     avframe pytorch_model.bin video.mp4 "a dog runs on the beach" "a cat sleeps"
//
// For programs that decode anyway. Those that only have a file call embed_video_path, which decodes what it needs only.

#include <c4c.hpp>
#include <cstdio>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
}

namespace {

struct Free {
    void operator()(AVFormatContext* context) const { avformat_close_input(&context); }
    void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
    void operator()(AVPacket* packet) const { av_packet_free(&packet); }
    void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};

template <class T>
using Owned = std::unique_ptr<T, Free>;

int check(int result, const char* what) {
    if (result >= 0) return result;
    char reason[AV_ERROR_MAX_STRING_SIZE] = {};
    av_strerror(result, reason, sizeof reason);
    throw std::runtime_error(std::string(what) + ": " + reason);
}

c4c::PixelFormat format_of(int format) {
    switch (format) {
        case AV_PIX_FMT_YUV420P:
        case AV_PIX_FMT_YUVJ420P: return c4c::PixelFormat::i420;
        case AV_PIX_FMT_NV12: return c4c::PixelFormat::nv12;
        case AV_PIX_FMT_RGB24: return c4c::PixelFormat::rgb24;
        case AV_PIX_FMT_BGR24: return c4c::PixelFormat::bgr24;
        case AV_PIX_FMT_RGBA: return c4c::PixelFormat::rgba;
        case AV_PIX_FMT_BGRA: return c4c::PixelFormat::bgra;
        case AV_PIX_FMT_GRAY8: return c4c::PixelFormat::gray8;
        default: break;
    }
    const char* const name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(format));
    throw std::invalid_argument(std::string("frames in ") + (name != nullptr ? name : "an unknown format") +
                                " are not taken; sws_scale makes yuv420p of them");
}

// A decoded frame as the library takes it. It borrows the pixels.
c4c::Frame frame_of(const AVFrame& av) {
    c4c::Frame frame;
    frame.format = format_of(av.format);
    frame.width = static_cast<std::uint32_t>(av.width);
    frame.height = static_cast<std::uint32_t>(av.height);
    for (std::size_t i = 0; i < std::size(frame.planes); i++) {
        frame.planes[i] = av.data[i];
        frame.strides[i] = av.linesize[i];
    }
    // RGB and gray are in full range and have no matrix.
    if (frame.format != c4c::PixelFormat::i420 && frame.format != c4c::PixelFormat::nv12) return frame;
    if (av.colorspace == AVCOL_SPC_BT709) frame.color_matrix = c4c::ColorMatrix::bt709;
    if (av.colorspace == AVCOL_SPC_BT2020_NCL) frame.color_matrix = c4c::ColorMatrix::bt2020;
    if (av.color_range == AVCOL_RANGE_JPEG || av.format == AV_PIX_FMT_YUVJ420P)
        frame.color_range = c4c::ColorRange::full;
    return frame;
}

// The first frame of each of the first `most` seconds; where neither time nor rate is known, the first `most` frames.
std::vector<Owned<AVFrame>> decode(const char* path, std::size_t most) {
    AVFormatContext* opened = nullptr;
    check(avformat_open_input(&opened, path, nullptr, nullptr), path);
    const Owned<AVFormatContext> file(opened);
    check(avformat_find_stream_info(file.get(), nullptr), path);
    const AVCodec* codec = nullptr;
    const int stream = check(av_find_best_stream(file.get(), AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0), path);
    const AVStream& video = *file->streams[stream];
    const Owned<AVCodecContext> decoder(avcodec_alloc_context3(codec));
    const Owned<AVPacket> packet(av_packet_alloc());
    Owned<AVFrame> frame(av_frame_alloc());
    if (decoder == nullptr || packet == nullptr || frame == nullptr) throw std::bad_alloc();
    check(avcodec_parameters_to_context(decoder.get(), video.codecpar), path);
    check(avcodec_open2(decoder.get(), codec, nullptr), path);

    const std::int64_t first = video.start_time != AV_NOPTS_VALUE ? video.start_time : 0;
    const double rate = video.avg_frame_rate.num > 0 ? av_q2d(video.avg_frame_rate) : 0;
    std::vector<Owned<AVFrame>> frames;
    double decoded = 0;
    double next = 0;
    for (bool more = true; more && frames.size() < most;) {
        more = av_read_frame(file.get(), packet.get()) >= 0;
        if (!more || packet->stream_index == stream) {
            const int sent = avcodec_send_packet(decoder.get(), more ? packet.get() : nullptr);
            // A damaged packet costs its own frames only.
            if (sent != AVERROR_INVALIDDATA) check(sent, path);
        }
        av_packet_unref(packet.get());
        while (frames.size() < most && avcodec_receive_frame(decoder.get(), frame.get()) >= 0) {
            double seconds = rate > 0 ? decoded / rate : next;
            decoded++;
            // A bare stream, such as a .h264 file, has no timestamps.
            if (frame->best_effort_timestamp != AV_NOPTS_VALUE) {
                seconds = static_cast<double>(frame->best_effort_timestamp - first) * av_q2d(video.time_base);
            }
            if (seconds < next) continue;
            next = seconds + 1;
            frames.push_back(std::move(frame));
            frame.reset(av_frame_alloc());
            if (frame == nullptr) throw std::bad_alloc();
        }
    }
    if (frames.empty()) throw std::runtime_error(std::string(path) + ": no frame can be decoded");
    return frames;
}

void describe(const char* weights, const char* path, c4c::CStrings sentences) {
    c4c::Options options;
    options.weights = weights;
    const c4c::Model model(std::move(options));

    const std::vector<Owned<AVFrame>> decoded = decode(path, 12);
    std::vector<c4c::Frame> frames;
    for (const auto& frame : decoded) frames.push_back(frame_of(*frame));
    const c4c::Matrix cosines = c4c::similarity(model.embed_texts(sentences), model.embed_frames(frames));
    for (std::size_t i = 0; i < sentences.size(); i++) {
        std::printf("%+.4f  %s\n", static_cast<double>(cosines[i][0]), sentences.data()[i]);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s CHECKPOINT VIDEO SENTENCE...\n", argv[0]);
        return 2;
    }
    try {
        describe(argv[1], argv[2], {argv + 3, static_cast<std::size_t>(argc - 3)});
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
