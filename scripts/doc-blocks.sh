#!/bin/sh
# doc-blocks.sh FILE HEADING prints the commands of one section of a page: the blocks fenced with ```sh script, and nothing else.
set -eu
awk -v want="$2" '
	/^```/ { if (inside) { inside = 0 } else { inside = 1; take = here && $0 == "```sh script"; if (take) found = 1 } next }
	inside { if (take) print; next }
	/^## / { here = substr($0, 4) == want }
	END { if (!found) { print "doc-blocks.sh: no commands below \"" want "\"" >"/dev/stderr"; exit 1 } }
' "$1"
