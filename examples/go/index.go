package main

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"github.com/libc4c/libc4c/bindings/go/c4c"
)

// entry is a video in the index. It does not change once it is there.
type entry struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Added   time.Time `json:"added"`
	Windows int       `json:"windows"`

	times   []window
	vectors []float32 // of all windows, one behind the other
}

// window is a part of a video.
type window struct{ start, end time.Duration }

// result is a video that was found, and its window that fits best.
type result struct {
	ID    string  `json:"id"`
	Name  string  `json:"name"`
	Score float32 `json:"score"` // cosine
	Start float64 `json:"start"` // seconds
	End   float64 `json:"end"`   // seconds; 0: to the end
}

// index is the videos that can be found, in memory.
type index struct {
	mu     sync.RWMutex
	videos map[string]*entry
}

func (x *index) add(name string, windows []c4c.Segment) *entry {
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		panic(err) // the system has no random numbers
	}
	e := &entry{ID: hex.EncodeToString(id), Name: name, Added: time.Now(), Windows: len(windows)}
	for _, w := range windows {
		e.times = append(e.times, window{w.Start, w.End})
		e.vectors = append(e.vectors, w.Vector...)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.videos[e.ID] = e
	return e
}

// remove tells whether there was such a video.
func (x *index) remove(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, found := x.videos[id]
	delete(x.videos, id)
	return found
}

func (x *index) len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.videos)
}

// list is all videos, in the order of their coming.
func (x *index) list() []*entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	list := make([]*entry, 0, len(x.videos))
	for _, e := range x.videos {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int { return cmp.Or(a.Added.Compare(b.Added), cmp.Compare(a.ID, b.ID)) })
	return list
}

// search is the videos that fit a text's vector best, at most limit of them, the best first, and by their ids
// where they fit equally.
func (x *index) search(query []float32, limit int) ([]result, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	results := make([]result, 0, len(x.videos))
	for _, e := range x.videos {
		scores, err := c4c.SimilarityFlat(query, e.vectors, len(query))
		if err != nil {
			return nil, err
		}
		best := 0
		for i, score := range scores {
			if score > scores[best] {
				best = i
			}
		}
		at := e.times[best]
		results = append(results, result{
			ID: e.ID, Name: e.Name, Score: scores[best], Start: at.start.Seconds(), End: at.end.Seconds(),
		})
	}
	slices.SortFunc(results, func(a, b result) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
	})
	return results[:min(limit, len(results))], nil
}
