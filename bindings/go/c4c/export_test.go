package c4c

import (
	"io"
	"unsafe"
)

// What tests in package c4c_test see of this one.

// SeekSize is C4C_SEEK_SIZE.
const SeekSize = seekSize

// CheckABI is checkABI.
func CheckABI(loaded int) error { return checkABI(loaded) }

// Handle is the c4c_model of m.
func (m *Model) Handle() unsafe.Pointer { return unsafe.Pointer(m.handle) }

// SeekOf is what C calls to seek in r, which stands somewhere.
func SeekOf(r io.ReadSeeker) func(offset int64, whence int) (int64, error) {
	s := &source{reader: r}
	s.open()
	return s.seek
}
