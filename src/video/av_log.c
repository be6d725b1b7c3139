/* FFmpeg writes its complaints about broken files to stderr unless the process installs a callback, and a library has
 * no business writing there. The callback below drops what comes out of this library's own work and hands everything
 * else to FFmpeg's default one; the global log level stays as the host set it. In C because of the va_list. */
#include <stdarg.h>

typedef void (*log_callback)(void *, int, const char *, va_list);
void av_log_set_callback(log_callback);
void av_log_default_callback(void *, int, const char *, va_list);

/* This library's decoders shift their levels by 128 (AVCodecContext.log_level_offset): their threads are not ours. */
enum { OURS = 128 };

static _Thread_local int quiet;

static void callback(void *context, int level, const char *format, va_list arguments) {
    if (quiet == 0 && level < OURS)
        av_log_default_callback(context, level, format, arguments);
}

__attribute__((visibility("hidden"))) void c4c_av_log_install(void) { av_log_set_callback(callback); }

/* Nests: +1 when this thread enters FFmpeg on behalf of this library, -1 when it leaves. */
__attribute__((visibility("hidden"))) void c4c_av_log_quiet(int change) { quiet += change; }
