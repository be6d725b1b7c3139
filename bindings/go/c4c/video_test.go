package c4c_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

// One video from everywhere has one vector.
func TestSources(t *testing.T) {
	m := load(t)
	frames := clip(12)
	data := stream(frames...)
	path := file(t, "clip.y4m", data)
	want := must(m.EmbedFrames(background, frames...))(t)
	isUnit(t, want, m.Dim())
	prefix := bytes.Repeat([]byte("x"), 1000)
	opened := must(os.Open(file(t, "behind.y4m", append(prefix, data...))))(t)
	defer opened.Close()
	must(opened.Seek(1000, io.SeekStart))(t) // it is read from where it stands
	end, begin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	go func() {
		defer begin.Close()
		begin.Write(data)
	}()
	read := func(r io.Reader) []float32 { return must(m.EmbedVideoReader(background, r, nil))(t) }
	for name, got := range map[string][]float32{
		"path":             must(m.EmbedVideo(background, path, nil))(t),
		"zero options":     must(m.EmbedVideo(background, path, &c4c.VideoOptions{}))(t),
		"bytes":            must(m.EmbedVideoBytes(background, data, nil))(t),
		"a reader":         read(bytes.NewReader(data)),
		"a part of a file": read(opened),
		"a pipe":           read(end),
		"a stream":         read(onlyReader{bytes.NewReader(data)}),
		"half reads":       read(iotest.HalfReader(bytes.NewReader(data))),
		"single bytes":     read(iotest.OneByteReader(bytes.NewReader(data))),
		"data with EOF":    read(iotest.DataErrReader(bytes.NewReader(data))),
		"empty reads":      read(&emptyReads{r: bytes.NewReader(data)}),
		"segments":         must(m.Segments(background, path, time.Hour, time.Hour, nil))(t)[0].Vector,
		"several":          must(m.EmbedVideos(background, []string{path}, nil, nil))(t)[0].Vector,
	} {
		if !slices.Equal(got, want) {
			t.Errorf("%s: another vector", name)
		}
	}
	mp4 := must(os.ReadFile(video))(t)
	behind := bytes.NewReader(append(prefix, mp4...))
	must(behind.Seek(1000, io.SeekStart))(t)
	want = must(m.EmbedVideo(background, video, nil))(t)
	if !slices.Equal(read(bytes.NewReader(mp4)), want) || !slices.Equal(read(behind), want) {
		t.Error("an MP4 file through a reader that seeks has another vector")
	}
}

// Places are counted from where the reader stands, and none is before that.
func TestPlacesOfAReader(t *testing.T) {
	r := strings.NewReader("xx0123456789")
	must(r.Seek(2, io.SeekStart))(t)
	seek := c4c.SeekOf(r)
	for _, test := range []struct {
		offset      int64
		whence      int
		want, stand int64
	}{
		{0, c4c.SeekSize, 10, 2}, {3, io.SeekStart, 3, 5}, {2, io.SeekCurrent, 5, 7}, {-1, io.SeekEnd, 9, 11},
		{0, c4c.SeekSize, 10, 11}, {-1, io.SeekStart, -1, 11}, {math.MaxInt64 - 1, io.SeekStart, -1, 11},
		{math.MaxInt64 - 2, io.SeekStart, math.MaxInt64 - 2, math.MaxInt64}, {0, c4c.SeekSize, 10, math.MaxInt64},
	} {
		at, err := seek(test.offset, test.whence)
		if stand := must(r.Seek(0, io.SeekCurrent))(t); at != test.want || stand != test.stand || err != nil {
			t.Errorf("seek(%d, %d): %d, %v, and stands at %d", test.offset, test.whence, at, err, stand)
		}
	}
	if size := must(c4c.SeekOf(r)(0, c4c.SeekSize))(t); size != 0 {
		t.Errorf("behind the end there are %d bytes", size)
	}
}

// emptyReads gives nothing, and no error, every other time.
type emptyReads struct {
	r io.Reader
	n int
}

func (e *emptyReads) Read(p []byte) (int, error) {
	if e.n++; e.n%2 == 0 {
		return 0, nil
	}
	return e.r.Read(p)
}

