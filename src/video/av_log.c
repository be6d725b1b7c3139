/* FFmpeg writes its complaints about broken files to stderr unless the process installs a callback, and a library has
 * no business writing there. The callback below drops what comes out of this library's own work and hands everything
 * else to FFmpeg's default one; the global log level stays as the host set it. In C because of the va_list. */
#include <libavutil/log.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* This library's decoders shift their levels by this (AVCodecContext.log_level_offset): their threads are not ours. */
enum { OURS = 128 };

static _Thread_local int quiet;
/* What this thread's errors are appended to, NUL-terminated, or NULL. */
static _Thread_local char *kept;
static _Thread_local size_t kept_size;
/* How many of this library's decoders with threads of their own there are. */
static atomic_int threaded;

/* What FFmpeg calls a context is a struct whose first field is its class, which says where its other fields are. */
static int is_ours(const void *context) {
    if (context == NULL || *(const AVClass *const *)context == NULL)
        return 0;
    const AVClass *class = *(const AVClass *const *)context;
    const char *base = context;
    if (class->log_level_offset_offset != 0 && *(const int *)(base + class->log_level_offset_offset) == OURS)
        return 1;
    return class->parent_log_context_offset != 0 && is_ours(*(const void *const *)(base + class->parent_log_context_offset));
}

/* Decoders say some things with a context that does not tell whose it is, or with none. While ours have threads, it may be
 * one of those. */
static int may_be_ours(const void *context) {
    const AVClass *class = context != NULL ? *(const AVClass *const *)context : NULL;
    int nameless = class == NULL || (class->log_level_offset_offset == 0 && class->parent_log_context_offset == 0);
    return nameless && atomic_load(&threaded) > 0;
}

static void callback(void *context, int level, const char *format, va_list arguments) {
    if (kept != NULL && (level & 0xff) <= AV_LOG_ERROR) {
        size_t length = strlen(kept);
        va_list copy;
        va_copy(copy, arguments);
        vsnprintf(kept + length, kept_size - length, format, copy);
        va_end(copy);
    }
    if (quiet == 0 && !is_ours(context) && !may_be_ours(context))
        av_log_default_callback(context, level, format, arguments);
}

__attribute__((visibility("hidden"))) void c4c_av_log_install(void) { av_log_set_callback(callback); }

/* Nests: +1 when this thread enters FFmpeg on behalf of this library, -1 when it leaves. */
__attribute__((visibility("hidden"))) void c4c_av_log_quiet(int change) { quiet += change; }

/* From now on errors of this thread go into so many bytes at `text`, which is empty; NULL ends that. */
__attribute__((visibility("hidden"))) void c4c_av_log_keep(char *text, size_t size) {
    kept = text;
    kept_size = size;
}

/* +1 before such a decoder is opened, -1 after it was closed. */
__attribute__((visibility("hidden"))) void c4c_av_log_threaded(int change) { atomic_fetch_add(&threaded, change); }
