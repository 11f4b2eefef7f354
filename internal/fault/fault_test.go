package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
)

func TestErrorHidesItsCause(t *testing.T) {
	cause := fmt.Errorf("dial https://user:secret@host: %w", io.EOF)
	err := fmt.Errorf("wrapped: %w", &fault.Error{Op: "send claim-request", Kind: fault.Network, Code: "HTTP 503", Safe: "no FHIR in the answer", Err: cause})
	require.Equal(t, "wrapped: send claim-request: network HTTP 503: no FHIR in the answer", err.Error())
	require.NotContains(t, fmt.Sprintf("%+v", err), "secret")
	require.ErrorIs(t, err, io.EOF)
	require.True(t, fault.Is(err, fault.Network))
	require.False(t, fault.Is(err, fault.API))
}

func TestOfUnknownError(t *testing.T) {
	require.Nil(t, fault.Of(nil))
	require.Empty(t, fault.KindOf(nil))
	err := errors.New("patient Demo is unknown")
	require.Equal(t, fault.Internal, fault.KindOf(err))
	require.NotContains(t, fault.Of(err).Error(), "Demo")
	require.ErrorIs(t, fault.Of(err), err)
}

func TestKindsAreDistinct(t *testing.T) {
	seen := map[fault.Kind]bool{}
	for _, k := range fault.Kinds() {
		require.False(t, seen[k], "%s twice", k)
		seen[k] = true
	}
	require.Len(t, seen, 11)
}

func TestParseTextReadsBack(t *testing.T) {
	for _, e := range []*fault.Error{
		{Op: "send claim-request", Kind: fault.Network, Code: "HTTP 503", Safe: "api: not FHIR"}, {Kind: fault.API, Code: "GE-00012"}, {Op: "poll", Kind: fault.RateLimited},
	} {
		k, code := fault.ParseText(e.Error())
		require.Equal(t, e.Kind, k)
		require.Equal(t, e.Code, code)
	}
	k, code := fault.ParseText("asynq: task lease expired")
	require.Equal(t, fault.Internal, k)
	require.Empty(t, code)
}
