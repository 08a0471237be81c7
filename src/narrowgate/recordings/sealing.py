"""How the bytes of recordings are made small and unreadable for others: zstd, then AES-256-GCM with an operator's key.

Each recording has a key of its own, derived from the operator's by a salt that stands in the file (RFC 5869), so that
nonces of 96 random bits are enough for all its blocks (NIST SP 800-38D, section 8.2.2).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from narrowgate.recordings.errors import RecordingDamaged, RecordingKeyMissing

SALT_BYTES = 16
KEY_ID_BYTES = 8
"""Enough to tell an operator's keys apart; it says nothing about the key."""

NONCE_BYTES = 12
"""As AES-GCM wants them (NIST SP 800-38D, section 5.2.1.1)."""

TAG_BYTES = 16
NO_KEY = bytes(KEY_ID_BYTES)
"""The key id of a recording that is not encrypted."""

SHORTEST_KEY = 32
"""Characters. It is made and kept by machines; what people can remember can be guessed."""

LEVEL = 3
"""Of zstd, its default: 5 times smaller on terminals and JSON, at 400 MB/s."""


class RecordingKey:
    """A key of the operator's."""

    def __init__(self, secret: str) -> None:
        """`secret` is one line of text. Raises ValueError where it is too short to be a key."""
        if len(secret) < SHORTEST_KEY:
            raise ValueError(
                f"the key has fewer than {SHORTEST_KEY} characters; make one with: openssl rand -base64 48"
            )
        self._secret = secret.encode()
        self.id = _derived(self._secret, b"narrowgate recording key id", b"", KEY_ID_BYTES)
        """Stands in every recording that is encrypted with it."""

    def cipher(self, salt: bytes) -> AESGCM:
        """The cipher of the one recording that has this salt."""
        return AESGCM(_derived(self._secret, b"narrowgate recording", salt, 32))


def _derived(secret: bytes, info: bytes, salt: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)


class Sealing:
    """Encrypts and decrypts the parts of one recording; plain where it has no key."""

    def __init__(self, salt: bytes, key: RecordingKey | None, random: Callable[[int], bytes] = os.urandom) -> None:
        """`random` makes the nonces. Whoever passes another source answers for no nonce being used twice."""
        self.salt = salt
        self.key_id = key.id if key else NO_KEY
        self._cipher = key.cipher(salt) if key else None
        self._random = random

    @classmethod
    def of(cls, salt: bytes, key_id: bytes, keys: Sequence[RecordingKey], where: str) -> Sealing:
        """The sealing of a recording that is there already, with the key that it names. Raises RecordingKeyMissing."""
        if key_id == NO_KEY:
            return cls(salt, None)
        for key in keys:
            if key.id == key_id:
                return cls(salt, key)
        given = ", ".join(key.id.hex() for key in keys) or "none"
        raise RecordingKeyMissing(
            f"{where}: encrypted with the key {key_id.hex()}, the keys given are: {given}; "
            "name that key's file in encryption.recordingKeyFile or encryption.formerRecordingKeyFiles"
        )

    def nonce(self) -> bytes:
        """For the next part; zeros where nothing is encrypted."""
        return self._random(NONCE_BYTES) if self._cipher else bytes(NONCE_BYTES)

    @property
    def overhead(self) -> int:
        """Bytes by which a part grows."""
        return TAG_BYTES if self._cipher else 0

    def close(self, nonce: bytes, part: bytes, bound: bytes) -> bytes:
        """The part as it is stored; `bound` is what stands around it and must not change either."""
        return self._cipher.encrypt(nonce, part, bound) if self._cipher else part

    def open(self, nonce: bytes, stored: bytes, bound: bytes, where: str) -> bytes:
        """The part again. Raises RecordingDamaged."""
        if self._cipher is None:
            return stored
        try:
            return self._cipher.decrypt(nonce, stored, bound)
        except (InvalidTag, ValueError):
            raise RecordingDamaged(f"{where}: changed since it was written, or encrypted with another key") from None


class Packing:
    """Compression, shared by all recordings of a process: a context of it takes a megabyte."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False)
        self._decompressor = zstandard.ZstdDecompressor()

    def pack(self, raw: bytes) -> bytes:
        """The bytes made small; the same ones for the same bytes."""
        with self._lock:
            return self._compressor.compress(raw)

    def unpack(self, packed: bytes, length: int, where: str) -> bytes:
        """The `length` bytes that were made small. Raises RecordingDamaged where they are others, or more."""
        try:
            if zstandard.frame_content_size(packed) != length:
                raise RecordingDamaged(f"{where}: says that it holds more or less than it does")
            with self._lock:
                return self._decompressor.decompress(packed, max_output_size=length, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise RecordingDamaged(f"{where}: cannot be decompressed: {error}") from None
