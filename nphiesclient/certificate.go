package nphiesclient

import (
	"crypto/tls"
	"crypto/x509"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// LoadPKCS12 reads the client certificate and key of a .p12 or .pfx file, with the chain it holds. Leaf is set, so that
// the caller can watch NotAfter.
//
// Errors: a fault of Kind Config; it never quotes the passphrase.
func LoadPKCS12(data []byte, passphrase string) (tls.Certificate, error) {
	key, leaf, chain, err := pkcs12.DecodeChain(data, passphrase)
	if err != nil {
		return tls.Certificate{}, certificateFault("cannot read the PKCS#12 file: wrong passphrase, or not such a file", err)
	}
	c := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	for _, x := range chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return c, nil
}

// LoadPEM reads a client certificate, with its chain, and an unencrypted key from PEM text. Leaf is set.
//
// Errors: a fault of Kind Config.
func LoadPEM(certificate, key []byte) (tls.Certificate, error) {
	c, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return tls.Certificate{}, certificateFault("cannot read the PEM certificate and key, or they do not belong together", err)
	}
	return c, nil
}

// LoadRoots reads certificates of authorities from PEM text, for a server whose authority the system does not know.
func LoadRoots(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, certificateFault("no certificate in the PEM text of authorities", nil)
	}
	return pool, nil
}

func certificateFault(safe string, err error) error {
	return &fault.Error{Op: "load certificate", Kind: fault.Config, Safe: safe, Permanent: true, Err: err}
}
