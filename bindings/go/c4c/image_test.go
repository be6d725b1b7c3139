package c4c_test

import (
	"image"
	"image/color"
	"slices"
	"testing"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

const side = 32

// paint sets every pixel of a picture by its place.
func paint[T interface {
	image.Image
	Set(x, y int, c color.Color)
}](img T, at func(x, y int) color.Color) T {
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			img.Set(x, y, at(x, y))
		}
	}
	return img
}

func opaque(x, y int) color.Color {
	return color.NRGBA{R: uint8(x * 8), G: uint8(y * 8), B: uint8(x*y + 40), A: 255}
}

// shares tells whether a frame lies in the memory that begins with these bytes.
func shares(frame c4c.Frame, planes ...[]byte) bool {
	for i, plane := range planes {
		if &frame.Planes[i][0] != &plane[0] {
			return false
		}
	}
	return true
}

// rgbOf is a frame's pixels, in RGB, of the formats that RGB pictures become.
func rgbOf(t *testing.T, f c4c.Frame) []byte {
	t.Helper()
	bytes := map[c4c.PixelFormat]int{c4c.PixelRGB24: 3, c4c.PixelRGBA: 4, c4c.PixelGray8: 1}[f.Format]
	if bytes == 0 {
		t.Fatalf("format %d", f.Format)
	}
	stride := f.Strides[0]
	if stride == 0 {
		stride = f.Width * bytes
	}
	var pix []byte
	for y := range f.Height {
		for x := range f.Width {
			at := f.Planes[0][y*stride+x*bytes:]
			if bytes == 1 {
				pix = append(pix, at[0], at[0], at[0])
			} else {
				pix = append(pix, at[:3]...)
			}
		}
	}
	return pix
}

func TestImagesWithoutCopy(t *testing.T) {
	bounds := image.Rect(3, 5, 3+side, 5+side)
	part := image.Rect(10, 12, 25, 31)
	rgba := paint(image.NewRGBA(bounds), opaque)
	nrgba := paint(image.NewNRGBA(bounds), opaque)
	gray := paint(image.NewGray(bounds), opaque)
	for name, test := range map[string]struct {
		img   image.Image
		plane []byte
	}{
		"RGBA":            {rgba, rgba.Pix},
		"NRGBA":           {nrgba, nrgba.Pix},
		"Gray":            {gray, gray.Pix},
		"a part of RGBA":  {rgba.SubImage(part), rgba.Pix[rgba.PixOffset(10, 12):]},
		"a part of NRGBA": {nrgba.SubImage(part), nrgba.Pix[nrgba.PixOffset(10, 12):]},
		"a part of Gray":  {gray.SubImage(part), gray.Pix[gray.PixOffset(10, 12):]},
	} {
		frame := must(c4c.FrameFromImage(test.img))(t)
		if !shares(frame, test.plane) {
			t.Errorf("%s is copied", name)
		}
		var want []byte
		paint(image.NewRGBA(test.img.Bounds()), func(x, y int) color.Color {
			r, g, b, _ := test.img.At(x, y).RGBA()
			want = append(want, byte(r>>8), byte(g>>8), byte(b>>8))
			return color.Black
		})
		if !slices.Equal(rgbOf(t, frame), want) {
			t.Errorf("%s: other pixels", name)
		}
	}
}

func ycbcr(ratio image.YCbCrSubsampleRatio, bounds image.Rectangle) *image.YCbCr {
	img := image.NewYCbCr(bounds, ratio)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			img.Y[img.YOffset(x, y)] = byte(60 + x*3)
			img.Cb[img.COffset(x, y)] = byte(100 + y/4)
			img.Cr[img.COffset(x, y)] = byte(160 - x/4)
		}
	}
	return img
}

func TestYCbCr(t *testing.T) {
	m := load(t, func(o *c4c.Options) { o.Precision = c4c.PrecisionF32 })
	img := ycbcr(image.YCbCrSubsampleRatio420, image.Rect(0, 0, 37, 29))
	for name, test := range map[string]struct {
		part   image.Rectangle
		shared bool
	}{
		"whole":             {img.Rect, true},
		"an even part":      {image.Rect(4, 6, 35, 28), true},
		"from an odd place": {image.Rect(5, 6, 35, 28), false},
		"from an odd row":   {image.Rect(4, 7, 35, 28), false},
	} {
		part := img.SubImage(test.part).(*image.YCbCr)
		frame := must(c4c.FrameFromImage(part))(t)
		if got := frame.Format == c4c.PixelI420 && shares(frame, part.Y, part.Cb, part.Cr); got != test.shared {
			t.Errorf("%s: shared is %v", name, got)
		}
		if test.shared && (frame.ColorRange != c4c.RangeFull || frame.ColorMatrix != c4c.MatrixBT601) {
			t.Errorf("%s: %+v", name, frame)
		}
		// The library smooths colour between pixels and rounds it in its own way: nearly the same
		// picture where there is colour, the same where there is none.
		converted := must(m.EmbedImage(background, paint(image.NewNRGBA(part.Rect), part.At)))(t)
		far := func(img image.Image) float64 { return 1 - cosine(t, must(m.EmbedImage(background, img))(t), converted) }
		swapped := *part
		swapped.Cb, swapped.Cr = part.Cr, part.Cb
		if d := far(part); d > 1e-3 || d > far(&swapped)/10 {
			t.Errorf("%s: %v from the converted picture; %v with colours swapped", name, d, far(&swapped))
		}
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = 128, 128
	}
	gray := &image.Gray{Pix: img.Y, Stride: img.YStride, Rect: img.Rect}
	if cosine(t, must(m.EmbedImage(background, img))(t), must(m.EmbedImage(background, gray))(t)) < 1-1e-6 {
		t.Error("a picture without colour is not gray")
	}
	with := &image.NYCbCrA{YCbCr: *img, A: make([]byte, len(img.Y)), AStride: img.YStride}
	if frame := must(c4c.FrameFromImage(with))(t); !shares(frame, img.Y, img.Cb, img.Cr) {
		t.Error("NYCbCrA is copied")
	}
	for _, ratio := range []image.YCbCrSubsampleRatio{
		image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio440,
		image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410,
	} {
		img := ycbcr(ratio, image.Rect(4, 4, 37, 29))
		frame := must(c4c.FrameFromImage(img))(t)
		want := must(c4c.FrameFromImage(paint(image.NewNRGBA(img.Rect), img.At)))(t)
		for i, x := range rgbOf(t, frame) {
			if d := int(x) - int(rgbOf(t, want)[i]); d < -1 || d > 1 {
				t.Fatalf("%v: byte %d differs by %d", ratio, i, d)
			}
		}
	}
}

