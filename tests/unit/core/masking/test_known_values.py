"""Values of Secrets in text: found in every form, masked once, and told apart from what only looks like one."""

import base64
import gzip
import json
import secrets
from urllib.parse import quote, quote_plus

import pytest

from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues, TooManyValues
from narrowgate.core.masking.masked_value import MASKED_BYTES, ValueMasker
from narrowgate.core.masking.patterns import KNOWN_VALUE, TEXT_RULES, text_patterns
from narrowgate.core.masking.secret_parts import Known, known_parts
from narrowgate.core.masking.text import LINE_LIMIT, TextMasker, mask_text

VALUES = ValueMasker(b"k" * 32)
SECRET = b"xK9/q+w<Zp&\"7'v e"


def known(*texts: bytes) -> KnownValues:
    return KnownValues(Known(text, text) for text in texts)


def masked(text: bytes, *texts: bytes) -> bytes:
    return known(*texts).masked(text, VALUES, {})


def mark(value: bytes) -> bytes:
    return VALUES.of(KNOWN_VALUE, value).encode()


def test_a_value_is_masked_and_hashed_as_it_is_in_its_secret() -> None:
    counts: dict[str, int] = {}
    found = KnownValues([Known(b"Tr0ub4dor&3", b"Tr0ub4dor&3\n")])
    assert found.masked(b"it is Tr0ub4dor&3.\n", VALUES, counts) == b"it is " + mark(b"Tr0ub4dor&3\n") + b".\n"
    assert counts == {KNOWN_VALUE: 1}


FORMS = {
    "raw": SECRET,
    "hex": SECRET.hex().encode(),
    "HEX": SECRET.hex().upper().encode(),
    "URL": quote(SECRET, safe="").encode(),
    "URL with slashes": quote(SECRET).encode(),
    "URL in lower case": b"%".join(
        part if not at else part[:2].lower() + part[2:]
        for at, part in enumerate(quote(SECRET, safe="").encode().split(b"%"))
    ),
    "form": quote_plus(SECRET, safe="").encode(),
    "JSON": json.dumps(SECRET.decode()).encode(),
    "JSON in JSON": json.dumps(json.dumps(SECRET.decode())).encode(),
    "JSON as Go writes it": json.dumps(SECRET.decode()).replace("<", "\\u003c").replace("&", "\\u0026").encode(),
    "JSON as PHP writes it": json.dumps(SECRET.decode()).replace("/", "\\/").encode(),
}
FORMS |= {
    f"base64 {shift} {end}": base64.b64encode(b"~" * shift + SECRET + b"-" * end)
    for shift in range(3)
    for end in range(3)
}
FORMS |= {f"base64url {shift}": base64.urlsafe_b64encode(b"~" * shift + SECRET) for shift in range(3)}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_found(name: str) -> None:
    text = b"before=" + FORMS[name] + b" after\n"
    left = masked(text, SECRET)
    assert mark(SECRET) in left
    rest = MASKED_BYTES.sub(b"", left)
    # Of base64 one character may stay on either side of what is shared with other bytes, and quotes of JSON do.
    assert len(rest) <= len(b"before= after\n") + 12, left
    assert left.startswith(b"before=")
    assert left.endswith(b" after\n")


@pytest.mark.parametrize("length", [8, 9, 10, 11, 12, 13, 31, 63, 64, 65, 100, 500])
def test_values_of_any_length_are_found_in_base64_at_each_alignment(length: int) -> None:
    value = secrets.token_urlsafe(length)[:length].encode()
    for shift in range(3):
        encoded = base64.b64encode(b"~" * shift + value)
        left = masked(encoded, value)
        assert mark(value) in left
        assert len(MASKED_BYTES.sub(b"", left)) <= 4


def test_a_long_value_is_found_wherever_its_base64_is_wrapped() -> None:
    value = secrets.token_bytes(900)
    encoded = base64.b64encode(value)
    for width in (64, 76):
        lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]
        left = masked(b"\n".join(lines) + b"\n", value).split(b"\n")
        assert all(MASKED_BYTES.fullmatch(line) for line in left[:-2])


def test_a_part_of_a_long_value_is_found() -> None:
    value = secrets.token_hex(400).encode()
    left = masked(b"> " + value[100:200] + b" <", value)
    assert MASKED_BYTES.sub(b"", left) == b">  <"


def test_values_that_meet_leave_nothing_of_either() -> None:
    one, other = b"abcdefgh1234", b"1234wxyz5678"
    assert masked(b"abcdefgh1234wxyz5678", one, other) == mark(one)
    assert masked(b"abcdefgh1234 1234wxyz5678", one, other) == mark(one) + b" " + mark(other)


def test_the_longest_value_names_the_find() -> None:
    short, long = b"q8w7e6r5", b"q8w7e6r5t4z3"
    assert masked(b"x q8w7e6r5t4z3 q8w7e6r5 y", short, long) == b"x " + mark(long) + b" " + mark(short) + b" y"


