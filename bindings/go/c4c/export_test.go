package c4c

import "unsafe"

// What tests in package c4c_test see of this one.

// SeekSize is C4C_SEEK_SIZE.
const SeekSize = seekSize

// CheckABI is checkABI.
func CheckABI(loaded int) error { return checkABI(loaded) }

// Handle is the c4c_model of m.
func (m *Model) Handle() unsafe.Pointer { return unsafe.Pointer(m.handle) }
