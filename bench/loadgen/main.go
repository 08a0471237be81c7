// The load generator of the bench: HTTP/1.1 over TLS, one mode a run, one line of JSON on stdout as the answer.
//
//	load -url https://127.0.0.1:6443 -ca ca.crt -mode requests -path /api/v1/... -connections 8 -duration 4s
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	url := flag.String("url", "", "https://host:port of the contender")
	authority := flag.String("ca", "", "authority of its certificate, PEM")
	certificate := flag.String("cert", "", "client certificate, PEM")
	key := flag.String("key", "", "its private key, PEM")
	token := flag.String("token-file", "", "file with a bearer token")
	mode := flag.String("mode", "requests", "requests, watches, events or exec")
	var plan requestPlan
	flag.StringVar(&plan.method, "method", "GET", "HTTP method")
	flag.StringVar(&plan.path, "path", "/", "path and query")
	flag.StringVar(&plan.accept, "accept", "", "Accept header")
	flag.StringVar(&plan.contentType, "content-type", "application/json", "of the body")
	flag.StringVar(&plan.body, "body", "", placeholder+" in it becomes another number each time")
	flag.IntVar(&plan.connections, "connections", 1, "connections (requests), or watches (watches)")
	flag.DurationVar(&plan.duration, "duration", time.Second, "how long (requests)")
	flag.IntVar(&plan.count, "count", 0, "how many requests or events, instead of a duration")
	var writer writerFlags
	flag.StringVar(&writer.url, "direct-url", "", "the API server itself (events)")
	flag.StringVar(&writer.authority, "direct-ca", "", "its authority, PEM")
	flag.StringVar(&writer.certificate, "direct-cert", "", "client certificate for it, PEM")
	flag.StringVar(&writer.key, "direct-key", "", "its private key, PEM")
	flag.StringVar(&writer.path, "write-path", "", "the object that is patched there (events)")
	flag.DurationVar(&writer.pause, "pause", 10*time.Millisecond, "between two writes (events)")
	flag.Parse()

	ctx := context.Background()
	to, err := newTarget(*url, *authority, *certificate, *key, read(*token))
	check(err)
	var result any
	switch *mode {
	case "requests":
		result, err = runRequests(ctx, to, plan)
	case "watches":
		result, err = runWatches(ctx, to, plan)
	case "events":
		result, err = runEvents(ctx, to, plan, writer)
	case "exec":
		result, err = runExec(ctx, to, plan)
	default:
		err = fmt.Errorf("no mode %q", *mode)
	}
	check(err)
	check(json.NewEncoder(os.Stdout).Encode(result))
}

func read(path string) string {
	if path == "" {
		return ""
	}
	text, err := os.ReadFile(path)
	check(err)
	return string(text)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}
