// Compiled once for each CPU that build.rs names, which calls the table of its functions C4C_KERNELS. Nothing of the standard
// library that is not inlined: the linker might keep the copy of it that some CPUs cannot run.

// Whatever CXXFLAGS say.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#if C4C_LEVEL == 4
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
#elif C4C_LEVEL == 3
#pragma GCC target("arch=x86-64-v3")
#endif
#endif
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__)
#error "the order of additions and multiplications matters here: no -ffast-math, please"
#endif

#include "kernels.hpp"

#include <cstring>

#define INLINE static inline __attribute__((always_inline))

static constexpr int64_t LANES = 16;

INLINE uint32_t bits(float x) {
    uint32_t u;
    std::memcpy(&u, &x, 4);
    return u;
}

INLINE float from_bits(uint32_t u) {
    float x;
    std::memcpy(&x, &u, 4);
    return x;
}

// Rounds to nearest, ties to even; what is not a number stays so.
INLINE uint16_t to_bf16(float x) {
    const uint32_t u = bits(x);
    const bool number = (u & 0x7fffffff) <= 0x7f800000;
    return static_cast<uint16_t>((number ? u + 0x7fff + ((u >> 16) & 1) : u | 0x400000) >> 16);
}

// e^x: 2^n · p(r), |r| ≤ ln 2 / 2, with the polynomial of the Cephes library (relative error below 2e-7). From 2⁻¹²⁶ to 2¹²⁷, for
// magnitudes up to 4e6; what is not a number stays so.
INLINE float exponential(float x) {
    const float shifted = x * 1.44269504f + 12582912.0f; // 1.5 · 2²³: the integer lies in the low bits
    const float n = shifted - 12582912.0f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r) * r + r + 1.0f;
    // Bounds on whole numbers are one instruction each.
    int32_t power = static_cast<int32_t>(bits(shifted)) - 0x4b400000;
    power = power < -126 ? -126 : power;
    power = power > 127 ? 127 : power;
    return p * from_bits(static_cast<uint32_t>(power + 127) << 23);
}

// QuickGELU with its factors in the layers on either side: x·σ(x).
INLINE float quick(float x) { return x / (1.0f + exponential(-x)); }

// x·Φ(x), with erf by Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7).
INLINE float gelu(float x) {
    const float z = __builtin_fabsf(x) * 0.70710678f;
    const float t = 1.0f / (1.0f + 0.3275911f * z);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const float tail = 0.5f * p * t * exponential(-z * z);
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

INLINE float sum(const float *lanes) {
    float s = 0;
    for (int64_t i = 0; i < LANES; i++) s += lanes[i];
    return s;
}

static void normalise(const float *x, int64_t n, const float *weight, const float *bias, float eps, float *out) {
    float lanes[LANES] = {}, squares[LANES] = {};
    const int64_t whole = n / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES)
        for (int64_t k = 0; k < LANES; k++) lanes[k] += x[i + k];
    for (int64_t i = whole; i < n; i++) lanes[i - whole] += x[i];
    const float mean = sum(lanes) / static_cast<float>(n);
    for (int64_t i = 0; i < whole; i += LANES)
        for (int64_t k = 0; k < LANES; k++) squares[k] += (x[i + k] - mean) * (x[i + k] - mean);
    for (int64_t i = whole; i < n; i++) squares[i - whole] += (x[i] - mean) * (x[i] - mean);
    const float factor = 1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(n) + eps);
    for (int64_t i = 0; i < n; i++) out[i] = (x[i] - mean) * factor * weight[i] + bias[i];
}

static void round_to_bf16(const float *x, int64_t n, uint16_t *out) {
    for (int64_t i = 0; i < n; i++) out[i] = to_bf16(x[i]);
}

static void half_to_f32(const uint16_t *x, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) {
        const uint32_t h = x[i], magnitude = h & 0x7fff;
        // The exponent's bias grows by 112, which a product does for subnormal numbers, too.
        const uint32_t finite = bits(from_bits(magnitude << 13) * 0x1p112f);
        out[i] = from_bits((magnitude >= 0x7c00 ? magnitude << 13 | 0x7f800000 : finite) | (h & 0x8000) << 16);
    }
}

static void bf16_to_f32(const uint16_t *x, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) out[i] = from_bits(uint32_t{x[i]} << 16);
}

static float quantise(const float *x, int64_t n, uint8_t *out) {
    // Magnitudes are in the order of their bits, those that are not finite last.
    uint32_t lanes[LANES] = {};
    const int64_t whole = n / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES)
        for (int64_t k = 0; k < LANES; k++) {
            const uint32_t magnitude = bits(x[i + k]) & 0x7fffffff;
            lanes[k] = magnitude > lanes[k] ? magnitude : lanes[k];
        }
    for (int64_t i = whole; i < n; i++) {
        const uint32_t magnitude = bits(x[i]) & 0x7fffffff;
        lanes[i - whole] = magnitude > lanes[i - whole] ? magnitude : lanes[i - whole];
    }
    uint32_t largest = 0;
    for (uint32_t lane : lanes) largest = lane > largest ? lane : largest;
    if (largest >= 0x7f800000) return from_bits(0x7fc00000);
    const float most = from_bits(largest), scale = most > 1e-30f ? 127.0f / most : 0.0f;
    // 2²³ + 128: the rounded value lies in the lowest byte.
    for (int64_t i = 0; i < n; i++) out[i] = static_cast<uint8_t>(bits(x[i] * scale + 8388736.0f));
    return most / 127.0f;
}

