# make (no target) lists the targets. Everything that is built or fetched for the build lies in .cache/ and bin/.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# nolibopusfile: hraban/opus would else link libopusfile for Ogg files, which nothing here reads.
# buildvcs: the version comes from the linker flags below; stamping fails where git does not trust the folder.
export GOFLAGS := $(strip $(filter-out -tags=% -buildvcs=%,$(shell go env GOFLAGS 2>/dev/null)) -buildvcs=false -tags=nolibopusfile)
export CGO_ENABLED := 1

GOLANGCI_VERSION    := v2.15.0
GOTESTSUM_VERSION   := v1.13.0
GOVULNCHECK_VERSION := v1.7.0

MODULE  := github.com/livekit-connector/livekit-connector
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -X $(MODULE)/internal/app.version=$(VERSION) -X $(MODULE)/internal/app.commit=$(COMMIT)

CACHE     := $(CURDIR)/.cache
TOOLS     := $(CACHE)/bin
GOLANGCI  := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)
GOTESTSUM := $(TOOLS)/gotestsum-$(GOTESTSUM_VERSION)

# The real livekit-server that tests and the demo talk to. Its dependencies stay out of our go.mod.
LIVEKIT_SERVER_MOD   := testdata/livekit-server
LIVEKIT_SERVER_STAMP := $(CACHE)/livekit-server-$(shell cat $(LIVEKIT_SERVER_MOD)/go.mod $(LIVEKIT_SERVER_MOD)/go.sum | cksum | cut -d' ' -f1).stamp
export LIVEKIT_SERVER ?= $(TOOLS)/livekit-server

# The Prometheus that the dashboard, the rules and the alerts are tested with.
export PROMETHEUS ?= $(CACHE)/prometheus/usr/bin/prometheus

