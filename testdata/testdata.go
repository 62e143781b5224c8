// Package testdata holds the files that tests and demonstrations share: published session descriptions of
// Meta's calling service, and two speech recordings.
package testdata

import "embed"

// SDP holds the session descriptions under sdp/, CRLF line ends preserved.
//
//go:embed sdp/*.sdp
var SDP embed.FS

// Audio holds the recordings under audio/: WAV, 16 bit, mono, 16 kHz.
//
//go:embed audio/*.wav
var Audio embed.FS
