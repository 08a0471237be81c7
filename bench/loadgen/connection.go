package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// HTTP/1.1 over one TLS connection, as cheap as it gets: requests are bytes made beforehand, of responses only the
// framing is read. The generator shares the machine with what it measures, so whatever it saves counts.

const (
	// Large lists come in large TLS records; a reader of that size takes them in one call.
	readBuffer = 64 << 10
	// A server of the same machine that has not answered by then never will.
	dialTimeout = 10 * time.Second
)

var errClosed = errors.New("the server closed the connection")

// target is who is asked, and as whom.
type target struct {
	address string
	host    string
	headers string
	tls     *tls.Config
}

func newTarget(url, authority, certificate, key, token string) (*target, error) {
	address, found := strings.CutPrefix(url, "https://")
	if !found {
		return nil, fmt.Errorf("%q: want https://host:port", url)
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", authority)
	}
	config := &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}}
	if certificate != "" {
		own, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{own}
	}
	to := &target{address: address, host: address, tls: config}
	if token != "" {
		to.headers = "Authorization: Bearer " + token + "\r\n"
	}
	return to, nil
}

// head is the first line and the header of a request, without the empty line that ends it.
func (t *target) head(method, path, more string) string {
	return method + " " + path + " HTTP/1.1\r\nHost: " + t.host + "\r\nUser-Agent: narrowgate-bench\r\n" + t.headers + more
}

type connection struct {
	net.Conn
	reader *bufio.Reader
}

func (t *target) dial(ctx context.Context) (*connection, error) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: t.tls}
	conn, err := dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	return &connection{Conn: conn, reader: bufio.NewReaderSize(conn, readBuffer)}, nil
}

// answer is what the header of a response says about the rest.
type answer struct {
	status  int
	length  int64
	chunked bool
	closes  bool
}

func (c *connection) readHead() (answer, error) {
	line, err := c.line()
	if err != nil {
		return answer{}, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return answer{}, fmt.Errorf("not an HTTP/1.1 response: %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return answer{}, err
	}
	got := answer{status: status, length: -1}
	for {
		line, err := c.line()
		if err != nil {
			return answer{}, err
		}
		if len(line) == 0 {
			return got, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if got.length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return answer{}, err
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			got.chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("connection")):
			got.closes = bytes.EqualFold(value, []byte("close"))
		}
	}
}

// discardBody reads to the end of the response's body and returns its size in bytes, framing not counted.
func (c *connection) discardBody(got answer) (int64, error) {
	if got.chunked {
		var total int64
		for {
			size, err := c.chunk()
			if err != nil || size == 0 {
				return total, err
			}
			if err := c.skip(size + 2); err != nil {
				return total, err
			}
			total += size
		}
	}
	if got.length < 0 {
		return io.Copy(io.Discard, c.reader)
	}
	return got.length, c.skip(got.length)
}

// chunk reads the size of the next chunk; after the last one (size 0) the empty trailer is read too.
func (c *connection) chunk() (int64, error) {
	line, err := c.line()
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseInt(string(line), 16, 64)
	if err == nil && size == 0 {
		_, err = c.line()
	}
	return size, err
}

func (c *connection) skip(size int64) error {
	for size > 0 {
		skipped, err := c.reader.Discard(int(min(size, 1<<30)))
		if err != nil {
			return unexpected(err)
		}
		size -= int64(skipped)
	}
	return nil
}

func (c *connection) line() ([]byte, error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return nil, unexpected(err)
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return errClosed
	}
	return err
}
