#!/usr/bin/env bash
# Builds the container image from the Dockerfile and runs it, without a container engine and without an image registry:
# buildah builds, each step in a chroot, on a Debian made with debootstrap and this machine's Go in place of the image golang.
# Needs root on Debian or Ubuntu; installs buildah and debootstrap. Then shows that
#
#   - the image holds what it should: user, ports, health check, labels, no shell, no library
#   - as its own user "version" works, a missing configuration is told with exit code 2
#   - it takes up work against a real livekit-server, is healthy, answers /livez, and ends with 0 on SIGTERM, as process 1
#   - the program comes out the same bit by bit from another folder with another build cache
#   - with IMAGE_ARM64=1: the arm64 program builds by cross compiler and, under qemu, says its version
#
#   .ci/image.sh [LIVEKIT_SERVER]   the livekit-server to test with
#
# What it downloads is kept in .cache/image.
set -euo pipefail
cd "$(dirname "$0")/.."
server=$(realpath "${1:-${LIVEKIT_SERVER:-.cache/bin/livekit-server}}")
cache=$PWD/.cache/image
release=bookworm

fail() {
	echo "image.sh: $*" >&2
	exit 1
}
say() { echo "--- $* ($SECONDS s)"; }

[ "$(id -u)" -eq 0 ] || fail 'needs root: run it with sudo, or build with Docker or Podman ("make docker")'
[ -x "$server" ] || fail "no livekit-server at $server: run \"make livekit-server\" first"
.ci/deps.sh image
oldest=1.28 have=$(buildah --version | sed -nE 's/^buildah version ([0-9.]+).*/\1/p')
[ "$(printf '%s\n%s\n' $oldest "$have" | sort -V | head -n 1)" = $oldest ] ||
	fail "buildah $have builds stages that nobody asks for, the fake Meta here: $oldest or newer is needed (Debian 12, Ubuntu 24.04)"
# In a container without the right to mount, or to change root, nothing of this can work: better told than half tested.
unshare --mount true 2>/dev/null || fail 'may not make a mount namespace: in a container it needs CAP_SYS_ADMIN (--privileged)'

