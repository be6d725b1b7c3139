/// @file
/// libc4c for C++17 and later: text and video embeddings with CLIP4Clip.
///
/// @code
/// c4c::Options options;
/// options.weights = "pytorch_model.bin";
/// const c4c::Model model(options);
/// std::vector<float> text = model.embed_text("a dog runs on the beach");
/// std::vector<float> video = model.embed_video_path("dog.mp4");
/// float cosine = c4c::similarity(text, video)[0][0];
/// @endcode
///
/// Conventions
///  - c4c.h says what each call does, field by field; here is only what C++ adds. `Options::num_threads` is
///    `c4c_options.num_threads`, `Model::embed_text` is `c4c_embed_text`, and so on. A default is a default there.
///  - Every call has two forms: `embed_text` throws c4c::Error, `try_embed_text` returns a c4c::Result. Without
///    exceptions (`-fno-exceptions`) only the second is there. Each returns what it makes, or writes it to a Span
///    `out` of yours that has room for as many floats, and allocates nothing. On any error nothing is written.
///  - `try_` calls are noexcept, but for those that run functions of yours: what these throw comes out of the call.
///    When memory runs out they return Status::out_of_memory; without exceptions the standard library ends the process.
///  - Pixels, files in memory and strings are borrowed for the call and never copied.
///  - Any number of threads may call const members of one object at once. A moved-from or default-made Model or
///    Segments is empty: it can be assigned to, destroyed and asked; a call of an empty Model fails with
///    Status::invalid_argument.
///  - Enumerators have the numbers of C. A number that the library does not know is an error of the call that gets it.
///
/// Everything is inline: nothing is added to the link but libc4c itself.

#ifndef C4C_HPP
#define C4C_HPP

#include <c4c.h>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <istream>
#include <iterator>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define C4C_HPP_EXCEPTIONS 1
#include <exception>
#include <stdexcept>
#else
#define C4C_HPP_EXCEPTIONS 0
#endif

namespace c4c {
// Inline functions of one name are one function to the linker. Objects made with and without exceptions need two, and
// so do those made with another, incompatible c4c.hpp; the number goes up then.
#if C4C_HPP_EXCEPTIONS
inline namespace v1 {
#else
inline namespace v1_noexcept {
#endif

// ---------------------------------------------------------------------------------------------------------------------
// Numbers

/// `C4C_OK` and `C4C_E_*`: what a call came to.
enum class Status : std::int32_t {
    ok = C4C_OK,
    invalid_argument = C4C_E_INVALID_ARGUMENT,
    buffer_too_small = C4C_E_BUFFER_TOO_SMALL,
    unsupported = C4C_E_UNSUPPORTED,
    closed = C4C_E_CLOSED,
    forked = C4C_E_FORKED,
    weights_io = C4C_E_WEIGHTS_IO,
    weights_format = C4C_E_WEIGHTS_FORMAT,
    weights_mismatch = C4C_E_WEIGHTS_MISMATCH,
    modality = C4C_E_MODALITY,
    tokenizer = C4C_E_TOKENIZER,
    text_too_long = C4C_E_TEXT_TOO_LONG,
    device = C4C_E_DEVICE,
    out_of_memory = C4C_E_OUT_OF_MEMORY,
    backend = C4C_E_BACKEND,
    media_io = C4C_E_MEDIA_IO,
    media_format = C4C_E_MEDIA_FORMAT,
    no_video = C4C_E_NO_VIDEO,
    decode = C4C_E_DECODE,
    limit = C4C_E_LIMIT,
    forbidden = C4C_E_FORBIDDEN,
    cancelled = C4C_E_CANCELLED,
    timeout = C4C_E_TIMEOUT,
    internal = C4C_E_INTERNAL,
};

/// `C4C_MODALITY_*`: which towers are loaded.
enum class Modality : std::uint32_t {
    both = C4C_MODALITY_BOTH,
    text = C4C_MODALITY_TEXT,
    video = C4C_MODALITY_VIDEO,
};

/// `C4C_PRECISION_*`: the arithmetic of the forward pass.
enum class Precision : std::uint32_t {
    auto_ = C4C_PRECISION_AUTO,
    f32 = C4C_PRECISION_F32,
    bf16 = C4C_PRECISION_BF16,
    f16 = C4C_PRECISION_F16,
    int8 = C4C_PRECISION_INT8,
};

/// `C4C_HEAD_*`: how frames become a video.
enum class Head : std::uint32_t {
    auto_ = C4C_HEAD_AUTO,
    mean = C4C_HEAD_MEAN,
    seq_transf = C4C_HEAD_SEQ_TRANSF,
    seq_lstm = C4C_HEAD_SEQ_LSTM,
    tight_transf = C4C_HEAD_TIGHT_TRANSF,
};

/// `C4C_ACTIVATION_*`: the MLPs' non-linearity.
enum class Activation : std::uint32_t {
    auto_ = C4C_ACTIVATION_AUTO,
    quick_gelu = C4C_ACTIVATION_QUICK_GELU,
    gelu = C4C_ACTIVATION_GELU,
};

/// `C4C_PIXEL_*`: how pixels lie in memory, 8 bits a channel.
enum class PixelFormat : std::uint32_t {
    rgb24 = C4C_PIXEL_RGB24,
    bgr24 = C4C_PIXEL_BGR24,
    rgba = C4C_PIXEL_RGBA,
    bgra = C4C_PIXEL_BGRA,
    gray8 = C4C_PIXEL_GRAY8,
    i420 = C4C_PIXEL_I420,
    nv12 = C4C_PIXEL_NV12,
};

/// `C4C_LOCATION_*`: which memory a frame's planes point to.
enum class Location : std::uint32_t {
    host = C4C_LOCATION_HOST,
    cuda = C4C_LOCATION_CUDA,
};

/// `C4C_MATRIX_*`: how YUV becomes RGB.
enum class ColorMatrix : std::uint32_t {
    unknown = C4C_MATRIX_UNKNOWN,
    bt601 = C4C_MATRIX_BT601,
    bt709 = C4C_MATRIX_BT709,
    bt2020 = C4C_MATRIX_BT2020,
};

/// `C4C_RANGE_*`: which numbers are black and white.
enum class ColorRange : std::uint32_t {
    unknown = C4C_RANGE_UNKNOWN,
    limited = C4C_RANGE_LIMITED,
    full = C4C_RANGE_FULL,
};

/// `C4C_SAMPLING_*`: which frames stand for a video.
enum class Sampling : std::uint32_t {
    uniform = C4C_SAMPLING_UNIFORM,
    keyframes = C4C_SAMPLING_KEYFRAMES,
    fps = C4C_SAMPLING_FPS,
};

/// `C4C_SEEK_*`: how frames are found.
enum class Seek : std::uint32_t {
    exact = C4C_SEEK_EXACT,
    approximate = C4C_SEEK_APPROXIMATE,
};

/// `C4C_HWACCEL_*`: what decodes.
enum class HwAccel : std::uint32_t {
    none = C4C_HWACCEL_NONE,
    cuda = C4C_HWACCEL_CUDA,
};

/// `C4C_COLOR_*`: how decoded pictures become RGB.
enum class Color : std::uint32_t {
    tagged = C4C_COLOR_TAGGED,
    operator_ = C4C_COLOR_OPERATOR,
};

/// `C4C_LOG_*`: how important a message is.
enum class LogLevel : std::uint32_t {
    default_ = C4C_LOG_DEFAULT,
    error = C4C_LOG_ERROR,
    warn = C4C_LOG_WARN,
    info = C4C_LOG_INFO,
    debug = C4C_LOG_DEBUG,
};

/// Bits of Options::flags, to be joined with `|`.
enum class OptionFlag : std::uint32_t {
    none = 0,
    raw_output = C4C_RAW_OUTPUT,
    strict_text = C4C_STRICT_TEXT,
    no_cuda_graphs = C4C_NO_CUDA_GRAPHS,
};

/// Bits of VideoOptions::flags, to be joined with `|`.
enum class VideoFlag : std::uint32_t {
    none = 0,
    apply_rotation = C4C_APPLY_ROTATION,
    allow_network = C4C_ALLOW_NETWORK,
    strict_decode = C4C_STRICT_DECODE,
};

/// From where Reader::seek goes.
enum class Whence : std::int32_t {
    set = SEEK_SET,
    current = SEEK_CUR,
    end = SEEK_END,
    /// Goes nowhere: asks for the size in bytes.
    size = C4C_SEEK_SIZE,
};

constexpr OptionFlag operator|(OptionFlag a, OptionFlag b) noexcept {
    return static_cast<OptionFlag>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}

constexpr VideoFlag operator|(VideoFlag a, VideoFlag b) noexcept {
    return static_cast<VideoFlag>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}

// ---------------------------------------------------------------------------------------------------------------------
// About the library. Any thread may ask at any time; the strings live as long as the library.

/// The name of a status, such as "C4C_E_WEIGHTS_IO"; "unknown status" for a number that has none.
inline const char* status_name(Status status) noexcept { return c4c_status_name(static_cast<c4c_status>(status)); }

/// The version of the loaded library, such as "0.1.0".
inline const char* version() noexcept { return c4c_version(); }

/// One line of JSON about the loaded library; see c4c_build_info.
inline const char* build_info() noexcept { return c4c_build_info(); }

/// The version of the interface that the loaded library has.
inline std::uint32_t abi_version() noexcept { return c4c_abi_version(); }

/// Whether the loaded library has the interface that this was compiled for. Model asks before anything else.
inline bool abi_matches() noexcept { return abi_version() == C4C_ABI_VERSION; }

// ---------------------------------------------------------------------------------------------------------------------
// Errors

/// A status and a sentence that names the thing. Owns its text without allocating.
class Failure {
public:
    /// No failure: Status::ok and no message.
    Failure() noexcept { raw_.struct_size = sizeof raw_; }

    /// A message of strings and integers, one behind the other, cut where it does not fit.
    template <class... Parts>
    explicit Failure(Status status, const Parts&... parts) noexcept : Failure() {
        raw_.status = static_cast<c4c_status>(status);
        [[maybe_unused]] std::size_t end = 0;
        (append(end, parts), ...);
    }

    Status status() const noexcept { return static_cast<Status>(raw_.status); }

    /// NUL-terminated UTF-8; lives as long as this object.
    const char* message() const noexcept { return raw_.message; }

    /// For `err` of the C functions.
    c4c_error* raw() noexcept { return &raw_; }

private:
    void append(std::size_t& end, std::string_view text) noexcept {
        const std::size_t room = sizeof raw_.message - 1 - end;
        const std::size_t n = text.size() < room ? text.size() : room;
        // An empty view may point nowhere, which memcpy does not take.
        if (n != 0) std::memcpy(raw_.message + end, text.data(), n);
        end += n;
    }

    template <class Integer, class = std::enable_if_t<std::is_integral_v<Integer>>>
    void append(std::size_t& end, const Integer& number) noexcept {
        char digits[24];
        const char* last = std::to_chars(digits, digits + sizeof digits, number).ptr;
        append(end, std::string_view(digits, static_cast<std::size_t>(last - digits)));
    }

    c4c_error raw_ = {};
};

#if C4C_HPP_EXCEPTIONS
/// What the calls without `try_` throw: what() is the library's sentence.
class Error : public std::runtime_error {
public:
    explicit Error(const Failure& failure) : std::runtime_error(failure.message()), status_(failure.status()) {}

    Status status() const noexcept { return status_; }

private:
    Status status_;
};
#endif

/// A value, or why there is none.
template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) noexcept : value_(std::move(value)) {}
    Result(const Failure& failure) noexcept : failure_(failure) {}

    bool has_value() const noexcept { return value_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }

    /// The value; only where there is one.
    T& operator*() & noexcept { return *value_; }
    const T& operator*() const& noexcept { return *value_; }
    T&& operator*() && noexcept { return *std::move(value_); }
    T* operator->() noexcept { return &*value_; }
    const T* operator->() const noexcept { return &*value_; }

    Status status() const noexcept { return failure_.status(); }
    const char* message() const noexcept { return failure_.message(); }
    const Failure& failure() const noexcept { return failure_; }

#if C4C_HPP_EXCEPTIONS
    /// The value; throws Error where there is none.
    const T& value() const& {
        if (!has_value()) throw Error(failure_);
        return *value_;
    }
    T value() && {
        if (!has_value()) throw Error(failure_);
        return *std::move(value_);
    }
#endif

private:
    Failure failure_;
    std::optional<T> value_;
};

/// Done, or why not. The message may say something also where it is done; the calls that do so say it.
template <>
class [[nodiscard]] Result<void> {
public:
    Result() noexcept = default;
    Result(const Failure& failure) noexcept : failure_(failure) {}

