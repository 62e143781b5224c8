package main

import (
	"fmt"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// maxChecks is how often an ICE pair is checked: Pion's default of 7 is over before Meta knows of the answer.
const maxChecks = 50

// newPeerConnection makes one with Pion's default interceptors and what Meta's offers need beside the defaults.
func newPeerConnection() (*webrtc.PeerConnection, error) {
	settings := webrtc.SettingEngine{}
	if err := settings.SetAnsweringDTLSRole(webrtc.DTLSRoleClient); err != nil { // Meta's relay is ice-lite and waits
		return nil, fmt.Errorf("set dtls role: %w", err)
	}
	settings.SetICEMaxBindingRequests(maxChecks)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	// The relay of the benchmark is on loopback.
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})

	codecs := &webrtc.MediaEngine{}
	for _, codec := range []webrtc.RTPCodecParameters{
		// Without an fmtp: Pion drops a codec whose own differs from Meta's.
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: sampleRate, Channels: 2}, PayloadType: 111},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/telephone-event", ClockRate: 8000}, PayloadType: 126},
	} {
		if err := codecs.RegisterCodec(codec, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, fmt.Errorf("register codec: %w", err)
		}
	}
	interceptors := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(codecs, interceptors); err != nil {
		return nil, fmt.Errorf("register interceptors: %w", err)
	}
	pc, err := webrtc.NewAPI(
		webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(codecs), webrtc.WithInterceptorRegistry(interceptors),
	).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, fmt.Errorf("make peer connection: %w", err)
	}
	return pc, nil
}
