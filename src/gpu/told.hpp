// What is thrown becomes a number and a text: no exception leaves C++.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>

namespace {

// As much of a text as there is room for.
inline void say(const char *text, char *why, size_t room) noexcept {
    const size_t n = std::min(std::strlen(text), room - 1);
    std::memcpy(why, text, n);
    why[n] = 0;
}

// Runs `work`; 0, or -1 with what it threw.
template <class Work> int32_t told(char *why, size_t room, Work work) noexcept {
    try {
        work();
        return 0;
    } catch (const std::exception &e) {
        say(e.what(), why, room);
    } catch (...) {
        say("an exception without text", why, room);
    }
    return -1;
}

} // namespace
