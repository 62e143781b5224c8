package fakemeta

import (
	"net/http"
	"slices"
	"time"
)

// Fault makes requests go wrong. Its zero value matches every request once and does nothing to it.
type Fault struct {
	// Action limits the fault to "connect", "pre_accept", "accept", "reject", "terminate", "call_permissions",
	// "settings" or "messages". Empty: all of them.
	Action string `json:"action,omitempty"`
	// CallID limits it to one call. Empty: all.
	CallID string `json:"call_id,omitempty"`
	// Times is how many requests it hits: zero means one, a negative number all of them.
	Times int `json:"times,omitempty"`

	// Code refuses the request, without processing it, with this error code and its documented HTTP status.
	Code int `json:"code,omitempty"`
	// HTTPStatus overrides the status of Code; alone it refuses with a plain Graph error (code 131000).
	HTTPStatus int `json:"http_status,omitempty"`
	// Subcode and Details fill error_subcode and error_data.details.
	Subcode int    `json:"subcode,omitempty"`
	Details string `json:"details,omitempty"`
	// Body answers with these bytes instead of a Graph object, with HTTPStatus or 200.
	Body string `json:"body,omitempty"`
	// Processed carries the request out all the same, and only then applies Code, HTTPStatus or Body: the client
	// sees a failure of something that happened.
	Processed bool `json:"processed,omitempty"`

	// Delay is waited after processing, before the response.
	Delay time.Duration `json:"delay,omitempty"`
	// DelayBefore is waited before processing.
	DelayBefore time.Duration `json:"delay_before,omitempty"`
	// DropResponse carries the request out and closes the connection without a response.
	DropResponse bool `json:"drop_response,omitempty"`
	// DropRequest closes the connection without having done anything.
	DropRequest bool `json:"drop_request,omitempty"`
}

// Fail adds a fault. Of several that match a request the oldest one with hits left is applied.
func (s *Server) Fail(f Fault) {
	if f.Times == 0 {
		f.Times = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults removes all faults.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault returns the fault for a request and counts the hit, or a harmless one.
func (s *Server) takeFault(action, callID string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if (f.Action != "" && f.Action != action) || (f.CallID != "" && f.CallID != callID) {
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		if f.Times == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return *f
	}
	return Fault{}
}

// refusal is the error that the fault answers with, nil if it does not refuse.
func (f *Fault) refusal() *graphError {
	switch {
	case f.Body != "":
		status := f.HTTPStatus
		if status == 0 {
			status = http.StatusOK
		}
		return &graphError{status: status, garbage: f.Body}
	case f.Code == 0 && f.HTTPStatus == 0:
		return nil
	}
	code := f.Code
	if code == 0 {
		code = CodeSomethingWentWrong
	}
	details := f.Details
	if details == "" {
		details = codeMessage(code)
	}
	e := refusal(code, details)
	e.subcode = f.Subcode
	if f.HTTPStatus != 0 {
		e.status = f.HTTPStatus
	}
	return e
}
