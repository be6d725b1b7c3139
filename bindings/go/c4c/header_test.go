package c4c_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

// constants are those of c4c.h, as this package knows them.
var constants = map[string]int64{
	"C4C_ABI_VERSION": c4c.HeaderABIVersion,
	"C4C_SEEK_SIZE":   c4c.SeekSize,

	"C4C_OK":                 int64(c4c.OK),
	"C4C_E_INVALID_ARGUMENT": int64(c4c.ErrInvalidArgument),
	"C4C_E_BUFFER_TOO_SMALL": int64(c4c.ErrBufferTooSmall),
	"C4C_E_UNSUPPORTED":      int64(c4c.ErrUnsupported),
	"C4C_E_CLOSED":           int64(c4c.ErrClosed),
	"C4C_E_FORKED":           int64(c4c.ErrForked),
	"C4C_E_WEIGHTS_IO":       int64(c4c.ErrWeightsIO),
	"C4C_E_WEIGHTS_FORMAT":   int64(c4c.ErrWeightsFormat),
	"C4C_E_WEIGHTS_MISMATCH": int64(c4c.ErrWeightsMismatch),
	"C4C_E_MODALITY":         int64(c4c.ErrModality),
	"C4C_E_TOKENIZER":        int64(c4c.ErrTokenizer),
	"C4C_E_TEXT_TOO_LONG":    int64(c4c.ErrTextTooLong),
	"C4C_E_DEVICE":           int64(c4c.ErrDevice),
	"C4C_E_OUT_OF_MEMORY":    int64(c4c.ErrOutOfMemory),
	"C4C_E_BACKEND":          int64(c4c.ErrBackend),
	"C4C_E_MEDIA_IO":         int64(c4c.ErrMediaIO),
	"C4C_E_MEDIA_FORMAT":     int64(c4c.ErrMediaFormat),
	"C4C_E_NO_VIDEO":         int64(c4c.ErrNoVideo),
	"C4C_E_DECODE":           int64(c4c.ErrDecode),
	"C4C_E_LIMIT":            int64(c4c.ErrLimit),
	"C4C_E_FORBIDDEN":        int64(c4c.ErrForbidden),
	"C4C_E_CANCELLED":        int64(c4c.ErrCancelled),
	"C4C_E_TIMEOUT":          int64(c4c.ErrTimeout),
	"C4C_E_INTERNAL":         int64(c4c.ErrInternal),

	"C4C_MODALITY_BOTH":  int64(c4c.ModalityBoth),
	"C4C_MODALITY_TEXT":  int64(c4c.ModalityText),
	"C4C_MODALITY_VIDEO": int64(c4c.ModalityVideo),

	"C4C_PRECISION_AUTO": int64(c4c.PrecisionAuto),
	"C4C_PRECISION_F32":  int64(c4c.PrecisionF32),
	"C4C_PRECISION_BF16": int64(c4c.PrecisionBF16),
	"C4C_PRECISION_F16":  int64(c4c.PrecisionF16),
	"C4C_PRECISION_INT8": int64(c4c.PrecisionInt8),

	"C4C_HEAD_AUTO":         int64(c4c.HeadAuto),
	"C4C_HEAD_MEAN":         int64(c4c.HeadMean),
	"C4C_HEAD_SEQ_TRANSF":   int64(c4c.HeadSeqTransf),
	"C4C_HEAD_SEQ_LSTM":     int64(c4c.HeadSeqLSTM),
	"C4C_HEAD_TIGHT_TRANSF": int64(c4c.HeadTightTransf),

	"C4C_ACTIVATION_AUTO":       int64(c4c.ActivationAuto),
	"C4C_ACTIVATION_QUICK_GELU": int64(c4c.ActivationQuickGELU),
	"C4C_ACTIVATION_GELU":       int64(c4c.ActivationGELU),

	"C4C_PIXEL_RGB24": int64(c4c.PixelRGB24),
	"C4C_PIXEL_BGR24": int64(c4c.PixelBGR24),
	"C4C_PIXEL_RGBA":  int64(c4c.PixelRGBA),
	"C4C_PIXEL_BGRA":  int64(c4c.PixelBGRA),
	"C4C_PIXEL_GRAY8": int64(c4c.PixelGray8),
	"C4C_PIXEL_I420":  int64(c4c.PixelI420),
	"C4C_PIXEL_NV12":  int64(c4c.PixelNV12),

	// A frame's location is told by Frame.CUDA.
	"C4C_LOCATION_HOST": 0,
	"C4C_LOCATION_CUDA": 1,

	"C4C_MATRIX_UNKNOWN": int64(c4c.MatrixUnknown),
	"C4C_MATRIX_BT601":   int64(c4c.MatrixBT601),
	"C4C_MATRIX_BT709":   int64(c4c.MatrixBT709),
	"C4C_MATRIX_BT2020":  int64(c4c.MatrixBT2020),

	"C4C_RANGE_UNKNOWN": int64(c4c.RangeUnknown),
	"C4C_RANGE_LIMITED": int64(c4c.RangeLimited),
	"C4C_RANGE_FULL":    int64(c4c.RangeFull),

	"C4C_SAMPLING_UNIFORM":   int64(c4c.SamplingUniform),
	"C4C_SAMPLING_KEYFRAMES": int64(c4c.SamplingKeyFrames),
	"C4C_SAMPLING_FPS":       int64(c4c.SamplingFPS),

	"C4C_SEEK_EXACT":       int64(c4c.SeekExact),
	"C4C_SEEK_APPROXIMATE": int64(c4c.SeekApproximate),

	"C4C_HWACCEL_NONE": int64(c4c.HWAccelNone),
	"C4C_HWACCEL_CUDA": int64(c4c.HWAccelCUDA),

	"C4C_COLOR_TAGGED":   int64(c4c.ColorTagged),
	"C4C_COLOR_OPERATOR": int64(c4c.ColorOperator),

	"C4C_LOG_DEFAULT": int64(c4c.LogDefault),
	"C4C_LOG_ERROR":   int64(c4c.LogError),
	"C4C_LOG_WARN":    int64(c4c.LogWarn),
	"C4C_LOG_INFO":    int64(c4c.LogInfo),
	"C4C_LOG_DEBUG":   int64(c4c.LogDebug),

	// Booleans in Go: RawOutput, StrictText, NoCUDAGraphs, ApplyRotation, AllowNetwork, StrictDecode.
	"C4C_RAW_OUTPUT":     1,
	"C4C_STRICT_TEXT":    2,
	"C4C_NO_CUDA_GRAPHS": 4,
	"C4C_APPLY_ROTATION": 1,
	"C4C_ALLOW_NETWORK":  2,
	"C4C_STRICT_DECODE":  4,
}

