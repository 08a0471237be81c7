"""The form of an agent's credential."""

from __future__ import annotations

import re

import pytest

from narrowgate.authenticators.credential import PREFIX, credential_hash, credential_problem, new_credential


def test_a_credential_has_its_documented_form_and_a_good_checksum() -> None:
    made = new_credential()
    assert re.fullmatch(r"ng1_[a-z2-7]{10}_[A-Za-z0-9_-]{49}", made.text)
    assert made.text.startswith(f"{PREFIX}{made.id}_")
    assert made.hash == credential_hash(made.text)
    assert credential_problem(made.text) == ""


def test_the_form_is_fixed_for_ever() -> None:
    made = new_credential(lambda count: bytes(range(count)))
    assert made.id == "aaaqeayeau"
    assert made.text == "ng1_aaaqeayeau_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8Aj1quA"
    assert made.hash.hex() == "a4e2ee6d8cd2c22f9317fd84c983d37cbfd98b6ec2b505633ae63e2e33ecde03"


def test_two_credentials_share_nothing() -> None:
    made = [new_credential() for _ in range(100)]
    assert len({credential.id for credential in made}) == len({credential.text for credential in made}) == 100


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text[:-1], "cut short"),
        (lambda text: text + "A", "cut short"),
        (lambda text: text + "\n", "cut short"),
        (lambda text: text.replace("ng1_", "ng2_"), "cut short"),
        (lambda text: text[:20] + ("A" if text[20] != "A" else "B") + text[21:], "misspelt"),
        (lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"), "misspelt"),
    ],
)
def test_a_spoilt_credential_says_how(spoil: object, says: str) -> None:
    assert callable(spoil)
    assert says in credential_problem(spoil(new_credential().text))
