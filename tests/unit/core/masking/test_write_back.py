from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from narrowgate.core.masking.built_in import LAST_APPLIED
from narrowgate.core.masking.masked_value import KEY_BYTES, ValueMasker
from narrowgate.core.masking.write_back import (
    MaskedValue,
    There,
    first_difference,
    less_known,
    masked_values,
    put_back,
    put_back_lines,
    texts_of,
)

MASKED = ValueMasker(b"k" * KEY_BYTES).of("team/dsn", b"hunter2")
OTHER = ValueMasker(b"k" * KEY_BYTES).of("team/dsn", b"other")


def test_masked_values_are_found_with_their_fields() -> None:
    encoded = base64.b64encode(MASKED.encode()).decode()
    document = {
        "data": {"tls.key": encoded, "plain": "x"},
        "spec": {"containers": [{"env": [{"name": "A", "value": f"a {MASKED} b"}]}]},
        "metadata": {"labels": {f"{MASKED}": "as a key"}},
    }
    assert list(masked_values(document)) == [
        MaskedValue("data[tls.key]", MASKED),
        MaskedValue("spec.containers[0].env[0].value", MASKED),
        MaskedValue("metadata.labels", MASKED),
    ]


def test_a_document_without_masked_values_has_none() -> None:
    assert list(masked_values({"a": [1, True, None, "[masked:]", {"b": "masked"}]})) == []


ENCODED = base64.b64encode(MASKED.encode()).decode()
PLAIN = base64.b64encode(b"hunter2").decode()


def back(sent: Any, shown: Any, now: Any) -> Any:
    """What becomes of a document; a list of fields where something of it is left."""
    result = put_back(sent, There(shown, now))
    return [one.field for one in result.left] or result.document


@pytest.mark.parametrize(
    ("shown", "now"),
    [
        ({"data": {"key": ENCODED, "b": "x"}}, {"data": {"key": PLAIN, "b": "x"}}),
        ({"a": [{"b": [MASKED, "y"]}]}, {"a": [{"b": ["hunter2", "y"]}]}),
        ({"n": MASKED, "m": MASKED}, {"n": 5432, "m": True}),
        ({"text": f"a\nb: {MASKED}\nc"}, {"text": "a\nb: hunter2\nc"}),
        ({"text": f"a\n{MASKED}\nc\nd: {MASKED}"}, {"text": "a\n--BEGIN--\nx\n--END--\nc\nd: hunter2"}),
        ({"json": f'{{"a":"{MASKED}","b":1}}\n'}, {"json": '{"a": "hunter2", "b": 1}\n'}),
        ({"fields": {}, "x": MASKED}, {"fields": {'k:{"name":"x"}': {}}, "x": "y"}),
        ({"stored": MASKED}, {"stored": MASKED}),
    ],
)
def test_what_is_sent_as_it_is_shown_becomes_what_it_is(shown: Any, now: Any) -> None:
    assert back(shown, shown, now) == now


def test_what_else_is_sent_stays() -> None:
    shown, now = {"a": MASKED, "b": "old", "c": {"d": 1}}, {"a": "hunter2", "b": "old", "c": {"d": 1}}
    assert back({"a": MASKED, "b": "new", "e": [None, True]}, shown, now) == {
        "a": "hunter2",
        "b": "new",
        "e": [None, True],
    }


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ({"b": MASKED}, ["b"]),
        ({"a": OTHER}, ["a"]),
        ({"a": f"{MASKED} and more"}, ["a"]),
        ({"a": [MASKED]}, ["a[0]"]),
        ({"list": [{"name": "z", "value": MASKED}]}, ["list[0].value"]),
        ({"list": [{"value": MASKED}, {"value": MASKED}]}, ["list[0].value", "list[1].value"]),
        (
            {"list": [{"name": "x", "value": MASKED}, {"name": "x", "value": MASKED}]},
            ["list[0].value", "list[1].value"],
        ),
        ({MASKED: "x"}, [""]),
        ({"text": f"x: {MASKED}"}, ["text"]),
        ({"json": f'{{"b":"{MASKED}"}}'}, ["json.b"]),
        (MASKED, [""]),
    ],
)
def test_what_stands_elsewhere_is_left_with_its_field(sent: Any, left: list[str]) -> None:
    shown = {
        "a": MASKED,
        "list": [{"name": "x", "value": MASKED}, {"name": "y", "value": OTHER}],
        "text": f"y: {MASKED}",
        "json": f'{{"a":"{MASKED}"}}',
    }
    now = {
        "a": "hunter2",
        "list": [{"name": "x", "value": "hunter2"}, {"name": "y", "value": "other"}],
        "text": "y: hunter2",
        "json": '{"a":"hunter2"}',
    }
    assert back(sent, shown, now) == left


