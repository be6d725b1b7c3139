package c4c_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

// fails checks an error: its status by errors.Is and errors.As, and that its message names the thing.
func fails(t *testing.T, err error, status c4c.Status, part string) {
	t.Helper()
	var e *c4c.Error
	var s c4c.Status
	switch {
	case err == nil:
		t.Errorf("no error, expected %v about %q", status, part)
	case !errors.Is(err, status) || !errors.As(err, &e) || e.Status != status || !errors.As(err, &s) || s != status:
		t.Errorf("%v, expected %v about %q", err, status, part)
	case !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), status.String()):
		t.Errorf("%v does not name %q", err, part)
	}
}

func TestStatuses(t *testing.T) {
	for name, number := range constants {
		if name == "C4C_OK" || strings.HasPrefix(name, "C4C_E_") {
			if got := c4c.Status(number).String(); got != name {
				t.Errorf("status %d is %s, expected %s", number, got, name)
			}
		}
	}
	if got := c4c.Status(-7).String(); got != "unknown status" {
		t.Errorf("status -7 is %s", got)
	}
	standard := map[c4c.Status]error{
		c4c.ErrCancelled:   context.Canceled,
		c4c.ErrTimeout:     context.DeadlineExceeded,
		c4c.ErrClosed:      fs.ErrClosed,
		c4c.ErrUnsupported: errors.ErrUnsupported,
	}
	for status, same := range standard {
		for _, target := range standard {
			err := fmt.Errorf("while testing: %w", &c4c.Error{Status: status, Message: "m"})
			if errors.Is(err, target) != (target == same) {
				t.Errorf("errors.Is(%v, %v) is %v", err, target, target != same)
			}
		}
	}
	if errors.Is(&c4c.Error{Status: c4c.ErrMediaIO}, c4c.ErrDecode) {
		t.Error("ErrMediaIO is ErrDecode")
	}
}

func TestABIOfTheLoadedLibrary(t *testing.T) {
	if err := c4c.CheckABI(c4c.ABIVersion()); err != nil {
		t.Error(err)
	}
	fails(t, c4c.CheckABI(c4c.HeaderABIVersion+1), c4c.ErrUnsupported, "interface")
	if c4c.Version() == "" || !strings.Contains(c4c.BuildInfo(), `"c4c":"`+c4c.Version()+`"`) {
		t.Errorf("version %q, build info %s", c4c.Version(), c4c.BuildInfo())
	}
}

func TestBadOptions(t *testing.T) {
	for _, test := range []struct {
		options c4c.Options
		status  c4c.Status
		part    string
	}{
		{c4c.Options{}, c4c.ErrInvalidArgument, "weights_path"},
		{c4c.Options{WeightsPath: "a\x00b"}, c4c.ErrInvalidArgument, "WeightsPath has a NUL byte at 1"},
		{c4c.Options{WeightsPath: "\xff"}, c4c.ErrInvalidArgument, "weights_path"},
		{c4c.Options{WeightsPath: "/no/such/file"}, c4c.ErrWeightsIO, "/no/such/file"},
		{c4c.Options{WeightsPath: video}, c4c.ErrWeightsFormat, "weights"},
		{c4c.Options{WeightsPath: weights, ModelName: "clip_vit_b16"}, c4c.ErrWeightsMismatch, "clip_vit_b16"},
		{c4c.Options{WeightsPath: weights, ModelName: "clip"}, c4c.ErrInvalidArgument, "model_name"},
		{c4c.Options{WeightsPath: weights, ModelName: "\x00"}, c4c.ErrInvalidArgument, "ModelName"},
		{c4c.Options{WeightsPath: weights, TokenizerPath: "/no/such/file"}, c4c.ErrTokenizer, "/no/such/file"},
		{c4c.Options{WeightsPath: weights, TokenizerPath: "\x00"}, c4c.ErrInvalidArgument, "TokenizerPath"},
		{c4c.Options{WeightsPath: weights, Device: "abacus"}, c4c.ErrInvalidArgument, "abacus"},
		{c4c.Options{WeightsPath: weights, Device: "cuda:0,cuda:0"}, c4c.ErrInvalidArgument, "`cuda:0,cuda:0`"},
		{c4c.Options{WeightsPath: weights, Device: "cuda:4095"}, c4c.ErrDevice, "`cuda:4095` cannot be used: "},
		{c4c.Options{WeightsPath: weights, Device: "\x00"}, c4c.ErrInvalidArgument, "Device"},
		{c4c.Options{WeightsPath: weights, Modality: 3}, c4c.ErrInvalidArgument, "modality 3"},
		{c4c.Options{WeightsPath: weights, Precision: 5}, c4c.ErrInvalidArgument, "precision 5"},
		{c4c.Options{WeightsPath: weights, Device: "cpu", Precision: c4c.PrecisionF16}, c4c.ErrUnsupported, "F16 is for"},
		{c4c.Options{WeightsPath: weights, Head: 5}, c4c.ErrInvalidArgument, "head 5"},
		{c4c.Options{WeightsPath: weights, Activation: 3}, c4c.ErrInvalidArgument, "activation 3"},
		{c4c.Options{WeightsPath: weights, MaxWords: -1}, c4c.ErrInvalidArgument, "MaxWords is -1"},
		{c4c.Options{WeightsPath: weights, MaxWords: 1000}, c4c.ErrInvalidArgument, "max_words"},
		{c4c.Options{WeightsPath: weights, NumThreads: -1}, c4c.ErrInvalidArgument, "NumThreads is -1"},
		{c4c.Options{WeightsPath: weights, NumThreads: 1025}, c4c.ErrInvalidArgument, "num_threads"},
		{c4c.Options{WeightsPath: weights, MaxBatch: math.MinInt}, c4c.ErrInvalidArgument, "MaxBatch is -"},
		{c4c.Options{WeightsPath: weights, MaxBatch: 4097}, c4c.ErrInvalidArgument, "max_batch"},
		{c4c.Options{WeightsPath: weights, MaxBatchDelay: -1}, c4c.ErrInvalidArgument, "MaxBatchDelay"},
		{c4c.Options{WeightsPath: weights, MaxBatchDelay: 2 * time.Hour}, c4c.ErrInvalidArgument, "MaxBatchDelay"},
		{c4c.Options{WeightsPath: weights, LogLevel: 5}, c4c.ErrInvalidArgument, "log_level 5"},
		{c4c.Options{WeightsPath: weights, MaxConcurrentCalls: -1}, c4c.ErrInvalidArgument, "MaxConcurrentCalls is -1"},
	} {
		m, err := c4c.New(test.options)
		if m != nil {
			t.Errorf("%+v made a model", test.options)
			m.Close()
		}
		fails(t, err, test.status, test.part)
	}
}

