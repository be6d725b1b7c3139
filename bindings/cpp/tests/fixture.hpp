// What the tests share: one model, one video, pictures.

#ifndef C4C_TESTS_FIXTURE_HPP
#define C4C_TESTS_FIXTURE_HPP

#include <gtest/gtest.h>

#include <c4c.hpp>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

// main.cpp has seen to it that they are set.
inline std::string weights() { return std::getenv("C4C_TEST_WEIGHTS"); }
inline std::string video() { return std::getenv("C4C_TEST_VIDEO"); }

/// A model with all defaults but two threads.
inline c4c::Options defaults() {
    c4c::Options options;
    options.weights = weights();
    options.num_threads = 2;
    return options;
}

/// The model that most tests use, loaded once.
inline const c4c::Model& shared_model() {
    static const c4c::Model model(defaults());
    return model;
}

inline std::vector<char> bytes_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// Pixels that differ from each other and from those of another seed.
inline std::vector<std::uint8_t> noise(std::size_t size, std::uint32_t seed) {
    std::vector<std::uint8_t> pixels(size);
    for (auto& pixel : pixels) pixel = static_cast<std::uint8_t>((seed = seed * 1664525 + 1013904223) >> 24);
    return pixels;
}

inline double norm(c4c::Span<const float> vector) {
    double sum = 0;
    for (float x : vector) sum += static_cast<double>(x) * static_cast<double>(x);
    return std::sqrt(sum);
}

inline std::vector<float> copy(c4c::Span<const float> row) { return {row.begin(), row.end()}; }

/// Runs `call`, which must throw c4c::Error with this status and a message that contains `part`.
template <class F>
void expect_error(c4c::Status status, const std::string& part, F&& call) {
    try {
        call();
        ADD_FAILURE() << "no error, expected " << c4c::status_name(status);
    } catch (const c4c::Error& error) {
        EXPECT_EQ(error.status(), status) << error.what();
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what() << ", expected " << part;
    }
}

#endif