def test_masking_again_changes_nothing() -> None:
    values = known(SECRET, b"narrowgate/known-value", b"deadbeef01")
    once = values.masked(b"a " + SECRET + b" b narrowgate/known-value\n", VALUES, {})
    assert values.masked(once, VALUES, {}) == once


def test_no_value_hides_in_what_looks_like_a_masked_one() -> None:
    left = masked(b"[masked:app/Zq7Xk29LmPw4:01234567] [masked:narrowgate/env:01234567]", b"Zq7Xk29LmPw4")
    assert b"Zq7Xk29LmPw4" not in left
    assert left.endswith(b"[masked:narrowgate/env:01234567]")


def test_text_without_a_value_is_the_very_same() -> None:
    text = b"nothing to see here\n"
    assert masked(text, SECRET) is text
    assert NOTHING_KNOWN.masked(text, VALUES, {}) is text
    assert not known(SECRET).is_in(text)
    assert known(SECRET).is_in(text + SECRET)


def test_a_text_full_of_values_is_masked_all_the_same() -> None:
    line = b"Zq7Xk29LmPw4 " * 100
    left = masked((line + b"\n") * 200 + b"end", b"Zq7Xk29LmPw4")
    assert left.count(b"[masked:") == 20_000
    assert left.endswith(b"\nend")
    assert b"Zq7" not in masked(b"Zq7Xk29LmPw4" * 20_000, b"Zq7Xk29LmPw4")


def test_binary_values_are_found() -> None:
    value = bytes(range(1, 9)) + b"\0\xff\xfe\\x"
    assert masked(b"<" + value + b">", value) == b"<" + mark(value) + b">"


def test_too_many_values_are_refused() -> None:
    with pytest.raises(TooManyValues, match="more than 200000"):
        KnownValues(Known(text, text) for text in (b"%016x-Qz" % number for number in range(60_000)))


PATTERNS = text_patterns(frozenset(TEXT_RULES))


def test_any_cut_of_a_log_gives_the_same() -> None:
    log = b"one " + SECRET + b"\ntwo " + SECRET.hex().encode() + b" password=" + SECRET + b"\nthree " + SECRET
    whole = TextMasker(PATTERNS, VALUES, {}, known(SECRET))
    expected = whole.feed(log) + whole.finish()
    assert SECRET not in expected
    for cut in range(len(log)):
        masker = TextMasker(PATTERNS, VALUES, {}, known(SECRET))
        assert masker.feed(log[:cut]) + masker.feed(log[cut:]) + masker.finish() == expected


def test_a_followed_log_is_held_back_no_longer_than_a_line() -> None:
    masker = TextMasker(PATTERNS, VALUES, {}, known(SECRET))
    assert masker.feed(b"up " + SECRET + b"\n") == b"up " + mark(SECRET) + b"\n"


def test_a_value_at_the_edge_of_a_line_that_is_too_long_is_not_cut() -> None:
    for before in range(LINE_LIMIT - 4096 - 20, LINE_LIMIT - 4096 + 4):
        left = TextMasker(PATTERNS, VALUES, {}, known(b"Zq7Xk29LmPw4"))
        written = left.feed(b" " * before + b"Zq7Xk29LmPw4" + b" " * 8192 + b"\n") + left.finish()
        assert b"Zq7" not in written


def test_text_that_was_clean_is_looked_at_again_for_values() -> None:
    assert mask_text("plain Zq7Xk29LmPw4", PATTERNS, VALUES, {}) == "plain Zq7Xk29LmPw4"
    assert "Zq7" not in mask_text("plain Zq7Xk29LmPw4", PATTERNS, VALUES, {}, known(b"Zq7Xk29LmPw4"))


def test_every_line_of_a_private_key_is_known() -> None:
    lines = [base64.b64encode(secrets.token_bytes(48)) for _ in range(25)]
    key = b"-----BEGIN PRIVATE KEY-----\n" + b"\n".join(lines) + b"\n-----END PRIVATE KEY-----\n"
    values = KnownValues(known_parts("kubernetes.io/tls", {"tls.key": key}))
    for line in lines:
        assert line not in values.masked(b"12: " + line + b"\n", VALUES, {})
    assert gzip.compress(key) == values.masked(gzip.compress(key), VALUES, {}), "what is compressed is not seen"


def test_the_rest_of_a_value_that_was_cut_at_the_edge_of_a_text_is_masked() -> None:
    value, other = b"Zq7Xk29LmPw4Nn8Vb37T", b"Zq7Xk29L-another-one"
    text = "some words " * 200
    for values in (known(value, other), KnownValues([Known(value, value)], known(other))):
        for length in range(8, len(value)):
            for cut in (text + value[:length].decode(), value[-length:].decode() + text):
                left = mask_text(cut, PATTERNS, VALUES, {}, values)
                assert MASKED_BYTES.sub(b"", left.encode()) == text.encode(), length
        assert mask_text(text, PATTERNS, VALUES, {}, values) is text
        hexed = value.hex()[:30]
        assert hexed not in mask_text(text + hexed, PATTERNS, VALUES, {}, values)
