"""Laws of known values: whatever the value, whatever is around it, however it is written and cut, none of it leaves."""

import base64
import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from narrowgate.core.masking.known_values import KnownValues
from narrowgate.core.masking.masked_value import MASKED_BYTES, ValueMasker
from narrowgate.core.masking.patterns import TEXT_RULES, text_patterns
from narrowgate.core.masking.secret_parts import MIN_DISTINCT, MIN_LENGTH, Known
from narrowgate.core.masking.text import TextMasker

VALUES = ValueMasker(b"k" * 32)
PATTERNS = text_patterns(frozenset(TEXT_RULES))
NONE = text_patterns(frozenset())

secrets = st.binary(min_size=MIN_LENGTH, max_size=200).filter(
    lambda text: b"\n" not in text and len(set(text)) >= MIN_DISTINCT and text == text.strip()
)
texts = (
    st.text("abcdefghijklmnopqrstuvwxyzABC0123456789+/=- ", min_size=MIN_LENGTH, max_size=80)
    .map(lambda text: text.strip().encode())
    .filter(lambda text: len(text) >= MIN_LENGTH and len(set(text)) >= MIN_DISTINCT)
)
around = st.binary(max_size=40)


def known(*values: bytes) -> KnownValues:
    return KnownValues(Known(value, value) for value in values)


@given(secrets, around, around)
def test_nothing_of_a_raw_value_is_left(value: bytes, before: bytes, after: bytes) -> None:
    masked = known(value).masked(before + value + after, VALUES, {})
    assert value not in MASKED_BYTES.sub(b"", masked)
    assert b"[masked:narrowgate/known-value:" in masked


@given(secrets, around, around, st.booleans())
def test_no_more_than_four_characters_of_its_base64_are_left(
    value: bytes, before: bytes, after: bytes, for_urls: bool
) -> None:
    encode = base64.urlsafe_b64encode if for_urls else base64.b64encode
    left = MASKED_BYTES.sub(b"", known(value).masked(encode(before + value + after), VALUES, {}))
    outside = len(base64.b64encode(before)) + len(base64.b64encode(after))
    assert len(left) <= outside + 4


@given(texts)
def test_every_escape_is_found(value: bytes) -> None:
    values = known(value)
    string = value.decode()
    for form in (value.hex(), value.hex().upper(), quote(string, safe=""), json.dumps(string), json.dumps([[string]])):
        assert b"[masked:narrowgate/known-value:" in values.masked(form.encode(), VALUES, {}), form


@given(st.lists(secrets, min_size=1, max_size=4), st.data())
def test_values_that_overlap_in_any_way_leave_nothing(values: list[bytes], data: st.DataObject) -> None:
    text = b"".join(data.draw(st.lists(st.sampled_from(values) | around, max_size=6)))
    values_known = known(*values)
    masked = values_known.masked(text, VALUES, {})
    assert all(value not in MASKED_BYTES.sub(b"\n", masked) for value in values)
    assert KnownValues([Known(values[0], values[0])], known(*values[1:])).masked(text, VALUES, {}).count(
        b"[masked:"
    ) == masked.count(b"[masked:")


@given(secrets, around)
def test_masking_twice_is_masking_once(value: bytes, text: bytes) -> None:
    values = known(value)
    once = values.masked(text + value + text, VALUES, {})
    assert values.masked(once, VALUES, {}) == once


@given(texts, st.lists(st.text("ab :=\n\"'", max_size=12), max_size=6), st.data())
def test_any_cut_of_a_text_gives_the_same(value: bytes, parts: list[str], data: st.DataObject) -> None:
    text = value.join(part.encode() for part in ["", *parts, ""])
    patterns = data.draw(st.sampled_from([PATTERNS, NONE]))
    whole = TextMasker(patterns, VALUES, {}, known(value))
    expected = whole.feed(text) + whole.finish()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    masker = TextMasker(patterns, VALUES, {}, known(value))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert b"".join([*map(masker.feed, pieces), masker.finish()]) == expected
    assert value not in MASKED_BYTES.sub(b"", expected)
