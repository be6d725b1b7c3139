package c4c_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

var errCause = errors.New("the caller's own reason")

// patient is a model whose lone requests wait for company for an hour: calls that only their context
// ends.
func patient(t *testing.T) *c4c.Model {
	return load(t, func(o *c4c.Options) { o.MaxBatchDelay = time.Hour })
}

func TestContextsThatAreOver(t *testing.T) {
	m := load(t)
	cancelled, cancel := context.WithCancelCause(background)
	cancel(errCause)
	_, err := m.EmbedText(cancelled, "a")
	fails(t, err, c4c.ErrCancelled, errCause.Error())
	if !errors.Is(err, context.Canceled) || !errors.Is(err, errCause) || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	expired, cancelExpired := context.WithTimeoutCause(background, -1, errCause)
	defer cancelExpired()
	_, err = m.EmbedVideo(expired, video, nil)
	fails(t, err, c4c.ErrTimeout, errCause.Error())
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errCause) || errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if s := must(m.Stats())(t); s.Calls != 0 {
		t.Errorf("%d calls reached the library", s.Calls)
	}
}

func TestCancel(t *testing.T) {
	m := patient(t)
	for name, call := range map[string]func(ctx context.Context) (any, error){
		"text":   func(ctx context.Context) (any, error) { return m.EmbedText(ctx, "a") },
		"frames": func(ctx context.Context) (any, error) { return m.EmbedFrames(ctx, rgb(8, 8, 0)) },
		"images": func(ctx context.Context) (any, error) { return m.EmbedImages(ctx, rgb(8, 8, 0)) },
		"score": func(ctx context.Context) (any, error) {
			return m.Score(ctx, []string{"a"}, []c4c.Frame{rgb(8, 8, 0)})
		},
		"path": func(ctx context.Context) (any, error) {
			return m.EmbedVideo(ctx, video, &c4c.VideoOptions{NumFrames: 1})
		},
		"videos": func(ctx context.Context) (any, error) {
			return m.EmbedVideos(ctx, []string{video}, &c4c.VideoOptions{NumFrames: 1}, nil)
		},
		"segments": func(ctx context.Context) (any, error) {
			return m.Segments(ctx, video, time.Hour, time.Hour, &c4c.VideoOptions{NumFrames: 1})
		},
		"bytes": func(ctx context.Context) (any, error) { return m.EmbedVideoBytes(ctx, stream(clip(1)...), nil) },
		"reader": func(ctx context.Context) (any, error) {
			return m.EmbedVideoReader(ctx, onlyReader{bytes.NewReader(stream(clip(1)...))}, nil)
		},
	} {
		ctx, cancel := context.WithCancelCause(background)
		over := make(chan error)
		go func() {
			_, err := call(ctx)
			over <- err
		}()
		eventually(t, name+" waiting for the model", func() bool {
			s := must(m.Stats())(t)
			return s.QueuedTexts+s.QueuedImages > 0
		})
		cancel(errCause)
		err := <-over
		fails(t, err, c4c.ErrCancelled, errCause.Error())
		if !errors.Is(err, errCause) {
			t.Errorf("%s: %v", name, err)
		}
		eventually(t, name+" leaving the queue", func() bool {
			s := must(m.Stats())(t)
			return s.QueuedTexts+s.QueuedImages+s.Running == 0
		})
	}
}

func TestDeadline(t *testing.T) {
	m := patient(t)
	ctx, cancel := context.WithTimeoutCause(background, 20*time.Millisecond, errCause)
	defer cancel()
	_, err := m.EmbedText(ctx, "a")
	fails(t, err, c4c.ErrTimeout, errCause.Error())
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errCause) {
		t.Error(err)
	}
	// A deadline above the cancellable context that the call is given.
	above, cancelAbove := context.WithTimeout(background, 20*time.Millisecond)
	defer cancelAbove()
	below, cancelBelow := context.WithCancel(above)
	defer cancelBelow()
	_, err = m.EmbedText(below, "a")
	fails(t, err, c4c.ErrTimeout, "")
	// A context that only states a deadline: it is the library that keeps it.
	_, err = m.EmbedText(onlyDeadline{background, time.Now().Add(20 * time.Millisecond)}, "a")
	fails(t, err, c4c.ErrTimeout, "")
	if s := must(m.Stats())(t); s.QueuedTexts != 0 || s.Running != 0 {
		t.Errorf("%+v", s)
	}
}

// onlyDeadline has a deadline at which nothing happens.
type onlyDeadline struct {
	context.Context
	at time.Time
}

func (o onlyDeadline) Deadline() (time.Time, bool) { return o.at, true }

// gate is a video that can be read only once the gate is open.
type gate struct {
	io.Reader
	reached, open chan struct{}
}

func newGate() *gate {
	return &gate{bytes.NewReader(stream(clip(2)...)), make(chan struct{}), make(chan struct{})}
}

func (g *gate) Read(p []byte) (int, error) {
	select {
	case <-g.reached:
	default:
		close(g.reached)
	}
	<-g.open
	return g.Reader.Read(p)
}

func TestMaxConcurrentCalls(t *testing.T) {
	m := load(t, func(o *c4c.Options) { o.MaxConcurrentCalls = 1 })
	first := newGate()
	over := make(chan error)
	go func() {
		_, err := m.EmbedVideoReader(background, first, nil)
		over <- err
	}()
	<-first.reached
	must(m.EmbedText(background, "texts have a lane of their own"))(t)

	ctx, cancel := context.WithCancelCause(background)
	waiting := make(chan error)
	go func() {
		_, err := m.EmbedFrames(ctx, clip(1)...)
		waiting <- err
	}()
	cancel(errCause)
	err := <-waiting
	fails(t, err, c4c.ErrCancelled, errCause.Error())
	short, cancelShort := context.WithTimeout(background, 20*time.Millisecond)
	defer cancelShort()
	_, err = m.EmbedFrames(short, clip(1)...)
	fails(t, err, c4c.ErrTimeout, "")
	if s := must(m.Stats())(t); s.Calls != 2 {
		t.Errorf("%d calls reached the library", s.Calls)
	}
	close(first.open)
	if err := <-over; err != nil {
		t.Error(err)
	}
	must(m.EmbedFrames(background, clip(1)...))(t)
}