    explicit operator bool() const noexcept { return status() == Status::ok; }

    Status status() const noexcept { return failure_.status(); }
    const char* message() const noexcept { return failure_.message(); }
    const Failure& failure() const noexcept { return failure_; }

    /// For `err` of the C functions.
    c4c_error* raw() noexcept { return failure_.raw(); }

#if C4C_HPP_EXCEPTIONS
    /// Throws Error where it is not done.
    void value() const {
        if (!*this) throw Error(failure_);
    }
#endif

private:
    Failure failure_;
};

// ---------------------------------------------------------------------------------------------------------------------
// What is handed to calls

/// Elements in the memory of somebody else: as std::span, which C++17 does not have. Made from a pointer and a size, an
/// array, or whatever has data() and size(): std::vector, std::array, std::span.
template <class T>
class Span {
    template <class C>
    using Data = std::remove_pointer_t<decltype(std::data(std::declval<C&>()))>;

public:
    constexpr Span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}

    template <class C, class = decltype(std::size(std::declval<C&>())),
              class = std::enable_if_t<std::is_convertible_v<Data<C> (*)[], T (*)[]>>>
    constexpr Span(C&& elements) noexcept : data_(std::data(elements)), size_(std::size(elements)) {}

    constexpr T* data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T* begin() const noexcept { return data_; }
    constexpr T* end() const noexcept { return data_ + size_; }

    /// @param i  below size()
    constexpr T& operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T* data_;
    std::size_t size_;
};

namespace detail {

template <class S>
auto length(const S& text, int) noexcept -> decltype(std::size_t{text.native().size()}) {
    return text.native().size();
}

template <class S>
auto length(const S& text, long) noexcept -> decltype(std::size_t{text.size()}) {
    return text.size();
}

template <class S>
std::size_t length(const S& text, ...) noexcept {
    return std::strlen(text.c_str());
}

template <class S>
using IfString = std::enable_if_t<std::is_convertible_v<decltype(std::declval<const S&>().c_str()), const char*>>;

}  // namespace detail

/// A NUL-terminated UTF-8 string of the caller: a `const char*`, a std::string, a std::filesystem::path or what else
/// has c_str(). A std::string_view is none, since nothing ends it. One with a NUL inside is an error of the call.
class CString {
public:
    constexpr CString(const char* text) noexcept : text_(text) {}

    template <class S, class = detail::IfString<S>>
    CString(const S& text) noexcept : text_(text.c_str()), cut_(std::strlen(text_) != detail::length(text, 0)) {}

    constexpr const char* c_str() const noexcept { return text_; }

    /// Whether C would see less of it than C++ does.
    constexpr bool has_nul() const noexcept { return cut_; }

private:
    const char* text_;
    bool cut_ = false;
};

/// Several such strings: `{"a dog", "a cat"}`, a pointer and a count, or a container of them. What holds `const char*`
/// side by side is passed on as it is; of others an array of pointers is made, not of texts.
class CStrings {
    template <class Range>
    using Element = decltype(*std::begin(std::declval<const Range&>()));

    // A path is one string, though it is a range of paths too. Elements that are made on the way would be gone when the
    // library reads them.
    template <class Range>
    using IfStrings =
        std::enable_if_t<!std::is_convertible_v<const Range&, CString> &&
                         std::is_convertible_v<Element<Range>, CString> &&
                         (std::is_lvalue_reference_v<Element<Range>> || std::is_pointer_v<Element<Range>>)>;

public:
    CStrings(const char* const* strings, std::size_t size) noexcept : strings_(strings), size_(size) {}

    CStrings(std::initializer_list<CString> strings) noexcept { point_to(strings); }

    template <class Range, class = IfStrings<Range>>
    CStrings(const Range& strings) noexcept {
        if constexpr (std::is_convertible_v<const Range&, Span<const char* const>>) {
            const Span<const char* const> span = strings;
            strings_ = span.data();
            size_ = span.size();
        } else {
            point_to(strings);
        }
    }

    const char* const* data() const noexcept { return strings_; }
    std::size_t size() const noexcept { return size_; }

    /// Why C cannot take them, in words that call them `name`; Status::ok where it can.
    Failure check(std::string_view name) const noexcept {
        if (no_memory_) return Failure(Status::out_of_memory, name, ": memory ran out");
        if (cut_ != none) return Failure(Status::invalid_argument, name, "[", cut_, "] has a NUL inside");
        return Failure();
    }

private:
    static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

