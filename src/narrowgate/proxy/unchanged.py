"""Answers in which nothing was masked the last time, known by the bytes that they are.

Whoever waits for something asks for it again and again, and is mostly answered the same. What is masked in an answer
hangs on its bytes, on what sort of answer it is, on the masks that hold and on the values that are known; where all of
those are the same, what was found before is found again. Kept is a keyed hash, and of those answers alone that left as
they came: what is masked, and what was, is not remembered beyond its answer.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from typing import Final

from narrowgate.core.masking.choosing import MaskChoice
from narrowgate.core.masking.known_values import KnownValues
from narrowgate.wire.masked_answer import Form

MAX_KEPT: Final = 4_096
"""Answers kept of one cluster, each with some 200 bytes; when it is full everything is forgotten and found again."""

MAX_LENGTH: Final = 64 * 1024
"""Bytes of an answer that is kept: larger ones are lists, in which something has mostly changed."""

HASH_BYTES: Final = 16
"""Bytes of the hash: 128 bits, keyed with what nobody outside the process knows, so that none is made to be met."""

Seen = tuple[MaskChoice, Form, bytes, bytes]
"""What an answer is known by."""


class Unchanged:
    """What one process remembers of one cluster's answers."""

    def __init__(self) -> None:
        self._hash: Final = hashlib.blake2b(key=os.urandom(hashlib.blake2b.MAX_KEY_SIZE), digest_size=HASH_BYTES)
        self._kept: Final[set[Seen]] = set()
        self._judged_by: weakref.ref[KnownValues] | None = None

    def seen(self, choice: MaskChoice, form: Form, known: KnownValues, content_type: bytes, body: bytes) -> Seen | None:
        """What an answer is known by; None where it is not worth remembering. With other `known` values all that was
        judged by those before is forgotten.
        """
        if len(body) > MAX_LENGTH:
            return None
        if self._judged_by is None or self._judged_by() is not known:
            self._kept.clear()
            self._judged_by = weakref.ref(known)
        hashed = self._hash.copy()
        hashed.update(body)
        return choice, form, content_type, hashed.digest()

    def is_kept(self, seen: Seen) -> bool:
        """Whether nothing was masked in that very answer before."""
        return seen in self._kept

    def keep(self, seen: Seen) -> None:
        """Remember an answer in which nothing is masked."""
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept.add(seen)
