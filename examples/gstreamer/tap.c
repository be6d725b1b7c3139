/* Embeds what flows through a GStreamer pipeline, every few seconds, without touching the disk. README.md says more.
 *
 *     cc tap.c -o tap $(pkg-config --cflags --libs c4c gstreamer-app-1.0 gstreamer-video-1.0)
 *     ./tap pytorch_model.bin rtsp://camera/stream --every 2 --text "a dog runs" --text "a cat sleeps"
 *     ./tap pytorch_model.bin "v4l2src ! tee name=t  t. ! queue ! autovideosink  t. ! queue"
 *
 * The streaming thread only keeps references to the frames that are wanted; a thread of ours embeds them. There are two
 * windows of frames: one that fills, and one that the model works on. When one is full and the other not free yet, it
 * is emptied and counted: the model may fall behind, the pipeline never waits, and memory has a bound.
 */
#include <c4c.h>

#include <glib-unix.h>
#include <gst/app/gstappsink.h>
#include <gst/video/video.h>
#include <stdio.h>

/* What c4c_frame can describe; videoconvert makes one of these of anything else. Gray is left out: GStreamer's may be
 * of limited range, c4c's is not. */
#define FORMATS "{ NV12, I420, RGB, BGR, RGBA, BGRA, RGBx, BGRx }"

/* A frame that comes so little before its time is in time: timestamps are rounded, and cameras tremble. */
#define JITTER (5 * GST_MSECOND)

typedef struct {
    GstSample *sample; /* the buffer with its caps: a reference, no copy */
    GstClockTime time;
    uint32_t rotation;
} picked;

typedef struct {
    picked *frames; /* room for tap.n_frames */
    guint n;
    gint64 closed_us;
} window;

typedef struct {
    c4c_model *model;
    c4c_cancel *cancel;
    float *texts;
    size_t n_texts;
    guint n_frames;
    GstClockTime every;
    int64_t deadline_us;
    gboolean vectors;

    /* The main thread's. */
    GstElement *pipeline;
    GMainLoop *loop;

    /* The streaming thread's. */
    window *filling;
    guint64 slot; /* of the last frame taken; G_MAXUINT64 before the first */
    uint32_t rotation;

    /* The streaming thread's and the worker's, under the lock. */
    GMutex lock;
    GCond wake;
    window *full; /* the worker's as long as it is busy */
    gboolean busy, ended;
    guint64 skipped, dropped; /* windows, and their frames */

    gboolean failed, worker_failed; /* the main thread's, the worker's until it is joined */
} tap;

static void clear(window *w) {
    for (guint i = 0; i < w->n; i++)
        gst_sample_unref(w->frames[i].sample);
    w->n = 0;
}

/* ---- the streaming thread: nothing here waits ---- */

/* Hands the window over. */
static void close_window(tap *t) {
    window *w = t->filling;
    if (w->n == 0)
        return;
    w->closed_us = g_get_monotonic_time();
    g_mutex_lock(&t->lock);
    if (t->busy) {
        t->skipped++;
        t->dropped += w->n;
    } else {
        t->filling = t->full;
        t->full = w;
        t->busy = TRUE;
        g_cond_signal(&t->wake);
    }
    g_mutex_unlock(&t->lock);
    clear(t->filling);
}

/* Takes a frame if it is the first of its slot: time is cut into windows of `every`, each into n_frames slots. */
static void offer(tap *t, GstSample *sample, GstClockTime time) {
    const GstClockTime early = MIN(JITTER, t->every / t->n_frames / 2);
    const guint64 slot = gst_util_uint64_scale(time + early, t->n_frames, t->every);
    const gboolean same_window = t->slot != G_MAXUINT64 && slot / t->n_frames == t->slot / t->n_frames;
    if (same_window && slot <= t->slot)
        return;
    if (!same_window) /* the last one did not come to its end: few frames, a gap, or time went back */
        close_window(t);
    t->slot = slot;
    t->filling->frames[t->filling->n++] = (picked){gst_sample_ref(sample), time, t->rotation};
    if ((slot + 1) % t->n_frames == 0)
        close_window(t);
}

