// c4c.hpp knows every constant, function and field of the installed c4c.h: one that is new there fails here.

#include <gtest/gtest.h>

#include <c4c.hpp>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace {

// A file without comments.
std::string code(const char* path) {
    std::ifstream file(path);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    EXPECT_FALSE(text.empty()) << path;
    std::string out;
    for (std::size_t i = 0; i < text.size(); i++) {
        if (text.compare(i, 2, "/*") == 0) {
            i = text.find("*/", i) + 1;
        } else if (text.compare(i, 2, "//") == 0) {
            i = text.find('\n', i) - 1;
        } else {
            out += text[i];
        }
    }
    return out;
}

// What `pattern` finds in `text`, each with its groups.
std::vector<std::vector<std::string>> matches(const std::string& text, const std::string& pattern) {
    const std::regex regex(pattern);
    std::vector<std::vector<std::string>> found;
    for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at) {
        found.emplace_back(at->begin(), at->end());
    }
    return found;
}

template <class T>
long long number(T value) {
    return static_cast<long long>(value);
}

#define KNOWN(c, cpp) \
    { #c, number(cpp) }

const std::map<std::string, long long>& known() {
    using namespace c4c;
    static const std::map<std::string, long long> constants = {
        KNOWN(C4C_OK, Status::ok),
        KNOWN(C4C_E_INVALID_ARGUMENT, Status::invalid_argument),
        KNOWN(C4C_E_BUFFER_TOO_SMALL, Status::buffer_too_small),
        KNOWN(C4C_E_UNSUPPORTED, Status::unsupported),
        KNOWN(C4C_E_CLOSED, Status::closed),
        KNOWN(C4C_E_FORKED, Status::forked),
        KNOWN(C4C_E_WEIGHTS_IO, Status::weights_io),
        KNOWN(C4C_E_WEIGHTS_FORMAT, Status::weights_format),
        KNOWN(C4C_E_WEIGHTS_MISMATCH, Status::weights_mismatch),
        KNOWN(C4C_E_MODALITY, Status::modality),
        KNOWN(C4C_E_TOKENIZER, Status::tokenizer),
        KNOWN(C4C_E_TEXT_TOO_LONG, Status::text_too_long),
        KNOWN(C4C_E_DEVICE, Status::device),
        KNOWN(C4C_E_OUT_OF_MEMORY, Status::out_of_memory),
        KNOWN(C4C_E_BACKEND, Status::backend),
        KNOWN(C4C_E_MEDIA_IO, Status::media_io),
        KNOWN(C4C_E_MEDIA_FORMAT, Status::media_format),
        KNOWN(C4C_E_NO_VIDEO, Status::no_video),
        KNOWN(C4C_E_DECODE, Status::decode),
        KNOWN(C4C_E_LIMIT, Status::limit),
        KNOWN(C4C_E_FORBIDDEN, Status::forbidden),
        KNOWN(C4C_E_CANCELLED, Status::cancelled),
        KNOWN(C4C_E_TIMEOUT, Status::timeout),
        KNOWN(C4C_E_INTERNAL, Status::internal),
        KNOWN(C4C_MODALITY_BOTH, Modality::both),
        KNOWN(C4C_MODALITY_TEXT, Modality::text),
        KNOWN(C4C_MODALITY_VIDEO, Modality::video),
        KNOWN(C4C_PRECISION_AUTO, Precision::auto_),
        KNOWN(C4C_PRECISION_F32, Precision::f32),
        KNOWN(C4C_PRECISION_BF16, Precision::bf16),
        KNOWN(C4C_PRECISION_F16, Precision::f16),
        KNOWN(C4C_PRECISION_INT8, Precision::int8),
        KNOWN(C4C_HEAD_AUTO, Head::auto_),
        KNOWN(C4C_HEAD_MEAN, Head::mean),
        KNOWN(C4C_HEAD_SEQ_TRANSF, Head::seq_transf),
        KNOWN(C4C_HEAD_SEQ_LSTM, Head::seq_lstm),
        KNOWN(C4C_HEAD_TIGHT_TRANSF, Head::tight_transf),
        KNOWN(C4C_ACTIVATION_AUTO, Activation::auto_),
        KNOWN(C4C_ACTIVATION_QUICK_GELU, Activation::quick_gelu),
        KNOWN(C4C_ACTIVATION_GELU, Activation::gelu),
        KNOWN(C4C_PIXEL_RGB24, PixelFormat::rgb24),
        KNOWN(C4C_PIXEL_BGR24, PixelFormat::bgr24),
        KNOWN(C4C_PIXEL_RGBA, PixelFormat::rgba),
        KNOWN(C4C_PIXEL_BGRA, PixelFormat::bgra),
        KNOWN(C4C_PIXEL_GRAY8, PixelFormat::gray8),
        KNOWN(C4C_PIXEL_I420, PixelFormat::i420),
        KNOWN(C4C_PIXEL_NV12, PixelFormat::nv12),
        KNOWN(C4C_LOCATION_HOST, Location::host),
        KNOWN(C4C_LOCATION_CUDA, Location::cuda),
        KNOWN(C4C_MATRIX_UNKNOWN, ColorMatrix::unknown),
        KNOWN(C4C_MATRIX_BT601, ColorMatrix::bt601),
        KNOWN(C4C_MATRIX_BT709, ColorMatrix::bt709),
        KNOWN(C4C_MATRIX_BT2020, ColorMatrix::bt2020),
        KNOWN(C4C_RANGE_UNKNOWN, ColorRange::unknown),
        KNOWN(C4C_RANGE_LIMITED, ColorRange::limited),
        KNOWN(C4C_RANGE_FULL, ColorRange::full),
        KNOWN(C4C_SAMPLING_UNIFORM, Sampling::uniform),
        KNOWN(C4C_SAMPLING_KEYFRAMES, Sampling::keyframes),
        KNOWN(C4C_SAMPLING_FPS, Sampling::fps),
        KNOWN(C4C_SEEK_EXACT, Seek::exact),
        KNOWN(C4C_SEEK_APPROXIMATE, Seek::approximate),
        KNOWN(C4C_SEEK_SIZE, Whence::size),
        KNOWN(C4C_HWACCEL_NONE, HwAccel::none),
        KNOWN(C4C_HWACCEL_CUDA, HwAccel::cuda),
        KNOWN(C4C_COLOR_TAGGED, Color::tagged),
        KNOWN(C4C_COLOR_OPERATOR, Color::operator_),
        KNOWN(C4C_RAW_OUTPUT, OptionFlag::raw_output),
        KNOWN(C4C_STRICT_TEXT, OptionFlag::strict_text),
        KNOWN(C4C_NO_CUDA_GRAPHS, OptionFlag::no_cuda_graphs),
        KNOWN(C4C_APPLY_ROTATION, VideoFlag::apply_rotation),
        KNOWN(C4C_ALLOW_NETWORK, VideoFlag::allow_network),
        KNOWN(C4C_STRICT_DECODE, VideoFlag::strict_decode),
        KNOWN(C4C_LOG_DEFAULT, LogLevel::default_),
        KNOWN(C4C_LOG_ERROR, LogLevel::error),
        KNOWN(C4C_LOG_WARN, LogLevel::warn),
        KNOWN(C4C_LOG_INFO, LogLevel::info),
        KNOWN(C4C_LOG_DEBUG, LogLevel::debug),
        // What abi_matches() compares with.
        KNOWN(C4C_ABI_VERSION, C4C_ABI_VERSION),
    };
    return constants;
}

}  // namespace

