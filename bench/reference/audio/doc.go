// Package audio measures the audio path of livekit-connector beside media-sdk, which this module has and
// livekit-connector's has not.
//
// Its program is a test binary, because fake time (testing/synctest) exists in tests only: `go test -c` builds it,
// `audio.test -part quality -out FILE` runs a part of the benchmark and writes a section of the report, which the program
// in bench does. Without -part it is an ordinary test: a few cells, with gates.
package audio