func TestVideoOptions(t *testing.T) {
	m := load(t)
	frames := clip(50) // two seconds
	path := file(t, "clip.y4m", stream(frames...))
	embed := func(o c4c.VideoOptions) []float32 { return must(m.EmbedVideo(background, path, &o))(t) }
	of := func(numbers ...int) []float32 {
		var list []c4c.Frame
		for _, i := range numbers {
			list = append(list, frames[i])
		}
		return must(m.EmbedFrames(background, list...))(t)
	}
	for name, test := range map[string]struct{ got, want []float32 }{
		"NumFrames": {embed(c4c.VideoOptions{NumFrames: 3}), of(0, 24, 49)},
		"Start, End": {
			embed(c4c.VideoOptions{NumFrames: 2, Start: 400 * time.Millisecond, End: 800 * time.Millisecond}), of(10, 19),
		},
		// 400.0005 ms is 400.001 ms, so that frame 10 has begun before.
		"Start, rounded up": {embed(c4c.VideoOptions{NumFrames: 2, Start: 400*time.Millisecond + 500}), of(11, 49)},
		"FPS":               {embed(c4c.VideoOptions{Sampling: c4c.SamplingFPS, FPS: 1}), of(0, 25)},
		"StreamIndexPlus1":  {embed(c4c.VideoOptions{StreamIndexPlus1: 1, NumFrames: 1}), of(0)},
		"DecodeThreads":     {embed(c4c.VideoOptions{DecodeThreads: 1, StrictDecode: true, NumFrames: 1}), of(0)},
		"MaxPixels":         {embed(c4c.VideoOptions{MaxPixels: 64 * 48, NumFrames: 1}), of(0)},
		"Color":             {embed(c4c.VideoOptions{Color: c4c.ColorOperator, NumFrames: 1}), of(0)},
		"SeekApproximate":   {embed(c4c.VideoOptions{Seek: c4c.SeekApproximate, NumFrames: 1}), of(0)},
		"KeyFrames":         {embed(c4c.VideoOptions{Sampling: c4c.SamplingKeyFrames, NumFrames: 2}), of(0, 49)},
		"ApplyRotation":     {embed(c4c.VideoOptions{ApplyRotation: true, NumFrames: 1}), of(0)},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("%s: not the vector of the frames expected", name)
		}
	}
	const url = "http://127.0.0.1:1/none.mp4"
	_, err := m.EmbedVideo(background, url, nil)
	fails(t, err, c4c.ErrForbidden, url)
	_, err = m.EmbedVideo(background, url, &c4c.VideoOptions{AllowNetwork: true})
	fails(t, err, c4c.ErrMediaIO, url)
}

func TestVideosThatAreNone(t *testing.T) {
	m := load(t)
	text := file(t, "text.mp4", []byte(strings.Repeat("no video ", 1000)))
	for status, call := range map[c4c.Status]func() error{
		c4c.ErrMediaIO:     func() error { _, err := m.EmbedVideo(background, t.TempDir()+"/none.mp4", nil); return err },
		c4c.ErrMediaFormat: func() error { _, err := m.EmbedVideo(background, text, nil); return err },
		c4c.ErrForbidden:   func() error { _, err := m.EmbedVideo(background, "concat:a|b", nil); return err },
	} {
		fails(t, call(), status, "")
	}
	_, err := m.EmbedVideoBytes(background, []byte("no video"), nil)
	fails(t, err, c4c.ErrMediaFormat, "")
	_, err = m.EmbedVideoReader(background, strings.NewReader(""), nil)
	fails(t, err, c4c.ErrMediaFormat, "")
}