    template <class Range>
    void point_to(const Range& strings) noexcept {
        size_ = static_cast<std::size_t>(std::distance(std::begin(strings), std::end(strings)));
        own_.reset(new (std::nothrow) const char*[size_]);
        strings_ = own_.get();
        no_memory_ = strings_ == nullptr;
        if (no_memory_) return;
        std::size_t i = 0;
        for (const auto& element : strings) {
            const CString string(element);
            if (string.has_nul() && cut_ == none) cut_ = i;
            own_[i++] = string.c_str();
        }
    }

    std::unique_ptr<const char*[]> own_;
    const char* const* strings_ = nullptr;
    std::size_t size_ = 0;
    std::size_t cut_ = none;
    bool no_memory_ = false;
};

/// A file that is in memory as a whole: a pointer and a size, or a container of bytes.
class Bytes {
    template <class C>
    using Element = std::remove_reference_t<decltype(*std::data(std::declval<const C&>()))>;

public:
    constexpr Bytes(const void* data, std::size_t size) noexcept : data_(data), size_(size) {}

    template <class C, class = std::enable_if_t<sizeof(Element<C>) == 1 && std::is_trivially_copyable_v<Element<C>>>>
    constexpr Bytes(const C& bytes) noexcept : data_(std::data(bytes)), size_(std::size(bytes)) {}

    constexpr const void* data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }

private:
    const void* data_;
    std::size_t size_;
};

/// A token that ends calls. It stays where it was made, since calls point to it; it may go before they end, which then
/// can no longer be cancelled.
///
/// Thread-safety: any thread may fire it, also while others use it.
class Cancel {
public:
    Cancel() noexcept : token_(c4c_cancel_new()) {}
    ~Cancel() { c4c_cancel_free(token_); }
    Cancel(const Cancel&) = delete;
    Cancel& operator=(const Cancel&) = delete;

    /// Ends the calls that were given this token, and all that will be, with Status::cancelled. Not for signal
    /// handlers.
    void fire() noexcept { c4c_cancel_fire(token_); }

    /// For `c4c_call.cancel`.
    const c4c_cancel* get() const noexcept { return token_; }

private:
    c4c_cancel* token_;
};

/// How one call may end before its time: `c4c_call`.
struct Call {
    /// From the call on, then Status::timeout. 0: no limit.
    std::chrono::microseconds timeout{0};
    /// Ends the call with Status::cancelled when fired. NULL: nothing does.
    const Cancel* cancel = nullptr;

    /// A call that ends at a point in time; one that has passed ends it at once.
    template <class Clock, class Duration>
    static Call until(std::chrono::time_point<Clock, Duration> deadline, const Cancel* cancel = nullptr) {
        // In floating point, since integers overflow for a clock's first and last points in time.
        using Real = std::chrono::duration<double, std::micro>;
        using Whole = std::chrono::microseconds;
        const Real left = Real(deadline.time_since_epoch()) - Real(Clock::now().time_since_epoch());
        if (left < Real(Whole{1})) return {Whole{1}, cancel};
        if (left >= Real(Whole::max())) return {Whole::max(), cancel};
        return {std::chrono::ceil<Whole>(left), cancel};
    }
};

/// Receives messages of the library; the text is NUL-terminated and lives for the call. Called from any thread, perhaps
/// from several at once; must not call back into the library. What it throws is dropped.
using LogFn = std::function<void(LogLevel level, std::string_view message)>;

/// Told on the calling thread how many of `total` things are done; `false` ends the call with Status::cancelled. What
/// it throws ends the call too, and comes out of it. It must not close the model: that waits for the call.
using ProgressFn = std::function<bool(std::size_t done, std::size_t total)>;

/// What to load and how to run it: `c4c_options`. An empty string, like a zero, means the default.
struct Options {
    /// A checkpoint file, an index of shards, or a model folder. Required.
    std::string weights = {};
    /// Which towers are loaded.
    Modality modality = Modality::both;
    /// Empty: whatever the weights are. `clip_vit_b32` or `clip_vit_b16`: they must be that model's.
    std::string model_name = {};
    /// A `tokenizer.json`. Empty: the one in a Hugging Face model folder, else CLIP's own, built in.
    std::string tokenizer = {};
    /// Empty or `auto`: the first GPU where CUDA can be used, else the CPU, and Info::device_note says why. `cpu`;
    /// `cuda`, which is `cuda:0`; `cuda:1`; several as `cuda:0,cuda:1`, or all as `cuda:*`.
    std::string device = {};
    /// The arithmetic of the forward pass.
    Precision precision = Precision::auto_;
    /// How frames become a video. Head::auto_: from the weights.
    Head head = Head::auto_;
    /// The MLPs' non-linearity, which the weights do not tell.
    Activation activation = Activation::auto_;
    /// The token ids that a text is cut to, start and end counted. 0: 32.
    std::uint32_t max_words = 0;
    /// OptionFlag::raw_output, OptionFlag::strict_text, OptionFlag::no_cuda_graphs.
    OptionFlag flags = OptionFlag::none;
    /// Threads of one forward pass on the CPU. 0: one per core that the process may use.
    std::uint32_t num_threads = 0;
    /// The most images in one forward pass. 0: chosen.
    std::uint32_t max_batch = 0;
    /// How long what does not fill a forward pass waits for other callers: at most 2^32 - 1 µs. 0: not at all.
    std::chrono::microseconds max_batch_delay{0};
    /// Empty: the library is silent. Lives as long as the model.
    LogFn log = {};
    /// The least important messages that `log` gets.
    LogLevel log_level = LogLevel::default_;
};

/// How a video file is sampled and decoded: `c4c_video_options`.
struct VideoOptions {
    /// Frames that make the embedding. 0: 12.
    std::uint32_t num_frames = 0;
    /// Which frames stand for the video.
    Sampling sampling = Sampling::uniform;
    /// How frames are found.
    Seek seek = Seek::exact;
    /// Frames per second with Sampling::fps, else 0.
    double fps = 0;
    /// Only frames that are shown from here on, from the first frame.
    std::chrono::microseconds start{0};
    /// Only frames that are shown before this. 0: to the end.
    std::chrono::microseconds end{0};
    /// How decoded pictures become RGB.
    Color color = Color::tagged;
    /// VideoFlag::apply_rotation, VideoFlag::allow_network, VideoFlag::strict_decode.
    VideoFlag flags = VideoFlag::none;
    /// Threads that decode. 0: one per core that the process may use.
    std::uint32_t decode_threads = 0;
    /// The stream's number in the file. -1: the best video stream.
    std::int32_t stream_index = -1;
    /// The most pixels that a frame may have. 0: 8192 * 8192.
    std::uint64_t max_pixels = 0;
    /// What decodes. HwAccel::cuda: NVDEC of the GPU `hwaccel_device`.
    HwAccel hwaccel = HwAccel::none;
    /// CUDA's number of the GPU that decodes with HwAccel::cuda, else 0.
    std::uint32_t hwaccel_device = 0;
};

/// A picture in memory that somebody else keeps until the call is over: `c4c_frame`, field by field. Where that is a
/// GPU's, on_cuda() says so:
///
/// @code
/// model.embed_image(c4c::Frame::nv12(y, pitch, uv, pitch, 1920, 1080).on_cuda(0, stream));
/// @endcode
struct Frame {
    /// Stays as it is.
    std::uint32_t struct_size = sizeof(Frame);
    /// How the pixels lie in memory.
    PixelFormat format = {};
    /// Pixels, at least 1.
    std::uint32_t width = 0;
    /// Pixels, at least 1.
    std::uint32_t height = 0;
    /// The first byte of the top row of each plane.
    const std::uint8_t* planes[4] = {};
    /// Bytes from a row to the one below it. Negative: the rows lie bottom-up.
    std::int64_t strides[4] = {};
    /// How YUV becomes RGB.
    ColorMatrix color_matrix = ColorMatrix::unknown;
    /// Which numbers are black and white.
    ColorRange color_range = ColorRange::unknown;
    /// Clockwise degrees to show it upright: 0, 90, 180 or 270.
    std::uint32_t rotation = 0;
    /// 0
    std::uint32_t reserved = 0;
    /// Which memory the planes point to; the same in all frames of a call.
    Location location = Location::host;
    /// With Location::cuda CUDA's number of the GPU that the planes are on, else 0.
    std::uint32_t device_index = 0;
    /// With Location::cuda the `cudaStream_t` whose work so far makes the pixels, NULL: the default stream. Else NULL.
    void* stream = nullptr;

