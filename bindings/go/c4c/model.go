package c4c

// #include "bridge.h"
import "C"

import (
	"runtime"
	"runtime/cgo"
	"sync"
	"time"
)

// Model is a loaded model. Any number of goroutines may use one at once.
//
// It holds a thread and all of the weights until Close is called; the garbage collector does not
// release them.
type Model struct {
	handle *C.c4c_model
	dim    int
	logger cgo.Handle // 0: none

	texts, pictures lane

	mu      sync.Mutex // guards closed, and that nobody enters after it
	closed  bool
	running sync.WaitGroup // calls that use handle
	release sync.Once
}

// New loads a model. It maps the weights file, which must not be truncated meanwhile; afterwards it is
// not needed any more.
//
// Errors: [ErrInvalidArgument] and [ErrUnsupported] naming the field; [ErrWeightsIO],
// [ErrWeightsFormat], [ErrWeightsMismatch]; [ErrDevice]; [ErrOutOfMemory].
func New(options Options) (*Model, error) {
	if err := checkABI(ABIVersion()); err != nil {
		return nil, err
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	c, err := options.c(&pinner)
	if err != nil {
		return nil, err
	}
	calls := options.MaxConcurrentCalls
	switch {
	case calls < 0:
		return nil, invalid("MaxConcurrentCalls is %d, it cannot be negative", calls)
	case calls == 0:
		calls = defaultConcurrentCalls
	}
	m := &Model{texts: make(lane, calls), pictures: make(lane, calls)}
	if options.Logger != nil {
		m.logger = cgo.NewHandle(options.Logger)
	}
	failure := C.c4c_error{struct_size: C.sizeof_c4c_error}
	var handle *C.c4c_model
	if C.c4c_go_create(c, C.uintptr_t(m.logger), &handle, &failure) != C.C4C_OK {
		m.forgetLogger()
		return nil, failed(&failure)
	}
	m.handle, m.dim = handle, int(C.c4c_dim(handle))
	return m, nil
}

// Close refuses new calls with [ErrClosed], waits for the running ones, and releases the model. It
// cancels none: whoever is in a hurry cancels the contexts of the calls first. It may be called often,
// from any goroutine, but not by a function that the library is calling (a reader, a progress function,
// a log handler), since their call would wait for itself. The error is always nil.
func (m *Model) Close() error {
	m.release.Do(func() {
		m.mu.Lock()
		m.closed = true
		m.mu.Unlock()
		m.running.Wait()
		C.c4c_free(m.handle)
		m.forgetLogger()
	})
	return nil
}

func (m *Model) forgetLogger() {
	if m.logger != 0 {
		m.logger.Delete()
	}
}

// enter begins a call, which ends with m.running.Done. Until then the handle is alive.
func (m *Model) enter() error {
	if m.handle == nil {
		return invalid("the model was not made by New")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return &Error{Status: ErrClosed, Message: "the model is closed"}
	}
	m.running.Add(1)
	return nil
}

// Dim is the number of floats in one embedding: 512 for ViT-B. It is known after Close, too.
func (m *Model) Dim() int { return m.dim }

// Info is what was loaded, and how it runs.
type Info struct {
	Dim           int        // floats in one embedding
	Modality      Modality   // which towers there are
	Head          Head       // never HeadAuto
	Activation    Activation // never ActivationAuto
	Precision     Precision  // never PrecisionAuto
	NumThreads    int        // threads of one forward pass
	MaxBatch      int        // the most images in one forward pass
	MaxWords      int        // token ids that a text is cut to
	ImageSize     int        // side of the vision tower's square input in pixels; 0 without that tower
	PatchSize     int        // side of a patch in pixels; 0 without vision tower
	VisionWidth   int        // 0 without vision tower
	VisionLayers  int        // 0 without vision tower
	TextWidth     int        // 0 without text tower
	TextLayers    int        // 0 without text tower
	ContextLength int        // the longest sequence of token ids; 0 without text tower
	VocabSize     int        // 0 without text tower
	// LogitScale is the natural logarithm of the temperature that multiplies cosines in training; 0
	// where the weights have none.
	LogitScale float32
	Device     string // "cpu", "cuda:0", "cuda:0,cuda:1"; "8 GPUs" where there are too many to name
	ModelName  string // "clip_vit_b32" and the like, or "custom"
	Weights    string // the checkpoint's container and naming: "torch.save/clip4clip"
	DeviceNote string // why Device "auto" took the CPU, and not a GPU; else empty
}

// Info tells what was loaded, and how it runs.
func (m *Model) Info() (Info, error) {
	if err := m.enter(); err != nil {
		return Info{}, err
	}
	defer m.running.Done()
	failure := C.c4c_error{struct_size: C.sizeof_c4c_error}
	c := C.c4c_info{struct_size: C.sizeof_c4c_info}
	if C.c4c_get_info(m.handle, &c, &failure) != C.C4C_OK {
		return Info{}, failed(&failure)
	}
	return Info{
		Dim:           int(c.dim),
		Modality:      Modality(c.modality),
		Head:          Head(c.head),
		Activation:    Activation(c.activation),
		Precision:     Precision(c.precision),
		NumThreads:    int(c.num_threads),
		MaxBatch:      int(c.max_batch),
		MaxWords:      int(c.max_words),
		ImageSize:     int(c.image_size),
		PatchSize:     int(c.patch_size),
		VisionWidth:   int(c.vision_width),
		VisionLayers:  int(c.vision_layers),
		TextWidth:     int(c.text_width),
		TextLayers:    int(c.text_layers),
		ContextLength: int(c.context_length),
		VocabSize:     int(c.vocab_size),
		LogitScale:    float32(c.logit_scale),
		Device:        C.GoString(&c.device[0]),
		ModelName:     C.GoString(&c.model_name[0]),
		Weights:       C.GoString(&c.weights[0]),
		DeviceNote:    C.GoString(&c.device_note[0]),
	}, nil
}

// Stats is what a model has done since it was made, and what it holds now. Times are sums over all
// calls and threads. Calls that wait in Go for their turn (Options.MaxConcurrentCalls) are not counted
// yet.
type Stats struct {
	Calls          uint64        // calls that embed or score, begun
	Running        uint64        // of these, not ended yet
	FailedArgument uint64        // ended by what is wrong with the arguments, or by what the model is not made for
	FailedMedia    uint64        // ended by a video
	FailedMemory   uint64        // ended by ErrOutOfMemory
	FailedOther    uint64        // ended by any other error
	Cancelled      uint64        // ended by ErrCancelled
	TimedOut       uint64        // ended by ErrTimeout
	Texts          uint64        // texts that went through the model
	Images         uint64        // images that did; a frame that repeats the one before it goes once
	TextBatches    uint64        // forward passes of the text tower
	ImageBatches   uint64        // forward passes of the vision tower
	MeanTextBatch  float64       // texts in a pass, on average; 0 before the first
	MeanImageBatch float64       // images in a pass, on average; 0 before the first
	QueuedTexts    uint64        // texts that wait for the model now
	QueuedImages   uint64        // images that wait for the model now
	WaitingCalls   uint64        // calls that wait now for room in the queues, and decoders that wait for a core
	BytesHeld      uint64        // bytes of images and token ids that wait for the model or are in a pass
	Queue          time.Duration // between texts and images being handed over and their pass
	Decode         time.Duration // finding and decoding frames: waiting for cores included, for room not
	Preprocess     time.Duration // converting, scaling and cropping; for videos a part of Decode
	TextForward    time.Duration // forward passes of the text tower
	ImageForward   time.Duration // forward passes of the vision tower
	DeviceBytes    uint64        // bytes of the model's GPUs that libtorch holds for the process; 0 on a CPU
}

// Stats tells what the model has done since it was made, and what it holds at this moment. Counts of
// calls that run meanwhile may lag behind each other. It waits for no forward pass.
func (m *Model) Stats() (Stats, error) {
	if err := m.enter(); err != nil {
		return Stats{}, err
	}
	defer m.running.Done()
	failure := C.c4c_error{struct_size: C.sizeof_c4c_error}
	c := C.c4c_stats{struct_size: C.sizeof_c4c_stats}
	if C.c4c_get_stats(m.handle, &c, &failure) != C.C4C_OK {
		return Stats{}, failed(&failure)
	}
	us := func(n C.int64_t) time.Duration { return time.Duration(n) * time.Microsecond }
	return Stats{
		Calls:          uint64(c.calls),
		Running:        uint64(c.running),
		FailedArgument: uint64(c.failed_argument),
		FailedMedia:    uint64(c.failed_media),
		FailedMemory:   uint64(c.failed_memory),
		FailedOther:    uint64(c.failed_other),
		Cancelled:      uint64(c.cancelled),
		TimedOut:       uint64(c.timed_out),
		Texts:          uint64(c.texts),
		Images:         uint64(c.images),
		TextBatches:    uint64(c.text_batches),
		ImageBatches:   uint64(c.image_batches),
		MeanTextBatch:  float64(c.mean_text_batch),
		MeanImageBatch: float64(c.mean_image_batch),
		QueuedTexts:    uint64(c.queued_texts),
		QueuedImages:   uint64(c.queued_images),
		WaitingCalls:   uint64(c.waiting_calls),
		BytesHeld:      uint64(c.bytes_held),
		Queue:          us(c.queue_us),
		Decode:         us(c.decode_us),
		Preprocess:     us(c.preprocess_us),
		TextForward:    us(c.text_forward_us),
		ImageForward:   us(c.image_forward_us),
		DeviceBytes:    uint64(c.device_bytes),
	}, nil
}

// Trim gives back memory that is held for speed and not in use: the recordings of a GPU's passes, what
// libtorch keeps of the GPUs' memory for all models of the process, and what the C library keeps of the
// process's. The next calls are slower until it has been taken again. It waits for the passes that run.
func (m *Model) Trim() error {
	if err := m.enter(); err != nil {
		return err
	}
	defer m.running.Done()
	failure := C.c4c_error{struct_size: C.sizeof_c4c_error}
	if C.c4c_trim(m.handle, &failure) != C.C4C_OK {
		return failed(&failure)
	}
	return nil
}

// failed is what a call filled in.
func failed(e *C.c4c_error) *Error {
	return &Error{Status: Status(e.status), Message: C.GoString(&e.message[0])}
}
