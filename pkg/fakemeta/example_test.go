package fakemeta_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// A user calls, the business declines, and both learn how it ended.
func Example() {
	ctx := context.Background()
	srv, err := fakemeta.Start(fakemeta.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	err = srv.AddNumber(fakemeta.Number{PhoneNumberID: "1000", DisplayNumber: "15550001111", AccessToken: "token", AppSecret: "secret"})
	if err != nil {
		fmt.Println(err)
		return
	}
	webhooks := srv.Events() // or Number.WebhookURL
	call, err := srv.User("15550002222").Call(ctx, "1000")
	if err != nil {
		fmt.Println(err)
		return
	}
	connect, err := webhooks.NextCall(ctx, call.ID(), "connect")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(connect.Direction, connect.Session.SDPType)

	// This is what the code under test does.
	body := strings.NewReader(`{"messaging_product":"whatsapp","call_id":"` + connect.ID + `","action":"reject"}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.GraphURL()+"/v24.0/1000/calls", body)
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("Authorization", "Bearer token")
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.StatusCode)
	_ = res.Body.Close()

	<-call.Done()
	fmt.Println(call.State(), "by the", call.Report().EndedBy)
	// Output:
	// USER_INITIATED offer
	// 200
	// ended by the business
}
