// CLIP's towers without tensors in between: weights packed once, float32 between the products, activations in buffers that
// stay, and work that any number of threads take piece by piece.

#include <atomic>
#include <exception>
#include <mutex>
#include <utility>

#include <sched.h>

#include "linear.hpp"

extern "C" {

struct c4c_tower_shape {
    // Types of the products within the blocks; and of the last one of each and that which makes tokens of pixels, which
    // eight bits would hurt most.
    int64_t type, outer_type;
    int64_t width, heads, embed;
    float eps;
    // QuickGELU, with its factor folded into the layers on either side; else GELU.
    int64_t quick;
    // A token sees only those before it and itself, and the last one is pooled; else all see all, and the first is.
    int64_t causal;
    // Vision: patches along a side, pixels along a patch's, and 3 taps where a frame sees its neighbours, else 1.
    int64_t grid, patch, taps;
    // Text: rows of the tables of tokens and of positions.
    int64_t vocab, context;
};

} // extern "C"

namespace {

struct Norm {
    std::vector<float> weight, bias;
};

struct Block {
    Norm ln_1, ln_2;
    Linear qkv, out, fc, proj;
};

struct Tower {
    const c4c_tower_shape shape;
    std::vector<Block> blocks;
    Linear patches, projection;
    Norm ln_pre, ln_post;
    // Vision: `shift` is what patches get for each tap that is there, `first` the class token with its position.
    std::vector<float> positions, first, shift;
    // Text, in the type of the products where that is a floating-point one.
    Buffer table;

    // Activations of one pass at a time: what passes from block to block, what is wider, what heads have seen, what goes into
    // products, what the larger layer gives, and the steps of quantised rows.
    Buffer x, wide, seen, low, hidden, steps;

    explicit Tower(const c4c_tower_shape &s) : shape(s) {}
    Type type() const { return static_cast<Type>(shape.type); }
    int64_t patches_per_image() const { return shape.grid * shape.grid; }
    Block &block(int64_t layer) {
        if (layer >= static_cast<int64_t>(blocks.size())) blocks.resize(static_cast<size_t>(layer) + 1);
        return blocks[static_cast<size_t>(layer)];
    }
};

constexpr const char *NO_MEMORY = "not enough memory";

// A message, or as much of it as there is room for.
void copy(const char *from, char *to, size_t size) noexcept {
    const size_t n = std::min(std::strlen(from), size - 1);
    std::memcpy(to, from, n);
    to[n] = 0;
}

// Where a sequence lies among the rows.
struct Span {
    int64_t start, length;
};

// A piece of work that is done when all of its items are.
struct Stage {
    alignas(64) std::atomic<int64_t> next{0};
    alignas(64) std::atomic<int64_t> done{0};
};

// What a thread needs for itself.
struct Scratch {
    Buffer tile, row, queries, keys, values, scores, seen;

    static Scratch &own() {
        thread_local Scratch scratch;
        return scratch;
    }
    static float *room(Buffer &buffer, int64_t n) {
        buffer.reserve(static_cast<size_t>(n) * sizeof(float));
        return buffer.as<float>();
    }
};

class Pass {
  public:
    std::atomic<bool> failed{false};
    char error[512] = {};

    // Images: for each the squares before, of and after it, null where there is none.
    Pass(Tower &tower, std::vector<const uint8_t *> squares, float *out) : Pass(tower, images(tower, squares), out) {
        squares_ = std::move(squares);
        const int64_t n = static_cast<int64_t>(spans_.size()) * tower.patches_per_image() + MOST_ROWS;
        tower.hidden.reserve(static_cast<size_t>(n * tower.patches.padded) * size_of(tower.patches.type));
    }

    // Texts: ids one after the other.
    Pass(Tower &tower, std::vector<uint32_t> ids, const std::vector<Span> &spans, float *out) : Pass(tower, spans, out) {
        ids_ = std::move(ids);
    }

    // All stages, of which each thread that calls it does a part.
    void work() noexcept {
        try {
            size_t at = 0;
            tower_.shape.causal ? read(at) : see(at);
            for (const Block &block : tower_.blocks) {
                const bool last = &block == &tower_.blocks.back();
                attention(at, block, last);
                mlp(at, block, last ? pooled_ : all_);
            }
            project(at);
            blas::brgemm_release();
        } catch (const std::bad_alloc &) {
            fail(NO_MEMORY);
        } catch (const std::exception &e) {
            fail(e.what());
        } catch (...) {
            fail("an unknown exception");
        }
    }

