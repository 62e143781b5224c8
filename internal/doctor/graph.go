package doctor

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// Codes and subcodes of the Graph API about tokens and rights (Meta: Graph API, handle errors).
const (
	codeParameter    = 100
	codeSession      = 102
	codeToken        = 190
	subcodeNoObject  = 33
	subcodePassword  = 460
	subcodeExpired   = 463
	subcodeNotLasted = 467
)

// tokenSoon is how long before its end a token is worth a warning.
const tokenSoon = 7 * 24 * time.Hour

// Permissions of a token, by Meta's names: without the first no call can be placed or answered, without the second the
// settings cannot be read.
const (
	scopeMessaging  = "whatsapp_business_messaging"
	scopeManagement = "whatsapp_business_management"
)

const newTokenRemedy = "make a lasting token of a system user (README, Without code, step 1) and set it as access_token of the number"

// graph asks whether anything answers at all.
func (e *examination) graph(context.Context) []Line {
	if err := e.graphAnswers(); err != nil {
		return one(failed(fmt.Sprintf("nothing answers at %s: %s", e.o.Graph.URL, err),
			"open outgoing HTTPS to it, mend whatsapp.graph_url, or set HTTPS_PROXY"))
	}
	return one(good("%s answers", e.o.Graph.URL))
}

// settingsFound is what Meta says of one number: its settings, or why not.
type settingsFound struct {
	settings whatsapp.Settings
	err      error
}

// readSettings asks for the settings of each number that has a token.
func (e *examination) readSettings(ctx context.Context) []settingsFound {
	found := make([]settingsFound, len(e.o.Graph.Numbers))
	client, err := whatsapp.NewClient(whatsapp.Options{
		BaseURL: e.o.Graph.URL, HTTPClient: e.client, AttemptTimeout: e.o.Graph.Timeout, Attempts: 2, UserAgent: "livekit-connector-doctor",
	})
	for i, n := range e.o.Graph.Numbers {
		if err != nil {
			found[i].err = err
			continue
		}
		if n.Credentials.AccessToken != "" {
			found[i].settings, found[i].err = client.Settings(ctx, n.Credentials)
		}
	}
	return found
}

// eachNumber examines every number that has a token, if Meta answers.
func (e *examination) eachNumber(examine func(Number, settingsFound) []Line) []Line {
	if len(e.o.Graph.Numbers) == 0 {
		return one(skipped("whatsapp.numbers is empty: requests bring their own token"))
	}
	if e.graphAnswers() != nil {
		return one(skipped("see graph"))
	}
	var lines []Line
	for i, n := range e.o.Graph.Numbers {
		if n.Credentials.AccessToken == "" {
			lines = append(lines, skipped("%s has no access token: requests bring their own", n.label()))
			continue
		}
		lines = append(lines, examine(n, e.settings()[i])...)
	}
	return lines
}

// token tells a token that Meta takes from one that is wrong, has expired or may too little.
func (e *examination) token(ctx context.Context) []Line {
	return e.eachNumber(func(n Number, found settingsFound) []Line {
		if l, bad := refusedToken(n, found.err); bad {
			return one(l)
		}
		info, told := e.inspect(ctx, n)
		switch answered, ok := errors.AsType[*whatsapp.APIError](found.err); {
		case told:
			return one(info.judge(n))
		case found.err == nil, ok && answered.Code != 0 && answered.HTTPStatus < 500: // it was another thing that Meta refused
			return one(good("%s: Meta accepts the token", n.label()))
		default:
			return one(skipped("%s: see number", n.label()))
		}
	})
}

// refusedToken reads a refusal that is the token's fault.
func refusedToken(n Number, err error) (Line, bool) {
	refused, ok := errors.AsType[*whatsapp.APIError](err)
	if !ok || refused.Code != codeToken && refused.Code != codeSession {
		return Line{}, false
	}
	text := "is wrong"
	switch refused.Subcode {
	case subcodeExpired:
		text = "has expired"
	case subcodePassword, subcodeNotLasted:
		text = "is no longer valid"
	}
	return failed(fmt.Sprintf("%s: the access token %s (%d)", n.label(), text, refused.Code), newTokenRemedy), true
}

// tokenInfo is what debug_token says of a token (Meta: Graph API reference, debug_token).
type tokenInfo struct {
	AppID     string   `json:"app_id"`
	ExpiresAt int64    `json:"expires_at"` // Unix seconds, 0: never
	Valid     bool     `json:"is_valid"`
	Scopes    []string `json:"scopes"`
	Granular  []struct {
		Scope   string   `json:"scope"`
		Targets []string `json:"target_ids"` // accounts; absent: all
	} `json:"granular_scopes"`
}

