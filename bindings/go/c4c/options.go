package c4c

// #include <c4c.h>
import "C"

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"
)

// Options say what to load and how to run it. A zero field means its default.
type Options struct {
	// WeightsPath is a checkpoint file, an index of shards, or a model folder: CLIP4Clip's
	// pytorch_model.bin.N, OpenAI's TorchScript archives, Hugging Face's and OpenCLIP's files. Told by
	// their content. Required.
	WeightsPath string
	// ModelName demands "clip_vit_b32" or "clip_vit_b16". Empty: whatever the weights are.
	ModelName string
	// TokenizerPath is a tokenizer.json. Empty: the one in a Hugging Face model folder, else CLIP's
	// own, built in.
	TokenizerPath string
	// Device is where the model computes. Empty or "auto": the first GPU where CUDA can be used, else the
	// CPU; Info says which and why. "cpu". "cuda", which is "cuda:0"; "cuda:1"; several as
	// "cuda:0,cuda:1", or all as "cuda:*": each gets a copy of the weights, and passes go to whichever is
	// free. [ErrDevice] with the reason where a GPU that is named cannot be used.
	Device string
	// Modality says which towers are loaded.
	Modality Modality
	// Precision is the arithmetic of the forward pass.
	Precision Precision
	// Head says how frames become a video.
	Head Head
	// Activation is the MLPs' non-linearity.
	Activation Activation
	// MaxWords is the number of token ids that a text is cut to, start and end counted: 1 to the
	// model's context. 0: 32.
	MaxWords int
	// RawOutput leaves out the last L2 normalisation.
	RawOutput bool
	// StrictText makes a text with more than MaxWords token ids an error, [ErrTextTooLong]; otherwise
	// it is cut.
	StrictText bool
	// NoCUDAGraphs launches, on GPUs, every kernel of every pass instead of replaying recorded passes.
	// Small batches get slower, and the memory that the recordings hold stays free.
	NoCUDAGraphs bool
	// NumThreads is the number of threads of one forward pass on the CPU, at most 1024. 0: one per core
	// that the process may use.
	NumThreads int
	// MaxBatch is the most images in one forward pass, of whatever callers, at most 4096. 0: chosen.
	MaxBatch int
	// MaxBatchDelay is how long texts or images which do not fill a forward pass wait for those of
	// other callers, rounded up to microseconds. 0: not at all. Close waits for it, too.
	MaxBatchDelay time.Duration
	// Logger receives the library's messages, from any goroutine and from threads of the library's,
	// perhaps several at once. Its handler must not call back into this package; if it panics, that
	// message is lost. nil: the library is silent.
	Logger *slog.Logger
	// LogLevel is the least important level of the messages that Logger is given; it may drop more by
	// itself.
	LogLevel LogLevel
	// MaxConcurrentCalls bounds the calls that are in the library at a time: so many of texts, and as
	// many of pictures, videos and scores. Each of these holds an OS thread until it returns; a
	// goroutine that waits for its turn holds none. A call whose reader waits for the network keeps its
	// place, and so does one whose reader or progress function makes other calls: if these embed
	// pictures or videos or score, they need a deadline, since all places may be held by such calls,
	// which then wait for each other. 0: 256.
	MaxConcurrentCalls int
}

// Modality says which towers of a model are loaded.
type Modality uint32

const (
	// ModalityBoth is texts and videos.
	ModalityBoth Modality = C.C4C_MODALITY_BOTH
	// ModalityText is texts only; calls for pictures and videos return [ErrModality].
	ModalityText Modality = C.C4C_MODALITY_TEXT
	// ModalityVideo is pictures and videos only.
	ModalityVideo Modality = C.C4C_MODALITY_VIDEO
)

// String is "both", "text" or "video".
func (m Modality) String() string { return name("modality", uint32(m), "both", "text", "video") }

// Precision is the arithmetic of the forward pass.
type Precision uint32

const (
	// PrecisionAuto is F16 on GPUs; BF16 on CPUs with instructions for it (AVX512-BF16, AMX), else F32.
	// Info says what was chosen.
	PrecisionAuto Precision = C.C4C_PRECISION_AUTO
	// PrecisionF32 is IEEE single precision; on GPUs without TF32.
	PrecisionF32 Precision = C.C4C_PRECISION_F32
	// PrecisionBF16 is bfloat16 weights and products; sums, normalisations, attention and heads in
	// single precision. F32 on CPUs that have fast products of single precision only.
	PrecisionBF16 Precision = C.C4C_PRECISION_BF16
	// PrecisionF16 is half precision, as the original runs on a GPU: weights, products and what passes
	// from block to block; heads in single precision. For GPUs, [ErrUnsupported] on CPUs.
	PrecisionF16 Precision = C.C4C_PRECISION_F16
	// PrecisionInt8 is eight-bit weights and products in three of four layers of the transformer
	// blocks; the rest as with BF16. The fastest and the least exact: for CPUs with AVX512-VNNI or AMX,
	// [ErrUnsupported] on others and on GPUs.
	PrecisionInt8 Precision = C.C4C_PRECISION_INT8
)

