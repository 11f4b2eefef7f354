#!/bin/sh
# Builds the shipped programs twice, from copies of the source in different folders, and compares them byte for byte. With --cold the second build has an
# empty cache of its own, and packages and SBOMs are compared, too (minutes).
set -eu
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
: "${VERSION:?run it by make reproducible}" "${COMMIT:?}" "${SOURCE_DATE_EPOCH:?}"
cold=""
target=dist/bin
if [ "${1-}" = --cold ]; then cold=$tmp/cache target=deb; fi
for copy in "$tmp/one" "$tmp/elsewhere/two"; do
	mkdir -p "$copy"
	git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
	(
		if [ "$copy" != "$tmp/one" ] && [ -n "$cold" ]; then export GOCACHE="$cold"; fi
		make -s -C "$copy" $target VERSION="$VERSION" COMMIT="$COMMIT" SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" >"$tmp/log" 2>&1 || { tail -5 "$tmp/log" >&2; exit 1; }
		cd "$copy/dist"
		find . -type f | sort | xargs sha256sum >"$copy.sums"
	)
done
if ! diff "$tmp/one.sums" "$tmp/elsewhere/two.sums"; then
	echo "reproducible.sh: the same source made different bytes" >&2
	exit 1
fi
cat "$tmp/one.sums"
