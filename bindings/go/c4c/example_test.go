package c4c_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

// Which of these sentences fits the video best?
func Example() {
	m, err := c4c.New(c4c.Options{WeightsPath: weights})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	ctx := context.Background()
	vector, err := m.EmbedVideo(ctx, video, nil)
	if err != nil {
		log.Fatal(err)
	}
	texts, err := m.EmbedText(ctx, "a dog runs on the beach", "a cat sleeps")
	if err != nil {
		log.Fatal(err)
	}
	cosines, err := c4c.Similarity([][]float32{vector}, texts)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(cosines), "video,", len(cosines[0]), "cosines")
	// Output: 1 video, 2 cosines
}

// A call that has a deadline.
func ExampleError() {
	m, err := c4c.New(c4c.Options{WeightsPath: weights})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = m.EmbedVideo(ctx, "/no/such/file.mp4", nil)
	var e *c4c.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded): // also c4c.ErrTimeout
		fmt.Println("too slow")
	case errors.Is(err, c4c.ErrMediaIO):
		fmt.Println("the file cannot be read")
	case errors.As(err, &e):
		fmt.Println(e.Status, e.Message)
	}
	// Output: the file cannot be read
}

// Messages of the library in the program's log.
func ExampleOptions() {
	m, err := c4c.New(c4c.Options{
		WeightsPath: weights,
		Modality:    c4c.ModalityText,
		NumThreads:  1,
		Logger:      slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("from", "libc4c"),
		LogLevel:    c4c.LogWarn,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Modality, info.NumThreads)
	// Output: text 1
}

// A picture of the standard library's, as image.Decode gives it.
func ExampleModel_EmbedImage() {
	m, err := c4c.New(c4c.Options{WeightsPath: weights})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	var img image.Image = image.NewNRGBA(image.Rect(0, 0, 320, 240))
	vector, err := m.EmbedImage(context.Background(), img)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(vector) == m.Dim())
	// Output: true
}

// Frames that a decoder left in memory, rows padded to 384 bytes: their pixels are not copied.
func ExampleModel_EmbedFrames() {
	m, err := c4c.New(c4c.Options{WeightsPath: weights})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	luma, chroma := make([]byte, 384*240), make([]byte, 384*120)
	frame := c4c.Frame{
		Format: c4c.PixelNV12, Width: 320, Height: 240,
		Planes:      [4][]byte{luma, chroma},
		Strides:     [4]int{384, 384},
		ColorMatrix: c4c.MatrixBT709,
	}
	vector, err := m.EmbedFrames(context.Background(), frame, frame, frame)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(vector) == m.Dim())
	// Output: true
}

// A video from wherever an io.Reader gets it.
func ExampleModel_EmbedVideoReader() {
	m, err := c4c.New(c4c.Options{WeightsPath: weights})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	data, err := os.ReadFile(video)
	if err != nil {
		log.Fatal(err)
	}
	options := c4c.VideoOptions{NumFrames: 8, ApplyRotation: true}
	vector, err := m.EmbedVideoReader(context.Background(), bytes.NewReader(data), &options)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(vector) == m.Dim())
	// Output: true
}

// Many files in one call; those that fail do not stop the others.
func ExampleModel_EmbedVideos() {
	m, err := c4c.New(c4c.Options{WeightsPath: weights})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	results, err := m.EmbedVideos(context.Background(), []string{video, "/no/such/file.mp4"}, nil,
		func(done, total int) error {
			fmt.Printf("%d of %d\n", done, total)
			return nil
		})
	if err != nil {
		log.Fatal(err)
	}
	for i, r := range results {
		fmt.Println("file", i, "failed:", errors.Is(r.Err, c4c.ErrMediaIO))
	}
	// Output:
	// 1 of 2
	// 2 of 2
	// file 0 failed: false
	// file 1 failed: true
}

// Windows of a second at every half second.
func ExampleModel_Segments() {
	m, err := c4c.New(c4c.Options{WeightsPath: weights})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	segments, err := m.Segments(context.Background(), video, time.Second, time.Second/2, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range segments {
		fmt.Println(s.Start, s.End, len(s.Vector) == m.Dim())
	}
	// Output:
	// 0s 1s true
	// 500ms 1.5s true
	// 1s 2s true
}
