// Package proxied finds out from which address a request came when a proxy stands before the program.
package proxied

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Parse reads networks (10.0.0.0/8) and addresses (192.0.2.7), separated by blanks or commas.
func Parse(text string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, f := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' }) {
		p, err := netip.ParsePrefix(f)
		if err != nil {
			a, err := netip.ParseAddr(f)
			if err != nil {
				return nil, fmt.Errorf("%q is not allowed; want networks such as 10.0.0.0/8 or addresses such as 192.0.2.7", f)
			}
			p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		}
		if p.Bits() == 0 {
			return nil, fmt.Errorf("%q is everybody: whoever sends X-Forwarded-For could be anyone", f)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Trust gives requests that come from one of the proxies the address that this proxy saw, as their RemoteAddr: the last one of
// X-Forwarded-For that is no proxy of ours. What others send in that header counts for nothing.
func Trust(proxies []netip.Prefix, next http.Handler) http.Handler {
	if len(proxies) == 0 {
		return next
	}
	ours := func(a netip.Addr) bool {
		return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, ok := parse(r.RemoteAddr)
		if !ok || !ours(from) {
			next.ServeHTTP(w, r)
			return
		}
		chain := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, entry := range slices.Backward(chain) {
			a, ok := parse(strings.TrimSpace(entry))
			if !ok {
				break
			}
			if from = a; !ours(a) {
				break
			}
		}
		r2 := r.Clone(r.Context())
		r2.RemoteAddr = net.JoinHostPort(from.String(), "0")
		next.ServeHTTP(w, r2)
	})
}

// parse reads an address with or without a port.
func parse(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap().WithZone(""), err == nil
}
