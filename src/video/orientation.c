/* How a picture is to be turned, from the display matrix that containers and codecs carry. In C because where FFmpeg
 * keeps a stream's matrix depends on its version. */
#include <libavformat/avformat.h>
#include <stdlib.h>

static const int32_t *of_stream(const AVStream *stream) {
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
    const AVCodecParameters *parameters = stream->codecpar;
    const AVPacketSideData *data = av_packet_side_data_get(
        parameters->coded_side_data, parameters->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return data != NULL && data->size >= 9 * sizeof(int32_t) ? (const int32_t *)data->data : NULL;
#else
    size_t size = 0;
    const uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return data != NULL && size >= 9 * sizeof(int32_t) ? (const int32_t *)data : NULL;
#endif
}

static const int32_t *of_frame(const AVFrame *frame) {
    const AVFrameSideData *data = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    return data != NULL && data->size >= 9 * sizeof(int32_t) ? (const int32_t *)data->data : NULL;
}

/* Of the stream or the frame, whichever is not NULL: 1 transposed, then 2 mirrored from left to right, then 4 upside
 * down; -1 where there is no matrix. A pixel at (x, y) is shown at (a x + c y, b x + d y); angles other than right ones
 * are taken for the nearest. */
__attribute__((visibility("hidden"))) int c4c_av_orientation(const AVStream *stream, const AVFrame *frame) {
    const int32_t *matrix = stream != NULL ? of_stream(stream) : of_frame(frame);
    if (matrix == NULL)
        return -1;
    int64_t a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4];
    if (llabs(b) + llabs(c) > llabs(a) + llabs(d))
        return 1 | (c < 0 ? 2 : 0) | (b < 0 ? 4 : 0);
    return (a < 0 ? 2 : 0) | (d < 0 ? 4 : 0);
}
