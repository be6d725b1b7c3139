// The types that need no model.

#include <array>
#include <filesystem>
#include <optional>
#include <string_view>
#include <type_traits>
#if __cplusplus >= 202002L
#include <span>
#endif

#include "fixture.hpp"

using c4c::CString;
using c4c::CStrings;
using c4c::Span;
using c4c::Status;

static_assert(!std::is_copy_constructible_v<c4c::Model> && !std::is_copy_assignable_v<c4c::Model>);
static_assert(std::is_nothrow_move_constructible_v<c4c::Model> && std::is_nothrow_move_assignable_v<c4c::Model>);
static_assert(!std::is_copy_constructible_v<c4c::Segments> && std::is_nothrow_move_constructible_v<c4c::Segments>);
static_assert(!std::is_move_constructible_v<c4c::Cancel>);
static_assert(std::is_aggregate_v<c4c::Options> && std::is_aggregate_v<c4c::VideoOptions>);
static_assert(std::is_aggregate_v<c4c::Call> && std::is_aggregate_v<c4c::Frame> && std::is_aggregate_v<c4c::Reader>);
// Nothing ends a string_view.
static_assert(!std::is_convertible_v<std::string_view, CString>);
static_assert(!std::is_convertible_v<std::vector<std::string_view>, CStrings>);
// A path is one string, not a range of its parts.
static_assert(!std::is_convertible_v<std::filesystem::path, CStrings>);
static_assert(std::is_convertible_v<std::vector<std::filesystem::path>, CStrings>);
// Constants are not written to.
static_assert(!std::is_convertible_v<const std::vector<float>&, Span<float>>);
static_assert(!std::is_convertible_v<std::vector<double>&, Span<float>>);
static_assert(!std::is_convertible_v<c4c::Segments&, Span<const float>>);
// The calls are noexcept, as the header says, but for those that run functions of the user.
template <class T>
const T& made() noexcept;
static_assert(noexcept(made<c4c::Model>().try_embed_text(made<CString>(), made<c4c::Call>())));
static_assert(noexcept(made<c4c::Model>().try_embed_text(made<CString>(), made<Span<float>>(), made<c4c::Call>())));
static_assert(noexcept(made<c4c::Model>().try_embed_frames(made<Span<const c4c::Frame>>(), made<c4c::Call>())));
static_assert(noexcept(made<c4c::Model>().try_info()));
static_assert(noexcept(made<c4c::Model>().try_trim()));
static_assert(noexcept(c4c::try_cuda_devices()));
static_assert(!noexcept(made<c4c::Model>().try_embed_video_io(made<c4c::Reader>(), made<c4c::VideoOptions>(),
                                                              made<c4c::Call>())));

TEST(Span, IsMadeFromWhateverLiesSideBySide) {
    std::vector<float> vector{1, 2, 3};
    std::array<float, 2> array{4, 5};
    float plain[] = {6};
    const auto size = [](Span<float> span) { return span.size(); };
    EXPECT_EQ(size(vector), 3u);
    EXPECT_EQ(size(array), 2u);
    EXPECT_EQ(size(plain), 1u);
    EXPECT_EQ(size({vector.data(), 2}), 2u);
#if __cplusplus >= 202002L
    EXPECT_EQ(size(std::span(vector).subspan(1)), 2u);
    const Span<float> ours = vector;
    EXPECT_EQ(std::span<float>(ours.data(), ours.size()).back(), 3);
#endif
    Span<const float> read = Span<float>(vector);
    EXPECT_EQ(read.data(), vector.data());
    EXPECT_EQ(read[2], 3);
    EXPECT_FALSE(read.empty());
    EXPECT_EQ(std::vector<float>(read.begin(), read.end()), vector);
}

namespace {

// A string that does not know its size.
struct Pointed {
    const char* text;
    const char* c_str() const { return text; }
};

}  // namespace

TEST(CString, BorrowsAndSeesWhatCWouldNot) {
    const std::string text = "a dog";
    EXPECT_EQ(CString(text).c_str(), text.c_str());
    const std::filesystem::path path = "/tmp/dog.mp4";
    EXPECT_EQ(CString(path).c_str(), path.c_str());
    const Pointed pointed{"a dog"};
    EXPECT_EQ(CString(pointed).c_str(), pointed.text);
    EXPECT_FALSE(CString(pointed).has_nul());
    EXPECT_FALSE(CString("a dog").has_nul());
    EXPECT_FALSE(CString(std::string()).has_nul());
    EXPECT_TRUE(CString(std::string("a\0dog", 5)).has_nul());
    EXPECT_TRUE(CString(std::filesystem::path(std::string("a\0dog", 5))).has_nul());
}

