"""base64url has one spelling here."""

from __future__ import annotations

import pytest

from narrowgate.authenticators.base64url import from_base64url, to_base64url


@pytest.mark.parametrize("content", [b"", b"a", b"ab", b"abc", b"\xfb\xff\xfe", bytes(range(256))])
def test_what_was_written_is_read_back(content: bytes) -> None:
    assert from_base64url(to_base64url(content)) == content


@pytest.mark.parametrize(
    "text",
    ["YQ==", "YR", "Y", "YWJj\n", "YW Jj", "-_+/", "YWJj\u00e4"],
    ids=["padded", "bits left over", "no number of bytes", "line break", "space", "two alphabets", "foreign letter"],
)
def test_every_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_base64url(text)
