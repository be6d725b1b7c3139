package c4c_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

// calls is one call of each kind, each with the number of vectors that it gives.
func calls(m *c4c.Model) map[string]func(context.Context) ([][]float32, error) {
	frames, data := clip(3), stream(clip(3)...)
	one := func(v []float32, err error) ([][]float32, error) { return [][]float32{v}, err }
	return map[string]func(context.Context) ([][]float32, error){
		"text":   func(ctx context.Context) ([][]float32, error) { return m.EmbedText(ctx, "a dog", "a cat") },
		"frames": func(ctx context.Context) ([][]float32, error) { return one(m.EmbedFrames(ctx, frames...)) },
		"images": func(ctx context.Context) ([][]float32, error) { return m.EmbedImages(ctx, frames...) },
		"score":  func(ctx context.Context) ([][]float32, error) { return one(m.Score(ctx, []string{"a"}, frames)) },
		"path":   func(ctx context.Context) ([][]float32, error) { return one(m.EmbedVideo(ctx, video, nil)) },
		"bytes":  func(ctx context.Context) ([][]float32, error) { return one(m.EmbedVideoBytes(ctx, data, nil)) },
		"reader": func(ctx context.Context) ([][]float32, error) {
			return one(m.EmbedVideoReader(ctx, bytes.NewReader(data), nil))
		},
		"videos": func(ctx context.Context) ([][]float32, error) {
			results, err := m.EmbedVideos(ctx, []string{video}, nil, func(int, int) error { return nil })
			if err != nil {
				return nil, err
			}
			return one(results[0].Vector, results[0].Err)
		},
		"segments": func(ctx context.Context) ([][]float32, error) {
			segments, err := m.Segments(ctx, video, time.Second, time.Second, nil)
			var vectors [][]float32
			for _, s := range segments {
				vectors = append(vectors, s.Vector)
			}
			return vectors, err
		},
	}
}

func TestManyGoroutines(t *testing.T) {
	m := load(t, func(o *c4c.Options) { o.MaxConcurrentCalls = 5 })
	want := map[string][][]float32{}
	for name, call := range calls(m) {
		want[name] = must(call(background))(t)
	}
	var wait sync.WaitGroup
	for range 4 {
		for name, call := range calls(m) {
			wait.Add(1)
			go func() {
				defer wait.Done()
				ctx, cancel := context.WithTimeout(background, time.Hour)
				defer cancel()
				for range 3 {
					got, err := call(ctx)
					if err != nil {
						t.Errorf("%s: %v", name, err)
					} else if len(got) != len(want[name]) {
						t.Errorf("%s: %d vectors", name, len(got))
					}
					for i := range got {
						if !slices.Equal(got[i], want[name][i]) && cosine(t, got[i], want[name][i]) < 1-1e-6 {
							t.Errorf("%s: vector %d is another one in company", name, i)
						}
					}
				}
			}()
		}
	}
	for range 100 {
		must(m.Stats())(t)
		must(m.Info())(t)
	}
	wait.Wait()
	eventually(t, "the end of all work", func() bool {
		s := must(m.Stats())(t)
		return s.Running+s.QueuedTexts+s.QueuedImages+s.WaitingCalls+s.BytesHeld == 0
	})
}

