package doctor

import (
	"context"
	"os"

	"github.com/livekit-connector/livekit-connector/internal/rules"
)

// config repeats what reading the configuration brought up.
func (e *examination) config(context.Context) []Line {
	var lines []Line
	for _, problem := range e.o.Problems {
		lines = append(lines, failed(problem, "mend it: the connector does not start so; config.example.yaml explains every key"))
	}
	for _, warning := range e.o.Warnings {
		lines = append(lines, doubtful(warning, "mend it, or leave it if it is meant so"))
	}
	if len(lines) == 0 {
		lines = one(good("complete, from %s", e.o.Source))
	}
	return lines
}

// rules says what becomes of users' calls. A rules file with problems is a problem of the configuration.
func (e *examination) rules(context.Context) []Line {
	switch {
	case e.o.RulesFile == "" && e.o.Webhook.Path == "":
		return one(skipped("no rules_file: your application answers the calls"))
	case e.o.RulesFile == "":
		return one(doubtful("webhooks are taken, but there are no rules, so users' calls are left to your application",
			"set rules_file if the connector is to answer them itself"))
	}
	body, err := os.ReadFile(e.o.RulesFile)
	if err != nil {
		return one(failed(err.Error(), "mend rules_file"))
	}
	set, err := rules.Parse(e.o.RulesFile, body)
	if err != nil {
		return one(failed(err.Error(), "mend the file; rules test shows what it does"))
	}
	if set.Len() == 0 {
		return one(doubtful(e.o.RulesFile+" has no rule: webhook.on_no_rule holds for every call", "add a rule"))
	}
	return one(good("%s in %s", count(set.Len(), "rule"), e.o.RulesFile))
}
