// Which of these videos does this sentence describe?
//
//     search pytorch_model.bin "a dog runs on the beach" *.mp4
//
// Prints the videos, the best first, each with its cosine. Ctrl-C gives up.

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <c4c.hpp>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

// Fires a token at Ctrl-C. A signal handler may not do that, so a thread waits for the signal, which all others block:
// those that are started while an Interrupt lives, the library's too, do so from birth.
class Interrupt {
public:
    explicit Interrupt(c4c::Cancel& cancel) {
        sigemptyset(&signals_);
        sigaddset(&signals_, SIGINT);
        pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
        thread_ = std::thread([this, &cancel] {
            int signal = 0;
            for (int n = 0; sigwait(&signals_, &signal) == 0 && !done_; n++) {
                // Who presses it twice does not want to wait.
                if (n > 0) std::_Exit(130);
                cancel.fire();
            }
        });
    }

    ~Interrupt() {
        done_ = true;
        pthread_kill(thread_.native_handle(), SIGINT);
        thread_.join();
        pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
    }

    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

private:
    sigset_t signals_;
    std::atomic<bool> done_{false};
    std::thread thread_;
};

// Tells on stderr how far it is, on a line that it writes over.
class Progress {
public:
    bool operator()(std::size_t done, std::size_t total) const {
        if (isatty(STDERR_FILENO)) std::fprintf(stderr, "\r%zu of %zu videos%s", done, total, done < total ? "" : "\n");
        return true;
    }
};

int search(const char* weights, const char* sentence, c4c::CStrings videos) {
    c4c::Cancel cancel;
    const Interrupt interrupt(cancel);

    c4c::Options options;
    options.weights = weights;
    // What is wrong with a file is told when it is found.
    options.log_level = c4c::LogLevel::warn;
    options.log = [](c4c::LogLevel, std::string_view message) {
        std::fprintf(stderr, "%s%.*s\n", isatty(STDERR_FILENO) ? "\r" : "", static_cast<int>(message.size()),
                     message.data());
    };
    const c4c::Model model(std::move(options));

    c4c::Call call;
    call.cancel = &cancel;
    const std::vector<float> wanted = model.embed_text(sentence, call);
    const c4c::VideoBatch batch = model.embed_video_paths(videos, {}, call, Progress());

    std::vector<std::pair<float, const char*>> found;
    for (std::size_t i = 0; i < videos.size(); i++) {
        if (batch.statuses[i] != c4c::Status::ok) continue;
        found.emplace_back(c4c::similarity(wanted, batch.vectors[i])[0][0], videos.data()[i]);
    }
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const auto& [cosine, video] : found) std::printf("%+.4f  %s\n", static_cast<double>(cosine), video);
    return found.size() == videos.size() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s CHECKPOINT SENTENCE VIDEO...\n", argv[0]);
        return 2;
    }
    try {
        return search(argv[1], argv[2], {argv + 3, static_cast<std::size_t>(argc - 3)});
    } catch (const c4c::Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return error.status() == c4c::Status::cancelled ? 130 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
