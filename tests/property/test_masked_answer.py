"""Masks over bytes say what masks over objects say, however it is written and cut; and what is odd is refused.

The reference is `core.masking.objects.mask_document` with the gate's own plans; the answers are those of
`test_masking`, each with a secret at every place that is masked, and others grown at random around such places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.test_masking import SHAPES, plan_of, secrets, writings

from narrowgate.core.masking.choosing import Where
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.objects import ObjectMasker, mask_document
from narrowgate.core.masking.plan import Plan
from narrowgate.core.masking.resource_plan import HeldMask, plan_for
from narrowgate.wire.json_items import BATCH_BYTES
from narrowgate.wire.json_mask import JsonMasker
from narrowgate.wire.json_spans import Unreadable
from narrowgate.wire.masked_answer import Form, masked_answer

VALUES = ValueMasker(b"0" * 32)
BOUNDED = settings(max_examples=60, deadline=None)

RESOURCES = [
    ("", "secrets"),
    ("", "configmaps"),
    ("", "pods"),
    ("apps", "deployments"),
    ("example.com", "widgets"),
    ("", "events"),
]


class AllHold:
    """All built-in masks of one resource, for every object."""

    varies: bool = False
    shows: Callable[[Where], bool] | None = None

    def __init__(self, plan: Plan) -> None:
        self.counts: dict[str, int] = {}
        self._plan = plan
        objects = ObjectMasker(plan, VALUES, self.counts)
        self._masker = JsonMasker(objects.mask, self.counts, leaves=objects.leaves)

    def plan(self, _where: Where) -> Plan | None:
        return self._plan

    def masker(self, _plan: Plan) -> JsonMasker:
        return self._masker


class ByNamespace(AllHold):
    """The built-in masks hold in one namespace, and where none can be told."""

    varies = True

    def plan(self, where: Where) -> Plan | None:
        return self._plan if where.namespace in ("here", None) else None


def plan_for_answers(group: str, resource: str) -> Plan:
    plan = plan_of(group, resource)
    assert plan is not None
    return plan


def masked(plan: Plan, form: Form, document: bytes, sizes: list[int] | None = None) -> tuple[bytes, dict[str, int]]:
    """What leaves of an answer that comes in pieces of these sizes, the rest in one; and what was counted."""
    masks = AllHold(plan)
    answer = masked_answer(form, masks)
    out, at = b"", 0
    for size in [*(sizes or []), len(document)]:
        if at < len(document):
            out += answer.feed(document[at : at + size])
            at += size
    return out + answer.finish(), masks.counts


def by_reference(plan: Plan, document: Any) -> tuple[Any, dict[str, int]]:
    counts: dict[str, int] = {}
    return mask_document(document, lambda *_where: plan, VALUES, counts), counts


# --- how documents may be written


def written(value: Any, spaced: Callable[[], str], escaped: Callable[[str], str]) -> str:
    """The value as JSON, with that whitespace between any two tokens, and each string spelled like that."""
    match value:
        case dict():
            members = (f"{escaped(key)}{spaced()}:{spaced()}{written(value[key], spaced, escaped)}" for key in value)
            return "{" + spaced() + f"{spaced()},{spaced()}".join(members) + spaced() + "}"
        case list():
            elements = (written(below, spaced, escaped) for below in value)
            return "[" + spaced() + f"{spaced()},{spaced()}".join(elements) + spaced() + "]"
        case str():
            return escaped(value)
        case _:
            return json.dumps(value)


def oddly_spelled(data: st.DataObject) -> Callable[[str], str]:
    """Strings in which any character may be an escape."""
    positions = data.draw(st.lists(st.integers(0, 40), max_size=6))

    def spell(text: str) -> str:
        spelled = []
        for at, character in enumerate(text):
            plain = json.dumps(character, ensure_ascii=at % 2 == 0)[1:-1]
            is_odd = at in positions and ord(character) < 0x10000
            odd = "\\/" if character == "/" else f"\\u{ord(character):04X}"
            spelled.append(odd if is_odd else plain)
        return '"' + "".join(spelled) + '"'

    return spell


def as_go_spells(text: str) -> str:
    """encoding/json escapes these (SetEscapeHTML)."""
    plain = json.dumps(text, ensure_ascii=False)
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def as_written_by_go(before: Any, after: Any) -> str:
    """The masked document, were nothing but what is masked written anew."""
    if after is before:
        return written(before, lambda: "", as_go_spells)
    match before, after:
        case dict(), dict() if after:
            members = (f"{as_go_spells(key)}:{as_written_by_go(before[key], after[key])}" for key in before)
            return "{" + ",".join(members) + "}"
        case list(), list():
            return "[" + ",".join(map(as_written_by_go, before, after)) + "]"
        case _:
            return orjson.dumps(after).decode()


# --- documents

KEYS = [
    "data", "stringData", "spec", "status", "metadata", "annotations", "env", "name", "value", "kind", "containers",
    "command", "args", "message", "password", "token", "a/b", "é", "x", "httpHeaders", "template", "items", "note",
    "kubectl.kubernetes.io/last-applied-configuration", "managedFields", "fieldsV1", "f:spec", "f:tokens", "v:x",
]  # fmt: skip
LEAVES = [
    "", "x", "--password", "hunter2hunter2", "DB_PASSWORD", "Authorization", "Secret", "a<b&c> token=abcdefghijkl1",
    '{"password":"hunter2"}', "c2VjcmV0", "[masked:a/secret:01234567]", "é\U0001f511", "line\nPGPASSWORD=hunter2\n",
    None, True, False, 0, 1, 1.0, -7, 10**17, 1e300,
]  # fmt: skip
values = st.recursive(
    st.sampled_from(LEAVES),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.sampled_from(KEYS), below, max_size=5),
    max_leaves=20,
)
objects = st.dictionaries(st.sampled_from([key for key in KEYS if key not in ("items", "kind")]), values, max_size=6)


def answers(one: dict[str, Any], others: list[dict[str, Any]]) -> list[tuple[Form, list[Any]]]:
    """The object by itself, in a list, in the rows of a Table and in events: the documents of each answer."""
    columns = [{"name": "Name", "type": "string"}, {"name": "Token", "type": "string"}, {"name": "X", "type": "string"}]
    rows = [{"cells": ["a", "token=abcdefghijklmnop1", 3], "object": each} for each in (one, *others, None)]
    table = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": columns, "rows": rows}
    return [
        (Form.OBJECT, [one]),
        (Form.LIST, [{"kind": "XList", "apiVersion": "v1", "items": [one, *others], "metadata": {"continue": ""}}]),
        (Form.LIST, [table]),
        (Form.OBJECT, [table]),
        (Form.WATCH, [{"type": "ADDED", "object": each} for each in (one, *others, table)]),
    ]


# --- laws


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda pair: pair[1])
@given(one=objects, others=st.lists(objects, max_size=2), data=st.data())
@BOUNDED
def test_the_bytes_say_what_the_objects_say(
    resource: tuple[str, str], one: dict[str, Any], others: list[dict[str, Any]], data: st.DataObject
) -> None:
    plan = plan_for_answers(*resource)
    form, documents = data.draw(st.sampled_from(answers(one, others)))
    spaces = data.draw(st.sampled_from([[""], ["", " "], ["", " ", "\n\t "]])) if form is not Form.WATCH else ["", " "]
    spell = oddly_spelled(data)
    pieces = [
        written(document, lambda: data.draw(st.sampled_from(spaces)) if len(spaces) > 1 else "", spell)
        for document in documents
    ]
    body = "".join(f"{piece}\n" for piece in pieces).encode()
    out, counted = masked(plan, form, body, data.draw(st.lists(st.integers(1, 60), max_size=40)))
    expected = [by_reference(plan, document) for document in documents]
    found = [orjson.loads(line) for line in (out.splitlines() if form is Form.WATCH else [out])]
    assert found == [document for document, _ in expected]
    assert counted == added(counts for _, counts in expected)
    # Twice is as once, and nothing of it is counted again.
    assert masked(plan, form, out) == (out, {})


def added(all_counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in all_counts:
        for rule, count in counts.items():
            total[rule] = total.get(rule, 0) + count
    return total


FIELDS = [
    "spec.x", "spec.**.token", "spec.containers[*].name", "data.*", "**.x.note", "spec.?", "metadata.*.value",
    "status", 'metadata.annotations["a/b"]', 'spec.**["a/b"].é', "spec.containers[*].env[*].value",
    "metadata.annotations.x", "**.é",
]  # fmt: skip


@given(one=objects, fields=st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3), data=st.data())
@settings(max_examples=200, deadline=None)
def test_masks_of_policies_say_the_same_in_both(one: dict[str, Any], fields: list[str], data: st.DataObject) -> None:
    plan = plan_for("example.com", "widgets", (HeldMask("team/it", tuple(fields)),))
    assert plan is not None
    spell = oddly_spelled(data)
    for form, documents in answers(one, [])[:3]:
        body = written(documents[0], lambda: data.draw(st.sampled_from(["", "", " "])), spell).encode()
        out, counted = masked(plan, form, body)
        assert (orjson.loads(out), counted) == by_reference(plan, documents[0])


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda pair: pair[1])
@given(one=objects, others=st.lists(objects, max_size=2))
@BOUNDED
def test_what_is_not_masked_stays_byte_for_byte(
    resource: tuple[str, str], one: dict[str, Any], others: list[dict[str, Any]]
) -> None:
    plan = plan_for_answers(*resource)
    for form, documents in answers(one, others):
        body = "".join(written(document, lambda: "", as_go_spells) + "\n" for document in documents)
        after = [by_reference(plan, document)[0] for document in documents]
        expected = "".join(as_written_by_go(old, new) + "\n" for old, new in zip(documents, after, strict=True))
        assert masked(plan, form, body.encode())[0].decode() == expected


places = st.fixed_dictionaries({}, optional={"namespace": st.sampled_from(["here", "there", ""]), "name": st.just("x")})


@given(st.lists(st.tuples(objects, places), min_size=1, max_size=4), st.data())
@BOUNDED
def test_what_differs_by_namespace_is_judged_object_by_object(
    placed: list[tuple[dict[str, Any], dict[str, str]]], data: st.DataObject
) -> None:
    plan = plan_for_answers("", "configmaps")
    one, *others = [each | {"metadata": place, "data": {"password": "x"}} for each, place in placed]
    form, documents = data.draw(st.sampled_from(answers(one, others)))
    spell = oddly_spelled(data)
    body = "".join(written(document, lambda: "", spell) + "\n" for document in documents)
    masks = ByNamespace(plan)
    answer = masked_answer(form, masks)
    out = answer.feed(body.encode()) + answer.finish()
    counts: dict[str, int] = {}
    expected = [
        mask_document(document, lambda namespace, _name: plan if namespace in ("here", None) else None, VALUES, counts)
        for document in documents
    ]
    assert [orjson.loads(line) for line in out.splitlines()] == expected
    assert masks.counts == counts


_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"|[^][{}:,"\s]+')


@given(one=objects, others=st.lists(objects, max_size=2), data=st.data())
@BOUNDED
def test_white_space_stays_where_it_is(one: dict[str, Any], others: list[dict[str, Any]], data: st.DataObject) -> None:
    """In pods, where no container is written anew."""
    plan = plan_for_answers("", "pods")
    for form, documents in answers(one, others)[:4]:
        body = written(documents[0], lambda: data.draw(st.sampled_from(["", " ", "\n  "])), as_go_spells)
        assert _VALUE.sub("0", masked(plan, form, body.encode())[0].decode()) == _VALUE.sub("0", body)


@given(one=objects, others=st.lists(objects, min_size=1, max_size=3), data=st.data())
@settings(max_examples=10, deadline=None)
def test_lists_of_many_batches_are_masked_as_small_ones(
    one: dict[str, Any], others: list[dict[str, Any]], data: st.DataObject
) -> None:
    plan = plan_for_answers("", "secrets")
    filler = {"filler": '},{"metadata":{"name":"' * data.draw(st.integers(1_000, 4_000))}
    items = [each | filler for each in (one, *others)] * 8
    body = written({"kind": "SecretList", "items": items}, lambda: "", as_go_spells).encode()
    size = data.draw(st.integers(1_000, 3 * BATCH_BYTES))
    out, counted = masked(plan, Form.LIST, body, [size] * (len(body) // size))
    expected, counts = by_reference(plan, {"kind": "SecretList", "items": items})
    assert (orjson.loads(out), counted) == (expected, counts)


@given(objects)
@BOUNDED
def test_events_over_several_lines_are_those_on_one(one: dict[str, Any]) -> None:
    plan = plan_for_answers("", "configmaps")
    events = [{"type": "ADDED", "object": one}, {"type": "BOOKMARK", "object": {"kind": "ConfigMap"}}]
    body = "".join(json.dumps(event, indent=2) + "\n" for event in events).encode()
    out, _ = masked(plan, Form.WATCH, body, [1] * len(body))
    expected = [by_reference(plan, event)[0] for event in events]
    decoder, found, at = json.JSONDecoder(), [], 0
    text = out.decode()
    while at < len(text):
        event, at = decoder.raw_decode(text, at)
        found.append(event)
        at += 1
    assert found == expected


# --- what is odd


def form_of_shape(document: dict[str, Any]) -> Form:
    if "items" in document or "rows" in document:
        return Form.LIST
    return Form.WATCH if "object" in document else Form.OBJECT


def dropped(plan: Plan, form: Form, body: bytes, sizes: list[int]) -> bytes:
    """What has left of an answer, be it that it was broken off."""
    answer = masked_answer(form, AllHold(plan))
    out, at = b"", 0
    try:
        for size in [*sizes, len(body)]:
            out += answer.feed(body[at : at + size])
            at += size
        return out + answer.finish()
    except Unreadable:
        return out


def with_a_member_twice(body: bytes, data: st.DataObject) -> bytes:
    """Some object with one of its members once more, the same or with another value, spelled alike or not."""
    members = [found.span() for found in re.finditer(rb'"[^"\\]{1,30}":', body)]
    start, end = data.draw(st.sampled_from(members))
    key = body[start + 1 : end - 2]
    spelled = data.draw(st.sampled_from([key, b"\\u%04x" % key[0] + key[1:]]))
    _, length = json.JSONDecoder().raw_decode(body.decode(), end)
    value = data.draw(st.sampled_from([body[end:length], b"null", b"{}", b"[]", b'""']))
    extra = b'"%b":%b' % (spelled, value)
    at, text = data.draw(st.sampled_from([(start, extra + b","), (length, b"," + extra)]))
    return body[:at] + text + body[at:]


@pytest.mark.parametrize("name", SHAPES)
@given(secret=secrets, data=st.data())
@settings(max_examples=25, deadline=None)
def test_of_a_hostile_answer_no_planted_secret_leaves(name: str, secret: str, data: st.DataObject) -> None:
    group, resource, document = SHAPES[name](secret)
    plan, form = plan_for_answers(group, resource), form_of_shape(document)
    # Only ASCII, so that text may be cut and pasted.
    body = json.dumps(document, separators=(",", ":")).encode()
    match data.draw(st.sampled_from(["twice", "cut short", "no text", "behind", "beside"])):
        case "twice":
            body = with_a_member_twice(body, data)
        case "cut short":
            body = body[: data.draw(st.integers(1, len(body) - 1))]
        case "no text":
            at = data.draw(st.integers(0, len(body)))
            body = body[:at] + data.draw(st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0"])) + body[at:]
        case "behind":
            body += data.draw(st.sampled_from([b"", b" ", b"\n", b","])) + body
        case "beside":
            inner = json.dumps(document).encode()
            key = data.draw(st.sampled_from([b"items", b"rows", b"\\u0069tems"]))
            body = b'{"kind":"XList","%b":[%b],"%b":[%b]}' % (
                data.draw(st.sampled_from([b"items", b"rows"])),
                data.draw(st.sampled_from([b"", inner])),
                key,
                inner,
            )
            form = Form.LIST
    sizes = data.draw(st.lists(st.integers(1, 400), max_size=10))
    out = dropped(plan, form, body + b"\n", sizes)
    assert [writing for writing in writings(secret) if writing in out] == []


@pytest.mark.parametrize("between", [b" ", b'"Zq7planted"', b',"Zq7planted":', b"]", b"},{", b",,"])
@given(st.integers(1, 4), st.integers(1, 20_000))
@settings(max_examples=5, deadline=None)
def test_nothing_leaves_from_between_two_items(between: bytes, batches: int, cut: int) -> None:
    filler = b"x" * (BATCH_BYTES // 2)
    item = b'{"a":"%b","stringData":{"k":"Zq7planted"}}' % filler
    many = b",".join([item] * (2 * batches))
    body = b'{"kind":"SecretList","items":[%b%b%b]}' % (many, between, many)
    plan = plan_for_answers("", "secrets")
    with pytest.raises(Unreadable):
        masked(plan, Form.LIST, body, [cut + BATCH_BYTES] * 20)
    assert b"Zq7planted" not in dropped(plan, Form.LIST, body, [cut + BATCH_BYTES] * 20)
