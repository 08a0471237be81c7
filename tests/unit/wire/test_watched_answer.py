"""Watches reduced to what is shown: events of hidden objects leave nothing behind, and all else keeps its meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.wire.masking_by_hand import MASKED
from tests.unit.wire.shown_by_hand import Showing

from narrowgate.core.masking.choosing import Where
from narrowgate.wire.json_spans import Unreadable
from narrowgate.wire.masked_answer import Form, masked_answer

COLUMNS = [{"name": "Name"}, {"name": "Secret"}]
END_OF_INITIAL = {"kind": "Pod", "metadata": {"annotations": {"k8s.io/initial-events-end": "true"}}}
GONE = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410}


def in_ci(where: Where) -> bool:
    return where.namespace == "ci"


def pod(namespace: str, name: str = "a") -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "data": {"k": "planted"}}


def event(kind: str, of: Any) -> bytes:
    return json.dumps({"type": kind, "object": of}, separators=(",", ":")).encode() + b"\n"


def table(*objects: Any, columns: Any = None) -> dict[str, Any]:
    rows = [{"cells": ["a", "planted"], "object": one} for one in objects]
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": columns, "rows": rows}


def watched(body: bytes, cut: int = 1 << 20, *, masked: bool = False) -> bytes:
    answer = masked_answer(Form.WATCH, Showing(in_ci, masked=masked))
    parts = [answer.feed(body[at : at + cut]) for at in range(0, len(body), cut)]
    return b"".join((*parts, answer.finish()))


@pytest.mark.parametrize("cut", [1, 11, 1 << 20])
def test_events_of_hidden_objects_leave_nothing(cut: int) -> None:
    kinds = ("ADDED", "MODIFIED", "DELETED")
    shown = [event(kind, pod("ci")) for kind in kinds] + [event("BOOKMARK", END_OF_INITIAL), event("ERROR", GONE)]
    hidden = [event(kind, pod("web")) for kind in kinds]
    body = b"".join((hidden[0], shown[0], hidden[1], shown[1], shown[2], hidden[2], shown[3], shown[4]))
    assert watched(body, cut) == b"".join(shown)
    assert watched(b"".join(hidden), cut) == b""


def test_an_event_of_several_lines_leaves_no_line() -> None:
    hidden, shown = (json.dumps({"type": "ADDED", "object": pod(one)}, indent=1).encode() for one in ("web", "ci"))
    assert watched(hidden + b"\n" + shown + b"\n" + hidden + b"\n", 3) == shown + b"\n"


def test_what_is_shown_is_masked() -> None:
    body = event("ADDED", pod("web")) + event("ADDED", pod("ci")) + event("ADDED", table(pod("ci"), columns=COLUMNS))
    out = watched(body, masked=True)
    assert (out.count(MASKED.encode()), out.count(b"planted")) == (3, 0)


def test_rows_are_shown_one_by_one_and_an_event_without_any_is_none() -> None:
    body = event("ADDED", table(pod("web"), pod("ci", "b"), columns=COLUMNS)) + event("MODIFIED", table(pod("web")))
    assert watched(body) == event("ADDED", table(pod("ci", "b"), columns=COLUMNS))
    assert watched(event("ADDED", table())) == b""


def test_the_columns_of_a_hidden_first_event_come_with_the_first_that_is_shown() -> None:
    body = b"".join(
        (
            event("ADDED", table(pod("web"), columns=COLUMNS)),
            event("ADDED", table(pod("ci", "b"))),
            event("ADDED", table(pod("ci", "c"))),
        )
    )
    assert watched(body) == event("ADDED", table(pod("ci", "b"), columns=COLUMNS)) + event(
        "ADDED", table(pod("ci", "c"))
    )


def test_a_bookmark_in_a_table_stays() -> None:
    bookmark = event("BOOKMARK", table(END_OF_INITIAL, columns=COLUMNS))
    later = event("ADDED", table(pod("ci")))
    assert watched(event("ADDED", table(pod("web"), columns=COLUMNS)) + bookmark + later) == bookmark + later


def test_a_list_within_an_object_is_a_part_of_it() -> None:
    custom = pod("ci") | {"kind": "AccessList", "items": [{"who": "a"}]}
    assert watched(event("ADDED", custom)) == event("ADDED", custom)


@pytest.mark.parametrize(
    "odd",
    [
        event("RENAMED", pod("ci")),
        event("", pod("ci")),
        event("added", pod("ci")),
        b'{"object":{"metadata":{"name":"a","namespace":"ci"}}}\n',
        b'{"type":7,"object":{"metadata":{"name":"a","namespace":"ci"}}}\n',
        b'{"type":"ADDED","type":"BOOKMARK","object":{}}\n',
        b'{"type":"ADDED","object":{"metadata":{"name":"a","namespace":"ci"}},"old":{}}\n',
        event("ADDED", {"kind": "Pod", "metadata": {"namespace": "ci"}}),
        event("ADDED", GONE),
        event("ADDED", None),
        event("ERROR", pod("web")),
        event("ERROR", pod("ci")),
        event("BOOKMARK", pod("web")),
        event("BOOKMARK", table(pod("web"))),
        event("BOOKMARK", table(None)),
        event("ADDED", table(pod("ci"), None)),
        event("ADDED", table(pod("ci")) | {"items": []}),
        event("ADDED", table(pod("ci")) | {"rows": {}}),
        event("ADDED", table(pod("ci")) | {"more": 1}),
    ],
)
def test_what_cannot_be_told_is_refused(odd: bytes) -> None:
    with pytest.raises(Unreadable):
        watched(odd)
