#!/bin/sh
# Makes sure that the programs the tests drive are on this machine: Redis, PostgreSQL, Chromium. On Debian as root it installs
# what is missing; elsewhere it names it and fails. Arguments limit it: deps.sh redis postgres chromium. npm is only for make cards; systemd
# and shellcheck for make deploy-check, gcc for make check. With CI set also Alertmanager, whose messages are taken, and Prometheus: promtool and amtool check deploy/prometheus.
set -eu

missing="" packages=""
want() { # want NAME PACKAGES COMMAND...
	name=$1 pkgs=$2
	shift 2
	for c in "$@"; do
		for found in $c; do
			if command -v "$found" >/dev/null 2>&1; then return 0; fi
		done
	done
	missing="$missing $name" packages="$packages $pkgs"
}

[ $# -gt 0 ] || set -- redis postgres chromium docs ${CI:+alertmanager prometheus}
for x in "$@"; do
	case $x in
	redis) want redis redis-server redis-server valkey-server "/opt/homebrew/opt/redis*/bin/redis-server" ;;
	postgres) want postgresql postgresql initdb "/usr/lib/postgresql/*/bin/initdb" "/opt/homebrew/opt/postgresql@*/bin/initdb" "/usr/local/opt/postgresql@*/bin/initdb" ;;
	alertmanager)
		want prometheus-alertmanager prometheus-alertmanager prometheus-alertmanager alertmanager
		want amtool prometheus-alertmanager amtool
		;;
	prometheus) want promtool prometheus promtool ;;
	chromium) want chromium "chromium fonts-liberation fonts-noto-core" chromium chromium-browser google-chrome "/Applications/Chromium.app/Contents/MacOS/Chromium" ;;
	systemd) want systemd systemd systemd-analyze ;;
	shellcheck) want shellcheck shellcheck shellcheck ;;
	gcc) # go test -race links with one: gcc, or what CC names
		want gcc "gcc libc6-dev" "${CC:-gcc}"
		if command -v dpkg >/dev/null 2>&1 && command -v gcc >/dev/null 2>&1 && [ ! -e /usr/include/stdlib.h ]; then missing="$missing libc6-dev" packages="$packages libc6-dev"; fi
		;;
	docs) want jq jq jq && want curl curl curl && want openssl openssl openssl ;; # what the commands of the documentation use
	npm) want npm "nodejs npm" npm ;;
	*) echo "deps.sh: unknown: $x" >&2; exit 2 ;;
	esac
done
[ -n "$missing" ] || exit 0

if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
	echo "installing$packages" >&2
	export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
	apt-get update -q >/dev/null
	# shellcheck disable=SC2086 # a list of packages
	apt-get install -y -q --no-install-recommends $packages >/dev/null
	exit 0
fi
echo "not on this machine:$missing" >&2
echo "install: Debian/Ubuntu: sudo apt-get install gcc libc6-dev redis-server postgresql chromium npm jq curl openssl prometheus prometheus-alertmanager    Mac: brew install redis postgresql@15 node jq prometheus alertmanager && brew install --cask chromium" >&2
exit 1