TEST(Parity, EveryConstantHasItsNumber) {
    const std::string c = code(C_HEADER);
    std::map<std::string, long long> found;
    for (const auto& m : matches(c, "\\b(C4C_[A-Z0-9_]+) = (-?[0-9]+),")) found[m[1]] = std::stoll(m[2]);
    for (const auto& m : matches(c, "#define (C4C_[A-Z0-9_]+) (-?[0-9]+)\n")) found[m[1]] = std::stoll(m[2]);
    EXPECT_GT(found.size(), 70u) << "the header is not understood";
    for (const auto& [name, value] : found) {
        const auto here = known().find(name);
        if (here == known().end()) {
            ADD_FAILURE() << name << " is not known";
        } else {
            EXPECT_EQ(here->second, value) << name;
        }
    }
    for (const auto& [name, value] : known()) EXPECT_EQ(found.count(name), 1u) << name << " is not in c4c.h";
}

TEST(Parity, EveryFunctionIsCalled) {
    const std::string cpp = code(CPP_HEADER);
    std::set<std::string> functions;
    for (const auto& m : matches(code(C_HEADER), "\\b(c4c_[a-z0-9_]+)\\(")) functions.insert(m[1]);
    EXPECT_GT(functions.size(), 25u) << "the header is not understood";
    for (const std::string& name : functions) {
        EXPECT_TRUE(std::regex_search(cpp, std::regex("\\b" + name + "\\("))) << name << " is not called";
    }
}

// Which field of C++ it is that a field of C goes to or comes from, fields_test.cpp tells.
TEST(Parity, EveryFieldIsUsed) {
    const std::string cpp = code(CPP_HEADER);
    std::size_t n = 0;
    for (const auto& m : matches(code(C_HEADER), "typedef struct (c4c_[a-z_]+) \\{([^}]*)\\}")) {
        // A field's name comes before `;`, `[` of an array, or `)(` of a function.
        for (const auto& field : matches(m[2], "\\b([a-z0-9_]+)(;|\\[|\\)\\()")) {
            n++;
            if (field[1] == "reserved") continue;
            const std::string use =
                m[1] == "c4c_frame" ? "offsetof\\(c4c_frame, " + field[1] + "\\)" : "\\b[a-z_]+\\." + field[1] + "\\b";
            EXPECT_TRUE(std::regex_search(cpp, std::regex(use))) << m[1] << "." << field[1] << " is not used";
        }
    }
    EXPECT_GT(n, 90u) << "the header is not understood";
}
