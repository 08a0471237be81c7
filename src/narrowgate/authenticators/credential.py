"""What an agent's credential looks like: `ng1_<credential id>_<256 random bits><checksum>`.

The prefix lets secret scanners and the gate know one when they see it, the id names it without giving it away, and the
checksum tells a misspelt credential from a revoked one. The checksum proves nothing: only the hash in the store does.

    ng1_ [a-z2-7]{10} _ [A-Za-z0-9_-]{43} [A-Za-z0-9_-]{6}
          id (50 bits)    secret (base64url)  CRC-32 of all before it (base64url)
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import zlib
from collections.abc import Callable

import msgspec

PREFIX = "ng1_"
"""Begins every agent credential; the digit is the version of this format."""

_ID_BYTES = 7
"""56 random bits, of which ten base32 letters hold 50: two of a million credentials share an id once in 2,000 gates."""

_ID_LETTERS = 10
_SECRET_BYTES = 32
"""256 bits: guessing is hopeless for ever, so that a plain SHA-256 of it may be stored."""

_SHAPE = re.compile(r"ng1_[a-z2-7]{10}_[-A-Za-z0-9_]{43}([-A-Za-z0-9_]{6})", re.ASCII)


class NewCredential(msgspec.Struct, frozen=True):
    """A credential at the one moment when its text is known."""

    id: str
    text: str
    """To be shown once and forgotten."""
    hash: bytes


def new_credential(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> NewCredential:
    """Make a credential from `random_bytes`, which must be fit for secrets."""
    credential_id = base64.b32encode(random_bytes(_ID_BYTES)).decode().lower()[:_ID_LETTERS]
    unsealed = f"{PREFIX}{credential_id}_{_base64url(random_bytes(_SECRET_BYTES))}"
    text = unsealed + _checksum(unsealed)
    return NewCredential(credential_id, text, credential_hash(text))


def credential_hash(text: str) -> bytes:
    """What the store keeps of a credential. Raises UnicodeEncodeError for text that no header could hold."""
    return hashlib.sha256(text.encode()).digest()


def credential_problem(text: str) -> str:
    """Why `text` cannot be any gate's credential; empty when it could. Worded to follow "this agent credential"."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        return "is cut short, or has characters that do not belong to it"
    if _checksum(text[: match.start(1)]) != match.group(1):
        return "is misspelt: its checksum does not match"
    return ""


def _checksum(text: str) -> str:
    return _base64url(zlib.crc32(text.encode("ascii")).to_bytes(4, "big"))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
