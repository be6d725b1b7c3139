package c4c_test

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

func TestInfo(t *testing.T) {
	m := load(t, func(o *c4c.Options) {
		o.Precision = c4c.PrecisionF32
		o.Head = c4c.HeadMean
		o.Activation = c4c.ActivationGELU
		o.NumThreads = 1
		o.MaxBatch = 3
		o.MaxWords = 11
		o.Device = "cpu"
	})
	info := must(m.Info())(t)
	want := info
	want.Dim, want.Modality, want.Head, want.Activation = m.Dim(), c4c.ModalityBoth, c4c.HeadMean, c4c.ActivationGELU
	want.Precision, want.NumThreads, want.MaxBatch, want.MaxWords = c4c.PrecisionF32, 1, 3, 11
	want.Device, want.DeviceNote = "cpu", ""
	if info != want || info.Dim < 1 || info.ImageSize < 1 || info.ContextLength < 11 || info.Weights == "" {
		t.Errorf("%+v", info)
	}
	if s := info.Precision.String() + info.Head.String() + info.Modality.String() + info.Activation.String() +
		c4c.Precision(9).String(); s != "f32meanPbothGELUprecision 9" {
		t.Error(s)
	}
}

// Whatever the machine has: GPUs that can be used, or none and a reason.
func TestDevices(t *testing.T) {
	n, reason := c4c.CUDADevices()
	info := must(load(t, func(o *c4c.Options) { o.Device, o.NoCUDAGraphs = "auto", true }).Info())(t)
	if n > 0 {
		if reason != "" || info.Device != "cuda:0" || info.DeviceNote != "" || info.Precision != c4c.PrecisionF16 {
			t.Errorf("%d GPUs, reason %q, %+v", n, reason, info)
		}
		return
	}
	if reason == "" || info.Device != "cpu" || info.DeviceNote == "" || !strings.HasPrefix(reason, info.DeviceNote) {
		t.Errorf("no GPU, reason %q, %+v", reason, info)
	}
	for _, device := range []string{"cuda", "cuda:1", "cuda:0,cuda:1", "cuda:*"} {
		_, err := c4c.New(c4c.Options{WeightsPath: weights, Device: device})
		fails(t, err, c4c.ErrDevice, reason)
	}
}

func TestTrim(t *testing.T) {
	m := load(t)
	before := must(m.EmbedText(background, "a"))(t)[0]
	if err := m.Trim(); err != nil {
		t.Error(err)
	}
	if after := must(m.EmbedText(background, "a"))(t)[0]; !slices.Equal(before, after) {
		t.Error("a text has another vector after Trim")
	}
	m.Close()
	fails(t, m.Trim(), c4c.ErrClosed, "")
	fails(t, new(c4c.Model).Trim(), c4c.ErrInvalidArgument, "not made by New")
}

func TestModalities(t *testing.T) {
	text := load(t, func(o *c4c.Options) { o.Modality = c4c.ModalityText })
	_, err := text.EmbedFrames(background, clip(1)...)
	fails(t, err, c4c.ErrModality, "")
	isUnit(t, must(text.EmbedText(background, "a"))(t)[0], text.Dim())
	pictures := load(t, func(o *c4c.Options) { o.Modality = c4c.ModalityVideo })
	_, err = pictures.EmbedText(background, "a")
	fails(t, err, c4c.ErrModality, "")
	_, err = pictures.Score(background, []string{"a"}, clip(1))
	fails(t, err, c4c.ErrModality, "")
	isUnit(t, must(pictures.EmbedFrames(background, clip(1)...))(t), pictures.Dim())
}

func TestTexts(t *testing.T) {
	m := load(t)
	texts := []string{"a dog runs on the beach", "", "ein Hund läuft", strings.Repeat("long ", 100)}
	vectors := must(m.EmbedText(background, texts...))(t)
	if len(vectors) != len(texts) {
		t.Fatalf("%d vectors", len(vectors))
	}
	before := slices.Clone(vectors[1])
	for i, v := range vectors {
		isUnit(t, v, m.Dim())
		if alone := must(m.EmbedText(background, texts[i]))(t)[0]; cosine(t, v, alone) < 1-1e-6 {
			t.Errorf("text %d has another vector alone", i)
		}
	}
	_ = append(vectors[0], 7)
	if !slices.Equal(before, vectors[1]) {
		t.Error("appending to one vector changed the next")
	}
	strict := load(t, func(o *c4c.Options) { o.StrictText = true })
	_, err := strict.EmbedText(background, texts...)
	fails(t, err, c4c.ErrTextTooLong, "texts[3]")
	raw := load(t, func(o *c4c.Options) { o.RawOutput = true })
	v := must(raw.EmbedText(background, texts[0]))(t)[0]
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if math.Abs(sum-1) < 1e-3 || cosine(t, v, vectors[0]) < 1-1e-5 {
		t.Errorf("raw output has length² %v and cosine %v", sum, cosine(t, v, vectors[0]))
	}
}