// Whatever runs when a model is closed ends well or with ErrClosed, and whatever comes later is
// ErrClosed.
func TestCloseWhileCallsRun(t *testing.T) {
	for round := range 5 {
		m := load(t, func(o *c4c.Options) { o.MaxConcurrentCalls = 3 })
		var wait sync.WaitGroup
		var done atomic.Int64
		for range 2 {
			for name, call := range calls(m) {
				wait.Add(1)
				go func() {
					defer wait.Done()
					for {
						_, err := call(background)
						if err == nil {
							done.Add(1)
							continue
						}
						if !errors.Is(err, c4c.ErrClosed) || !errors.Is(err, os.ErrClosed) {
							t.Errorf("%s: %v", name, err)
						}
						return
					}
				}()
			}
		}
		eventually(t, "some calls", func() bool { return done.Load() > int64(5*round) })
		for range 3 {
			wait.Add(1)
			go func() {
				defer wait.Done()
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}()
		}
		wait.Wait()
		for name, call := range calls(m) {
			if _, err := call(background); !errors.Is(err, c4c.ErrClosed) {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
		if _, err := m.Stats(); !errors.Is(err, c4c.ErrClosed) {
			t.Error(err)
		}
		if _, err := m.Info(); !errors.Is(err, c4c.ErrClosed) {
			t.Error(err)
		}
		if m.Dim() == 0 {
			t.Error("the dimension is forgotten")
		}
	}
}

func TestCloseWaitsForCalls(t *testing.T) {
	m := load(t, func(o *c4c.Options) { o.MaxConcurrentCalls = 1 })
	g := newGate()
	over, waiting, closed := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go func() {
		_, err := m.EmbedVideoReader(background, g, nil)
		over <- err
	}()
	<-g.reached
	go func() {
		_, err := m.EmbedFrames(background, clip(1)...) // waits for its turn
		waiting <- err
	}()
	go func() {
		m.Close()
		close(closed)
	}()
	eventually(t, "new calls refused", func() bool {
		_, err := m.EmbedText(background, "a")
		return errors.Is(err, c4c.ErrClosed)
	})
	select {
	case <-closed:
		t.Error("closed while a call runs")
	case err := <-over:
		t.Errorf("the call ended before its video could be read: %v", err)
	default:
	}
	close(g.open)
	if err := <-over; err != nil {
		t.Errorf("a call that ran when the model was closed: %v", err)
	}
	<-closed
	fails(t, <-waiting, c4c.ErrClosed, "")
}

// What a call holds of Go's is given back: goroutines, and through handles whatever the host brought.
func TestNothingIsLeft(t *testing.T) {
	warm := load(t)
	for _, call := range calls(warm) {
		must(call(background))(t)
	}
	warm.Close()
	before := runtime.NumGoroutine()
	var alive atomic.Int64
	watch := func(x *bytes.Reader) *bytes.Reader {
		alive.Add(1)
		runtime.SetFinalizer(x, func(*bytes.Reader) { alive.Add(-1) })
		return x
	}
	data := stream(clip(2)...)
	func() {
		held := watch(bytes.NewReader(nil))
		handler := &records{Handler: slog.NewTextHandler(io.Discard, nil), before: func() { held.Len() }}
		m := load(t, func(o *c4c.Options) { o.Logger = slog.New(handler) })
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		for range 10 {
			for _, call := range calls(m) {
				must(call(ctx))(t)
			}
			must(m.EmbedVideoReader(ctx, watch(bytes.NewReader(data)), nil))(t)
			_, err := m.EmbedVideoReader(ctx, watch(bytes.NewReader(data[:50])), nil)
			fails(t, err, c4c.ErrMediaFormat, "")
			told := watch(bytes.NewReader(nil))
			must(m.EmbedVideos(ctx, []string{video}, nil, func(int, int) error { told.Len(); return nil }))(t)
		}
		ended, cancelNow := context.WithCancel(background)
		cancelNow()
		_, err := m.EmbedVideoReader(ended, watch(bytes.NewReader(data)), nil)
		fails(t, err, c4c.ErrCancelled, "")
		if runtime.NumGoroutine() > before {
			t.Logf("%d goroutines while the model is open, %d before", runtime.NumGoroutine(), before)
		}
		m.Close()
		// A model that cannot be made keeps nothing either.
		lost := watch(bytes.NewReader(nil))
		handler = &records{before: func() { lost.Len() }}
		_, err = c4c.New(c4c.Options{WeightsPath: "/no/such/file", Logger: slog.New(handler)})
		fails(t, err, c4c.ErrWeightsIO, "")
	}()
	eventually(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })
	eventually(t, "the release of what was brought", func() bool { runtime.GC(); return alive.Load() == 0 })
}