TEST(CStrings, PassesPointersOnAndMakesThemOfStrings) {
    const char* plain[] = {"a", "b"};
    EXPECT_EQ(CStrings(plain).data(), plain);
    const std::vector<const char*> pointers(plain, plain + 2);
    EXPECT_EQ(CStrings(pointers).data(), pointers.data());
    EXPECT_EQ(CStrings(plain, 1).size(), 1u);

    const std::vector<std::string> strings{"a dog", "a cat"};
    const CStrings made(strings);
    ASSERT_EQ(made.size(), 2u);
    EXPECT_EQ(made.data()[1], strings[1].c_str());
    EXPECT_EQ(CStrings(std::vector<std::string>()).size(), 0u);

    const CStrings mixed{"a dog", strings[1], std::string("x\0y", 3)};
    EXPECT_STREQ(mixed.data()[0], "a dog");
    const c4c::Failure failure = mixed.check("texts");
    EXPECT_EQ(failure.status(), Status::invalid_argument);
    EXPECT_STREQ(failure.message(), "texts[2] has a NUL inside");
    EXPECT_EQ(made.check("texts").status(), Status::ok);
}

TEST(Failure, JoinsItsPartsAndIsCut) {
    EXPECT_STREQ(c4c::Failure(Status::limit, "at ", std::size_t{7}, ", ", -3).message(), "at 7, -3");
    EXPECT_STREQ(c4c::Failure(Status::limit, std::string_view(), "x").message(), "x");
    const c4c::Failure long_one(Status::limit, std::string(1000, 'x'), "y");
    EXPECT_EQ(std::string(long_one.message()), std::string(sizeof(c4c_error::message) - 1, 'x'));
    EXPECT_EQ(c4c::Failure().status(), Status::ok);
}

TEST(Result, HasAValueOrAFailure) {
    c4c::Result<std::string> good = std::string("value");
    ASSERT_TRUE(good);
    EXPECT_EQ(*good, "value");
    EXPECT_EQ(good->size(), 5u);
    EXPECT_EQ(good.status(), Status::ok);
    const std::string& value = good.value();
    EXPECT_EQ(&value, &*good);
    EXPECT_EQ(std::move(good).value(), "value");

    c4c::Result<std::string> bad = c4c::Failure(Status::limit, "too much");
    EXPECT_FALSE(bad.has_value());
    EXPECT_STREQ(bad.message(), "too much");
    expect_error(Status::limit, "too much", [&] { return bad.value(); });
    expect_error(Status::limit, "too much", [&] { return std::move(bad).value(); });
    expect_error(Status::limit, "too much", [] { c4c::Result<void>(c4c::Failure(Status::limit, "too much")).value(); });
}

TEST(Matrix, HasRows) {
    c4c::Matrix matrix({1, 2, 3, 4, 5, 6}, 3);
    EXPECT_EQ(matrix.rows(), 2u);
    EXPECT_EQ(matrix.cols(), 3u);
    matrix[1][0] = 7;
    const c4c::Matrix& read = matrix;
    EXPECT_EQ(read[1][0], 7);
    std::vector<float> firsts;
    for (c4c::Span<const float> row : read) firsts.push_back(row[0]);
    EXPECT_EQ(firsts, (std::vector<float>{1, 7}));
    firsts.clear();
    const c4c::MatrixView view = matrix;
    for (c4c::Span<const float> row : view) firsts.push_back(row[2]);
    EXPECT_EQ(firsts, (std::vector<float>{3, 6}));
    // An iterator outlives the view that it came from.
    std::optional<c4c::MatrixView> gone(view);
    auto row = gone->begin();
    gone.emplace(nullptr, 0, 0);
    EXPECT_EQ(row->data(), matrix.data());
    EXPECT_EQ(row++->size(), 3u);
    EXPECT_EQ((*row).data(), matrix[1].data());
    EXPECT_TRUE(++row == view.end());
    auto own = read.begin();
    EXPECT_EQ((++own)->data(), matrix[1].data());
    own = read.begin();
    EXPECT_EQ(own->data(), matrix.data());
    EXPECT_EQ(matrix.values().size(), 6u);
    EXPECT_EQ(std::move(matrix).values(), (std::vector<float>{1, 2, 3, 7, 5, 6}));
    EXPECT_EQ(c4c::Matrix().rows(), 0u);
}