static GstFlowReturn on_sample(GstAppSink *sink, gpointer data) {
    GstSample *sample = gst_app_sink_pull_sample(sink);
    if (sample == NULL)
        return GST_FLOW_EOS;
    const GstSegment *segment = gst_sample_get_segment(sample);
    const GstClockTime pts = GST_BUFFER_PTS(gst_sample_get_buffer(sample));
    GstFlowReturn flow = GST_FLOW_OK;
    if (segment->format != GST_FORMAT_TIME || !GST_CLOCK_TIME_IS_VALID(pts)) {
        GST_ELEMENT_ERROR(sink, STREAM, FORMAT, ("The frames have no timestamps."), (NULL));
        flow = GST_FLOW_ERROR;
    } else {
        const GstClockTime time = gst_segment_to_running_time(segment, GST_FORMAT_TIME, pts);
        if (GST_CLOCK_TIME_IS_VALID(time))
            offer(data, sample, time);
    }
    gst_sample_unref(sample);
    return flow;
}

static void on_eos(GstAppSink *sink, gpointer data) {
    (void)sink;
    close_window(data);
}

static GstPadProbeReturn on_query(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
    (void)pad;
    GstQuery *query = GST_PAD_PROBE_INFO_QUERY(info);
    GstCaps *caps = NULL;
    GstVideoInfo video;
    if (GST_QUERY_TYPE(query) != GST_QUERY_ALLOCATION)
        return GST_PAD_PROBE_OK;
    gst_query_parse_allocation(query, &caps, NULL);
    if (caps == NULL || !gst_video_info_from_caps(&video, caps))
        return GST_PAD_PROBE_OK;
    /* We read strides and offsets, so nobody has to copy a picture into GStreamer's default layout for us; and a pool
     * must have what we keep of it, or its decoder waits for us after all. */
    gst_query_add_allocation_meta(query, GST_VIDEO_META_API_TYPE, NULL);
    gst_query_add_allocation_pool(query, NULL, (guint)video.size, 2 * ((tap *)data)->n_frames + 1, 0);
    return GST_PAD_PROBE_HANDLED;
}

/* Tags come before the frames that they are about. */
static GstPadProbeReturn on_event(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
    (void)pad;
    tap *t = data;
    GstEvent *event = GST_PAD_PROBE_INFO_EVENT(info);
    GstTagList *tags;
    GstVideoOrientationMethod method;
    if (GST_EVENT_TYPE(event) == GST_EVENT_STREAM_START)
        t->rotation = 0;
    if (GST_EVENT_TYPE(event) != GST_EVENT_TAG)
        return GST_PAD_PROBE_OK;
    gst_event_parse_tag(event, &tags);
    if (gst_video_orientation_from_tag(tags, &method))
        t->rotation = method == GST_VIDEO_ORIENTATION_90R   ? 90
                      : method == GST_VIDEO_ORIENTATION_180 ? 180
                      : method == GST_VIDEO_ORIENTATION_90L ? 270
                                                            : 0; /* mirrored ones are not turned */
    return GST_PAD_PROBE_OK;
}

/* ---- the worker ---- */

/* The mapped frame in c4c's terms: planes and strides are where GstVideoMeta says. */
static c4c_frame describe(const GstVideoFrame *video, uint32_t rotation) {
    c4c_frame frame = {.struct_size = sizeof frame, .rotation = rotation};
    switch (GST_VIDEO_FRAME_FORMAT(video)) {
    case GST_VIDEO_FORMAT_NV12: frame.format = C4C_PIXEL_NV12; break;
    case GST_VIDEO_FORMAT_I420: frame.format = C4C_PIXEL_I420; break;
    case GST_VIDEO_FORMAT_RGB: frame.format = C4C_PIXEL_RGB24; break;
    case GST_VIDEO_FORMAT_BGR: frame.format = C4C_PIXEL_BGR24; break;
    case GST_VIDEO_FORMAT_RGBA:
    case GST_VIDEO_FORMAT_RGBx: frame.format = C4C_PIXEL_RGBA; break;
    case GST_VIDEO_FORMAT_BGRA:
    case GST_VIDEO_FORMAT_BGRx: frame.format = C4C_PIXEL_BGRA; break;
    default: break; /* not among FORMATS; c4c refuses 0 */
    }
    frame.width = (uint32_t)GST_VIDEO_FRAME_WIDTH(video);
    frame.height = (uint32_t)GST_VIDEO_FRAME_HEIGHT(video);
    for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES(video); i++) {
        frame.planes[i] = GST_VIDEO_FRAME_PLANE_DATA(video, i);
        frame.strides[i] = GST_VIDEO_FRAME_PLANE_STRIDE(video, i);
    }
    switch (video->info.colorimetry.matrix) {
    case GST_VIDEO_COLOR_MATRIX_BT601: frame.color_matrix = C4C_MATRIX_BT601; break;
    case GST_VIDEO_COLOR_MATRIX_BT709: frame.color_matrix = C4C_MATRIX_BT709; break;
    case GST_VIDEO_COLOR_MATRIX_BT2020: frame.color_matrix = C4C_MATRIX_BT2020; break;
    default: break; /* RGB, or unknown */
    }
    switch (video->info.colorimetry.range) {
    case GST_VIDEO_COLOR_RANGE_0_255: frame.color_range = C4C_RANGE_FULL; break;
    case GST_VIDEO_COLOR_RANGE_16_235: frame.color_range = C4C_RANGE_LIMITED; break;
    default: break;
    }
    return frame;
}

