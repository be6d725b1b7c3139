package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

type service struct {
	config
	model   *c4c.Model
	index   index
	uploads chan struct{} // has an element for each that is taken in
	running sync.WaitGroup
}

func newService(model *c4c.Model, cfg config) *service {
	return &service{
		config:  cfg,
		model:   model,
		index:   index{videos: map[string]*entry{}},
		uploads: make(chan struct{}, cfg.maxUploads),
	}
}

// handler answers all requests. What a route's function returns as an error is answered here, so that it
// returns none once it has begun to answer.
func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /videos":        s.addVideo,
		"GET /videos":         s.listVideos,
		"DELETE /videos/{id}": s.removeVideo,
		"GET /search":         s.search,
		"GET /healthz":        s.health,
		"GET /metrics":        s.metrics,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			start, level := time.Now(), slog.LevelInfo
			err := handle(w, r)
			if err != nil && answerError(w, r, err) == http.StatusInternalServerError {
				level = slog.LevelError
			}
			slog.Log(r.Context(), level, "request",
				"method", r.Method, "path", r.URL.Path, "took", time.Since(start), "error", err)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.running.Add(1)
		defer s.running.Done()
		if r.Body != http.NoBody {
			// The server reads what a handler leaves, so this is for every route. Not the server's
			// ReadTimeout, which would go on while a video is embedded, and cancel that. Where it
			// fails there is no connection, and so do the reads.
			reading := http.NewResponseController(w)
			reading.SetReadDeadline(time.Now().Add(s.uploadTimeout))
			stop := context.AfterFunc(r.Context(), func() { reading.SetReadDeadline(time.Now()) })
			defer stop()
		}
		mux.ServeHTTP(w, r)
	})
}

// problem is an error that is the request's own.
type problem struct {
	status int
	text   string
}

func (p problem) Error() string { return p.text }

// videoError is why a video was not embedded.
type videoError struct {
	source
	err error
}

// Error has the video's name for its path, which may be a URL with a password.
func (v videoError) Error() string { return strings.ReplaceAll(v.err.Error(), v.path, v.name) }

func (v videoError) Unwrap() error { return v.err }

// statusCallerGone is what nginx logs for a caller who did not wait for the answer.
const statusCallerGone = 499

// answerError tells the caller what went wrong, if there is one still, and returns the status. What the
// error says beyond that may name paths of this machine, and is for the log.
func answerError(w http.ResponseWriter, r *http.Request, err error) int {
	var own problem
	var tooLarge *http.MaxBytesError
	late := errors.Is(err, os.ErrDeadlineExceeded)
	stopping := late && errors.Is(context.Cause(r.Context()), errStopping)
	told := problem{http.StatusInternalServerError, "the service failed"}
	for _, known := range []struct {
		is bool
		problem
	}{
		{errors.As(err, &own), own},
		{errors.As(err, &tooLarge), problem{http.StatusRequestEntityTooLarge, "the request is too large"}},
		{stopping || errors.Is(err, errStopping) || errors.Is(err, c4c.ErrClosed),
			problem{http.StatusServiceUnavailable, "the service is stopping"}},
		{late, problem{http.StatusRequestTimeout, "the request did not arrive in time"}},
		{errors.Is(err, c4c.ErrOutOfMemory), problem{http.StatusServiceUnavailable, "there is too little memory now"}},
		{errors.Is(err, c4c.ErrTimeout), problem{http.StatusGatewayTimeout, "not done in time"}},
		{errors.Is(err, c4c.ErrCancelled), problem{statusCallerGone, "cancelled"}},
		{errors.Is(err, c4c.ErrMediaFormat), problem{http.StatusUnsupportedMediaType, "no video of a known format"}},
		{errors.Is(err, c4c.ErrNoVideo), problem{http.StatusUnsupportedMediaType, "there is no video in it"}},
		{errors.Is(err, c4c.ErrInvalidArgument), problem{http.StatusBadRequest, "it cannot be embedded in this way"}},
		{errors.Is(err, c4c.ErrLimit), problem{http.StatusUnprocessableEntity, "larger than what is embedded here"}},
		{errors.Is(err, c4c.ErrForbidden), problem{http.StatusForbidden, "it wants others opened, which is not allowed"}},
		{errors.Is(err, c4c.ErrMediaIO), problem{http.StatusUnprocessableEntity, "it cannot be read"}},
	} {
		if known.is {
			told = known.problem
			break
		}
	}
	var video videoError
	if errors.As(err, &video) {
		told.text = video.name + ": " + told.text
	}
	answer(w, told.status, map[string]string{"error": told.text})
	return told.status
}

// answer ends a request. Where writing fails there is nobody to tell.
func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// addVideo takes a video from the request, from a folder or from the network, and embeds it.
func (s *service) addVideo(w http.ResponseWriter, r *http.Request) error {
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	default:
		w.Header().Set("Retry-After", "1")
		return problem{http.StatusServiceUnavailable, "as many videos as may be are being taken in"}
	}
	source, err := s.source(w, r)
	if err != nil {
		return err
	}
	defer source.remove()
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.embedTimeout)
	defer cancel()
	windows, err := s.embed(ctx, source)
	if err != nil {
		return videoError{source, err}
	}
	e := s.index.add(source.name, windows)
	w.Header().Set("Location", "/videos/"+e.ID)
	answer(w, http.StatusCreated, e)
	return nil
}

// source is where a video is.
type source struct {
	name    string // as the caller knows it
	path    string // as the library is to open it
	network bool
	spooled bool // whether it lies here for this request only
}

