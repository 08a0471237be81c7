package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Requests one after the other on each of a number of connections, for a time or up to a count.

type requestPlan struct {
	method      string
	path        string
	accept      string
	contentType string
	body        string
	connections int
	duration    time.Duration
	count       int
}

// placeholder in a body becomes another number each time: a patch that changes nothing writes nothing.
const (
	placeholder = "@@@@@@@@@@@@"
	// In a path: the number of the connection, so that connections need not fight over one object.
	workerPlaceholder = "{connection}"
	// The first failures say what is wrong; the rest say the same.
	failuresShown = 3
)

type requestResult struct {
	Requests   int      `json:"requests"`
	Seconds    float64  `json:"seconds"`
	Bytes      int64    `json:"bytes"`
	BytesFirst int64    `json:"bytesFirst"`
	P50Micros  float64  `json:"p50Micros"`
	P90Micros  float64  `json:"p90Micros"`
	P99Micros  float64  `json:"p99Micros"`
	MaxMicros  float64  `json:"maxMicros"`
	Errors     int      `json:"errors"`
	Failures   []string `json:"failures,omitempty"`
}

type tally struct {
	latencies []time.Duration
	bytes     int64
	first     int64
	failures  []string
	errors    int
}

func runRequests(ctx context.Context, to *target, plan requestPlan) (*requestResult, error) {
	connections := make([]*connection, plan.connections)
	for i := range connections {
		conn, err := to.dial(ctx)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		connections[i] = conn
	}
	tallies := make([]tally, plan.connections)
	var group sync.WaitGroup
	begun := time.Now()
	for i, conn := range connections {
		group.Go(func() { tallies[i] = plan.drive(ctx, to, conn, i, begun.Add(plan.duration)) })
	}
	group.Wait()
	return summary(tallies, time.Since(begun)), nil
}

func (p requestPlan) drive(ctx context.Context, to *target, conn *connection, worker int, end time.Time) tally {
	var done tally
	request, counter := p.bytes(to, worker)
	number := worker * 1_000_000_000
	remaining := p.count / p.connections
	for p.count == 0 || remaining > 0 {
		begun := time.Now()
		if p.count == 0 && begun.After(end) {
			break
		}
		remaining--
		number++
		if counter >= 0 {
			// The pid keeps the numbers of two runs apart.
			copy(request[counter:], fmt.Sprintf("%0*d", len(placeholder), (number+os.Getpid()*10_000_000_000)%1_000_000_000_000))
		}
		size, err := exchange(conn, request)
		if err != nil {
			done.fail(err)
			fresh, err := to.dial(ctx)
			if err != nil || len(done.failures) >= failuresShown {
				return done
			}
			defer fresh.Close()
			conn = fresh
			continue
		}
		done.latencies = append(done.latencies, time.Since(begun))
		done.bytes += size
		if done.first == 0 {
			done.first = size
		}
	}
	return done
}

// bytes is the whole request, and where in it the number goes; -1 when nowhere.
func (p requestPlan) bytes(to *target, worker int) ([]byte, int) {
	more := ""
	if p.accept != "" {
		more += "Accept: " + p.accept + "\r\n"
	}
	if p.body != "" {
		more += "Content-Type: " + p.contentType + "\r\nContent-Length: " + strconv.Itoa(len(p.body)) + "\r\n"
	}
	path := strings.ReplaceAll(p.path, workerPlaceholder, strconv.Itoa(worker))
	text := to.head(p.method, path, more) + "\r\n" + p.body
	return []byte(text), strings.Index(text, placeholder)
}

func exchange(conn *connection, request []byte) (int64, error) {
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	got, err := conn.readHead()
	if err != nil {
		return 0, err
	}
	if got.status/100 != 2 {
		return 0, fmt.Errorf("status %d", got.status)
	}
	size, err := conn.discardBody(got)
	if err == nil && got.closes {
		err = errClosed
	}
	return size, err
}

func (t *tally) fail(err error) {
	t.errors++
	if len(t.failures) < failuresShown {
		t.failures = append(t.failures, err.Error())
	}
}

func summary(tallies []tally, elapsed time.Duration) *requestResult {
	result := &requestResult{Seconds: elapsed.Seconds()}
	var all []time.Duration
	for _, one := range tallies {
		all = append(all, one.latencies...)
		result.Bytes += one.bytes
		result.BytesFirst = max(result.BytesFirst, one.first)
		result.Errors += one.errors
		result.Failures = append(result.Failures, one.failures...)
	}
	result.Requests = len(all)
	slices.Sort(all)
	result.P50Micros = quantile(all, 0.50)
	result.P90Micros = quantile(all, 0.90)
	result.P99Micros = quantile(all, 0.99)
	result.MaxMicros = quantile(all, 1)
	return result
}

// quantile of sorted durations, in microseconds, by the nearest rank.
func quantile(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(share * float64(len(sorted)-1))
	return float64(sorted[rank].Nanoseconds()) / 1000
}
