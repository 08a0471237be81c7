"""The form of the secrets that people and programs keep."""

from __future__ import annotations

import pytest

from narrowgate.authenticators.secret_form import SecretForm, secret_hash

FORM = SecretForm("ngr1_", 16)
ID = "abcdefghijklmnop"


def test_the_form_is_fixed_for_ever() -> None:
    text = FORM.new(ID, lambda count: bytes(range(count)))
    assert text == "ngr1_abcdefghijklmnop_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh859a9ng"
    assert FORM.problem(text) == ""
    assert secret_hash(text).hex() == "fb673eb41c37c7071a8034505d9da0ecf0383a586226a5d62522547d99e322fd"


def test_two_secrets_with_one_id_share_nothing_else() -> None:
    assert len({FORM.new(ID)[len("ngr1_") + len(ID) :] for _ in range(100)}) == 100


@pytest.mark.parametrize("wrong", ["", "short", ID.upper(), "abcdefghijklmno1", ID + "q"])
def test_an_id_of_another_form_is_no_id(wrong: str) -> None:
    with pytest.raises(ValueError, match="ngr1_"):
        FORM.new(wrong)


def test_a_secret_of_another_sort_is_none_of_this() -> None:
    assert "cut short" in FORM.problem(SecretForm("ngc1_", 16).new(ID))
    assert "cut short" in FORM.problem(SecretForm("ngr1_", 10).new(ID[:10]))


def test_every_changed_letter_is_noticed() -> None:
    text = FORM.new(ID)
    changed = [text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1 :] for at in range(len(text))]
    assert [one for one in changed if not FORM.problem(one)] == []
