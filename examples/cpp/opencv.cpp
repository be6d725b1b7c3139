// How well does this sentence describe each of these pictures? Pictures come from OpenCV, and are not copied.
//
//     opencv pytorch_model.bin "a dog runs on the beach" *.jpg

#include <algorithm>
#include <c4c.hpp>
#include <cstdio>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>

// A cv::Mat as the library takes it: BGR, BGRA or gray, 8 bits a channel, also a part of a larger one. It borrows the
// pixels.
static c4c::Frame frame_of(const cv::Mat& mat) {
    c4c::PixelFormat format;
    switch (mat.type()) {
        case CV_8UC1: format = c4c::PixelFormat::gray8; break;
        case CV_8UC3: format = c4c::PixelFormat::bgr24; break;
        case CV_8UC4: format = c4c::PixelFormat::bgra; break;
        default:
            throw std::invalid_argument("a cv::Mat of type " + cv::typeToString(mat.type()) +
                                        ", expected CV_8UC1, CV_8UC3 or CV_8UC4");
    }
    return c4c::Frame::packed(format, mat.data, static_cast<std::uint32_t>(mat.cols),
                              static_cast<std::uint32_t>(mat.rows), static_cast<std::int64_t>(mat.step[0]));
}

static void rank(const char* weights, const char* sentence, c4c::Span<char*> paths) {
    c4c::Options options;
    options.weights = weights;
    const c4c::Model model(std::move(options));

    const std::vector<float> text = model.embed_text(sentence);

    // Some at a time: decoded pictures are large, and many do not fit in memory at once.
    const std::size_t group = 64;
    for (std::size_t begin = 0; begin < paths.size(); begin += group) {
        const std::size_t n = std::min(group, paths.size() - begin);
        std::vector<cv::Mat> pictures;
        std::vector<c4c::Frame> frames;
        for (const char* path : c4c::Span<char*>(&paths[begin], n)) {
            pictures.push_back(cv::imread(path));
            if (pictures.back().empty()) throw std::runtime_error(std::string(path) + " cannot be read");
            frames.push_back(frame_of(pictures.back()));
        }
        const c4c::Matrix cosines = c4c::similarity(text, model.embed_images(frames));
        for (std::size_t i = 0; i < n; i++) std::printf("%+.4f  %s\n", cosines[0][i], paths[begin + i]);
    }
}

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s CHECKPOINT SENTENCE PICTURE...\n", argv[0]);
        return 2;
    }
    try {
        rank(argv[1], argv[2], {argv + 3, static_cast<std::size_t>(argc - 3)});
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
