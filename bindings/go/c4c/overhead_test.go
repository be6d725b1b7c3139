package c4c_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/libc4c/libc4c/bindings/go/internal/cloop"
)

// How much longer a call of one text takes from Go than from C, on the same model, in turns of 20 calls
// each, so that both see the same machine. Medians are compared, and their 99th percentiles.
func BenchmarkOverhead(b *testing.B) {
	const block, text = 20, "a dog runs on the beach"
	m := load(b)
	vector := make([]float32, m.Dim())
	took := make([]time.Duration, block)
	measure := func(b *testing.B, ctx context.Context) {
		var inC, inGo []time.Duration
		for len(inC) < b.N {
			if err := cloop.EmbedText(m.Handle(), text, took, vector); err != nil {
				b.Fatal(err)
			}
			inC = append(inC, took...)
			for range block {
				start := time.Now()
				if _, err := m.EmbedText(ctx, text); err != nil {
					b.Fatal(err)
				}
				inGo = append(inGo, time.Since(start))
			}
		}
		slices.Sort(inC)
		slices.Sort(inGo)
		us := func(times []time.Duration, percent int) float64 {
			return float64(times[len(times)*percent/100]) / float64(time.Microsecond)
		}
		b.ReportMetric(us(inC, 50), "C-µs/op")
		b.ReportMetric(us(inGo, 50), "Go-µs/op")
		b.ReportMetric(us(inGo, 50)-us(inC, 50), "overhead-µs/op")
		b.ReportMetric(us(inGo, 99)-us(inC, 99), "overhead-p99-µs/op")
		b.ReportMetric(0, "ns/op") // of both together
	}
	b.Run("no limits", func(b *testing.B) { measure(b, context.Background()) })
	b.Run("cancellable", func(b *testing.B) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		measure(b, ctx)
	})
}