// foreign is a type of image that Go does not know.
type foreign struct{ image.Image }

func TestConvertedImages(t *testing.T) {
	bounds := image.Rect(0, 0, side, side)
	nrgba := paint(image.NewNRGBA(bounds), opaque)
	want := rgbOf(t, must(c4c.FrameFromImage(nrgba))(t))
	colors := color.Palette{}
	for i := range 200 {
		colors = append(colors, color.NRGBA{R: uint8(i), G: uint8(7 * i), B: uint8(255 - i), A: 255})
	}
	paletted := image.NewPaletted(bounds, colors)
	for i := range paletted.Pix {
		paletted.Pix[i] = uint8(i % 200)
	}
	for name, test := range map[string]struct {
		img  image.Image
		want []byte
	}{
		"RGBA64":   {paint(image.NewRGBA64(bounds), opaque), want},
		"NRGBA64":  {paint(image.NewNRGBA64(bounds), opaque), want},
		"foreign":  {foreign{nrgba}, want},
		"Paletted": {paletted, rgbOf(t, must(c4c.FrameFromImage(paint(image.NewNRGBA(bounds), paletted.At)))(t))},
		"Gray16": {
			paint(image.NewGray16(bounds), opaque),
			rgbOf(t, must(c4c.FrameFromImage(paint(image.NewGray(bounds), opaque)))(t)),
		},
	} {
		if !slices.Equal(rgbOf(t, must(c4c.FrameFromImage(test.img))(t)), test.want) {
			t.Errorf("%s: other pixels", name)
		}
	}
}

// A picture has the same colours in every type, whatever its alpha.
func TestAlphaIsLeftOut(t *testing.T) {
	bounds := image.Rect(0, 0, side, side)
	at := func(alpha func(x, y int) uint8) func(x, y int) color.Color {
		return func(x, y int) color.Color {
			c := opaque(x, y).(color.NRGBA)
			c.A = alpha(x, y)
			return c
		}
	}
	want := rgbOf(t, must(c4c.FrameFromImage(paint(image.NewNRGBA(bounds), opaque)))(t))
	half := at(func(x, y int) uint8 { return uint8(128 + (x+y)%127) })
	any := at(func(x, y int) uint8 { return uint8(x * y) }) // 0, too
	colors := color.Palette{color.NRGBA{R: 250, G: 100, B: 50, A: 0}, color.NRGBA{R: 1, G: 2, B: 3, A: 128}}
	paletted := image.NewPaletted(bounds, colors)
	paletted.Pix[1] = 1

	nrgba := paint(image.NewNRGBA(bounds), any)
	if frame := must(c4c.FrameFromImage(nrgba))(t); !shares(frame, nrgba.Pix) || !slices.Equal(rgbOf(t, frame), want) {
		t.Error("NRGBA")
	}
	nrgba64 := image.NewNRGBA64(bounds)
	for y := range side {
		for x := range side {
			c := any(x, y).(color.NRGBA)
			nrgba64.SetNRGBA64(x, y, color.NRGBA64{
				R: uint16(c.R) * 257, G: uint16(c.G) * 257, B: uint16(c.B) * 257, A: uint16(c.A) * 257})
		}
	}
	if !slices.Equal(rgbOf(t, must(c4c.FrameFromImage(nrgba64))(t)), want) {
		t.Error("NRGBA64")
	}
	// Premultiplied in 8 bits, a colour of half alpha comes back to within one or two.
	rgba := paint(image.NewRGBA(bounds), half)
	frame := must(c4c.FrameFromImage(rgba))(t)
	if shares(frame, rgba.Pix) {
		t.Error("premultiplied colours are taken as they are")
	}
	for i, x := range rgbOf(t, frame) {
		if d := int(x) - int(want[i]); d < -2 || d > 2 {
			t.Fatalf("RGBA: byte %d is %d, expected %d", i, x, want[i])
		}
	}
	got := rgbOf(t, must(c4c.FrameFromImage(paletted))(t))
	if !slices.Equal(got[:6], []byte{250, 100, 50, 1, 2, 3}) {
		t.Errorf("Paletted: %v", got[:6])
	}
}

func TestImagesThatAreNone(t *testing.T) {
	m := load(t)
	_, err := m.EmbedImage(background, image.NewRGBA(image.Rect(5, 5, 5, 9)))
	fails(t, err, c4c.ErrInvalidArgument, "0x4 pixels")
	_, err = m.EmbedImage(background, image.NewUniform(color.White))
	fails(t, err, c4c.ErrInvalidArgument, "too many")
	_, err = m.EmbedImage(background, &image.NRGBA{Pix: make([]byte, 12), Stride: 8, Rect: image.Rect(0, 0, 2, 2)})
	fails(t, err, c4c.ErrInvalidArgument, "Planes[0] has 12 bytes")
}
