// What kubectl and kubelet read SPDY with, for the tests: moby/spdystream's framer, and a small program around it (main.go).
module narrowgate.dev/dev/spdy

go 1.26.0

require github.com/moby/spdystream v0.5.1