    /// One plane: RGB24, BGR24, RGBA, BGRA or GRAY8.
    ///
    /// @param stride  bytes from a row to the one below it; 0: rows lie one behind the other
    static Frame packed(PixelFormat format, const std::uint8_t* pixels, std::uint32_t width, std::uint32_t height,
                        std::int64_t stride = 0) noexcept {
        const std::int64_t bytes = stride != 0 ? stride : width * bytes_per_pixel(format);
        return {sizeof(Frame), format, width, height, {pixels}, {bytes}};
    }

    /// Y, U and V, the latter two with half as many columns and rows.
    static Frame i420(const std::uint8_t* y, std::int64_t y_stride, const std::uint8_t* u, std::int64_t u_stride,
                      const std::uint8_t* v, std::int64_t v_stride, std::uint32_t width,
                      std::uint32_t height) noexcept {
        return {sizeof(Frame), PixelFormat::i420, width, height, {y, u, v}, {y_stride, u_stride, v_stride}};
    }

    /// Y, and U and V in turns.
    static Frame nv12(const std::uint8_t* y, std::int64_t y_stride, const std::uint8_t* uv, std::int64_t uv_stride,
                      std::uint32_t width, std::uint32_t height) noexcept {
        return {sizeof(Frame), PixelFormat::nv12, width, height, {y, uv}, {y_stride, uv_stride}};
    }

    /// The same frame, whose planes are addresses in a GPU's memory.
    ///
    /// @param device       CUDA's number of that GPU, which need not be the model's
    /// @param cuda_stream  the `cudaStream_t` whose work so far makes the pixels, which the library waits for; NULL:
    ///                     the default stream. The pixels may change again when the call returns
    Frame on_cuda(std::uint32_t device, void* cuda_stream) const noexcept {
        Frame frame = *this;
        frame.location = Location::cuda;
        frame.device_index = device;
        frame.stream = cuda_stream;
        return frame;
    }

private:
    static constexpr std::int64_t bytes_per_pixel(PixelFormat format) noexcept {
        switch (format) {
            case PixelFormat::rgb24:
            case PixelFormat::bgr24: return 3;
            case PixelFormat::rgba:
            case PixelFormat::bgra: return 4;
            default: return 1;
        }
    }
};

// Arrays of them go to C as they are.
static_assert(std::is_standard_layout_v<Frame> && std::is_trivially_copyable_v<Frame>);
static_assert(offsetof(Frame, struct_size) == offsetof(c4c_frame, struct_size));
static_assert(offsetof(Frame, format) == offsetof(c4c_frame, format));
static_assert(offsetof(Frame, width) == offsetof(c4c_frame, width));
static_assert(offsetof(Frame, height) == offsetof(c4c_frame, height));
static_assert(offsetof(Frame, planes) == offsetof(c4c_frame, planes));
static_assert(offsetof(Frame, strides) == offsetof(c4c_frame, strides));
static_assert(offsetof(Frame, color_matrix) == offsetof(c4c_frame, color_matrix));
static_assert(offsetof(Frame, color_range) == offsetof(c4c_frame, color_range));
static_assert(offsetof(Frame, rotation) == offsetof(c4c_frame, rotation));
static_assert(offsetof(Frame, reserved) == offsetof(c4c_frame, reserved));
static_assert(offsetof(Frame, location) == offsetof(c4c_frame, location));
static_assert(offsetof(Frame, device_index) == offsetof(c4c_frame, device_index));
static_assert(offsetof(Frame, stream) == offsetof(c4c_frame, stream));

/// Where the bytes of a video come from: `c4c_io`. The functions are called on the calling thread, one at a time. What
/// they throw ends the call and comes out of it. They must not close the model: that waits for the call.
struct Reader {
    /// Fills `buffer` with up to `size` bytes and returns how many; 0 at the end, negative on error. Required.
    std::function<std::int64_t(std::uint8_t* buffer, std::size_t size)> read = {};
    /// Returns the new place, or with Whence::size the size; negative on error. Empty: the bytes come once, in order.
    std::function<std::int64_t(std::int64_t offset, Whence whence)> seek = {};

    /// Reads a stream from where it stands, which is the file's beginning. It must be open in binary, and outlive the
    /// reader; its flags and its mask of exceptions have no say. One that has failed already fails to be read.
    static Reader from(std::istream& stream);
};

// ---------------------------------------------------------------------------------------------------------------------
// What calls return

namespace detail {

/// Goes over what has operator[].
template <class Rows>
class Iterator {
    // A view is held by value, since it may be gone before what it shows.
    using Held = std::conditional_t<std::is_trivially_copyable_v<Rows>, Rows, std::reference_wrapper<const Rows>>;

public:
    using iterator_category = std::input_iterator_tag;
    using value_type = decltype(std::declval<const Rows&>()[0]);
    using difference_type = std::ptrdiff_t;
    using reference = value_type;

    /// Keeps what `->` looks into.
    struct pointer {
        value_type value;
        const value_type* operator->() const noexcept { return &value; }
    };

    Iterator(const Rows& rows, std::size_t i) noexcept : rows_(rows), i_(i) {}

    reference operator*() const noexcept { return static_cast<const Rows&>(rows_)[i_]; }
    pointer operator->() const noexcept { return {**this}; }
    Iterator& operator++() noexcept { return ++i_, *this; }
    Iterator operator++(int) noexcept { return Iterator(rows_, i_++); }
    bool operator==(const Iterator& other) const noexcept { return i_ == other.i_; }
    bool operator!=(const Iterator& other) const noexcept { return i_ != other.i_; }

private:
    Held rows_;
    std::size_t i_;
};

}  // namespace detail

/// Rows of floats in the memory of somebody else. A single vector is one row.
class MatrixView {
public:
    constexpr MatrixView(const float* data, std::size_t rows, std::size_t cols) noexcept
        : data_(data), rows_(rows), cols_(cols) {}

    template <class C, class = std::enable_if_t<std::is_convertible_v<const C&, Span<const float>>>>
    constexpr MatrixView(const C& vector) noexcept : data_(std::data(vector)), rows_(1), cols_(std::size(vector)) {}

    constexpr const float* data() const noexcept { return data_; }
    constexpr std::size_t rows() const noexcept { return rows_; }
    constexpr std::size_t cols() const noexcept { return cols_; }

    /// @param row  below rows()
    constexpr Span<const float> operator[](std::size_t row) const noexcept { return {data_ + row * cols_, cols_}; }

    auto begin() const noexcept { return detail::Iterator<MatrixView>(*this, 0); }
    auto end() const noexcept { return detail::Iterator<MatrixView>(*this, rows_); }

private:
    const float* data_;
    std::size_t rows_;
    std::size_t cols_;
};

/// Rows of floats, one behind the other.
class Matrix {
public:
    /// No rows.
    Matrix() noexcept = default;

    /// @param values  as many as full rows have
    Matrix(std::vector<float> values, std::size_t cols) noexcept : values_(std::move(values)), cols_(cols) {}

    std::size_t rows() const noexcept { return cols_ == 0 ? 0 : values_.size() / cols_; }
    std::size_t cols() const noexcept { return cols_; }
    const float* data() const noexcept { return values_.data(); }
    float* data() noexcept { return values_.data(); }

    /// @param row  below rows()
    Span<const float> operator[](std::size_t row) const noexcept { return {data() + row * cols_, cols_}; }
    Span<float> operator[](std::size_t row) noexcept { return {data() + row * cols_, cols_}; }

    auto begin() const noexcept { return detail::Iterator<Matrix>(*this, 0); }
    auto end() const noexcept { return detail::Iterator<Matrix>(*this, rows()); }

    /// All values, row by row.
    const std::vector<float>& values() const& noexcept { return values_; }
    std::vector<float> values() && noexcept { return std::move(values_); }

    operator MatrixView() const noexcept { return {data(), rows(), cols_}; }

private:
    std::vector<float> values_;
    std::size_t cols_ = 0;
};

/// Many video files, a row for each.
struct VideoBatch {
    /// `[paths, dim]`. The row of a file that failed is zero.
    Matrix vectors;
    /// What each file came to.
    std::vector<Status> statuses;
    /// What was wrong with the first that failed; empty where none did.
    std::string message;
};

/// One window of a video.
struct Segment {
    /// From the video's first frame.
    std::chrono::microseconds start;
    std::chrono::microseconds end;
    /// `[dim]` floats, which the Segments keep.
    Span<const float> vector;
};

/// The windows of a video, in the order of time. Movable; when moved from, none.
///
/// Thread-safety: any number of threads may call const members of one object.
class Segments {
public:
    /// None.
    Segments() noexcept = default;

    /// Takes over what c4c_embed_segments made.
    Segments(c4c_segments* segments, std::size_t dim) noexcept : segments_(segments), dim_(dim) {}

