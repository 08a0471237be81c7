"""Random and damaged protobuf answers: however they are cut they leave the same, masked as JSON is, or not at all.

    python tests/fuzz/fuzz_protobuf_answer.py --seconds 60 [--seed 7]

Prints the seed, so that a failure can be had again, and how much was masked and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import orjson
from tests.fuzz.driver import fuzz
from tests.fuzz.fuzz_protobuf_object import DEPTH, message, sized
from tests.property.test_masked_answer import AllHold
from tests.property.test_protobuf_masking import (
    PLANTED,
    as_json,
    framed,
    masked_json,
    message_of,
    shape,
    written,
)

from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import Where
from narrowgate.core.masking.plan import Plan
from narrowgate.wire.answer import Form
from narrowgate.wire.kubernetes_kinds import KINDS
from narrowgate.wire.protobuf import MAGIC
from narrowgate.wire.protobuf_answer import protobuf_answer
from narrowgate.wire.protobuf_object import read_object
from narrowgate.wire.unreadable import Unreadable

SECRET = "hunter2-hunter2"
ODD = (b"", b"\x00", b"\x0a", b"\x12", b"\x1a\x00", b"\xff", b"\x13", b"k8s\x00", b"\x7f", b"\x80\x00")

Made = tuple[Plan, Form, bytes]


class Reduced(AllHold):
    """Some of the objects leave."""

    varies = True
    shows: Callable[[Where], bool] | None = staticmethod(lambda where: len(where.name or "") % 2 == 0)


def make(source: random.Random) -> Made:
    """An answer of some objects that a plan masks something of, sometimes with a few bytes changed."""
    plan, document = shape(source.choice(PLANTED), SECRET)
    kind = (document["apiVersion"], document["kind"])
    raw = written(message_of(document), document)
    if source.random() < 0.4 and kind[1] != "Status":
        raw = message(source, KINDS[f"{kind[0]}/{kind[1]}"], DEPTH)
    form = source.choice(list(Form))
    if form is Form.LIST:
        raws = [sized(2, damaged(source, raw, 0.1)) for _ in range(source.randint(0, 3))]
        body = enveloped(kind[0], kind[1] + "List", sized(1, sized(2, b"42")) + b"".join(raws))
    elif form is Form.WATCH:
        body = framed([enveloped(*kind, damaged(source, raw, 0.1)) for _ in range(source.randint(1, 3))])
    else:
        body = enveloped(*kind, raw)
    return plan, form, damaged(source, body, 0.5)


def enveloped(version: str, kind: str, raw: bytes) -> bytes:
    """The document around an object."""
    return MAGIC + sized(1, sized(1, version.encode()) + sized(2, kind.encode())) + sized(2, raw) + b"\x1a\x00\x22\x00"


def damaged(source: random.Random, body: bytes, share: float) -> bytes:
    """The same, in some cases with a few bytes replaced, repeated or lost."""
    raw = bytearray(body)
    for _ in range(source.choice((1, 1, 2, 3)) if source.random() < share else 0):
        at = source.randint(0, len(raw))
        piece = raw[source.randint(0, len(raw)) :][:40] if source.random() < 0.3 else source.choice(ODD)
        raw[at : at + source.choice((0, 0, 1, 2, 9))] = piece
    return bytes(raw)


def masked(masks: AllHold, form: Form, body: bytes, sizes: list[int]) -> bytes | None:
    """What leaves of it in pieces of these sizes, the rest in one; None where it is broken off."""
    answer = protobuf_answer(form, masks)
    out, at = b"", 0
    try:
        for size in [*sizes, len(body)]:
            out += answer.feed(body[at : at + size])
            at += size
        return out + answer.finish()
    except Unreadable:
        return None


def check(source: random.Random, made: Made) -> str:
    """Compare cuts, passes and JSON; what became of it, for the count."""
    plan, form, body = made
    for kind in (AllHold, Reduced):
        whole = masked(kind(plan), form, body, [])
        sizes = [source.randint(1, 60) for _ in range(source.randint(0, 60))]
        if masked(kind(plan), form, body, sizes) != whole:
            raise AssertionError(f"cut at {sizes} it is another")
        if whole is not None and masked(kind(plan), form, whole, []) != whole:
            raise AssertionError("masked twice it is another")
    whole = masked(AllHold(plan), form, body, [])
    if whole is None:
        return "refused"
    if form is not Form.OBJECT:
        return "masked"
    try:
        before, after = read_object(body), read_object(whole)
    except (Malformed, KeyError):
        return "masked, nothing to compare with"
    if before["kind"] not in ("Status", "DeleteOptions"):
        expected = masked_json(plan, as_json(message_of(before), before))[0]
        if as_json(message_of(after), after) != expected:
            raise AssertionError(f"JSON says {orjson.dumps(expected)!r}")
    return "masked as JSON"


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "answers", make, check))
