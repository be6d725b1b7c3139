package c4c_test

import (
	"os"
	"os/signal"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// What Go's runtime has set up for signals stays, and signals that come while the library works do it
// no harm.
func TestSignals(t *testing.T) {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGUSR1)
	defer signal.Stop(heard)
	masks := func() []string {
		status := must(os.ReadFile("/proc/self/status"))(t)
		return regexp.MustCompile(`Sig(Ign|Cgt):.*`).FindAllString(string(status), -1)
	}
	before := masks()
	m := load(t)
	want := must(m.EmbedVideo(background, video, nil))(t)

	stop := make(chan struct{})
	var sender sync.WaitGroup
	sender.Add(1)
	go func() {
		defer sender.Done()
		for {
			select {
			case <-stop:
				return
			default:
				syscall.Kill(syscall.Getpid(), syscall.SIGUSR1)
				pause()
			}
		}
	}()
	<-heard
	for range 20 {
		if !slices.Equal(must(m.EmbedVideo(background, video, nil))(t), want) {
			t.Error("another vector while signals come")
		}
		<-heard
	}
	close(stop)
	sender.Wait()
	m.Close()
	if after := masks(); len(before) != 2 || !slices.Equal(before, after) {
		t.Errorf("signals before: %v, after: %v", before, after)
	}
}