    std::size_t size() const noexcept { return c4c_segments_count(segments_.get()); }
    bool empty() const noexcept { return size() == 0; }

    /// `[size(), dim]`: all vectors.
    MatrixView vectors() const noexcept { return {c4c_segments_data(segments_.get()), size(), dim_}; }

    /// @param i  below size()
    Segment operator[](std::size_t i) const noexcept {
        std::int64_t start = 0, end = 0;
        c4c_segments_time(segments_.get(), i, &start, &end);
        return {std::chrono::microseconds(start), std::chrono::microseconds(end), vectors()[i]};
    }

    auto begin() const noexcept { return detail::Iterator<Segments>(*this, 0); }
    auto end() const noexcept { return detail::Iterator<Segments>(*this, size()); }

private:
    struct Free {
        void operator()(c4c_segments* segments) const noexcept { c4c_segments_free(segments); }
    };

    std::unique_ptr<c4c_segments, Free> segments_;
    std::size_t dim_ = 0;
};

/// What was loaded, and how it runs: `c4c_info`.
struct Info {
    std::uint32_t dim;             ///< Floats in one embedding.
    Modality modality;             ///< Which towers were loaded.
    Head head;                     ///< Never Head::auto_.
    Activation activation;         ///< Never Activation::auto_.
    Precision precision;           ///< Never Precision::auto_.
    std::uint32_t num_threads;     ///< Threads of one forward pass.
    std::uint32_t max_batch;       ///< The most images in one forward pass.
    std::uint32_t max_words;       ///< Token ids that a text is cut to.
    std::uint32_t image_size;      ///< Side of the square input in pixels; 0 without vision tower, as the next three.
    std::uint32_t patch_size;      ///< Side of a patch in pixels.
    std::uint32_t vision_width;    ///< Floats in a patch's state.
    std::uint32_t vision_layers;   ///< Transformer blocks.
    std::uint32_t text_width;      ///< Floats in a token's state; 0 without text tower, as the next three.
    std::uint32_t text_layers;     ///< Transformer blocks.
    std::uint32_t context_length;  ///< The longest sequence of token ids.
    std::uint32_t vocab_size;      ///< Different token ids.
    float logit_scale;             ///< Natural logarithm of what multiplies cosines in training; 0 where there is none.
    std::string device;            ///< `cpu`, `cuda:0`, `cuda:0,cuda:1`; `8 GPUs` where there are too many to name.
    std::string model_name;        ///< `clip_vit_b32` and the like, or `custom`.
    std::string weights;           ///< The checkpoint's container and naming: `torch.save/clip4clip`.
    std::string device_note;       ///< Why `auto` took the CPU, and not a GPU; else empty.
};

/// What a model has done since it was made, and what it holds now: `c4c_stats`. Times are sums over all calls and
/// threads.
struct Stats {
    std::uint64_t calls;            ///< Calls that embed or score, begun.
    std::uint64_t running;          ///< Of these, not ended yet.
    std::uint64_t failed_argument;  ///< Of these, ended by their arguments, or by what the model is not made for.
    std::uint64_t failed_media;     ///< By a video.
    std::uint64_t failed_memory;    ///< By Status::out_of_memory.
    std::uint64_t failed_other;     ///< By any other error.
    std::uint64_t cancelled;        ///< By Status::cancelled.
    std::uint64_t timed_out;        ///< By Status::timeout.
    std::uint64_t texts;            ///< Texts that went through the model.
    std::uint64_t images;           ///< Images that did. A frame that repeats the one before it goes once.
    std::uint64_t text_batches;     ///< Forward passes of the text tower.
    std::uint64_t image_batches;    ///< Forward passes of the vision tower.
    double mean_text_batch;         ///< Texts in a pass, on average; 0 before the first.
    double mean_image_batch;        ///< Images in a pass, on average; 0 before the first.
    std::uint64_t queued_texts;     ///< Texts that wait for the model now.
    std::uint64_t queued_images;    ///< Images that wait for the model now.
    std::uint64_t waiting_calls;    ///< Calls that wait for room in the queues now, and decoders that wait for a core.
    std::uint64_t bytes_held;       ///< Bytes of images and token ids that wait or are in a pass.
    std::chrono::microseconds queue;          ///< Waiting for a pass.
    std::chrono::microseconds decode;         ///< Finding and decoding frames.
    std::chrono::microseconds preprocess;     ///< Converting, scaling and cropping; for videos a part of `decode`.
    std::chrono::microseconds text_forward;   ///< Forward passes of the text tower.
    std::chrono::microseconds image_forward;  ///< Forward passes of the vision tower.
    std::uint64_t device_bytes;               ///< Bytes of the model's GPUs that libtorch holds for the process.
};

/// How many GPUs this process can use through CUDA: `c4c_cuda_devices`.
struct CudaDevices {
    std::uint32_t count = 0;
    /// Where there is none, why.
    std::string reason = {};
};

// ---------------------------------------------------------------------------------------------------------------------
// The way to C and back

namespace detail {

/// Runs `f`; false where it threw.
template <class F>
bool quietly(F&& f) noexcept {
#if C4C_HPP_EXCEPTIONS
    try {
        f();
    } catch (...) {
        return false;
    }
#else
    f();
#endif
    return true;
}

/// Runs functions of the user on behalf of C, where no exception may pass, and throws afterwards what they threw.
class Border {
public:
    /// What `f` returns, or `failed` where it throws or one before it has.
    template <class F, class R>
    R run(F&& f, R failed) noexcept {
#if C4C_HPP_EXCEPTIONS
        if (thrown_) return failed;
        try {
            return f();
        } catch (...) {
            thrown_ = std::current_exception();
            return failed;
        }
#else
        static_cast<void>(failed);
        return f();
#endif
    }

    void rethrow() {
#if C4C_HPP_EXCEPTIONS
        if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
#endif
    }

private:
#if C4C_HPP_EXCEPTIONS
    std::exception_ptr thrown_;
#endif
};

struct Progress {
    const ProgressFn& fn;
    Border border = {};

    static std::int32_t call(void* self, std::size_t done, std::size_t total) noexcept {
        Progress& progress = *static_cast<Progress*>(self);
        return progress.border.run([&] { return progress.fn(done, total); }, false) ? 0 : 1;
    }
};

struct Io {
    const Reader& reader;
    Border border = {};

    static std::int64_t read(void* self, std::uint8_t* buffer, std::size_t size) noexcept {
        Io& io = *static_cast<Io*>(self);
        return io.border.run([&] { return io.reader.read(buffer, size); }, std::int64_t{-1});
    }

    static std::int64_t seek(void* self, std::int64_t offset, std::int32_t whence) noexcept {
        Io& io = *static_cast<Io*>(self);
        return io.border.run([&] { return io.reader.seek(offset, static_cast<Whence>(whence)); }, std::int64_t{-1});
    }
};

inline void log(void* fn, std::int32_t level, const char* message) noexcept {
    quietly([&] { (*static_cast<const LogFn*>(fn))(static_cast<LogLevel>(level), message); });
}

inline c4c_call to_c(const Call& call) noexcept {
    c4c_call c = {};
    c.struct_size = sizeof c;
    c.timeout_us = call.timeout.count();
    c.cancel = call.cancel != nullptr ? call.cancel->get() : nullptr;
    return c;
}

inline c4c_video_options to_c(const VideoOptions& video) noexcept {
    c4c_video_options c = {};
    c.struct_size = sizeof c;
    c.num_frames = video.num_frames;
    c.sampling = static_cast<std::uint32_t>(video.sampling);
    c.seek = static_cast<std::uint32_t>(video.seek);
    c.fps = video.fps;
    c.start_us = video.start.count();
    c.end_us = video.end.count();
    c.color = static_cast<std::uint32_t>(video.color);
    c.flags = static_cast<std::uint32_t>(video.flags);
    c.decode_threads = video.decode_threads;
    c.stream_index_plus_1 = static_cast<std::uint32_t>(video.stream_index) + 1;
    c.max_pixels = video.max_pixels;
    c.hwaccel = static_cast<std::uint32_t>(video.hwaccel);
    c.hwaccel_device = video.hwaccel_device;
    return c;
}

inline const c4c_frame* to_c(Span<const Frame> frames) noexcept {
    return reinterpret_cast<const c4c_frame*>(frames.data());
}

inline Failure out_of_memory() noexcept { return Failure(Status::out_of_memory, "memory ran out"); }

inline Failure check(CString string, std::string_view name) noexcept {
    return string.has_nul() ? Failure(Status::invalid_argument, name, " has a NUL inside") : Failure();
}

/// A vector of `n` floats that `write` fills.
template <class Write>
Result<std::vector<float>> vector(std::size_t n, Write&& write) {
    std::vector<float> out;
    if (!quietly([&] { out.resize(n); })) return out_of_memory();
    const Result<void> done = write(Span<float>(out));
    if (!done) return done.failure();
    return out;
}

/// A matrix that `write` fills.
template <class Write>
Result<Matrix> matrix(std::size_t rows, std::size_t cols, Write&& write) {
    Result<std::vector<float>> values = vector(rows * cols, std::forward<Write>(write));
    if (!values) return values.failure();
    return Matrix(*std::move(values), cols);
}

}  // namespace detail

