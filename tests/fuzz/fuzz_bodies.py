"""Random chunked bodies in random pieces: the cut never matters, and what the strict reading takes has one meaning.

    python tests/fuzz/fuzz_bodies.py --seconds 60 [--seed 7]

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
from narrowgate.wire.bodies import ChunkedBody

ODD = (
    b"\r",
    b"\n",
    b"\r\n",
    b"0",
    b"0\r\n\r\n",
    b";a=b",
    b" ",
    b"\x00",
    b"f",
    b"ff\r\n",
    b"+",
    b"X: y\r\n",
    b"-",
    b"_",
)

Outcome = tuple[str, int, bytes]
"""Why it was refused, how many bytes were taken, and the content."""


def make(source: random.Random) -> bytes:
    """A body with some chunks; mostly with something odd in it."""
    parts = [source.randbytes(source.randint(1, 20)) for _ in range(source.randint(0, 5))]
    raw = bytearray(b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")
    for _ in range(source.choice((0, 1, 1, 2))):
        at = source.randint(0, len(raw))
        raw[at : at + source.choice((0, 0, 1, 2))] = source.choice(ODD)
    return bytes(raw) + source.choice((b"", b"GET / HTTP/1.1\r\n"))


def follow(raw: bytes, sizes: list[int], *, strict: bool) -> Outcome:
    """What becomes of the bytes in pieces of these sizes, the rest in one."""
    content: list[bytes] = []
    body = ChunkedBody(strict=strict, payload=content)
    taken = position = 0
    for size in [*sizes, len(raw)]:
        piece = raw[position : position + size]
        position += size
        if not piece or body.done:
            break
        try:
            taken += body.feed(piece)
        except Malformed as refusal:
            return refusal.message, 0, b""
    return "" if body.done else "unfinished", taken, b"".join(content)


def plainly(raw: bytes) -> Outcome:
    """The same body read by the book and in one go, as slowly as one likes (RFC 9112 7.1)."""
    content, rest = b"", raw
    while True:
        size, found, rest = rest.partition(b"\r\n")
        if not found or not size or len(size) > 15 or size.strip(b"0123456789abcdefABCDEF"):
            return "refused", 0, b""
        length = int(size, 16)
        if length == 0:
            return ("", len(raw) - len(rest) + 2, content) if rest[:2] == b"\r\n" else ("refused", 0, b"")
        if rest[length : length + 2] != b"\r\n":
            return "refused", 0, b""
        content, rest = content + rest[:length], rest[length + 2 :]


def check(source: random.Random, raw: bytes) -> str:
    """Compare cuts, and the strict reading with the plain one."""
    sizes = [source.randint(1, 9) for _ in range(source.randint(0, 30))]
    for strict in (True, False):
        whole, cut = follow(raw, [], strict=strict), follow(raw, sizes, strict=strict)
        if whole != cut:
            raise AssertionError(f"strict={strict}, cut at {sizes}: {whole} and {cut}")
    strictly, book = follow(raw, [], strict=True), plainly(raw)
    if (strictly[0] == "") != (book[0] == "") or (strictly[0] == "" and strictly != book):
        raise AssertionError(f"{strictly} here and {book} by the book")
    return strictly[0] or "read"


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "bodies", make, check))
