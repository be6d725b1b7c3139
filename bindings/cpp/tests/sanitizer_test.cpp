// The sanitizers are there: each of these must be reported, and ends the process that does it.

#include <gtest/gtest.h>
#include <sanitizer/lsan_interface.h>

#include <limits>
#include <memory>

TEST(SanitizerDeathTest, FindsAnOverflowOfTheHeap) {
    EXPECT_DEATH(
        {
            const auto array = std::make_unique<char[]>(8);
            const volatile std::size_t behind = 8;
            array[behind] = 1;
        },
        "AddressSanitizer: heap-buffer-overflow");
}

TEST(SanitizerDeathTest, FindsUseAfterFree) {
    EXPECT_DEATH(
        {
            int* const gone = new int(1);
            delete gone;
            *const_cast<volatile int*>(gone) = 2;
        },
        "AddressSanitizer: heap-use-after-free");
}

TEST(SanitizerDeathTest, FindsUndefinedBehaviour) {
    EXPECT_DEATH(
        {
            volatile int most = std::numeric_limits<int>::max();
            most = most + 1;
        },
        "runtime error: signed integer overflow");
}

TEST(SanitizerDeathTest, FindsALeak) {
    EXPECT_DEATH(
        {
            static_cast<void>(*static_cast<volatile int*>(new int(1)));
            __lsan_do_leak_check();
        },
        "LeakSanitizer: detected memory leaks");
}
