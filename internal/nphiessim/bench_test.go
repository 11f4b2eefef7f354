package nphiessim

import "testing"

// BenchmarkClaim measures what one claim costs, without HTTP.
func BenchmarkClaim(b *testing.B) {
	body, err := readTestdata("claim-request-professional")
	if err != nil {
		b.Fatal(err)
	}
	s := New(Options{})
	for b.Loop() {
		v, err := parseJSON(body)
		if err != nil {
			b.Fatal(err)
		}
		m := newMessage(body, v, testNow)
		s.Reset()
		if _, findings := s.takeClaim(m); len(findings) > 0 {
			b.Fatal(findings)
		}
	}
}