inline Reader Reader::from(std::istream& stream) {
    std::streambuf* const buffer = stream ? stream.rdbuf() : nullptr;
    if (buffer == nullptr) return {[](std::uint8_t*, std::size_t) { return std::int64_t{-1}; }};
    Reader reader;
    reader.read = [buffer](std::uint8_t* bytes, std::size_t size) {
        std::int64_t n = -1;
        detail::quietly([&] { n = buffer->sgetn(reinterpret_cast<char*>(bytes), static_cast<std::streamsize>(size)); });
        return n;
    };
    const auto go = [](std::streambuf& to, std::int64_t offset, std::ios_base::seekdir from) -> std::int64_t {
        std::int64_t at = -1;
        detail::quietly([&] { at = to.pubseekoff(offset, from, std::ios_base::in); });
        return at;
    };
    const std::int64_t first = go(*buffer, 0, std::ios_base::cur);
    if (first < 0) return reader;
    reader.seek = [buffer, first, go](std::int64_t offset, Whence whence) -> std::int64_t {
        std::int64_t at = -1;
        switch (whence) {
            case Whence::set:
                if (offset > std::numeric_limits<std::int64_t>::max() - first) return -1;
                at = go(*buffer, first + offset, std::ios_base::beg);
                break;
            case Whence::current: at = go(*buffer, offset, std::ios_base::cur); break;
            case Whence::end: at = go(*buffer, offset, std::ios_base::end); break;
            case Whence::size: {
                const std::int64_t here = go(*buffer, 0, std::ios_base::cur);
                at = go(*buffer, 0, std::ios_base::end);
                if (here < 0 || go(*buffer, here, std::ios_base::beg) != here) return -1;
                break;
            }
        }
        return at < first ? -1 : at - first;
    };
    return reader;
}

// ---------------------------------------------------------------------------------------------------------------------
// The model

/// A loaded model. Movable, not copyable.
///
/// Errors are those of the C function of the same name; c4c.h lists them. `dim` is dim().
///
/// Thread-safety: any number of threads may call const members of one model at once. Moving, assigning to, closing and
/// destroying it are not const: calls that are running are waited for, but none may begin meanwhile. A progress or
/// reader function that does one of these to its own model waits for itself, forever.
class Model {
public:
    /// No model.
    Model() noexcept = default;

    Model(Model&&) noexcept = default;

    Model& operator=(Model&& other) noexcept {
        // Member by member, the old log function would go before the old model, which may still log.
        Model taken = std::move(other);
        std::swap(log_, taken.log_);
        std::swap(model_, taken.model_);
        return *this;
    }

    /// Whether there is a model.
    explicit operator bool() const noexcept { return model_ != nullptr; }

    /// Releases the model now: refuses new calls, waits for the running ones, gives back its memory.
    void close() noexcept {
        model_.reset();
        log_.reset();
    }

    /// Floats in one embedding: 512 for ViT-B. 0 without a model.
    std::size_t dim() const noexcept { return c4c_dim(get()); }

    /// For the C functions; NULL without a model. It stays this object's.
    const c4c_model* get() const noexcept { return model_.get(); }

#if C4C_HPP_EXCEPTIONS
    /// Loads a model. Status::unsupported where the loaded library has another interface than this header.
    explicit Model(Options options) : Model(try_create(std::move(options)).value()) {}

    /// What was loaded, and how it runs.
    Info info() const { return try_info().value(); }

    /// What the model has done since it was made, and what it holds now.
    Stats stats() const { return try_stats().value(); }

    /// Gives back memory that is held for speed and not in use, on GPUs and in the process; the next calls are slower.
    /// Waits for the passes that run.
    void trim() const { try_trim().value(); }

    /// Embeds a text: `[dim]` floats of unit length.
    std::vector<float> embed_text(CString text, const Call& call = {}) const {
        return try_embed_text(text, call).value();
    }
    /// @overload
    void embed_text(CString text, Span<float> out, const Call& call = {}) const {
        try_embed_text(text, out, call).value();
    }

    /// Embeds texts: `[texts, dim]`.
    Matrix embed_texts(const CStrings& texts, const Call& call = {}) const {
        return try_embed_texts(texts, call).value();
    }
    /// @overload
    void embed_texts(const CStrings& texts, Span<float> out, const Call& call = {}) const {
        try_embed_texts(texts, out, call).value();
    }

    /// Embeds a picture: `[dim]`.
    std::vector<float> embed_image(const Frame& image, const Call& call = {}) const {
        return try_embed_image(image, call).value();
    }
    /// @overload
    void embed_image(const Frame& image, Span<float> out, const Call& call = {}) const {
        try_embed_image(image, out, call).value();
    }

    /// Embeds pictures of any sizes: `[images, dim]`.
    Matrix embed_images(Span<const Frame> images, const Call& call = {}) const {
        return try_embed_images(images, call).value();
    }
    /// @overload
    void embed_images(Span<const Frame> images, Span<float> out, const Call& call = {}) const {
        try_embed_images(images, out, call).value();
    }

    /// Embeds one video given as frames in the order of time: `[dim]`.
    std::vector<float> embed_frames(Span<const Frame> frames, const Call& call = {}) const {
        return try_embed_frames(frames, call).value();
    }
    /// @overload
    void embed_frames(Span<const Frame> frames, Span<float> out, const Call& call = {}) const {
        try_embed_frames(frames, out, call).value();
    }

    /// How well each text goes with one video given as frames, by the model's head: `[texts]`, larger for a better fit.
    std::vector<float> score(const CStrings& texts, Span<const Frame> frames, const Call& call = {}) const {
        return try_score(texts, frames, call).value();
    }
    /// @overload
    void score(const CStrings& texts, Span<const Frame> frames, Span<float> out, const Call& call = {}) const {
        try_score(texts, frames, out, call).value();
    }

    /// Embeds a video file: `[dim]`.
    ///
    /// @param path  a local file. With VideoFlag::allow_network also an http, https or rtsp URL
    std::vector<float> embed_video_path(CString path, const VideoOptions& video = {}, const Call& call = {}) const {
        return try_embed_video_path(path, video, call).value();
    }
    /// @overload
    void embed_video_path(CString path, Span<float> out, const VideoOptions& video = {}, const Call& call = {}) const {
        try_embed_video_path(path, out, video, call).value();
    }

    /// Embeds a video file that is in memory as a whole: `[dim]`.
    std::vector<float> embed_video_memory(Bytes file, const VideoOptions& video = {}, const Call& call = {}) const {
        return try_embed_video_memory(file, video, call).value();
    }
    /// @overload
    void embed_video_memory(Bytes file, Span<float> out, const VideoOptions& video = {}, const Call& call = {}) const {
        try_embed_video_memory(file, out, video, call).value();
    }

    /// Embeds a video that the caller reads: `[dim]`. Status::media_io where reading failed.
    std::vector<float> embed_video_io(const Reader& reader, const VideoOptions& video = {},
                                      const Call& call = {}) const {
        return try_embed_video_io(reader, video, call).value();
    }
    /// @overload
    void embed_video_io(const Reader& reader, Span<float> out, const VideoOptions& video = {},
                        const Call& call = {}) const {
        try_embed_video_io(reader, out, video, call).value();
    }

    /// Embeds many video files. One that cannot be embedded costs its own row only, and VideoBatch says which and why.
    ///
    /// @param call      limits of the call as a whole
    /// @param progress  told after each file; may be empty
    VideoBatch embed_video_paths(const CStrings& paths, const VideoOptions& video = {}, const Call& call = {},
                                 const ProgressFn& progress = {}) const {
        return try_embed_video_paths(paths, video, call, progress).value();
    }

