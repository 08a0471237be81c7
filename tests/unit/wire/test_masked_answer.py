"""Answers masked on their way: objects, lists, tables, watches, statuses; cut anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.wire.masking_by_hand import MASKED, Everywhere, InNamespace

from narrowgate.wire.json_spans import Unreadable
from narrowgate.wire.masked_answer import Form, Masks, masked_answer

SECRET = {"metadata": {"name": "a", "namespace": "ci"}, "data": {"k": "planted"}}
OTHER = {"metadata": {"name": "a", "namespace": "web"}, "data": {"k": "planted"}}
HIDDEN = {"metadata": {"name": "a", "namespace": "ci"}, "data": {"k": MASKED}}


def answered(form: Form, document: bytes, masks: Masks | None = None, cut: int = 1 << 20) -> bytes:
    """What leaves of a document that comes in parts of `cut` bytes."""
    answer = masked_answer(form, masks or Everywhere())
    parts = [answer.feed(document[at : at + cut]) for at in range(0, len(document), cut)]
    return b"".join((*parts, answer.finish()))


def compact(value: Any) -> bytes:
    """As the API server writes it."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
def test_an_object_a_list_and_a_watch_are_masked_however_they_are_cut(cut: int) -> None:
    assert answered(Form.OBJECT, compact(SECRET), cut=cut) == compact(HIDDEN)
    listed = {"kind": "SecretList", "items": [SECRET, {"a": 1}, SECRET]}
    assert answered(Form.LIST, compact(listed), cut=cut) == compact(listed).replace(b"planted", MASKED.encode())
    events = compact({"type": "ADDED", "object": SECRET}) + compact({"type": "BOOKMARK", "object": {"kind": "X"}})
    assert answered(Form.WATCH, events, cut=cut) == events.replace(b"planted", MASKED.encode())


def test_a_list_that_turns_out_to_be_a_status_is_masked_as_one() -> None:
    refused = {"kind": "Status", "apiVersion": "v1", "message": "planted", "data": {"k": "stays"}}
    for form in (Form.LIST, Form.OBJECT):
        assert json.loads(answered(form, compact(refused))) == refused | {"message": MASKED}
    assert json.loads(answered(Form.WATCH, compact({"type": "ERROR", "object": refused}))) == {
        "type": "ERROR",
        "object": refused | {"message": MASKED},
    }


def test_an_object_that_only_calls_itself_a_status_is_an_object() -> None:
    custom = {"kind": "Status", "apiVersion": "example.com/v1", "data": {"k": "planted"}}
    assert b"planted" not in answered(Form.OBJECT, compact(custom))


@pytest.mark.parametrize("form", [Form.LIST, Form.OBJECT])
def test_rows_of_a_table_are_masked_in_their_objects_and_cells(form: Form) -> None:
    table = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "columnDefinitions": [{"name": "Name"}, {"name": "Secret"}],
        "rows": [{"cells": ["a", "planted"], "object": SECRET}, {"cells": ["b", None], "object": None}],
    }
    out = answered(form, compact(table))
    assert b"planted" not in out
    assert json.loads(out)["rows"] == [
        {"cells": ["a", MASKED], "object": HIDDEN},
        {"cells": ["b", None], "object": None},
    ]


def test_a_later_event_of_a_watched_table_has_the_columns_of_the_first() -> None:
    first = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "columnDefinitions": [{"name": "Secret"}],
        "rows": [{"cells": ["planted"], "object": SECRET}],
    }
    later = first | {"columnDefinitions": None}
    events = b"".join(compact({"type": "ADDED", "object": one}) for one in (first, later))
    assert answered(Form.WATCH, events).count(MASKED.encode()) == 4


@pytest.mark.parametrize("form", [Form.LIST, Form.OBJECT, Form.WATCH])
def test_masks_of_one_namespace_are_judged_object_by_object(form: Form) -> None:
    if form is Form.LIST:
        out = json.loads(
            answered(form, compact({"items": [SECRET, OTHER, {"data": {"k": "planted"}}]}), InNamespace("ci"))
        )
        assert out["items"] == [HIDDEN, OTHER, {"data": {"k": MASKED}}]
        return
    wrap: Any = (lambda one: {"type": "ADDED", "object": one}) if form is Form.WATCH else (lambda one: one)
    assert json.loads(answered(form, compact(wrap(SECRET)), InNamespace("ci"))) == wrap(HIDDEN)
    assert json.loads(answered(form, compact(wrap(OTHER)), InNamespace("ci"))) == wrap(OTHER)


def test_where_an_object_is_cannot_be_told_every_mask_holds() -> None:
    odd = {"metadata": {"name": 7}, "data": {"k": "planted"}}
    assert b"planted" not in answered(Form.OBJECT, compact(odd), InNamespace("ci"))
    assert b"planted" not in answered(Form.OBJECT, compact({"data": {"k": "planted"}}), InNamespace("ci"))