func TestBadVideoOptions(t *testing.T) {
	m := load(t)
	for _, test := range []struct {
		options c4c.VideoOptions
		status  c4c.Status
		part    string
	}{
		{c4c.VideoOptions{NumFrames: -1}, c4c.ErrInvalidArgument, "NumFrames is -1"},
		{c4c.VideoOptions{NumFrames: 4097}, c4c.ErrInvalidArgument, "num_frames"},
		{c4c.VideoOptions{Sampling: 3}, c4c.ErrInvalidArgument, "sampling 3"},
		{c4c.VideoOptions{Seek: 2}, c4c.ErrInvalidArgument, "seek 2"},
		{c4c.VideoOptions{FPS: 1}, c4c.ErrInvalidArgument, "fps"},
		{c4c.VideoOptions{Sampling: c4c.SamplingFPS}, c4c.ErrInvalidArgument, "fps"},
		{c4c.VideoOptions{Sampling: c4c.SamplingFPS, FPS: math.NaN()}, c4c.ErrInvalidArgument, "fps"},
		{c4c.VideoOptions{Start: -1}, c4c.ErrInvalidArgument, "start_us"},
		{c4c.VideoOptions{Start: time.Hour}, c4c.ErrInvalidArgument, "start_us"},
		{c4c.VideoOptions{End: -1}, c4c.ErrInvalidArgument, "end_us"},
		{c4c.VideoOptions{Start: 2 * time.Microsecond, End: 1}, c4c.ErrInvalidArgument, "end_us is 1"},
		{c4c.VideoOptions{Color: 2}, c4c.ErrInvalidArgument, "color 2"},
		{c4c.VideoOptions{DecodeThreads: -1}, c4c.ErrInvalidArgument, "DecodeThreads is -1"},
		{c4c.VideoOptions{DecodeThreads: 257}, c4c.ErrInvalidArgument, "decode_threads"},
		{c4c.VideoOptions{StreamIndexPlus1: -1}, c4c.ErrInvalidArgument, "StreamIndexPlus1 is -1"},
		{c4c.VideoOptions{HWAccelDevice: -1}, c4c.ErrInvalidArgument, "HWAccelDevice is -1"},
		{c4c.VideoOptions{StreamIndexPlus1: 99}, c4c.ErrNoVideo, ""},
		{c4c.VideoOptions{MaxPixels: 1}, c4c.ErrLimit, "max_pixels"},
	} {
		v, err := m.EmbedVideo(background, video, &test.options)
		if v != nil {
			t.Errorf("%+v made a vector", test.options)
		}
		fails(t, err, test.status, test.part)
		_, err = m.EmbedVideos(background, []string{video}, &test.options, nil)
		if test.status == c4c.ErrInvalidArgument && test.options.Start != time.Hour {
			fails(t, err, test.status, test.part)
		}
		_, err = m.Segments(background, video, time.Second, time.Second, &test.options)
		if test.options.StreamIndexPlus1 != 99 {
			fails(t, err, test.status, test.part)
		}
	}
}

