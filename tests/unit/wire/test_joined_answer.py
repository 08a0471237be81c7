"""Parts of one list, joined: the frame of the first, the items of all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.wire.masking_by_hand import MASKED
from tests.unit.wire.shown_by_hand import Showing

from narrowgate.core.masking.choosing import Where
from narrowgate.wire.joined_answer import JoinedAnswer
from narrowgate.wire.json_items import BATCH_BYTES
from narrowgate.wire.json_spans import Unreadable


def not_hidden(where: Where) -> bool:
    return where.name != "hidden"


def one(namespace: str, name: str = "a", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "data": {"k": "planted"}, **more}


def listed(*items: Any, version: str = "7", **more: Any) -> dict[str, Any]:
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": [*items], **more}


def table(*objects: Any, columns: Any = ({"name": "Name"},)) -> dict[str, Any]:
    rows = [{"cells": [each["metadata"]["name"]], "object": each} for each in objects]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "7"},
        "columnDefinitions": columns,
        "rows": rows,
    }


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def joined(*documents: Any, cut: int = 1 << 20, masked: bool = False) -> bytes:
    answer = JoinedAnswer(Showing(not_hidden, masked=masked))
    out = b""
    for number, document in enumerate(documents):
        body = document if isinstance(document, bytes) else compact(document)
        out += answer.turn() if number else b""
        out += b"".join(answer.feed(body[at : at + cut]) for at in range(0, len(body), cut))
    return out + answer.finish()


@pytest.mark.parametrize("cut", [1, 13, 1 << 20])
def test_parts_become_the_list_that_they_are_parts_of(cut: int) -> None:
    parts = [[one("a", "x"), one("a", "hidden"), one("a", "y")], [], [one("b", "hidden")], [one("c", "x")]]
    shown = [one("a", "x"), one("a", "y"), one("c", "x")]
    assert joined(*(listed(*part) for part in parts), cut=cut) == compact(listed(*shown))
    assert joined(*(table(*part) for part in parts), cut=cut) == compact(table(*shown))


@pytest.mark.parametrize("first", [(), (one("a", "hidden"),)])
def test_the_first_part_may_have_nothing_to_show(first: tuple[Any, ...]) -> None:
    assert joined(listed(*first), listed(one("b"))) == compact(listed(one("b")))
    assert joined(listed(*first), listed()) == compact(listed())


def test_members_may_stand_behind_the_items() -> None:
    parts = [{"items": [one(name)], "kind": "PodList", "metadata": {"resourceVersion": "7"}} for name in ("a", "b")]
    assert joined(*parts) == compact(parts[0] | {"items": [one("a"), one("b")]})


def test_items_of_none_are_none() -> None:
    assert joined(listed(one("a")), listed() | {"items": None}, listed(one("b"))) == compact(listed(one("a"), one("b")))
    assert json.loads(joined(listed() | {"items": None}, listed(one("b")))) == listed(one("b"))


def test_what_is_shown_is_masked_and_what_counts_the_rest_is_gone() -> None:
    first = listed(one("a")) | {"metadata": {"resourceVersion": "7", "remainingItemCount": 3}}
    out = joined(first, listed(one("b")), masked=True)
    assert (out.count(MASKED.encode()), b"planted" in out, b"remaining" in out) == (2, False, False)


def test_the_version_of_the_first_is_known_when_it_is_whole() -> None:
    answer = JoinedAnswer(Showing(not_hidden))
    answer.feed(compact(listed(one("a"), version="41")))
    answer.turn()
    assert answer.version == "41"


def test_nothing_leaves_before_something_is_shown_and_then_batch_by_batch() -> None:
    filler = "x" * 2_000
    hidden = [one("a", "hidden", filler=filler) for _ in range(2 * BATCH_BYTES // len(filler))]
    answer = JoinedAnswer(Showing(not_hidden))
    assert answer.feed(compact(listed(*hidden))) + answer.turn() == b""
    shown = [one("b", f"n{n}", filler=filler) for n in range(3 * BATCH_BYTES // len(filler))]
    body = compact(listed(*shown))
    early = b"".join(answer.feed(body[at : at + 10_000]) for at in range(0, len(body), 10_000))
    assert len(early) > 2 * BATCH_BYTES
    assert early + answer.finish() == compact(listed(*shown))


@pytest.mark.parametrize(
    "second",
    [
        listed(version="8"),
        table(one("b")),
        {"kind": "Status", "apiVersion": "v1"},
        one("b"),
        listed(one("b")) | {"metadata": {"continue": "more"}},
        b"",
        b"[]",
        b'{"items":[{"metadata":{"name":"a"}}',
    ],
)
def test_what_is_no_part_of_the_same_list_is_refused(second: Any) -> None:
    with pytest.raises(Unreadable):
        joined(listed(one("a")), second)


def test_tables_of_other_columns_are_not_joined() -> None:
    with pytest.raises(Unreadable):
        joined(table(one("a")), table(one("b"), columns=[{"name": "Other"}]))
    with pytest.raises(Unreadable):
        joined(table(one("a")), listed(one("b")))
