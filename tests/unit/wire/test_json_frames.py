"""What a document says of itself at its top."""

from __future__ import annotations

import pytest

from narrowgate.wire.json_frames import is_list, is_status, is_table, text_of, top_of, value_of
from narrowgate.wire.json_spans import Unreadable


def test_members_are_found_behind_white_space_too() -> None:
    document = b' \n{"kind":"X","items":[1], "n":1}\n'
    members = top_of(document)
    assert {key: value_of(document, span) for key, span in members.items()} == {
        "kind": b'"X"',
        "items": b"[1]",
        "n": b"1",
    }
    assert (is_list(document, members["items"]), is_list(document, members["n"]), is_list(document, None)) == (
        True,
        False,
        False,
    )
    assert (text_of(document, members["kind"]), text_of(document, members["n"]), text_of(document, None)) == (
        "X",
        "",
        "",
    )


@pytest.mark.parametrize("document", [b"[]", b'"x"', b"", b'{"a":1,"a":2}', b"{"])
def test_what_is_no_object_is_refused(document: bytes) -> None:
    with pytest.raises(Unreadable):
        top_of(document)


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (b'{"kind":"Status","apiVersion":"v1"}', (True, False)),
        (b'{"kind":"Status","apiVersion":"example.com/v1"}', (False, False)),
        (b'{"kind":"Table","apiVersion":"meta.k8s.io/v1"}', (False, True)),
        (b'{"kind":"Table","apiVersion":"example.com/v1"}', (False, False)),
        (b'{"\\u006bind":"T\\u0061ble","apiVersion":"meta.k8s.io/v1beta1"}', (False, True)),
        (b"{}", (False, False)),
    ],
)
def test_statuses_and_tables_are_told_by_kind_and_group(document: bytes, found: tuple[bool, bool]) -> None:
    members = top_of(document)
    assert (is_status(document, members), is_table(document, members)) == found
