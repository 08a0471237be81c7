"""What all masked answers have in common, whatever their encoding: what is asked for, what holds for their objects, and
how bytes go in and come out.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from narrowgate.core.masking.choosing import Where
from narrowgate.core.masking.plan import Plan
from narrowgate.wire.json_mask import JsonMasker
from narrowgate.wire.json_spans import Unreadable

DOCUMENT_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a single document or of one watch event. Aggregated servers answer with more than etcd holds."""


FAILURES: Final = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoders raise: orjson's error and those of Unicode are ValueErrors. What is skipped at first may turn out to be
no text when it is read, or too deep for where it is read."""


class Form(enum.Enum):
    """What sort of answer a request asks for."""

    OBJECT = "object"
    LIST = "list"
    WATCH = "watch"


class Masks(Protocol):
    """What holds for the objects of one answer."""

    @property
    def shows(self) -> Callable[[Where], bool] | None:
        """Which of the objects of a list or a watch leave at all, asked once for each; None where all of them do."""
        ...

    @property
    def varies(self) -> bool:
        """Whether it differs from object to object."""
        ...

    def plan(self, where: Where) -> Plan | None:
        """What is masked of an object there."""
        ...

    def masker(self, plan: Plan) -> JsonMasker:
        """What masks it: the same one for the same plan, as long as the answer lasts."""
        ...


class MaskedAnswer(Protocol):
    """Bytes in, masked bytes out. Every call may raise Unreadable; then the answer must be broken off."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; what may be sent on by now."""
        ...

    def finish(self) -> bytes:
        """Take the end; the rest of what is to be sent."""
        ...

    @property
    def at_boundary(self) -> bool:
        """Whether what was sent on so far ends with a whole document, so that another may follow it."""
        ...


class HeldBytes:
    """Bytes that are held until they are whole, up to the limit of one document."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held = 0

    def add(self, data: bytes) -> None:
        """Hold these too. Raises Unreadable."""
        self._held += len(data)
        if self._held > DOCUMENT_LIMIT:
            raise Unreadable(f"one document of it has more than {DOCUMENT_LIMIT} bytes")
        self._parts.append(data)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not self._held

    def take(self) -> bytes:
        """All that is held."""
        parts, self._parts, self._held = self._parts, [], 0
        return b"".join(parts)
