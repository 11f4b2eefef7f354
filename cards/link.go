package cards

import (
	"net"
	"net/url"
	"strings"
)

// maxURL is the longest address a card carries: five of them fit well below the size limit.
const maxURL = 2048

// action is a button that opens a page.
type action struct {
	title phrase
	url   string
}

// usable reports whether address may stand in a card: https, or http on a loopback host, in plain ASCII, without credentials.
func usable(address string) bool {
	if address == "" || len(address) > maxURL {
		return false
	}
	for _, c := range []byte(address) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"\\<>`{}", c) >= 0 {
			return false
		}
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	switch u.Scheme {
	case "https":
		return true
	case "http":
		host := u.Hostname()
		ip := net.ParseIP(host)
		return host == "localhost" || (ip != nil && ip.IsLoopback())
	}
	return false
}

// page is the address of one of our own pages, <monitor>/<kind>/<id>. Without a usable id it is the monitor's own.
func page(monitor, kind, id string) string {
	if monitor == "" || !identifier.MatchString(id) {
		return monitor
	}
	u, err := url.Parse(monitor)
	if err != nil {
		return monitor
	}
	return u.JoinPath(kind, id).String()
}

// buttons keeps the usable ones of all, at most five. The last one is "Details" and is never the one left out.
func buttons(all []action) []action {
	var out []action
	for _, a := range all {
		if usable(a.url) {
			out = append(out, a)
		}
	}
	if over := len(out) - maxActions; over > 0 {
		out = append(out[:maxActions-1], out[len(out)-1])
	}
	return out
}
