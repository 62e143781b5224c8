package main

import (
	"fmt"
	"io"
	"sync"
)

// printer writes whole pieces of text, so that those of different calls do not mix.
type printer struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

// printf writes one piece. A terminal that is gone is nobody to tell.
func (p *printer) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.w, format, args...)
}