// inspect asks Meta about a token, by the token itself. Meta does not tell everybody.
func (e *examination) inspect(ctx context.Context, n Number) (tokenInfo, bool) {
	var reply struct {
		Data *tokenInfo `json:"data"`
	}
	body, err := e.graphGet(ctx, n, "debug_token", url.Values{"input_token": {n.Credentials.AccessToken}})
	if err != nil || json.Unmarshal(body, &reply) != nil || reply.Data == nil || reply.Data.AppID == "" {
		return tokenInfo{}, false
	}
	return *reply.Data, true
}

func (t tokenInfo) judge(n Number) Line {
	ends := time.Unix(t.ExpiresAt, 0)
	switch {
	case !t.Valid:
		return failed(n.label()+": Meta says that the token is not valid", newTokenRemedy)
	case len(t.Scopes) > 0 && !slices.Contains(t.Scopes, scopeMessaging):
		return failed(n.label()+": the token lacks "+scopeMessaging+", without which there are no calls", newTokenRemedy)
	case t.ExpiresAt > 0 && time.Until(ends) < tokenSoon:
		return doubtful(fmt.Sprintf("%s: the token ends on %s", n.label(), ends.UTC().Format(time.DateTime)), newTokenRemedy)
	case len(t.Scopes) > 0 && !slices.Contains(t.Scopes, scopeManagement):
		return doubtful(n.label()+": the token lacks "+scopeManagement+", so the settings cannot be examined", newTokenRemedy)
	case t.ExpiresAt > 0:
		return good("%s: Meta accepts the token, until %s", n.label(), ends.UTC().Format(time.DateOnly))
	default:
		return good("%s: Meta accepts the token, which never ends", n.label())
	}
}

// appSecret sends the same request with a proof that is made of token and app secret, which Meta checks wherever it gets one
// (Meta: Graph API, secure requests).
func (e *examination) appSecret(ctx context.Context) []Line {
	return e.eachNumber(func(n Number, found settingsFound) []Line {
		switch {
		case n.AppSecret == "":
			return one(skipped("%s has no app_secret of its own", n.label()))
		case found.err != nil:
			return one(skipped("%s: see token and number", n.label()))
		}
		mac := hmac.New(sha256.New, []byte(n.AppSecret))
		mac.Write([]byte(n.Credentials.AccessToken))
		proof := hex.EncodeToString(mac.Sum(nil))
		_, err := e.graphGet(ctx, n, url.PathEscape(n.Credentials.PhoneNumberID)+"/settings", url.Values{"appsecret_proof": {proof}})
		switch {
		case err == nil:
			return one(good("%s: Meta has nothing against it", n.label()))
		case strings.Contains(err.Error(), "appsecret_proof"):
			return one(failed(n.label()+": the app secret is not that of the token's app, so every webhook is refused",
				"copy app_secret anew from Meta's app dashboard, App settings, Basic"))
		default:
			return one(doubtful(fmt.Sprintf("%s: cannot be told: %s", n.label(), err), "run again"))
		}
	})
}

// number reads the settings as calls need them.
func (e *examination) number(context.Context) []Line {
	return e.eachNumber(func(n Number, found settingsFound) []Line {
		if found.err != nil {
			return one(e.unreadable(n, found.err))
		}
		return e.judgeSettings(n, found.settings)
	})
}

func (e *examination) unreadable(n Number, err error) Line {
	if _, bad := refusedToken(n, err); bad {
		return skipped("%s: see token", n.label())
	}
	refused, ok := errors.AsType[*whatsapp.APIError](err)
	switch {
	case !ok:
		return failed(fmt.Sprintf("%s: Meta cannot be asked: %s", n.label(), brief(err)), "see graph, dns and proxy; run again")
	case refused.Code == codeParameter && refused.Subcode == subcodeNoObject:
		return failed(n.label()+": the token sees no phone number with this ID",
			"check the ID under WhatsApp, API setup (it is not the number), and assign the account to the token's system user")
	case forbidden(err):
		return doubtful(fmt.Sprintf("%s: the token may not read the settings (%d)", n.label(), refused.Code),
			"give it "+scopeManagement+" and the account; without that nobody can tell whether calls are enabled")
	default:
		return failed(fmt.Sprintf("%s: %s", n.label(), brief(err)), "see Meta's text; run again if it is temporary")
	}
}

