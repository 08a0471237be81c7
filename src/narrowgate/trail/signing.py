"""Ed25519 (RFC 8032) over lines of the trail: who may sign, and how a signature is checked.

A signature covers a fixed prefix and the line as it is without the signature, so that nothing else that this key might
ever sign can be passed off as a line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from narrowgate.core.audit_chain import split_signature, with_signature

_JOURNAL = b"narrowgate trail journal line\n"
_CHECKPOINT = b"narrowgate trail checkpoint\n"


class NoSuchKey(Exception):
    """The key given for the trail is not an Ed25519 key."""


class Verifier:
    """Checks signatures with the public key."""

    def __init__(self, public: Ed25519PublicKey) -> None:
        self._public = public
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key = hashlib.sha256(raw).hexdigest()[:16]
        """The public key's id, as checkpoints name it."""

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read a public key, or the public half of a private one. Raises NoSuchKey."""
        try:
            if b"PRIVATE KEY" in pem:
                return cls(_private(pem).public_key())
            public = load_pem_public_key(pem)
        except ValueError as error:
            raise NoSuchKey(f"not a PEM public key: {error}; give the public key of the trail") from error
        if not isinstance(public, Ed25519PublicKey):
            raise NoSuchKey("not an Ed25519 key; give the public key of the trail")
        return cls(public)

    def signed_journal_line(self, line: bytes) -> bool:
        """Whether the line carries a good signature."""
        return self._good(_JOURNAL, line)

    def signed_checkpoint(self, line: bytes) -> bool:
        """Whether the checkpoint carries a good signature."""
        return self._good(_CHECKPOINT, line)

    def _good(self, purpose: bytes, line: bytes) -> bool:
        unsigned, signature = split_signature(line)
        try:
            self._public.verify(base64.b64decode(signature, validate=True), purpose + unsigned)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


class Signer:
    """Signs with the private key, and checks what it signed."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = Verifier(private.public_key())

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read an unencrypted PKCS #8 private key. Raises NoSuchKey."""
        return cls(_private(pem))

    def journal_line(self, unsigned: bytes) -> bytes:
        """The journal line with its signature."""
        return self._signed(_JOURNAL, unsigned)

    def checkpoint(self, unsigned: bytes) -> bytes:
        """The checkpoint line with its signature."""
        return self._signed(_CHECKPOINT, unsigned)

    def _signed(self, purpose: bytes, unsigned: bytes) -> bytes:
        return with_signature(unsigned, base64.b64encode(self._private.sign(purpose + unsigned)).decode())


def _private(pem: bytes) -> Ed25519PrivateKey:
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise NoSuchKey(f"not an unencrypted PEM private key: {error}; restore the trail's key") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise NoSuchKey("not an Ed25519 key; restore the trail's key")
    return private
