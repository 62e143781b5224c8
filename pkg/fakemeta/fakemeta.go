// Package fakemeta is a Meta for people who write WhatsApp calling code: the Graph calling API, signed webhooks, an
// ICE-lite relay with DTLS and SRTP, and a handset that rings, talks, records and judges what it hears. It is
// written from Meta's documentation and from published traces of real calls, and it is strict: what would fail at
// Meta fails here, with the same code.
//
//	srv, err := fakemeta.Start(fakemeta.Options{})
//	defer srv.Close()
//	srv.AddNumber(fakemeta.Number{PhoneNumberID: "1000", DisplayNumber: "15550001111", AccessToken: "t", AppSecret: "s",
//		WebhookURL: "http://127.0.0.1:8080/webhook"})
//	user := srv.User("15550002222")
//	call, err := user.Call(ctx, "1000")             // rings at the business: a connect webhook with an offer
//	...                                             // the code under test talks to srv.GraphURL()
//	err = call.Wait(ctx, fakemeta.StateActive)
//	err = call.HangUp()
//	<-call.Done()
//	fmt.Println(call.Report().Problems)
//
// Calls in the other direction are placed by the code under test through the Graph API; User.NextCall returns them,
// Call.PickUp answers them.
//
// Everything listens on loopback and free ports unless Options say otherwise. Times are Meta's; Timing shortens
// them. Server.Fail makes requests go wrong, Server.SetDelivery makes webhooks go wrong. Server.Events shows every
// webhook to tests that have no HTTP listener.
//
// A call is one goroutine that owns its state (run.go); all it may do is one pure function (lifecycle.go). The
// sub-packages stand alone: relay is the media path, handset the phone, hearing the judge of recordings.
//
// cmd/fakemeta is the same as a program, with an HTTP API to play the user; docs/fakemeta.md describes both.
package fakemeta
