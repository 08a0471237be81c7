"""How values may be written: each form is what stands in a text for certain, and pieces leave no gap."""

import base64

import pytest

from narrowgate.core.masking.secret_parts import MIN_LENGTH, Known
from narrowgate.core.masking.value_forms import PIECE, SHORT, THOROUGH, Alphabet, Form, beside, forms_of, pieces_of


def forms(text: bytes) -> set[bytes]:
    return {form.text for form in forms_of(Known(text, text))}


def test_base64_holds_at_every_alignment_whatever_is_around_it() -> None:
    value = b"Zq7Xk29LmPw4!"
    found = forms(value)
    for before in (b"", b"\xff", b"ab", b"\0\0\0"):
        for after in (b"", b"\xff", b"\0\0"):
            encoded = base64.b64encode(before + value + after)
            assert any(form in encoded for form in found if form != value), (before, after)


def test_letters_and_digits_are_escaped_by_nobody() -> None:
    assert len(forms(b"Zq7Xk29LmPw4")) == 1 + 3 + 2


def test_a_line_of_a_longer_value_is_looked_for_as_it_is() -> None:
    assert [form.text for form in forms_of(Known(b"abcdefgh12345678", b"abcdefgh12345678", is_line=True))] == [
        b"abcdefgh12345678"
    ]


def test_no_form_crosses_a_line_or_is_too_short() -> None:
    for text in (b"two\nlines", b"12345678", b"\n\n\n\n\n\n\n\n\n"):
        assert all(b"\n" not in form and len(form) >= MIN_LENGTH for form in forms(text))
    assert b"two\\nlines" in forms(b"two\nlines")


@pytest.mark.parametrize("length", [SHORT + 1, 100, 2 * PIECE, 10 * PIECE + 5, THOROUGH - 1])
def test_every_byte_of_a_long_form_is_in_a_piece(length: int) -> None:
    text = bytes(33 + number * 7 % 90 for number in range(length))
    covered = set()
    for at, piece in pieces_of(Form(text, Alphabet.PLAIN, THOROUGH)):
        assert text[at : at + len(piece)] == piece
        covered |= set(range(at, at + len(piece)))
    assert length <= SHORT or covered == set(range(length))


def test_pieces_of_nothing_but_padding_are_not_looked_for() -> None:
    assert not list(pieces_of(Form(b"A" * 500, Alphabet.BASE64, THOROUGH)))


def test_what_is_beside_base64_goes_with_it() -> None:
    form = Form(b"abcd", Alphabet.BASE64, THOROUGH)
    assert beside(form, b"XabcdY==Z", 1, 5) == (0, 8)
    assert beside(form, b" abcd ", 1, 5) == (1, 5)
    assert beside(Form(b"abcd", Alphabet.PLAIN, THOROUGH), b"XabcdY==Z", 1, 5) == (1, 5)