  private:
    // Which rows: all, or those named.
    struct Rows {
        int64_t n;
        const int64_t *which;
        int64_t operator[](int64_t i) const { return which ? which[i] : i; }
    };

    Tower &tower_;
    const std::vector<Span> spans_;
    const int64_t width_;
    std::vector<int64_t> ends_;
    Rows all_, pooled_;
    std::vector<const uint8_t *> squares_;
    std::vector<uint32_t> ids_;
    float *const out_;
    std::vector<Stage> stages_;
    std::mutex mutex_;

    Pass(Tower &tower, std::vector<Span> spans, float *out)
        : tower_(tower), spans_(std::move(spans)), width_(tower.shape.width), out_(out),
          stages_(tower.blocks.size() * STAGES_OF_A_BLOCK + 8) {
        const int64_t n = spans_.back().start + spans_.back().length;
        for (const Span &span : spans_) ends_.push_back(tower.shape.causal ? span.start + span.length - 1 : span.start);
        all_ = {n, nullptr};
        pooled_ = {static_cast<int64_t>(ends_.size()), ends_.data()};
        const Type type = tower.type();
        const size_t values = static_cast<size_t>((n + MOST_ROWS) * width_);
        tower.x.reserve(values * 4);
        tower.wide.reserve(values * 4 * 3);
        tower.seen.reserve(values * 4);
        tower.low.reserve(static_cast<size_t>((n + MOST_ROWS) * rounded(width_, 4)) * 4);
        tower.hidden.reserve(values * 4 * size_of(type == F32 ? F32 : BF16));
        tower.steps.reserve(static_cast<size_t>(n + MOST_ROWS) * 4);
    }

    static std::vector<Span> images(const Tower &tower, const std::vector<const uint8_t *> &squares) {
        std::vector<Span> spans;
        const int64_t length = tower.patches_per_image() + 1;
        for (size_t i = 0; i < squares.size() / 3; i++) spans.push_back({static_cast<int64_t>(i) * length, length});
        return spans;
    }

