#!/bin/sh
# Builds what is shipped twice, from copies of the source in different folders, and compares it byte for byte: programs, SBOMs, licences, packages, chart, archive. The
# second copy belongs to somebody with a strict umask and without a C compiler. With --cold it also has an empty cache of its own (minutes). With --programs only the
# programs are built and compared.
set -eu
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
: "${VERSION:?run it by make reproducible}" "${COMMIT:?}" "${SOURCE_DATE_EPOCH:?}"
cold=""
if [ "${1-}" = --cold ]; then cold=$tmp/cache; fi
what=dist out=dist
if [ "${1-}" = --programs ]; then what=build out=bin; fi
build() { # build FOLDER
	mkdir -p "$1"
	git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$1"
	make -s -C "$1" "$what" VERSION="$VERSION" COMMIT="$COMMIT" SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" >"$tmp/log" 2>&1 || { tail -5 "$tmp/log" >&2; exit 1; }
	cd "$1/$out"
	find . -type f -exec stat -c '%a %n' {} + | { grep '^[0-7]* \./share/' || true; } | sort -k2 >"$1.sums"
	find . -type f | sort | xargs -d '\n' sha256sum >>"$1.sums"
}
(umask 022 && build "$tmp/one")
mkdir -p "$tmp/elsewhere"
(
	umask 077
	export CGO_ENABLED=0 # what go takes where there is none
	[ -z "$cold" ] || export GOCACHE="$cold"
	build "$tmp/elsewhere/two"
)
if ! diff "$tmp/one.sums" "$tmp/elsewhere/two.sums"; then
	echo "reproducible.sh: the same source made different bytes" >&2
	exit 1
fi
if [ "$what" = build ]; then
	cat "$tmp/one.sums"
	exit 0
fi
if (cd "$tmp/one" && go list ./...) | grep /dist/; then
	echo "reproducible.sh: dist holds Go packages, which ./... takes for ours" >&2
	exit 1
fi
archive=$(echo "$tmp"/one/dist/release/*-linux-*.tar.gz)
for f in compose.yaml compose.override.yaml deploy/compose/real.yaml Dockerfile CONTRIBUTING.md bin/worker; do
	tar -tzf "$archive" "nphiesq-$VERSION/$f" >/dev/null || { echo "reproducible.sh: the archive has no $f" >&2; exit 1; }
done
for chart in "$archive nphiesq-$VERSION/deploy/helm/nphiesq/Chart.yaml" "$(echo "$tmp"/one/dist/release/nphiesq-chart-*.tgz) nphiesq/Chart.yaml"; do
	# shellcheck disable=SC2086 # an archive and a name
	tar -xzOf $chart | grep -qxF "appVersion: \"$VERSION\"" || { echo "reproducible.sh: the chart of $chart does not name its release" >&2; exit 1; }
done
grep -v ' \./share/' "$tmp/one.sums"
