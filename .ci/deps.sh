#!/usr/bin/env bash
# Checks for what a build needs and installs what is missing: with apt-get when it may, else it prints the one command
# to run and fails.
#
#   .ci/deps.sh           Go, a C compiler, pkg-config, libopus, libsoxr
#   .ci/deps.sh protoc    the same and the protocol buffer compiler
#   .ci/deps.sh sdks      the same and Node and Python, for the end-to-end tests
#   .ci/deps.sh image     the same and Buildah and debootstrap, for the container image without a container engine
#   .ci/deps.sh deploy    the same and npm, and systemd's own checker of units, for what is in deploy/
set -euo pipefail
cd "$(dirname "$0")/.."

want_go=$(sed -n 's/^go //p' go.mod)
if ! command -v go >/dev/null; then
	echo "Go is missing: install Go $want_go or newer from https://go.dev/dl and run this again." >&2
	exit 1
fi
# A toolchain older than go.mod asks for either fetches the right one by itself or says so here.
if ! have_go=$(go env GOVERSION 2>&1); then
	echo "Go cannot build this module (it needs Go $want_go): $have_go" >&2
	exit 1
fi
have_go=${have_go#go}
if [ "$(printf '%s\n%s\n' "$want_go" "${have_go%% *}" | sort -V | head -n 1)" != "$want_go" ]; then
	echo "Go $have_go is too old: install Go $want_go or newer from https://go.dev/dl and run this again." >&2
	exit 1
fi

missing=()
cc=$(go env CC)
command -v "${cc%% *}" >/dev/null || missing+=(gcc libc6-dev)
if command -v pkg-config >/dev/null; then
	pkg-config --exists opus || missing+=(libopus-dev)
	pkg-config --exists soxr || missing+=(libsoxr-dev)
else
	missing+=(pkg-config libopus-dev libsoxr-dev)
fi
case "${1-}" in
protoc)
	# Debian keeps the imports that every protoc has to know in a package that protoc only recommends.
	protoc -o /dev/null google/protobuf/descriptor.proto 2>/dev/null || missing+=(protobuf-compiler libprotobuf-dev)
	;;
sdks)
	command -v node >/dev/null || missing+=(nodejs)
	command -v npm >/dev/null || missing+=(npm)
	# Debian ships venv without ensurepip, which is what makes it work.
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
	;;
image)
	command -v buildah >/dev/null || missing+=(buildah)
	command -v debootstrap >/dev/null || missing+=(debootstrap)
	# Without Debian's keys debootstrap on Ubuntu would take packages from whoever answers.
	[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
	command -v gpgv >/dev/null || missing+=(gpgv)
	command -v python3 >/dev/null || missing+=(python3)
	command -v pgrep >/dev/null || missing+=(procps)
	;;
deploy)
	command -v npm >/dev/null || missing+=(nodejs npm)
	command -v systemd-analyze >/dev/null || missing+=(systemd)
	[ -x /bin/kill ] || missing+=(procps) # the unit calls it
	command -v python3 >/dev/null || missing+=(python3)
	;;
esac
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
	echo "These are missing and this is not a Debian or Ubuntu, so install what they are called here: ${missing[*]}" >&2
	exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! sudo -n true 2>/dev/null; then
		echo "Missing: ${missing[*]}. Run this, then try again:" >&2
		echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
		exit 1
	fi
	as_root=(sudo -n)
fi
echo "installing ${missing[*]}"
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}")
# The package list of a new machine is empty or old, so a first failure says little.
if ! "${install[@]}" >/dev/null 2>&1; then
	"${as_root[@]}" apt-get update -q
	"${install[@]}"
fi
