"""Private keys as files: for this user alone, there whole or not at all, and encrypted where a passphrase is given."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

SHORTEST_PASSPHRASE = 32
"""Characters. It is made by a machine and kept by a machine; a word that people can remember can be guessed."""

PRIVATE = 0o077
"""Mode bits that must be off: a key that others can read is no longer a key."""


class KeysUnusable(Exception):
    """A key or certificate cannot be read, made or trusted. The text is one line: which file, why, what to do."""


class SecretFiles:
    """Private keys on disk, in PEM (PKCS #8), encrypted (RFC 8018, PBES2) when there is a passphrase."""

    def __init__(self, passphrase: str = "") -> None:
        """Raises KeysUnusable for a passphrase that is too short to be one."""
        if passphrase and len(passphrase) < SHORTEST_PASSPHRASE:
            raise KeysUnusable(
                f"the key that encrypts secrets at rest has fewer than {SHORTEST_PASSPHRASE} characters; make one: "
                "openssl rand -base64 48"
            )
        self._passphrase = passphrase.encode()

    def read(self, path: Path) -> PrivateKeyTypes | None:
        """The key in `path`; None where there is no file. One that is not encrypted though it should be is encrypted.

        Raises KeysUnusable.
        """
        content = read_if_present(path)
        if content is None:
            return None
        if path.stat().st_mode & PRIVATE:
            raise KeysUnusable(f"{path}: other users may read this key; run: chmod 600 {path}")
        is_encrypted = b"ENCRYPTED PRIVATE KEY" in content
        if is_encrypted and not self._passphrase:
            raise KeysUnusable(
                f"{path}: encrypted, and no key to decrypt it with; set encryption.keyFile or NARROWGATE_ENCRYPTION_KEY"
            )
        try:
            key = serialization.load_pem_private_key(content, self._passphrase if is_encrypted else None)
        except (ValueError, TypeError):
            if is_encrypted:
                raise KeysUnusable(
                    f"{path}: not encrypted with this key, or damaged; give the key it was encrypted with"
                ) from None
            raise KeysUnusable(f"{path}: not a private key in PEM; restore it from a backup") from None
        if self._passphrase and not is_encrypted:
            write_whole(path, self._pem(key))
        return key

    def write(
        self, path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    ) -> None:
        """Keep a new key. Raises KeysUnusable."""
        write_whole(path, self._pem(key))

    def _pem(self, key: PrivateKeyTypes) -> bytes:
        encryption = (
            serialization.BestAvailableEncryption(self._passphrase)
            if self._passphrase
            else serialization.NoEncryption()
        )
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def read_if_present(path: Path) -> bytes | None:
    """The content of a file; None where there is none. Raises KeysUnusable."""
    return read(path) if path.exists() else None


def read(path: Path) -> bytes:
    """The content of a file. Raises KeysUnusable."""
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise KeysUnusable(f"{path}: cannot be read: {reason}; correct the path or its owner") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write so that the file is there complete or not at all, even after a power cut."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        reason = error.strerror or error
        raise KeysUnusable(f"{path}: cannot be written: {reason}; make room or correct its owner") from error