func TestScore(t *testing.T) {
	m := load(t)
	texts, frames := []string{"a dog", "a cat"}, clip(3)
	scores := must(m.Score(background, texts, frames))(t)
	vectors := must(m.EmbedText(background, texts...))(t)
	cosines := must(c4c.Similarity(vectors, [][]float32{must(m.EmbedFrames(background, frames...))(t)}))(t)
	scale := math.Exp(float64(must(m.Info())(t).LogitScale))
	for i, score := range scores {
		if math.Abs(float64(score)-scale*float64(cosines[i][0])) > 1e-2 {
			t.Errorf("score %v, expected %v", score, scale*float64(cosines[i][0]))
		}
	}
}

func TestSimilarity(t *testing.T) {
	a, b := [][]float32{{2, 0}, {0, 3}}, [][]float32{{1, 0}, {0, 1}, {-5, 0}}
	got := must(c4c.Similarity(a, b))(t)
	if !slices.EqualFunc(got, [][]float32{{1, 0, -1}, {0, 1, 0}}, slices.Equal[[]float32]) {
		t.Errorf("%v", got)
	}
	all := must(c4c.SimilarityFlat(slices.Concat(a...), slices.Concat(b...), 2))(t)
	if !slices.Equal(all, []float32{1, 0, -1, 0, 1, 0}) {
		t.Errorf("%v", all)
	}
}

func TestStats(t *testing.T) {
	m := load(t)
	if s := must(m.Stats())(t); s != (c4c.Stats{DeviceBytes: s.DeviceBytes}) {
		t.Errorf("before any call: %+v", s)
	}
	must(m.EmbedText(background, "a", "b", "c"))(t)
	must(m.EmbedImages(background, rgb(32, 32, 0), rgb(32, 32, 1)))(t)
	must(m.EmbedVideo(background, video, nil))(t)
	_, err := m.EmbedVideo(background, "/no/such/file", nil)
	fails(t, err, c4c.ErrMediaIO, "/no/such/file")
	_, err = m.EmbedText(background, "\xff")
	fails(t, err, c4c.ErrInvalidArgument, "")
	s := must(m.Stats())(t)
	if s.Calls != 5 || s.Running != 0 || s.Texts != 3 || s.Images < 3 || s.FailedMedia != 1 || s.FailedArgument != 1 ||
		s.TextBatches < 1 || s.ImageBatches < 2 || s.MeanTextBatch < 1 || s.MeanImageBatch < 1 ||
		s.Decode <= 0 || s.Preprocess <= 0 || s.TextForward <= 0 || s.ImageForward <= 0 {
		t.Errorf("%+v", s)
	}
}

// records is a slog.Handler that keeps what it is given.
type records struct {
	slog.Handler
	mu     sync.Mutex
	levels []slog.Level
	before func() // called for each record
}

func (r *records) Handle(ctx context.Context, record slog.Record) error {
	if r.before != nil {
		r.before()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.levels = append(r.levels, record.Level)
	return r.Handler.Handle(ctx, record)
}

func TestLog(t *testing.T) {
	count := func(level c4c.LogLevel, least slog.Level, before func()) (levels []slog.Level, text string) {
		var out bytes.Buffer
		r := &records{Handler: slog.NewTextHandler(&out, &slog.HandlerOptions{Level: least}), before: before}
		m := load(t, func(o *c4c.Options) { o.Logger, o.LogLevel = slog.New(r), level })
		must(m.EmbedText(background, "a"))(t)
		must(m.EmbedVideo(background, video, nil))(t)
		m.Close()
		return r.levels, out.String()
	}
	levels, text := count(c4c.LogDebug, slog.LevelDebug, nil)
	if !slices.Contains(levels, slog.LevelInfo) || !strings.Contains(text, "level=INFO msg=") {
		t.Errorf("%v, %q", levels, text)
	}
	byDefault, _ := count(0, slog.LevelDebug, nil)
	if slices.Contains(byDefault, slog.LevelDebug) || len(byDefault) == 0 {
		t.Errorf("by default: %v", byDefault)
	}
	if errors, _ := count(c4c.LogError, slog.LevelDebug, nil); len(errors) != 0 {
		t.Errorf("with LogError: %v", errors)
	}
	if dropped, text := count(c4c.LogDebug, slog.LevelError, nil); len(dropped) != 0 || text != "" {
		t.Errorf("the handler's own level let %v through", dropped)
	}
	// A handler that fails does not harm the library.
	calls := 0
	kept, _ := count(c4c.LogInfo, slog.LevelDebug, func() { calls++; panic("in the handler") })
	if len(kept) != 0 || calls == 0 {
		t.Errorf("%d messages kept of %d", len(kept), calls)
	}
	count(c4c.LogInfo, slog.LevelDebug, runtime.Goexit)
}
