// Go's httputil.ReverseProxy in front of one API server, with TLS on both sides and nothing else: no authentication, no
// policy, no record, no buffer pool. It is the yardstick: what a proxy costs that does nothing but proxy.
//
// Clients speak HTTP/1.1, as with the gate. Upstream it is HTTP/1.1, or HTTP/2 with -h2 (Go's own default for such a
// program). FlushInterval -1 hands over every write at once, which watches need.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"
)

// More connections than any workload opens: none is closed only to be dialled again.
const idleConnections = 10000

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	certificate := flag.String("cert", "", "certificate to serve, PEM")
	key := flag.String("key", "", "its private key, PEM")
	upstream := flag.String("upstream", "", "URL of the API server")
	authority := flag.String("ca", "", "authority that the API server's certificate must come from, PEM")
	clientCertificate := flag.String("client-cert", "", "certificate for the API server, PEM")
	clientKey := flag.String("client-key", "", "its private key, PEM")
	http2 := flag.Bool("h2", false, "HTTP/2 to the API server")
	flag.Parse()

	target, err := url.Parse(*upstream)
	check(err)
	pem, err := os.ReadFile(*authority)
	check(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		log.Fatalf("%s holds no certificate", *authority)
	}
	own, err := tls.LoadX509KeyPair(*clientCertificate, *clientKey)
	check(err)

	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}},
		MaxIdleConns:        idleConnections,
		MaxIdleConnsPerHost: idleConnections,
		IdleConnTimeout:     90 * time.Second,
		// Bodies pass as they are: the client decides about compression.
		DisableCompression: true,
		ForceAttemptHTTP2:  *http2,
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(request *httputil.ProxyRequest) { request.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1,
	}
	server := &http.Server{
		Addr:    *listen,
		Handler: proxy,
		// A map that is there and empty switches HTTP/2 off.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		TLSConfig:    &tls.Config{NextProtos: []string{"http/1.1"}},
	}
	check(server.ListenAndServeTLS(*certificate, *key))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
