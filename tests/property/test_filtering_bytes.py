"""Reduced lists and watches say what filtering their objects says, however they are written and cut, and no byte more.

The reference decodes, keeps what is shown, and nothing else. Names and namespaces look like each other and like JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.test_masked_answer import oddly_spelled, written
from tests.unit.wire.masking_by_hand import MASKED
from tests.unit.wire.shown_by_hand import Showing

from narrowgate.core.masking.choosing import Where
from narrowgate.wire.json_items import BATCH_BYTES
from narrowgate.wire.json_spans import Unreadable
from narrowgate.wire.masked_answer import Form, masked_answer

BOUNDED = settings(max_examples=120, deadline=None)
LARGE = settings(max_examples=10, deadline=None)

NAMESPACES = ["ci", "web", "c", 'x","namespace":"ci']
NAMES = ["a", "b", "ci", '"},{"metadata":{"name":"a']
COLUMNS = [{"name": "Name", "type": "string"}]

places = st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(NAMES))
shown_places = st.frozensets(places, max_size=12)
"""Which objects are shown: any of them, all, none."""


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Any]:
    """An object at a place, with its members in any order and another object's words in its data."""
    namespace, name = draw(places)
    metadata = {"name": name, "namespace": namespace, "labels": {"name": draw(st.sampled_from(NAMES))}}
    body = {"kind": "Secret", "metadata": metadata, "data": {"k": "planted"}, "spec": {"metadata": {"name": "a"}}}
    return {key: body[key] for key in draw(st.permutations(list(body)))}


def place(one: dict[str, Any]) -> tuple[str, str]:
    return one["metadata"]["namespace"], one["metadata"]["name"]


def reduced(shown: frozenset[tuple[str, str]], form: Form, body: bytes, sizes: list[int], *, masked: bool) -> bytes:
    def shows(where: Where) -> bool:
        return (where.namespace, where.name) in shown

    answer = masked_answer(form, Showing(shows, masked=masked))
    out, at = b"", 0
    for size in [*sizes, len(body)]:
        if at < len(body):
            out += answer.feed(body[at : at + size])
            at += size
    return out + answer.finish()


def hidden(one: dict[str, Any], *, masked: bool) -> dict[str, Any]:
    """The object as its reader is shown it."""
    return one | {"data": {"k": MASKED}} if masked else one


def row_of(one: dict[str, Any]) -> dict[str, Any]:
    return {"cells": [one["metadata"]["name"]], "object": one}


def table(rows: list[Any], columns: Any = None) -> dict[str, Any]:
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": columns, "rows": rows}


@given(
    all_objects=st.lists(objects(), max_size=6), shown=shown_places, is_table=st.booleans(), masked=st.booleans(),
    order=st.permutations(["kind", "metadata", "items"]), sizes=st.lists(st.integers(1, 60), max_size=40),
    data=st.data(),
)  # fmt: skip
@BOUNDED
def test_a_reduced_list_is_the_list_of_what_is_shown(
    all_objects: list[dict[str, Any]],
    shown: frozenset[tuple[str, str]],
    is_table: bool,
    masked: bool,
    order: list[str],
    sizes: list[int],
    data: st.DataObject,
) -> None:
    metadata = {"resourceVersion": "7", "remainingItemCount": 5}
    left = [hidden(one, masked=masked) for one in all_objects if place(one) in shown]
    if is_table:
        document = table([row_of(one) for one in all_objects], COLUMNS) | {"metadata": metadata}
        expected = table([row_of(one) for one in left], COLUMNS) | {"metadata": {"resourceVersion": "7"}}
    else:
        whole = {"kind": "SecretList", "metadata": metadata, "items": all_objects}
        document = {key: whole[key] for key in order}
        expected = document | {"metadata": {"resourceVersion": "7"}, "items": left}
    spaces = data.draw(st.sampled_from([[""], ["", " ", "\n\t "]]))
    spell = oddly_spelled(data)
    spaced = (lambda: data.draw(st.sampled_from(spaces))) if len(spaces) > 1 else (lambda: "")
    body = written(document, spaced, spell).encode()
    out = reduced(shown, Form.LIST, body, sizes, masked=masked)
    assert json.loads(out) == expected
    assert out == reduced(shown, Form.LIST, body, [], masked=masked)
    assert out == reduced(shown, Form.LIST, out, sizes, masked=masked)


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@given(st.lists(objects(), max_size=8), shown_places, st.lists(st.integers(1, 200), max_size=10))
@BOUNDED
def test_of_what_is_shown_every_byte_stays(
    all_objects: list[dict[str, Any]], shown: frozenset[tuple[str, str]], sizes: list[int]
) -> None:
    document = {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": all_objects}
    left = document | {"items": [one for one in all_objects if place(one) in shown]}
    assert reduced(shown, Form.LIST, compact(document), sizes, masked=False) == compact(left)


@given(
    st.lists(st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]), objects()), max_size=8),
    shown_places, st.booleans(), st.booleans(), st.lists(st.integers(1, 90), max_size=30),
)  # fmt: skip
@BOUNDED
def test_a_reduced_watch_has_the_events_of_what_is_shown(
    changes: list[tuple[str, dict[str, Any]]],
    shown: frozenset[tuple[str, str]],
    is_table: bool,
    masked: bool,
    sizes: list[int],
) -> None:
    nothing = {
        "kind": "Secret",
        "metadata": {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}},
    }
    events, expected = [], []
    columns: Any = COLUMNS
    for at, (kind, one) in enumerate(changes):
        about = nothing if kind == "BOOKMARK" else one
        sent = table([row_of(one) | {"object": about}], COLUMNS if at == 0 else None) if is_table else about
        events.append({"type": kind, "object": sent})
        if kind == "BOOKMARK" or place(one) in shown:
            told = about if kind == "BOOKMARK" else hidden(one, masked=masked)
            rows = [row_of(one) | {"object": told}]
            if kind == "BOOKMARK":
                # Passed on as it is; where it is the first, it has the columns.
                expected.append(
                    {"type": kind, "object": table(rows, COLUMNS if at == 0 else None) if is_table else told}
                )
                columns = None if at == 0 else columns
            else:
                expected.append({"type": kind, "object": table(rows, columns) if is_table else told})
                columns = None
    body = b"".join(compact(event) + b"\n" for event in events)
    out = reduced(shown, Form.WATCH, body, sizes, masked=masked)
    assert [json.loads(line) for line in out.splitlines()] == expected


