package whatsapp

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// Settings are the calling settings of a phone number, as far as they matter to calls. A setting that was never made is empty.
type Settings struct {
	Status                   string // "ENABLED" or "DISABLED"
	CallIconVisibility       string // "DEFAULT" or "DISABLE_ALL"
	CallbackPermissionStatus string
	SRTPKeyExchange          string // "DTLS" or "SDES"
	SIPStatus                string // "ENABLED" makes Meta refuse Graph calls
	VoicemailStatus          string
	VoicemailTriggers        []string // "REJECT", "TIMEOUT"
	CallHoursStatus          string
	CallHoursTimezone        string
	AdditionalCodecs         []string // beside Opus: "PCMA", "PCMU"
	Restrictions             []Restriction
}

// Restriction is something Meta does not let the number do for a while.
type Restriction struct {
	Type       string
	Reason     string
	Expiration time.Time // zero if not said
}

// Problems returns, in words for an operator, why calls through Graph would fail with these settings; nil if nothing speaks against.
func (s Settings) Problems() []string {
	var problems []string
	if s.Status != "ENABLED" {
		problems = append(problems, "calling is not enabled on the number")
	}
	if s.SIPStatus == "ENABLED" {
		problems = append(problems, "SIP is enabled on the number, so Meta refuses calls through Graph (131055)")
	}
	if s.SRTPKeyExchange == "SDES" {
		problems = append(problems, "the SRTP key exchange is SDES; calls through Graph need DTLS")
	}
	for _, r := range s.Restrictions {
		problems = append(problems, "the number is restricted: "+cut(r.Type, 64))
	}
	if slices.Contains(s.VoicemailTriggers, "TIMEOUT") && s.VoicemailStatus == "ENABLED" {
		problems = append(problems, "voicemail answers on timeout and may take a call before we accept it")
	}
	return problems
}

type settingsBody struct {
	Status                   flexString `json:"status"`
	CallIconVisibility       flexString `json:"call_icon_visibility"`
	CallbackPermissionStatus flexString `json:"callback_permission_status"`
	SRTPKeyExchange          flexString `json:"srtp_key_exchange_protocol"`
	SIP                      struct {
		Status flexString `json:"status"`
	} `json:"sip"`
	Voicemail struct {
		Status   flexString  `json:"status"`
		Triggers flexStrings `json:"triggers"`
	} `json:"voicemail"`
	CallHours struct {
		Status   flexString `json:"status"`
		Timezone flexString `json:"timezone_id"`
	} `json:"call_hours"`
	Audio struct {
		AdditionalCodecs flexStrings `json:"additional_codecs"`
	} `json:"audio"`
	Restrictions restrictionsBody `json:"restrictions"`
}

type restrictionsBody struct {
	List flexList[struct {
		Type       flexString `json:"type"`
		Reason     flexString `json:"reason"`
		Expiration flexTime   `json:"expiration"`
	}] `json:"restrictions_list"`
}

// Settings reads the calling settings of the phone number. The token needs whatsapp_business_management.
func (c *Client) Settings(ctx context.Context, creds Credentials) (Settings, error) {
	body, err := c.read(ctx, creds, ActionSettings, nil, "")
	if err != nil {
		return Settings{}, err
	}
	var reply struct {
		Calling      settingsBody     `json:"calling"`
		Restrictions restrictionsBody `json:"restrictions"`
	}
	// It is a JSON object; members of a wrong type stay zero.
	_ = json.Unmarshal(body, &reply)
	from := reply.Calling
	s := Settings{
		Status:                   string(from.Status),
		CallIconVisibility:       string(from.CallIconVisibility),
		CallbackPermissionStatus: string(from.CallbackPermissionStatus),
		SRTPKeyExchange:          string(from.SRTPKeyExchange),
		SIPStatus:                string(from.SIP.Status),
		VoicemailStatus:          string(from.Voicemail.Status),
		VoicemailTriggers:        from.Voicemail.Triggers,
		CallHoursStatus:          string(from.CallHours.Status),
		CallHoursTimezone:        string(from.CallHours.Timezone),
		AdditionalCodecs:         from.Audio.AdditionalCodecs,
	}
	for _, r := range slices.Concat(from.Restrictions.List, reply.Restrictions.List) {
		s.Restrictions = append(s.Restrictions, Restriction{string(r.Type), string(r.Reason), time.Time(r.Expiration)})
	}
	return s, nil
}
