// Go's standard reverse proxy with TLS on both sides and nothing else: what the gate is measured against.
module narrowgate.dev/bench/reverseproxy

go 1.26.0