// header is the installed c4c.h without its comments.
func header(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(pkgConfig(t, "includedir"), "c4c.h"))
	if err != nil {
		t.Fatal(err)
	}
	comments := regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`)
	return comments.ReplaceAllString(string(text), "")
}

func TestHeaderConstants(t *testing.T) {
	text := header(t)
	found := map[string]bool{}
	number := regexp.MustCompile(`(?m)^\s*(?:#define )?(C4C_\w+)(?: = | )(-?\d+),?$`)
	for _, match := range number.FindAllStringSubmatch(text, -1) {
		name := match[1]
		value, err := strconv.ParseInt(match[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = true
		if known, ok := constants[name]; !ok {
			t.Errorf("the binding does not know %s", name)
		} else if known != value {
			t.Errorf("%s is %d in the header, %d in the binding", name, value, known)
		}
	}
	for name := range constants {
		if !found[name] {
			t.Errorf("the header has no %s", name)
		}
	}
	for _, name := range regexp.MustCompile(`\bC4C_\w+`).FindAllString(text, -1) {
		if !found[name] && name != "C4C_API" {
			t.Errorf("%s has no number that this test can read", name)
		}
	}
}

func TestHeaderFunctions(t *testing.T) {
	var sources strings.Builder
	for _, pattern := range []string{"*.go", "*.c"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(text)
		}
	}
	functions := regexp.MustCompile(`\b(c4c_\w+)\(`).FindAllStringSubmatch(header(t), -1)
	if len(functions) < 26 {
		t.Fatalf("%d functions found in the header", len(functions))
	}
	for _, match := range functions {
		// Called, from Go or from C, and not only mentioned.
		if !regexp.MustCompile(`(C\.|return |= )` + match[1] + `\(`).MatchString(sources.String()) {
			t.Errorf("the binding does not call %s", match[1])
		}
	}
}

// Each field of a struct in C is one in Go of the same name, but for those listed here; "" is served in
// another way.
func TestHeaderFields(t *testing.T) {
	for name, of := range map[string]struct {
		value  any
		others map[string]string
	}{
		"c4c_options": {c4c.Options{}, map[string]string{
			"log": "Logger", "log_user_data": "", "flags": "RawOutput StrictText NoCUDAGraphs",
		}},
		"c4c_video_options": {c4c.VideoOptions{}, map[string]string{
			"hwaccel": "HWAccel", "hwaccel_device": "HWAccelDevice",
			"fps": "FPS", "stream_index_plus_1": "StreamIndexPlus1", "flags": "ApplyRotation AllowNetwork StrictDecode",
		}},
		"c4c_frame": {c4c.Frame{}, map[string]string{"location": "CUDA", "device_index": "", "stream": ""}},
		"c4c_info":  {c4c.Info{}, nil},
		"c4c_stats": {c4c.Stats{}, nil},
		"c4c_error": {c4c.Error{}, nil},
		"c4c_call":  {nil, map[string]string{"timeout_us": "", "cancel": ""}},
		"c4c_io":    {nil, map[string]string{"user_data": "", "read": "", "seek": ""}},
	} {
		body := regexp.MustCompile(`(?s)struct ` + name + ` \{(.*?)\} ` + name + `;`).FindStringSubmatch(header(t))
		if body == nil {
			t.Fatalf("the header has no struct %s", name)
		}
		declared := regexp.MustCompile(`(?m)(?:^|\s|\*)\(?\*?(\w+)(?:\[\d+\])?(?:\)\([^)]*\))?;`)
		fields := declared.FindAllStringSubmatch(body[1], -1)
		if len(fields) < 3 || len(fields) != strings.Count(body[1], ";") {
			t.Fatalf("%d fields found in struct %s", len(fields), name)
		}
		for _, match := range fields {
			field := match[1]
			if field == "struct_size" || field == "reserved" {
				continue
			}
			inGo, listed := of.others[field]
			if !listed {
				inGo = camel(field)
			}
			for _, inGo := range strings.Fields(inGo) {
				if of.value == nil {
					t.Errorf("the binding does not know %s.%s", name, field)
				} else if _, ok := reflect.TypeOf(of.value).FieldByName(inGo); !ok {
					t.Errorf("%T has no %s for %s.%s", of.value, inGo, name, field)
				}
			}
		}
	}
	for _, match := range regexp.MustCompile(`struct (c4c_\w+) \{`).FindAllStringSubmatch(header(t), -1) {
		switch match[1] {
		case "c4c_options", "c4c_video_options", "c4c_frame", "c4c_info", "c4c_stats", "c4c_error", "c4c_call", "c4c_io":
		default:
			t.Errorf("the binding does not know struct %s", match[1])
		}
	}
}

// camel is a_field_us as Go writes it: AField, since times are durations.
func camel(field string) string {
	name := ""
	for _, word := range strings.Split(strings.TrimSuffix(field, "_us"), "_") {
		name += strings.ToUpper(word[:1]) + word[1:]
	}
	return name
}
