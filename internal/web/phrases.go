package web

import (
	_ "embed" // phrases.txt
	"strings"
)

//go:embed phrases.txt
var phrasesText string

// phrases are all words of the pages in Arabic, by their English text. Numbers and names fill the %s in the same order. They come from
// phrases.txt: one a line, English, a tab, Arabic. A test holds the file to what the pages say.
var phrases = readPhrases(phrasesText)

func readPhrases(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		from, to, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok || out[from] != "" {
			panic("web: phrases.txt: " + from) // embedded: a test has read it
		}
		out[from] = to
	}
	return out
}
