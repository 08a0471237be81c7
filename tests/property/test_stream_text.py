"""Laws of masking what programs write: however it is cut, and whenever it pauses, secrets do not leave."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from narrowgate.core.masking.known_values import KnownValues
from narrowgate.core.masking.masked_value import MASKED_BYTES, ValueMasker
from narrowgate.core.masking.patterns import TEXT_RULES, text_patterns
from narrowgate.core.masking.secret_parts import MIN_LENGTH, Known
from narrowgate.core.masking.stream_text import StreamMasker
from narrowgate.core.masking.text import TextMasker

SECRET = b"Xq7-plover-Zeta-91"
KNOWN = KnownValues([Known(SECRET, SECRET)])
PATTERNS = text_patterns(frozenset(TEXT_RULES))
VALUES = ValueMasker(b"k" * 32)

KEY = b"""-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASC
BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
-----END PRIVATE KEY-----"""
words = st.sampled_from(
    [
        b"\n",
        b" ",
        b"ok",
        b"$ ",
        b"\r\n",
        b"password: |\n  ",
        b"password=",
        b'{"a": 1}',
        b"\x1b[31mred\x1b[0m",
        SECRET,
        KEY,
    ]
)
texts = st.lists(words | st.text("abcxyz \n", max_size=12).map(str.encode), max_size=12).map(b"".join)
files = st.lists(words | st.binary(max_size=40), max_size=12).map(lambda parts: b"\0" + b"".join(parts))
cuts = st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=10)


def masker() -> StreamMasker:
    return StreamMasker(PATTERNS, VALUES, {}, KNOWN)


def pieces(text: bytes, at: list[tuple[int, bool]]) -> list[tuple[bytes, bool]]:
    """The text cut there; whether there is a pause behind each piece."""
    places = sorted({min(place, len(text)): pause for place, pause in at}.items())
    found, start = [], 0
    for place, pause in [*places, (len(text), False)]:
        found.append((text[start:place], pause))
        start = place
    return found


@given(texts, cuts)
def test_without_pauses_it_is_what_lines_are(text: bytes, at: list[tuple[int, bool]]) -> None:
    lines = TextMasker(PATTERNS, VALUES, {}, KNOWN)
    one = masker()
    seen = b"".join(one.feed(piece) for piece, _ in pieces(text, at)) + one.finish()
    assert seen == lines.feed(text) + lines.finish()


@settings(max_examples=400)
@given(texts, cuts)
def test_with_pauses_no_more_of_a_known_value_is_seen_than_nobody_could_know(
    text: bytes, at: list[tuple[int, bool]]
) -> None:
    one = masker()
    seen = b""
    for piece, pause in pieces(text, at):
        seen += one.feed(piece)
        if pause:
            seen += one.release()
    seen += one.finish()
    left = MASKED_BYTES.sub(b"\0", seen)
    for start in range(len(SECRET) - MIN_LENGTH + 1):
        assert SECRET[start : start + MIN_LENGTH] not in left
    assert b"BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj" not in left


@settings(max_examples=400)
@given(files, cuts)
def test_a_file_keeps_its_length_and_loses_its_secrets(text: bytes, at: list[tuple[int, bool]]) -> None:
    one = masker()
    seen = b"".join(one.feed(piece) for piece, _ in pieces(text, at)) + one.finish()
    assert len(seen) == len(text)
    assert SECRET not in seen
    assert b"BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj" not in seen