func TestFieldsThatNoCPUHasUseFor(t *testing.T) {
	if flags := c4c.FlagsOf(c4c.Options{RawOutput: true, NoCUDAGraphs: true}); flags != 1|4 {
		t.Errorf("flags %#x", flags)
	}
	if flags := c4c.FlagsOf(c4c.Options{}); flags != 0 {
		t.Errorf("flags %#x by default", flags)
	}
	video := c4c.VideoOptions{HWAccel: c4c.HWAccelCUDA, HWAccelDevice: 2}
	if accel, device := c4c.HWAccelOf(&video); accel != 1 || device != 2 {
		t.Errorf("hwaccel %d, device %d", accel, device)
	}
	if accel, device := c4c.HWAccelOf(&c4c.VideoOptions{}); accel != 0 || device != 0 {
		t.Errorf("hwaccel %d, device %d by default", accel, device)
	}
}

// failure is the error of a call, whatever it returns beside it.
func failure[T any](_ T, err error) error { return err }

func TestBadArguments(t *testing.T) {
	m := load(t)
	ok, unknown := rgb(8, 8, 0), c4c.Frame{Width: 1, Height: 1}
	var noContext context.Context
	for _, test := range []struct {
		err  error
		part string
	}{
		{failure(m.EmbedText(noContext, "a")), "ctx is nil"},
		{failure(m.EmbedText(background)), "texts is empty"},
		{failure(m.EmbedText(background, "a", "ab\x00")), "texts[1] has a NUL byte at 2"},
		{failure(m.EmbedText(background, "a", "\xff")), "texts[1] is not UTF-8"},
		{failure(m.EmbedFrames(background)), "frames is empty"},
		{failure(m.EmbedFrames(background, append(make([]c4c.Frame, 4096), ok)...)), "n_frames is 4097"},
		{failure(m.EmbedImages(background, ok, unknown)), "frames[1]: format 0"},
		{failure(m.EmbedImage(background, nil)), "img is nil"},
		{failure(m.EmbedVideo(background, "\x00", nil)), "path has a NUL byte at 0"},
		{failure(m.EmbedVideo(background, "\xff", nil)), "path is not UTF-8"},
		{failure(m.EmbedVideoBytes(background, nil, nil)), "data is empty"},
		{failure(m.EmbedVideoReader(background, nil, nil)), "r is nil"},
		{failure(m.EmbedVideos(background, nil, nil, nil)), "paths is empty"},
		{failure(m.EmbedVideos(background, []string{"\x00"}, nil, nil)), "paths[0] has a NUL byte"},
		{failure(m.Segments(background, video, 0, 1, nil)), "window_us is 0"},
		{failure(m.Segments(background, video, 1, -1, nil)), "step_us is -1"},
		{failure(m.Segments(background, "\x00", 1, 1, nil)), "path has a NUL byte"},
		{failure(m.Score(background, nil, clip(1))), "texts is empty"},
		{failure(m.Score(background, []string{"a"}, nil)), "frames is empty"},
		{failure(c4c.Similarity(nil, [][]float32{{1}})), "a is empty"},
		{failure(c4c.Similarity([][]float32{{1}}, nil)), "b has 0 floats"},
		{failure(c4c.Similarity([][]float32{{1}}, [][]float32{{1}, {1, 2}})), "b[1] has 2 floats, a[0] has 1"},
		{failure(c4c.Similarity([][]float32{{}}, [][]float32{{}})), "dim is 0"},
		{failure(c4c.Similarity([][]float32{{0, 0}}, [][]float32{{1, 0}})), "a[0]"},
		{failure(c4c.SimilarityFlat([]float32{1, 2, 3}, []float32{1, 2}, 2)), "a has 3 floats"},
	} {
		fails(t, test.err, c4c.ErrInvalidArgument, test.part)
	}
	var never c4c.Model
	fails(t, failure(never.EmbedText(background, "a")), c4c.ErrInvalidArgument, "not made by New")
	fails(t, failure(never.Stats()), c4c.ErrInvalidArgument, "not made by New")
	if err := never.Close(); err != nil {
		t.Error(err)
	}
}