func TestManyVideos(t *testing.T) {
	m := load(t)
	good := file(t, "clip.y4m", stream(clip(3)...))
	bad := file(t, "bad.mp4", []byte("no video"))
	paths := []string{good, "/no/such/file", good, bad}
	var told []int
	results := must(m.EmbedVideos(background, paths, nil, func(done, total int) error {
		if total != len(paths) {
			t.Errorf("%d of %d", done, total)
		}
		told = append(told, done)
		return nil
	}))(t)
	if !slices.Equal(told, []int{1, 2, 3, 4}) {
		t.Errorf("progress: %v", told)
	}
	want := must(m.EmbedVideo(background, good, nil))(t)
	for i, r := range results {
		switch i {
		case 0, 2:
			if r.Err != nil || !slices.Equal(r.Vector, want) {
				t.Errorf("file %d: %v", i, r.Err)
			}
		case 1:
			fails(t, r.Err, c4c.ErrMediaIO, "/no/such/file")
		case 3:
			fails(t, r.Err, c4c.ErrMediaFormat, bad)
		}
		if r.Err != nil && r.Vector != nil {
			t.Errorf("file %d has a vector and an error", i)
		}
	}
}

func TestSegments(t *testing.T) {
	m := load(t)
	for _, path := range []string{video, file(t, "clip.y4m", stream(clip(50)...))} {
		const window, step = 600 * time.Millisecond, 500 * time.Millisecond
		segments := must(m.Segments(background, path, window, step, &c4c.VideoOptions{NumFrames: 3}))(t)
		if len(segments) != 4 {
			t.Fatalf("%d segments", len(segments))
		}
		for i, s := range segments {
			start := time.Duration(i) * step
			if s.Start != start || s.End <= s.Start || s.End > start+window || i < 3 && s.End != start+window {
				t.Errorf("segment %d: %v to %v", i, s.Start, s.End)
			}
			part := c4c.VideoOptions{NumFrames: 3, Start: start, End: start + window}
			if alone := must(m.EmbedVideo(background, path, &part))(t); !slices.Equal(s.Vector, alone) {
				t.Errorf("segment %d has another vector than its part of the video", i)
			}
		}
	}
	_, err := m.Segments(background, "/no/such/file", time.Second, time.Second, nil)
	fails(t, err, c4c.ErrMediaIO, "/no/such/file")
}

var errReader = errors.New("the reader's own error")

// script is a reader that does something else at one of its calls.
type script struct {
	*bytes.Reader
	calls, at int
	do        func(p []byte) (int, error)
	seeks     func()
	seeksAt   int // calls of Read before seeks
}

func (s *script) Read(p []byte) (int, error) {
	if s.calls++; s.calls > s.at {
		return s.do(p)
	}
	return s.Reader.Read(p[:min(len(p), 2000)])
}

func (s *script) Seek(offset int64, whence int) (int64, error) {
	if s.seeks != nil && s.calls >= s.seeksAt {
		s.seeks()
	}
	return s.Reader.Seek(offset, whence)
}

func TestReadersThatFail(t *testing.T) {
	m := load(t)
	data := stream(clip(12)...)
	for name, test := range map[string]struct {
		do   func(p []byte) (int, error)
		want error
		part string
	}{
		"an error":            {func([]byte) (int, error) { return 0, errReader }, errReader, errReader.Error()},
		"an error with bytes": {func(p []byte) (int, error) { return 1, errReader }, errReader, errReader.Error()},
		"nothing, for ever":   {func([]byte) (int, error) { return 0, nil }, io.ErrNoProgress, ""},
		"more than was asked": {func(p []byte) (int, error) { return len(p) + 1, nil }, c4c.ErrMediaIO, "impossible"},
		"less than nothing":   {func([]byte) (int, error) { return -1, nil }, c4c.ErrMediaIO, "impossible"},
		"an end that is none": {func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }, io.ErrUnexpectedEOF, ""},
		"a deadline of its own": {
			func([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }, os.ErrDeadlineExceeded, "",
		},
	} {
		for _, at := range []int{0, 1, 5} {
			for _, hide := range []bool{false, true} {
				var r io.Reader = &script{Reader: bytes.NewReader(data), at: at, do: test.do}
				if hide {
					r = onlyReader{r}
				}
				v, err := m.EmbedVideoReader(background, r, nil)
				if v != nil || !errors.Is(err, test.want) {
					t.Errorf("%s at call %d: %v", name, at, err)
				}
				fails(t, err, c4c.ErrMediaIO, test.part)
			}
		}
	}
	if s := must(m.Stats())(t); s.Running != 0 {
		t.Errorf("%d calls still run", s.Running)
	}
}