static c4c_status embed(const tap *t, const window *w, float *vector, size_t dim, c4c_error *err) {
    GstVideoFrame *videos = g_new(GstVideoFrame, w->n);
    c4c_frame *frames = g_new(c4c_frame, w->n);
    c4c_call call = {.struct_size = sizeof call, .timeout_us = t->deadline_us, .cancel = t->cancel};
    c4c_status status = C4C_OK;
    guint mapped = 0;
    for (; mapped < w->n; mapped++) {
        GstSample *sample = w->frames[mapped].sample;
        GstVideoInfo info; /* of each: the size may change in mid-stream */
        if (!gst_video_info_from_caps(&info, gst_sample_get_caps(sample)) ||
            !gst_video_frame_map(&videos[mapped], &info, gst_sample_get_buffer(sample), GST_MAP_READ)) {
            g_strlcpy(err->message, "a frame cannot be mapped", sizeof err->message);
            status = err->status = C4C_E_UNSUPPORTED;
            break;
        }
        frames[mapped] = describe(&videos[mapped], w->frames[mapped].rotation);
    }
    if (status == C4C_OK)
        status = c4c_embed_frames(t->model, frames, w->n, &call, vector, dim, err);
    while (mapped > 0)
        gst_video_frame_unmap(&videos[--mapped]);
    g_free(frames);
    g_free(videos);
    return status;
}

static void print_floats(const char *name, const float *values, size_t n) {
    printf(",\"%s\":[", name);
    for (size_t i = 0; i < n; i++)
        printf(i == 0 ? "%.9g" : ",%.9g", (double)values[i]);
    printf("]");
}

static void result(tap *t, const window *w, float *vector, float *cosines, size_t dim) {
    c4c_error err = {.struct_size = sizeof err};
    const double start = (double)w->frames[0].time / GST_SECOND, end = (double)w->frames[w->n - 1].time / GST_SECOND;
    c4c_status status = embed(t, w, vector, dim, &err);
    if (status == C4C_OK && t->n_texts > 0)
        status = c4c_similarity(vector, 1, t->texts, t->n_texts, dim, cosines, t->n_texts, &err);
    if (status == C4C_E_CANCELLED)
        return;
    if (status != C4C_OK) {
        g_printerr("tap: %.3f s to %.3f s: %s: %s\n", start, end, c4c_status_name(status), err.message);
        t->worker_failed = TRUE;
        return;
    }
    const double latency_ms = (double)(g_get_monotonic_time() - w->closed_us) / 1000;
    g_mutex_lock(&t->lock);
    const guint64 skipped = t->skipped, dropped = t->dropped;
    g_mutex_unlock(&t->lock);
    printf("{\"start\":%.3f,\"end\":%.3f,\"frames\":%u,\"latency_ms\":%.1f,\"windows_skipped\":%" G_GUINT64_FORMAT
            ",\"frames_dropped\":%" G_GUINT64_FORMAT, start, end, w->n, latency_ms, skipped, dropped);
    print_floats("cosines", cosines, t->n_texts);
    if (t->vectors)
        print_floats("vector", vector, dim);
    printf("}\n");
    fflush(stdout);
}

