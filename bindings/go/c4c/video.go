package c4c

// #include "bridge.h"
import "C"

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/cgo"
	"time"
	"unsafe"
)

// VideoOptions say how a video file is sampled and decoded. A zero field means its default, and so does
// a nil pointer.
type VideoOptions struct {
	// NumFrames is how many frames make the embedding, at most 4096; key frames and FPS may find fewer.
	// 0: 12.
	NumFrames int
	// Sampling says which frames stand for the video.
	Sampling Sampling
	// Seek says how frames are found.
	Seek Seek
	// FPS is the frames per second with [SamplingFPS], else 0.
	FPS float64
	// Start and End bound the frames: only those that are shown from Start on, and before End, counted
	// from the first frame and rounded up to microseconds. End 0: to the end. Where no frame begins
	// between the two, the one that is on the screen at Start.
	Start, End time.Duration
	// Color says how decoded pictures become RGB.
	Color Color
	// ApplyRotation turns and mirrors pictures as the file asks players to. Otherwise that is ignored,
	// as the operator does.
	ApplyRotation bool
	// AllowNetwork opens http, https and rtsp URLs, and playlists that these lead to. Nothing local is
	// ever opened on their behalf. A server that is silent for 30 seconds is given up, whatever the
	// deadline.
	AllowNetwork bool
	// StrictDecode makes a corrupt packet or frame among those that the wanted frames need an error,
	// [ErrDecode]; otherwise what the decoder conceals is used, and what it drops is not counted.
	StrictDecode bool
	// DecodeThreads is the number of threads that decode, at most 256. 0: one per core that the process
	// may use.
	DecodeThreads int
	// StreamIndexPlus1 is 1 for stream 0 and so on. 0: the best video stream.
	StreamIndexPlus1 int
	// MaxPixels is the most pixels that a frame may have. 0: 8192 * 8192.
	MaxPixels uint64
	// HWAccel says what decodes.
	HWAccel HWAccel
	// HWAccelDevice is CUDA's number of the GPU that decodes with [HWAccelCUDA], else 0.
	HWAccelDevice int
}

// Sampling says which frames stand for a video.
type Sampling uint32

const (
	// SamplingUniform is NumFrames frames evenly from the first to the last, as the operator's
	// uniform_temporal_subsample. Short videos repeat frames.
	SamplingUniform Sampling = C.C4C_SAMPLING_UNIFORM
	// SamplingKeyFrames is the key frames, by the container's word: all of them, or NumFrames taken
	// from them evenly.
	SamplingKeyFrames Sampling = C.C4C_SAMPLING_KEYFRAMES
	// SamplingFPS is the frames on the screen at 0, 1/FPS, 2/FPS ... seconds from Start: all of them,
	// or NumFrames taken from them evenly, as CLIP4Clip's own reader does with 1 frame per second. A
	// frame comes once.
	SamplingFPS Sampling = C.C4C_SAMPLING_FPS
)

// Seek says how frames are found.
type Seek uint32

const (
	// SeekExact is the very frames that a full decode would pick. Every packet is read once to find out
	// which there are.
	SeekExact Seek = C.C4C_SEEK_EXACT
	// SeekApproximate is by the duration and the frame rate that the container states: for remote and
	// huge files, of which only what is needed is read. Off by as much as the container is wrong.
	// [ErrLimit] where no duration is stated and End is 0.
	SeekApproximate Seek = C.C4C_SEEK_APPROXIMATE
)

// Color says how decoded pictures become RGB.
type Color uint32

const (
	// ColorTagged is by the matrix and range that the stream is tagged with; BT.601 limited where it is
	// not.
	ColorTagged Color = C.C4C_COLOR_TAGGED
	// ColorOperator is as PyAV did in the operator's day: BT.601 whatever the tags say, and limited
	// range unless the decoder's pixel format is itself one of full range.
	ColorOperator Color = C.C4C_COLOR_OPERATOR
)

// HWAccel says what decodes a video.
type HWAccel uint32

const (
	// HWAccelNone is the CPU.
	HWAccelNone HWAccel = C.C4C_HWACCEL_NONE
	// HWAccelCUDA is NVDEC of the GPU HWAccelDevice, through FFmpeg. Streams that it does not decode are
	// decoded on the CPU. Decoders may round differently where a codec's standard lets them, and chroma
	// is NV12 instead of I420.
	HWAccelCUDA HWAccel = C.C4C_HWACCEL_CUDA
)

