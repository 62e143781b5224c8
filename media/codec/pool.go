package codec

import "sync"

// pool holds what is unused, the last one put away on top: its memory is the most
// likely to be in a cache still. The zero value keeps nothing.
type pool[T any] struct {
	most int // constant

	mu   sync.Mutex
	idle []T // guarded by mu
}

func (p *pool[T]) take() (v T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return v, false
	}
	v = p.idle[last]
	clear(p.idle[last:])
	p.idle = p.idle[:last]
	return v, true
}

// put keeps v unless there are enough.
func (p *pool[T]) put(v T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) < p.most {
		p.idle = append(p.idle, v)
	}
}

func (p *pool[T]) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}