static gpointer work(gpointer data) {
    tap *t = data;
    const size_t dim = c4c_dim(t->model);
    float *vector = g_new(float, dim), *cosines = g_new(float, t->n_texts);
    g_mutex_lock(&t->lock);
    for (;;) {
        while (!t->busy && !t->ended)
            g_cond_wait(&t->wake, &t->lock);
        if (!t->busy)
            break;
        window *w = t->full;
        g_mutex_unlock(&t->lock);
        result(t, w, vector, cosines, dim);
        clear(w);
        g_mutex_lock(&t->lock);
        t->busy = FALSE;
    }
    g_mutex_unlock(&t->lock);
    g_free(cosines);
    g_free(vector);
    return NULL;
}

/* ---- the main thread ---- */

static gboolean on_signal(gpointer data) {
    tap *t = data;
    c4c_cancel_fire(t->cancel);
    g_main_loop_quit(t->loop);
    return G_SOURCE_CONTINUE;
}

static gboolean on_message(GstBus *bus, GstMessage *message, gpointer data) {
    (void)bus;
    tap *t = data;
    GError *error = NULL;
    char *details = NULL;
    switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ERROR:
        gst_message_parse_error(message, &error, &details);
        g_printerr("tap: %s: %s\n%.400s\n", GST_MESSAGE_SRC_NAME(message), error->message, details ? details : "");
        g_error_free(error);
        g_free(details);
        t->failed = TRUE;
        g_main_loop_quit(t->loop);
        break;
    case GST_MESSAGE_EOS: g_main_loop_quit(t->loop); break;
    case GST_MESSAGE_LATENCY: gst_bin_recalculate_latency(GST_BIN(t->pipeline)); break;
    case GST_MESSAGE_CLOCK_LOST: /* choose another */
        gst_element_set_state(t->pipeline, GST_STATE_PAUSED);
        gst_element_set_state(t->pipeline, GST_STATE_PLAYING);
        break;
    default: break;
    }
    return G_SOURCE_CONTINUE;
}

/* A pipeline that ends in an appsink named "c4c". `source` is a URI, a file, or a description as gst-launch-1.0 takes
 * it, whose last element has a pad for video free. */
static GstElement *build(const char *source, GError **error) {
    char *uri = NULL;
    if (gst_uri_is_valid(source))
        uri = g_strdup(source);
    else if (g_file_test(source, G_FILE_TEST_EXISTS) && (uri = gst_filename_to_uri(source, error)) == NULL)
        return NULL;
    const char *from = uri ? "uridecodebin name=c4c-source caps=video/x-raw(ANY) expose-all-streams=false" : source;
    char *text = g_strdup_printf("%s ! videoconvert ! appsink name=c4c", from);
    GstElement *pipeline = gst_parse_launch_full(text, NULL, GST_PARSE_FLAG_FATAL_ERRORS, error);
    if (pipeline && uri) {
        GstElement *decoder = gst_bin_get_by_name(GST_BIN(pipeline), "c4c-source");
        g_object_set(decoder, "uri", uri, NULL);
        gst_object_unref(decoder);
    }
    g_free(text);
    g_free(uri);
    return pipeline;
}

static void attach(tap *t) {
    GstElement *sink = gst_bin_get_by_name(GST_BIN(t->pipeline), "c4c");
    GstPad *pad = gst_element_get_static_pad(sink, "sink");
    GstCaps *caps = gst_caps_from_string("video/x-raw, format = " FORMATS);
    GstAppSinkCallbacks callbacks = {.new_sample = on_sample, .eos = on_eos};
    /* on_sample takes a frame at once; drop is for the day when somebody makes it slower. sync is on as by default: a
     * live source keeps its clock, a file comes at the pace at which it is to be seen. */
    g_object_set(sink, "caps", caps, "max-buffers", 1, "drop", TRUE, "sync", TRUE, "enable-last-sample", FALSE, NULL);
    gst_app_sink_set_callbacks(GST_APP_SINK(sink), &callbacks, t, NULL);
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM | GST_PAD_PROBE_TYPE_PUSH, on_query, t, NULL);
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_event, t, NULL);
    gst_caps_unref(caps);
    gst_object_unref(pad);
    gst_object_unref(sink);
}