// c is o for C; nil for nil.
func (o *VideoOptions) c() (*C.c4c_video_options, error) {
	if o == nil {
		return nil, nil
	}
	var n narrow
	c := &C.c4c_video_options{
		struct_size:         C.sizeof_c4c_video_options,
		num_frames:          n.uint32("NumFrames", int64(o.NumFrames)),
		sampling:            C.uint32_t(o.Sampling),
		seek:                C.uint32_t(o.Seek),
		fps:                 C.double(o.FPS),
		start_us:            C.int64_t(micros(o.Start)),
		end_us:              C.int64_t(micros(o.End)),
		color:               C.uint32_t(o.Color),
		decode_threads:      n.uint32("DecodeThreads", int64(o.DecodeThreads)),
		stream_index_plus_1: n.uint32("StreamIndexPlus1", int64(o.StreamIndexPlus1)),
		max_pixels:          C.uint64_t(o.MaxPixels),
		hwaccel:             C.uint32_t(o.HWAccel),
		hwaccel_device:      n.uint32("HWAccelDevice", int64(o.HWAccelDevice)),
	}
	for _, flag := range []struct {
		set bool
		bit C.uint32_t
	}{
		{o.ApplyRotation, C.C4C_APPLY_ROTATION},
		{o.AllowNetwork, C.C4C_ALLOW_NETWORK},
		{o.StrictDecode, C.C4C_STRICT_DECODE},
	} {
		if flag.set {
			c.flags |= flag.bit
		}
	}
	return c, n.err
}

