"""What an agent's credential looks like: `ng1_<credential id>_<256 random bits><checksum>` (`secret_form` says why)."""

from __future__ import annotations

import base64
import secrets

import msgspec

from narrowgate.authenticators.secret_form import RandomBytes, SecretForm, secret_hash

PREFIX = "ng1_"
"""Begins every agent credential; the digit is the version of this format."""

_ID_BYTES = 7
"""56 random bits, of which ten base32 letters hold 50: two of a million credentials share an id once in 2,000 gates."""

_ID_LETTERS = 10
_FORM = SecretForm(PREFIX, _ID_LETTERS)


class NewCredential(msgspec.Struct, frozen=True):
    """A credential at the one moment when its text is known."""

    id: str
    text: str
    """To be shown once and forgotten."""
    hash: bytes


def new_credential(random_bytes: RandomBytes = secrets.token_bytes) -> NewCredential:
    """Make a credential from `random_bytes`, which must be fit for secrets."""
    credential_id = base64.b32encode(random_bytes(_ID_BYTES)).decode().lower()[:_ID_LETTERS]
    text = _FORM.new(credential_id, random_bytes)
    return NewCredential(credential_id, text, credential_hash(text))


def credential_hash(text: str) -> bytes:
    """What the store keeps of a credential. Raises UnicodeEncodeError for text that no header could hold."""
    return secret_hash(text)


def credential_problem(text: str) -> str:
    """Why `text` cannot be any gate's credential; empty when it could. Worded to follow "this agent credential"."""
    return _FORM.problem(text)
