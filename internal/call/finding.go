package call

// Flow is a direction of audio.
type Flow string

// The flows.
const (
	FlowToPhone Flow = "to_phone"
	FlowToRoom  Flow = "to_room"
	FlowBoth    Flow = "both"
)

// Layer is where something is wrong.
type Layer string

// The layers, from the network to what is said.
const (
	LayerICE   Layer = "ice"
	LayerDTLS  Layer = "dtls"
	LayerGate  Layer = "gate"
	LayerMeta  Layer = "meta"
	LayerRoom  Layer = "room"
	LayerTrack Layer = "track"
	LayerMedia Layer = "media"
)

// Finding is one thing that is wrong with a call's sound. Code is one of FindingCodes.
type Finding struct {
	Code      string
	Direction Flow
	Layer     Layer
	// Problem is what is wrong, Remedy what to do about it, in plain words.
	Problem, Remedy string
}

// symptom is a finding without the numbers of a call.
type symptom uint8

const (
	metaFailed symptom = iota
	answerMissing
	noPair
	pathLost
	handshakePending
	handshakeFailed
	roomNotJoined
	notAccepted
	notPickedUp
	roomOffline
	roomEmpty
	phoneSendsNothing
	phoneUnknownPayload
	phoneStopped
	phoneSilent
	callerTrackMissing
	callerTrackUnheard
	noTrack
	trackEncrypted
	trackCodec
	trackMuted
	trackUnsubscribed
	trackNoPackets
	trackSilent
	metaReceivesNothing
	metaReportsStopped
	lossFromPhone
	lossToPhone
	phoneQuiet
	roomQuiet
)

