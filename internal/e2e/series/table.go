package series

// Sets that several metrics share.
var (
	directions = []string{"inbound", "outbound"}
	flows      = []string{"to_phone", "to_room"}
	legs       = []string{"meta", "room"}
	ways       = []string{"rx", "tx"}
	modes      = []string{"relay", "mix"}
	methods    = []string{
		"AcceptWhatsAppCall", "ConnectTwilioCall", "ConnectWhatsAppCall", "DialWhatsAppCall", "DisconnectWhatsAppCall",
		"ReadCall", "ReadCalls", "ReadPermission", "unknown",
	}
	actions = []string{"accept", "call_permissions", "connect", "messages", "pre_accept", "reject", "settings", "terminate"}
)

// All are the metrics, in the order in which docs/metrics.md tells of them.
func All() []Metric {
	var all []Metric
	for _, part := range [][]Metric{calls(), sound(), packets(), outside(), port(), capacity(), process()} {
		all = append(all, part...)
	}
	return all
}

func calls() []Metric {
	return []Metric{
		{Name: "calls_active", Kind: Gauge, Labels: Labels{"direction": directions}},
		{Name: "calls_by_mode", Kind: Gauge, Labels: Labels{"mode": modes}},
		{Name: "calls_total", Kind: Counter, Labels: Labels{
			"direction": directions,
			"result":    {"success", "client_error", "server_error", "upstream_error", "indeterminate"},
			"reason": {
				"business_hangup", "client_failed", "connect_failed", "duplicate_identity", "left_alone", "max_duration",
				"internal_error", "media_lost", "media_not_received", "media_timeout", "meta_closed", "meta_closed_unanswered", "meta_failed",
				"meta_refused", "meta_timeout", "no_answer", "no_sdp_answer", "participant_removed", "rejected", "room_deleted",
				"room_join_failed", "room_lost", "room_not_ready", "setup_timeout", "shutdown", "stuck", "unanswered", "unknown",
				"user_hangup",
			},
		}},
		{Name: "call_duration_seconds", Kind: Histogram, Labels: Labels{"direction": directions}},
		{Name: "call_setup_seconds", Kind: Histogram, Labels: Labels{
			"direction": directions,
			"stage": {
				"offer", "graph", "sdp_answer", "ringing", "ice", "dtls", "room", "room_ready", "answered", "published",
				"first_audio",
			},
		}},
		{Name: "reaped_calls_total", Kind: Counter, Labels: Labels{"reason": {"media_lost", "media_timeout", "room_lost", "stuck"}}},
		{Name: "node_available", Kind: Gauge},
		{Name: "ready", Kind: Gauge, Labels: Labels{"check": {"capacity", "draining", "livekit", "started"}}},
	}
}

func sound() []Metric {
	return []Metric{
		{Name: "media_added_latency_seconds", Kind: Histogram, Labels: Labels{"flow": flows, "mode": modes}},
		{Name: "call_mos", Kind: Histogram, Labels: Labels{"flow": flows}},
		{Name: "call_loss_ratio", Kind: Histogram, Labels: Labels{"flow": flows}},
		{Name: "call_jitter_seconds", Kind: Histogram, Labels: Labels{"leg": legs, "flow": ways}},
		{Name: "call_rtt_seconds", Kind: Histogram, Labels: Labels{"leg": legs}},
		{Name: "call_buffer_seconds", Kind: Histogram, Labels: Labels{"flow": flows}},
		{Name: "call_clock_drift_ratio", Kind: Histogram},
		{Name: "call_findings_total", Kind: Counter, Labels: Labels{"finding": {
			"caller_track_missing", "caller_track_unsubscribed", "dtls_failed", "dtls_not_done", "gate_not_accepted",
			"gate_not_picked_up", "ice_lost", "ice_no_pair", "loss_from_phone", "loss_to_phone", "meta_receives_nothing",
			"meta_reported_failure", "meta_reports_stopped", "phone_sends_nothing", "phone_sends_silence",
			"phone_stopped_sending", "phone_too_quiet", "phone_unknown_payload", "room_empty", "room_no_track",
			"room_not_joined", "room_offline", "room_too_quiet", "room_track_codec", "room_track_encrypted", "room_track_muted",
			"room_track_no_packets", "room_track_silent", "room_track_unsubscribed", "sdp_answer_missing",
		}}},
		{Name: "room_tracks_refused_total", Kind: Counter, Labels: Labels{"reason": {"codec", "encrypted"}}},
		{Name: "dtmf_total", Kind: Counter, Labels: Labels{
			"direction": flows, "outcome": {"dropped", "early", "invalid", "off", "sent", "unsupported"},
		}},
	}
}

func packets() []Metric {
	return []Metric{
		{Name: "rtp_packets_total", Kind: Counter, Labels: Labels{"leg": legs, "flow": ways}},
		{Name: "rtp_packets_lost_total", Kind: Counter, Labels: Labels{"leg": legs, "flow": ways}},
		{Name: "rtp_packets_late_total", Kind: Counter, Labels: Labels{"leg": legs}},
		{Name: "frames_total", Kind: Counter, Labels: Labels{"flow": flows, "kind": {"mixed", "relayed", "silence"}}},
		{Name: "frames_hidden_total", Kind: Counter, Labels: Labels{"flow": flows, "by": {"concealment", "redundancy"}}},
		{Name: "audio_seconds_total", Kind: Counter, Labels: Labels{"flow": flows, "mode": {"relay", "mix", "silence"}}},
		{Name: "audio_switches_total", Kind: Counter, Labels: Labels{"flow": flows, "to": {"mix", "relay", "silence", "source"}}},
		{Name: "audio_stalls_total", Kind: Counter, Labels: Labels{"flow": flows}},
		{Name: "encode_seconds_total", Kind: Counter, Labels: Labels{"flow": flows}},
		{Name: "clock_skipped_ticks_total", Kind: Counter},
	}
}

