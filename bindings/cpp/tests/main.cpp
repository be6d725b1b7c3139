#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    for (const char* name : {"C4C_TEST_WEIGHTS", "C4C_TEST_VIDEO"}) {
        if (std::getenv(name) == nullptr && !testing::FLAGS_gtest_list_tests) {
            std::fprintf(stderr,
                         "%s is not set: C4C_TEST_WEIGHTS names a checkpoint with both towers, "
                         "C4C_TEST_VIDEO a video of two seconds or so\n",
                         name);
            return 1;
        }
    }
    // The library has threads: what is to die is started anew, not forked.
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    return RUN_ALL_TESTS();
}
