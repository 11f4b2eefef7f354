package cards

import (
	"fmt"
	"time"
)

// Certificate is the details of "vault.certificate.expiring".
type Certificate struct {
	CommonName string    `json:"common_name"`
	Serial     string    `json:"serial"` // only its last eight characters are shown
	NotAfter   time.Time `json:"not_after"`
	Issuer     string    `json:"issuer,omitempty"`
	Mount      string    `json:"mount,omitempty"`
	UsedBy     string    `json:"used_by,omitempty"`
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
	title := fmt.Sprintf("Certificate expires in %d days", d.DaysLeft)
	switch {
	case d.Revoked:
		title = "Certificate revoked"
	case d.DaysLeft <= 0:
		title = "Certificate expired"
	case d.DaysLeft == 1:
		title = "Certificate expires in 1 day"
	}
	serial := []rune(line(d.Serial))
	return content{
		title:   title,
		object:  d.CommonName,
		counter: fmt.Sprintf("%d d", d.DaysLeft),
		facts: []fact{
			must("Common name", d.CommonName),
			must("Serial (end)", string(serial[max(0, len(serial)-8):])),
			must("Not after", moment(d.NotAfter)),
			must("Days left", fmt.Sprint(d.DaysLeft)),
			may("Issuer", d.Issuer),
			may("Mount", d.Mount),
			may("Used by", d.UsedBy),
		},
		actions: []action{
			{"Vault runbook", l.VaultRunbook},
			{"Grafana", l.Grafana},
			{"Details", l.Monitor},
		},
	}
}
