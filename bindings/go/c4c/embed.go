package c4c

// #include <c4c.h>
import "C"

import (
	"context"
	"image"
	"runtime"
	"unsafe"
)

// EmbedText embeds texts: one vector of [Model.Dim] floats for each, of unit length. At least one text;
// an empty one has a vector, too. Texts are UTF-8 without NUL bytes.
//
// Errors: [ErrInvalidArgument]; [ErrModality] on a model without text tower; [ErrTextTooLong] with
// Options.StrictText; [ErrCancelled] and [ErrTimeout] by ctx; [ErrClosed].
func (m *Model) EmbedText(ctx context.Context, texts ...string) ([][]float32, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	list, err := cStrings(&pinner, "texts", texts)
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(texts)*m.dim)
	err = m.run(ctx, m.texts, func(c *call) C.c4c_status {
		return C.c4c_embed_text(m.handle, unsafe.SliceData(list), C.size_t(len(list)),
			&c.limits, floats(out), C.size_t(len(out)), &c.err)
	})
	if err != nil {
		return nil, err
	}
	return rows(out, m.dim), nil
}

// EmbedFrames embeds one video given as frames: a single vector of [Model.Dim] floats for all of them,
// of unit length. The frames, 1 to 4096 of any sizes, are in the order of time; none is dropped and
// none is added. CLIP4Clip's models are trained on 12.
//
// Errors: [ErrInvalidArgument] and [ErrUnsupported] naming the frame and its field; [ErrModality] on a
// model without vision tower; [ErrCancelled] and [ErrTimeout] by ctx; [ErrClosed].
func (m *Model) EmbedFrames(ctx context.Context, frames ...Frame) ([]float32, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	list, err := cFrames(&pinner, frames)
	if err != nil {
		return nil, err
	}
	out := make([]float32, m.dim)
	err = m.run(ctx, m.pictures, func(c *call) C.c4c_status {
		return C.c4c_embed_frames(m.handle, unsafe.SliceData(list), C.size_t(len(list)),
			&c.limits, floats(out), C.size_t(len(out)), &c.err)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// EmbedImages embeds pictures: one vector of [Model.Dim] floats for each, of unit length. At least one,
// of any sizes. Errors are those of [Model.EmbedFrames].
func (m *Model) EmbedImages(ctx context.Context, frames ...Frame) ([][]float32, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	list, err := cFrames(&pinner, frames)
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(frames)*m.dim)
	err = m.run(ctx, m.pictures, func(c *call) C.c4c_status {
		return C.c4c_embed_images(m.handle, unsafe.SliceData(list), C.size_t(len(list)),
			&c.limits, floats(out), C.size_t(len(out)), &c.err)
	})
	if err != nil {
		return nil, err
	}
	return rows(out, m.dim), nil
}

// EmbedImage embeds one picture of Go's kind, which [FrameFromImage] makes a frame. Errors are those of
// both.
func (m *Model) EmbedImage(ctx context.Context, img image.Image) ([]float32, error) {
	frame, err := FrameFromImage(img)
	if err != nil {
		return nil, err
	}
	vectors, err := m.EmbedImages(ctx, frame)
	if err != nil {
		return nil, err
	}
	return vectors[0], nil
}

// Score tells how well each text goes with one video given as frames, by the model's head: one number
// for each text, larger for a better fit. For meanP, seqTransf and seqLSTM that is the cosine of their
// vectors times exp(Info.LogitScale); for tightTransf it is what its transformer over the text and the
// frames gives, and this call is the only one that can tell.
//
// Errors: those of [Model.EmbedText] and [Model.EmbedFrames]; [ErrModality] on a model without one of
// the towers; [ErrLimit] with more frames than the head has positions for.
func (m *Model) Score(ctx context.Context, texts []string, frames []Frame) ([]float32, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	words, err := cStrings(&pinner, "texts", texts)
	if err != nil {
		return nil, err
	}
	list, err := cFrames(&pinner, frames)
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(texts))
	err = m.run(ctx, m.pictures, func(c *call) C.c4c_status {
		return C.c4c_score(m.handle, unsafe.SliceData(words), C.size_t(len(words)),
			unsafe.SliceData(list), C.size_t(len(list)), &c.limits, floats(out), C.size_t(len(out)), &c.err)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Similarity is the cosine of every vector of a with every one of b: result[i][j] is that of a[i] and
// b[j]. For unit vectors, as this package makes them, it is their dot product. The vectors may have any
// length but zero, and all as many floats. It copies them next to each other first; [SimilarityFlat]
// takes large sets without a copy.
//
// Errors: [ErrInvalidArgument], also for a vector of length zero or with a value that is no number;
// [ErrOutOfMemory].
func Similarity(a, b [][]float32) ([][]float32, error) {
	if len(a) == 0 {
		return nil, invalid("a is empty")
	}
	dim := len(a[0])
	flatA, err := flat("a", a, dim)
	if err != nil {
		return nil, err
	}
	flatB, err := flat("b", b, dim)
	if err != nil {
		return nil, err
	}
	all, err := SimilarityFlat(flatA, flatB, dim)
	if err != nil {
		return nil, err
	}
	return rows(all, len(b)), nil
}

// SimilarityFlat is [Similarity] of two sets of vectors that lie row by row, dim floats each: the
// cosine of vectors i and j is result[i*(len(b)/dim)+j].
func SimilarityFlat(a, b []float32, dim int) ([]float32, error) {
	if dim < 1 {
		return nil, invalid("dim is %d, expected at least 1", dim)
	}
	for _, set := range []struct {
		name   string
		floats []float32
	}{{"a", a}, {"b", b}} {
		if n := len(set.floats); n == 0 || n%dim != 0 {
			return nil, invalid("%s has %d floats, expected one or more vectors of %d", set.name, n, dim)
		}
	}
	nA, nB := len(a)/dim, len(b)/dim
	out := make([]float32, nA*nB)
	failure := C.c4c_error{struct_size: C.sizeof_c4c_error}
	if C.c4c_similarity(floats(a), C.size_t(nA), floats(b), C.size_t(nB), C.size_t(dim),
		floats(out), C.size_t(len(out)), &failure) != C.C4C_OK {
		return nil, failed(&failure)
	}
	return out, nil
}

func flat(name string, vectors [][]float32, dim int) ([]float32, error) {
	all := make([]float32, 0, len(vectors)*dim)
	for i, v := range vectors {
		if len(v) != dim {
			return nil, invalid("%s[%d] has %d floats, a[0] has %d", name, i, len(v), dim)
		}
		all = append(all, v...)
	}
	return all, nil
}
