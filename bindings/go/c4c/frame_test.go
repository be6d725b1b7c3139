package c4c_test

import (
	"math"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

// channels is an RGB picture in another order of channels; -1 is an alpha of any value.
func channels(rgb []byte, order ...int) []byte {
	var pix []byte
	for i := 0; i < len(rgb); i += 3 {
		for _, c := range order {
			if c < 0 {
				pix = append(pix, byte(i))
			} else {
				pix = append(pix, rgb[i+c])
			}
		}
	}
	return pix
}

// nv12 is an I420 frame with U and V in turns.
func nv12(f c4c.Frame) c4c.Frame {
	var uv []byte
	for i := range f.Planes[1] {
		uv = append(uv, f.Planes[1][i], f.Planes[2][i])
	}
	f.Format, f.Planes = c4c.PixelNV12, [4][]byte{f.Planes[0], uv}
	return f
}

// allFormats is frames of every format; those with the same number show the same picture.
func allFormats(width, height int) (frames []c4c.Frame, same []int) {
	pix := picture(width, height, 1)
	gray := make([]byte, width*height)
	for i := range gray {
		gray[i] = byte(i * 7)
	}
	add := func(number int, format c4c.PixelFormat, bytes []byte) {
		frames = append(frames, c4c.Frame{Format: format, Width: width, Height: height, Planes: [4][]byte{bytes}})
		same = append(same, number)
	}
	add(0, c4c.PixelRGB24, pix)
	add(0, c4c.PixelBGR24, channels(pix, 2, 1, 0))
	add(0, c4c.PixelRGBA, channels(pix, 0, 1, 2, -1))
	add(0, c4c.PixelBGRA, channels(pix, 2, 1, 0, -1))
	add(1, c4c.PixelGray8, gray)
	var equal []byte
	for _, g := range gray {
		equal = append(equal, g, g, g)
	}
	add(1, c4c.PixelRGB24, equal)
	i420 := yuv(width, height, 1)
	return append(frames, i420, nv12(i420)), append(same, 2, 2)
}

func TestFormats(t *testing.T) {
	m := load(t)
	for _, size := range [][2]int{{64, 48}, {33, 21}, {1, 1}} {
		frames, same := allFormats(size[0], size[1])
		vectors := must(m.EmbedImages(background, frames...))(t)
		for i, v := range vectors {
			isUnit(t, v, m.Dim())
			first := slices.Index(same, same[i])
			if !slices.Equal(v, vectors[first]) {
				t.Errorf("%v: frame %d differs from frame %d", size, i, first)
			}
			if i > 0 && first == i && slices.Equal(v, vectors[i-1]) {
				t.Errorf("%v: frames %d and %d have the same vector", size, i-1, i)
			}
		}
	}
}

// restride lays a frame's rows out anew: with extra bytes between them, or bottom-up.
func restride(f c4c.Frame, extra int, bottomUp bool) c4c.Frame {
	for p, plane := range f.Planes {
		if plane == nil {
			continue
		}
		rows := f.Height
		if p > 0 {
			rows = (f.Height + 1) / 2
		}
		row := len(plane) / rows
		var out []byte
		for y := range rows {
			from := y
			if bottomUp {
				from = rows - 1 - y
			}
			out = append(out, plane[from*row:(from+1)*row]...)
			if y < rows-1 { // nothing behind the last row
				out = append(out, make([]byte, extra)...)
			}
		}
		f.Planes[p], f.Strides[p] = out, row+extra
		if bottomUp {
			f.Strides[p] = -f.Strides[p]
		}
	}
	return f
}

func TestStrides(t *testing.T) {
	m := load(t)
	frames, _ := allFormats(33, 21)
	for _, frame := range frames {
		vectors := must(m.EmbedImages(background, frame, restride(frame, 0, false), restride(frame, 5, false),
			restride(frame, 0, true), restride(frame, 5, true)))(t)
		for i, v := range vectors {
			if !slices.Equal(v, vectors[0]) {
				t.Errorf("format %d: layout %d has another vector", frame.Format, i)
			}
		}
	}
}

func TestPlanesThatAreTooShort(t *testing.T) {
	m := load(t)
	frames, _ := allFormats(33, 21)
	for _, frame := range frames {
		for p, plane := range frame.Planes {
			if plane == nil {
				continue
			}
			for _, layout := range []c4c.Frame{frame, restride(frame, 5, false), restride(frame, 5, true)} {
				whole := layout.Planes[p]
				for _, n := range []int{0, 1, len(whole) - 1} {
					layout.Planes[p] = whole[:n]
					_, err := m.EmbedFrames(background, rgb(2, 2, 0), layout)
					fails(t, err, c4c.ErrInvalidArgument, "frames[1]: Planes["+string(rune('0'+p))+"] has ")
				}
			}
		}
	}
}

func TestBadFrames(t *testing.T) {
	m := load(t)
	for part, change := range map[string]func(*c4c.Frame){
		"frames[0]: format 8 is unknown":      func(f *c4c.Frame) { f.Format = 8 },
		"frames[0]: format 4294967295":        func(f *c4c.Frame) { f.Format = math.MaxUint32 },
		"frames[0]: 0x8 pixels":               func(f *c4c.Frame) { f.Width = 0 },
		"frames[0]: 8x0 pixels":               func(f *c4c.Frame) { f.Height = 0 },
		"frames[0]: Width is -1":              func(f *c4c.Frame) { f.Width = -1 },
		"frames[0]: Height is ":               func(f *c4c.Frame) { f.Height = math.MaxInt },
		"frames[0]: Planes[0] has 192 bytes":  func(f *c4c.Frame) { f.Width, f.Height = math.MaxUint32, math.MaxUint32 },
		"frames[0]: Planes[0] has a stride":   func(f *c4c.Frame) { f.Strides[0] = 23 },
		"frames[0]: Planes[0] has a stride o": func(f *c4c.Frame) { f.Strides[0] = math.MinInt },
		"192 bytes, too few for 8 rows of 24": func(f *c4c.Frame) { f.Strides[0] = math.MaxInt },
		"frames[0]: color_matrix 4":           func(f *c4c.Frame) { f.ColorMatrix = 4 },
		"frames[0]: color_range 3":            func(f *c4c.Frame) { f.ColorRange = 3 },
		"frames[0]: rotation is 45":           func(f *c4c.Frame) { f.Rotation = 45 },
		"frames[0]: Rotation is -90":          func(f *c4c.Frame) { f.Rotation = -90 },
	} {
		frame := rgb(8, 8, 0)
		change(&frame)
		_, err := m.EmbedFrames(background, frame)
		fails(t, err, c4c.ErrInvalidArgument, part)
	}
	frame := rgb(8, 8, 0)
	frame.ColorRange = c4c.RangeLimited
	_, err := m.EmbedFrames(background, frame)
	fails(t, err, c4c.ErrUnsupported, "color_range")
}

func TestColorsAndRotation(t *testing.T) {
	m := load(t)
	embed := func(f c4c.Frame) []float32 { return must(m.EmbedImages(background, f))(t)[0] }
	plain := yuv(64, 48, 1)
	for name, change := range map[string]func(*c4c.Frame){
		"limited, BT.601": func(f *c4c.Frame) { f.ColorMatrix, f.ColorRange = c4c.MatrixBT601, c4c.RangeLimited },
	} {
		f := plain
		if change(&f); !slices.Equal(embed(f), embed(plain)) {
			t.Errorf("%s is not the default", name)
		}
	}
	for name, change := range map[string]func(*c4c.Frame){
		"full range": func(f *c4c.Frame) { f.ColorRange = c4c.RangeFull },
		"BT.709":     func(f *c4c.Frame) { f.ColorMatrix = c4c.MatrixBT709 },
		"BT.2020":    func(f *c4c.Frame) { f.ColorMatrix = c4c.MatrixBT2020 },
		"rotated":    func(f *c4c.Frame) { f.Rotation = 90 },
	} {
		f := plain
		if change(&f); slices.Equal(embed(f), embed(plain)) {
			t.Errorf("%s makes no difference", name)
		}
	}
	upright := rgb(48, 48, 1)
	pix := upright.Planes[0]
	turned := c4c.Frame{Format: c4c.PixelRGB24, Width: 48, Height: 48, Rotation: 180}
	for i := len(pix) - 3; i >= 0; i -= 3 {
		turned.Planes[0] = append(turned.Planes[0], pix[i:i+3]...)
	}
	if !slices.Equal(embed(upright), embed(turned)) {
		t.Error("a picture that is turned back by 180 degrees has another vector")
	}
}

// Pixels in memory that is not Go's, whose last byte is the last before a page that cannot be read.
func TestForeignMemory(t *testing.T) {
	m := load(t)
	page := syscall.Getpagesize()
	frames, _ := allFormats(33, 21)
	for _, frame := range frames {
		want := must(m.EmbedImages(background, frame))(t)[0]
		for p, plane := range frame.Planes {
			if plane == nil {
				continue
			}
			size := (len(plane) + page - 1) / page * page
			memory, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE,
				syscall.MAP_ANON|syscall.MAP_PRIVATE)
			if err != nil {
				t.Fatal(err)
			}
			defer syscall.Munmap(memory)
			if err := syscall.Mprotect(memory[size:], syscall.PROT_NONE); err != nil {
				t.Fatal(err)
			}
			frame.Planes[p] = memory[size-len(plane) : size : size]
			copy(frame.Planes[p], plane)
		}
		if got := must(m.EmbedImages(background, frame))(t)[0]; !slices.Equal(got, want) {
			t.Errorf("format %d has another vector in memory that is not Go's", frame.Format)
		}
	}
}