// forbidden says whether Meta knows the token, but lets it not do this (Meta: Graph API, handle errors).
func forbidden(err error) bool {
	refused, ok := errors.AsType[*whatsapp.APIError](err)
	return ok && (refused.Code == 3 || refused.Code == 10 || refused.Code >= 200 && refused.Code <= 299)
}

// brief is an error without what everybody knows before it.
func brief(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "graph settings: "), "whatsapp: ")
}

const settingsRemedy = `POST {"calling":%s} to the number's /settings (README, Without code, step 5)`

func (e *examination) judgeSettings(n Number, s whatsapp.Settings) []Line {
	var lines []Line
	add := func(make func(found, remedy string) Line, found, remedy string) {
		lines = append(lines, make(n.label()+": "+found, remedy))
	}
	if s.Status != "ENABLED" {
		add(failed, "calling is not enabled", fmt.Sprintf(settingsRemedy, `{"status":"ENABLED"}`))
	}
	if s.SIPStatus == "ENABLED" {
		add(failed, "SIP is enabled, so Meta refuses calls by its Graph API (131055) and sends no webhooks of calls",
			fmt.Sprintf(settingsRemedy, `{"sip":{"status":"DISABLED"}}`))
	}
	if s.SRTPKeyExchange == "SDES" {
		add(failed, "media is encrypted by SDES, and the connector speaks DTLS", fmt.Sprintf(settingsRemedy, `{"srtp_key_exchange_protocol":"DTLS"}`))
	}
	for _, r := range s.Restrictions {
		text, remedy := restricted(r)
		add(failed, text, remedy)
	}
	if s.VoicemailStatus == "ENABLED" && slices.Contains(s.VoicemailTriggers, "TIMEOUT") {
		add(doubtful, "voicemail answers calls that ring for a while, maybe before the agent does", "take TIMEOUT out of voicemail.triggers, or have its timeout above setup_timeout")
	}
	if s.CallIconVisibility == "DISABLE_ALL" {
		add(doubtful, "users see no call button", fmt.Sprintf(settingsRemedy, `{"call_icon_visibility":"DEFAULT"}`)+", unless calls are to come by links alone")
	}
	if e.o.Graph.G711 && len(s.AdditionalCodecs) == 0 {
		add(doubtful, "media.g711 has no effect: the settings list neither PCMU nor PCMA", fmt.Sprintf(settingsRemedy, `{"audio":{"additional_codecs":["PCMA","PCMU"]}}`))
	}
	if len(lines) == 0 {
		lines = one(good("%s: %s", n.label(), facts(s)))
	}
	return lines
}

func restricted(r whatsapp.Restriction) (text, remedy string) {
	text = "Meta restricts the number: " + r.Type
	if r.Reason != "" {
		text += " (" + r.Reason + ")"
	}
	remedy = "look at the number's quality in WhatsApp Manager"
	if !r.Expiration.IsZero() {
		text += " until " + r.Expiration.UTC().Format(time.DateTime) + " UTC"
		remedy += "; it ends by itself"
	}
	return text, remedy
}

// facts is what is worth to know of settings that are good.
func facts(s whatsapp.Settings) string {
	facts := []string{"calling is enabled, SIP off, media by DTLS, no restrictions"}
	if s.CallbackPermissionStatus != "" {
		facts = append(facts, "a user's call permits calling back: "+strings.ToLower(s.CallbackPermissionStatus))
	}
	if s.CallHoursStatus == "ENABLED" {
		facts = append(facts, "users can call in the call hours alone ("+s.CallHoursTimezone+")")
	}
	if len(s.AdditionalCodecs) > 0 {
		facts = append(facts, "codecs beside Opus: "+strings.Join(s.AdditionalCodecs, ", "))
	}
	return strings.Join(facts, "; ")
}

// graphGet sends one request that changes nothing. Its error is Meta's text, or that nothing came.
func (e *examination) graphGet(ctx context.Context, n Number, path string, query url.Values) ([]byte, error) {
	if e.o.Graph.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, e.o.Graph.Timeout)
		defer cancel()
	}
	where := strings.TrimRight(e.o.Graph.URL, "/") + "/v" + n.Credentials.Version + "/" + path
	if len(query) > 0 {
		where += "?" + query.Encode()
	}
	a, err := e.get(ctx, where, http.Header{"Authorization": {"Bearer " + n.Credentials.AccessToken}})
	if err != nil {
		return nil, err
	}
	if a.status == http.StatusOK {
		return a.body, nil
	}
	var refused struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(a.body, &refused) != nil || refused.Error.Message == "" {
		return nil, fmt.Errorf("HTTP %d", a.status)
	}
	return nil, errors.New(refused.Error.Message)
}
