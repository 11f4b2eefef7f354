package cards

import (
	"strconv"
	"time"
)

// Certificate is the details of "vault.certificate.expiring".
type Certificate struct {
	CommonName string    `json:"common_name"`
	Serial     string    `json:"serial"` // only its last eight characters are shown
	NotAfter   time.Time `json:"not_after"`
	Issuer     string    `json:"issuer,omitempty"`
	Mount      string    `json:"mount,omitempty"` // where it is kept: a Vault mount and role, a path, a file
	UsedBy     string    `json:"used_by,omitempty"`
	Renewal    string    `json:"renewal,omitempty"`     // "automatic", "manual"
	LastResult string    `json:"last_result,omitempty"` // of the last renewal, safe text
	Revoked    bool      `json:"revoked,omitempty"`
	DaysLeft   int       `json:"days_left"` // 0 and less: expired
}

func routeCertificate(d Certificate, _ Priority, s []Stakeholder) (Priority, []Stakeholder) {
	switch {
	case d.DaysLeft <= 1:
		return Critical, s
	case d.DaysLeft <= 7, d.Revoked:
		return High, s
	case d.DaysLeft <= 30:
		return Medium, s
	}
	return Low, s
}

func buildCertificate(d Certificate, _ Event, l Links) content {
	w := l.Language
	title := w.say("Certificate expires in %s days", d.DaysLeft)
	switch {
	case d.Revoked:
		title = w.say("Certificate revoked")
	case d.DaysLeft <= 0:
		title = w.say("Certificate expired")
	case d.DaysLeft == 1:
		title = w.say("Certificate expires in 1 day")
	}
	return content{
		title:   title,
		object:  d.CommonName,
		counter: w.say("%s d", d.DaysLeft),
		facts: []fact{
			must("Common name", d.CommonName),
			must("Serial (end)", serialEnd(d.Serial)),
			must("Not after", moment(d.NotAfter)),
			must("Days left", strconv.Itoa(d.DaysLeft)),
			may("Issuer", d.Issuer),
			may("Mount", d.Mount),
			may("Used by", d.UsedBy),
			may("Renewal", w.word(d.Renewal)),
			may("Last renewal", d.LastResult),
		},
		actions: []action{
			{"Vault runbook", l.VaultRunbook},
			{"Grafana", l.Grafana},
			{"Details", l.Monitor},
		},
	}
}

// serialEnd is the last eight characters of a certificate's serial number.
func serialEnd(serial string) string {
	s := []rune(line(serial))
	return string(s[max(0, len(s)-8):])
}
