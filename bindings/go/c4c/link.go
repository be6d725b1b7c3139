package c4c

/*
#cgo !c4c_static pkg-config: c4c
#cgo c4c_static pkg-config: --static c4c
#cgo linux,!c4c_static LDFLAGS: -l:libc4c.so.0
#cgo CFLAGS: -std=gnu11

#include <stddef.h>
#include <c4c.h>

// The number stands here and in the LDFLAGS above: the header must have it, and the linker must find
// the library whose file name carries it. So a header of one interface is not linked with a library of
// another.
#if C4C_ABI_VERSION != 0
#error "this Go binding is written for C4C_ABI_VERSION 0: use the binding that belongs to the installed c4c.h"
#endif

// A struct may grow at its end, as struct_size allows; what this binding fills in stays where it is.
#define LAST(type, field, offset) \
	_Static_assert(offsetof(type, field) == (offset), "c4c.h does not lay out " #type " as this binding knows it")
LAST(c4c_error, message, 8);
LAST(c4c_call, cancel, 16);
LAST(c4c_options, log_level, 88);
LAST(c4c_frame, stream, 104);
LAST(c4c_video_options, hwaccel_device, 68);
LAST(c4c_io, seek, 24);
LAST(c4c_info, device_note, 200);
LAST(c4c_stats, device_bytes, 192);
*/
import "C"

import "fmt"

// HeaderABIVersion is the number of the C interface that this program was compiled against. New
// compares it with [ABIVersion].
const HeaderABIVersion = C.C4C_ABI_VERSION

// Version is the version of the loaded library, such as "0.1.0".
func Version() string { return C.GoString(C.c4c_version()) }

// ABIVersion is the number of the C interface that the loaded library was built with.
func ABIVersion() int { return int(C.c4c_abi_version()) }

// BuildInfo is one line of JSON about the loaded library: its version ("c4c"), the interface's ("abi"),
// those of libtorch and of the FFmpeg in use ("libtorch", "ffmpeg"), whether it can compute on CUDA
// where the machine does ("cuda"), and the machine it was built for ("target").
func BuildInfo() string { return C.GoString(C.c4c_build_info()) }

// CUDADevices is how many GPUs this process can use through CUDA. Where there is none, reason says why:
// no driver, a libtorch for the CPU only, a library that is missing.
//
// The first call of a process, or the first [New] for a GPU or "auto", loads libtorch's CUDA half and
// wakes the driver; the answer does not change later.
func CUDADevices() (n int, reason string) {
	failure := C.c4c_error{struct_size: C.sizeof_c4c_error}
	var count C.uint32_t
	C.c4c_cuda_devices(&count, &failure) // fails for NULL only
	return int(count), C.GoString(&failure.message[0])
}

// checkABI refuses a library that the loader took in the place of the one that was linked.
func checkABI(loaded int) error {
	if loaded == HeaderABIVersion {
		return nil
	}
	return &Error{Status: ErrUnsupported, Message: fmt.Sprintf(
		"the loaded libc4c has interface %d, this program was compiled against %d", loaded, HeaderABIVersion)}
}
