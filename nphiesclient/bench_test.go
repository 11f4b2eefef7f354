package nphiesclient_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/synth"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

func BenchmarkBuildClaim(b *testing.B) {
	doc := synth.Claim(1, 0, synth.Options{Kinds: []string{"professional"}})
	for b.Loop() {
		_, err := nphiesclient.BuildClaim(&doc, buildOptions())
		require.NoError(b, err)
	}
}

func BenchmarkParseClaimResponse(b *testing.B) {
	raw := message(b, "claim-response-partial.json")
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		_, err := nphiesclient.Parse(raw)
		require.NoError(b, err)
	}
}

func BenchmarkParsePoll(b *testing.B) {
	raw := message(b, "poll-response-multi.json")
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		_, err := nphiesclient.Parse(raw)
		require.NoError(b, err)
	}
}
