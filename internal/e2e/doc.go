// Package e2e holds the tests in which a whole call goes through: a real livekit-server, LiveKit's unmodified SDKs, a fake
// Meta with real ICE, DTLS and Opus, and the connector between them as its program builds it.
package e2e
