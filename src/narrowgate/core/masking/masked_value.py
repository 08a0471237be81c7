"""What stands in the place of a masked value: `[masked:<rule>:<8 hex>]`, the same for equal values under one key.

The hex digits are a keyed hash, so that whoever reads two masked values sees whether they were equal, and cannot try
out guesses without the key. They leave 32 bits of a value's identity, whatever its length: too few to find a value
by, enough to compare by eye. The hash is of the value alone, not of the rule: a password is recognised in a Secret, an
environment variable and a log alike.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final

import msgspec

KEY_BYTES: Final = 32
"""Bytes of the key: 256 bits, so that no amount of masked values tells it."""

HASH_BYTES: Final = 4
"""Bytes of the hash that are shown."""

LONGEST: Final = 1 + len("masked:") + 253 + 1 + 63 + 1 + 2 * HASH_BYTES + 1
"""Characters of a masked value at most: policy names have up to 253 characters, ids of masks up to 63."""

MASKED: Final = re.compile(r"\[masked:[a-z0-9][a-z0-9.-]{0,252}/[A-Za-z0-9][A-Za-z0-9._-]{0,62}:[0-9a-f]{8}\]")
"""One masked value, anywhere in a text."""

MASKED_BYTES: Final = re.compile(MASKED.pattern.encode())
"""The same in bytes."""

_STABLE: Final = ((0, 10), (2, 12), (3, 13))
"""Of `[masked:` in base64 behind no, one, two bytes: from which to which character nothing beside it has a say."""

_IN_BASE64: Final = tuple(
    base64.b64encode(b"\0" * shift + b"[masked:").decode()[first:end] for shift, (first, end) in enumerate(_STABLE)
)

MAY_HOLD: Final = re.compile("|".join(["masked:", *map(re.escape, _IN_BASE64)]).encode())
"""What is in the bytes of any text with a masked value, unless line ends or escapes divide it."""

_BASE64_RUN: Final = re.compile(r"[A-Za-z0-9+/]*")


class ValueMasker:
    """Makes masked values under one key. Raises ValueError for a key of another length than KEY_BYTES."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key of masked values has {len(key)} bytes: give it {KEY_BYTES}")
        self._keyed: Final = hashlib.blake2b(key=key, digest_size=HASH_BYTES)

    def of(self, rule: str, plain: bytes) -> str:
        """What is written for `plain`, which `rule` (`policy/rule`) masks. What is masked already stays."""
        if is_masked(plain):
            return plain.decode()
        hashed = self._keyed.copy()
        hashed.update(plain)
        return f"[masked:{rule}:{hashed.hexdigest()}]"

    def of_base64(self, rule: str, encoded: str) -> str:
        """The same for a value that is written in base64, and in base64: of what it decodes to, so that `data` and
        `stringData` of a Secret compare as equal. What cannot be decoded is hashed as it is.
        """
        return binascii.b2a_base64(self.of(rule, decoded(encoded)).encode(), newline=False).decode()


def is_masked(plain: bytes) -> bool:
    """Whether all of the value is a masked one."""
    return plain.startswith(b"[masked:") and MASKED_BYTES.fullmatch(plain) is not None


def decoded(encoded: str) -> bytes:
    """What base64 stands for, as Go reads `[]byte` (line breaks are skipped); the text itself where it is none."""
    try:
        # Four times as fast as the other, and takes what is usual: padded, and not broken into lines.
        return msgspec.convert(encoded, bytes)
    except (msgspec.ValidationError, UnicodeEncodeError):
        pass
    try:
        return binascii.a2b_base64(encoded.replace("\n", "").replace("\r", ""), strict_mode=True)
    except ValueError:
        return encoded.encode("utf-8", "surrogatepass")


def masked_in(text: str) -> str:
    """The first masked value in a text, also in base64 and wherever in it that is; empty where there is none.

    What carries one must never be stored: it would take the place of what it stands for.
    """
    found = MASKED.search(text)
    return found[0] if found is not None else _masked_in_base64(text.replace("\n", "").replace("\r", ""))


def _masked_in_base64(text: str) -> str:
    for (first, _), beginning in zip(_STABLE, _IN_BASE64, strict=True):
        end, seen = 0, set[int]()
        at = text.find(beginning, first)
        while at >= 0:
            start = at - first
            if at >= end:
                run = _BASE64_RUN.match(text, start)
                end, seen = run.end() if run is not None else at, set()
            # From four characters on base64 means the same again: each run is looked at four times at most.
            if start % 4 not in seen:
                seen.add(start % 4)
                found = MASKED_BYTES.search(_plain(text[start:end]))
                if found is not None:
                    return found[0].decode()
            at = text.find(beginning, at + 1)
    return ""


def _plain(run: str) -> bytes:
    """What a run of base64 stands for, its end missing or not."""
    kept = run if len(run) % 4 != 1 else run[:-1]
    return base64.b64decode(kept + "=" * (-len(kept) % 4))
