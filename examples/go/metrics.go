package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// metrics is what the model has done, in Prometheus's text format.
func (s *service) metrics(w http.ResponseWriter, _ *http.Request) error {
	stats, err := s.model.Stats()
	if err != nil {
		return err
	}
	var text strings.Builder
	write := func(name, kind, help string, lines ...string) {
		fmt.Fprintf(&text, "# HELP c4c_%s %s\n# TYPE c4c_%s %s\n", name, help, name, kind)
		for _, line := range lines {
			fmt.Fprintf(&text, "c4c_%s%s\n", name, line)
		}
	}
	labelled := func(label, value string, n any) string { return fmt.Sprintf("{%s=%q} %v", label, value, n) }
	alone := func(n any) string { return fmt.Sprintf(" %v", n) }
	seconds := func(stage string, d time.Duration) string { return labelled("stage", stage, d.Seconds()) }

	write("videos", "gauge", "Videos in the index.", alone(s.index.len()))
	write("calls_total", "counter", "Calls that embed or score, begun.", alone(stats.Calls))
	write("calls_running", "gauge", "Calls that have not ended.", alone(stats.Running))
	write("calls_waiting", "gauge", "Calls that wait for room, and decoders for a core.", alone(stats.WaitingCalls))
	write("calls_failed_total", "counter", "Calls that ended early, by reason.",
		labelled("reason", "argument", stats.FailedArgument),
		labelled("reason", "media", stats.FailedMedia),
		labelled("reason", "memory", stats.FailedMemory),
		labelled("reason", "other", stats.FailedOther),
		labelled("reason", "cancelled", stats.Cancelled),
		labelled("reason", "timeout", stats.TimedOut))
	write("items_total", "counter", "Texts and images that went through the model.",
		labelled("kind", "text", stats.Texts), labelled("kind", "image", stats.Images))
	write("passes_total", "counter", "Forward passes.",
		labelled("kind", "text", stats.TextBatches), labelled("kind", "image", stats.ImageBatches))
	write("queued", "gauge", "Texts and images that wait for the model.",
		labelled("kind", "text", stats.QueuedTexts), labelled("kind", "image", stats.QueuedImages))
	write("held_bytes", "gauge", "Bytes that wait for the model or are in a pass.", alone(stats.BytesHeld))
	write("seconds_total", "counter", "Where time went, over all calls and threads.",
		seconds("queue", stats.Queue), seconds("decode", stats.Decode), seconds("preprocess", stats.Preprocess),
		seconds("text_forward", stats.TextForward), seconds("image_forward", stats.ImageForward))

	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	io.WriteString(w, text.String())
	return nil
}
