"""Random and damaged protobuf: nothing but Malformed may come out, within bounded time.

    python tests/fuzz/fuzz_protobuf_object.py --seconds 60 [--seed 7]

Prints the seed, so that a failure can be had again, and how much was read and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import orjson
from tests.fuzz.driver import fuzz

from narrowgate.core.malformed import Malformed
from narrowgate.wire.kubernetes_kinds import KINDS, MESSAGES
from narrowgate.wire.protobuf import MAGIC, read_names
from narrowgate.wire.protobuf_object import read_object

DEPTH = 6
TEXTS = (b"", b"a", b"\xc3\xbc", b"\xff", b"{}", b'{"a":1}', b"{", b"x" * 40, b"1500m", b"kube-system")
NUMBERS = (0, 1, 2, 80, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def varint(value: int) -> bytes:
    """A number of seven bits a byte."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def sized(number: int, content: bytes) -> bytes:
    """A field that holds bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def field(source: random.Random, number: int, of: str, depth: int) -> bytes:
    """A field of about this type; now and then of another."""
    if source.random() < 0.03:
        return varint(number << 3 | source.choice((0, 1, 2, 3, 5, 7))) + source.randbytes(source.randint(0, 9))
    if of in ("int32", "int64", "bool"):
        return varint(number << 3) + varint(source.choice(NUMBERS))
    if of == "double":
        return varint(number << 3 | 1) + source.randbytes(8)
    if of in ("string", "bytes"):
        return sized(number, source.choice(TEXTS))
    if of in MESSAGES and depth:
        return sized(number, message(source, of, depth - 1))
    # Times, quantities, embedded JSON: small messages of numbers and texts.
    parts = [
        varint(n << 3) + varint(source.choice(NUMBERS)) if source.random() < 0.5 else sized(n, source.choice(TEXTS))
        for n in source.sample((1, 2, 3), source.randint(0, 2))
    ]
    return sized(number, b"".join(parts))


def message(source: random.Random, name: str, depth: int) -> bytes:
    """Some fields of a message; now and then one that it has not, or one twice."""
    known = MESSAGES[name]
    out = b""
    for number, _, form, of in source.sample(known, min(len(known), source.randint(0, 4))):
        for _ in range(2 if source.random() < 0.05 else 1):
            inner = field(source, 2, of, depth) if form == "map" else b""
            out += sized(number, sized(1, b"k") + inner) if form == "map" else field(source, number, of, depth)
    return out + (sized(source.randint(1, 99), b"?") if source.random() < 0.03 else b"")


def make(source: random.Random) -> bytes:
    """An object in its envelope, sometimes with a few bytes changed."""
    kind = source.choice(sorted(KINDS))
    version, _, name = kind.rpartition("/")
    raw = message(source, KINDS[kind], DEPTH)
    data = bytearray(MAGIC + sized(1, sized(1, version.encode()) + sized(2, name.encode())) + sized(2, raw))
    for _ in range(source.choice((0, 0, 1, 3))):
        at = source.randrange(len(data))
        if source.random() < 0.5:
            data[at] = source.randrange(256)
        else:
            del data[at : at + source.randint(1, 8)]
    return bytes(data)


def check(data: bytes) -> str:
    """Read it as an object and for its names; what became of it, for the count."""
    try:
        found = read_object(data)
    except Malformed as refusal:
        return f"refused ({refusal.code})"
    orjson.dumps(found)
    if found["kind"] != "DeleteOptions":
        names, metadata = read_names(data), found.get("metadata") or {}
        if (names.name, names.namespace) != (metadata.get("name", ""), metadata.get("namespace", "")):
            raise AssertionError(f"{names} and {metadata}")
    return "read"


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "messages", make, lambda _, data: check(data)))