static void bytes_to_f32(const uint8_t *x, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) out[i] = x[i];
}

static void bytes_to_bf16(const uint8_t *x, int64_t n, uint16_t *out) {
    for (int64_t i = 0; i < n; i++) out[i] = static_cast<uint16_t>(bits(static_cast<float>(x[i])) >> 16);
}

static void dequantise(int32_t *c, int64_t rows, int64_t n, const float *step, const float *scale,
                             const int32_t *offset) {
    for (int64_t r = 0; r < rows; r++) {
        int32_t *from = c + r * n;
        float *to = reinterpret_cast<float *>(from);
        for (int64_t i = 0; i < n; i++) {
            const float value = static_cast<float>(from[i] - offset[i]) * (step[r] * scale[i]);
            std::memcpy(to + i, &value, 4);
        }
    }
}

static void store(const float *c, int64_t rows, int64_t n, const float *bias, float *out, int64_t stride) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) out[r * stride + i] = c[r * n + i] + bias[i];
}

static void add(const float *c, int64_t rows, int64_t n, const float *bias, float *out, int64_t stride) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) out[r * stride + i] += c[r * n + i] + bias[i];
}

static void quick_f32(const float *c, int64_t rows, int64_t n, const float *bias, float *out, int64_t stride) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) out[r * stride + i] = quick(c[r * n + i] + bias[i]);
}

static void gelu_f32(const float *c, int64_t rows, int64_t n, const float *bias, float *out, int64_t stride) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) out[r * stride + i] = gelu(c[r * n + i] + bias[i]);
}

static void quick_bf16(const float *c, int64_t rows, int64_t n, const float *bias, uint16_t *out, int64_t stride) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) out[r * stride + i] = to_bf16(quick(c[r * n + i] + bias[i]));
}

static void gelu_bf16(const float *c, int64_t rows, int64_t n, const float *bias, uint16_t *out, int64_t stride) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) out[r * stride + i] = to_bf16(gelu(c[r * n + i] + bias[i]));
}

static void softmax(float *s, int64_t rows, int64_t n, int64_t padded, float scale, int64_t first, bool causal) {
    for (int64_t r = 0; r < rows; r++) {
        float *x = s + r * padded;
        const int64_t seen = causal ? (first + r + 1 < n ? first + r + 1 : n) : n, whole = seen / LANES * LANES;
        float most[LANES], lanes[LANES] = {};
        for (float &m : most) m = x[0];
        for (int64_t i = 0; i < whole; i += LANES)
            for (int64_t k = 0; k < LANES; k++) most[k] = x[i + k] > most[k] ? x[i + k] : most[k];
        float top = most[0];
        for (float m : most) top = m > top ? m : top;
        for (int64_t i = whole; i < seen; i++) top = x[i] > top ? x[i] : top;
        for (int64_t i = 0; i < seen; i++) x[i] = exponential((x[i] - top) * scale);
        for (int64_t i = 0; i < whole; i += LANES)
            for (int64_t k = 0; k < LANES; k++) lanes[k] += x[i + k];
        for (int64_t i = whole; i < seen; i++) lanes[i - whole] += x[i];
        const float factor = 1.0f / sum(lanes);
        for (int64_t i = 0; i < seen; i++) x[i] *= factor;
        for (int64_t i = seen; i < padded; i++) x[i] = 0.0f;
    }
}

static void gather(const float *from, int64_t rows, int64_t n, int64_t stride, int64_t padded, float *to) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) to[r * n + i] = from[r * stride + i];
    for (int64_t i = rows * n; i < padded * n; i++) to[i] = 0.0f;
}

static void scatter(const float *from, int64_t rows, int64_t n, float *to, int64_t stride) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) to[r * stride + i] = from[r * n + i];
}

static void transpose(const float *from, int64_t rows, int64_t n, int64_t stride, int64_t padded, float *to) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t r = 0; r < rows; r++) to[i * padded + r] = from[r * stride + i];
        for (int64_t r = rows; r < padded; r++) to[i * padded + r] = 0.0f;
    }
}

static void add_three(const float *a, const float *b, const float *c, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i] + c[i];
}

static void add_bf16(const uint16_t *a, const float *b, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) out[i] = from_bits(uint32_t{a[i]} << 16) + b[i];
}

extern const Kernels C4C_KERNELS;
const Kernels C4C_KERNELS = {
    normalise,
    round_to_bf16,
    half_to_f32,
    bf16_to_f32,
    quantise,
    bytes_to_f32,
    bytes_to_bf16,
    dequantise,
    store,
    add,
    quick_f32,
    gelu_f32,
    quick_bf16,
    gelu_bf16,
    softmax,
    gather,
    scatter,
    transpose,
    add_three,
    add_bf16,
};