@given(st.integers(1, 400), shown_places, st.integers(1_000, 3 * BATCH_BYTES), st.data())
@LARGE
def test_lists_of_many_batches_are_reduced_as_small_ones(
    filler: int, shown: frozenset[tuple[str, str]], size: int, data: st.DataObject
) -> None:
    some = data.draw(st.lists(objects(), min_size=1, max_size=6))
    many = [one | {"filler": '},{"metadata":{"name":"' * filler} for one in some] * 100
    document = {"kind": "SecretList", "items": many}
    body = compact(document)
    out = reduced(shown, Form.LIST, body, [size] * (len(body) // size), masked=False)
    assert out == compact(document | {"items": [one for one in many if place(one) in shown]})


@given(all_objects=st.lists(objects(), min_size=1, max_size=4), is_watch=st.booleans(), data=st.data())
@BOUNDED
def test_of_a_damaged_answer_nothing_hidden_leaves(
    all_objects: list[dict[str, Any]], is_watch: bool, data: st.DataObject
) -> None:
    """Nothing is shown, so that no word of any object may leave, whatever has become of the answer."""
    secret = "Zq7planted"
    marked = [one | {"data": {"k": secret}} for one in all_objects]
    if is_watch:
        body = b"".join(compact({"type": "ADDED", "object": one}) + b"\n" for one in marked)
    else:
        body = compact({"kind": "SecretList", "metadata": {"resourceVersion": "7"}, "items": marked})
    for _ in range(data.draw(st.integers(1, 3))):
        marks = [found.span() for found in re.finditer(rb'"(?:[^"\\]|\\.)*"|[][{}:,]', body)]
        start, end = data.draw(st.sampled_from(marks))
        other_start, other_end = data.draw(st.sampled_from(marks))
        odd = data.draw(st.sampled_from([b"", b",", b"{}", b"null", b'"items":[', b'"rows":[', b"]}", b"\n", b"\xff"]))
        body = data.draw(
            st.sampled_from(
                [body[:start] + odd + body[end:], body[:start] + body[other_start:other_end] + body[start:]]
            )
        )
    form = Form.WATCH if is_watch else Form.LIST
    sizes = data.draw(st.lists(st.integers(1, 200), max_size=10))
    answer = masked_answer(form, Showing(lambda _where: False))
    out, at = b"", 0
    try:
        for size in [*sizes, len(body)]:
            out += answer.feed(body[at : at + size])
            at += size
        out += answer.finish()
    except Unreadable:
        pass
    assert secret.encode() not in out


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_list_of_which_nothing_is_shown_is_empty(count: int) -> None:
    one = {"metadata": {"name": "a", "namespace": "ci"}}
    body = compact({"kind": "SecretList", "items": [one] * count})
    assert reduced(frozenset(), Form.LIST, body, [7] * 40, masked=False) == compact({"kind": "SecretList", "items": []})