func outside() []Metric {
	return []Metric{
		{Name: "graph_requests_total", Kind: Counter, Labels: Labels{"action": actions, "outcome": {
			"success", "already_done", "already_over", "client_error", "rate_limited", "upstream_error", "timeout", "canceled",
			"transport",
		}}},
		{Name: "graph_request_duration_seconds", Kind: Histogram, Labels: Labels{"action": actions}},
		{Name: "api_requests_total", Kind: Counter, Labels: Labels{"method": methods, "code": {
			"ok", "canceled", "unknown", "invalid_argument", "malformed", "deadline_exceeded", "not_found", "bad_route",
			"already_exists", "permission_denied", "unauthenticated", "resource_exhausted", "failed_precondition", "aborted",
			"out_of_range", "unimplemented", "internal", "unavailable", "data_loss",
		}}},
		{Name: "api_request_duration_seconds", Kind: Histogram, Labels: Labels{"method": methods}},
		{Name: "webhooks_total", Kind: Counter, When: "webhook.path", Labels: Labels{"outcome": {
			"taken", "unknown", "verified", "verification_refused", "method", "encoded", "too_large", "truncated", "unsigned",
			"forged", "limited", "busy", "full", "closing",
		}}},
		{Name: "webhook_response_seconds", Kind: Histogram, When: "webhook.path"},
		{Name: "webhook_events_total", Kind: Counter, When: "webhook.path", Labels: Labels{
			"event": {"connect_inbound", "connect_outbound", "terminate", "ringing", "accepted", "rejected", "other"},
			"outcome": {
				"done", "duplicate", "taken", "ended", "stale", "foreign_number", "other_app", "unknown_call", "ignored", "rejected",
				"no_rule", "refused", "malformed", "failed", "left",
			},
		}},
		{Name: "webhook_event_lag_seconds", Kind: Histogram, When: "webhook.path"},
		{Name: "webhook_queue_length", Kind: Gauge, When: "webhook.path"},
		{Name: "webhook_forwards_total", Kind: Counter, When: "webhook.path", Labels: Labels{
			"outcome": {"done", "retried", "failed", "dropped", "left"},
		}},
		{Name: "webhook_forward_queue_length", Kind: Gauge, When: "webhook.path"},
		{Name: "events_total", Kind: Counter, When: "events.urls", Labels: Labels{
			"event":   {"call.created", "call.ringing", "call.answered", "call.ended"},
			"outcome": {"delivered", "refused", "failed", "overflow", "shutdown"},
		}},
		{Name: "event_delivery_seconds", Kind: Histogram, When: "events.urls"},
		{Name: "events_queued", Kind: Gauge, When: "events.urls"},
		{Name: "rules", Kind: Gauge, When: "rules_file"},
		{Name: "rules_reloads_total", Kind: Counter, When: "rules_file", Labels: Labels{"outcome": {"loaded", "unchanged", "failed"}}},
	}
}

// port is what the API's port tells of whoever comes to it.
func port() []Metric {
	return []Metric{
		{Name: "http_connections", Kind: Gauge},
		{Name: "http_connections_refused_total", Kind: Counter, Labels: Labels{"limit": {"total", "address"}}},
		{Name: "requests_limited_total", Kind: Counter, Labels: Labels{"for": {"api", "livekit", "webhook"}}},
		{Name: "tls_certificate_expiry_timestamp_seconds", Kind: Gauge, When: "tls.cert_file"},
		{Name: "tls_certificate_reloads_total", Kind: Counter, When: "tls.cert_file", Labels: Labels{"outcome": {"taken", "refused"}}},
	}
}

func capacity() []Metric {
	return []Metric{
		{Name: "capacity_used_ratio", Kind: Gauge, Labels: Labels{"resource": {"calls", "files", "cpu", "memory"}}},
		{Name: "capacity_calls", Kind: Gauge},
		{Name: "capacity_cpu_cores", Kind: Gauge},
		{Name: "capacity_memory_bytes", Kind: Gauge},
		{Name: "call_cost_cores", Kind: Gauge, Labels: Labels{"mode": modes}},
		{Name: "admission_refused_total", Kind: Counter, Labels: Labels{"limit": {"max_active_calls", "calls_per_key", "calls_per_number", "open_files", "cpu", "memory"}}},
		{Name: "draining", Kind: Gauge},
		{Name: "drain_calls_left", Kind: Gauge},
		{Name: "drain_deadline_timestamp_seconds", Kind: Gauge},
	}
}

func process() []Metric {
	return []Metric{
		{Name: "panics_total", Kind: Counter, Labels: Labels{"where": {
			"http", "api", "webhook", "event", "bus", "call", "audio", "sweeper", "probe",
		}}},
		{Name: "log_lines_lost_total", Kind: Counter, Labels: Labels{"reason": {"full", "failed"}}},
		{Name: "build_info", Kind: Gauge, Labels: Labels{"version": {Any}, "commit": {Any}, "goversion": {Any}}},
	}
}
