#!/usr/bin/env bash
# Builds livekit-connector as it is released: one static file that needs no library, the same bit by bit from the same
# source, Go and Debian. The Dockerfile and the release use it; a developer's "make build" is quicker.
#
#   .ci/binary.sh OUTPUT                 for this machine's architecture
#   TARGETARCH=arm64 .ci/binary.sh OUTPUT  or amd64, with a cross compiler
#   .ci/binary.sh install                installs what it needs, as root on Debian (TARGETARCH as above)
#
# VERSION and COMMIT are what "livekit-connector version" says.
set -euo pipefail
cd "$(dirname "$0")/.."

own=$(dpkg --print-architecture)
target=${TARGETARCH:-$own}
case $target in
amd64) triplet=x86_64-linux-gnu ;;
arm64) triplet=aarch64-linux-gnu ;;
*)
	echo "binary.sh: TARGETARCH is $target: only amd64 and arm64 are built" >&2
	exit 1
	;;
esac

if [ "${1-}" = install ]; then
	packages=(pkg-config "libopus-dev:$target")
	if [ "$target" = "$own" ]; then
		packages+=(gcc libc6-dev)
	else
		dpkg --add-architecture "$target"
		packages+=("gcc-${triplet//_/-}" "libc6-dev-$target-cross")
	fi
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}"
	exit
fi

output=${1:?which file to write}
app=github.com/livekit-connector/livekit-connector/internal/app
export CGO_ENABLED=1 GOOS=linux GOARCH=$target CC=$triplet-gcc
export PKG_CONFIG_LIBDIR=/usr/lib/$triplet/pkgconfig:/usr/share/pkgconfig
# netgo, osusergo: glibc's own resolver does not work in a static program.
# -trimpath and no VCS stamp: neither the folder nor the clone may show in the file.
exec env GOFLAGS= go build -trimpath -buildvcs=false -tags nolibopusfile,netgo,osusergo \
	-ldflags "-s -w -buildid= -linkmode external -extldflags '-static -lm' -X $app.version=${VERSION:-dev} -X $app.commit=${COMMIT:-unknown}" \
	-o "$output" ./cmd/livekit-connector