// symptoms are all findings. The codes are part of the API.
var symptoms = [...]Finding{
	metaFailed: {
		"meta_reported_failure", FlowBoth, LayerMeta, "Meta ended the call with an error of its own",
		"look the code up in Meta's table of calling errors; 138021 and 138023 mean that the phone received nothing, 138022 that it sent nothing",
	},
	answerMissing: {
		"sdp_answer_missing", FlowBoth, LayerMeta, "Meta's SDP answer has not arrived, so no media can be connected",
		"hand the SDP of Meta's connect webhook over with ConnectWhatsAppCall, or let the connector receive the webhooks itself",
	},
	noPair: {
		"ice_no_pair", FlowBoth, LayerICE, "no packet gets through to Meta's media relay: ICE found no candidate pair",
		"allow outgoing UDP to any address and port, and answers to it; see rtc.interfaces, rtc.ips and, for networks without UDP, rtc.ice_servers",
	},
	pathLost: {
		"ice_lost", FlowBoth, LayerICE, "the path to Meta's media relay was lost: it no longer answers ICE checks",
		"look for a firewall or NAT that forgets UDP flows, and for a changed address of this host; often the phone just lost its network",
	},
	handshakePending: {
		"dtls_not_done", FlowBoth, LayerDTLS, "ICE has a path to Meta, but the DTLS handshake does not finish",
		"hand Meta's SDP over unchanged (a=setup, a=fingerprint), and let UDP packets of 1200 bytes through",
	},
	handshakeFailed: {
		"dtls_failed", FlowBoth, LayerDTLS, "the DTLS handshake with Meta failed: the certificate does not fit the SDP, or nothing in common was found",
		"hand Meta's SDP over unchanged and to the call that it belongs to; set the number's srtp_key_exchange_protocol to DTLS",
	},
	roomNotJoined: {
		"room_not_joined", FlowBoth, LayerRoom, "the caller is not in the LiveKit room",
		"check that livekit-server answers at ws_url and reaches this host by UDP or TCP; the call's endError and the log say more",
	},
	notAccepted: {
		"gate_not_accepted", FlowBoth, LayerGate, "the call is not answered yet: nothing may be sent before Meta took our accept",
		"with wait_until_answered somebody in the room has to publish audio first: check that the agent is dispatched and starts",
	},
	notPickedUp: {
		"gate_not_picked_up", FlowBoth, LayerGate, "the phone has not been picked up yet: nothing is sent while it rings",
		"wait; if the user did pick up, check that Meta's ACCEPTED status reaches the connector's webhook",
	},
	roomOffline: {
		"room_offline", FlowBoth, LayerRoom, "the connection to LiveKit is lost and being made anew",
		"check livekit-server and the network to it; the call ends if it does not come back in 30 s",
	},
	roomEmpty: {
		"room_empty", FlowBoth, LayerRoom, "nobody but the caller is in the room",
		"check the room's name, and that an agent is dispatched and registered under that name, or let somebody join",
	},
	phoneSendsNothing: {
		"phone_sends_nothing", FlowToRoom, LayerMeta, "no audio packet has come from Meta",
		"the phone may have no network or no microphone permission; if all calls are so, check that UDP answers from Meta are let in",
	},
	phoneUnknownPayload: {
		"phone_unknown_payload", FlowToRoom, LayerMeta, "Meta sends audio in a format that its SDP did not say (unknown RTP payload type)",
		"hand Meta's SDP over unchanged and to the call that it belongs to",
	},
	phoneStopped: {
		"phone_stopped_sending", FlowToRoom, LayerMeta, "Meta has stopped sending audio",
		"most often the phone lost its network or was put on hold; the call ends by media_timeout unless it comes back",
	},
	phoneSilent: {
		"phone_sends_silence", FlowToRoom, LayerMedia, "the phone sends packets, but there is only silence in them",
		"the user is muted, or WhatsApp may not use the phone's microphone",
	},
	callerTrackMissing: {
		"caller_track_missing", FlowToRoom, LayerTrack, "the caller's track is not in the room",
		"check the log for why it could not be published",
	},
	callerTrackUnheard: {
		"caller_track_unsubscribed", FlowToRoom, LayerTrack, "nobody in the room subscribes to the caller's track",
		"let agent or client subscribe (auto-subscribe, or setSubscribed for participants of kind CONNECTOR), with a token that grants canSubscribe",
	},
	noTrack: {
		"room_no_track", FlowToPhone, LayerTrack, "nobody in the room has published audio",
		"let agent or client publish a microphone track, with a token that grants canPublish",
	},
	trackEncrypted: {
		"room_track_encrypted", FlowToPhone, LayerTrack, "the room's audio is end-to-end encrypted, and a phone has no key",
		"publish without end-to-end encryption in rooms with phones",
	},
	trackCodec: {
		"room_track_codec", FlowToPhone, LayerTrack, "the room's audio is in a codec that is neither Opus nor G.711",
		"publish Opus",
	},
	trackMuted: {
		"room_track_muted", FlowToPhone, LayerTrack, "the room's audio is muted",
		"unmute the track",
	},
	trackUnsubscribed: {
		"room_track_unsubscribed", FlowToPhone, LayerTrack, "the room has audio, but the connector does not receive it",
		"check whether the publisher's track permissions exclude the caller, and whether livekit-server reaches this host for media",
	},
	trackNoPackets: {
		"room_track_no_packets", FlowToPhone, LayerMedia, "a track of the room is subscribed, but no audio comes on it",
		"check that the agent or client writes audio to its track, and that its own media connection to livekit-server is up",
	},
	trackSilent: {
		"room_track_silent", FlowToPhone, LayerMedia, "the room's packets hold only silence",
		"check the microphone of who speaks, or what the agent's speech synthesis delivers",
	},
	metaReceivesNothing: {
		"meta_receives_nothing", FlowToPhone, LayerMeta, "Meta reports that it receives nothing of what we send",
		"look for a firewall that lets the start of the call out, but not its media (packet rate, size, or an idle timeout)",
	},
	metaReportsStopped: {
		"meta_reports_stopped", FlowToPhone, LayerMeta, "Meta no longer reports what it receives of us",
		"most often the phone's end of the call is gone; if audio from the phone stopped too, so is the network path",
	},
	lossFromPhone: {
		"loss_from_phone", FlowToRoom, LayerMedia, "many of the phone's packets are lost on their way from Meta",
		"the phone's mobile network most often; if all calls are so, the network of this host",
	},
	lossToPhone: {
		"loss_to_phone", FlowToPhone, LayerMedia, "many of our packets are lost on their way to Meta",
		"check the network of this host for congestion; media.opus.expected_loss guards what is encoded",
	},
	phoneQuiet: {
		"phone_too_quiet", FlowToRoom, LayerMedia, "what the phone says is hardly audible",
		"set media.gain_to_room or media.agc_to_room",
	},
	roomQuiet: {
		"room_too_quiet", FlowToPhone, LayerMedia, "what the room says is hardly audible",
		"raise the level of who speaks, or set media.gain_to_phone or media.agc_to_phone",
	},
}

// Findings are all that Diagnose can find, without the numbers of a call.
func Findings() []Finding { return append([]Finding(nil), symptoms[:]...) }

// FindingCodes are all the codes that a finding can have, for label sets.
func FindingCodes() []string {
	codes := make([]string, len(symptoms))
	for i := range symptoms {
		codes[i] = symptoms[i].Code
	}
	return codes
}
