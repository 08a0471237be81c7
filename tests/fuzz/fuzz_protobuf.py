"""Random protobuf: nothing but BrokenProtobuf may come out, and what is read is what was written.

    python tests/fuzz/fuzz_protobuf.py --seconds 60 [--seed 7]

Prints the seed, so that a failure can be had again, and how much was read and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzz.driver import fuzz

from narrowgate.core.body import ObjectNames
from narrowgate.wire.protobuf import MAGIC, BrokenProtobuf, fields, read_names

NAMES = ("", "x", "web-7f", "é", "a" * 300)


def varint(value: int, source: random.Random) -> bytes:
    """A number, now and then longer than need be."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    if len(out) < 9 and source.random() < 0.05:
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def field(number: int, value: bytes, source: random.Random) -> bytes:
    return varint(number << 3 | 2, source) + varint(len(value), source) + value


def noise(source: random.Random) -> bytes:
    """A field that no reader of names looks at."""
    number = source.randint(6, 4000)
    match source.randrange(4):
        case 0:
            return varint(number << 3, source) + varint(source.getrandbits(source.choice((1, 7, 40, 64))), source)
        case 1:
            return varint(number << 3 | 1, source) + source.randbytes(8)
        case 2:
            return varint(number << 3 | 5, source) + source.randbytes(4)
        case _:
            return field(number, source.randbytes(source.choice((0, 1, 20))), source)


def mixed(parts: list[bytes], source: random.Random) -> bytes:
    """Fields in any order, with noise between them."""
    parts += [noise(source) for _ in range(source.randint(0, 3))]
    source.shuffle(parts)
    return b"".join(parts)


def make(source: random.Random) -> tuple[bytes, ObjectNames]:
    """An object in its envelope, and what it says."""
    name, generate, namespace, uid, kind = (source.choice(NAMES) for _ in range(5))
    meta = [field(n, v.encode(), source) for n, v in ((1, name), (2, generate), (3, namespace), (5, uid))]
    raw = mixed([field(1, mixed(meta, source), source)], source)
    type_meta = field(1, b"v1", source) + field(2, kind.encode(), source)
    return MAGIC + mixed([field(1, type_meta, source), field(2, raw, source)], source), ObjectNames(
        "v1", kind, name, generate, namespace, uid
    )


def damaged(raw: bytes, source: random.Random) -> bytes:
    """The same with a few bytes changed, put in or taken out."""
    out = bytearray(raw)
    for _ in range(source.randint(1, 4)):
        at = source.randint(0, len(out))
        match source.randrange(3):
            case 0:
                out[at : at + 1] = source.randbytes(1)
            case 1:
                out[at:at] = source.randbytes(source.randint(1, 6))
            case _:
                del out[at : at + source.randint(1, 6)]
    return bytes(out)


def check(raw: bytes) -> str:
    """Put one message through the walker; what became of it, for the count."""
    try:
        read_names(raw)
    except BrokenProtobuf as error:
        if error.code != 400 or not error.message.isprintable():
            raise AssertionError(f"{error.code} {error.message!r}") from error
        return "refused"
    assert all(number > 0 for number, _, _ in fields(raw[len(MAGIC) :]))
    return "read though damaged"


def tried(source: random.Random, made: tuple[bytes, ObjectNames]) -> tuple[str, str]:
    """A good message has its names, and a damaged one does no harm."""
    raw, names = made
    assert read_names(raw) == names, (read_names(raw), names)
    return "read", check(damaged(raw, source))


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "messages", make, tried))
