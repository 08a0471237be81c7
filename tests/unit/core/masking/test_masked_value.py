from __future__ import annotations

import base64

import pytest

from narrowgate.core.masking.masked_value import KEY_BYTES, LONGEST, MASKED, ValueMasker, decoded, is_masked, masked_in

VALUES = ValueMasker(b"k" * KEY_BYTES)


def test_a_masked_value_names_its_rule_and_is_the_same_for_equal_values() -> None:
    masked = VALUES.of("team/dsn", b"hunter2")
    assert masked.startswith("[masked:team/dsn:")
    assert MASKED.fullmatch(masked)
    assert masked == VALUES.of("team/dsn", b"hunter2")
    assert masked != VALUES.of("team/dsn", b"hunter3")


def test_equal_values_are_seen_to_be_equal_whichever_rule_masks_them() -> None:
    assert VALUES.of("a/one", b"x")[-9:] == VALUES.of("b/two", b"x")[-9:]


def test_another_key_gives_other_values() -> None:
    assert VALUES.of("a/b", b"hunter2") != ValueMasker(b"l" * KEY_BYTES).of("a/b", b"hunter2")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="give it 32"):
        ValueMasker(b"short")


def test_what_is_masked_stays() -> None:
    masked = VALUES.of("a/b", b"x")
    assert VALUES.of("other/rule", masked.encode()) == masked
    encoded = VALUES.of_base64("a/b", base64.b64encode(b"x").decode())
    assert VALUES.of_base64("other/rule", encoded) == encoded


def test_base64_is_hashed_as_what_it_stands_for() -> None:
    encoded = VALUES.of_base64("a/b", base64.b64encode(b"hunter2").decode())
    assert base64.b64decode(encoded).decode() == VALUES.of("a/b", b"hunter2")


def test_what_is_no_base64_is_masked_as_it_is() -> None:
    assert decoded("not base64!") == b"not base64!"
    assert decoded("aHVu\r\ndGVyMg==\n") == b"hunter2"
    assert base64.b64decode(VALUES.of_base64("a/b", "\udc80!")).startswith(b"[masked:a/b:")


def test_only_a_whole_masked_value_is_one() -> None:
    masked = VALUES.of("a/b", b"x").encode()
    assert is_masked(masked)
    assert not is_masked(masked + b"x")
    assert not is_masked(b"[masked:a/b:xyz]")
    assert VALUES.of("a/b", masked + b"x") != (masked + b"x").decode()


def test_the_longest_rule_fits() -> None:
    masked = VALUES.of(f"{'p' * 253}/{'m' * 63}", b"x")
    assert len(masked) == LONGEST
    assert MASKED.fullmatch(masked)


def test_a_masked_value_is_found_within_a_text_and_in_base64() -> None:
    masked = VALUES.of("a/b", b"x")
    assert masked_in(f"password={masked} and more") == masked
    assert masked_in(base64.b64encode(masked.encode()).decode()) == masked
    assert masked_in("nothing") == ""


def test_a_masked_value_is_found_wherever_it_stands_in_base64() -> None:
    masked = VALUES.of("a/b", b"x")
    for before in ("", "a", "ab", "abc", "postgres://app:"):
        for after in ("", "@", "@d", "@db/app"):
            encoded = base64.b64encode(f"{before}{masked}{after}".encode()).decode()
            for text in (encoded, f"  key: {encoded}\n", "\n".join(encoded), encoded.rstrip("=")):
                assert masked_in(text) == masked, (before, after, text)


def test_nothing_is_found_in_what_only_looks_like_one() -> None:
    for text in ("[masked:]", base64.b64encode(b"[masked: no").decode(), "W21hc2tlZD", "W21hc2tlZDo"):
        assert masked_in(text) == ""


def test_looking_into_base64_takes_no_longer_than_its_length_asks_for() -> None:
    # A beginning of a masked value at each of a million places: looked at one by one this would take minutes.
    assert masked_in("W21hc2tlZD" * 300_000) == ""
    masked = VALUES.of("a/b", b"x")
    encoded = base64.b64encode(b"[masked:" * 1000 + b"x" + masked.encode()).decode()
    assert masked_in(encoded) == masked
