package c4c

// #include <c4c.h>
import "C"

import (
	"runtime"
	"unsafe"
)

// Frame is a picture in memory, borrowed for the call: its bytes are not copied, and must not change
// until the call returns. They may be Go's or C's, or with CUDA a GPU's.
type Frame struct {
	// Format says how pixels lie in memory.
	Format PixelFormat
	// Width and Height are in pixels, at least 1.
	Width, Height int
	// Planes are the bytes of each plane, as many as the format has, from the row that is lowest in
	// memory on; they may be longer than the picture.
	Planes [4][]byte
	// Strides are the bytes from a row of a plane to the one below it in the picture. 0: the rows lie
	// one behind the other. Negative: the rows lie bottom-up, the picture's last row first in memory.
	Strides [4]int
	// ColorMatrix says how YUV becomes RGB. Without meaning for RGB and gray frames.
	ColorMatrix ColorMatrix
	// ColorRange says which numbers are black and white.
	ColorRange ColorRange
	// Rotation is by how many degrees clockwise the picture is turned to show it upright: 0, 90, 180 or
	// 270.
	Rotation int
	// CUDA is where the planes are if they are in a GPU's memory; Planes are nil then. nil: in Planes.
	// The frames of one call are all of one kind.
	CUDA *CUDAMemory
}

// CUDAMemory is the planes of a [Frame] in the memory of a GPU, whose size cannot be looked at from here:
// Width, Height and Strides of the frame must be right.
type CUDAMemory struct {
	// Planes are the addresses (CUdeviceptr) of the first byte of each plane's top row.
	Planes [4]uintptr
	// Device is CUDA's number of the GPU that they are on. It need not be the model's.
	Device int
	// Stream is the cudaStream_t whose work so far makes the pixels: the library waits for that. 0: the
	// default stream. The pixels may change again when the call returns.
	Stream uintptr
}

// PixelFormat says how pixels lie in memory, 8 bits a channel. A Frame has no default: it must be
// given.
type PixelFormat uint32

const (
	// PixelRGB24 is plane 0: R G B, 3 bytes a pixel.
	PixelRGB24 PixelFormat = C.C4C_PIXEL_RGB24
	// PixelBGR24 is plane 0: B G R, 3 bytes a pixel.
	PixelBGR24 PixelFormat = C.C4C_PIXEL_BGR24
	// PixelRGBA is plane 0: R G B A, 4 bytes a pixel; alpha is not looked at.
	PixelRGBA PixelFormat = C.C4C_PIXEL_RGBA
	// PixelBGRA is plane 0: B G R A, 4 bytes a pixel; alpha is not looked at.
	PixelBGRA PixelFormat = C.C4C_PIXEL_BGRA
	// PixelGray8 is plane 0: one byte a pixel.
	PixelGray8 PixelFormat = C.C4C_PIXEL_GRAY8
	// PixelI420 is planes 0, 1, 2: Y, U and V; U and V have half as many columns and rows, rounded up.
	PixelI420 PixelFormat = C.C4C_PIXEL_I420
	// PixelNV12 is plane 0: Y; plane 1: U and V in turns, half as many pairs and rows, rounded up.
	PixelNV12 PixelFormat = C.C4C_PIXEL_NV12
)

// ColorMatrix says how YUV becomes RGB.
type ColorMatrix uint32

const (
	MatrixUnknown ColorMatrix = C.C4C_MATRIX_UNKNOWN // BT.601
	MatrixBT601   ColorMatrix = C.C4C_MATRIX_BT601
	MatrixBT709   ColorMatrix = C.C4C_MATRIX_BT709
	MatrixBT2020  ColorMatrix = C.C4C_MATRIX_BT2020
)

// ColorRange says which numbers are black and white.
type ColorRange uint32

const (
	RangeUnknown ColorRange = C.C4C_RANGE_UNKNOWN // limited for YUV, full for RGB and gray
	RangeLimited ColorRange = C.C4C_RANGE_LIMITED // 16 to 235; not served for RGB and gray
	RangeFull    ColorRange = C.C4C_RANGE_FULL    // 0 to 255
)

