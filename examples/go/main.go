// Command videosearch is a service that finds videos by words: videos are uploaded or named, and asked for with
// sentences.
//
//	go run . -weights pytorch_model.bin
//	curl -F video=@dog.mp4 localhost:8080/videos
//	curl 'localhost:8080/search?q=a+dog+runs+on+the+beach'
//
// README.md lists all requests.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

// config is what the command line says.
type config struct {
	media         string        // folder whose files may be named; empty: none
	urls          bool          // whether URLs may be named
	maxUpload     int64         // bytes
	uploadTimeout time.Duration // for a request to arrive
	embedTimeout  time.Duration // for a video to be embedded
	answerTimeout time.Duration // for an answer to be taken
	maxUploads    int           // that are taken in and embedded at a time
	window        time.Duration // what is searched for: windows of this length; 0: whole videos
	grace         time.Duration // for running requests to end when the service stops
}

func main() {
	var cfg config
	var options c4c.Options
	listen := flag.String("listen", "localhost:8080", "address")
	flag.StringVar(&options.WeightsPath, "weights", "", "checkpoint (required)")
	flag.StringVar(&cfg.media, "media", "", "folder whose files may be named; none by default")
	flag.BoolVar(&cfg.urls, "urls", false, "let callers name http and https URLs, also such as only this machine reaches")
	flag.Int64Var(&cfg.maxUpload, "max-upload", 1<<30, "bytes of an upload")
	flag.DurationVar(&cfg.uploadTimeout, "upload-timeout", 10*time.Minute, "time for an upload to arrive")
	flag.DurationVar(&cfg.embedTimeout, "embed-timeout", 5*time.Minute, "time for a video to be embedded")
	flag.DurationVar(&cfg.answerTimeout, "answer-timeout", time.Minute, "time for a caller to take an answer")
	flag.IntVar(&cfg.maxUploads, "max-uploads", 8, "videos that are taken in at a time; 503 for more")
	flag.DurationVar(&cfg.window, "window", 0, "search in windows of this length; 0: in whole videos")
	flag.DurationVar(&cfg.grace, "grace", 30*time.Second, "time for running requests to end when the service stops")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "%q is no flag; -help lists those that are\n", flag.Arg(0))
		os.Exit(2)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	options.Logger = slog.With("from", "libc4c")

	// The first signal stops the service, and a second one ends the process, as it would without this.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, *listen, options, cfg); err != nil {
		slog.Error("the service ends", "error", err)
		os.Exit(1)
	}
}

// check finds what no request could be served with.
func (c config) check() error {
	if c.maxUploads < 1 {
		return fmt.Errorf("-max-uploads is %d, expected at least 1", c.maxUploads)
	}
	if c.media == "" {
		return nil
	}
	info, err := os.Stat(c.media)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", c.media)
	}
	if err != nil {
		return fmt.Errorf("-media: %w", err)
	}
	return nil
}

func run(ctx context.Context, address string, options c4c.Options, cfg config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	model, err := c4c.New(options)
	if err != nil {
		return err
	}
	defer model.Close()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	slog.Info("listening", "address", listener.Addr().String(), "dim", model.Dim())
	return serve(ctx, listener, model, cfg)
}

// errStopping is why requests are cancelled that do not end in time when the service stops.
var errStopping = errors.New("the service is stopping")

// serve answers requests until ctx is done. Then it takes no more, and waits for those that run: for
// cfg.grace, after which it cancels what they receive and embed, and a little longer, in which they tell
// their callers so.
func serve(ctx context.Context, listener net.Listener, model *c4c.Model, cfg config) error {
	calls, cancelCalls := context.WithCancelCause(context.Background())
	defer cancelCalls(nil)
	service := newService(model, cfg)
	server := &http.Server{
		Handler:           service.handler(),
		BaseContext:       func(net.Listener) context.Context { return calls },
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      cfg.uploadTimeout + cfg.embedTimeout + cfg.answerTimeout, // it begins with the request
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	slog.Info("stopping", "grace", cfg.grace)
	if shutdown(server, cfg.grace) == nil {
		return nil
	}
	slog.Warn("requests still run, and are cancelled")
	cancelCalls(errStopping)
	if shutdown(server, 5*time.Second) == nil {
		return nil
	}
	err := server.Close()
	service.running.Wait() // they remove their files
	return err
}

func shutdown(server *http.Server, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return server.Shutdown(ctx)
}
