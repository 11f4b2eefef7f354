package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

const certsUsage = `Usage: nphiessim certs [flags] DIR

Makes a throwaway authority, a server certificate for loopback and a client certificate for each licence, and writes them to DIR:
ca.crt, server.crt, server.key, and for each licence <licence>.crt, <licence>.key, <licence>.p12 and <licence>.pass. Then:

  nphiessim --tls-cert DIR/server.crt --tls-key DIR/server.key --client-ca DIR/ca.crt

Flags:
`

// certs runs "nphiessim certs" and returns the exit code. Existing files are not written over.
func certs(args []string, stdout, stderr io.Writer) int {
	var licenses list
	fs := flag.NewFlagSet("nphiessim certs", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Var(&licenses, "license", "provider `licence` to make a client certificate for; may be repeated")
	days := fs.Int("days", 30, "how long the certificates are valid")
	wrong := func(err error) int {
		_, _ = fmt.Fprintf(stderr, "nphiessim certs: %v\nRun nphiessim certs --help for the flags.\n", err)
		return exitUsage
	}
	err := fs.Parse(args)
	var dirs []string
	for err == nil && fs.NArg() > 0 { // flags may stand before and after the folder
		dirs = append(dirs, fs.Arg(0))
		err = fs.Parse(fs.Args()[1:])
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(stdout, certsUsage)
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return exitOK
	case err != nil:
		return wrong(err)
	case len(dirs) != 1:
		return wrong(errors.New("one directory is needed"))
	case len(licenses) == 0:
		return wrong(errors.New("--license is needed, once or more"))
	case *days < 1 || *days > 3650:
		return wrong(errors.New("--days: want 1 to 3650"))
	}
	for _, l := range licenses {
		if l != filepath.Base(l) || l == "." || l == ".." {
			return wrong(fmt.Errorf("--license %q: want no slash, it names files", l))
		}
	}
	written, err := makeCertificates(dirs[0], licenses, time.Now(), *days)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "nphiessim certs: %v\n", err)
		return exitError
	}
	if err := json.NewEncoder(stdout).Encode(map[string][]string{"written": written}); err != nil {
		return exitError
	}
	return exitOK
}

// issuer signs the certificates of one call.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	from, until time.Time
}

// issue makes a certificate and key; without a parent the issuer's own.
func (a *issuer) issue(subject pkix.Name, change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: subject, NotBefore: a.from, NotAfter: a.until, KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	change(template)
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	c, err := x509.ParseCertificate(der)
	return c, key, err
}

func makeCertificates(dir string, licenses []string, now time.Time, days int) (written []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a := &issuer{from: now.Add(-time.Hour), until: now.AddDate(0, 0, days)}
	a.certificate, a.key, err = a.issue(pkix.Name{CommonName: "nphiessim throwaway authority"}, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
	})
	if err != nil {
		return nil, err
	}
	write := func(name string, body []byte) error {
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the user names the folder
		if err != nil {
			return err
		}
		written = append(written, path)
		_, err = f.Write(body)
		return errors.Join(err, f.Close())
	}
	pair := func(name string, c *x509.Certificate, key *ecdsa.PrivateKey) error {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		return errors.Join(write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})),
			write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	}
	if err := write("ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})); err != nil {
		return written, err
	}
	c, key, err := a.issue(pkix.Name{CommonName: "localhost"}, func(c *x509.Certificate) {
		c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	if err == nil {
		err = pair("server", c, key)
	}
	for _, license := range licenses {
		if err != nil {
			return written, err
		}
		c, key, err = a.issue(pkix.Name{CommonName: "nphiessim client " + license, Organization: []string{license}}, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		})
		if err != nil {
			return written, err
		}
		passphrase := rand.Text()
		p12, encodeErr := pkcs12.Modern.Encode(key, c, []*x509.Certificate{a.certificate}, passphrase)
		err = errors.Join(encodeErr, pair(license, c, key), write(license+".p12", p12), write(license+".pass", []byte(passphrase+"\n")))
	}
	return written, err
}
