"""Signed JSON means the same to every reader, or nothing."""

from __future__ import annotations

import pytest

from narrowgate.authenticators.strict_json import NotStrict, read_object


def test_an_object_is_read() -> None:
    assert read_object(b'{"a": 1, "b": {"c": [true, null, "x"]}}') == {"a": 1, "b": {"c": [True, None, "x"]}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"a": 1, "a": 1}', "has a member twice"),
        (b'{"a": {"b": 1, "b": 2}}', "has a member twice"),
        (b'{"a": 1, "\\u0061": 2}', "has a member twice"),
        (b"[]", "is not a JSON object"),
        (b'"x"', "is not a JSON object"),
        (b'{"a": NaN}', "is not JSON"),
        (b'{"a": -Infinity}', "is not JSON"),
        (b'{"a": 1} {}', "is not JSON"),
        (b'{"a": "\xff"}', "is not JSON"),
        (b"", "is not JSON"),
        (b'{"a":' + b"[" * 4000 + b"]" * 4000 + b"}", "is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not JSON"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(NotStrict, match=says):
        read_object(content)
