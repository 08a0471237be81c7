"""Random heads: nothing but Malformed may come out, and what is taken has one reading.

    python tests/fuzz/fuzz_http1.py --seconds 60 [--seed 7]

Prints the seed, so that a failure can be had again, and how much was read and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzz.driver import fuzz

from narrowgate.core.malformed import Malformed
from narrowgate.wire.http1 import read_request_head, read_response_head, write_request_head, write_response_head

# fmt: off
STARTS = (
    b"GET / HTTP/1.1", b"POST /api?x HTTP/1.1", b"HEAD /x HTTP/1.1", b"GET * HTTP/1.1", b"GET http://a/ HTTP/1.1",
    b"OPTIONS / HTTP/1.0", b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 101 S", b"HTTP/1.1 304",
    b"HTTP/1.0 200 OK",
)
LINES = (
    b"Host: a", b"Content-Length: 5", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip",
    b"Connection: close", b"Connection: Upgrade, X", b"Upgrade: websocket", b"Expect: 100-continue", b"X: y",
    b"Authorization: Bearer t", b"Authorization: Bearer u", b"Content-Type: a/b", b"Impersonate-User: x", b"Trailer: X",
)
ODD = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b" ", b"\t", b":", b",", b";", b"\x0b", b"\xa0", b"\xff", b"0x5",
    b"+5", b"Content-Length: 6\r\n", b"\r\nTransfer-Encoding: chunked", b"Host: b\r\n", b"HTTP/1.1", b"X" * 300,
)
# fmt: on


def make(source: random.Random) -> bytes:
    """A head; mostly with something odd in it, now and then with a few bytes changed."""
    lines = [source.choice(STARTS), *(source.choice(LINES) for _ in range(source.randint(0, 6)))]
    raw = bytearray(b"\r\n".join(lines) + b"\r\n\r\n")
    for _ in range(source.choice((0, 0, 1, 1, 2))):
        at = source.randint(0, len(raw))
        raw[at:at] = source.choice(ODD)
    for _ in range(source.choice((0, 0, 0, 1, 3))):
        raw[source.randrange(len(raw))] = source.randrange(256)
    # Readers get a head that ends with the first empty line, always.
    return bytes(raw).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def check_request(block: bytes) -> str:
    """Read a request's head, and its rewritten form alike."""
    try:
        head = read_request_head(block)
    except Malformed as refusal:
        return f"request refused ({refusal.code})"
    if head.framing.length and head.framing.chunked:
        raise AssertionError("two framings")
    kept = [pair for pair in head.headers if pair[0] not in (b"content-length", b"transfer-encoding")]
    again = read_request_head(write_request_head(head.method, head.target, kept, head.framing))
    if (again.method, again.target, again.framing) != (head.method, head.target, head.framing):
        raise AssertionError(f"{head} was written as {again}")
    return "request read"


def check_response(block: bytes, method: str) -> str:
    """Read an answer's head, and what is passed on of it alike."""
    try:
        head = read_response_head(block, method)
    except Malformed as refusal:
        return f"answer refused ({refusal.code})"
    written = write_response_head(head, close=False)
    if written.count(b"\n") != written.count(b"\r\n") or written.count(b"\r") != written.count(b"\r\n"):
        raise AssertionError(f"odd line ends are passed on: {written!r}")
    if head.status < 200:
        return "interim answer read"
    again = read_response_head(written, method)
    if (again.status, again.framing) != (head.status, head.framing):
        raise AssertionError(f"{head} was passed on as {again}")
    return "answer read"


def tried(source: random.Random) -> tuple[bytes, str]:
    """A head, and the method of the request that it could be an answer to."""
    return make(source), source.choice(("GET", "HEAD", "POST"))


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "heads", tried, lambda _, made: (check_request(made[0]), check_response(*made))))
