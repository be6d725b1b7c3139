/* What the C tests share. */
#ifndef CHECK_H
#define CHECK_H

#include "c4c.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);              \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

/* The call returns `expected`, says so in `err`, and its message contains `part`. */
#define FAILS(expected, part, call)                                             \
    do {                                                                        \
        c4c_error err = {0};                                                    \
        err.struct_size = sizeof err;                                           \
        c4c_status status_ = (call);                                            \
        if (status_ != (expected) || err.status != status_ || strstr(err.message, part) == NULL) { \
            printf("%s:%d: %s: %s \"%s\", expected %s \"%s\"\n", __FILE__, __LINE__, #call,        \
                   c4c_status_name(status_), err.message, c4c_status_name(expected), part);        \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

static inline double length(const float *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * v[i];
    return sqrt(sum);
}

static inline c4c_model *load(const char *weights) {
    c4c_options options = {0};
    c4c_error err = {0};
    c4c_model *model = NULL;
    options.struct_size = sizeof options;
    options.weights_path = weights;
    err.struct_size = sizeof err;
    if (c4c_create(&options, &model, &err) != C4C_OK) {
        printf("%s\n", err.message);
        exit(1);
    }
    return model;
}

#endif
