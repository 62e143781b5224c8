package fakemeta

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// Codes of the calling API, from the table on Meta's troubleshooting page. "Webhook only" ones come in the
// terminate webhook of a call that failed; all others answer a request.
const (
	CodeInvalidParameter       = 100
	CodePermissionDenied       = 200
	CodeInvalidToken           = 190
	CodeUnknownPath            = 2500
	CodeDeprecatedVersion      = 2635
	CodePermissionQueryLimit   = 613
	CodeVoiceCallNotSupported  = 131009
	CodeSomethingWentWrong     = 131000
	CodeServiceUnavailable     = 131016
	CodeNotOnAllowList         = 131030
	CodePaymentMethod          = 131044
	CodeSIPEnabled             = 131055
	CodeRateLimit              = 130429
	CodeAppRateLimit           = 4
	CodeBusinessRateLimit      = 80007
	CodeCallingNotEnabled      = 138000
	CodeUncallable             = 138001
	CodeConcurrentCalls        = 138002
	CodeDuplicateCall          = 138003
	CodeConnectionError        = 138004
	CodeInitiationLimit        = 138005
	CodeNoPermission           = 138006
	CodeConnectTimeout         = 138007
	CodeSDPInvalid             = 138008
	CodePermissionRequestLimit = 138009
	CodeNoConversation         = 138011
	CodeCallLimit              = 138012
	CodeNotAvailable           = 138013
	CodeTemporarilyDisabled    = 138014
	CodeMessagingLimit         = 138015
	CodePermissionExists       = 138017
	CodeNoSubscription         = 138018
	CodeClientSetup            = 138019 // webhook only
	CodeClientRelay            = 138020 // webhook only
	CodeNoMediaToClient        = 138021 // webhook only
	CodeNoMediaFromClient      = 138022 // webhook only
	CodeNoMediaSignals         = 138023 // webhook only
)

// codeEntry is what Meta says with a code.
type codeEntry struct {
	status  int
	message string
}

var codeTable = map[int]codeEntry{
	CodeInvalidParameter:       {http.StatusBadRequest, "Invalid parameter"},
	CodePermissionDenied:       {http.StatusForbidden, "You do not have the necessary permissions required to make this call"},
	CodeInvalidToken:           {http.StatusUnauthorized, "Invalid OAuth access token - Cannot parse access token"},
	CodeUnknownPath:            {http.StatusBadRequest, "Unknown path components"},
	CodeDeprecatedVersion:      {http.StatusBadRequest, "You are calling a deprecated version of the Ads API. Please update to the latest version"},
	CodePermissionQueryLimit:   {http.StatusTooManyRequests, "Fetch call permission API limit hit"},
	CodeVoiceCallNotSupported:  {http.StatusBadRequest, "Interactive message type voice_call not supported"},
	CodeSomethingWentWrong:     {http.StatusInternalServerError, "Something went wrong"},
	CodeServiceUnavailable:     {http.StatusServiceUnavailable, "Service unavailable"},
	CodeNotOnAllowList:         {http.StatusBadRequest, "Recipient phone number not in allowed list"},
	CodePaymentMethod:          {http.StatusBadRequest, "No valid payment method"},
	CodeSIPEnabled:             {http.StatusBadRequest, "Graph API calls are not allowed: the number is SIP enabled"},
	CodeRateLimit:              {http.StatusTooManyRequests, "Rate limit hit"},
	CodeAppRateLimit:           {http.StatusTooManyRequests, "Application request limit reached"},
	CodeBusinessRateLimit:      {http.StatusTooManyRequests, "Rate limit issues"},
	CodeCallingNotEnabled:      {http.StatusUnauthorized, "Calling is not enabled on this phone number"},
	CodeUncallable:             {http.StatusBadRequest, "Receiver is uncallable"},
	CodeConcurrentCalls:        {http.StatusTooManyRequests, "Concurrent calls limit reached"},
	CodeDuplicateCall:          {http.StatusBadRequest, "Duplicate call"},
	CodeConnectionError:        {http.StatusInternalServerError, "Connection error"},
	CodeInitiationLimit:        {http.StatusTooManyRequests, "Call rate limit exceeded"},
	CodeNoPermission:           {http.StatusUnauthorized, "No approved call permission found"},
	CodeConnectTimeout:         {http.StatusInternalServerError, "Connect timeout"},
	CodeSDPInvalid:             {http.StatusBadRequest, "SDP Validation error"},
	CodePermissionRequestLimit: {http.StatusBadRequest, "Call permission request limit hit"},
	CodeNoConversation:         {http.StatusBadRequest, "No conversation before the call permission request"},
	CodeCallLimit:              {http.StatusBadRequest, "Business initiated calls limit reached"},
	CodeNotAvailable:           {http.StatusBadRequest, "Business initiated calling is not available"},
	CodeTemporarilyDisabled:    {http.StatusBadRequest, "Calling is temporarily disabled"},
	CodeMessagingLimit:         {http.StatusBadRequest, "Calling cannot be enabled: messaging limit too low"},
	CodePermissionExists:       {http.StatusBadRequest, "Permanent call permission already exists"},
	CodeNoSubscription:         {http.StatusBadRequest, "Calling cannot be enabled: no app is subscribed to calls"},
	CodeClientSetup:            {http.StatusBadRequest, "WhatsApp client failed to set up the call"},
	CodeClientRelay:            {http.StatusBadRequest, "WhatsApp client could not reach the relay"},
	CodeNoMediaToClient:        {http.StatusBadRequest, "WhatsApp client terminated the call due to not receiving any media for a long time"},
	CodeNoMediaFromClient:      {http.StatusBadRequest, "WhatsApp client terminated the call due to not transmitting any media for a long time"},
	CodeNoMediaSignals:         {http.StatusBadRequest, "Call was accepted but ended without media signals"},
}

