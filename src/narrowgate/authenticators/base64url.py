"""base64url without padding (RFC 7515, section 2), read strictly: what is signed has exactly one spelling."""

from __future__ import annotations

import base64
import binascii


def to_base64url(content: bytes) -> str:
    """`content` as text."""
    return base64.urlsafe_b64encode(content).decode("ascii").rstrip("=")


def from_base64url(text: str) -> bytes:
    """The bytes that `text` stands for. Raises ValueError where it is not the one spelling of them."""
    padded = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
    # With validate off, Python skips foreign characters, and left-over bits of the last letter are never looked at.
    content = base64.b64decode(padded, validate=True)
    if to_base64url(content) != text:
        raise binascii.Error("not the one spelling of these bytes")
    return content
