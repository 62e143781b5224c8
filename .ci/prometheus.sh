#!/usr/bin/env bash
# Puts Debian's Prometheus and promtool into a folder, for the tests of the dashboard and the alerts: fetched and unpacked,
# not installed, because the package would start a service.
#
#   .ci/prometheus.sh DIR    DIR/usr/bin/prometheus and DIR/usr/bin/promtool are there afterwards
set -euo pipefail
dir=$(realpath -m "$1")
oldest=2.42
[ -x "$dir/usr/bin/prometheus" ] && [ -x "$dir/usr/bin/promtool" ] && exit 0
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
	echo "This is not a Debian or Ubuntu: install Prometheus $oldest or newer with promtool beside it, and set PROMETHEUS to the program." >&2
	exit 1
fi
echo 'fetching Prometheus'
part=$dir.part
rm -rf "$part"
mkdir -p "$part"
cd "$part"
# The package list of a new machine is empty or old, so a first failure says little.
if ! apt-get -q download prometheus >/dev/null 2>&1; then
	if [ "$(id -u)" -eq 0 ]; then
		apt-get update -q
	elif sudo -n true 2>/dev/null; then
		sudo -n apt-get update -q
	else
		echo 'apt-get knows of no package prometheus. Run this, then try again: sudo apt-get update' >&2
		exit 1
	fi
	apt-get -q download prometheus
fi
dpkg -x prometheus_*.deb .
rm -f prometheus_*.deb
# Debian 12's. Older ones write a log in which the tests do not find the address.
have=$(usr/bin/promtool --version | sed -nE '1s/.*version ([0-9.]+).*/\1/p')
if [ "$(printf '%s\n%s\n' "$oldest" "$have" | sort -V | head -n 1)" != "$oldest" ]; then
	echo "This system's Prometheus is $have: install $oldest or newer with promtool beside it, and set PROMETHEUS to the program." >&2
	exit 1
fi
# As a whole or not at all.
rm -rf "$dir"
mv "$part" "$dir"
