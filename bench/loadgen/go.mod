// The load generator of the bench.
module narrowgate.dev/bench/loadgen

go 1.26.0
