package c4c

import (
	"io"
	"runtime"
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

// CFrame is what C gets of a frame: addresses as numbers.
type CFrame struct {
	StructSize, Format, Width, Height, Location, DeviceIndex uint32
	Planes                                                   [4]uintptr
	Strides                                                  [4]int64
	Stream                                                   uintptr
}

// CFrames is frames as C gets them.
func CFrames(frames ...Frame) ([]CFrame, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	list, err := cFrames(&pinner, frames)
	made := make([]CFrame, len(list))
	for i, c := range list {
		made[i] = CFrame{
			StructSize: uint32(c.struct_size), Format: uint32(c.format), Width: uint32(c.width), Height: uint32(c.height),
			Location: uint32(c.location), DeviceIndex: uint32(c.device_index), Stream: uintptr(c.stream),
		}
		for k := range c.planes {
			made[i].Planes[k], made[i].Strides[k] = uintptr(unsafe.Pointer(c.planes[k])), int64(c.strides[k])
		}
	}
	return made, err
}

// HWAccelOf is hwaccel and hwaccel_device as C gets them.
func HWAccelOf(o *VideoOptions) (accel, device uint32) {
	c, _ := o.c()
	return uint32(c.hwaccel), uint32(c.hwaccel_device)
}

// FlagsOf is flags as C gets them.
func FlagsOf(o Options) uint32 {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	c, _ := o.c(&pinner)
	return uint32(c.flags)
}
