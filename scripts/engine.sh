# shellcheck shell=sh
# For the scripts that try packages with a container engine: sourced by them. Without an engine that answers Debian's is started (dockerd, as root)
# on a socket of its own. What cannot be pulled is made from Debian's packages.
tmp=$(mktemp -d /tmp/nphiesq-try.XXXXXX)
ours=""
say() { echo "== $*" >&2; }
die() { echo "${0##*/}: $*" >&2; exit 1; }

engine() {
	if docker version >/dev/null 2>&1; then return; fi
	command -v dockerd >/dev/null || die "no container engine answers; install Docker (Debian: apt-get install docker.io)"
	[ "$(id -u)" = 0 ] || die "no container engine answers; start Docker, or run this as root"
	say "starting dockerd"
	export DOCKER_HOST="unix://$tmp/docker.sock"
	dockerd --data-root "${TRY_DOCKER_ROOT:-$tmp/root}" --exec-root "$tmp/exec" --pidfile "$tmp/pid" -H "$DOCKER_HOST" >"$tmp/dockerd.log" 2>&1 &
	ours=$!
	n=0
	until docker version >/dev/null 2>&1; do
		n=$((n + 1))
		if [ $n -ge 60 ] || ! kill -0 "$ours" 2>/dev/null; then die "dockerd does not start: $(tail -3 "$tmp/dockerd.log")"; fi
		sleep 0.5
	done
}
engine_end() {
	if [ -n "$ours" ]; then
		kill "$ours" 2>/dev/null || true
		wait "$ours" || true
	fi
	rm -rf "$tmp" 2>/dev/null || true
}

have() { docker image inspect "$1" >/dev/null 2>&1 || docker pull -q "$1" >/dev/null 2>&1; }
debian() { # the base of what cannot be pulled
	have debian:bookworm && { echo debian:bookworm; return; }
	if ! docker image inspect local/debian:bookworm >/dev/null 2>&1; then
		command -v debootstrap >/dev/null || die "no image debian:bookworm to be had, and no debootstrap to make one (apt-get install debootstrap)"
		say "making a Debian image"
		debootstrap --variant=minbase bookworm "$tmp/debian" >"$tmp/debootstrap.log" 2>&1 || die "debootstrap: $(tail -3 "$tmp/debootstrap.log")"
		tar -C "$tmp/debian" -c . | docker import - local/debian:bookworm >/dev/null
		rm -rf "$tmp/debian"
	fi
	echo local/debian:bookworm
}
make_image() { # make_image NAME: Dockerfile on stdin
	mkdir -p "$tmp/build"
	cat >"$tmp/build/Dockerfile"
	DOCKER_BUILDKIT=0 docker build -q -t "$1" "$tmp/build" >/dev/null 2>"$tmp/build.log" || die "image $1: $(tail -3 "$tmp/build.log")"
}