// String is "auto", "f32", "bf16", "f16" or "int8".
func (p Precision) String() string {
	return name("precision", uint32(p), "auto", "f32", "bf16", "f16", "int8")
}

// Head says how frames become a video.
type Head uint32

const (
	// HeadAuto is what the weights carry: seqTransf, seqLSTM or tightTransf, in this order, else meanP.
	HeadAuto Head = C.C4C_HEAD_AUTO
	// HeadMean is CLIP4Clip's meanP: the unit vector along the mean of the frames' unit vectors.
	HeadMean Head = C.C4C_HEAD_MEAN
	// HeadSeqTransf is a transformer over the frames, then as HeadMean. At most as many frames as it
	// has positions, 77.
	HeadSeqTransf Head = C.C4C_HEAD_SEQ_TRANSF
	// HeadSeqLSTM is an LSTM over the frames, then as HeadMean.
	HeadSeqLSTM Head = C.C4C_HEAD_SEQ_LSTM
	// HeadTightTransf is a transformer over a text and the frames: for Score only, since it gives no
	// vector for a video.
	HeadTightTransf Head = C.C4C_HEAD_TIGHT_TRANSF
)

// String is "auto" or CLIP4Clip's name: "meanP", "seqTransf", "seqLSTM", "tightTransf".
func (h Head) String() string {
	return name("head", uint32(h), "auto", "meanP", "seqTransf", "seqLSTM", "tightTransf")
}

// Activation is the MLPs' non-linearity, which the weights do not tell.
type Activation uint32

const (
	// ActivationAuto is what a config.json or open_clip_config.json beside the weights says; without
	// one QuickGELU, which OpenAI's models and CLIP4Clip's have.
	ActivationAuto Activation = C.C4C_ACTIVATION_AUTO
	// ActivationQuickGELU is x * sigmoid(1.702 * x).
	ActivationQuickGELU Activation = C.C4C_ACTIVATION_QUICK_GELU
	// ActivationGELU is the exact GELU, with erf: OpenCLIP's LAION and DataComp models.
	ActivationGELU Activation = C.C4C_ACTIVATION_GELU
)

// String is "auto", "QuickGELU" or "GELU".
func (a Activation) String() string {
	return name("activation", uint32(a), "auto", "QuickGELU", "GELU")
}

// LogLevel is how important a message must be for Options.Logger to get it.
type LogLevel uint32

const (
	LogDefault LogLevel = C.C4C_LOG_DEFAULT // as LogInfo
	LogError   LogLevel = C.C4C_LOG_ERROR
	LogWarn    LogLevel = C.C4C_LOG_WARN
	LogInfo    LogLevel = C.C4C_LOG_INFO
	LogDebug   LogLevel = C.C4C_LOG_DEBUG
)

func (l LogLevel) slog() slog.Level {
	switch l {
	case LogError:
		return slog.LevelError
	case LogWarn:
		return slog.LevelWarn
	case LogDebug:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func name(kind string, value uint32, names ...string) string {
	if int64(value) < int64(len(names)) {
		return names[value]
	}
	return fmt.Sprintf("%s %d", kind, value)
}

// c is o for C, whose strings stay where they are until p is unpinned.
func (o *Options) c(p *runtime.Pinner) (*C.c4c_options, error) {
	var n narrow
	c := &C.c4c_options{
		struct_size:        C.sizeof_c4c_options,
		modality:           C.uint32_t(o.Modality),
		precision:          C.uint32_t(o.Precision),
		head:               C.uint32_t(o.Head),
		activation:         C.uint32_t(o.Activation),
		max_words:          n.uint32("MaxWords", int64(o.MaxWords)),
		num_threads:        n.uint32("NumThreads", int64(o.NumThreads)),
		max_batch:          n.uint32("MaxBatch", int64(o.MaxBatch)),
		max_batch_delay_us: n.uint32("MaxBatchDelay in microseconds", micros(o.MaxBatchDelay)),
		log_level:          C.uint32_t(o.LogLevel),
	}
	if o.RawOutput {
		c.flags |= C.C4C_RAW_OUTPUT
	}
	if o.StrictText {
		c.flags |= C.C4C_STRICT_TEXT
	}
	if o.NoCUDAGraphs {
		c.flags |= C.C4C_NO_CUDA_GRAPHS
	}
	for _, text := range []struct {
		name, value string
		to          **C.char
	}{
		{"ModelName", o.ModelName, &c.model_name},
		{"WeightsPath", o.WeightsPath, &c.weights_path},
		{"TokenizerPath", o.TokenizerPath, &c.tokenizer_path},
		{"Device", o.Device, &c.device},
	} {
		if text.value == "" {
			continue
		}
		value, err := cString(p, text.name, text.value)
		if err != nil {
			return nil, err
		}
		*text.to = value
	}
	return c, n.err
}
