package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// One exec over WebSocket, as kubectl opens it, read to its end: how fast a program's output comes through.

const (
	// The newest of Kubernetes' remotecommand protocols; the first byte of each message is its channel.
	protocol     = "v5.channel.k8s.io"
	channelOut   = 1
	channelError = 3
	// RFC 6455, 5.2.
	opcodeClose = 8
	opcodePing  = 9
)

type execResult struct {
	Requests int     `json:"requests"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	Status   string  `json:"status"`
}

func runExec(ctx context.Context, to *target, plan requestPlan) (*execResult, error) {
	conn, err := to.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	key := base64.StdEncoding.EncodeToString([]byte("narrowgate bench"))
	more := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key +
		"\r\nSec-WebSocket-Protocol: " + protocol + "\r\n"
	begun := time.Now()
	if _, err := io.WriteString(conn, to.head("GET", plan.path, more)+"\r\n"); err != nil {
		return nil, err
	}
	got, err := conn.readHead()
	if err != nil {
		return nil, err
	}
	if got.status != 101 {
		return nil, fmt.Errorf("exec: status %d", got.status)
	}
	result := &execResult{Requests: 1}
	for {
		ended, err := result.frame(conn)
		if err != nil {
			return nil, err
		}
		if ended {
			result.Seconds = time.Since(begun).Seconds()
			return result, nil
		}
	}
}

// frame reads one WebSocket frame (RFC 6455, 5.2) and says whether it was the last.
func (r *execResult) frame(conn *connection) (bool, error) {
	var head [2]byte
	if _, err := io.ReadFull(conn.reader, head[:]); err != nil {
		return false, fmt.Errorf("exec ended without a close frame: %w", unexpected(err))
	}
	size, err := frameSize(conn, head[1])
	if err != nil {
		return false, err
	}
	switch head[0] & 0x0f {
	case opcodeClose:
		return true, nil
	case opcodePing:
		return false, errors.New("a ping of the server, which Kubernetes does not send")
	}
	if size == 0 {
		return false, nil
	}
	channel, err := conn.reader.ReadByte()
	if err != nil {
		return false, unexpected(err)
	}
	switch channel {
	case channelOut:
		r.Bytes += size - 1
	case channelError:
		text := make([]byte, size-1)
		_, err := io.ReadFull(conn.reader, text)
		r.Status = string(text)
		return false, err
	}
	return false, conn.skip(size - 1)
}

func frameSize(conn *connection, second byte) (int64, error) {
	if second&0x80 != 0 {
		return 0, errors.New("a masked frame from a server")
	}
	length := 0
	switch second {
	case 126:
		length = 2
	case 127:
		length = 8
	default:
		return int64(second), nil
	}
	var size [8]byte
	if _, err := io.ReadFull(conn.reader, size[8-length:]); err != nil {
		return 0, unexpected(err)
	}
	return int64(binary.BigEndian.Uint64(size[:])), nil
}