    void fail(const char *why) noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!failed) copy(why, error, sizeof error);
        failed = true;
    }

    static constexpr size_t STAGES_OF_A_BLOCK = 11;

    // Does what nobody else has taken of `items` pieces, and waits for those that others have: not for threads that the
    // system does not run.
    template <class Work> void stage(size_t &at, int64_t items, Work work) {
        Stage &stage = stages_.at(at++);
        for (int64_t i; (i = stage.next.fetch_add(1, std::memory_order_relaxed)) < items && !failed;) {
            work(i);
            stage.done.fetch_add(1, std::memory_order_release);
        }
        for (int turns = 0; stage.done.load(std::memory_order_acquire) < items && !failed; turns++) {
            if (turns > 4096) sched_yield();
#ifdef __x86_64__
            else __builtin_ia32_pause();
#endif
        }
    }

    // `work(i)` for each of `n` rows, some at once.
    template <class Work> void each_row(size_t &at, int64_t n, Work work) {
        constexpr int64_t AT_ONCE = 16;
        stage(at, (n + AT_ONCE - 1) / AT_ONCE, [&](int64_t item) {
            for (int64_t i = item * AT_ONCE; i < std::min(n, (item + 1) * AT_ONCE); i++) work(i);
        });
    }

    // A row of what a layer takes in, from floats.
    void put(const Linear &layer, const float *from, int64_t row, Buffer &to) const {
        const int64_t n = layer.inputs, at = row * layer.padded, fill = layer.padded - n;
        switch (layer.type) {
        case F32:
            std::copy(from, from + n, to.as<float>() + at);
            std::fill_n(to.as<float>() + at + n, fill, 0.0f);
            break;
        case BF16:
            kernels().round_to_bf16(from, n, to.as<uint16_t>() + at);
            std::fill_n(to.as<uint16_t>() + at + n, fill, uint16_t{0});
            break;
        case INT8:
            tower_.steps.as<float>()[row] = kernels().quantise(from, n, to.as<uint8_t>() + at);
            std::fill_n(to.as<uint8_t>() + at + n, fill, uint8_t{0});
            break;
        }
    }

    const float *normed(const Norm &norm, const float *x) const {
        float *row = Scratch::room(Scratch::own().row, width_);
        kernels().normalise(x, width_, norm.weight.data(), norm.bias.data(), tower_.shape.eps, row);
        return row;
    }

    float *x(int64_t row) const { return tower_.x.as<float>() + row * width_; }

    // The outputs `from` to `to` of a layer for `n` rows of `input`. `finish` gets the sums, without the bias, of some rows
    // and of one block of outputs.
    template <class Finish>
    void linear(size_t &at, const Linear &layer, const Buffer &input, int64_t n, int64_t from, int64_t to, Finish finish) {
        // A block of weights serves some tiles while it is near.
        constexpr int64_t TILES = 3;
        const int64_t tiles = (n + MOST_ROWS - 1) / MOST_ROWS, tile = rounded((n + tiles - 1) / tiles, ROW_STEP);
        const int64_t chunk = tile * TILES, chunks = (n + chunk - 1) / chunk;
        stage(at, chunks * ((to - from) / layer.block), [&](int64_t item) {
            const int64_t column = from + item / chunks * layer.block, start = item % chunks * chunk;
            float *sums = Scratch::room(Scratch::own().tile, MOST_ROWS * MOST_COLUMNS);
            // With few rows the weights come from memory as fast as they are used.
            if (n <= MOST_ROWS) layer.prefetch(column + 2 * layer.block);
            for (int64_t row = start; row < std::min(n, start + chunk); row += tile) {
                const int64_t rows = std::min(tile, n - row);
                const char *a = input.as<char>() + static_cast<size_t>(row * layer.padded) * size_of(layer.type);
                layer.tile(a, rows, column, tower_.steps.as<float>() + row, sums);
                finish(sums, row, rows, column);
            }
        });
    }

    // Leaves outputs in rows of `stride` values.
    static auto stored(const Linear &layer, float *to, int64_t stride) {
        return [&layer, to, stride](const float *sums, int64_t row, int64_t rows, int64_t column) {
            kernels().store(sums, rows, layer.block, &layer.bias[static_cast<size_t>(column)], to + row * stride + column, stride);
        };
    }

    // Adds outputs to what passes from block to block.
    auto added(const Linear &layer, Rows which) const {
        return [this, &layer, which](const float *sums, int64_t row, int64_t rows, int64_t column) {
            const float *bias = &layer.bias[static_cast<size_t>(column)];
            const int64_t at_once = which.which ? 1 : rows;
            for (int64_t i = 0; i < rows; i += at_once)
                kernels().add(sums + i * layer.block, at_once, layer.block, bias, x(which[row + i]) + column, width_);
        };
    }

    // Pixels to tokens.
    void see(size_t &at) {
        const int64_t each = tower_.patches_per_image(), tokens = each + 1;
        const int64_t n = static_cast<int64_t>(spans_.size());
        each_row(at, n * each, [&](int64_t row) {
            const int64_t to = row * tower_.patches.padded;
            if (tower_.patches.type == BF16)
                gather_patch(row / each, row % each, tower_.hidden.as<uint16_t>() + to, kernels().bytes_to_bf16);
            else
                gather_patch(row / each, row % each, tower_.hidden.as<float>() + to, kernels().bytes_to_f32);
        });
        float *raw = tower_.wide.as<float>();
        linear(at, tower_.patches, tower_.hidden, n * each, 0, width_, stored(tower_.patches, raw, width_));
        each_row(at, n * tokens, [&](int64_t row) {
            const int64_t image = row / tokens, patch = row % tokens - 1;
            if (patch < 0) {
                std::copy_n(normed(tower_.ln_pre, tower_.first.data()), width_, x(row));
                return;
            }
            float *token = x(row);
            const float *positions = &tower_.positions[static_cast<size_t>(patch * width_)];
            kernels().add_three(raw + (image * each + patch) * width_, shift(image), positions, width_, token);
            kernels().normalise(token, width_, tower_.ln_pre.weight.data(), tower_.ln_pre.bias.data(), tower_.shape.eps, token);
        });
    }

    // What the taps of an image that are there add up to; the sums of all combinations are at hand.
    const float *shift(int64_t image) const {
        const int64_t taps = tower_.shape.taps;
        size_t there = 0;
        for (int64_t tap = 0; tap < taps; tap++) there |= static_cast<size_t>(square(image, tap) != nullptr) << tap;
        return &tower_.shift[there * static_cast<size_t>(width_)];
    }

    const uint8_t *square(int64_t image, int64_t tap) const {
        return squares_[static_cast<size_t>(3 * image + (tower_.shape.taps == 3 ? tap : 1))];
    }

    // The bytes of a patch, row by row, as what the first product takes in; zeros for a tap that is not there.
    template <class T> void gather_patch(int64_t image, int64_t patch, T *to, void (*converted)(const uint8_t *, int64_t, T *)) {
        const int64_t grid = tower_.shape.grid, side = tower_.shape.patch, run = 3 * side;
        const int64_t first = patch / grid * side * grid * run + patch % grid * run;
        for (int64_t tap = 0; tap < tower_.shape.taps; tap++) {
            const uint8_t *bytes = square(image, tap);
            if (!bytes) {
                to = std::fill_n(to, side * run, T{0});
                continue;
            }
            for (int64_t line = 0; line < side; line++, to += run) converted(bytes + first + line * grid * run, run, to);
        }
        std::fill_n(to, tower_.patches.padded - tower_.patches.inputs, T{0});
    }

    // Ids to tokens.
    void read(size_t &at) {
        stage(at, static_cast<int64_t>(spans_.size()), [&](int64_t text) {
            const Span span = spans_[static_cast<size_t>(text)];
            for (int64_t i = 0; i < span.length; i++) {
                const int64_t from = int64_t{ids_[static_cast<size_t>(span.start + i)]} * width_;
                const float *position = &tower_.positions[static_cast<size_t>(i * width_)];
                float *token = x(span.start + i);
                if (tower_.type() == F32) kernels().store(tower_.table.as<float>() + from, 1, width_, position, token, width_);
                else kernels().add_bf16(tower_.table.as<uint16_t>() + from, position, width_, token);
            }
        });
    }

    // x += Attn(LN1(x)). After the last block only the pooled rows are read, so it computes no others.
    void attention(size_t &at, const Block &block, bool last) {
        float *wide = tower_.wide.as<float>(), *seen = tower_.seen.as<float>();
        const int64_t heads = tower_.shape.heads, each = width_ / heads, stride = 3 * width_;
        each_row(at, all_.n, [&](int64_t row) { put(block.qkv, normed(block.ln_1, x(row)), row, tower_.low); });
        linear(at, block.qkv, tower_.low, all_.n, last ? width_ : 0, stride, stored(block.qkv, wide, stride));
        if (last) {
            each_row(at, pooled_.n, [&](int64_t i) { put(block.qkv, normed(block.ln_1, x(pooled_[i])), i, tower_.low); });
            linear(at, block.qkv, tower_.low, pooled_.n, 0, width_, stored(block.qkv, seen, width_));
        }
        stage(at, pooled_.n * heads, [&](int64_t item) {
            const int64_t sequence = item / heads, offset = item % heads * each;
            const Span span = spans_[static_cast<size_t>(sequence)];
            const float *keys = wide + span.start * stride + width_ + offset;
            if (last) {
                float *row = seen + sequence * width_ + offset;
                attend(row, width_, pooled_[sequence] - span.start, 1, keys, span.length, row);
            } else {
                attend(keys - width_, stride, 0, span.length, keys, span.length, seen + span.start * width_ + offset);
            }
        });
        const Rows rows = last ? pooled_ : all_;
        each_row(at, rows.n, [&](int64_t i) { put(block.out, seen + i * width_, i, tower_.low); });
        linear(at, block.out, tower_.low, rows.n, 0, width_, added(block.out, rows));
    }

    // softmax(q kᵀ / √d) v of one head, for `count` queries from the one at `first` of the sequence on.
    void attend(const float *queries, int64_t stride_q, int64_t first, int64_t count, const float *keys, int64_t n,
                float *to) const {
        constexpr int64_t AT_ONCE = 64;
        Scratch &own = Scratch::own();
        const int64_t each = width_ / tower_.shape.heads, padded = rounded(n, STEP), stride = 3 * width_;
        float *k = Scratch::room(own.keys, each * padded), *v = Scratch::room(own.values, each * padded);
        float *q = Scratch::room(own.queries, each * AT_ONCE), *s = Scratch::room(own.scores, padded * AT_ONCE);
        float *sums = Scratch::room(own.seen, each * AT_ONCE);
        kernels().transpose(keys, n, each, stride, padded, k);
        kernels().gather(keys + width_, n, each, stride, padded, v);
        const float scale = 1.0f / std::sqrt(static_cast<float>(each));
        for (int64_t i = 0; i < count; i += AT_ONCE) {
            const int64_t rows = std::min(AT_ONCE, count - i), full = rounded(rows, STEP);
            kernels().gather(queries + i * stride_q, rows, each, stride_q, full, q);
            product(F32, full, padded, each, each, false, q, k, s);
            kernels().softmax(s, rows, n, padded, scale, first + i, tower_.shape.causal != 0);
            product(F32, full, each, padded, padded, false, s, v, sums);
            kernels().scatter(sums, rows, each, to + i * width_, width_);
        }
    }

    // x += MLP(LN2(x)), of some rows.
    void mlp(size_t &at, const Block &block, Rows rows) {
        const int64_t stride = block.proj.padded, inner = block.fc.outputs, columns = block.fc.block;
        const Type type = block.proj.type;
        const bool quick = tower_.shape.quick != 0;
        each_row(at, rows.n, [&](int64_t i) { put(block.fc, normed(block.ln_2, x(rows[i])), i, tower_.low); });
        const auto activated = [&](const float *sums, int64_t row, int64_t n, int64_t column) {
            const float *bias = &block.fc.bias[static_cast<size_t>(column)];
            const int64_t to = row * stride + column;
            if (type == BF16)
                (quick ? kernels().quick_bf16 : kernels().gelu_bf16)(sums, n, columns, bias,
                                                                     tower_.hidden.as<uint16_t>() + to, stride);
            else
                (quick ? kernels().quick_f32 : kernels().gelu_f32)(sums, n, columns, bias,
                                                                   tower_.hidden.as<float>() + to, stride);
        };
        linear(at, block.fc, tower_.low, rows.n, 0, inner, activated);
        linear(at, block.proj, tower_.hidden, rows.n, 0, width_, added(block.proj, rows));
    }

    // Pooled rows to embeddings.
    void project(size_t &at) {
        const Linear &layer = tower_.projection;
        each_row(at, pooled_.n, [&](int64_t i) { put(layer, normed(tower_.ln_post, x(pooled_[i])), i, tower_.low); });
        linear(at, layer, tower_.low, pooled_.n, 0, layer.outputs, stored(layer, out_, layer.outputs));
    }
};