/* Plays until the end, an error or a signal. */
static void play(tap *t) {
    GThread *worker = g_thread_new("embed", work, t);
    GstBus *bus = gst_element_get_bus(t->pipeline);
    const guint watches[] = {gst_bus_add_watch(bus, on_message, t), g_unix_signal_add(SIGINT, on_signal, t),
                             g_unix_signal_add(SIGTERM, on_signal, t)};
    gst_element_set_state(t->pipeline, GST_STATE_PLAYING); /* what fails here comes as a message */
    g_main_loop_run(t->loop);
    gst_element_set_state(t->pipeline, GST_STATE_NULL); /* from here on no streaming thread is left */

    g_mutex_lock(&t->lock);
    t->ended = TRUE;
    g_cond_signal(&t->wake);
    g_mutex_unlock(&t->lock);
    g_thread_join(worker); /* it finishes what it was given, unless that was cancelled */
    clear(t->filling);
    for (guint i = 0; i < G_N_ELEMENTS(watches); i++)
        g_source_remove(watches[i]);
    gst_object_unref(bus);
}

static gboolean load(tap *t, const char *weights, char **texts) {
    c4c_error err = {.struct_size = sizeof err};
    c4c_options options = {.struct_size = sizeof options, .weights_path = weights};
    c4c_status status = c4c_create(&options, &t->model, &err);
    if (status == C4C_OK && texts) {
        t->n_texts = g_strv_length(texts);
        const size_t room = t->n_texts * c4c_dim(t->model);
        t->texts = g_new(float, room);
        status = c4c_embed_text(t->model, (const char *const *)texts, t->n_texts, NULL, t->texts, room, &err);
    }
    if (status != C4C_OK)
        g_printerr("tap: %s: %s\n", c4c_status_name(status), err.message);
    return status == C4C_OK;
}

int main(int argc, char **argv) {
    double every = 1, deadline = 10;
    int n_frames = 12;
    gboolean vectors = FALSE;
    char **texts = NULL;
    GError *error = NULL;
    const GOptionEntry entries[] = {
        {"every", 0, 0, G_OPTION_ARG_DOUBLE, &every, "A vector every so many seconds, of these seconds (1)", "SECONDS"},
        {"window", 0, 0, G_OPTION_ARG_INT, &n_frames, "Made of so many frames, evenly taken (12)", "N"},
        {"text", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &texts, "Compare with this; may be repeated", "TEXT"},
        {"deadline", 0, 0, G_OPTION_ARG_DOUBLE, &deadline, "Give up a window after so many seconds (10)", "SECONDS"},
        {"vectors", 0, 0, G_OPTION_ARG_NONE, &vectors, "Print the vectors, too", NULL},
        G_OPTION_ENTRY_NULL};
    GOptionContext *context = g_option_context_new("WEIGHTS URI|FILE|PIPELINE");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_add_group(context, gst_init_get_option_group());
    const gboolean parsed = g_option_context_parse(context, &argc, &argv, &error);
    g_option_context_free(context);
    if (!parsed || argc != 3 || !(every >= 0.001 && every <= 86400) || n_frames < 1 || n_frames > 4096 ||
        !(deadline > 0 && deadline <= 86400)) {
        g_printerr("tap: %s\n", error ? error->message : "wrong arguments; --help lists them");
        g_clear_error(&error);
        g_strfreev(texts);
        return 2;
    }

    window windows[2] = {{.frames = g_new(picked, n_frames)}, {.frames = g_new(picked, n_frames)}};
    tap t = {.cancel = c4c_cancel_new(), .n_frames = (guint)n_frames, .every = (GstClockTime)(every * GST_SECOND),
             .deadline_us = MAX(1, (int64_t)(deadline * 1e6)), .vectors = vectors, .loop = g_main_loop_new(NULL, FALSE),
             .filling = &windows[0], .slot = G_MAXUINT64, .full = &windows[1]};
    g_mutex_init(&t.lock);
    g_cond_init(&t.wake);
    t.pipeline = build(argv[2], &error);
    if (t.pipeline == NULL) {
        g_printerr("tap: %s\n", error->message);
        t.failed = TRUE;
    } else if (load(&t, argv[1], texts)) {
        attach(&t);
        play(&t);
    } else {
        t.failed = TRUE;
    }

    g_clear_object(&t.pipeline);
    g_clear_error(&error);
    c4c_free(t.model);
    c4c_cancel_free(t.cancel);
    g_main_loop_unref(t.loop);
    g_mutex_clear(&t.lock);
    g_cond_clear(&t.wake);
    g_free(windows[0].frames);
    g_free(windows[1].frames);
    g_free(t.texts);
    g_strfreev(texts);
    gst_deinit(); /* for GST_TRACERS=leaks, which reports here */
    return t.failed || t.worker_failed ? 1 : 0;
}
