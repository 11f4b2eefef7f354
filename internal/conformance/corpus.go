package conformance

import (
	"os"
	"path/filepath"
	"strings"
)

// ReadCorpus reads the golden requests and the sample answers of nphiesclient/testdata.
func ReadCorpus(testdata string) (Corpus, error) {
	c := Corpus{Requests: map[string][]byte{}, Answers: map[string][]byte{}}
	for folder, to := range map[string]map[string][]byte{"golden": c.Requests, "messages": c.Answers} {
		files, err := filepath.Glob(filepath.Join(testdata, folder, "*.json"))
		if err != nil {
			return c, err
		}
		for _, f := range files {
			name := filepath.Base(f)
			if folder == "messages" && strings.Contains(name, "-request") && name != "communication-request.json" {
				continue
			}
			body, err := os.ReadFile(f) //nolint:gosec // files of this repository
			if err != nil {
				return c, err
			}
			to[name] = body
		}
	}
	return c, nil
}
