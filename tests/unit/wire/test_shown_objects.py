"""Which objects leave, and what of a list's frame does."""

from __future__ import annotations

import json

import pytest

from narrowgate.core.masking.choosing import Where
from narrowgate.wire.json_spans import Unreadable, spliced
from narrowgate.wire.shown_objects import ShownObjects, around_shown, place_of


@pytest.mark.parametrize(
    ("document", "where"),
    [
        (b'{"metadata":{"name":"a","namespace":"ci"}}', Where("ci", "a")),
        (b'{"metadata":{"name":"ci"}}', Where("", "ci")),
        (b'{ "spec" : 1, "m\\u0065tadata" : { "n\\u0061me" : "\\u0061", "namespace":"ci" } }', Where("ci", "a")),
        (b'{"metadata":{"name":"\xc3\xa9"}}', Where("", "\xe9")),
    ],
)
def test_a_place_is_read_however_it_is_written(document: bytes, where: Where) -> None:
    assert place_of(document) == where


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        b"null",
        b'"a"',
        b'{"metadata":null}',
        b'{"metadata":[]}',
        b'{"metadata":{}}',
        b'{"metadata":{"name":""}}',
        b'{"metadata":{"name":null}}',
        b'{"metadata":{"name":7}}',
        b'{"metadata":{"name":"a","namespace":null}}',
        b'{"metadata":{"name":"a","name":"b"}}',
        b'{"metadata":{"name":"a","n\\u0061me":"b"}}',
        b'{"metadata":{"name":"a"},"metadata":{"name":"b"}}',
        b'{"Metadata":{"name":"a"}}',
    ],
)
def test_an_object_that_does_not_say_which_one_it_is_is_refused(document: bytes) -> None:
    with pytest.raises(Unreadable):
        place_of(document)
    with pytest.raises(Unreadable):
        ShownObjects(lambda _where: True).holds(document)
    with pytest.raises(Unreadable):
        ShownObjects(lambda _where: True).holds_row(b'{"cells":[],"object":%b}' % document)


@pytest.mark.parametrize("row", [b"{}", b'{"cells":["a"]}', b'{"object":null}', b"[]"])
def test_a_row_without_an_object_is_refused(row: bytes) -> None:
    with pytest.raises(Unreadable):
        ShownObjects(lambda _where: True).holds_row(row)


def test_a_bookmark_is_about_no_object_or_about_one_that_is_shown() -> None:
    shown = ShownObjects(lambda where: where.name == "a")
    shown.require_bookmark(b'{"kind":"Pod","metadata":{"resourceVersion":"7"}}')
    shown.require_bookmark(b'{"kind":"Pod","metadata":{"name":"a"}}')
    shown.require_bookmark_row(b'{"object":{"metadata":{"resourceVersion":"7"}}}')
    with pytest.raises(Unreadable):
        shown.require_bookmark(b'{"kind":"Pod","metadata":{"name":"b"}}')


@pytest.mark.parametrize(
    ("metadata", "left"),
    [
        ('{"resourceVersion":"1","remainingItemCount":7}', '{"resourceVersion":"1"}'),
        ('{"remainingItemCount":7,"resourceVersion":"1"}', '{"resourceVersion":"1"}'),
        ('{"a":"," , "remainingItemCount" : 7 , "continue":""}', '{"a":"," , "continue":""}'),
        ('{"remainingItemCount":7}', "{}"),
        ('{"r\\u0065mainingItemCount":7}', "{}"),
        ('{"resourceVersion":"1"}', '{"resourceVersion":"1"}'),
        ("null", "null"),
    ],
)
@pytest.mark.parametrize("frame", ['{{"kind":"PodList","metadata":{},"items":[]}}', '{{"items":[], "metadata" :{}}}'])
def test_what_counts_the_hidden_is_cut_out(frame: str, metadata: str, left: str) -> None:
    document = frame.format(metadata).encode()
    cut = around_shown(document, "items")
    out = spliced(document, [(span, b"") for span in cut])
    assert json.loads(out) == json.loads(frame.format(left))
    assert b"remaining" not in out


@pytest.mark.parametrize(
    ("document", "key"),
    [
        (b'{"kind":"PodList","metadata":{"continue":"abc"},"items":[]}', "items"),
        (b'{"kind":"PodList","metadata":"x","items":[]}', "items"),
        (b'{"kind":"PodList","hidden":["a"],"items":[]}', "items"),
        (b'{"kind":"PodList","columnDefinitions":[],"items":[]}', "items"),
        (b'{"kind":"Table","apiVersion":"meta.k8s.io/v1","items":[]}', "items"),
        (b'{"kind":"PodList","apiVersion":"v1","rows":[]}', "rows"),
        (b'{"metadata":{"remainingItemCount":1,"remainingItemCount":2},"items":[]}', "items"),
    ],
)
def test_what_is_more_than_a_whole_list_is_refused(document: bytes, key: str) -> None:
    with pytest.raises(Unreadable):
        around_shown(document, key)