    /// The same into the caller's memory: rows of files that failed stay untouched.
    ///
    /// @param out       room for `[paths, dim]` floats
    /// @param statuses  receives `[paths]` results
    /// @return what was wrong with the first that failed; empty where none did
    std::string embed_video_paths(const CStrings& paths, Span<float> out, Span<Status> statuses,
                                  const VideoOptions& video = {}, const Call& call = {},
                                  const ProgressFn& progress = {}) const {
        const Result<void> done = try_embed_video_paths(paths, out, statuses, video, call, progress);
        done.value();
        return done.message();
    }

    /// The same, all or nothing: the first file that fails is an error of the call.
    void embed_video_paths(const CStrings& paths, Span<float> out, const VideoOptions& video = {},
                           const Call& call = {}, const ProgressFn& progress = {}) const {
        try_embed_video_paths(paths, out, video, call, progress).value();
    }

    /// Embeds every window of a long video from one decode: windows at 0, `step`, 2 `step` … up to the first that
    /// reaches the end. VideoOptions::num_frames are taken of every window.
    ///
    /// @param window  at least 1 µs
    /// @param step    at least 1 µs
    Segments embed_segments(CString path, std::chrono::microseconds window, std::chrono::microseconds step,
                            const VideoOptions& video = {}, const Call& call = {}) const {
        return try_embed_segments(path, window, step, video, call).value();
    }
#endif

    /// @name Without exceptions
    /// Each does what the call without `try_` does, and is described there; try_create is the constructor.
    /// @{

    static Result<Model> try_create(Options options) noexcept {
        if (!abi_matches()) {
            return Failure(Status::unsupported, "the loaded libc4c has interface ", abi_version(), ", c4c.h has ",
                           C4C_ABI_VERSION);
        }
        for (const auto& [text, name] :
             {std::pair(&options.model_name, "options.model_name"), std::pair(&options.weights, "options.weights"),
              std::pair(&options.tokenizer, "options.tokenizer"), std::pair(&options.device, "options.device")}) {
            if (Failure failure = detail::check(*text, name); failure.status() != Status::ok) return failure;
        }
        const auto delay = options.max_batch_delay.count();
        if (delay < 0 || delay > std::numeric_limits<std::uint32_t>::max()) {
            return Failure(Status::invalid_argument, "options.max_batch_delay is ", delay, " µs, expected 0 to ",
                           std::numeric_limits<std::uint32_t>::max());
        }
        const auto or_null = [](const std::string& text) { return text.empty() ? nullptr : text.c_str(); };
        c4c_options c = {};
        c.struct_size = sizeof c;
        c.modality = static_cast<std::uint32_t>(options.modality);
        c.model_name = or_null(options.model_name);
        c.weights_path = or_null(options.weights);
        c.tokenizer_path = or_null(options.tokenizer);
        c.device = or_null(options.device);
        c.precision = static_cast<std::uint32_t>(options.precision);
        c.head = static_cast<std::uint32_t>(options.head);
        c.activation = static_cast<std::uint32_t>(options.activation);
        c.max_words = options.max_words;
        c.flags = static_cast<std::uint32_t>(options.flags);
        c.num_threads = options.num_threads;
        c.max_batch = options.max_batch;
        c.max_batch_delay_us = static_cast<std::uint32_t>(delay);
        c.log_level = static_cast<std::uint32_t>(options.log_level);
        Model model;
        if (options.log) {
            // On the heap, where it stays when the model moves.
            model.log_.reset(new (std::nothrow) LogFn(std::move(options.log)));
            if (model.log_ == nullptr) return detail::out_of_memory();
            c.log = &detail::log;
            c.log_user_data = model.log_.get();
        }
        c4c_model* handle = nullptr;
        Result<void> done;
        c4c_create(&c, &handle, done.raw());
        if (!done) return done.failure();
        model.model_.reset(handle);
        return model;
    }

    Result<Info> try_info() const noexcept {
        c4c_info c = {};
        c.struct_size = sizeof c;
        Result<void> done;
        c4c_get_info(get(), &c, done.raw());
        if (!done) return done.failure();
        Info info = {};
        info.dim = c.dim;
        info.modality = static_cast<Modality>(c.modality);
        info.head = static_cast<Head>(c.head);
        info.activation = static_cast<Activation>(c.activation);
        info.precision = static_cast<Precision>(c.precision);
        info.num_threads = c.num_threads;
        info.max_batch = c.max_batch;
        info.max_words = c.max_words;
        info.image_size = c.image_size;
        info.patch_size = c.patch_size;
        info.vision_width = c.vision_width;
        info.vision_layers = c.vision_layers;
        info.text_width = c.text_width;
        info.text_layers = c.text_layers;
        info.context_length = c.context_length;
        info.vocab_size = c.vocab_size;
        info.logit_scale = c.logit_scale;
        const bool copied = detail::quietly([&] {
            info.device = c.device;
            info.model_name = c.model_name;
            info.weights = c.weights;
            info.device_note = c.device_note;
        });
        if (!copied) return detail::out_of_memory();
        return info;
    }

    Result<Stats> try_stats() const noexcept {
        using std::chrono::microseconds;
        c4c_stats c = {};
        c.struct_size = sizeof c;
        Result<void> done;
        c4c_get_stats(get(), &c, done.raw());
        if (!done) return done.failure();
        Stats stats = {};
        stats.calls = c.calls;
        stats.running = c.running;
        stats.failed_argument = c.failed_argument;
        stats.failed_media = c.failed_media;
        stats.failed_memory = c.failed_memory;
        stats.failed_other = c.failed_other;
        stats.cancelled = c.cancelled;
        stats.timed_out = c.timed_out;
        stats.texts = c.texts;
        stats.images = c.images;
        stats.text_batches = c.text_batches;
        stats.image_batches = c.image_batches;
        stats.mean_text_batch = c.mean_text_batch;
        stats.mean_image_batch = c.mean_image_batch;
        stats.queued_texts = c.queued_texts;
        stats.queued_images = c.queued_images;
        stats.waiting_calls = c.waiting_calls;
        stats.bytes_held = c.bytes_held;
        stats.queue = microseconds(c.queue_us);
        stats.decode = microseconds(c.decode_us);
        stats.preprocess = microseconds(c.preprocess_us);
        stats.text_forward = microseconds(c.text_forward_us);
        stats.image_forward = microseconds(c.image_forward_us);
        stats.device_bytes = c.device_bytes;
        return stats;
    }

    Result<void> try_trim() const noexcept {
        Result<void> done;
        c4c_trim(get(), done.raw());
        return done;
    }

    Result<std::vector<float>> try_embed_text(CString text, const Call& call = {}) const noexcept {
        return detail::vector(dim(), [&](Span<float> out) { return try_embed_text(text, out, call); });
    }
    Result<void> try_embed_text(CString text, Span<float> out, const Call& call = {}) const noexcept {
        if (text.has_nul()) return detail::check(text, "text");
        const char* const texts = text.c_str();
        return try_embed_texts(CStrings(&texts, 1), out, call);
    }

    Result<Matrix> try_embed_texts(const CStrings& texts, const Call& call = {}) const noexcept {
        return detail::matrix(texts.size(), dim(), [&](Span<float> out) { return try_embed_texts(texts, out, call); });
    }
    Result<void> try_embed_texts(const CStrings& texts, Span<float> out, const Call& call = {}) const noexcept {
        Result<void> done = texts.check("texts");
        if (!done) return done;
        const c4c_call limits = detail::to_c(call);
        c4c_embed_text(get(), texts.data(), texts.size(), &limits, out.data(), out.size(), done.raw());
        return done;
    }

    Result<std::vector<float>> try_embed_image(const Frame& image, const Call& call = {}) const noexcept {
        return detail::vector(dim(), [&](Span<float> out) { return try_embed_image(image, out, call); });
    }
    Result<void> try_embed_image(const Frame& image, Span<float> out, const Call& call = {}) const noexcept {
        return try_embed_images(Span<const Frame>(&image, 1), out, call);
    }

    Result<Matrix> try_embed_images(Span<const Frame> images, const Call& call = {}) const noexcept {
        return detail::matrix(images.size(), dim(),
                              [&](Span<float> out) { return try_embed_images(images, out, call); });
    }
    Result<void> try_embed_images(Span<const Frame> images, Span<float> out, const Call& call = {}) const noexcept {
        const c4c_call limits = detail::to_c(call);
        Result<void> done;
        c4c_embed_images(get(), detail::to_c(images), images.size(), &limits, out.data(), out.size(), done.raw());
        return done;
    }

    Result<std::vector<float>> try_embed_frames(Span<const Frame> frames, const Call& call = {}) const noexcept {
        return detail::vector(dim(), [&](Span<float> out) { return try_embed_frames(frames, out, call); });
    }
    Result<void> try_embed_frames(Span<const Frame> frames, Span<float> out, const Call& call = {}) const noexcept {
        const c4c_call limits = detail::to_c(call);
        Result<void> done;
        c4c_embed_frames(get(), detail::to_c(frames), frames.size(), &limits, out.data(), out.size(), done.raw());
        return done;
    }

