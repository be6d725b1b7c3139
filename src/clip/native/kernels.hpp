// Arithmetic on rows of numbers, compiled for several CPUs; the one at hand is chosen when it is first asked for.

#pragma once

#include <cstdint>

struct Kernels {
    // (x - mean) / sqrt(variance + eps) · weight + bias; variance biased, as LayerNorm's is.
    void (*normalise)(const float *x, int64_t n, const float *weight, const float *bias, float eps, float *out);
    void (*round_to_bf16)(const float *x, int64_t n, uint16_t *out);
    void (*half_to_f32)(const uint16_t *x, int64_t n, float *out);
    void (*bf16_to_f32)(const uint16_t *x, int64_t n, float *out);
    // Symmetric about 128, the largest magnitude of the row at 127 steps. Returns the step, which is not a number where one
    // of the row is not finite.
    float (*quantise)(const float *x, int64_t n, uint8_t *out);
    void (*bytes_to_f32)(const uint8_t *x, int64_t n, float *out);
    // Whole numbers below 256 are exact in bfloat16.
    void (*bytes_to_bf16)(const uint8_t *x, int64_t n, uint16_t *out);
    // In place: sums of products of whole numbers to the values that they stand for.
    void (*dequantise)(int32_t *c, int64_t rows, int64_t n, const float *step, const float *scale, const int32_t *offset);
    void (*store)(const float *c, int64_t rows, int64_t n, const float *bias, float *out, int64_t stride);
    void (*add)(const float *c, int64_t rows, int64_t n, const float *bias, float *out, int64_t stride);
    void (*quick_f32)(const float *c, int64_t rows, int64_t n, const float *bias, float *out, int64_t stride);
    void (*gelu_f32)(const float *c, int64_t rows, int64_t n, const float *bias, float *out, int64_t stride);
    void (*quick_bf16)(const float *c, int64_t rows, int64_t n, const float *bias, uint16_t *out, int64_t stride);
    void (*gelu_bf16)(const float *c, int64_t rows, int64_t n, const float *bias, uint16_t *out, int64_t stride);
    // Rows of scores to weights that add up to one. `causal`: row `first + r` sees no more than so many and one; what is not seen
    // gets zero, up to `padded`.
    void (*softmax)(float *s, int64_t rows, int64_t n, int64_t padded, float scale, int64_t first, bool causal);
    // `rows` rows of `n` out of wider ones, and zeros for the rows from there to `padded`.
    void (*gather)(const float *from, int64_t rows, int64_t n, int64_t stride, int64_t padded, float *to);
    void (*scatter)(const float *from, int64_t rows, int64_t n, float *to, int64_t stride);
    // The same as columns, of `padded` values.
    void (*transpose)(const float *from, int64_t rows, int64_t n, int64_t stride, int64_t padded, float *to);
    void (*add_three)(const float *a, const float *b, const float *c, int64_t n, float *out);
    void (*add_bf16)(const uint16_t *a, const float *b, int64_t n, float *out);
};

#ifdef __x86_64__
// AVX-512 (x86-64-v4) and AVX2 with FMA (x86-64-v3).
extern const Kernels c4c_kernels_v4, c4c_kernels_v3;
#endif
extern const Kernels c4c_kernels_plain;

// For this CPU.
inline const Kernels &kernels() {
#ifdef __x86_64__
    static const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    static const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                           __builtin_cpu_supports("avx512vl");
    return v4 ? c4c_kernels_v4 : v3 ? c4c_kernels_v3 : c4c_kernels_plain;
#else
    return c4c_kernels_plain;
#endif
}
