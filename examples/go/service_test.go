package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

var (
	weights = os.Getenv("C4C_TEST_WEIGHTS")
	video   = os.Getenv("C4C_TEST_VIDEO")
)

func TestMain(m *testing.M) {
	if os.Getenv("C4C_TEST_RUN_SERVICE") != "" {
		main() // for TestSignal
		return
	}
	if weights == "" || video == "" {
		fmt.Fprintln(os.Stderr, "C4C_TEST_WEIGHTS and C4C_TEST_VIDEO are not both set: a checkpoint and a video file")
		os.Exit(1)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	os.Exit(m.Run())
}

func load(t *testing.T, options c4c.Options) *c4c.Model {
	t.Helper()
	options.WeightsPath = weights
	model, err := c4c.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { model.Close() })
	return model
}

var usual = config{
	maxUpload: 1 << 20, maxUploads: 8, grace: time.Minute,
	uploadTimeout: time.Minute, embedTimeout: time.Minute, answerTimeout: time.Minute,
}

// start runs the service's handler with a model of its own.
func start(t *testing.T, change ...func(*config)) (address string, model *c4c.Model) {
	t.Helper()
	cfg := usual
	for _, f := range change {
		f(&cfg)
	}
	model = load(t, c4c.Options{})
	server := httptest.NewServer(newService(model, cfg).handler())
	t.Cleanup(server.Close)
	return server.URL, model
}

func form(t *testing.T, field, name string, content []byte) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile(field, name)
	if err != nil {
		t.Fatal(err)
	}
	part.Write(content)
	w.Close()
	return w.FormDataContentType(), b.Bytes()
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// request sends one, checks its status, and decodes the answer.
func request[T any](t *testing.T, status int, method, url, contentType string, body []byte) (answer T) {
	t.Helper()
	r, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != status {
		t.Fatalf("%s %s: %s %s, expected %d", method, url, response.Status, text, status)
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatalf("%s %s: %s: %v", method, url, text, err)
		}
	}
	return answer
}

func upload(t *testing.T, address, name string) entry {
	t.Helper()
	contentType, body := form(t, "video", name, read(t, video))
	return request[entry](t, http.StatusCreated, "POST", address+"/videos", contentType, body)
}

type (
	found  struct{ Results []result }
	listed struct{ Videos []entry }
	failed struct{ Error string }
)