// Runs `body`; what it throws becomes a message of `size` bytes and false.
template <class Body> bool guarded(char *message, size_t size, Body body) noexcept {
    try {
        body();
        return true;
    } catch (const std::bad_alloc &) {
        copy(NO_MEMORY, message, size);
    } catch (const std::exception &e) {
        copy(e.what(), message, size);
    } catch (...) {
        copy("an unknown exception", message, size);
    }
    return false;
}

// A small product on this CPU: brgemm refuses what it cannot do, and what it does is looked at.
bool multiplies(Type type) {
    constexpr int64_t ROWS = 16, OUTPUTS = 64, INPUTS = 64;
    std::vector<float> w(OUTPUTS * INPUTS), sums(ROWS * OUTPUTS), step(ROWS, 1.0f);
    std::vector<float> a(ROWS * INPUTS);
    // Small whole numbers: exact in each type, where the weights' largest is 127.
    for (size_t i = 0; i < a.size(); i++) a[i] = static_cast<float>(i * 7 % 13);
    for (size_t i = 0; i < w.size(); i++) w[i] = i % INPUTS == 0 ? 127.0f : static_cast<float>(i * 5 % 11) - 5.0f;
    std::vector<uint8_t> low(a.size() * 4);
    for (size_t i = 0; i < a.size(); i++) {
        if (type == F32) std::memcpy(&low[4 * i], &a[i], 4);
        if (type == BF16) kernels().round_to_bf16(&a[i], 1, reinterpret_cast<uint16_t *>(low.data()) + i);
        if (type == INT8) low[i] = static_cast<uint8_t>(128 + static_cast<int>(a[i]));
    }
    const Linear layer(type, OUTPUTS, INPUTS, OUTPUTS, Source{w.data(), F32}, 1.0f, nullptr);
    layer.tile(low.data(), ROWS, 0, step.data(), sums.data());
    blas::brgemm_release();
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t o = 0; o < OUTPUTS; o++) {
            float expected = 0;
            for (int64_t i = 0; i < INPUTS; i++) expected += a[r * INPUTS + i] * w[o * INPUTS + i];
            if (sums[r * OUTPUTS + o] != expected) return false;
        }
    return true;
}

} // namespace

