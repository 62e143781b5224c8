package doctor

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
)

// maxAccounts is how many business accounts of a token are looked at.
const maxAccounts = 5

// subscription looks for the token's app among those that get an account's webhooks (Meta: WhatsApp Business Account,
// subscribed_apps). Which account that is Meta tells only of tokens that are limited to some.
func (e *examination) subscription(ctx context.Context) []Line {
	if e.o.Webhook.Path == "" {
		return one(skipped("webhook.path is not set: your application gets the webhooks"))
	}
	return e.eachNumber(func(n Number, found settingsFound) []Line {
		info, told := tokenInfo{}, false
		if found.err == nil {
			info, told = e.inspect(ctx, n)
		}
		for _, g := range info.Granular {
			if g.Scope != scopeManagement || len(g.Targets) > maxAccounts {
				continue
			}
			for _, account := range g.Targets {
				if l, ok := e.subscribed(ctx, n, account, info.AppID); ok {
					return one(l)
				}
			}
		}
		text := "Meta does not tell which account the number is of"
		if !told {
			text = "Meta does not tell"
		}
		return one(skipped("%s: %s; the dashboard shows it under WhatsApp, Configuration", n.label(), text))
	})
}

// subscribed says whether the app gets the webhooks of an account, if the number is the account's.
func (e *examination) subscribed(ctx context.Context, n Number, account, app string) (Line, bool) {
	var numbers struct {
		Data []node `json:"data"`
	}
	account = url.PathEscape(account)
	body, err := e.graphGet(ctx, n, account+"/phone_numbers", url.Values{"fields": {"id"}, "limit": {"200"}})
	if err != nil || json.Unmarshal(body, &numbers) != nil || !slices.Contains(numbers.Data, node{n.Credentials.PhoneNumberID}) {
		return Line{}, false
	}
	var apps struct {
		Data []struct {
			App node `json:"whatsapp_business_api_data"`
		} `json:"data"`
	}
	body, err = e.graphGet(ctx, n, account+"/subscribed_apps", nil)
	if err != nil || json.Unmarshal(body, &apps) != nil {
		return Line{}, false
	}
	for _, a := range apps.Data {
		if a.App.ID == app {
			return good("%s: the app gets the account's webhooks", n.label()), true
		}
	}
	return failed(n.label()+": the token's app is not subscribed to the account, so no webhook comes",
		"POST to the account's /subscribed_apps (README, Without code, step 5)"), true
}

// node is what the Graph API says of a thing.
type node struct {
	ID string `json:"id"`
}
