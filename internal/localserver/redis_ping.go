package localserver

import (
	"context"
	"errors"
	"net"
	"time"
)

// redisPing asks for a PONG over the socket without a client library, so that a half-started server costs nothing.
func redisPing(ctx context.Context, sock string) error {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "unix", sock)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	buf := make([]byte, 16)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	if string(buf[:n]) != "+PONG\r\n" {
		return errors.New("redis is still loading")
	}
	return nil
}
