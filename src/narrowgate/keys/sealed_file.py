"""One short secret in a file of its own: for this user alone, and encrypted where the gate's keys are."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from narrowgate.keys.secret_files import PRIVATE, KeysUnusable, read_if_present, write_whole

MARK = b"narrowgate sealed 1\n"
"""Begins an encrypted file; the digit is the version of this format."""

_NONCE = 12
"""Bytes, as AES-GCM wants them (NIST SP 800-38D, section 5.2.1.1); random, and each key seals few files."""


class SealedFile:
    """The secret in the file at `path`."""

    def __init__(self, path: Path, passphrase: str = "") -> None:
        """`passphrase` is the one that the gate's keys are encrypted with; empty: the file's mode is all there is."""
        self._path = path
        self._cipher = AESGCM(_key(passphrase, path.name)) if passphrase else None

    def read(self) -> bytes | None:
        """The secret; None where there is none. Raises KeysUnusable where there is one that must not be used."""
        content = read_if_present(self._path)
        if content is None:
            return None
        if self._path.stat().st_mode & PRIVATE:
            raise KeysUnusable(f"{self._path}: other users may read this secret; run: chmod 600 {self._path}")
        if not content.startswith(MARK):
            return content
        if self._cipher is None:
            raise KeysUnusable(f"{self._path}: encrypted, and no key to decrypt it with; set encryption.keyFile")
        sealed = content[len(MARK) :]
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], MARK)
        except (InvalidTag, ValueError):
            raise KeysUnusable(f"{self._path}: not encrypted with this key, or damaged; remove it") from None

    def write(self, secret: bytes) -> None:
        """Keep the secret in the place of what was there. Raises KeysUnusable."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise KeysUnusable(f"{self._path.parent}: cannot be made: {error.strerror}; correct its owner") from error
        if self._cipher is None:
            write_whole(self._path, secret)
            return
        nonce = os.urandom(_NONCE)
        write_whole(self._path, MARK + nonce + self._cipher.encrypt(nonce, secret, MARK))


def _key(passphrase: str, purpose: str) -> bytes:
    # A key of its own for each file: two secrets never share one, so a nonce used twice is not a breach.
    info = b"narrowgate sealed file\n" + purpose.encode()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(passphrase.encode())
