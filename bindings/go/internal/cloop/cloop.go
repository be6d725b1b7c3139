// Package cloop calls libc4c from a loop in C, for the benchmark that compares it with calls from Go:
// tests cannot use cgo.
package cloop

/*
#cgo pkg-config: c4c
#include <c4c.h>
#include <time.h>

static int64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// Writes the nanoseconds of each of n calls, and returns the status of the first that fails.
static c4c_status embed_text(const void *model, const char *text, int64_t *ns, size_t n, float *out,
		size_t out_len) {
	for (size_t i = 0; i < n; i++) {
		c4c_error err = {.struct_size = sizeof err};
		const int64_t start = now_ns();
		const c4c_status status = c4c_embed_text(model, &text, 1, NULL, out, out_len, &err);
		ns[i] = now_ns() - start;
		if (status != C4C_OK)
			return status;
	}
	return C4C_OK;
}
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"
)

// EmbedText embeds text len(took) times on the model, a c4c_model, and tells how long each took.
func EmbedText(model unsafe.Pointer, text string, took []time.Duration, vector []float32) error {
	bytes := append([]byte(text), 0)
	pointer := (*C.char)(unsafe.Pointer(&bytes[0]))
	status := C.embed_text(model, pointer, (*C.int64_t)(unsafe.Pointer(&took[0])), C.size_t(len(took)),
		(*C.float)(&vector[0]), C.size_t(len(vector)))
	if status != 0 {
		return fmt.Errorf("c4c_embed_text returned %d", status)
	}
	return nil
}
