// Package c4c finds videos by words: it binds libc4c, which runs CLIP4Clip on texts, pictures and
// videos.
//
// A [Model] turns a video file, or a list of frames, into a vector, and a sentence into a vector of the
// same space. Their dot product says how well they fit. Vectors have length 1 unless Options.RawOutput
// is set, so that it is the cosine.
//
// The package is thin: what it does not say, c4c.h says. Pixels and file contents are handed over
// without a copy, vectors are written into Go's memory, and those of one call lie in one block.
//
// # Linking
//
// The installed library is found through pkg-config, as c4c; where that is not on the default path, set
// PKG_CONFIG_PATH. cgo is needed. If the library is not where the loader looks, give the program a
// path:
//
//	CGO_LDFLAGS="-Wl,-rpath,$PREFIX/lib" go build
//
// The go command keeps what pkg-config said when it compiled this package, and does not ask again:
// after the library has moved, or was replaced by one of another interface, build once with -a.
//
// The build tag c4c_static asks pkg-config for what a static libc4c.a needs.
//
// A c4c.h of another interface than this package is written for does not compile (C4C_ABI_VERSION, and
// the layout of its structs), a library of another interface is not found by the linker (on Linux:
// libc4c.so.0, by its file name), and a program does not start without the one that it was linked with.
// [New] compares the numbers once more. What none of this can tell is a library whose name and number
// are right and whose functions are not, and a static library's number before New.
//
// # Contexts and errors
//
// Calls that embed take a context. When it is cancelled or its deadline passes, the library ends the
// call within a packet's decoding or a picture's preprocessing, or at once where the call waits; a
// forward pass that has begun is finished, but nobody waits for it. A call that has succeeded by then
// is not an error.
//
// Errors are of type [*Error], with a [Status] to be found by [errors.Is] ([ErrMediaIO] and so on) and
// a sentence that names the thing. [ErrCancelled] is also [context.Canceled], [ErrTimeout] is also
// [context.DeadlineExceeded], and what [context.Cause] tells is in the chain. On an error there is no
// result.
//
// # Goroutines and threads
//
// One Model serves any number of goroutines, and the more of them call at once, the more share a
// forward pass. A goroutine per request is fine. While a call is in the library, also while it waits
// there for its forward pass, it holds an OS thread, and Go ends a process that needs 10,000 of them.
// So only Options.MaxConcurrentCalls enter at a time; the others wait in Go, where that costs no
// thread, in the order of their coming. The library's own threads compute and decode, on as many cores
// as the process may use by its affinity and control group; GOMAXPROCS does not limit them.
//
// Readers, progress functions and log handlers are called on threads that the library holds meanwhile,
// in goroutines of their own. A panic in a reader or a progress function does not unwind the library:
// it ends the call, and goes on in the caller; so does [runtime.Goexit], which is what FailNow of a
// test does. The panic has its value, but the stack of the caller; to know that of the origin, recover
// there. One in a log handler is dropped.
//
// While a reader or a progress function runs, also while it waits for the network, its call keeps its
// place among Options.MaxConcurrentCalls. So these functions must not call methods that embed pictures
// or videos or that score without a deadline: such calls can wait for places that only they could free.
//
// # GPUs
//
// Options.Device names where a model computes; [CUDADevices] tells how many GPUs there are, or why none.
// Pictures that are in a GPU's memory already are told by Frame.CUDA, in addresses that the garbage
// collector knows nothing of: what they point to must live until the call returns, and cannot be checked.
//
// # Signals
//
// The library installs no signal handler. Those that Go's runtime installs for nearly all signals, on
// alternate stacks (SA_ONSTACK) and with SA_RESTART, stay as they are, and os/signal works as ever.
//
// # Releasing
//
// [Model.Close] gives back the model's memory and threads; there is no finalizer, since nothing would
// run it in time. Close may be called at any moment: calls that run are waited for, and later ones
// return [ErrClosed].
package c4c
