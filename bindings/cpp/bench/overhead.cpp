// What c4c.hpp costs beside the C call, for one text.
//
//     overhead CHECKPOINT [ROUNDS]
//
// Each round makes every kind of call once, in an order of its own; the difference to C is taken within the round. C
// twice shows what the measurement itself is worth. Take a small checkpoint: most of the time is the model's.

#include <algorithm>
#include <c4c.hpp>
#include <cstdlib>
#include <numeric>
#include <random>

namespace {

constexpr char text[] = "a dog runs on the beach";

template <class Call>
double nanoseconds(Call&& call) {
    const auto start = std::chrono::steady_clock::now();
    call();
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
}

double at(std::vector<double> values, double part) {
    const auto nth = values.begin() + static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), nth, values.end());
    return *nth;
}

void check(bool good) {
    if (!good) throw std::runtime_error("a call failed");
}

int run(const char* weights, std::size_t rounds) {
    c4c::Options options;
    options.weights = weights;
    options.num_threads = 1;
    const c4c::Model model(std::move(options));
    const std::string string = text;
    std::vector<float> out(model.dim());

    const std::function<void()> c = [&] {
        c4c_error err = {};
        err.struct_size = sizeof err;
        const char* const texts = text;
        check(c4c_embed_text(model.get(), &texts, 1, nullptr, out.data(), out.size(), &err) == C4C_OK);
    };
    const struct {
        const char* name;
        std::function<void()> call;
    } calls[] = {
        {"C", c},
        {"C again", c},
        {"try_embed_text into a span", [&] { check(bool(model.try_embed_text(text, out))); }},
        {"embed_text into a span", [&] { model.embed_text(text, out); }},
        {"embed_text of a std::string", [&] { model.embed_text(string, out); }},
        {"embed_text to a vector", [&] { check(model.embed_text(text).size() == out.size()); }},
    };
    constexpr std::size_t kinds = std::size(calls);
    for (std::size_t i = 0; i < 200; i++) calls[i % kinds].call();
    std::vector<std::vector<double>> times(kinds);
    std::size_t order[kinds];
    std::iota(std::begin(order), std::end(order), std::size_t{0});
    std::minstd_rand random;
    for (std::size_t round = 0; round < rounds; round++) {
        std::shuffle(std::begin(order), std::end(order), random);
        for (const std::size_t kind : order) times[kind].push_back(nanoseconds(calls[kind].call));
    }
    std::printf("%s, %zu rounds, nanoseconds\n\n", weights, rounds);
    std::printf("| one text | median | more than C, median | quartiles |\n|---|--:|--:|--:|\n");
    for (std::size_t kind = 0; kind < kinds; kind++) {
        std::vector<double> more(rounds);
        for (std::size_t i = 0; i < rounds; i++) more[i] = times[kind][i] - times[0][i];
        std::printf("| %s | %.0f | %+.0f | %+.0f, %+.0f |\n", calls[kind].name, at(times[kind], 0.5), at(more, 0.5),
                    at(more, 0.25), at(more, 0.75));
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const long rounds = argc > 2 ? std::atol(argv[2]) : 5000;
    if (argc < 2 || rounds < 1) return std::fprintf(stderr, "usage: %s CHECKPOINT [ROUNDS]\n", argv[0]), 2;
    try {
        return run(argv[1], static_cast<std::size_t>(rounds));
    } catch (const std::exception& error) {
        return std::fprintf(stderr, "%s\n", error.what()), 1;
    }
}