def test_a_list_that_comes_too_late_to_be_taken_apart_is_masked_as_a_whole() -> None:
    head = ",".join(f'"k{n}":{{"items":[]}}' for n in range(400))
    document = f'{{{head},"items":[{json.dumps(SECRET)}]}}'.encode()
    out = answered(Form.LIST, document, cut=4_096)
    assert out == document.replace(b"planted", MASKED.encode())


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("document", [b'{"a":', b"[]", b'"text"', b"k8s\x00\x0a", b'{"a":1}{"b":2}', b'{"a":1,"a":2}'])
def test_what_is_not_one_object_is_refused(form: Form, document: bytes) -> None:
    with pytest.raises(Unreadable):
        answered(form, document + b"\n")


ROWS = '"rows":[{"cells":["planted"],"object":null}]'
TABLE = '"kind":"Table","apiVersion":"meta.k8s.io/v1"'
COLUMNS = '"columnDefinitions":[{"name":"Secret"}]'
ITEMS = f'"items":[{json.dumps(SECRET)}]'


@pytest.mark.parametrize(
    "document",
    [
        f'{{{ITEMS},"rows":[]}}',
        f'{{"rows":[],{ITEMS}}}',
        f'{{"\\u0069tems":[{json.dumps(SECRET)}],{ROWS}}}',
        f'{{"kind":"Status","apiVersion":"v1","message":"planted",{ITEMS}}}',
        f'{{{ITEMS},"kind":"Status","apiVersion":"v1","message":"planted"}}',
        f"{{{TABLE},{ROWS},{COLUMNS}}}",
        '{"items":["planted"]}',
        '{"items":[["planted"]]}',
    ],
)
def test_a_list_that_is_something_else_as_well_is_refused(document: str) -> None:
    with pytest.raises(Unreadable):
        answered(Form.LIST, document.encode())


def test_a_list_where_an_object_was_asked_for_is_masked_as_both() -> None:
    document = {"kind": "AccessList", "items": [SECRET], "data": {"k": "planted"}}
    out = json.loads(answered(Form.OBJECT, compact(document)))
    assert out == {"kind": "AccessList", "items": [HIDDEN], "data": {"k": MASKED}}


@pytest.mark.parametrize("cut", [1, 17, 1 << 20])
def test_events_may_take_several_lines(cut: int) -> None:
    written = [json.dumps({"type": "ADDED", "object": one}, indent=2) + "\n" for one in (SECRET, {"kind": "X"}, SECRET)]
    body = "\n".join(written).encode()
    assert answered(Form.WATCH, body, cut=cut) == body.replace(b"planted", MASKED.encode())


def test_an_event_leaves_as_soon_as_its_last_line_has_come() -> None:
    answer = masked_answer(Form.WATCH, Everywhere())
    event = json.dumps({"type": "ADDED", "object": SECRET}, indent=1).encode()
    assert answer.feed(event) == b""
    assert answer.feed(b"\n") == event.replace(b"planted", MASKED.encode()) + b"\n"


@pytest.mark.parametrize("body", [b"{\n}\n", b'{\n"object":{}}\n}\n', b'{\n"object":\n', b'{"object":\n{}}\n'])
def test_lines_that_are_no_event_are_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        answered(Form.WATCH, body)


def test_an_object_that_says_twice_where_it_is_is_refused_even_where_nothing_is_masked() -> None:
    odd = b'{"metadata":{"namespace":"web","namespace":"ci"},"data":{"k":"planted"}}\n'
    with pytest.raises(Unreadable):
        answered(Form.OBJECT, odd, InNamespace("ci"))
    with pytest.raises(Unreadable):
        answered(Form.LIST, b'{"items":[%b]}' % odd, InNamespace("ci"))


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize(
    "odd",
    [
        '{"kind":"\\ud800","metadata":{"name":"a"}}',
        '{"metadata":{"namespace":"\\ud800x"},"data":{"k":"planted"}}',
        '{"metadata":{"name":"\\udc00x"},"data":{"k":"planted"}}',
        '{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":[1],"rows":[]}',
        '{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"name":"\\ud800x"}],"rows":[]}',
        '{"kind":"Table","apiVersion":"meta.k8s.io/v1","rows":[1]}',
        '{"env":[{"name":"\\ud800x","value":"planted"}]}',
    ],
)
def test_what_turns_out_to_be_no_text_is_refused_wherever_it_is_read(odd: str, form: Form) -> None:
    wrapped = {Form.OBJECT: odd, Form.LIST: odd, Form.WATCH: f'{{"type":"ADDED","object":{odd}}}'}[form]
    with pytest.raises(Unreadable):
        answered(form, wrapped.encode() + b"\n", InNamespace("ci"))
    if "rows" not in odd:
        with pytest.raises(Unreadable):
            answered(Form.LIST, f'{{"items":[{odd}]}}'.encode(), InNamespace("ci"))
