#!/bin/sh
# Builds HashiCorp Vault's core as a test server into bin/vaultdev: five minutes with empty caches, then kept in the user's
# cache folder under a hash of its sources, so that later calls only copy it.
set -eu
cd "$(dirname "$0")/.."
src=internal/testenv/vaultdev
sum=$(cat $src/go.mod $src/go.sum $src/*.go | git hash-object --stdin)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/nphiesq
kept=$cache/vaultdev-$sum
if [ ! -x "$kept" ]; then
	echo "building Vault for the tests (once, some minutes)" >&2
	mkdir -p "$cache"
	(cd $src && CGO_ENABLED=0 go build -trimpath -tags minimal -ldflags='-s -w' -o "$kept.$$" .)
	mv "$kept.$$" "$kept"
fi
mkdir -p bin
cmp -s "$kept" bin/vaultdev || { cp "$kept" bin/vaultdev.new && mv bin/vaultdev.new bin/vaultdev; }