def test_elements_of_a_list_go_by_their_name_wherever_they_stand() -> None:
    shown = {"env": [{"name": "A", "value": MASKED}, {"name": "B", "value": OTHER}, {"name": "C"}]}
    now = {"env": [{"name": "A", "value": "hunter2"}, {"name": "B", "value": "other"}, {"name": "C"}]}
    sent = {"env": [{"name": "B", "value": OTHER}, {"name": "new"}, {"name": "A", "value": MASKED}]}
    assert back(sent, shown, now) == {
        "env": [{"name": "B", "value": "other"}, {"name": "new"}, {"name": "A", "value": "hunter2"}]
    }


def test_elements_that_share_a_name_go_by_their_place_too() -> None:
    shown = {"env": [{"name": "A", "value": MASKED}, {"name": "A", "value": OTHER}]}
    now = {"env": [{"name": "A", "value": "hunter2"}, {"name": "A", "value": "other"}]}
    assert back(shown, shown, now) == now
    assert back({"env": shown["env"][1:]}, shown, now) == ["env[0].value"]


def test_arguments_keep_what_they_are_wherever_they_stand() -> None:
    shown, now = {"args": ["--password", MASKED]}, {"args": ["--password", "hunter2"]}
    assert back({"args": ["-v", "--password", MASKED]}, shown, now) == {"args": ["-v", "--password", "hunter2"]}


def test_lines_stay_put_back_when_others_come_and_go() -> None:
    shown, now = {"t": f"a: {MASKED}\nb\nc: {OTHER}\n"}, {"t": "a: hunter2\nb\nc: other\n"}
    assert back({"t": f"x\nc: {OTHER}\ny\n"}, shown, now) == {"t": "x\nc: other\ny\n"}
    assert back({"t": f"a: {MASKED} changed\n"}, shown, now) == ["t"]


def test_lines_of_which_nobody_knows_what_they_were_are_left() -> None:
    assert put_back_lines(f"a: {MASKED}", f"a: {MASKED}\nb", "a: x\nc") is None
    assert put_back_lines(f"a: {MASKED}", f"a: {MASKED}\na: {MASKED}", "a: x\na: y") is None
    assert put_back_lines("a", "a", "b") is None
    assert put_back_lines(f"a: {MASKED}", f"a: {MASKED}\nb", "a: x\nb\nc") is None


def test_the_copy_that_kubectl_keeps_is_put_back_from_the_object() -> None:
    shown = {"metadata": {"name": "s"}, "spec": {"env": [{"name": "A", "value": MASKED}]}}
    now = {"metadata": {"name": "s"}, "spec": {"env": [{"name": "A", "value": "hunter2"}]}}
    copy = json.dumps({"spec": {"env": [{"name": "A", "value": MASKED}]}})
    sent = {"metadata": {"annotations": {LAST_APPLIED: copy}}}
    assert json.loads(back(sent, shown, now)["metadata"]["annotations"][LAST_APPLIED]) == {
        "spec": {"env": [{"name": "A", "value": "hunter2"}]}
    }
    assert back({"metadata": {"annotations": {"other": copy}}}, shown, now) == ["metadata.annotations.other"]
    moved = json.dumps({"metadata": {"name": MASKED}})
    assert back({"metadata": {"annotations": {LAST_APPLIED: moved}}}, shown, now) == [
        f"metadata.annotations[{LAST_APPLIED}].metadata.name"
    ]


def test_the_text_form_of_a_secret_is_put_back_from_its_data() -> None:
    shown = {"apiVersion": "v1", "kind": "Secret", "data": {"key": ENCODED, "odd": "!"}}
    now = {"apiVersion": "v1", "kind": "Secret", "data": {"key": PLAIN, "odd": "!"}}
    assert back({"stringData": {"key": MASKED}}, shown, now) == {"stringData": {"key": "hunter2"}}
    assert back({"stringData": {"other": MASKED}}, shown, now) == ["stringData.other"]
    config = {"kind": "ConfigMap"}
    assert back({"stringData": {"key": MASKED}}, shown | config, now | config) == ["stringData.key"]


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {"a": True}, "a"),
        ({"a": 1}, {"a": 1.0}, "a"),
        ({"a": [1, {"b.c": 2}]}, {"a": [1, {"b.c": 3}]}, "a[1][b.c]"),
        ({"a": 1}, {"a": 1, "b": 2}, "b"),
        ([1], [1, 2], ""),
        ({}, [], ""),
    ],
)
def test_the_first_difference_is_told_by_its_field(one: Any, other: Any, field: str | None) -> None:
    assert first_difference(one, other) == field


def test_of_a_masked_document_somebody_knows_what_they_wrote() -> None:
    known = texts_of({"a": ["mine", 1], "b": "too"})
    assert known == {"mine", "too"}
    masked, plain = {"a": MASKED, "b": [MASKED, 1], "c": MASKED}, {"a": "mine", "b": ["hunter2", 1], "c": 5}
    assert less_known(masked, plain, known) == {"a": "mine", "b": [MASKED, 1], "c": MASKED}
