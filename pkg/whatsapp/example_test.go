package whatsapp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// A call is placed once; the error says what to do when Meta refuses.
func Example() {
	meta := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":{"message":"No approved call permission found","code":138006,"fbtrace_id":"AbC123"}}`)
	}))
	defer meta.Close()

	client, err := whatsapp.NewClient(whatsapp.Options{BaseURL: meta.URL, HTTPClient: meta.Client(), AttemptTimeout: 30 * time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	credentials := whatsapp.Credentials{PhoneNumberID: "100000000000001", AccessToken: "secret", Version: "24.0"}
	callID, err := client.Connect(ctx, credentials, whatsapp.ConnectRequest{To: "15550002222", Offer: "v=0\r\n..."})
	var refused *whatsapp.APIError
	switch {
	case errors.Is(err, whatsapp.ErrOutcomeUnknown):
		fmt.Println("may ring all the same, do not dial again")
	case errors.As(err, &refused):
		fmt.Println(refused.Code, refused.Remedy(), refused.TraceID)
	case err == nil:
		fmt.Println("rings:", callID)
	}
	// Output: 138006 permission AbC123
}

func ExampleParse() {
	body := []byte(`{"object":"whatsapp_business_account","entry":[{"id":"0","changes":[{"field":"calls","value":{
		"metadata":{"phone_number_id":"100000000000001"},
		"calls":[{"id":"wacid.TEST","event":"terminate","status":"COMPLETED"}]}}]}]}`)
	if err := whatsapp.VerifySignature(body, whatsapp.Sign(body, "app secret"), "app secret"); err != nil {
		fmt.Println(err)
		return
	}
	webhook, err := whatsapp.Parse(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, entry := range webhook.Entries {
		for _, change := range entry.Changes {
			for _, call := range change.Calls {
				fmt.Println(call.ID, call.Event, "answered:", call.Answered())
			}
		}
	}
	// Output: wacid.TEST terminate answered: false
}
