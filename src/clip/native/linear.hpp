// Fully connected layers on oneDNN's batch-reduce micro-kernels, which libtorch hands out.

#pragma once

#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include "kernels.hpp"

namespace {

using at::BFloat16;
namespace blas = at::native::cpublas;

// In which type products are formed.
enum Type { F32 = 0, BF16 = 1, INT8 = 2 };

size_t size_of(Type type) { return type == F32 ? 4 : type == BF16 ? 2 : 1; }

int64_t rounded(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Sizes of products are multiples of these where they may be any: few shapes, so that few kernels are compiled.
constexpr int64_t STEP = 8;
constexpr int64_t ROW_STEP = 4;
constexpr int64_t MOST_ROWS = 64;
constexpr int64_t MOST_COLUMNS = 64;
// Of the inputs, in bytes of a row, so that their part of a block of weights stays in the second-level cache.
constexpr int64_t MOST_INPUTS = 2048;
// 255 · 127 · this fits into 31 bits.
constexpr int64_t MOST_INT8_INPUTS = 65536;

// Memory for values that are streamed through. Much of it comes from the system, on large pages where it has them, and goes
// straight back there: the heap of a thread that ends would keep it.
class Buffer {
  public:
    Buffer() = default;
    Buffer(Buffer &&other) noexcept { *this = std::move(other); }
    Buffer &operator=(Buffer &&other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Buffer() { release(); }

    // Room for so many bytes. Where it has to grow, what was in it is lost, and it holds anything.
    void reserve(size_t bytes) {
        if (bytes <= size_) return;
        release();
        data_ = bytes < LARGE ? std::aligned_alloc(64, (bytes + 63) / 64 * 64) : mapped(bytes);
        if (!data_) throw std::bad_alloc();
        size_ = bytes;
    }

    template <class T> T *as() const { return static_cast<T *>(data_); }

  private:
    // That of a large page.
    static constexpr size_t LARGE = size_t{2} << 20;
    void *data_ = nullptr;
    size_t size_ = 0;

    static size_t pages(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

    static void *mapped(size_t bytes) {
        const size_t size = pages(bytes);
        void *all = mmap(nullptr, size + LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all == MAP_FAILED) return nullptr;
        // A large page's beginning is within it; what is before and behind goes back.
        const size_t start = reinterpret_cast<size_t>(all), first = (start + LARGE - 1) / LARGE * LARGE;
        if (first > start) munmap(all, first - start);
        munmap(reinterpret_cast<void *>(first + size), start + LARGE - first);
#ifdef MADV_HUGEPAGE
        madvise(reinterpret_cast<void *>(first), size / LARGE * LARGE, MADV_HUGEPAGE);
#endif
        return reinterpret_cast<void *>(first);
    }

    void release() {
        if (data_ && size_ >= LARGE) munmap(data_, pages(size_));
        else std::free(data_);
        data_ = nullptr;
        size_ = 0;
    }
};

// C[rows, columns] (+)= A[rows, inputs] · B[inputs, columns], B as `Linear` packs it.
void product(Type type, int64_t rows, int64_t columns, int64_t inputs, int64_t stride_a, bool more, const void *a,
             const void *b, void *c) {
    switch (type) {
    case F32:
        blas::brgemm(rows, columns, inputs, stride_a, columns, columns, more, static_cast<const float *>(a),
                     static_cast<const float *>(b), static_cast<float *>(c));
        break;
    case BF16:
        blas::brgemm(rows, columns, inputs, stride_a, columns, columns, more, static_cast<const BFloat16 *>(a),
                     static_cast<const BFloat16 *>(b), static_cast<float *>(c));
        break;
    case INT8:
        blas::brgemm(rows, columns, inputs, stride_a, columns, columns, more, static_cast<const unsigned char *>(a),
                     static_cast<const signed char *>(b), static_cast<int32_t *>(c));
        break;
    }
}

// Rows of weights as they come, of one of the floating-point types that files have.
struct Source {
    const void *data;
    // F32, BF16, or else half precision.
    int64_t type;

    // `n` values from the one at `at` on, times `factor`.
    void read(int64_t at, int64_t n, float factor, float *out) const {
        if (type == F32) std::copy_n(static_cast<const float *>(data) + at, n, out);
        else if (type == BF16) kernels().bf16_to_f32(static_cast<const uint16_t *>(data) + at, n, out);
        else kernels().half_to_f32(static_cast<const uint16_t *>(data) + at, n, out);
        if (factor != 1.0f) std::transform(out, out + n, out, [factor](float value) { return value * factor; });
    }
};

// y = x Wᵀ + b, W packed: blocks of columns, in each groups of 1, 2 or 4 inputs that the CPU multiplies together.
struct Linear {
    Type type = F32;
    int64_t outputs = 0, inputs = 0;
    // Inputs with the zeros that fill the last group.
    int64_t padded = 0;
    int64_t block = 0;
    Buffer packed;
    std::vector<float> bias;
    // Only for INT8: a step of each output's weights, and what the 128 in its inputs adds up to.
    std::vector<float> scale;
    std::vector<int32_t> offset;

    Linear() = default;
    // `w` is [outputs, inputs], and is multiplied by `factor`. Blocks of columns divide `divisor`, so that outputs may be had
    // from any multiple of it on.
    Linear(Type type_, int64_t outputs_, int64_t inputs_, int64_t divisor, Source w, float factor, const float *b)
        : type(type_), outputs(outputs_), inputs(inputs_), padded(rounded(inputs_, 4)), block(MOST_COLUMNS),
          bias(outputs_, 0.0f) {
        if (type == INT8 && inputs > MOST_INT8_INPUTS) throw std::length_error("too many inputs for sums of 32 bits");
        while (divisor % block || outputs % block) block--;
        if (b) std::copy(b, b + outputs, bias.begin());
        packed.reserve(static_cast<size_t>(outputs * padded) * size_of(type));
        std::memset(packed.as<char>(), 0, static_cast<size_t>(outputs * padded) * size_of(type));
        if (type == INT8) scale.resize(outputs), offset.resize(outputs);
        std::vector<float> row(static_cast<size_t>(inputs));
        std::vector<uint16_t> low(type == BF16 ? static_cast<size_t>(inputs) : 0);
        for (int64_t o = 0; o < outputs; o++) {
            w.read(o * inputs, inputs, factor, row.data());
            if (type == BF16) kernels().round_to_bf16(row.data(), inputs, low.data());
            pack(o, row.data(), low.data());
        }
    }

    // An output's weights, or for BF16 `low`, into place.
    void pack(int64_t o, const float *w, const uint16_t *low) {
        const int64_t base = o / block * block * padded, column = o % block;
        switch (type) {
        case F32:
            for (int64_t i = 0; i < inputs; i++) packed.as<float>()[base + i * block + column] = w[i];
            break;
        case BF16: {
            uint16_t *to = packed.as<uint16_t>() + base + column * 2;
            for (int64_t i = 0; i < inputs; i++) to[i / 2 * 2 * block + i % 2] = low[i];
            break;
        }
        case INT8: {
            float most = 0;
            bool finite = true;
            for (int64_t i = 0; i < inputs; i++) {
                most = std::max(most, std::fabs(w[i]));
                finite = finite && std::isfinite(w[i]);
            }
            // What is not a number is to be seen in what comes out.
            scale[o] = finite ? most / 127.0f : NAN;
            const float steps = finite && most > 1e-30f ? 127.0f / most : 0.0f;
            int8_t *to = packed.as<int8_t>() + base + column * 4;
            int32_t all = 0;
            for (int64_t i = 0; i < inputs && steps > 0; i++) {
                const int32_t q = static_cast<int32_t>(std::nearbyint(w[i] * steps));
                to[i / 4 * 4 * block + i % 4] = static_cast<int8_t>(q);
                all += q;
            }
            offset[o] = 128 * all;
            break;
        }
        }
    }

    // Asks for the block of weights from `column` on, if there is one.
    void prefetch(int64_t column) const {
        if (column >= outputs) return;
        const size_t bytes = static_cast<size_t>(block * padded) * size_of(type);
        const char *from = packed.as<char>() + static_cast<size_t>(column * padded) * size_of(type);
        for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 2);
    }

    // The sums for `rows` rows and the block of outputs from `column` on, into c[rows, block], without the bias.
    // `a` has `padded` values a row, `step` one for each row.
    void tile(const void *a, int64_t rows, int64_t column, const float *step, float *c) const {
        const char *b = packed.as<char>() + static_cast<size_t>(column * padded) * size_of(type);
        const int64_t full = rounded(rows, ROW_STEP);
        // Whole numbers are added up without rounding, so they need not come back for more.
        const int64_t part = type == INT8 ? padded : MOST_INPUTS / static_cast<int64_t>(size_of(type));
        for (int64_t k = 0; k < padded; k += part) {
            const int64_t n = std::min(part, padded - k);
            product(type, full, block, n, padded, k > 0, static_cast<const char *>(a) + k * size_of(type),
                    b + static_cast<size_t>(k * block) * size_of(type), c);
        }
        if (type == INT8)
            kernels().dequantise(reinterpret_cast<int32_t *>(c), rows, block, step, &scale[column], &offset[column]);
    }
};

} // namespace