work=$(mktemp -d "${TMPDIR:-/tmp}/livekit-connector-image.XXXXXX")
pids=()
# overlay spares copying the base for every step, but does not work on top of another overlay.
driver=vfs
mkdir "$work/lower" "$work/upper" "$work/overlay" "$work/merged"
unshare --mount mount -t overlay -o "lowerdir=$work/lower,upperdir=$work/upper,workdir=$work/overlay" none "$work/merged" 2>/dev/null && driver=overlay
storage=(--root "$work/storage" --runroot "$work/run" --storage-driver $driver)
cleanup() {
	local code=$?
	for pid in "${pids[@]}"; do
		pkill -KILL -P "$pid" || true
		kill -KILL "$pid" 2>/dev/null || true
	done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	[ "$code" -eq 0 ] || for log in "$work"/*.log; do [ ! -s "$log" ] || { echo "=== $(basename "$log")"; tail -n 40 "$log"; } >&2; done
	# What a build that was killed left mounted, deepest first.
	awk -v dir="$work/" 'index($5, dir) == 1 {print $5}' /proc/self/mountinfo | sort -r | while read -r mount; do umount -l "$mount" || true; done
	rm -rf --one-file-system "$work"
	return "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- The base: what the image golang:<version>-bookworm has, as far as the Dockerfile needs it ---------------------------
mkdir -p "$cache"
base=$cache/$release-$(dpkg --print-architecture).tar
if [ ! -s "$base" ]; then
	say "a minimal Debian $release with debootstrap"
	debootstrap --force-check-gpg --keyring=/usr/share/keyrings/debian-archive-keyring.gpg --variant=minbase --include=ca-certificates,gcc,libc6-dev,pkg-config "$release" "$work/base" http://deb.debian.org/debian \
		>"$work/debootstrap.log" 2>&1 || fail 'debootstrap failed: does this machine reach http://deb.debian.org, and are its packages signed?'
	rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/usr/share/{doc-base,info,locale,man}
	tar -C "$work/base" --one-file-system -cf "$base.part" . && mv "$base.part" "$base"
	rm -rf --one-file-system "$work/base"
	rm -f "$work/debootstrap.log"
fi

say 'the base image'
container=$(buildah "${storage[@]}" from scratch)
root=$(buildah "${storage[@]}" mount "$container")
tar -C "$root" -xf "$base"
mkdir -p "$root/usr/local/go" "$root/go/pkg/mod" "$root/cache"
buildah "${storage[@]}" config --env PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	--env GOTOOLCHAIN=local --env GOPATH=/go --env GOCACHE=/cache --env GOFLAGS= "$container"
buildah "${storage[@]}" unmount "$container" >/dev/null
buildah "${storage[@]}" commit --rm -q "$container" localhost/base >/dev/null

# What is built, as it is now: both builds are of this, whatever becomes of the tree meanwhile.
mkdir "$work/src"
tar -cf - --exclude=./.git --exclude=./.cache --exclude=./bin . | tar -C "$work/src" -xf -

# --- The image -----------------------------------------------------------------------------------------------------------
# The modules of this machine: the tests before have fetched them.
GOFLAGS= go mod download
version=v0.0.0-image-check commit=0123456789abcdef0123456789abcdef01234567
mkdir -p "$work/gocache"
volumes=(--volume "$(go env GOROOT):/usr/local/go:ro" --volume "$(go env GOMODCACHE):/go/pkg/mod" --volume "$work/gocache:/cache")
say "the image, with storage driver $driver"
# Docker's format, not OCI's: that has no place for a health check.
buildah "${storage[@]}" build --isolation chroot --format docker --layers=false --pull-never "${volumes[@]}" --build-arg BUILD_IMAGE=localhost/base \
	--build-arg VERSION=$version --build-arg COMMIT=$commit --build-arg SOURCE_DATE_EPOCH=1700000000 \
	-t localhost/livekit-connector "$work/src" >"$work/build.log" 2>&1 || fail 'the Dockerfile cannot be built'

# --- What it says of itself ----------------------------------------------------------------------------------------------
buildah "${storage[@]}" inspect --type image localhost/livekit-connector |
	python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["Docker"]["config"], separators=(",", ":")))' >"$work/config.json"
container=$(buildah "${storage[@]}" from --pull-never localhost/livekit-connector)
root=$(buildah "${storage[@]}" mount "$container")
echo "image: $(du -sb --apparent-size "$root" | cut -f1) bytes in $(find "$root" -type f | wc -l) files"
has() { # has FILE PATTERN WHAT
	grep -qE "$2" "$work/$1" || fail "the image's configuration lacks $3: $(cat "$work/$1")"
}
has config.json '"User":"10001:10001"' 'the user'
has config.json '"8080/tcp"' 'the port'
has config.json '"StopSignal":"(SIGTERM|15)"' 'the stop signal'
has config.json '"Healthcheck":\{"Test":\["CMD","livekit-connector","healthcheck"\]' 'the health check'
has config.json '"Entrypoint":\["livekit-connector"\]' 'the entrypoint'
has config.json "\"org.opencontainers.image.version\":\"$version\"" 'the version label'
has config.json "\"org.opencontainers.image.revision\":\"$commit\"" 'the revision label'
for file in "$root"/{bin,usr/bin,lib,lib64,usr/lib}; do [ ! -e "$file" ] || fail "the image has ${file#"$root"}"; done
[ -z "$(find "$root" -perm /6000 -type f)" ] || fail 'the image has a file with the setuid bit'
[ "$(find "$root/usr/local/bin/livekit-connector" -printf %T@ | cut -d. -f1)" = 1700000000 ] || fail 'the program does not bear SOURCE_DATE_EPOCH'
grep -q BEGIN "$root/etc/ssl/certs/ca-certificates.crt" || fail 'the image has no certificates'

# --- It runs -------------------------------------------------------------------------------------------------------------
# Process 1 of its own process namespace, in the image's file tree, as the image's user, with nothing but /proc.
# Everything that is mounted here goes with the namespace.
in_image() {
	env -i PATH=/usr/local/bin "${environment[@]}" /usr/bin/unshare --mount --pid --fork --kill-child=KILL \
		/bin/sh -c '/usr/bin/mount -t proc proc "$0/proc" && exec /usr/sbin/chroot --userspec=10001:10001 --groups= "$0" "$@"' "$root" livekit-connector "$@"
}
mkdir -p "$root/proc"
environment=()
in_image version >"$work/version.log" 2>&1 || fail '"version" failed in the image'
cat "$work/version.log"
grep -q "$version" "$work/version.log" || fail 'the program does not know its version'
code=0
in_image >"$work/unconfigured.log" 2>&1 || code=$?
[ "$code" -eq 2 ] || fail "without a configuration the exit code is $code, not 2"
grep -q 'ws_url' "$work/unconfigured.log" || fail 'without a configuration it does not say that ws_url is missing'

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
livekit=$(free_port) api=$(free_port)
cat >"$work/livekit.yaml" <<-EOF
	port: $livekit
	bind_addresses: [127.0.0.1]
	rtc: {tcp_port: $(free_port), udp_port: $(free_port)}
	keys: {devkey: secret}
	logging: {level: warn}
EOF
"$server" --config "$work/livekit.yaml" --dev --node-ip 127.0.0.1 >"$work/livekit-server.log" 2>&1 &
pids+=($!)
answers() { # answers SECONDS COMMAND...: within so many seconds
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.2
	done
}
get() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())' "$1"; }
answers 60 get "http://127.0.0.1:$livekit/" || fail 'livekit-server does not start'

say 'the connector, in the image'
environment=(LIVEKIT_URL="ws://127.0.0.1:$livekit" LIVEKIT_API_KEY=devkey LIVEKIT_API_SECRET=secret
	CONNECTOR_PORT="$api" CONNECTOR_BIND_ADDRESSES=127.0.0.1 CONNECTOR_ADMIN_PORT=0)
in_image >"$work/connector.log" 2>&1 &
inner=$!
pids+=($inner)
answers 60 get "http://127.0.0.1:$api/readyz" || fail 'the connector does not get ready'
get "http://127.0.0.1:$api/livez"
# The image's own health check, which is what Docker runs.
in_image healthcheck >"$work/healthcheck.log" 2>&1 || fail 'the health check fails'

# To the program itself, process 1 in there.
child=$(ps -o pid= --ppid "$(pgrep -P "$inner" -x unshare || echo "$inner")" | tr -d ' ' | head -n 1)
[ "$(ps -o comm= -p "$child")" = livekit-connect ] || fail "process $child is no connector: $(ps -o pid,ppid,comm --ppid "$inner" | tr '\n' ' ')"
[ "$(stat -c %u "/proc/$child")" = 10001 ] || fail 'the connector does not run as user 10001'
[ "$(awk '/^NSpid:/ {print $NF}' "/proc/$child/status")" = 1 ] || fail 'the connector is not process 1'
kill -TERM "$child"
code=0
wait "$inner" || code=$?
[ "$code" -eq 0 ] || fail "SIGTERM ends the connector with $code"

# --- The same again ------------------------------------------------------------------------------------------------------
# In another folder. Our own packages and all with C in them are compiled anew and linked anew; the rest of the cache stays,
# for what other people's plain Go compiles to is the compiler's business.
say 'the program once more, elsewhere'
again=$(buildah "${storage[@]}" from --pull-never localhost/base)
in_base() { # in_base VARIABLE=VALUE... -- COMMAND...
	local given=()
	while [ "$1" != -- ]; do
		given+=(--env "$1")
		shift
	done
	buildah "${storage[@]}" run --isolation chroot "${volumes[@]}" --volume "$work/src:/elsewhere/src:ro" --volume "$root/usr/local/bin:/image:ro" \
		--workingdir /elsewhere/src --env VERSION=$version --env COMMIT=$commit "${given[@]}" "$again" "$@"
}
in_base CGO_ENABLED=1 -- bash -euc '
	.ci/binary.sh install >/dev/null 2>&1
	CC=$(uname -m)-linux-gnu-gcc go list -export -deps -trimpath -buildvcs=false -tags nolibopusfile,netgo,osusergo \
		-f "{{if or .CgoFiles (and .Module .Module.Main)}}{{.Export}}{{end}}" ./cmd/livekit-connector | grep . | sort -u >/tmp/compiled
	xargs rm -f </tmp/compiled
	echo "$(wc -l </tmp/compiled) packages anew"
	.ci/binary.sh /tmp/again
	sha256sum /image/livekit-connector /tmp/again
	cmp /image/livekit-connector /tmp/again' 2>&1 | tee "$work/again.log" || fail 'two builds of the same source differ'

if [ "${IMAGE_ARM64-}" = 1 ]; then
	say 'the arm64 program'
	in_base TARGETARCH=arm64 -- bash -euc '
		.ci/binary.sh install >/dev/null 2>&1
		.ci/binary.sh /tmp/arm64
		apt-get install -y -q --no-install-recommends qemu-user-static >/dev/null 2>&1
		qemu-aarch64-static /tmp/arm64 version' 2>&1 | tee "$work/arm64.log" || fail 'the arm64 program cannot be built or run'
	grep -q 'linux/arm64' "$work/arm64.log" || fail 'this is no arm64 program'
fi
say 'the image is good'
