package c4c

// #include <c4c.h>
import "C"

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"time"
	"unsafe"
)

// defaultConcurrentCalls is far more than share a forward pass, and far from the 10,000 threads at
// which Go ends a process.
const defaultConcurrentCalls = 256

// lane lets so many calls of a kind into the library at a time; each holds an OS thread there.
type lane chan struct{}

// call is what each call of the library has: its limits, and room for what went wrong.
type call struct {
	limits C.c4c_call
	err    C.c4c_error
}

// run lets f make one call with the limits that ctx sets.
func (m *Model) run(ctx context.Context, l lane, f func(*call) C.c4c_status) error {
	switch {
	case ctx == nil:
		return invalid("ctx is nil")
	case m.handle == nil:
		return invalid("the model was not made by New")
	case ctx.Err() != nil:
		return ended(ctx)
	}
	select {
	case l <- struct{}{}:
		defer func() { <-l }()
	case <-ctx.Done():
		return ended(ctx)
	}
	if err := m.enter(); err != nil {
		return err
	}
	defer m.running.Done()

	c := new(call)
	c.limits.struct_size = C.sizeof_c4c_call
	if deadline, ok := ctx.Deadline(); ok {
		// At least 1: 0 is no limit, and the library ends at once what is too late.
		c.limits.timeout_us = C.int64_t(max(1, micros(time.Until(deadline))))
	}
	if ctx.Done() != nil {
		token := C.c4c_cancel_new()
		fired := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			C.c4c_cancel_fire(token)
			close(fired)
		})
		defer func() {
			if !stop() {
				<-fired
			}
			C.c4c_cancel_free(token)
		}()
		c.limits.cancel = token
	}
	return c.result(ctx, f)
}

// result makes the call and turns its status into an error.
func (c *call) result(ctx context.Context, f func(*call) C.c4c_status) error {
	c.err.struct_size = C.sizeof_c4c_error
	status := Status(f(c))
	switch status {
	case OK:
		return nil
	case ErrTimeout:
		awaitDeadline(ctx)
		fallthrough
	case ErrCancelled:
		if ctx.Err() != nil {
			return ended(ctx)
		}
	}
	return failed(&c.err)
}

// ended is the error of a call whose context is done.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{Status: ErrTimeout, Message: "the call's deadline passed", cause: context.Cause(ctx)}
	}
	return &Error{Status: ErrCancelled, Message: "the call was cancelled", cause: context.Cause(ctx)}
}

// awaitDeadline waits for ctx to notice its deadline, which the library may do a moment earlier: before
// that, ctx has no cause to tell. A context that never does is not waited for long.
func awaitDeadline(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); !ok || ctx.Done() == nil || time.Until(deadline) > time.Millisecond {
		return
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// micros is d in microseconds, rounded away from zero: what is not nothing here is not nothing in C.
func micros(d time.Duration) int64 {
	us := int64(d / time.Microsecond)
	switch rest := d % time.Microsecond; {
	case rest > 0:
		us++
	case rest < 0:
		us--
	}
	return us
}

// narrow checks integers that C has in 32 bits, and keeps the first error.
type narrow struct{ err error }

func (n *narrow) uint32(name string, value int64) C.uint32_t {
	if value < 0 || value > 1<<32-1 {
		if n.err == nil {
			n.err = invalid("%s is %d, expected 0 to %d", name, value, int64(1<<32-1))
		}
		return 0
	}
	return C.uint32_t(value)
}

// cString is a copy of s for C, which stays where it is until p is unpinned.
func cString(p *runtime.Pinner, name, s string) (*C.char, error) {
	if at := strings.IndexByte(s, 0); at >= 0 {
		return nil, invalid("%s has a NUL byte at %d", name, at)
	}
	bytes := make([]byte, len(s)+1)
	copy(bytes, s)
	p.Pin(&bytes[0])
	return (*C.char)(unsafe.Pointer(&bytes[0])), nil
}

// cStrings is the same for several, in one block.
func cStrings(p *runtime.Pinner, name string, list []string) ([]*C.char, error) {
	if len(list) == 0 {
		return nil, invalid("%s is empty", name)
	}
	size := 0
	for i, s := range list {
		if at := strings.IndexByte(s, 0); at >= 0 {
			return nil, invalid("%s[%d] has a NUL byte at %d", name, i, at)
		}
		size += len(s) + 1
	}
	block := make([]byte, size)
	p.Pin(&block[0])
	pointers := make([]*C.char, len(list))
	for i, s := range list {
		pointers[i] = (*C.char)(unsafe.Pointer(&block[0]))
		block = block[copy(block, s)+1:]
	}
	return pointers, nil
}

// floats is v's memory as C knows it.
func floats(v []float32) *C.float { return (*C.float)(unsafe.SliceData(v)) }

// rows divides all into vectors of dim floats; appending to one does not reach into the next.
func rows(all []float32, dim int) [][]float32 {
	list := make([][]float32, len(all)/dim)
	for i := range list {
		list[i] = all[i*dim : (i+1)*dim : (i+1)*dim]
	}
	return list
}