TEST(Flags, AreJoined) {
    EXPECT_EQ(static_cast<std::uint32_t>(c4c::OptionFlag::raw_output | c4c::OptionFlag::strict_text),
              std::uint32_t{C4C_RAW_OUTPUT | C4C_STRICT_TEXT});
    EXPECT_EQ(static_cast<std::uint32_t>(c4c::OptionFlag::no_cuda_graphs), std::uint32_t{C4C_NO_CUDA_GRAPHS});
    EXPECT_EQ(static_cast<std::uint32_t>(c4c::VideoFlag::apply_rotation | c4c::VideoFlag::strict_decode),
              std::uint32_t{C4C_APPLY_ROTATION} | std::uint32_t{C4C_STRICT_DECODE});
}

template <class Clock, class Duration>
void has_ends() {
    using Point = std::chrono::time_point<Clock, Duration>;
    EXPECT_EQ(c4c::Call::until(Point::min()).timeout.count(), 1);
    EXPECT_GT(c4c::Call::until(Point::max()).timeout, std::chrono::hours(24 * 365 * 100));
}

TEST(Call, TakesTheFirstAndLastPointsInTime) {
    using std::chrono::steady_clock;
    using std::chrono::system_clock;
    has_ends<steady_clock, steady_clock::duration>();
    has_ends<steady_clock, std::chrono::microseconds>();
    has_ends<system_clock, system_clock::duration>();
    has_ends<system_clock, std::chrono::seconds>();
    has_ends<system_clock, std::chrono::duration<double>>();
}

TEST(Call, EndsAtAPointInTime) {
    using std::chrono::steady_clock;
    EXPECT_EQ(c4c::Call::until(steady_clock::now() - std::chrono::hours(1)).timeout.count(), 1);
    const auto later = c4c::Call::until(steady_clock::now() + std::chrono::hours(1)).timeout;
    EXPECT_GT(later, std::chrono::minutes(30));
    EXPECT_LE(later, std::chrono::hours(1));
    const c4c::Cancel cancel;
    EXPECT_EQ(c4c::Call::until(std::chrono::system_clock::now(), &cancel).cancel, &cancel);
}

TEST(Similarity, IsTheCosineOfRows) {
    const c4c::Matrix a({1, 0, 0, 2}, 2);
    const std::vector<float> b{3, 4};
    const c4c::Matrix cosines = c4c::similarity(a, b);
    ASSERT_EQ(cosines.rows(), 2u);
    ASSERT_EQ(cosines.cols(), 1u);
    EXPECT_FLOAT_EQ(cosines[0][0], 0.6f);
    EXPECT_FLOAT_EQ(cosines[1][0], 0.8f);
    float out[2] = {};
    c4c::similarity(b, a, out);
    EXPECT_FLOAT_EQ(out[1], 0.8f);
    EXPECT_FLOAT_EQ(c4c::similarity(c4c::MatrixView(a.data(), 1, 2), b)[0][0], 0.6f);

    expect_error(Status::invalid_argument, "a has vectors of 2 floats, b of 3", [&] {
        c4c::similarity(a, std::vector<float>{1, 2, 3});
    });
    expect_error(Status::invalid_argument, "b", [&] { c4c::similarity(a, std::vector<float>{0, 0}); });
    expect_error(Status::invalid_argument, "a", [&] { c4c::similarity(c4c::Matrix(), c4c::Matrix()); });
    expect_error(Status::buffer_too_small, "2", [&] { c4c::similarity(a, b, Span<float>(out, 1)); });
}

TEST(Library, SaysWhatItIs) {
    EXPECT_EQ(c4c::abi_version(), std::uint32_t{C4C_ABI_VERSION});
    EXPECT_TRUE(c4c::abi_matches());
    EXPECT_STREQ(c4c::version(), c4c_version());
    EXPECT_STREQ(c4c::build_info(), c4c_build_info());
    EXPECT_STREQ(c4c::status_name(Status::weights_io), "C4C_E_WEIGHTS_IO");
    EXPECT_STREQ(c4c::status_name(static_cast<Status>(12345)), "unknown status");
}
