package c4c_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

var (
	weights = os.Getenv("C4C_TEST_WEIGHTS")
	video   = os.Getenv("C4C_TEST_VIDEO")
)

func TestMain(m *testing.M) {
	for _, name := range []string{"C4C_TEST_WEIGHTS", "C4C_TEST_VIDEO"} {
		if os.Getenv(name) == "" {
			fmt.Fprintf(os.Stderr, "%s is not set: it names the %s that the tests use\n", name,
				map[string]string{"C4C_TEST_WEIGHTS": "checkpoint", "C4C_TEST_VIDEO": "video file"}[name])
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

var background = context.Background()

// load makes a model that the end of the test closes.
func load(t testing.TB, change ...func(*c4c.Options)) *c4c.Model {
	t.Helper()
	options := c4c.Options{WeightsPath: weights}
	for _, f := range change {
		f(&options)
	}
	m, err := c4c.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// must is for calls that cannot fail in this test.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func isUnit(t testing.TB, v []float32, dim int) {
	t.Helper()
	if len(v) != dim {
		t.Fatalf("a vector of %d floats, expected %d", len(v), dim)
	}
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if math.Abs(math.Sqrt(sum)-1) > 1e-5 {
		t.Fatalf("a vector of length %v", math.Sqrt(sum))
	}
}

func cosine(t testing.TB, a, b []float32) float64 {
	t.Helper()
	return float64(must(c4c.SimilarityFlat(a, b, len(a)))(t)[0])
}

// picture is an RGB picture without symmetry.
func picture(width, height, seed int) []byte {
	pix := make([]byte, 0, 3*width*height)
	for y := range height {
		for x := range width {
			pix = append(pix, byte(x*255/width+40*seed), byte(y*255/height), byte((x/8+y/16+seed)%2*200))
		}
	}
	return pix
}

func rgb(width, height, seed int) c4c.Frame {
	return c4c.Frame{
		Format: c4c.PixelRGB24, Width: width, Height: height, Planes: [4][]byte{picture(width, height, seed)},
	}
}

// yuv is an I420 picture.
func yuv(width, height, seed int) c4c.Frame {
	frame := c4c.Frame{Format: c4c.PixelI420, Width: width, Height: height}
	half := [2]int{(width + 1) / 2, (height + 1) / 2}
	for p, size := range [][2]int{{width, height}, half, half} {
		for y := range size[1] {
			for x := range size[0] {
				frame.Planes[p] = append(frame.Planes[p], byte(16+(x*(p+2)+y*3+seed*17)%200))
			}
		}
	}
	return frame
}

// stream is an uncompressed video (YUV4MPEG2) of these frames, 25 a second, which can be read without
// seeking.
func stream(frames ...c4c.Frame) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "YUV4MPEG2 W%d H%d F25:1 Ip A1:1 C420jpeg\n", frames[0].Width, frames[0].Height)
	for _, f := range frames {
		b.WriteString("FRAME\n")
		for _, plane := range f.Planes {
			b.Write(plane)
		}
	}
	return b.Bytes()
}

func clip(n int) []c4c.Frame {
	frames := make([]c4c.Frame, n)
	for i := range frames {
		frames[i] = yuv(64, 48, i)
	}
	return frames
}

func file(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually waits for what must happen soon, and fails where it does not happen at all.
func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for range 10000 {
		if happened() {
			return
		}
		pause()
	}
	t.Fatalf("%s did not happen", what)
}

func pause() { time.Sleep(time.Millisecond) }

// onlyReader hides that a reader can seek.
type onlyReader struct{ io.Reader }
