"""The secrets that the authorization server hands out, apart from access credentials: what they look like."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from narrowgate.authenticators.base64url import to_base64url
from narrowgate.authenticators.secret_form import SecretForm

ID_LETTERS = 16
"""As many as `issuing.new_id` makes."""

REFRESH = SecretForm("ngr1_", ID_LETTERS)
"""Renews a sign-in, whose id it carries (`refresh_token`)."""

CODE = SecretForm("ngc1_", ID_LETTERS)
"""An authorization code, with the id of the sign-in that it will make."""

DEVICE_CODE = SecretForm("ngd1_", ID_LETTERS)
"""A device code, with the id of its request."""

USER_CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that no words come out, and no letters that are taken for digits (RFC 8628, section 6.1)."""

USER_CODE_LETTERS = 8
"""20^8 codes: 34 bits, which the throttle on wrong ones makes enough for ten minutes."""

_LONGEST_TYPED = 32
"""Characters that are looked at of what somebody typed; spaces and hyphens are let through."""

_CHALLENGE = re.compile(r"[-A-Za-z0-9_]{43}", re.ASCII)
"""A SHA-256 in base64url (RFC 7636, section 4.2)."""

_VERIFIER = re.compile(r"[-A-Za-z0-9._~]{43,128}", re.ASCII)
"""RFC 7636, section 4.1."""


def new_user_code() -> str:
    """A code that people read from one screen and type on another."""
    return "".join(secrets.choice(USER_CODE_ALPHABET) for _ in range(USER_CODE_LETTERS))


def shown_user_code(code: str) -> str:
    """A user code with a hyphen in its middle, as people see it."""
    half = USER_CODE_LETTERS // 2
    return f"{code[:half]}-{code[half:]}"


def typed_user_code(text: str) -> str:
    """The user code that somebody meant by `text`; empty where it can be none."""
    letters = "".join(letter for letter in text[:_LONGEST_TYPED].upper() if letter not in " -")
    return letters if len(letters) == USER_CODE_LETTERS and set(letters) <= set(USER_CODE_ALPHABET) else ""


def is_challenge(text: str) -> bool:
    """Whether `text` could be an S256 code challenge."""
    return _CHALLENGE.fullmatch(text) is not None


def is_verifier_of(verifier: str, challenge: str) -> bool:
    """Whether `challenge` was made from `verifier` by S256 (RFC 7636, section 4.6)."""
    if _VERIFIER.fullmatch(verifier) is None:
        return False
    made = to_base64url(hashlib.sha256(verifier.encode("ascii")).digest())
    return hmac.compare_digest(made, challenge)