// Addresses of a GPU's memory go to C as they are: nothing there can be looked at. No machine has these.
func TestFramesOnAGPU(t *testing.T) {
	here := rgb(8, 8, 0)
	nv12 := c4c.Frame{
		Format: c4c.PixelNV12, Width: 33, Height: 21, Strides: [4]int{512, 512},
		CUDA: &c4c.CUDAMemory{Planes: [4]uintptr{0x7f0000000000, 0x7f0000100000}, Device: 3, Stream: 0x5500},
	}
	dense := c4c.Frame{
		Format: c4c.PixelI420, Width: 33, Height: 21,
		CUDA: &c4c.CUDAMemory{Planes: [4]uintptr{1 << 40, 2 << 40, 3 << 40}},
	}
	flipped := c4c.Frame{
		Format: c4c.PixelRGB24, Width: 33, Height: 21, Strides: [4]int{-128},
		CUDA: &c4c.CUDAMemory{Planes: [4]uintptr{1 << 40}},
	}
	list := must(c4c.CFrames(here, nv12, dense, flipped))(t)
	if list[0].Location != 0 || list[0].Planes[0] == 0 || list[0].Strides[0] != 24 {
		t.Errorf("in Go's memory: %+v", list[0])
	}
	size := list[0].StructSize
	for i, want := range []c4c.CFrame{
		{StructSize: size, Format: uint32(c4c.PixelNV12), Width: 33, Height: 21, Location: 1, DeviceIndex: 3,
			Planes: nv12.CUDA.Planes, Strides: [4]int64{512, 512}, Stream: 0x5500},
		{StructSize: size, Format: uint32(c4c.PixelI420), Width: 33, Height: 21, Location: 1,
			Planes: dense.CUDA.Planes, Strides: [4]int64{33, 17, 17}},
		{StructSize: size, Format: uint32(c4c.PixelRGB24), Width: 33, Height: 21, Location: 1,
			Planes: flipped.CUDA.Planes, Strides: [4]int64{-128}},
	} {
		if list[i+1] != want {
			t.Errorf("%+v, expected %+v", list[i+1], want)
		}
	}
	// The garbage collector does not mind them.
	runtime.GC()

	both := nv12
	both.Planes[0] = make([]byte, 33*21)
	_, err := c4c.CFrames(here, both)
	fails(t, err, c4c.ErrInvalidArgument, "frames[1]: it has both CUDA and Planes[0]")
	wrong := nv12
	wrong.CUDA = &c4c.CUDAMemory{Planes: nv12.CUDA.Planes, Device: -1}
	_, err = c4c.CFrames(wrong)
	fails(t, err, c4c.ErrInvalidArgument, "frames[0]: CUDA.Device is -1")
}
