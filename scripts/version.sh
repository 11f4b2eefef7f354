#!/bin/sh
# version.sh deb|chart VERSION [SECONDS] writes what git describe says of a commit as the version of a Debian package or of a chart, so that releases
# and what lies before and between them are in order: 1.4.0-rc1 < 1.4.0 < three commits after it < 1.4.1. What has no tag has its date, that of the
# commit in seconds since 1970, and is below all releases. For a chart, whose versions know no "after", commits after a release have the number of the release.
set -eu
kind=$1 version=$2 seconds=${3:-0}
after=""
rest=${version%-dirty}
[ "$rest" = "$version" ] || after=.dirty
if printf '%s\n' "$rest" | grep -qE '^v[0-9]+\.[0-9]+\.[0-9]+(-.*)?$'; then
	rest=${rest#v}
	commits=$(printf '%s\n' "$rest" | sed -nE 's/.*-([0-9]+-g[0-9a-f]+)$/\1/p')
	if [ -n "$commits" ]; then
		rest=${rest%-"$commits"}
		after=.$(printf '%s' "$commits" | tr - .)$after
	fi
	base=${rest%%-*}
	before=${rest#"$base"}
	before=${before#-}
	case $kind in
	deb) printf '%s\n' "$base${before:+~$(printf '%s' "$before" | tr - .)}${after:++${after#.}}" ;;
	chart) printf '%s\n' "$base${before:+-$before}${after:++${after#.}}" ;;
	*) exit 2 ;;
	esac
	exit 0
fi
if printf '%s\n' "$rest" | grep -qE '^[0-9a-f]{7,40}$'; then rest=g$rest; fi
rest=$(printf '%s' "$rest" | tr -c 'A-Za-z0-9.' .)
date=$(date -u -d "@$seconds" +%Y%m%d%H%M%S 2>/dev/null || date -u -r "$seconds" +%Y%m%d%H%M%S)
case $kind in
deb) printf '%s\n' "0~$date.$rest$after" ;;
chart) printf '%s\n' "0.0.0-$date.$rest$after" ;;
*) exit 2 ;;
esac
