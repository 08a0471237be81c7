package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Watches: many that stay idle, and one whose events are timed.

type watchesResult struct {
	Watches int     `json:"watches"`
	Seconds float64 `json:"seconds"`
	Alive   int     `json:"alive"`
	// Why the first few of the others are not.
	Failures []string `json:"failures"`
}

// runWatches opens the watches, says so on stdout, and holds them until stdin ends. Meanwhile others look at the
// proxy's memory.
func runWatches(ctx context.Context, to *target, plan requestPlan) (*watchesResult, error) {
	result := &watchesResult{}
	begun := time.Now()
	request := []byte(to.head("GET", plan.path, "Accept: application/json\r\n") + "\r\n")
	connections := make([]*connection, 0, plan.connections)
	for range plan.connections {
		conn, err := to.dial(ctx)
		if err != nil {
			return nil, fmt.Errorf("watch %d: %w", len(connections)+1, err)
		}
		defer conn.Close()
		if err := open(conn, request); err != nil {
			return nil, fmt.Errorf("watch %d: %w", len(connections)+1, err)
		}
		connections = append(connections, conn)
	}
	result.Watches = len(connections)
	result.Seconds = time.Since(begun).Seconds()
	fmt.Println("open")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return nil, err
	}
	for _, conn := range connections {
		if err := alive(conn); err == nil {
			result.Alive++
		} else if len(result.Failures) < failuresShown {
			result.Failures = append(result.Failures, err.Error())
		}
	}
	return result, nil
}

func open(conn *connection, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	got, err := conn.readHead()
	if err != nil {
		return err
	}
	if got.status != 200 {
		return fmt.Errorf("status %d", got.status)
	}
	return nil
}

// alive reads what has come meanwhile (events, bookmarks) and asks whether the end was among it.
func alive(conn *connection) error {
	if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return err
	}
	size, err := io.Copy(io.Discard, conn.reader)
	if err == nil {
		return fmt.Errorf("the server ended it after %d bytes", size)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

type writerFlags struct {
	url, authority, certificate, key, path string
	pause                                  time.Duration
}

type eventsResult struct {
	Events int `json:"events"`
	// From the sending of the write to the event's arrival through the contender.
	P50Micros float64 `json:"p50Micros"`
	P99Micros float64 `json:"p99Micros"`
	// How much later than on a direct watch the same event came.
	AddedP50Micros float64 `json:"addedP50Micros"`
	AddedP99Micros float64 `json:"addedP99Micros"`
	Errors         int     `json:"errors"`
}

type sighting struct {
	number int
	at     time.Time
}

// runEvents writes to the API server and takes the time at which each event comes, through the contender and directly.
func runEvents(ctx context.Context, to *target, plan requestPlan, writer writerFlags) (*eventsResult, error) {
	direct, err := newTarget(writer.url, writer.authority, writer.certificate, writer.key, "")
	if err != nil {
		return nil, err
	}
	through, err := watchNumbers(ctx, to, plan.path)
	if err != nil {
		return nil, err
	}
	reference, err := watchNumbers(ctx, direct, plan.path)
	if err != nil {
		return nil, err
	}
	conn, err := direct.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var delays, added []time.Duration
	for i := range plan.count {
		number := os.Getpid()*100_000 + i
		body := fmt.Sprintf(`{"data":{"n":"#%d#"}}`, number)
		more := "Content-Type: application/merge-patch+json\r\n" + fmt.Sprintf("Content-Length: %d\r\n", len(body))
		sent := time.Now()
		if _, err := exchange(conn, []byte(direct.head("PATCH", writer.path, more)+"\r\n"+body)); err != nil {
			return nil, err
		}
		here, err := await(through, number)
		if err != nil {
			return nil, fmt.Errorf("the watch through the contender: %w", err)
		}
		there, err := await(reference, number)
		if err != nil {
			return nil, fmt.Errorf("the direct watch: %w", err)
		}
		delays = append(delays, here.Sub(sent))
		added = append(added, here.Sub(there))
		time.Sleep(writer.pause)
	}
	slices.Sort(delays)
	slices.Sort(added)
	return &eventsResult{
		Events:    len(delays),
		P50Micros: quantile(delays, 0.50), P99Micros: quantile(delays, 0.99),
		AddedP50Micros: quantile(added, 0.50), AddedP99Micros: quantile(added, 0.99),
	}, nil
}

// An event that has not come by then is lost.
const eventTimeout = 5 * time.Second

func await(sightings <-chan sighting, number int) (time.Time, error) {
	timeout := time.After(eventTimeout)
	for {
		select {
		case seen, open := <-sightings:
			if !open {
				return time.Time{}, errClosed
			}
			if seen.number == number {
				return seen.at, nil
			}
		case <-timeout:
			return time.Time{}, fmt.Errorf("event %d did not come within %s", number, eventTimeout)
		}
	}
}

// watchNumbers opens a watch and reports the number in each event (written as #number#) with the time it came at.
func watchNumbers(ctx context.Context, to *target, path string) (<-chan sighting, error) {
	conn, err := to.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := open(conn, []byte(to.head("GET", path, "Accept: application/json\r\n")+"\r\n")); err != nil {
		return nil, err
	}
	// Wide enough that the reader never waits for whoever takes the times.
	sightings := make(chan sighting, 1024)
	go func() {
		defer close(sightings)
		defer conn.Close()
		for {
			line, err := conn.reader.ReadSlice('\n')
			at := time.Now()
			if err != nil {
				return
			}
			if number, found := numbered(line); found {
				sightings <- sighting{number, at}
			}
		}
	}()
	return sightings, nil
}

func numbered(line []byte) (int, bool) {
	_, rest, found := bytes.Cut(line, []byte("\"#"))
	if !found {
		return 0, false
	}
	digits, _, found := bytes.Cut(rest, []byte("#\""))
	if !found {
		return 0, false
	}
	number := 0
	for _, digit := range digits {
		number = number*10 + int(digit-'0')
	}
	return number, true
}
