/* Stands in for a library with an FFmpeg, a zlib and more of its own inside, which did not hide their names. What it
 * exports under those names does nothing but count; neighbour.c loads it beside libc4c.
 *
 *     cc -shared -fPIC neighbour_library.c -o libneighbour.so
 */
#include <stddef.h>

/* What libc4c calls of FFmpeg, and names of what lies below it and in it. */
#define NAMES(name)                                                                                                    \
    name(av_codec_is_decoder) name(av_demuxer_iterate) name(av_dict_free) name(av_dict_set) name(av_find_best_stream)  \
    name(av_frame_alloc) name(av_frame_free) name(av_frame_get_buffer) name(av_frame_get_side_data)                    \
    name(av_frame_ref) name(av_frame_unref) name(av_free) name(av_freep) name(av_init_packet)                          \
    name(av_log_default_callback) name(av_log_set_callback) name(av_malloc) name(av_packet_make_writable)              \
    name(av_packet_ref) name(av_packet_unref) name(av_parser_close) name(av_parser_init) name(av_parser_parse2)        \
    name(av_pix_fmt_desc_get) name(av_read_frame) name(av_seek_frame) name(av_stream_get_side_data) name(av_strerror)  \
    name(av_version_info) name(avcodec_alloc_context3) name(avcodec_close) name(avcodec_default_get_buffer2)           \
    name(avcodec_find_decoder) name(avcodec_flush_buffers) name(avcodec_free_context) name(avcodec_open2)              \
    name(avcodec_parameters_free) name(avcodec_parameters_to_context) name(avcodec_receive_frame)                      \
    name(avcodec_send_packet) name(avformat_alloc_context) name(avformat_close_input) name(avformat_find_stream_info)  \
    name(avformat_free_context) name(avformat_index_get_entries_count) name(avformat_index_get_entry)                  \
    name(avformat_index_get_entry_from_timestamp) name(avformat_open_input) name(avio_alloc_context) name(avio_close)  \
    name(avio_context_free) name(avio_flush) name(avio_size) name(sws_freeContext) name(sws_getCoefficients)           \
    name(sws_getContext) name(sws_scale) name(sws_setColorspaceDetails)                                                \
    name(av_buffer_ref) name(av_codec_iterate) name(av_frame_apply_cropping) name(av_frame_copy_props)                 \
    name(av_hwdevice_ctx_create) name(av_hwframe_transfer_data) name(avcodec_default_get_format)                       \
    name(avcodec_get_hw_config)                                                                                        \
    name(avutil_version) name(avcodec_version) name(avformat_version) name(swscale_version)                            \
    /* what FFmpeg's libraries call of each other */                                                                   \
    name(av_mallocz) name(av_log) name(av_buffer_alloc) name(av_buffer_unref) name(av_opt_set_defaults)                \
    name(av_rescale_q) name(av_packet_alloc) name(av_packet_free) name(avcodec_parameters_copy) name(swr_alloc)        \
    /* zlib, bzip2, Oniguruma, BLAS, OpenMP */                                                                         \
    name(inflate) name(inflateInit_) name(inflateEnd) name(crc32) name(BZ2_bzDecompress) name(onig_new)                \
    name(onig_search) name(sgemm_) name(cblas_sgemm) name(omp_get_max_threads) name(GOMP_parallel)

static int calls;

#define DEFINE(name)                                                                                                   \
    void *name(void);                                                                                                  \
    void *name(void) {                                                                                                 \
        calls++;                                                                                                       \
        return NULL;                                                                                                   \
    }
NAMES(DEFINE)

#define NAME(name) #name,
static const char *const names[] = {NAMES(NAME) NULL};

/* The names, closed by NULL. */
const char *const *neighbour_names(void);
const char *const *neighbour_names(void) { return names; }

/* How often any of the functions was called. */
int neighbour_calls(void);
int neighbour_calls(void) { return calls; }

/* Calls each of them as the library itself does, through the dynamic linker; returns how many there are. */
int neighbour_work(void);
int neighbour_work(void) {
#define CALL(name) name();
    NAMES(CALL)
    return (int)(sizeof names / sizeof *names) - 1;
}
