package c4c

import (
	"image"
	"image/color"
	"image/draw"
)

// FrameFromImage makes a frame of a picture of Go's kind, for [Model.EmbedFrames], [Model.EmbedImages]
// and [Model.Score]. The frame shares the memory of
//
//   - *image.NRGBA and *image.Gray,
//   - *image.RGBA without transparent pixels,
//   - *image.YCbCr and *image.NYCbCrA with 4:2:0 subsampling, as most JPEG files have it (a part of such
//     a picture only if it begins at an even column and row);
//
// all others are converted, pixel by pixel where Go's image/draw has no faster way.
//
// Alpha is left out, as CLIP's own preprocessing does (Pillow's convert("RGB")): a transparent pixel
// counts with the colour that it has without transparency, on no background. Where colours are
// premultiplied by alpha, as in *image.RGBA, they are divided by it, so that a picture has the same
// vector in every type. To have a background, draw onto one first.
//
// Errors: [ErrInvalidArgument] for nil, and for a picture of a gigabyte or more after conversion.
func FrameFromImage(img image.Image) (Frame, error) {
	if img == nil {
		return Frame{}, invalid("img is nil")
	}
	size := img.Bounds().Size()
	frame := Frame{Width: size.X, Height: size.Y}
	pixels := func(format PixelFormat, pix []byte, stride int) (Frame, error) {
		frame.Format, frame.Planes[0], frame.Strides[0] = format, pix, stride
		return frame, nil
	}
	if size.X < 1 || size.Y < 1 {
		return pixels(PixelGray8, nil, 0) // which the library tells
	}
	switch img := img.(type) {
	case *image.NRGBA:
		return pixels(PixelRGBA, img.Pix, img.Stride)
	case *image.Gray:
		return pixels(PixelGray8, img.Pix, img.Stride)
	case *image.RGBA:
		if img.Opaque() {
			return pixels(PixelRGBA, img.Pix, img.Stride)
		}
	case *image.NYCbCrA:
		return FrameFromImage(&img.YCbCr)
	case *image.YCbCr:
		if img.SubsampleRatio == image.YCbCrSubsampleRatio420 && isEven(img.Rect.Min) {
			frame.Format = PixelI420
			frame.Planes = [4][]byte{img.Y, img.Cb, img.Cr}
			frame.Strides = [4]int{img.YStride, img.CStride, img.CStride}
			frame.ColorMatrix, frame.ColorRange = MatrixBT601, RangeFull // as JPEG has it
			return frame, nil
		}
	}
	const limit = 1 << 30
	if size.X > limit/4/size.Y {
		return Frame{}, invalid("img has %dx%d pixels, too many to be converted", size.X, size.Y)
	}
	if o, ok := img.(interface{ Opaque() bool }); ok && o.Opaque() {
		to := image.NewRGBA(image.Rectangle{Max: size})
		draw.Draw(to, to.Rect, img, img.Bounds().Min, draw.Src)
		return pixels(PixelRGBA, to.Pix, to.Stride)
	}
	return pixels(PixelRGB24, withoutAlpha(img), 0)
}

// isEven tells whether colour begins with the first pixel, as it does in I420.
func isEven(p image.Point) bool { return p.X >= 0 && p.Y >= 0 && p.X%2 == 0 && p.Y%2 == 0 }

func withoutAlpha(img image.Image) []byte {
	bounds := img.Bounds()
	pix := make([]byte, 0, 3*bounds.Dx()*bounds.Dy())
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			var c color.NRGBA
			switch at := img.At(x, y).(type) {
			case color.NRGBA64: // NRGBAModel would lose the colour of what is wholly transparent
				c = color.NRGBA{R: uint8(at.R >> 8), G: uint8(at.G >> 8), B: uint8(at.B >> 8)}
			default:
				c = color.NRGBAModel.Convert(at).(color.NRGBA)
			}
			pix = append(pix, c.R, c.G, c.B)
		}
	}
	return pix
}