// Codes returns every error code this package can produce, ascending.
func Codes() []int {
	codes := make([]int, 0, len(codeTable))
	for c := range codeTable {
		codes = append(codes, c)
	}
	slices.Sort(codes)
	return codes
}

// CodeStatus returns the HTTP status that belongs to an error code: 400 for codes that are not in the table.
func CodeStatus(code int) int {
	if e, ok := codeTable[code]; ok {
		return e.status
	}
	return http.StatusBadRequest
}

func codeMessage(code int) string {
	if e, ok := codeTable[code]; ok {
		return e.message
	}
	return "Unknown error"
}

// graphError is one refusal of the Graph API.
type graphError struct {
	status        int
	code, subcode int
	message       string
	details       string
	garbage       string // sent as it is instead of an error object
}

func (e *graphError) Error() string { return fmt.Sprintf("code %d: %s", e.code, e.details) }

// refusal builds the error of a code with its documented status and text.
func refusal(code int, details string) *graphError {
	return &graphError{status: CodeStatus(code), code: code, message: codeMessage(code), details: details}
}

// write answers w with the error object.
func (e *graphError) write(w http.ResponseWriter) {
	trace := traceID()
	w.Header().Set("X-Fb-Trace-Id", trace)
	if e.garbage != "" {
		w.WriteHeader(e.status)
		_, _ = io.WriteString(w, e.garbage) //nolint:gosec // the test asked for these very bytes
		return
	}
	if e.status == http.StatusUnauthorized && e.code == CodeInvalidToken {
		w.Header().Set("WWW-Authenticate", `OAuth "Facebook Platform" "invalid_token" "`+e.message+`"`)
	}
	type errorData struct {
		MessagingProduct string `json:"messaging_product"`
		Details          string `json:"details"`
	}
	type object struct {
		Message   string     `json:"message"`
		Type      string     `json:"type"`
		Code      int        `json:"code"`
		Subcode   int        `json:"error_subcode,omitempty"`
		ErrorData *errorData `json:"error_data,omitempty"`
		Trace     string     `json:"fbtrace_id"`
	}
	o := object{
		Message: fmt.Sprintf("(#%d) %s", e.code, e.message), Type: "OAuthException",
		Code: e.code, Subcode: e.subcode, Trace: trace,
	}
	if e.details != "" {
		o.ErrorData = &errorData{MessagingProduct: "whatsapp", Details: e.details}
	}
	writeJSON(w, e.status, map[string]any{"error": o})
}

// writeJSON answers w the way Graph does: compact, without HTML escapes.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the client is gone: nobody to tell
}
