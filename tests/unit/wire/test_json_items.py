"""Lists taken apart as they come: whole items only, each once, and nothing else moved."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from narrowgate.wire.json_items import BATCH_BYTES, ItemStream
from narrowgate.wire.json_spans import Unreadable

FILLER = "x" * 2_000


def passed(document: bytes, cut: int = 65_536) -> tuple[bytes, list[Any], bytes | None]:
    """What comes out, the items that were seen, and the document where it was no list."""
    seen: list[Any] = []

    def items(elements: list[Raw], raw: bytes) -> bytes:
        seen.extend(json.loads(bytes(element)) for element in elements)
        return raw

    stream = ItemStream(lambda _head, _key: (), items)
    parts = [stream.feed(document[at : at + cut]) for at in range(0, len(document), cut)]
    return b"".join((*parts, stream.finish())), seen, stream.whole


def objects(count: int, **more: Any) -> list[dict[str, Any]]:
    """Items whose strings look like the borders between items."""
    return [{"metadata": {"name": f"n{n}", "odd": f'}},{{"metadata": {FILLER}'}, **more} for n in range(count)]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("count", [0, 1, 3, 500])
def test_items_come_in_batches_and_all_bytes_leave(count: int, indent: int | None) -> None:
    written = {"kind": "PodList", "metadata": {"resourceVersion": ""}, "items": objects(count)}
    document = json.dumps(written, indent=indent).encode() + b"\n"
    out, seen, whole = passed(document)
    assert (out, whole) == (document, None)
    assert seen == written["items"]


def test_what_stands_behind_the_items_may_be_anything() -> None:
    document = json.dumps({"items": objects(300), "kind": "X", "metadata": {"": [[]], "continue": "}]"}}).encode()
    out, seen, whole = passed(document)
    assert (out, len(seen), whole) == (document, 300, None)


def test_rows_of_a_table_are_items_and_lists_within_the_head_are_not() -> None:
    head: list[tuple[bytes, str]] = []
    stream = ItemStream(lambda found, key: head.append((found, key)) or (), lambda _elements, raw: raw)
    document = b'{"columnDefinitions":[{"items":[1],"\\"rows\\":[":1}],"rows":[{"cells":[1]}]}'
    assert stream.feed(document) + stream.finish() == document
    around = document[: document.index(b'"rows":[{') + 8] + b"]}"
    assert head == [(around, "rows"), (around, "rows")]


def test_what_is_no_list_is_told_as_a_whole() -> None:
    document = b'{"kind":"Pod","spec":{"volumes":[{"projected":{"items":[{"key":"a"}]}}]}}'
    out, seen, whole = passed(document, 7)
    assert (out, seen, whole) == (b"", [], document)


def test_items_that_begin_unlike_each_other_are_told_apart() -> None:
    mixed = [{chr(97 + n % 26): FILLER, "inner": [{"a": 1}, {"b": "},{"}]} for n in range(400)]
    document = json.dumps({"items": mixed}).encode()
    out, seen, _ = passed(document, 9_973)
    assert (out, seen) == (document, mixed)


def test_no_more_is_held_than_a_batch_and_an_item() -> None:
    document = json.dumps({"items": objects(2_000)}).encode()
    longest = 0

    def items(elements: list[Raw], raw: bytes) -> bytes:
        nonlocal longest
        longest = max(longest, len(raw))
        return raw

    stream = ItemStream(lambda _head, _key: (), items)
    for at in range(0, len(document), 16_384):
        stream.feed(document[at : at + 16_384])
    stream.finish()
    assert len(document) > 10 * BATCH_BYTES
    assert longest < 2 * BATCH_BYTES


@pytest.mark.parametrize(
    "document",
    [
        b'{"items":[{"a":1},',
        b'{"items":[{"a":1}',
        b'{"items":[{"a":1}]',
        b'{"items":[{"a":1}]}}',
        b'{"items":[{"a":1}]} {}',
        b'{"items":[{"a":1}],"items":[{"a":"unmasked"}]}',
        b'{"items":[{"a":1}{"b":2}]}',
        b'{"items":[{"a":1},]}',
        b'{"items":[{"a":"\xff"}]}',
        b'{"items":[],"a":"\xff"}',
        b'{"a":"\xff","items":[]}',
        b'{"a":1,"a":2,"items":[]}',
    ],
)
def test_what_could_be_read_differently_is_refused(document: bytes) -> None:
    with pytest.raises(Unreadable):
        passed(document)


@pytest.mark.parametrize("between", [b" ", b'"planted"', b" 1,", b",,", b"]", b":"])
def test_nothing_but_a_comma_stands_between_two_batches(between: bytes) -> None:
    many = json.dumps(objects(2 * BATCH_BYTES // len(FILLER)))[1:-1].encode()
    with pytest.raises(Unreadable):
        passed(b'{"items":[%b%b%b]}' % (many, between, many))


def test_nothing_is_sent_on_before_there_is_an_item_to_send() -> None:
    stream = ItemStream(lambda _head, _key: (), lambda _elements, raw: raw)
    assert stream.feed(b'{"kind":"PodList","items":[{"a":1},') == b""
    assert stream.feed(b'{"a":2}') == b""
    assert stream.feed(b"]}") + stream.finish() == b'{"kind":"PodList","items":[{"a":1},{"a":2}]}'
