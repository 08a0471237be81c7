"""What every secret of the gate's looks like that somebody keeps: `<prefix><public id>_<256 random bits><checksum>`.

The prefix lets secret scanners and the gate know one when they see it, the id names it without giving it away, and the
checksum tells a misspelt secret from a revoked one. The checksum proves nothing: only the hash in the store does.

    <prefix> [a-z2-7]{n} _ [A-Za-z0-9_-]{43} [A-Za-z0-9_-]{6}
             id            secret (base64url)  CRC-32 of all before it (base64url)
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Callable

from narrowgate.authenticators.base64url import to_base64url

SECRET_BYTES = 32
"""256 bits: guessing is hopeless for ever, so that a plain SHA-256 of it may be stored."""

RandomBytes = Callable[[int], bytes]
"""That many random bytes, fit for secrets."""


class SecretForm:
    """One sort of secret: its prefix, whose digit is the version of the form, and how many letters its ids have."""

    def __init__(self, prefix: str, id_letters: int) -> None:
        self.prefix = prefix
        self._shape = re.compile(
            rf"{re.escape(prefix)}([a-z2-7]{{{id_letters}}})_[-A-Za-z0-9_]{{43}}([-A-Za-z0-9_]{{6}})", re.ASCII
        )

    def new(self, secret_id: str, random_bytes: RandomBytes = secrets.token_bytes) -> str:
        """A new secret with this public id. Raises ValueError for an id that has another form."""
        unsealed = f"{self.prefix}{secret_id}_{to_base64url(random_bytes(SECRET_BYTES))}"
        text = unsealed + _checksum(unsealed)
        if self._shape.fullmatch(text) is None:
            raise ValueError(f"the id of a secret that begins with {self.prefix} has other letters: {secret_id!r}")
        return text

    def problem(self, text: str) -> str:
        """Why `text` cannot be such a secret, of any gate; empty when it could. Worded to follow what it is called."""
        match = self._shape.fullmatch(text)
        if match is None:
            return "is cut short, or has characters that do not belong to it"
        if _checksum(text[: match.start(2)]) != match.group(2):
            return "is misspelt: its checksum does not match"
        return ""


def secret_hash(text: str) -> bytes:
    """What the store keeps of a secret. Raises UnicodeEncodeError for text that no header could hold."""
    return hashlib.sha256(text.encode()).digest()


def _checksum(text: str) -> str:
    return to_base64url(zlib.crc32(text.encode("ascii")).to_bytes(4, "big"))
