"""Answers of an API server, damaged: nothing but Unreadable may come out, and what leaves is what the objects say.

    python tests/fuzz/fuzz_masked_answer.py --seconds 60 [--seed 7]

Objects with secrets in them, lists, Tables and events are written in odd ways, cut anywhere, and damaged. Where one is
still masked, its cuts must not matter, masking it again must change nothing, and it must be what the reference makes of
it. Prints the seed, so that a failure can be had again, and how much was masked. Exit status 1 on a finding.
"""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path
from typing import Any

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import orjson
from tests.fuzz.driver import fuzz
from tests.property.test_masked_answer import AllHold, ByNamespace, plan_for_answers
from tests.property.test_masking import SHAPES, VALUES

from narrowgate.core.documents import parse_json
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.objects import mask_document
from narrowgate.core.masking.plan import Plan
from narrowgate.wire.json_spans import Unreadable
from narrowgate.wire.masked_answer import Form, Masks, masked_answer

SECRET = "Zq7-planted-by-the-fuzzer"

TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,"\s]+')
# fmt: off
ODD = (
    b"", b" ", b"\n", b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"1", b'""', b"{}", b"[]", b'"x"',
    b'"\\u0064ata"', b'"data":{},', b'"items":[]', b',"items":[', b'"rows":[],', b'"kind":"List",', b'"stringData":',
    b'"kind":"Status","apiVersion":"v1",', b"\xff", b"\x00", b"\\", b'\\"', b'"\\/"', b"},{", b'},{"metadata"', b"]}",
    b"{}\n{}\n", b"1e999", b"-", b"\\ud800", b'"name":"DB_PASSWORD",', b"[" * 250,
    b'"kind":"\\ud800",', b'"metadata":{"namespace":"\\udfff"},',
    b'"metadata":{"managedFields":[{"fieldsV1":{"v:\\"x\\"":{}}}]},',
)
# fmt: on
KINDS = tuple(SHAPES)


class ReducedTo(AllHold):
    """All masks hold, and of the objects about half are shown."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.shows = lambda where: len(where.name or "") % 2 == 0


def make(source: random.Random) -> tuple[Plan, Form, bytes]:
    """An answer: a shape by itself, in a list, in a Table or as events; mostly with something odd in it."""
    group, resource, document = SHAPES[source.choice(KINDS)](SECRET)
    form = source.choice(tuple(Form))
    documents: list[Any] = [document]
    if form is Form.LIST and "items" not in document and "rows" not in document:
        columns = [{"name": "Name"}, {"name": "Token"}]
        rows = [{"cells": ["a", SECRET], "object": document}] * source.randint(0, 3)
        table = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": columns, "rows": rows}
        documents = [source.choice((table, {"kind": "XList", "items": [document] * source.randint(0, 3)}))]
    elif form is Form.WATCH:
        wrapped = document if "object" in document else {"type": "ADDED", "object": document}
        documents = [wrapped] * source.randint(1, 3)
    indent = source.choice((None, None, None, 1))
    separators = source.choice(((",", ":"), (",", ":"), (" , ", ": "))) if indent is None else None
    body = "".join(json.dumps(one, indent=indent, separators=separators) + "\n" for one in documents).encode()
    return plan_for_answers(group, resource), form, damaged(source, body)


def damaged(source: random.Random, body: bytes) -> bytes:
    """The same with some tokens replaced, repeated or lost, and now and then a few bytes."""
    raw = bytearray(body)
    for _ in range(source.choice((0, 1, 1, 1, 2, 3))):
        spans = [found.span() for found in TOKENS.finditer(raw)]
        if not spans:
            break
        start, end = source.choice(spans)
        match source.randrange(5):
            case 0:
                raw[start:start] = source.choice(ODD)
            case 1:
                raw[start:end] = source.choice(ODD)
            case 2:
                other = source.choice(spans)
                raw[start:start] = raw[other[0] : other[1]]
            case 3:
                last = source.choice(spans)[1]
                raw[start:start] = raw[start:last] + source.choice((b"", b","))
            case _:
                at = source.randrange(len(raw) + 1)
                raw[at : at + source.randrange(3)] = source.choice(ODD)
    return bytes(raw)


def masked(masks: Masks, form: Form, body: bytes, sizes: list[int]) -> bytes | None:
    """What leaves of it in pieces of these sizes, the rest in one; None where it is broken off."""
    answer = masked_answer(form, masks)
    out, at = b"", 0
    try:
        for size in [*sizes, len(body)]:
            out += answer.feed(body[at : at + size])
            at += size
        return out + answer.finish()
    except Unreadable:
        return None


def expected(plan: Plan, form: Form, body: bytes) -> Any:
    """What the reference makes of one document. Raises Malformed or LookupError where there is nothing to compare."""
    document: dict[str, Any] = parse_json(body)
    if form is Form.LIST and isinstance(document.get("items"), list):
        document["kind"] = "XList"
    elif "object" in document or str(document.get("kind")).endswith("List"):
        raise LookupError
    is_table = document.get("kind") == "Table" and str(document.get("apiVersion")).startswith("meta.k8s.io/")
    if form is Form.LIST and "rows" in document and not is_table:
        raise LookupError
    return mask_document(document, lambda *_where: plan, VALUES, {})


def check(source: random.Random, plan: Plan, form: Form, body: bytes) -> str:
    """Compare cuts, passes and the reference; what became of it, for the count."""
    whole = masked(AllHold(plan), form, body, [])
    sizes = [source.randint(1, 60) for _ in range(source.randint(0, 60))]
    if masked(AllHold(plan), form, body, sizes) != whole:
        raise AssertionError(f"cut at {sizes} it is another")
    # Where masks hold in some namespaces only, other parts of an object are read.
    masked(ByNamespace(plan), form, body, sizes)
    # Where some objects are not shown, they are told apart, and what is left must not hang on the cuts either.
    if masked(ReducedTo(plan), form, body, sizes) != masked(ReducedTo(plan), form, body, []):
        raise AssertionError(f"cut at {sizes} and reduced it is another")
    if whole is None:
        return "refused"
    if masked(AllHold(plan), form, whole, []) != whole:
        raise AssertionError("masked twice it is another")
    if form is Form.WATCH:
        return "masked"
    try:
        reference = expected(plan, form, body)
    except (Malformed, LookupError, AttributeError, TypeError):
        return "masked, nothing to compare with"
    found = orjson.loads(whole)
    if form is Form.LIST and isinstance(found.get("items"), list):
        found["kind"] = "XList"
    if found != reference:
        raise AssertionError(f"the reference says {orjson.dumps(reference)!r}")
    return "masked"


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "answers", make, lambda source, made: check(source, *made)))
