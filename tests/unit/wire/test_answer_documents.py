"""Lists and Tables reduced to what is shown: what leaves, and what is no such list."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.wire.masking_by_hand import MASKED
from tests.unit.wire.shown_by_hand import Showing

from narrowgate.core.masking.choosing import Where
from narrowgate.wire.json_items import BATCH_BYTES
from narrowgate.wire.json_spans import Unreadable
from narrowgate.wire.masked_answer import Form, masked_answer


def in_ci(where: Where) -> bool:
    return where.namespace == "ci"


def secret(namespace: str, name: str = "a", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "data": {"k": "planted"}, **more}


def reduced(document: bytes, cut: int = 1 << 20, form: Form = Form.LIST, *, masked: bool = False) -> bytes:
    """What leaves of a list that comes in parts of `cut` bytes."""
    answer = masked_answer(form, Showing(in_ci, masked=masked))
    parts = [answer.feed(document[at : at + cut]) for at in range(0, len(document), cut)]
    return b"".join((*parts, answer.finish()))


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def table(rows: list[Any], **more: Any) -> dict[str, Any]:
    columns = [{"name": "Name"}, {"name": "Secret"}]
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": columns, "rows": rows, **more}


@pytest.mark.parametrize("namespaces", ["", "c", "w", "cw", "wc", "wcw", "cwc", "wwcc", "www", "ccwwc"])
@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
def test_what_is_hidden_goes_with_its_comma_and_the_rest_stays_byte_for_byte(namespaces: str, cut: int) -> None:
    items = [secret({"c": "ci", "w": "web"}[short], f"n{at}") for at, short in enumerate(namespaces)]
    written = {"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items}
    shown = [item for item in items if item["metadata"]["namespace"] == "ci"]
    assert reduced(compact(written), cut) == compact(written | {"items": shown})
    rows = [{"cells": [item["metadata"]["name"], 1], "object": item} for item in items]
    kept = [row for row in rows if row["object"]["metadata"]["namespace"] == "ci"]
    assert reduced(compact(table(rows)), cut) == compact(table(kept))


@pytest.mark.parametrize("order", [("kind", "metadata", "items"), ("items", "kind", "metadata")])
def test_nothing_counts_what_is_hidden(order: tuple[str, ...]) -> None:
    whole = {"kind": "SecretList", "metadata": {"remainingItemCount": 5, "resourceVersion": "7"}, "items": []}
    document = {key: whole[key] for key in order}
    assert reduced(compact(document)) == compact(document | {"metadata": {"resourceVersion": "7"}})


def test_what_is_shown_is_masked() -> None:
    document = {"kind": "SecretList", "items": [secret("web"), secret("ci")]}
    assert json.loads(reduced(compact(document), masked=True))["items"] == [secret("ci") | {"data": {"k": MASKED}}]
    rows = [{"cells": ["a", "planted"], "object": secret(one)} for one in ("web", "ci")]
    out = json.loads(reduced(compact(table(rows)), masked=True))
    assert out["rows"] == [{"cells": ["a", MASKED], "object": secret("ci") | {"data": {"k": MASKED}}}]


def test_whole_batches_of_hidden_items_leave_nothing_and_nothing_leaves_before_something_is_shown() -> None:
    filler = "x" * 2_000
    hidden = [secret("web", f"n{n}", filler=filler) for n in range(3 * BATCH_BYTES // len(filler))]
    last = secret("ci", "last")
    document = compact({"kind": "SecretList", "items": [*hidden, last, *hidden]})
    answer = masked_answer(Form.LIST, Showing(in_ci))
    begin = document.index(compact(last))
    early = b"".join(answer.feed(document[at : at + 10_000]) for at in range(0, begin, 10_000))
    assert early == b""
    rest = answer.feed(document[(begin + 9_999) // 10_000 * 10_000 :]) + answer.finish()
    assert rest == compact({"kind": "SecretList", "items": [last]})


@pytest.mark.parametrize("cut", [1, 13, 1 << 20])
def test_white_space_makes_no_difference_to_what_leaves(cut: int) -> None:
    items = [secret(one, f"n{at}") for at, one in enumerate(["web", "ci", "web", "ci", "web"])]
    document = json.dumps({"kind": "SecretList", "items": items}, indent=2).encode() + b"\n"
    out = reduced(document, cut)
    assert out == reduced(document)
    assert [one["metadata"]["name"] for one in json.loads(out)["items"]] == ["n1", "n3"]


def test_a_status_says_why_there_is_no_list() -> None:
    refused = {"kind": "Status", "apiVersion": "v1", "message": "no", "metadata": {}}
    assert reduced(compact(refused)) == compact(refused)


@pytest.mark.parametrize("empty", [{"kind": "SecretList", "items": None}, table([]) | {"rows": None}])
def test_a_list_of_nothing_is_one(empty: dict[str, Any]) -> None:
    assert reduced(compact(empty)) == compact(empty)


def test_a_list_that_comes_too_late_to_be_taken_apart_is_reduced_as_a_whole() -> None:
    metadata = {f"k{n}": {"items": []} for n in range(400)} | {"remainingItemCount": 1}
    document = compact({"metadata": metadata, "items": [secret("web"), secret("ci"), secret("web")]})
    out = json.loads(reduced(document, 4_096))
    assert (out["items"], "remainingItemCount" in out["metadata"]) == ([secret("ci")], False)


@pytest.mark.parametrize("form", [Form.LIST, Form.OBJECT])
@pytest.mark.parametrize(
    "document",
    [
        secret("ci"),
        {},
        {"kind": "SecretList"},
        {"kind": "SecretList", "items": {"a": secret("ci")}},
        {"kind": "SecretList", "items": "x"},
        {"kind": "SecretList", "metadata": {"continue": "more"}, "items": []},
        {"kind": "SecretList", "items": [secret("ci")], "metadata": {"continue": "more"}},
        {"kind": "SecretList", "items": [], "others": [secret("web")]},
        {"kind": "SecretList", "items": [secret("ci"), {"metadata": {"namespace": "ci"}}]},
        {"kind": "SecretList", "items": ["planted"]},
        {"kind": "SecretList", "items": [[secret("ci")]]},
        {"kind": "SecretList", "items": [None]},
        {"kind": "Status", "apiVersion": "v1", "items": []},
        {"kind": "Status", "apiVersion": "v1", "items": None},
        {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "items": []},
        table([{"cells": ["a"], "object": None}]),
        table([{"cells": ["a"]}]),
        table(["a"]),
        table([]) | {"rows": {"a": 1}},
        table([], metadata={"continue": "more"}),
        table([], items=[]),
    ],
)
def test_what_is_no_list_of_objects_that_say_their_names_is_refused(form: Form, document: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        reduced(compact(document), form=form)


def test_each_object_is_asked_about_once() -> None:
    asked: list[Where] = []

    def shows(where: Where) -> bool:
        asked.append(where)
        return where.namespace == "ci"

    document = compact({"kind": "SecretList", "items": [secret("ci", f"n{n}", filler="x" * 900) for n in range(1_000)]})
    answer = masked_answer(Form.LIST, Showing(shows))
    out = b"".join(answer.feed(document[at : at + 9_000]) for at in range(0, len(document), 9_000))
    assert out + answer.finish() == document
    assert asked == [Where("ci", f"n{n}") for n in range(1_000)]