    Result<std::vector<float>> try_score(const CStrings& texts, Span<const Frame> frames,
                                         const Call& call = {}) const noexcept {
        return detail::vector(texts.size(), [&](Span<float> out) { return try_score(texts, frames, out, call); });
    }
    Result<void> try_score(const CStrings& texts, Span<const Frame> frames, Span<float> out,
                           const Call& call = {}) const noexcept {
        Result<void> done = texts.check("texts");
        if (!done) return done;
        const c4c_call limits = detail::to_c(call);
        c4c_score(get(), texts.data(), texts.size(), detail::to_c(frames), frames.size(), &limits, out.data(),
                  out.size(), done.raw());
        return done;
    }

    Result<std::vector<float>> try_embed_video_path(CString path, const VideoOptions& video = {},
                                                    const Call& call = {}) const noexcept {
        return detail::vector(dim(), [&](Span<float> out) { return try_embed_video_path(path, out, video, call); });
    }
    Result<void> try_embed_video_path(CString path, Span<float> out, const VideoOptions& video = {},
                                      const Call& call = {}) const noexcept {
        Result<void> done = detail::check(path, "path");
        if (!done) return done;
        const c4c_video_options how = detail::to_c(video);
        const c4c_call limits = detail::to_c(call);
        c4c_embed_video_path(get(), path.c_str(), &how, &limits, out.data(), out.size(), done.raw());
        return done;
    }

    Result<std::vector<float>> try_embed_video_memory(Bytes file, const VideoOptions& video = {},
                                                      const Call& call = {}) const noexcept {
        return detail::vector(dim(), [&](Span<float> out) { return try_embed_video_memory(file, out, video, call); });
    }
    Result<void> try_embed_video_memory(Bytes file, Span<float> out, const VideoOptions& video = {},
                                        const Call& call = {}) const noexcept {
        const c4c_video_options how = detail::to_c(video);
        const c4c_call limits = detail::to_c(call);
        Result<void> done;
        c4c_embed_video_memory(get(), file.data(), file.size(), &how, &limits, out.data(), out.size(), done.raw());
        return done;
    }

    Result<std::vector<float>> try_embed_video_io(const Reader& reader, const VideoOptions& video = {},
                                                  const Call& call = {}) const {
        return detail::vector(dim(), [&](Span<float> out) { return try_embed_video_io(reader, out, video, call); });
    }
    Result<void> try_embed_video_io(const Reader& reader, Span<float> out, const VideoOptions& video = {},
                                    const Call& call = {}) const {
        detail::Io io{reader};
        c4c_io source = {};
        source.struct_size = sizeof source;
        source.user_data = &io;
        source.read = reader.read ? &detail::Io::read : nullptr;
        source.seek = reader.seek ? &detail::Io::seek : nullptr;
        const c4c_video_options how = detail::to_c(video);
        const c4c_call limits = detail::to_c(call);
        Result<void> done;
        c4c_embed_video_io(get(), &source, &how, &limits, out.data(), out.size(), done.raw());
        io.border.rethrow();
        return done;
    }

    Result<VideoBatch> try_embed_video_paths(const CStrings& paths, const VideoOptions& video = {},
                                             const Call& call = {}, const ProgressFn& progress = {}) const {
        VideoBatch batch;
        const bool room = detail::quietly([&] { batch.statuses.resize(paths.size(), Status::ok); });
        if (!room) return detail::out_of_memory();
        Result<Matrix> vectors = detail::matrix(paths.size(), dim(), [&](Span<float> out) {
            Result<void> done = try_embed_video_paths(paths, out, batch.statuses, video, call, progress);
            if (done && !detail::quietly([&] { batch.message = done.message(); })) done = detail::out_of_memory();
            return done;
        });
        if (!vectors) return vectors.failure();
        batch.vectors = *std::move(vectors);
        return batch;
    }
    /// On success message() is what was wrong with the first file that failed; empty where none did.
    Result<void> try_embed_video_paths(const CStrings& paths, Span<float> out, Span<Status> statuses,
                                       const VideoOptions& video = {}, const Call& call = {},
                                       const ProgressFn& progress = {}) const {
        if (statuses.size() < paths.size()) {
            return Failure(Status::buffer_too_small, "statuses has room for ", statuses.size(), ", ", paths.size(),
                           " are needed");
        }
        return embed_video_paths_to(paths, out, reinterpret_cast<c4c_status*>(statuses.data()), video, call, progress);
    }
    Result<void> try_embed_video_paths(const CStrings& paths, Span<float> out, const VideoOptions& video = {},
                                       const Call& call = {}, const ProgressFn& progress = {}) const {
        return embed_video_paths_to(paths, out, nullptr, video, call, progress);
    }

    Result<Segments> try_embed_segments(CString path, std::chrono::microseconds window, std::chrono::microseconds step,
                                        const VideoOptions& video = {}, const Call& call = {}) const noexcept {
        Result<void> done = detail::check(path, "path");
        if (!done) return done.failure();
        const c4c_video_options how = detail::to_c(video);
        const c4c_call limits = detail::to_c(call);
        c4c_segments* segments = nullptr;
        c4c_embed_segments(get(), path.c_str(), &how, window.count(), step.count(), &limits, &segments, done.raw());
        if (!done) return done.failure();
        return Segments(segments, dim());
    }
    /// @}

private:
    struct Free {
        void operator()(c4c_model* model) const noexcept { c4c_free(model); }
    };

    Result<void> embed_video_paths_to(const CStrings& paths, Span<float> out, c4c_status* statuses,
                                      const VideoOptions& video, const Call& call, const ProgressFn& progress) const {
        Result<void> done = paths.check("paths");
        if (!done) return done;
        const c4c_video_options how = detail::to_c(video);
        const c4c_call limits = detail::to_c(call);
        detail::Progress told{progress};
        c4c_embed_video_paths(get(), paths.data(), paths.size(), &how, &limits,
                              progress ? &detail::Progress::call : nullptr, &told, out.data(), out.size(), statuses,
                              done.raw());
        told.border.rethrow();
        return done;
    }

    // In this order: the model, which goes first, may log until it is gone.
    std::unique_ptr<LogFn> log_;
    std::unique_ptr<c4c_model, Free> model_;
};

// ---------------------------------------------------------------------------------------------------------------------
// GPUs

/// How many GPUs this process can use through CUDA, or why none. The first call, or the first model for a GPU or
/// `auto`, loads libtorch's CUDA half and wakes the driver: a child that is forked after that cannot use CUDA. The
/// answer does not change later. Fails with Status::out_of_memory only.
///
/// Thread-safety: any thread may call this.
inline Result<CudaDevices> try_cuda_devices() noexcept {
    CudaDevices devices;
    Result<void> done;
    c4c_cuda_devices(&devices.count, done.raw());
    if (!done) return done.failure();
    if (!detail::quietly([&] { devices.reason = done.message(); })) return detail::out_of_memory();
    return devices;
}

#if C4C_HPP_EXCEPTIONS
inline CudaDevices cuda_devices() { return try_cuda_devices().value(); }
#endif

// ---------------------------------------------------------------------------------------------------------------------
// Similarity

/// Cosines of every row of `a` with every row of `b`: `[a.rows(), b.rows()]`, for vectors of any length but zero. Fails
/// with Status::invalid_argument where a vector is zero or no number, or the rows of the two have different sizes.
///
/// Thread-safety: any thread may call this.
inline Result<void> try_similarity(MatrixView a, MatrixView b, Span<float> out) noexcept {
    if (a.cols() != b.cols()) {
        return Failure(Status::invalid_argument, "a has vectors of ", a.cols(), " floats, b of ", b.cols());
    }
    Result<void> done;
    c4c_similarity(a.data(), a.rows(), b.data(), b.rows(), a.cols(), out.data(), out.size(), done.raw());
    return done;
}

inline Result<Matrix> try_similarity(MatrixView a, MatrixView b) noexcept {
    return detail::matrix(a.rows(), b.rows(), [&](Span<float> out) { return try_similarity(a, b, out); });
}

#if C4C_HPP_EXCEPTIONS
inline void similarity(MatrixView a, MatrixView b, Span<float> out) { try_similarity(a, b, out).value(); }
inline Matrix similarity(MatrixView a, MatrixView b) { return try_similarity(a, b).value(); }
#endif

}  // namespace v1 or v1_noexcept
}  // namespace c4c

#endif
