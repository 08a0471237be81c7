from __future__ import annotations

import pytest

from narrowgate.core.masking.masked_value import MASKED, ValueMasker
from narrowgate.core.masking.patterns import NAMED_SECRET, PRIVATE_KEY, TEXT_RULES, text_patterns
from narrowgate.core.masking.text import CUT_LINE, KEY_LINES, LINE_LIMIT, LONG_LINE, TextMasker, mask_text

VALUES = ValueMasker(b"k" * 32)
PATTERNS = text_patterns(frozenset(TEXT_RULES))


def masked(text: str) -> str:
    """The masked text with each masked value written as its rule's name."""
    return MASKED.sub(lambda found: f"<{found[0].split('/')[1].split(':')[0]}>", mask_text(text, PATTERNS, VALUES, {}))


def streamed(text: bytes, size: int) -> bytes:
    masker = TextMasker(PATTERNS, VALUES, {})
    pieces = [masker.feed(text[at : at + size]) for at in range(0, len(text), size)]
    return b"".join([*pieces, masker.finish()])


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("nothing\nto see\n", "nothing\nto see\n"),
        ("a password=x b\nc token=y", "a password=<named-secret> b\nc token=<named-secret>"),
        (
            "before\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nafter\n",
            "before\n<private-key>\nafter\n",
        ),
        (
            "2026 log: -----BEGIN PRIVATE KEY-----\n2026 log: MIIE\n2026 log: -----END PRIVATE KEY-----, done\n",
            "2026 log: <private-key>, done\n",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n", "<private-key>\n"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "<private-key>"),
        ("password: |\n  one\n\n  two\nreplicas: 2\n", "password: |\n  <named-secret>\nreplicas: 2\n"),
        ("- token: >-\n    one\n- b: 1", "- token: >-\n    <named-secret>\n- b: 1"),
        ("stringData:\n  a: b\n  c: d\nkind: Secret\n", "stringData:\n  <named-secret>\nkind: Secret\n"),
        (
            "- name: DB_PASSWORD\n  value: a b\n- name: X\n  value: c",
            "- name: DB_PASSWORD\n  value: <named-secret>\n- name: X\n  value: c",
        ),
        ('name: "TOKEN"\nvalue: "a b",\n', 'name: "TOKEN"\nvalue: "<named-secret>",\n'),
        ("name: TOKEN\nvalue: |\n  a\n  b\nc: d", "name: TOKEN\nvalue: |\n  <named-secret>\nc: d"),
        ("name: TOKEN\nvalue: $(OTHER)\n", "name: TOKEN\nvalue: $(OTHER)\n"),
        ("name: TOKEN\nother: x\nvalue: y\n", "name: TOKEN\nother: x\nvalue: y\n"),
        ("x token=a\rtoken=b\r\n", "x token=<named-secret>\rtoken=<named-secret>\r\n"),
    ],
)  # fmt: skip
def test_text_is_masked_line_by_line_and_what_goes_over_lines_at_once(text: str, left: str) -> None:
    assert masked(text) == left


def test_one_key_is_one_value_wherever_it_is_indented() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"
    indented = "".join(f"    {line}\n" for line in key.splitlines())
    assert mask_text(key, PATTERNS, VALUES, {}) == mask_text(indented, PATTERNS, VALUES, {}).lstrip()


def test_what_is_masked_is_counted_by_rule() -> None:
    counts = {NAMED_SECRET: 1}
    mask_text(
        "x password=a token=b\n-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", PATTERNS, VALUES, counts
    )
    assert counts == {NAMED_SECRET: 3, PRIVATE_KEY: 1}


def test_a_key_that_never_ends_does_not_swallow_the_rest() -> None:
    text = "-----BEGIN PRIVATE KEY-----\n" + "MIIE\n" * (KEY_LINES - 1) + "after\n"
    assert masked(text) == "<private-key>\nafter\n"


