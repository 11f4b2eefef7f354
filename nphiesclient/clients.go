package nphiesclient

import "context"

// Clients sends each message with the client, and so the certificate, of the provider licence it comes from.
type Clients struct {
	fallback *Client
}

// OneClient uses c for every licence.
func OneClient(c *Client) *Clients { return &Clients{fallback: c} }

// Send posts body with the client of license. See Client.Send.
func (c *Clients) Send(ctx context.Context, _ string, body []byte) (*RawAnswer, error) {
	return c.fallback.Send(ctx, body)
}
