package c4c_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

// ending runs f in a goroutine of its own, and tells how that ended: by returning, by a panic, or by
// Goexit.
func ending(f func()) (returned bool, panicked any) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer func() { panicked = recover() }()
		f()
		returned = true
	}()
	<-over
	return returned, panicked
}

// Functions of the host's that do not return end the call as they ended, and leave a model that works.
func TestCallbacksThatDoNotReturn(t *testing.T) {
	m := load(t)
	mp4 := must(os.ReadFile(video))(t)
	clip := file(t, "clip.y4m", stream(clip(2)...))
	for name, test := range map[string]struct {
		end  func()
		want any
	}{
		"panic":  {func() { panic(errReader) }, errReader},
		"exit":   {runtime.Goexit, nil},
		"bounds": {func() { _ = mp4[len(mp4):][0] }, runtime.Error(nil)},
	} {
		for where, call := range map[string]func() (any, error){
			"Read": func() (any, error) {
				do := func([]byte) (int, error) { test.end(); return 0, nil }
				return m.EmbedVideoReader(background, &script{Reader: bytes.NewReader(mp4), at: 2, do: do}, nil)
			},
			"Seek": func() (any, error) {
				r := &script{Reader: bytes.NewReader(mp4), at: 1 << 30, seeks: test.end, seeksAt: 1}
				return m.EmbedVideoReader(background, r, nil)
			},
			"the first Seek": func() (any, error) {
				r := &script{Reader: bytes.NewReader(mp4), at: 1 << 30, seeks: test.end}
				return m.EmbedVideoReader(background, r, nil)
			},
			"progress": func() (any, error) {
				progress := func(int, int) error { test.end(); return nil }
				return m.EmbedVideos(background, []string{clip, clip, clip}, nil, progress)
			},
		} {
			returned, panicked := ending(func() { call() })
			if returned {
				t.Errorf("%s in %s: the call returned", name, where)
			}
			if _, is := panicked.(runtime.Error); panicked != test.want && !(is && name == "bounds") {
				t.Errorf("%s in %s: %v", name, where, panicked)
			}
		}
	}
	if s := must(m.Stats())(t); s.Running != 0 {
		t.Errorf("%d calls still run", s.Running)
	}
	must(m.EmbedVideo(background, clip, nil))(t)
	m.Close() // returns, since nobody is in a call
}

func TestProgressThatEndsTheCall(t *testing.T) {
	m := load(t)
	clip := file(t, "clip.y4m", stream(clip(2)...))
	enough := errors.New("enough")
	calls := 0
	results, err := m.EmbedVideos(background, []string{clip, clip, clip, clip}, nil, func(done, total int) error {
		if calls++; done == 2 {
			return enough
		}
		return nil
	})
	fails(t, err, c4c.ErrCancelled, "enough")
	if !errors.Is(err, enough) || results != nil || calls != 2 {
		t.Errorf("%v, %v, %d calls", err, results, calls)
	}
	// The context's own end goes before what the function says of it.
	ctx, cancel := context.WithCancelCause(background)
	_, err = m.EmbedVideos(ctx, []string{clip, clip}, nil, func(int, int) error {
		cancel(enough)
		return ctx.Err()
	})
	fails(t, err, c4c.ErrCancelled, "enough")
	if !errors.Is(err, enough) {
		t.Error(err)
	}
}

// A reader that heeds the call's context may tell of its end before the library looks at it.
func TestReaderThatHeedsTheContext(t *testing.T) {
	m := load(t)
	data := stream(clip(2)...)
	for i := range 300 {
		var ctx context.Context
		var cancel context.CancelCauseFunc
		status, told := c4c.ErrCancelled, func() error { return ctx.Err() }
		if i%3 == 1 {
			told = func() error { return fmt.Errorf("reading: %w", context.Cause(ctx)) }
		}
		ctx, cancel = context.WithCancelCause(background)
		end := func() { cancel(errCause) }
		if i%3 == 2 {
			short, cancelShort := context.WithTimeoutCause(ctx, time.Millisecond, errCause)
			defer cancelShort()
			status, ctx, end = c4c.ErrTimeout, short, func() { <-short.Done() }
		}
		do := func([]byte) (int, error) { end(); return 0, told() }
		var r io.Reader = &script{Reader: bytes.NewReader(data), at: 1, do: do}
		if i%2 == 0 {
			r = onlyReader{r}
		}
		_, err := m.EmbedVideoReader(ctx, r, nil)
		cancel(nil)
		fails(t, err, status, errCause.Error())
		if !errors.Is(err, errCause) {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	// What has nothing to do with the context stays what it is.
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	do := func([]byte) (int, error) { return 0, context.Canceled }
	_, err := m.EmbedVideoReader(ctx, &script{Reader: bytes.NewReader(data), at: 1, do: do}, nil)
	fails(t, err, c4c.ErrMediaIO, "")
}

// A call that is over does not touch its reader.
func TestFirstSeekIsInTheCall(t *testing.T) {
	m := load(t)
	ctx, cancel := context.WithCancel(background)
	cancel()
	touched := 0
	r := &script{Reader: bytes.NewReader(nil), seeks: func() { touched++ }}
	_, err := m.EmbedVideoReader(ctx, r, nil)
	fails(t, err, c4c.ErrCancelled, "")
	if touched != 0 {
		t.Error("the reader of a call that is over was asked to seek")
	}
}
