package nphiesclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// holder keeps the certificate of one licence as it was last seen whole: what is broken, gone or out of reach leaves the old
// one in use.
type holder struct {
	license string
	source  Source

	looking sync.Mutex // one look at a time, so that an older reading never replaces a newer one; only a look writes what follows

	mu        sync.Mutex
	looked    bool // the source has answered, if only that nothing is there
	stamp     string
	identity  *Identity
	digest    string
	problem   error
	problemID string
	reloads   int
	failures  int
}

// look reads the source. The error is why what is there cannot be used; there may well be an older certificate in use.
func (h *holder) look(ctx context.Context) error {
	h.looking.Lock()
	defer h.looking.Unlock()
	stamp := h.stampNow() // before reading: a change in between is seen at the next look
	m, err := h.source.Read(ctx)
	next, digest := h.identity, h.digest
	var problemID string
	switch {
	case err != nil:
		sum := sha256.Sum256([]byte(err.Error()))
		problemID = hex.EncodeToString(sum[:])
	case m.digest() != h.digest:
		digest = m.digest()
		if next, err = m.Identity(); err != nil {
			problemID = digest
		}
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.looked && fault.Is(err, fault.Unavailable) {
		return err // nothing is known: the next one looks again
	}
	had := h.identity != nil
	h.looked, h.stamp, h.problem = true, stamp, err
	if err != nil {
		if problemID != h.problemID && (had || !fault.Is(err, fault.NotFound)) {
			h.failures++
		}
		h.problemID = problemID
		return err
	}
	if had && next != h.identity {
		h.reloads++
	}
	h.identity, h.digest, h.problemID = next, digest, ""
	return nil
}

// stampNow asks the source for a cheap sign of change, "" when it has none.
func (h *holder) stampNow() string {
	if s, ok := h.source.(stamper); ok {
		return s.stamp()
	}
	return ""
}

// current returns the certificate in use, after a look at the source where that is cheap or was never done. The error is why
// there is none.
func (h *holder) current(ctx context.Context) (*Identity, error) {
	stamp := h.stampNow()
	h.mu.Lock()
	stale := !h.looked || stamp != h.stamp
	h.mu.Unlock()
	var err error
	if stale {
		err = h.look(ctx)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.identity != nil:
		return h.identity, nil
	case err != nil:
		return nil, err
	}
	return nil, h.problem
}

func (h *holder) state() CertificateState {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := CertificateState{
		License: h.license, Source: h.source.String(), Reloads: h.reloads, Failures: h.failures, Problem: h.problem, ProblemID: h.problemID,
	}
	if h.identity != nil {
		leaf := h.identity.Certificate.Leaf
		s.Fingerprint, s.NotAfter = h.identity.Fingerprint(), leaf.NotAfter
		s.CommonName, s.Issuer, s.Serial = leaf.Subject.CommonName, leaf.Issuer.CommonName, leaf.SerialNumber.Text(16)
	}
	return s
}
