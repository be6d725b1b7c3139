package c4c

// #include <stdint.h>
// #include <c4c.h>
import "C"

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"runtime"
	"runtime/cgo"
	"unsafe"
)

// thrown is how a function ended that did not return.
type thrown struct {
	panicked any // nil: by runtime.Goexit, as t.FailNow does
}

// again ends the calling goroutine in the same way. nil does nothing.
func (t *thrown) again() {
	switch {
	case t == nil:
	case t.panicked == nil:
		runtime.Goexit()
	default:
		panic(t.panicked)
	}
}

// protect runs a function of the host's that the library calls. Neither a panic nor a Goexit may unwind
// the library's frames, which would leave its call unfinished for ever, and a Goexit can be stopped
// only by a goroutine of its own.
func protect(f func()) (t *thrown) {
	over := make(chan *thrown)
	go func() {
		ending := &thrown{}
		defer func() {
			if value := recover(); value != nil {
				ending.panicked = value
			}
			over <- ending
		}()
		f()
		ending = nil
	}()
	return <-over
}

// hosted calls functions of the host's during one call, and keeps what they left for when it has
// returned.
type hosted struct {
	failed error   // the first error that they returned
	thrown *thrown // how the first ended that did not return; no other is called then
}

// run tells whether f returned nil.
func (h *hosted) run(f func() error) bool {
	if h.thrown != nil {
		return false
	}
	var err error
	h.thrown = protect(func() { err = f() })
	if h.failed == nil {
		h.failed = err
	}
	return err == nil && h.thrown == nil
}

// settle is what the call returns that failed with err, or with nil.
func (h *hosted) settle(ctx context.Context, err error) error {
	h.thrown.again()
	// A function that heeds ctx may tell of its end before the library has seen it.
	if err != nil && h.failed != nil && ctx.Err() != nil &&
		(errors.Is(h.failed, ctx.Err()) || errors.Is(h.failed, context.Cause(ctx))) {
		return ended(ctx)
	}
	var e *Error
	if h.failed != nil && errors.As(err, &e) && e.cause == nil {
		e.cause = h.failed
	}
	return err
}

// observer is a function that is told how far a call is.
type observer struct {
	hosted
	progress func(done, total int) error
}

// source is where the bytes of a video come from.
type source struct {
	hosted
	reader io.Reader
	seeker io.Seeker // nil: the bytes come once, in order
	first  int64     // where seeker stood: the library's place 0
	next   error     // what Read returned together with bytes
}

// seekSize is the whence that asks for the size.
const seekSize = C.C4C_SEEK_SIZE

// open finds out where the reader stands, and whether it can go elsewhere. It tells false if it did not
// return.
func (s *source) open() bool {
	seeker, ok := s.reader.(io.Seeker)
	if !ok {
		return true
	}
	s.thrown = protect(func() {
		// A pipe has a Seek, too, which fails.
		if at, err := seeker.Seek(0, io.SeekCurrent); err == nil && at >= 0 {
			s.seeker, s.first = seeker, at
		}
	})
	return s.thrown == nil
}

// read is io.Reader's Read with what C expects: bytes or an error, and 0 only at the end.
func (s *source) read(buffer []byte) (n int, err error) {
	for tries := 0; tries < 100; tries++ {
		if err, s.next = s.next, nil; err == nil {
			n, err = s.reader.Read(buffer)
		}
		switch {
		case n < 0 || n > len(buffer):
			return 0, errors.New("the reader returned an impossible count")
		case n > 0:
			s.next = err
			return n, nil
		case err == io.EOF:
			return 0, nil
		case err != nil:
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// seek is io.Seeker's Seek with what C expects: places are counted from where the reader stood.
func (s *source) seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart && (offset < 0 || offset > math.MaxInt64-s.first) {
		return -1, nil // a damaged file asks for that, which is no failure of the reader's
	}
	if whence != seekSize {
		s.next = nil
		if whence == io.SeekStart {
			offset += s.first
		}
		at, err := s.seeker.Seek(offset, whence)
		return at - s.first, err
	}
	here, err := s.seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	size, err := s.seeker.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	_, err = s.seeker.Seek(here, io.SeekStart)
	return max(0, size-s.first), err
}

//export c4cGoRead
func c4cGoRead(handle C.uintptr_t, buffer *C.uint8_t, size C.size_t) C.int64_t {
	s := cgo.Handle(handle).Value().(*source)
	n := 0
	ok := s.run(func() (err error) {
		n, err = s.read(unsafe.Slice((*byte)(buffer), int(size)))
		return err
	})
	if !ok {
		return -1
	}
	return C.int64_t(n)
}

//export c4cGoSeek
func c4cGoSeek(handle C.uintptr_t, offset C.int64_t, whence C.int32_t) C.int64_t {
	s := cgo.Handle(handle).Value().(*source)
	at := int64(0)
	ok := s.run(func() (err error) {
		at, err = s.seek(int64(offset), int(whence))
		return err
	})
	if !ok {
		return -1
	}
	return C.int64_t(at)
}

//export c4cGoProgress
func c4cGoProgress(handle C.uintptr_t, done, total C.size_t) C.int32_t {
	o := cgo.Handle(handle).Value().(*observer)
	if !o.run(func() error { return o.progress(int(done), int(total)) }) {
		return 1
	}
	return 0
}

//export c4cGoLog
func c4cGoLog(handle C.uintptr_t, level C.int32_t, message *C.char) {
	logger := cgo.Handle(handle).Value().(*slog.Logger)
	text := C.GoString(message)
	// There is no caller to whom a panic of the handler could be given: threads of the library's log,
	// too.
	_ = protect(func() { logger.Log(context.Background(), LogLevel(level).slog(), text) })
}
