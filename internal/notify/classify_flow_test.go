package notify

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestASwitchedOffFlow answers 400, and the message is not at fault.
func TestASwitchedOffFlow(t *testing.T) {
	r := Classify("flow.example", http.StatusBadRequest, http.Header{}, []byte(`{"error":{"code":"WorkflowTriggerIsNotEnabled","message":"The flow is in state 'Disabled'."}}`), time.Now())
	require.Equal(t, Config, r.Class)
	require.Equal(t, "Teams answered HTTP 400 WorkflowTriggerIsNotEnabled: The flow is in state 'Disabled'.", r.Safe)
	r = Classify("flow.example", http.StatusBadRequest, http.Header{}, []byte(`{"error":{"code":"InvalidRequestContent","message":"x"}}`), time.Now())
	require.Equal(t, Permanent, r.Class)
}