// plane is the bytes of a plane's row, and how many rows it has.
func (f *Frame) plane(i int) (row, rows int) {
	halfWidth, halfHeight := (f.Width+1)/2, (f.Height+1)/2
	switch f.Format {
	case PixelRGB24, PixelBGR24:
		return 3 * f.Width, f.Height
	case PixelRGBA, PixelBGRA:
		return 4 * f.Width, f.Height
	case PixelNV12:
		if i == 1 {
			return 2 * halfWidth, halfHeight
		}
	case PixelI420:
		if i > 0 {
			return halfWidth, halfHeight
		}
	}
	return f.Width, f.Height
}

// planes is how many planes the format has; none where it is unknown, which the library tells.
func (f PixelFormat) planes() int {
	switch f {
	case PixelRGB24, PixelBGR24, PixelRGBA, PixelBGRA, PixelGray8:
		return 1
	case PixelNV12:
		return 2
	case PixelI420:
		return 3
	}
	return 0
}

// cFrames is frames for C, whose pixels stay where they are until p is unpinned. It checks what C
// cannot: that the pixels are within their slices.
func cFrames(p *runtime.Pinner, frames []Frame) ([]C.c4c_frame, error) {
	if len(frames) == 0 {
		return nil, invalid("frames is empty")
	}
	list := make([]C.c4c_frame, len(frames))
	for i := range frames {
		f, c := &frames[i], &list[i]
		var n narrow
		*c = C.c4c_frame{
			struct_size:  C.sizeof_c4c_frame,
			format:       C.uint32_t(f.Format),
			width:        n.uint32("Width", int64(f.Width)),
			height:       n.uint32("Height", int64(f.Height)),
			color_matrix: C.uint32_t(f.ColorMatrix),
			color_range:  C.uint32_t(f.ColorRange),
			rotation:     n.uint32("Rotation", int64(f.Rotation)),
		}
		if n.err != nil {
			return nil, invalid("frames[%d]: %s", i, n.err.(*Error).Message)
		}
		if f.Width == 0 || f.Height == 0 {
			continue // which the library tells
		}
		if f.CUDA != nil {
			if err := f.onGPU(c); err != nil {
				return nil, invalid("frames[%d]: %s", i, err.(*Error).Message)
			}
			continue
		}
		for k := range f.Format.planes() {
			first, stride, err := f.top(k)
			if err != nil {
				return nil, invalid("frames[%d]: Planes[%d] %s", i, k, err.(*Error).Message)
			}
			p.Pin(first)
			c.planes[k], c.strides[k] = (*C.uint8_t)(unsafe.Pointer(first)), C.int64_t(stride)
		}
	}
	return list, nil
}

// onGPU makes c a frame in the memory of a GPU.
func (f *Frame) onGPU(c *C.c4c_frame) error {
	var n narrow
	c.location = C.C4C_LOCATION_CUDA
	c.device_index = n.uint32("CUDA.Device", int64(f.CUDA.Device))
	setAddress(unsafe.Pointer(&c.stream), f.CUDA.Stream)
	for k, plane := range f.Planes {
		if plane != nil {
			return invalid("it has both CUDA and Planes[%d], where its pixels can be in one of them only", k)
		}
	}
	for k := range f.Format.planes() {
		stride := f.Strides[k]
		if stride == 0 {
			stride, _ = f.plane(k)
		}
		setAddress(unsafe.Pointer(&c.planes[k]), f.CUDA.Planes[k])
		c.strides[k] = C.int64_t(stride)
	}
	return n.err
}

// setAddress stores a device's address, or a handle, in a pointer of C's. Neither points to memory of
// this process, so that Go must not take it for an unsafe.Pointer.
func setAddress(pointer unsafe.Pointer, address uintptr) { *(*uintptr)(pointer) = address }

// top is the first byte of a plane's top row, and the plane's stride.
func (f *Frame) top(plane int) (first *byte, stride int, err error) {
	row, rows := f.plane(plane)
	bytes, stride := f.Planes[plane], f.Strides[plane]
	if stride == 0 {
		stride = row
	}
	distance := max(stride, -stride)
	if distance < row {
		return nil, 0, invalid("has a stride of %d, a row of %d pixels has %d bytes", stride, f.Width, row)
	}
	// By division, since the product may be more than an int holds.
	if len(bytes) < row || (len(bytes)-row)/distance < rows-1 {
		return nil, 0, invalid("has %d bytes, too few for %d rows of %d bytes with a stride of %d",
			len(bytes), rows, row, stride)
	}
	if stride < 0 {
		return &bytes[(rows-1)*distance], stride, nil
	}
	return &bytes[0], stride, nil
}
