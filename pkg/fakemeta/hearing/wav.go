package hearing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	wavHeader = 44
	wavPCM    = 1
	// wavMax keeps a broken header from asking for the machine's memory.
	wavMax = 1 << 30
)

// ErrWAV is returned for what is no 16-bit mono PCM WAV file.
var ErrWAV = errors.New("hearing: not a 16-bit mono PCM WAV file")

// ReadWAV reads a 16-bit mono PCM WAV file and skips the chunks it does not know.
func ReadWAV(r io.Reader) (pcm []int16, rate int, err error) {
	var riff [12]byte
	if _, err = io.ReadFull(r, riff[:]); err != nil {
		return nil, 0, fmt.Errorf("read WAV header: %w", err)
	}
	if string(riff[:4]) != "RIFF" || string(riff[8:]) != "WAVE" {
		return nil, 0, ErrWAV
	}
	for {
		var head [8]byte
		if _, err = io.ReadFull(r, head[:]); err != nil {
			return nil, 0, fmt.Errorf("read WAV chunk: %w", err)
		}
		size := int64(binary.LittleEndian.Uint32(head[4:]))
		switch string(head[:4]) {
		case "fmt ":
			if rate, err = readFormat(r, size); err != nil {
				return nil, 0, err
			}
		case "data":
			if rate == 0 {
				return nil, 0, ErrWAV
			}
			if pcm, err = readSamples(r, size); err != nil {
				return nil, 0, err
			}
			return pcm, rate, nil
		default:
			if _, err = io.CopyN(io.Discard, r, size+size%2); err != nil {
				return nil, 0, fmt.Errorf("skip WAV chunk: %w", err)
			}
		}
	}
}

func readFormat(r io.Reader, size int64) (rate int, err error) {
	if size < 16 || size > 1024 {
		return 0, ErrWAV
	}
	f := make([]byte, size+size%2)
	if _, err = io.ReadFull(r, f); err != nil {
		return 0, fmt.Errorf("read WAV format: %w", err)
	}
	le := binary.LittleEndian
	rate = int(le.Uint32(f[4:]))
	if le.Uint16(f) != wavPCM || le.Uint16(f[2:]) != 1 || le.Uint16(f[14:]) != 16 || rate == 0 {
		return 0, ErrWAV
	}
	return rate, nil
}

// readSamples reads size bytes of samples, or to the end if the file was piped and
// does not know its own size.
func readSamples(r io.Reader, size int64) ([]int16, error) {
	b, err := io.ReadAll(io.LimitReader(r, min(size, wavMax)))
	if err != nil {
		return nil, fmt.Errorf("read WAV samples: %w", err)
	}
	pcm := make([]int16, len(b)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return pcm, nil
}

// WriteWAV writes pcm as a 16-bit mono WAV file.
func WriteWAV(w io.Writer, pcm []int16, rate int) error {
	b := make([]byte, 0, wavHeader+2*len(pcm))
	le := binary.LittleEndian
	size := uint32(2 * len(pcm))
	b = append(b, "RIFF"...)
	b = le.AppendUint32(b, size+wavHeader-8)
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, wavPCM)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(2*rate))
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = le.AppendUint32(b, size)
	for _, s := range pcm {
		b = le.AppendUint16(b, uint16(s))
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write WAV: %w", err)
	}
	return nil
}