# The SDKs that the end-to-end tests drive.
SDK_SOURCE := internal/e2e/sdk
export SDK_DIR ?= $(CACHE)/sdk
SDK_STAMP  := $(CACHE)/sdk-$(shell cd $(SDK_SOURCE) 2>/dev/null && cat go-*/* node/* python/* rtc-node/* | cksum | cut -d' ' -f1).stamp

# The end-to-end tests run after the others and alone: they judge sound, and a compiler beside them would be heard.
E2E_PACKAGES := ./internal/e2e/...
# These of them wait for servers more than they listen: several at once. All others have two CPUs for two calls.
E2E_MANY := ^Test(Ends|Gateway|Lifecycle|Diagnosis|Outage|Record|Event|Receiver|Rule|LiveKitTakes|Agent(Gets|Sees|Presses)|Keys(ForThe|OfA))
PACKAGES      = $(shell go list ./... | grep -v /internal/e2e)
# Tested without -race: arithmetic in one goroutine, which would take minutes with it. All others are tested with it, where
# our own goroutines are. The end-to-end tests are mostly other people's code, and too slow with it.
PLAIN_PACKAGES = $(filter $(addprefix %/,bench/density bench/listen bench/latency bench/micro bench/quality bench/soak \
	bench/stoi pkg/fakemeta/hearing media/jitter media/playout media/resample media/resample/soxr media/g711),$(PACKAGES))
RACE_PACKAGES ?= $(filter-out $(PLAIN_PACKAGES),$(PACKAGES))
TEST_FLAGS ?=

##@ Use

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z][a-z-]*:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: demo-program ## Two calls through a fake Meta and a real livekit-server, no account needed; then your own
	@exec $(TOOLS)/demo

.PHONY: demo-once
demo-once: demo-program ## The same two calls; the exit code tells whether both ends heard each other
	@exec $(TOOLS)/demo --once

# Not `go run`: it does not pass a SIGTERM on, and everything would be left running.
.PHONY: demo-program
demo-program: build livekit-server
	@mkdir -p $(TOOLS)
	go build -o $(TOOLS)/demo ./internal/demo

.PHONY: build
build: deps ## Build bin/livekit-connector and bin/fakemeta
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: docker
docker: ## Build the container image livekit-connector, and livekit-connector:VERSION
	@engine=; for e in docker podman; do if command -v $$e >/dev/null && $$e info >/dev/null 2>&1; then engine=$$e; break; fi; done; \
	if [ -z "$$engine" ]; then echo 'no container engine answers: start Docker or Podman and run "make docker" again' >&2; exit 1; fi; \
	$$engine build --build-arg VERSION='$(VERSION)' --build-arg COMMIT='$(COMMIT)' -t 'livekit-connector:$(VERSION)' -t livekit-connector .

##@ Check

.PHONY: test
test: unit e2e ## Run all tests

.PHONY: unit
unit: deps livekit-server $(GOTESTSUM) ## Run the tests of the packages, with the race detector where it pays
	$(GOTESTSUM) --format testname -- -count=1 -timeout 10m $(TEST_FLAGS) $(PLAIN_PACKAGES)
	@# The benchmark's reference is a module of its own.
	cd bench/reference && $(GOTESTSUM) --format testname -- -count=1 -timeout 10m $(TEST_FLAGS) ./...
	@$(MAKE) race

.PHONY: race
race: deps livekit-server $(GOTESTSUM) ## Run the part of them that runs under the race detector; some start a real livekit-server
	$(GOTESTSUM) --format testname -- -race -count=1 -p 3 -timeout 10m $(TEST_FLAGS) $(RACE_PACKAGES)

.PHONY: e2e
e2e: deps livekit-server sdks prometheus $(GOTESTSUM) ## Run whole calls: livekit-server, LiveKit's SDKs, a fake Meta
	PATH="$(SDK_DIR)/bin:$$PATH" $(GOTESTSUM) --format testname -- -count=1 -timeout 15m -skip '$(E2E_MANY)' $(TEST_FLAGS) $(E2E_PACKAGES)
	PATH="$(SDK_DIR)/bin:$$PATH" $(GOTESTSUM) --format testname -- -count=1 -timeout 15m -run '$(E2E_MANY)' -parallel 5 $(TEST_FLAGS) $(E2E_PACKAGES)

.PHONY: dashboards
dashboards: prometheus ## Check deploy/prometheus with promtool, and its names and the dashboard's against the metrics
	cd deploy/prometheus && $(dir $(PROMETHEUS))promtool check rules rules.yaml alerts.yaml && $(dir $(PROMETHEUS))promtool test rules alerts_test.yaml
	go test -count=1 ./internal/e2e/series

.PHONY: lint
lint: deps $(GOLANGCI) ## Run golangci-lint, layer rules included
	$(GOLANGCI) run ./...

.PHONY: fmt
fmt: $(GOLANGCI) ## Format the Go files
	$(GOLANGCI) fmt

.PHONY: vet
vet: deps ## Run go vet
	go vet ./...

# VULNDB may be a mirror, or a folder of the same form as file:///...
.PHONY: vulncheck
VULNDB ?= https://vuln.go.dev
vulncheck: deps ## Look for known vulnerabilities in code that is called; needs vuln.go.dev
	go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) -db '$(VULNDB)' -tags nolibopusfile ./...

.PHONY: docs
docs: ## Write the tables of README.md and docs/metrics.md anew
	UPDATE_README=1 go test -count=1 -run TestReadmeTableIsCurrent ./internal/app
	UPDATE_DOCS=1 go test -count=1 -run TestDocumentIsCurrent ./internal/e2e/series

.PHONY: fuzz
FUZZTIME ?= 60s
fuzz: deps ## Run every fuzz test for FUZZTIME (60s)
	@for pkg in $$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./...); do \
	  for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$pkg"/*_test.go | cut -c6- || true); do \
	    echo "fuzz $${pkg#$(CURDIR)/} $$target"; \
	    go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$pkg"; \
	  done; \
	done

# On a machine that does nothing else. BENCH="density --calls 10,80" runs a part of it; docs/benchmark.md tells more.
.PHONY: bench
BENCH ?= all
bench: deps livekit-server pesq ## Measure CPU, memory, delay and sound of calls beside a reference bridge; takes its time
	@mkdir -p $(CACHE)/bench
	go build -o $(CACHE)/bench/bench ./bench
	BENCH_PESQ_PYTHON="$$(ls $(PESQ) 2>/dev/null || true)" $(CACHE)/bench/bench $(BENCH)

# Both bridges carry two calls, on whatever machine: what it measures means nothing, but it shows that the benchmark works.
.PHONY: bench-once
bench-once: deps livekit-server ## The benchmark with two calls, in half a minute: does it still run?
	@mkdir -p $(CACHE)/bench
	go build -o $(CACHE)/bench/bench ./bench
	cd bench/reference && go vet ./...
	$(CACHE)/bench/bench density --busy --calls 2 --warmup 1s --interval 3s --profile 1s

# Half an hour of calls that come and go, on a machine that does nothing else; DURATION=60s shows that it works. docs/soak.md
# tells more. SOAK="--publish docs" puts the result there. It ends by itself, whatever happens.
.PHONY: soak
DURATION ?= 30m
SOAK ?=
soak: build livekit-server ## Calls that come and go for DURATION (30m): does anything grow?
	@mkdir -p $(CACHE)/bench
	go build -o $(CACHE)/bench/bench ./bench
	$(CACHE)/bench/bench soak --duration $(DURATION) $(SOAK)

# A Python with the package pesq, for the benchmark only. Without it the benchmark measures STOI alone.
PESQ := $(CACHE)/pesq/bin/python
.PHONY: pesq
pesq:
	@$(PESQ) -c 'import pesq' 2>/dev/null || { echo 'installing PESQ for the benchmark'; \
	  python3 -m venv $(CACHE)/pesq && $(PESQ) -m pip install -q numpy==2.4.6 pesq==0.0.4; } || \
	  echo 'no PESQ in this benchmark: it needs python3-venv, python3-dev and a package index' >&2

.PHONY: image-check
image-check: livekit-server ## Build the container image without a container engine and run it; needs root, on Debian or Ubuntu
	.ci/image.sh $(LIVEKIT_SERVER)

.PHONY: deploy-check
deploy-check: build ## Check the Helm chart, compose.yaml and the systemd unit
	.ci/deploy.sh bin/livekit-connector

##@ Make

.PHONY: deps
deps: ## Check Go, C compiler and libraries; install what is missing or say how
	@.ci/deps.sh

.PHONY: livekit-server
livekit-server: $(LIVEKIT_SERVER_STAMP) ## Build the pinned livekit-server into .cache/bin

$(LIVEKIT_SERVER_STAMP):
	@echo 'building livekit-server, once (2-4 minutes on two cores)'
	@mkdir -p $(TOOLS)
	cd $(LIVEKIT_SERVER_MOD) && GOFLAGS='-buildvcs=false' CGO_ENABLED=0 go build -o $(TOOLS)/livekit-server github.com/livekit/livekit-server/cmd/server
	@rm -f $(CACHE)/livekit-server-*.stamp && touch $@

.PHONY: prometheus
prometheus: ## Fetch Debian's Prometheus into .cache/prometheus, unless PROMETHEUS names another
	@if [ '$(PROMETHEUS)' = '$(CACHE)/prometheus/usr/bin/prometheus' ]; then .ci/prometheus.sh $(CACHE)/prometheus; \
	elif [ ! -x '$(PROMETHEUS)' ] || [ ! -x '$(dir $(PROMETHEUS))promtool' ]; then \
	  echo 'PROMETHEUS is $(PROMETHEUS): no program, or no promtool beside it' >&2; exit 1; fi

.PHONY: sdks
sdks: $(SDK_STAMP) ## Install LiveKit's Node, Python and older Go SDKs into .cache/sdk

$(SDK_STAMP):
	@.ci/deps.sh sdks
	@.ci/sdks.sh $(SDK_SOURCE) $(SDK_DIR)
	@rm -f $(CACHE)/sdk-*.stamp && touch $@

.PHONY: proto
PROTO_DIR   := proto/connectorpb
PROTO_TOOLS := $(CACHE)/proto
proto: ## Regenerate proto/ (protoc plug-ins at the versions of go.mod)
	@.ci/deps.sh protoc
	@mkdir -p $(PROTO_TOOLS)
	GOFLAGS= GOBIN=$(PROTO_TOOLS) go install google.golang.org/protobuf/cmd/protoc-gen-go@$$(go list -m -f '{{.Version}}' google.golang.org/protobuf)
	GOFLAGS= GOBIN=$(PROTO_TOOLS) go install github.com/livekit/psrpc/protoc-gen-psrpc@$$(go list -m -f '{{.Version}}' github.com/livekit/psrpc)
	go mod download github.com/livekit/protocol github.com/livekit/psrpc
	cd $(PROTO_DIR) && protoc -I . \
	  -I "$$(go list -m -f '{{.Dir}}' github.com/livekit/protocol)/protobufs" \
	  -I "$$(go list -m -f '{{.Dir}}' github.com/livekit/psrpc)/protoc-gen-psrpc/options" \
	  --plugin=$(PROTO_TOOLS)/protoc-gen-go --plugin=$(PROTO_TOOLS)/protoc-gen-psrpc \
	  --go_out=. --go_opt=paths=source_relative --psrpc_out=. --psrpc_opt=paths=source_relative \
	  connector_internal.proto
	@# Without the lines that name protoc's version, another distribution's protoc makes the same file.
	sed -i -E '/^\/\/ \t(protoc|protoc-gen-go) /d' $(PROTO_DIR)/*.pb.go

$(GOLANGCI):
	@echo 'building golangci-lint $(GOLANGCI_VERSION), once'
	@mkdir -p $(TOOLS)
	@rm -f $(TOOLS)/golangci-lint-*
	GOFLAGS= CGO_ENABLED=0 GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(TOOLS)/golangci-lint $@

$(GOTESTSUM):
	@mkdir -p $(TOOLS)
	@rm -f $(TOOLS)/gotestsum-*
	GOFLAGS= CGO_ENABLED=0 GOBIN=$(TOOLS) go install gotest.tools/gotestsum@$(GOTESTSUM_VERSION)
	@mv $(TOOLS)/gotestsum $@

.PHONY: clean
clean: ## Remove bin/ and .cache/ (Go's own caches stay)
	rm -rf bin .cache
