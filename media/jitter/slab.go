package jitter

const (
	// blockSize suits speech: 20 ms of Opus at up to 51 kb/s is one block, of G.711
	// two.
	blockSize = 128
	// blocks bounds what one source can make us hold: 16 KB, which is 2.5 s at 51 kb/s and
	// half a second at 256 kb/s.
	blocks = 128
	none   = -1
)

// slab stores payloads in chains of blocks of one fixed piece of memory.
type slab struct {
	data []byte
	next [blocks]int16
	free int16 // head of the chain of free blocks
	left int
}

func (s *slab) init() {
	if s.data == nil {
		s.data = make([]byte, blocks*blockSize)
	}
	for i := range s.next {
		s.next[i] = int16(i + 1)
	}
	s.next[blocks-1] = none
	s.free, s.left = 0, blocks
}

// fits reports whether n bytes can be stored.
func (s *slab) fits(n int) bool { return (n+blockSize-1)/blockSize <= s.left }

// store copies b, which must fit, and returns where it is.
func (s *slab) store(b []byte) (head int16) {
	head = none
	last := int16(none)
	for len(b) > 0 {
		i := s.free
		s.free = s.next[i]
		s.next[i] = none
		s.left--
		if last == none {
			head = i
		} else {
			s.next[last] = i
		}
		last = i
		b = b[copy(s.block(i), b):]
	}
	return head
}

// load appends the n bytes at head to dst.
func (s *slab) load(dst []byte, head int16, n int) []byte {
	for i := head; i != none && n > 0; i = s.next[i] {
		part := min(n, blockSize)
		dst = append(dst, s.block(i)[:part]...)
		n -= part
	}
	return dst
}

// release gives the blocks at head back.
func (s *slab) release(head int16) {
	for i := head; i != none; {
		next := s.next[i]
		s.next[i] = s.free
		s.free = i
		s.left++
		i = next
	}
}

func (s *slab) block(i int16) []byte {
	return s.data[int(i)*blockSize : (int(i)+1)*blockSize]
}
