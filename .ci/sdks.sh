#!/usr/bin/env bash
# Installs the SDKs that the end-to-end tests drive: .ci/sdks.sh SOURCE TARGET
#
# One folder each: go-VERSION with a built driver, node with all versions side by side, python-VERSION with a virtual
# environment; and rtc-node, the library that room participants are made with. Versions are pinned by the lock files in
# SOURCE.
set -euo pipefail
source=$(realpath "$1")
mkdir -p "$2"
target=$(realpath "$2")

# LiveKit's SDK wants Node 19, several distributions have an older one: then the tests get a Node of their own.
want_node=19 own_node=22.23.3
mkdir -p "$target/bin"
rm -f "$target/bin/node"
have_node=$(node --version)
if [ "$(echo "${have_node#v}" | cut -d. -f1)" -lt $want_node ]; then
	case $(uname -m) in
	x86_64) arch=x64 ;;
	aarch64) arch=arm64 ;;
	*)
		echo "Node $have_node is too old for LiveKit's SDK: install Node $want_node or newer, then run this again." >&2
		exit 1
		;;
	esac
	echo "Node $have_node is too old for LiveKit's SDK, installing Node $own_node for the tests"
	npm install --prefix "$target/own-node" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error "node-linux-$arch@$own_node"
	ln -s "$target/own-node/node_modules/node-linux-$arch/bin/node" "$target/bin/node"
fi

for driver in "$source"/go-*/; do
	name=$(basename "$driver")
	echo "building the driver of the Go SDK ${name#go-}"
	(cd "$driver" && GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -o "$target/$name/driver" .)
done

echo "installing the Node SDKs"
mkdir -p "$target/node"
cp "$source"/node/* "$target/node/"
(cd "$target/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)

echo "installing the Node rtc library"
mkdir -p "$target/rtc-node"
cp "$source"/rtc-node/* "$target/rtc-node/"
(cd "$target/rtc-node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)

for requirements in "$source"/python/requirements-*.txt; do
	version=$(basename "$requirements" .txt)
	version=${version#requirements-}
	echo "installing the Python SDK $version"
	rm -rf "$target/python-$version"
	python3 -m venv "$target/python-$version"
	"$target/python-$version/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
done
