package c4c

// #include <c4c.h>
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Status is what a call came to. Every error of this package has one in its chain, to be found by
//
//	errors.Is(err, c4c.ErrMediaIO)
//
// or, to switch over it, by errors.As. Some are standard errors, too: [ErrCancelled] is
// [context.Canceled], [ErrTimeout] is [context.DeadlineExceeded], [ErrClosed] is [fs.ErrClosed] and
// [ErrUnsupported] is [errors.ErrUnsupported].
type Status int32

// The statuses that calls return. Numbers are never reused; an unknown negative one is an error, too.
const (
	// OK is success. No call returns it as an error.
	OK Status = C.C4C_OK
	// ErrInvalidArgument means that an argument breaks the rules that its call states. The message
	// names it.
	ErrInvalidArgument Status = C.C4C_E_INVALID_ARGUMENT
	// ErrBufferTooSmall means that an output has too little room, which this package takes care of.
	ErrBufferTooSmall Status = C.C4C_E_BUFFER_TOO_SMALL
	// ErrUnsupported means a known field or value that the library does not serve.
	ErrUnsupported Status = C.C4C_E_UNSUPPORTED
	// ErrClosed means that the model is closed or being closed.
	ErrClosed Status = C.C4C_E_CLOSED
	// ErrForked means that the process was forked after New.
	ErrForked Status = C.C4C_E_FORKED
	// ErrWeightsIO means that the weights file is missing or cannot be read.
	ErrWeightsIO Status = C.C4C_E_WEIGHTS_IO
	// ErrWeightsFormat means that the weights file is damaged or no checkpoint of a CLIP.
	ErrWeightsFormat Status = C.C4C_E_WEIGHTS_FORMAT
	// ErrWeightsMismatch means that a tensor is missing, superfluous or of the wrong shape, or that
	// this is another model than was asked for.
	ErrWeightsMismatch Status = C.C4C_E_WEIGHTS_MISMATCH
	// ErrModality means that the model was made without the tower that the call needs.
	ErrModality Status = C.C4C_E_MODALITY
	// ErrTokenizer means that the tokenizer failed.
	ErrTokenizer Status = C.C4C_E_TOKENIZER
	// ErrTextTooLong means, with Options.StrictText, that a text makes more than MaxWords token ids.
	ErrTextTooLong Status = C.C4C_E_TEXT_TOO_LONG
	// ErrDevice means that the named device is not there. The message says why.
	ErrDevice Status = C.C4C_E_DEVICE
	// ErrOutOfMemory means that memory ran out.
	ErrOutOfMemory Status = C.C4C_E_OUT_OF_MEMORY
	// ErrBackend means that libtorch reported an error.
	ErrBackend Status = C.C4C_E_BACKEND
	// ErrMediaIO means that the media file is missing or cannot be read, or that a reader failed.
	ErrMediaIO Status = C.C4C_E_MEDIA_IO
	// ErrMediaFormat means no known container or codec, or that not one frame can be decoded.
	ErrMediaFormat Status = C.C4C_E_MEDIA_FORMAT
	// ErrNoVideo means that the file has no video stream.
	ErrNoVideo Status = C.C4C_E_NO_VIDEO
	// ErrDecode means, with VideoOptions.StrictDecode, that the data is corrupt.
	ErrDecode Status = C.C4C_E_DECODE
	// ErrLimit means that a stated bound such as VideoOptions.MaxPixels is exceeded.
	ErrLimit Status = C.C4C_E_LIMIT
	// ErrForbidden means a URL without VideoOptions.AllowNetwork or of a kind that is never opened, or
	// a file that wants others opened.
	ErrForbidden Status = C.C4C_E_FORBIDDEN
	// ErrCancelled means that the call's context was cancelled, or that a progress function ended the
	// call.
	ErrCancelled Status = C.C4C_E_CANCELLED
	// ErrTimeout means that the deadline of the call's context passed.
	ErrTimeout Status = C.C4C_E_TIMEOUT
	// ErrInternal means a bug in the library.
	ErrInternal Status = C.C4C_E_INTERNAL
)

// String is the status's name in C, such as "C4C_E_MEDIA_IO".
func (s Status) String() string { return C.GoString(C.c4c_status_name(C.c4c_status(s))) }

// Error is the status's name, so that a Status is an error.
func (s Status) Error() string { return "c4c: " + s.String() }

// Is tells which of the standard library's errors this status is, for errors.Is.
func (s Status) Is(target error) bool {
	switch s {
	case ErrCancelled:
		return target == context.Canceled
	case ErrTimeout:
		return target == context.DeadlineExceeded
	case ErrClosed:
		return target == fs.ErrClosed
	case ErrUnsupported:
		return target == errors.ErrUnsupported
	}
	return false
}

// Error is what went wrong with a call: every error of this package is one.
type Error struct {
	Status  Status
	Message string // names the argument, file or tensor

	cause error
}

// Error is the status's name, the message and, where it says more, the cause.
func (e *Error) Error() string {
	text := e.Status.Error()
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.cause != nil && !errors.Is(e.Status, e.cause) {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap gives the status and the cause: what the context says ([context.Cause]), what a reader failed
// with, or what a progress function returned.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Status}
	}
	return []error{e.Status, e.cause}
}

func invalid(format string, args ...any) error {
	return &Error{Status: ErrInvalidArgument, Message: fmt.Sprintf(format, args...)}
}