func TestUploadSearchDelete(t *testing.T) {
	address, model := start(t)
	first, second := upload(t, address, "first.mp4"), upload(t, address, "second.mp4")
	if first.ID == second.ID || first.Name != "first.mp4" || first.Windows != 1 {
		t.Errorf("%+v, %+v", first, second)
	}
	results := request[found](t, http.StatusOK, "GET", address+"/search?q=a+dog+runs", "", nil).Results
	if len(results) != 2 || results[0].ID >= results[1].ID { // they fit equally
		t.Fatalf("%+v", results)
	}
	text, err := model.EmbedText(context.Background(), "a dog runs")
	if err != nil {
		t.Fatal(err)
	}
	vector, err := model.EmbedVideo(context.Background(), video, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := c4c.SimilarityFlat(text[0], vector, model.Dim())
	if err != nil {
		t.Fatal(err)
	}
	if d := want[0] - results[0].Score; d > 1e-6 || d < -1e-6 {
		t.Errorf("score %v, expected %v", results[0].Score, want[0])
	}
	if one := request[found](t, http.StatusOK, "GET", address+"/search?q=a&limit=1", "", nil); len(one.Results) != 1 {
		t.Errorf("%+v", one)
	}
	list := request[listed](t, http.StatusOK, "GET", address+"/videos", "", nil).Videos
	if len(list) != 2 || list[0].ID != first.ID || list[1].Name != "second.mp4" {
		t.Errorf("%+v", list)
	}
	request[any](t, http.StatusNoContent, "DELETE", address+"/videos/"+first.ID, "", nil)
	request[failed](t, http.StatusNotFound, "DELETE", address+"/videos/"+first.ID, "", nil)
	results = request[found](t, http.StatusOK, "GET", address+"/search?q=a+dog", "", nil).Results
	if len(results) != 1 || results[0].ID != second.ID {
		t.Errorf("%+v", results)
	}
}

func TestWindows(t *testing.T) {
	address, model := start(t, func(c *config) { c.window = 500 * time.Millisecond })
	if e := upload(t, address, "a.mp4"); e.Windows != 4 {
		t.Errorf("%+v", e)
	}
	results := request[found](t, http.StatusOK, "GET", address+"/search?q=a+dog", "", nil).Results
	if len(results) != 1 {
		t.Fatalf("%+v", results)
	}
	// The window that is named is the one that fits best.
	text, err := model.EmbedText(context.Background(), "a dog")
	if err != nil {
		t.Fatal(err)
	}
	segments, err := model.Segments(context.Background(), video, 500*time.Millisecond, 500*time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
	best := slices.MaxFunc(segments, func(a, b c4c.Segment) int {
		scores, err := c4c.Similarity(text, [][]float32{a.Vector, b.Vector})
		if err != nil {
			t.Fatal(err)
		}
		if scores[0][0] < scores[0][1] {
			return -1
		}
		return 1
	})
	if results[0].Start != best.Start.Seconds() || results[0].End != best.End.Seconds() {
		t.Errorf("%+v, expected %v to %v", results[0], best.Start, best.End)
	}
}

func TestRanking(t *testing.T) {
	x := index{videos: map[string]*entry{}}
	for name, windows := range map[string][][]float32{
		"worst": {{-1, 0}},
		"best":  {{0, 1}, {1, 0}, {0, -1}},
		"good":  {{1, 1}},
	} {
		var segments []c4c.Segment
		for i, v := range windows {
			segments = append(segments, c4c.Segment{Start: time.Duration(i) * time.Second, Vector: v})
		}
		x.add(name, segments)
	}
	results, err := x.search([]float32{2, 0}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[0].Name != "best" || results[0].Start != 1 || results[1].Name != "good" {
		t.Errorf("%+v", results)
	}
}

func TestNamedVideos(t *testing.T) {
	folder := t.TempDir()
	media := filepath.Join(folder, "media")
	if err := os.Mkdir(media, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(media, "in.mp4"), filepath.Join(folder, "out.mp4")} {
		if err := os.WriteFile(path, read(t, video), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../out.mp4", filepath.Join(media, "link.mp4")); err != nil {
		t.Fatal(err)
	}
	files := httptest.NewServer(http.FileServer(http.Dir(folder)))
	defer files.Close()

	address, _ := start(t, func(c *config) { c.media, c.urls = media, true })
	url := files.URL + "/out.mp4"
	for body, status := range map[string]int{
		`{"path": "in.mp4"}`:                       http.StatusCreated,
		`{"path": "none.mp4"}`:                     http.StatusNotFound,
		`{"path": "../out.mp4"}`:                   http.StatusForbidden,
		`{"path": "/etc/passwd"}`:                  http.StatusForbidden,
		`{"path": "link.mp4"}`:                     http.StatusForbidden,
		`{"url": "` + url + `"}`:                   http.StatusCreated,
		`{"url": "` + files.URL + `/none.mp4"}`:    http.StatusUnprocessableEntity,
		`{"url": "file:///etc/passwd"}`:            http.StatusBadRequest,
		`{"url": "` + url + `", "path": "in.mp4"}`: http.StatusBadRequest,
		`{}`:                   http.StatusBadRequest,
		`{"file": "in.mp4"}`:   http.StatusBadRequest,
		`{"path": "in.mp4"`:    http.StatusBadRequest,
		`{"path": "in.mp4"}x`:  http.StatusBadRequest,
		`{"path": "in.mp4"}{}`: http.StatusBadRequest,
		`{"path": "` + strings.Repeat("a", 1<<16) + `"}`: http.StatusRequestEntityTooLarge,
		`{"path": "\u0000"}`:                             http.StatusNotFound,
	} {
		request[any](t, status, "POST", address+"/videos", "application/json", []byte(body))
	}
	address, _ = start(t)
	for _, body := range []string{`{"path": "in.mp4"}`, `{"url": "` + url + `"}`} {
		request[failed](t, http.StatusForbidden, "POST", address+"/videos", "application/json", []byte(body))
	}
}

func TestBadRequests(t *testing.T) {
	spool := t.TempDir()
	t.Setenv("TMPDIR", spool)
	address, model := start(t, func(c *config) { c.maxUpload = 100_000 })
	videos := address + "/videos"
	post := func(status int, field string, content []byte) {
		t.Helper()
		contentType, body := form(t, field, "a.mp4", content)
		if answer := request[failed](t, status, "POST", videos, contentType, body); answer.Error == "" {
			t.Errorf("%d says nothing", status)
		}
	}
	post(http.StatusBadRequest, "file", read(t, video))
	post(http.StatusUnsupportedMediaType, "video", []byte("no video"))
	post(http.StatusUnsupportedMediaType, "video", nil)
	post(http.StatusRequestEntityTooLarge, "video", make([]byte, 200_000))
	post(http.StatusRequestEntityTooLarge, "other", make([]byte, 200_000))
	contentType, body := form(t, "video", "a.mp4", read(t, video))
	request[failed](t, http.StatusBadRequest, "POST", videos, contentType, body[:len(body)/2])
	request[failed](t, http.StatusBadRequest, "POST", videos, "multipart/form-data", body)
	request[failed](t, http.StatusUnsupportedMediaType, "POST", videos, "video/mp4", read(t, video))
	for _, query := range []string{"", "?q=", "?q=a&limit=0", "?q=a&limit=x", "?q=a&limit=1001", "?q=%ff", "?q=%00"} {
		request[failed](t, http.StatusBadRequest, "GET", address+"/search"+query, "", nil)
	}
	if left := spooled(spool); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	model.Close()
	request[failed](t, http.StatusServiceUnavailable, "GET", address+"/search?q=a", "", nil)
	request[failed](t, http.StatusServiceUnavailable, "GET", address+"/healthz", "", nil)
}

func TestTimeouts(t *testing.T) {
	address, _ := start(t, func(c *config) { c.embedTimeout = 1 })
	contentType, body := form(t, "video", "a.mp4", read(t, video))
	request[failed](t, http.StatusGatewayTimeout, "POST", address+"/videos", contentType, body)

	address, _ = start(t, func(c *config) { c.uploadTimeout = 50 * time.Millisecond })
	content, stop := io.Pipe()
	defer stop.Close()
	go stop.Write(body[:len(body)/2]) // and no more
	response, err := http.Post(address+"/videos", contentType, content)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestTimeout {
		t.Errorf("%s", response.Status)
	}
}

func TestMetricsAndHealth(t *testing.T) {
	address, _ := start(t)
	upload(t, address, "a.mp4")
	request[found](t, http.StatusOK, "GET", address+"/search?q=a", "", nil)
	get := func(path string) string {
		response, err := http.Get(address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, response.Status, err)
		}
		return string(text)
	}
	if text := get("/healthz"); text != "ok\n" {
		t.Error(text)
	}
	text := get("/metrics")
	for _, line := range []string{
		"\n# TYPE c4c_calls_total counter\nc4c_calls_total 2\n", "\nc4c_videos 1\n", "\nc4c_calls_running 0\n",
		"\nc4c_items_total{kind=\"text\"} 1\n", "\nc4c_calls_failed_total{reason=\"media\"} 0\n",
		"\nc4c_seconds_total{stage=\"decode\"} 0.",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing in:\n%s", line, text)
		}
	}
}

// held is a service whose model waits for more images than a video has: an upload is embedded until fill is called, or
// until it is cancelled.
type held struct {
	address  string
	model    *c4c.Model
	stop     context.CancelFunc // as a signal does
	stopped  chan error
	answered chan int // the upload's status; 0: none
	leave    context.CancelFunc
}

const pass = 200

func hold(t *testing.T, grace time.Duration) *held {
	contentType, body := form(t, "video", "a.mp4", read(t, video))
	return holdThis(t, grace, contentType, bytes.NewReader(body))
}

func holdThis(t *testing.T, grace time.Duration, contentType string, body io.Reader) *held {
	t.Helper()
	model := load(t, c4c.Options{MaxBatch: pass, MaxBatchDelay: time.Hour})
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	client, leave := context.WithCancel(context.Background())
	t.Cleanup(leave)
	h := &held{"http://" + listener.Addr().String(), model, stop, make(chan error, 1), make(chan int, 1), leave}
	cfg := usual
	cfg.grace, cfg.media = grace, filepath.Dir(video)
	go func() { h.stopped <- serve(ctx, listener, model, cfg) }()

	r, err := http.NewRequestWithContext(client, "POST", h.address+"/videos", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	go func() {
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			h.answered <- 0
			return
		}
		response.Body.Close()
		h.answered <- response.StatusCode
	}()
	h.eventually(t, "the upload being embedded", func(s c4c.Stats) bool { return s.QueuedImages > 0 })
	return h
}

func (h *held) eventually(t *testing.T, what string, is func(c4c.Stats) bool) {
	t.Helper()
	for range 10000 {
		stats, err := h.model.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if is(stats) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s did not happen", what)
}

// fill gives the model what it waits for.
func (h *held) fill(t *testing.T) {
	t.Helper()
	frame := c4c.Frame{Format: c4c.PixelGray8, Width: 1, Height: 1, Planes: [4][]byte{{1}}}
	frames := make([]c4c.Frame, pass)
	for i := range frames {
		frames[i] = frame
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // what is left over of these waits for company in its turn
	done := make(chan struct{})
	go func() {
		h.model.EmbedImages(ctx, frames...)
		close(done)
	}()
	h.eventually(t, "a pass", func(s c4c.Stats) bool { return s.ImageBatches > 0 })
	cancel()
	<-done
}

func TestShutdownWaitsForAnUpload(t *testing.T) {
	h := hold(t, time.Minute)
	h.stop()
	for { // until nobody listens any more
		connection, err := net.Dial("tcp", strings.TrimPrefix(h.address, "http://"))
		if err != nil {
			break
		}
		connection.Close()
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-h.stopped:
		t.Fatalf("stopped while an upload is embedded: %v", err)
	case status := <-h.answered:
		t.Fatalf("answered %d while the upload is embedded", status)
	default:
	}
	h.fill(t)
	if status := <-h.answered; status != http.StatusCreated {
		t.Errorf("the upload was answered with %d", status)
	}
	if err := <-h.stopped; err != nil {
		t.Error(err)
	}
	h.model.Close()
}

func TestShutdownCancelsWhatTakesTooLong(t *testing.T) {
	h := hold(t, time.Millisecond)
	h.stop()
	if status := <-h.answered; status != http.StatusServiceUnavailable {
		t.Errorf("the upload was answered with %d", status)
	}
	if err := <-h.stopped; err != nil {
		t.Error(err)
	}
	h.eventually(t, "the end of all calls", func(s c4c.Stats) bool { return s.Running == 0 && s.Cancelled == 1 })
}

func TestCallerThatGoesAway(t *testing.T) {
	uploaded := hold(t, time.Minute)
	// Without a length, so that the end of the body comes behind the JSON.
	path := `{"path": "` + filepath.Base(video) + `"}`
	named := holdThis(t, time.Minute, "application/json", struct{ io.Reader }{strings.NewReader(path)})
	for _, h := range []*held{uploaded, named} {
		h.leave()
		h.eventually(t, "the request being cancelled", func(s c4c.Stats) bool { return s.Running == 0 && s.Cancelled == 1 })
		h.stop()
		if err := <-h.stopped; err != nil {
			t.Error(err)
		}
	}
}

// spooled is the files in folder.
func spooled(folder string) []string {
	left, _ := filepath.Glob(filepath.Join(folder, "*"))
	return left
}

// half begins an upload, whose rest comes when finish is called, and tells its status.
func half(t *testing.T, address string) (status chan int, finish func()) {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	contentType, body := form(t, "video", "a.mp4", read(t, video))
	content, send := io.Pipe()
	t.Cleanup(func() { send.Close() })
	status = make(chan int, 1)
	go func() {
		response, err := http.Post(address+"/videos", contentType, content)
		if err != nil {
			status <- 0
			return
		}
		response.Body.Close()
		status <- response.StatusCode
	}()
	send.Write(body[:len(body)/2])
	for range 10000 {
		if len(spooled(folder)) > 0 {
			return status, func() { send.Write(body[len(body)/2:]); send.Close() }
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the upload did not begin")
	return nil, nil
}

func TestShutdownEndsAnUploadThatStillArrives(t *testing.T) {
	model := load(t, c4c.Options{})
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cfg := usual
	cfg.grace = time.Millisecond
	stopped := make(chan error, 1)
	go func() { stopped <- serve(ctx, listener, model, cfg) }()
	answered, _ := half(t, "http://"+listener.Addr().String())
	stop()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if status := <-answered; status != http.StatusServiceUnavailable {
		t.Errorf("the upload was answered with %d", status)
	}
	if left := spooled(os.Getenv("TMPDIR")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMaxUploads(t *testing.T) {
	address, _ := start(t, func(c *config) { c.maxUploads = 1 })
	answered, finish := half(t, address)
	contentType, body := form(t, "video", "b.mp4", read(t, video))
	request[failed](t, http.StatusServiceUnavailable, "POST", address+"/videos", contentType, body)
	finish()
	if status := <-answered; status != http.StatusCreated {
		t.Errorf("the first upload was answered with %d", status)
	}
	upload(t, address, "b.mp4")
}

// dial is a connection to the service, whose operations fail when they take too long.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	connection.SetDeadline(time.Now().Add(time.Minute))
	return connection
}

func TestBodiesThatNeverArrive(t *testing.T) {
	address, _ := start(t, func(c *config) { c.uploadTimeout = 50 * time.Millisecond })
	for _, line := range []string{
		"GET /healthz", "GET /videos", "DELETE /videos/1", "GET /metrics", "GET /search?q=a", "POST /videos", "PUT /videos",
		"GET /none",
	} {
		connection := dial(t, address)
		const fields = "Host: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
		fmt.Fprintf(connection, "%s HTTP/1.1\r\n%s", line, fields)
		if text, err := io.ReadAll(connection); err != nil || len(text) == 0 {
			t.Errorf("%s: %v after %q", line, err, text)
		}
	}
}

func TestCallerThatTakesNoAnswer(t *testing.T) {
	model := load(t, c4c.Options{})
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	cfg := usual
	cfg.uploadTimeout, cfg.embedTimeout, cfg.answerTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	go func() { stopped <- serve(ctx, listener, model, cfg) }()
	connection := dial(t, listener.Addr().String())
	connection.SetDeadline(time.Now().Add(20 * time.Second))
	for err == nil { // until the answers have filled all buffers, and then until the service gives up
		_, err = io.WriteString(connection, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the service waits for a caller who takes no answer")
	}
	stop()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// broken is an answer that cannot be written.
type broken struct {
	http.ResponseWriter
	statuses []int
}

func (b *broken) WriteHeader(status int)    { b.statuses = append(b.statuses, status) }
func (b *broken) Write([]byte) (int, error) { return 0, errors.New("the caller is gone") }

func TestAnswersThatCannotBeWritten(t *testing.T) {
	handler := newService(load(t, c4c.Options{}), usual).handler()
	for _, path := range []string{"/videos", "/search?q=a", "/healthz", "/metrics", "/search"} {
		w := &broken{ResponseWriter: httptest.NewRecorder()}
		handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if len(w.statuses) > 1 || slices.Contains(w.statuses, http.StatusInternalServerError) {
			t.Errorf("%s: %v", path, w.statuses)
		}
	}
}

func TestSearchReadsNoBody(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	contentType, body := form(t, "file", "a.mp4", make([]byte, 50<<20))
	r := httptest.NewRequest("GET", "/search?q=a", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	newService(load(t, c4c.Options{}), usual).handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK || len(spooled(folder)) != 0 {
		t.Errorf("%d, left behind: %v", w.Code, spooled(folder))
	}
	contentType, body = form(t, "q", "", []byte("a"))
	address, _ := start(t)
	request[failed](t, http.StatusBadRequest, "GET", address+"/search", contentType, body)
}

// What callers are told names what they sent, and nothing of this machine; passwords are in no log.
func TestErrorsAndNamesTellNoSecrets(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	media := t.TempDir()
	t.Setenv("TMPDIR", media)
	if err := os.WriteFile(filepath.Join(media, "text.mp4"), []byte("no video"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(video))))
	defer files.Close()
	url := strings.Replace(files.URL, "//", "//anna:secret@", 1) + "/"

	cfg := usual
	cfg.media, cfg.urls = media, true
	server := httptest.NewServer(newService(load(t, c4c.Options{Logger: slog.Default()}), cfg).handler())
	videos := server.URL + "/videos"
	contentType, body := form(t, "video", "mine.mp4", []byte("no video"))
	told := []string{
		request[failed](t, http.StatusUnsupportedMediaType, "POST", videos, contentType, body).Error,
		request[failed](t, http.StatusUnsupportedMediaType, "POST", videos, "application/json",
			[]byte(`{"path": "text.mp4"}`)).Error,
		request[failed](t, http.StatusUnprocessableEntity, "POST", videos, "application/json",
			[]byte(`{"url": "`+url+`none.mp4"}`)).Error,
	}
	for i, name := range []string{"mine.mp4", "text.mp4", "none.mp4"} {
		if !strings.Contains(told[i], name) || strings.Contains(told[i], media) || strings.Contains(told[i], "secret") {
			t.Errorf("told: %s", told[i])
		}
	}
	body = []byte(`{"url": "` + url + filepath.Base(video) + `"}`)
	added := request[entry](t, http.StatusCreated, "POST", videos, "application/json", body)
	if strings.Contains(added.Name, "secret") || !strings.HasSuffix(added.Name, filepath.Base(video)) {
		t.Errorf("listed: %s", added.Name)
	}
	server.Close()
	if text := log.String(); strings.Contains(text, "secret") || !strings.Contains(text, "C4C_E_MEDIA_FORMAT") {
		t.Errorf("logged: %s", text)
	}
}

func TestBadCommandLines(t *testing.T) {
	for _, test := range []struct{ arguments, says string }{
		{"-listen localhost:0 more", "more"}, {"-max-uploads 0", "-max-uploads"},
		{"-media /no/such/folder", "-media"}, {"-media " + video, "no folder"},
	} {
		program := exec.Command(os.Args[0], append([]string{"-weights", "/none"}, strings.Fields(test.arguments)...)...)
		program.Env = append(os.Environ(), "C4C_TEST_RUN_SERVICE=1")
		if text, err := program.CombinedOutput(); err == nil || !strings.Contains(string(text), test.says) {
			t.Errorf("%s: %v, %s", test.arguments, err, text)
		}
	}
}

// The whole program, ended by a signal.
func TestSignal(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		program := exec.Command(os.Args[0], "-weights", weights, "-listen", "localhost:0")
		program.Env = append(os.Environ(), "C4C_TEST_RUN_SERVICE=1")
		logged, err := program.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := program.Start(); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		lines := bufio.NewScanner(logged)
		for lines.Scan() {
			fmt.Fprintln(&text, lines.Text())
			_, after, listening := strings.Cut(lines.Text(), "listening address=")
			if !listening {
				continue
			}
			address, _, _ := strings.Cut(after, " ")
			upload(t, "http://"+address, "a.mp4")
			if err := program.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
		}
		if err := program.Wait(); err != nil || !strings.Contains(text.String(), "stopping") {
			t.Errorf("%v: %v\n%s", signal, err, text.String())
		}
	}
}
