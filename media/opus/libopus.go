package opus

/*
#cgo pkg-config: opus
#include <opus.h>

// opus_encoder_ctl takes variable arguments, which cgo cannot pass.
static int encoder_set(OpusEncoder *e, int request, opus_int32 value) {
	return opus_encoder_ctl(e, request, value);
}

static int encoder_reset(OpusEncoder *e) {
	return opus_encoder_ctl(e, OPUS_RESET_STATE);
}

static int decoder_reset(OpusDecoder *d) {
	return opus_decoder_ctl(d, OPUS_RESET_STATE);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// Error is a failure that libopus reports.
type Error int

func (e Error) Error() string {
	return fmt.Sprintf("libopus: %s (%d)", C.GoString(C.opus_strerror(C.int(e))), int(e))
}

// Requests of opus_encoder_ctl (opus_defines.h).
const (
	setBitrate     = C.OPUS_SET_BITRATE_REQUEST
	setComplexity  = C.OPUS_SET_COMPLEXITY_REQUEST
	setInbandFEC   = C.OPUS_SET_INBAND_FEC_REQUEST
	setPacketLoss  = C.OPUS_SET_PACKET_LOSS_PERC_REQUEST
	setIndependent = C.OPUS_SET_PREDICTION_DISABLED_REQUEST
	// setForceMode is for the library's own tests, and in its private header only
	// (src/opus_private.h, OPUS_SET_FORCE_MODE_REQUEST and MODE_CELT_ONLY).
	setForceMode = 11002
)

const (
	modeAuto = C.OPUS_AUTO
	modeCELT = 1002
)

const (
	applicationVoIP     = C.OPUS_APPLICATION_VOIP
	applicationLowDelay = C.OPUS_APPLICATION_RESTRICTED_LOWDELAY
	bitrateAuto         = C.OPUS_AUTO
)

// state is memory of Go's that libopus works in. Its types hold no pointers into
// it, so that nothing has to be freed; words make it aligned.
type state []uint64

func newState(bytes C.int) state {
	return make(state, (int(bytes)+7)/8)
}

func (s state) encoder() *C.OpusEncoder { return (*C.OpusEncoder)(unsafe.Pointer(&s[0])) }
func (s state) decoder() *C.OpusDecoder { return (*C.OpusDecoder)(unsafe.Pointer(&s[0])) }

// refused says that libopus did not begin to work on what it was given.
func refused(err error) bool {
	var e Error
	return errors.As(err, &e) && (e == C.OPUS_INVALID_PACKET || e == C.OPUS_BAD_ARG || e == C.OPUS_BUFFER_TOO_SMALL)
}

func check(code C.int) error {
	if code < 0 {
		return Error(code)
	}
	return nil
}

func encoderState(channels int) state { return newState(C.opus_encoder_get_size(C.int(channels))) }
func decoderState(channels int) state { return newState(C.opus_decoder_get_size(C.int(channels))) }

func (s state) initEncoder(sampleRate, channels, application int) error {
	return check(C.opus_encoder_init(s.encoder(), C.opus_int32(sampleRate), C.int(channels), C.int(application)))
}

func (s state) initDecoder(sampleRate, channels int) error {
	return check(C.opus_decoder_init(s.decoder(), C.opus_int32(sampleRate), C.int(channels)))
}

func (s state) resetEncoder() error { return check(C.encoder_reset(s.encoder())) }
func (s state) resetDecoder() error { return check(C.decoder_reset(s.decoder())) }

func (s state) set(request, value int) error {
	return check(C.encoder_set(s.encoder(), C.int(request), C.opus_int32(value)))
}

// encode needs len(pcm) and len(packet) above zero.
func (s state) encode(pcm []int16, samples int, packet []byte) (int, error) {
	n := C.opus_encode(s.encoder(), (*C.opus_int16)(&pcm[0]), C.int(samples), (*C.uchar)(&packet[0]), C.opus_int32(len(packet)))
	return int(n), check(n)
}

// decode conceals when packet is empty and reads its redundancy with fec. It
// needs len(pcm) above zero.
func (s state) decode(packet []byte, pcm []int16, fec bool) (int, error) {
	var data *C.uchar
	if len(packet) > 0 {
		data = (*C.uchar)(&packet[0])
	}
	var flag C.int
	if fec {
		flag = 1
	}
	n := C.opus_decode(s.decoder(), data, C.opus_int32(len(packet)), (*C.opus_int16)(&pcm[0]), C.int(len(pcm)), flag)
	return int(n), check(n)
}

func packetSamples(packet []byte, sampleRate int) (int, error) {
	n := C.opus_packet_get_nb_samples((*C.uchar)(&packet[0]), C.opus_int32(len(packet)), C.opus_int32(sampleRate))
	return int(n), check(n)
}

func version() string { return C.GoString(C.opus_get_version_string()) }