func (s source) remove() {
	if s.spooled {
		os.Remove(s.path)
	}
}

func (s *service) source(w http.ResponseWriter, r *http.Request) (source, error) {
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && contentType == "multipart/form-data":
		r.Body = http.MaxBytesReader(w, r.Body, s.maxUpload)
		return spool(r)
	case err == nil && contentType == "application/json":
		r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
		return s.named(r.Body)
	}
	return source{}, problem{http.StatusUnsupportedMediaType, "expected multipart/form-data or application/json"}
}

// spool writes the uploaded video to a file, since most containers cannot be read in one go.
func spool(r *http.Request) (_ source, err error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return source{}, problem{http.StatusBadRequest, err.Error()}
	}
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return source{}, problem{http.StatusBadRequest, "no part of the form is named video"}
		}
		if err != nil {
			return source{}, unread("the upload ends early", err)
		}
		if part.FormName() != "video" {
			continue
		}
		file, err := os.CreateTemp("", "c4c-upload-*")
		if err != nil {
			return source{}, err
		}
		from := source{name: cmp.Or(part.FileName(), "video"), path: file.Name(), spooled: true}
		_, err = io.Copy(file, uploadReader{part})
		if closed := file.Close(); err == nil {
			err = closed
		}
		if err == nil {
			// To the end of the request: only then can the server notice that the caller goes away.
			_, err = io.Copy(io.Discard, uploadReader{r.Body})
		}
		if err != nil {
			from.remove()
			return source{}, err
		}
		return from, nil
	}
}

// uploadReader tells errors of the request from those of the disk.
type uploadReader struct{ io.Reader }

func (u uploadReader) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = unread("the upload ends early", err)
	}
	return n, err
}

// unread is the error of a body that could not be read to its end.
func unread(what string, err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return problem{http.StatusBadRequest, what + ": " + err.Error()}
}

// named is a video of which the caller says where it is.
func (s *service) named(body io.Reader) (source, error) {
	var request struct{ Path, URL string }
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&request)
	if err == nil {
		// To the end of the request, as in spool.
		if _, err = decoder.Token(); err == nil {
			err = errors.New("something follows the object")
		}
	}
	if err != io.EOF {
		return source{}, unread("the request's JSON", err)
	}
	switch {
	case (request.Path == "") == (request.URL == ""):
		return source{}, problem{http.StatusBadRequest, "expected either a path or a url"}
	case request.Path != "" && s.media == "", request.URL != "" && !s.urls:
		return source{}, problem{http.StatusForbidden, "the service was started without leave for that"}
	case request.Path != "":
		return s.below(request.Path)
	}
	address, err := url.Parse(request.URL)
	if err != nil || address.Scheme != "http" && address.Scheme != "https" {
		return source{}, problem{http.StatusBadRequest, "expected an http or https URL"}
	}
	return source{name: address.Redacted(), path: request.URL, network: true}, nil
}

// below is a file in the media folder, also after all links are followed.
func (s *service) below(name string) (source, error) {
	outside := problem{http.StatusForbidden, "the path leads out of the media folder"}
	if !filepath.IsLocal(name) {
		return source{}, outside
	}
	root, err := filepath.EvalSymlinks(s.media)
	if err != nil {
		return source{}, err
	}
	path, err := filepath.EvalSymlinks(filepath.Join(root, name))
	if err != nil {
		return source{}, problem{http.StatusNotFound, fmt.Sprintf("no file %q in the media folder", name)}
	}
	if inside, err := filepath.Rel(root, path); err != nil || !filepath.IsLocal(inside) {
		return source{}, outside
	}
	return source{name: name, path: path}, nil
}

func (s *service) embed(ctx context.Context, from source) ([]c4c.Segment, error) {
	options := &c4c.VideoOptions{AllowNetwork: from.network}
	if s.window > 0 {
		return s.model.Segments(ctx, from.path, s.window, s.window, options)
	}
	vector, err := s.model.EmbedVideo(ctx, from.path, options)
	if err != nil {
		return nil, err
	}
	return []c4c.Segment{{Vector: vector}}, nil
}

func (s *service) listVideos(w http.ResponseWriter, _ *http.Request) error {
	answer(w, http.StatusOK, map[string]any{"videos": s.index.list()})
	return nil
}

func (s *service) removeVideo(w http.ResponseWriter, r *http.Request) error {
	if !s.index.remove(r.PathValue("id")) {
		return problem{http.StatusNotFound, "no such video"}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *service) search(w http.ResponseWriter, r *http.Request) error {
	// Not r.FormValue, which writes a form's files to the disk, however large.
	values := r.URL.Query()
	query, limit := values.Get("q"), 10
	if query == "" {
		return problem{http.StatusBadRequest, "q is missing: what to look for"}
	}
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			return problem{http.StatusBadRequest, "limit is not a number from 1 to 1000"}
		}
		limit = n
	}
	vectors, err := s.model.EmbedText(r.Context(), query)
	if errors.Is(err, c4c.ErrInvalidArgument) {
		return problem{http.StatusBadRequest, "q is not UTF-8 without NUL"}
	}
	if err != nil {
		return err
	}
	results, err := s.index.search(vectors[0], limit)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, map[string]any{"query": query, "results": results})
	return nil
}

func (s *service) health(w http.ResponseWriter, _ *http.Request) error {
	if _, err := s.model.Stats(); err != nil {
		return err
	}
	io.WriteString(w, "ok\n")
	return nil
}