extern "C" {

bool c4c_native_can(int64_t type) {
    char message[8];
    bool can = false;
    return guarded(message, sizeof message, [&] { can = multiplies(static_cast<Type>(type)); }) && can;
}

void *c4c_tower_new(const c4c_tower_shape *shape, char *message, size_t size) {
    Tower *tower = nullptr;
    guarded(message, size, [&] { tower = new Tower(*shape); });
    return tower;
}

void c4c_tower_free(void *tower) { delete static_cast<Tower *>(tower); }

// `w`, multiplied by `factor`, is [outputs, inputs] of the layer `which`: 0 to 3 for qkv, out, fc and proj of a block, 4 for
// the patches and 5 for the projection, which have no bias.
bool c4c_tower_linear(void *to, int32_t layer, int32_t which, const void *w, int64_t type, float factor, const float *bias,
                      int64_t outputs, int64_t inputs, char *message, size_t size) {
    const Source source{w, type};
    Tower &tower = *static_cast<Tower *>(to);
    return guarded(message, size, [&] {
        const Type own = which == 5               ? F32
                         : which == 3 || which == 4 ? static_cast<Type>(tower.shape.outer_type)
                                                    : tower.type();
        Linear made(own, outputs, inputs, which == 0 ? tower.shape.width : outputs, source, factor, bias);
        switch (which) {
        case 4: tower.patches = std::move(made); break;
        case 5: tower.projection = std::move(made); break;
        default: {
            Block &block = tower.block(layer);
            (which == 0 ? block.qkv : which == 1 ? block.out : which == 2 ? block.fc : block.proj) = std::move(made);
        }
        }
    });
}

// 0 and 1 for ln_1 and ln_2 of a block, 2 for the norm before all blocks, 3 for the one after.
bool c4c_tower_norm(void *to, int32_t layer, int32_t which, const float *weight, const float *bias, char *message,
                    size_t size) {
    Tower &tower = *static_cast<Tower *>(to);
    return guarded(message, size, [&] {
        Norm made{{weight, weight + tower.shape.width}, {bias, bias + tower.shape.width}};
        if (which == 2) tower.ln_pre = std::move(made);
        else if (which == 3) tower.ln_post = std::move(made);
        else {
            Block &block = tower.block(layer);
            (which == 0 ? block.ln_1 : block.ln_2) = std::move(made);
        }
    });
}

// Rows of the tower's width: 0 for positions, 1 for the class token, 2 for the shifts of each combination of taps, 3 for
// the table of tokens.
bool c4c_tower_rows(void *to, int32_t which, const void *data, int64_t type, int64_t rows, char *message, size_t size) {
    Tower &tower = *static_cast<Tower *>(to);
    const Source source{data, type};
    return guarded(message, size, [&] {
        const int64_t n = rows * tower.shape.width;
        if (which == 3) {
            tower.table.reserve(static_cast<size_t>(n) * (tower.type() == F32 ? 4 : 2));
            std::vector<float> row(static_cast<size_t>(tower.shape.width));
            for (int64_t at = 0; at < n; at += tower.shape.width) {
                source.read(at, tower.shape.width, 1.0f, row.data());
                if (tower.type() == F32) std::copy(row.begin(), row.end(), tower.table.as<float>() + at);
                else kernels().round_to_bf16(row.data(), tower.shape.width, tower.table.as<uint16_t>() + at);
            }
            return;
        }
        std::vector<float> &own = which == 0 ? tower.positions : which == 1 ? tower.first : tower.shift;
        own.resize(static_cast<size_t>(n));
        source.read(0, n, 1.0f, own.data());
    });
}

// A pass over `n` images of three squares each. `out` is [n, embed]; it and the squares must live as long as the pass.
void *c4c_pass_images(void *tower, int64_t n, const uint8_t *const *squares, float *out, char *message, size_t size) {
    Pass *pass = nullptr;
    guarded(message, size, [&] {
        pass = new Pass(*static_cast<Tower *>(tower), std::vector<const uint8_t *>(squares, squares + 3 * n), out);
    });
    return pass;
}

void *c4c_pass_texts(void *tower, int64_t n, const uint32_t *ids, const int64_t *lengths, float *out, char *message,
                     size_t size) {
    Pass *pass = nullptr;
    guarded(message, size, [&] {
        std::vector<Span> spans;
        int64_t start = 0;
        for (int64_t i = 0; i < n; start += lengths[i], i++) spans.push_back({start, lengths[i]});
        pass = new Pass(*static_cast<Tower *>(tower), std::vector<uint32_t>(ids, ids + start), spans, out);
    });
    return pass;
}

void c4c_pass_work(void *pass) { static_cast<Pass *>(pass)->work(); }

// Null, or what went wrong; only when nobody works on it any more.
const char *c4c_pass_error(const void *pass) {
    const Pass &p = *static_cast<const Pass *>(pass);
    return p.failed ? p.error : nullptr;
}

void c4c_pass_free(void *pass) { delete static_cast<Pass *>(pass); }

} // extern "C"