def test_a_line_that_is_too_long_is_read_at_its_beginning_and_hidden_behind() -> None:
    text = "a password=hunter2 " + "x" * LINE_LIMIT + " secret=hunter3\nnext password=y\n"
    left = masked(text)
    assert left.startswith("a password=<named-secret> xxx")
    assert left.endswith(f"x<{LONG_LINE.split('/')[1]}>\nnext password=<named-secret>\n")
    assert "hunter" not in mask_text(text, PATTERNS, VALUES, {})


def test_a_secret_across_the_end_of_what_is_read_of_a_line_is_hidden_whole() -> None:
    for lead in (LINE_LIMIT - 5_000, LINE_LIMIT - 4_100, LINE_LIMIT - 20, LINE_LIMIT - 5):
        text = "x" * lead + " password=" + "Zq7" * 4_000 + " end\n"
        assert "Zq7" not in mask_text(text, PATTERNS, VALUES, {})


def test_a_long_line_under_a_secrets_name_is_hidden_from_its_beginning() -> None:
    long = "Zq7" * LINE_LIMIT
    for before in ("name: TOKEN\nvalue: ", "password: |\n  ", "-----BEGIN PRIVATE KEY-----\n"):
        assert "Zq7" not in mask_text(before + long + "\n", PATTERNS, VALUES, {})


@pytest.mark.parametrize("size", [1_000, 65_536, 1_048_576, 1_048_577])
def test_where_a_long_line_is_cut_does_not_matter(size: int) -> None:
    text = b"a password=x b\n" + b"y" * LINE_LIMIT + b" token=z\nname: TOKEN\n" + b"w" * (LINE_LIMIT + 7) + b"\nend"
    assert streamed(text, size) == streamed(text, len(text))


def test_a_line_is_given_back_as_soon_as_it_ends() -> None:
    masker = TextMasker(PATTERNS, VALUES, {})
    assert masker.feed(b"one\ntwo") == b"one\n"
    assert masker.feed(b"\n") == b"two\n"
    assert masker.finish() == b""


def test_a_line_made_to_be_looked_at_for_ever_is_hidden_whole() -> None:
    text = "password=a\0" * 5_000
    assert "a" not in masked(text + " \n").replace("password", "").replace("named-secret", "")


def test_lone_surrogates_stay_what_they_are() -> None:
    assert mask_text("\udc80 password=x", PATTERNS, VALUES, {}).startswith("\udc80 password=[masked:")


CUT = VALUES.of(CUT_LINE, b"").encode()


def cut(text: bytes) -> bytes:
    masker = TextMasker(PATTERNS, VALUES, {})
    return masker.feed(text) + masker.finish(cut=True)


def test_a_line_that_its_reader_had_cut_is_hidden_and_says_nothing_of_its_beginning() -> None:
    line = b"the password=hunter2 is Zq7Xk29LmPw4"
    assert cut(b"one\n" + line + b"\n").startswith(b"one\nthe password=[masked:")
    for length in range(1, len(line)):
        assert cut(b"one\n" + line[:length]) == b"one\n" + CUT
    assert cut(b"") == b""


def test_what_goes_on_over_lines_is_hidden_by_its_whole_lines_where_it_is_cut() -> None:
    begun = b"-----BEGIN PRIVATE KEY-----\nMIIabc\n"
    assert cut(begun + b"MI") == cut(begun + b"MIIxyz")
    assert cut(begun + b"MI").endswith(CUT)
    long = b"x" * (LINE_LIMIT + 1)
    assert cut(long + b"secret one") == cut(long + b"secret two")


def test_a_key_in_a_block_is_hidden_however_its_lines_are_indented() -> None:
    key = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
    masker = TextMasker(text_patterns(frozenset(TEXT_RULES)), ValueMasker(b"k" * 32), {})
    seen = masker.feed(b"password: |\n  " + key + b"user: ann\n") + masker.finish()
    assert b"MIIEvQ" not in seen
    assert seen.endswith(b"user: ann\n")