// video makes a call that gives one video's vector.
func (m *Model) video(ctx context.Context, o *VideoOptions,
	f func(c *call, video *C.c4c_video_options, out []float32) C.c4c_status) ([]float32, error) {
	video, err := o.c()
	if err != nil {
		return nil, err
	}
	out := make([]float32, m.dim)
	err = m.run(ctx, m.pictures, func(c *call) C.c4c_status { return f(c, video, out) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// EmbedVideo embeds a video file: a vector of [Model.Dim] floats, of unit length. The path names a
// local file, in UTF-8; with AllowNetwork it may be an http, https or rtsp URL. options may be nil.
//
// Errors: [ErrInvalidArgument], also for a Start behind the video's end; [ErrModality] on a model
// without vision tower; [ErrMediaIO], [ErrMediaFormat], [ErrNoVideo], [ErrLimit], [ErrForbidden];
// [ErrDecode] with StrictDecode; [ErrUnsupported]; [ErrCancelled] and [ErrTimeout] by ctx; [ErrClosed].
func (m *Model) EmbedVideo(ctx context.Context, path string, options *VideoOptions) ([]float32, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	name, err := cString(&pinner, "path", path)
	if err != nil {
		return nil, err
	}
	return m.video(ctx, options, func(c *call, video *C.c4c_video_options, out []float32) C.c4c_status {
		return C.c4c_embed_video_path(m.handle, name, video, &c.limits, floats(out), C.size_t(len(out)), &c.err)
	})
}

// EmbedVideoBytes embeds a video file that is in memory as a whole; data is borrowed for the call.
// Otherwise as [Model.EmbedVideo].
func (m *Model) EmbedVideoBytes(ctx context.Context, data []byte, options *VideoOptions) ([]float32, error) {
	if len(data) == 0 {
		return nil, invalid("data is empty")
	}
	return m.video(ctx, options, func(c *call, video *C.c4c_video_options, out []float32) C.c4c_status {
		return C.c4c_embed_video_memory(m.handle, unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)), video,
			&c.limits, floats(out), C.size_t(len(out)), &c.err)
	})
}

// EmbedVideoReader embeds a video that r reads. Otherwise as [Model.EmbedVideo].
//
// The video begins where r stands. If r is not an [io.Seeker] whose Seek works, it is read once, and its
// packets are kept in memory: at most 256 MiB, else [ErrLimit]; an MP4 file whose index is at its end
// cannot be read so. r is left anywhere, and not closed.
//
// The methods of r are called one at a time, by goroutines that are not the caller's; they must not
// call Close of this model, nor keep the slices that they are given. Nor may they call methods that
// embed pictures or videos or that score without a deadline: each of these waits for a slot of
// Options.MaxConcurrentCalls, which this call holds one of, also while r waits for the network. An
// error of theirs is in the chain of the call's error, or is its error, by ctx, where it is that of ctx.
// A panic in one of them goes through the caller of EmbedVideoReader, once the library has ended the
// call, with the same value and the caller's stack: what wants to know the stack of the reader's must
// recover there. ctx is looked at between two calls of Read, and cannot end one that hangs.
func (m *Model) EmbedVideoReader(ctx context.Context, r io.Reader, options *VideoOptions) ([]float32, error) {
	if r == nil {
		return nil, invalid("r is nil")
	}
	s := &source{reader: r}
	handle := cgo.NewHandle(s)
	defer handle.Delete()
	vector, err := m.video(ctx, options, func(c *call, video *C.c4c_video_options, out []float32) C.c4c_status {
		if !s.open() {
			return C.C4C_E_INTERNAL // which settle does not return
		}
		seekable := C.int32_t(0)
		if s.seeker != nil {
			seekable = 1
		}
		return C.c4c_go_embed_video_io(m.handle, C.uintptr_t(handle), seekable, video,
			&c.limits, floats(out), C.size_t(len(out)), &c.err)
	})
	return vector, s.settle(ctx, err)
}

// VideoResult is what one file of several came to.
type VideoResult struct {
	Vector []float32 // nil on error
	Err    error     // an *Error; nil on success
}

// EmbedVideos embeds many video files: several are decoded at once, while the model works on others. A
// file that cannot be embedded costs its own result only, whose Err says so; the error of the call is
// that of the call as a whole. Of the files that failed, the library tells a message for the first
// only.
//
// progress, if not nil, is told after each file how many are done, by a goroutine that is not the
// caller's. If it returns an error, the call ends with [ErrCancelled] and that error in its chain; a
// panic in it goes through the caller of EmbedVideos, with the caller's stack. It holds a slot as readers
// do, see [Model.EmbedVideoReader]. ctx and options are for all files together.
// Errors of the call: [ErrInvalidArgument], [ErrModality], [ErrCancelled], [ErrTimeout], [ErrClosed].
func (m *Model) EmbedVideos(ctx context.Context, paths []string, options *VideoOptions,
	progress func(done, total int) error) ([]VideoResult, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	list, err := cStrings(&pinner, "paths", paths)
	if err != nil {
		return nil, err
	}
	video, err := options.c()
	if err != nil {
		return nil, err
	}
	o := &observer{progress: progress}
	handle := cgo.Handle(0)
	if progress != nil {
		handle = cgo.NewHandle(o)
		defer handle.Delete()
	}
	out := make([]float32, len(paths)*m.dim)
	statuses := make([]C.c4c_status, len(paths))
	message := ""
	err = m.run(ctx, m.pictures, func(c *call) C.c4c_status {
		status := C.c4c_go_embed_video_paths(m.handle, unsafe.SliceData(list), C.size_t(len(list)), video, &c.limits,
			C.uintptr_t(handle), floats(out), C.size_t(len(out)), unsafe.SliceData(statuses), &c.err)
		message = C.GoString(&c.err.message[0])
		return status
	})
	if err = o.settle(ctx, err); err != nil {
		return nil, err
	}
	results := make([]VideoResult, len(paths))
	for i, vector := range rows(out, m.dim) {
		if status := Status(statuses[i]); status != OK {
			if message == "" {
				message = fmt.Sprintf("`%s`", paths[i])
			}
			results[i].Err = &Error{Status: status, Message: message}
			message = ""
			continue
		}
		results[i].Vector = vector
	}
	return results, nil
}

// Segment is a window of a video.
type Segment struct {
	Start, End time.Duration // from the first frame
	Vector     []float32
}

// Segments embeds every window of a long video from one decode: windows of the length window at 0,
// step, 2 step ... up to the first that reaches the end, which may be shorter. With [SeekExact] each
// vector is that of [Model.EmbedVideo] with the window's Start and End. NumFrames are taken of every
// window, and Start and End of options bound all of them.
//
// Errors: those of [Model.EmbedVideo]; [ErrLimit] also for more than 2,000,000 frames of all windows
// together, and where so many windows overlap that their frames, before the model has seen them, take
// more than 192 MiB.
func (m *Model) Segments(ctx context.Context, path string, window, step time.Duration,
	options *VideoOptions) ([]Segment, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	name, err := cString(&pinner, "path", path)
	if err != nil {
		return nil, err
	}
	video, err := options.c()
	if err != nil {
		return nil, err
	}
	var found *C.c4c_segments
	err = m.run(ctx, m.pictures, func(c *call) C.c4c_status {
		return C.c4c_embed_segments(m.handle, name, video, C.int64_t(micros(window)), C.int64_t(micros(step)),
			&c.limits, &found, &c.err)
	})
	if err != nil {
		return nil, err
	}
	defer C.c4c_segments_free(found)
	segments := make([]Segment, int(C.c4c_segments_count(found)))
	all := make([]float32, len(segments)*m.dim)
	copy(all, unsafe.Slice((*float32)(C.c4c_segments_data(found)), len(all)))
	for i, vector := range rows(all, m.dim) {
		var start, end C.int64_t
		C.c4c_segments_time(found, C.size_t(i), &start, &end)
		segments[i] = Segment{
			Start:  time.Duration(start) * time.Microsecond,
			End:    time.Duration(end) * time.Microsecond,
			Vector: vector,
		}
	}
	return segments, nil
}
