"""One protobuf answer of an API server, masked on its way and reduced to what its reader may see.

A document says its length before its content, so none leaves before the last of it has come: what has come of a list
is masked item by item, and held. A watch is frames, each behind its length in four bytes (k8s.io/apimachinery,
pkg/util/framer), that hold a `WatchEvent` without an envelope, around an object in one
(pkg/runtime/serializer/streaming).
"""

from __future__ import annotations

from typing import Final

from narrowgate.wire.answer import DOCUMENT_LIMIT, Form, MaskedAnswer, Masks
from narrowgate.wire.json_items import ITEM_LIMIT
from narrowgate.wire.protobuf import BYTES, MAGIC, VARINT_BYTES, BrokenProtobuf, read_varint, sized, varint
from narrowgate.wire.protobuf_documents import (
    RAW,
    Kind,
    ProtobufDocuments,
    exactly,
    read_enclosed,
    require_no_encoding,
    type_of,
)
from narrowgate.wire.protobuf_mask import NotInProtobuf, unreadable
from narrowgate.wire.protobuf_object import UnknownField
from narrowgate.wire.unreadable import Unreadable

ENVELOPE_LIMIT: Final = 4 * 1024
"""Bytes before an object in its envelope, and behind it: a kind and a group have up to 253 characters each."""

FRAME_HEAD: Final = 4
"""Bytes of a frame's length, the highest first."""

LONGEST_HEAD: Final = 2 * VARINT_BYTES
"""Bytes of a field's number and length at most."""


def protobuf_answer(form: Form, masks: Masks) -> MaskedAnswer:
    """What masks an answer of that form in protobuf."""
    documents = ProtobufDocuments(masks)
    match form:
        case Form.WATCH:
            return _Guarded(_Watched(documents), is_held=False)
        case Form.OBJECT | Form.LIST:
            return _Guarded(_Document(documents), is_held=True)


class _Guarded:
    """An answer whose every failure to read says that it is unreadable."""

    def __init__(self, answer: MaskedAnswer, *, is_held: bool) -> None:
        """`is_held` says that nothing leaves before the end: what is only not to be had in protobuf is said then."""
        self._answer: MaskedAnswer | None = answer
        self._is_held = is_held
        self._failed = NotInProtobuf()

    @property
    def at_boundary(self) -> bool:
        """See `MaskedAnswer`."""
        return self._answer is not None and self._answer.at_boundary

    def feed(self, data: bytes) -> bytes:
        """See `MaskedAnswer`."""
        if self._answer is None:
            return b""
        try:
            return self._answer.feed(data)
        except (BrokenProtobuf, UnknownField) as error:
            failed: Unreadable = unreadable(error)
        except NotInProtobuf as error:
            failed = error
        if not (self._is_held and isinstance(failed, NotInProtobuf)):
            raise failed
        # What was held is let go.
        self._failed, self._answer = failed, None
        return b""

    def finish(self) -> bytes:
        """See `MaskedAnswer`."""
        if self._answer is None:
            raise self._failed
        try:
            return self._answer.finish()
        except (BrokenProtobuf, UnknownField) as error:
            raise unreadable(error) from None


class _Buffer:
    """Bytes that have come and are not used up, joined no more often than it helps."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held = 0
        self._wanted = 1

    def add(self, data: bytes) -> bool:
        """Hold these too; whether there is as much by now as was wanted."""
        self._parts.append(data)
        self._held += len(data)
        return self._held >= self._wanted

    def take(self) -> bytes:
        """All that is held."""
        parts, self._parts, self._held, self._wanted = self._parts, [], 0, 1
        return b"".join(parts)

    def put_back(self, rest: bytes, wanted: int) -> None:
        """Hold what was not used up, until there are `wanted` bytes."""
        self._parts, self._held, self._wanted = [rest], len(rest), max(wanted, len(rest) + 1)


class _Document:
    """One document in its envelope: an object, a Status, or a list."""

    def __init__(self, documents: ProtobufDocuments) -> None:
        self._documents = documents
        self._buffer = _Buffer()
        self._head = b""
        """The envelope up to the object, without its length."""
        self._kind = Kind("", "")
        self._left = 0
        """Bytes of the object that are not used up."""
        self._out: list[bytes] = []
        self._held = 0
        self._has_metadata = False
        self.at_boundary = False

    def feed(self, data: bytes) -> bytes:
        """See `MaskedAnswer`."""
        if self._buffer.add(data):
            self._use(self._buffer.take())
        return b""

    def finish(self) -> bytes:
        """See `MaskedAnswer`."""
        tail = self._buffer.take()
        if tail:
            # What was waited for may be all that comes.
            self._use(tail)
            tail = self._buffer.take()
        if not self._head or self._left:
            raise Unreadable("it ends too early")
        require_no_encoding(tail)
        self.at_boundary = True
        parts, self._out = self._out, []
        size = sum(map(len, parts))
        return b"".join((self._head, varint(size), *parts, tail))

    def _use(self, buffer: bytes) -> None:
        at = 0
        if not self._head:
            at = self._envelope(buffer)
            if not self._head:
                return self._wait(buffer, len(buffer) + 1)
        take = self._item if self._kind.is_list else self._object
        while self._left:
            size = take(buffer, at)
            if at + size > len(buffer):
                return self._wait(buffer[at:], size)
            self._left -= size
            at += size
        if len(buffer) - at > ENVELOPE_LIMIT:
            raise Unreadable("something stands behind it")
        return self._wait(buffer[at:], 1)

    def _wait(self, rest: bytes, wanted: int) -> None:
        self._buffer.put_back(rest, wanted)

    def _envelope(self, buffer: bytes) -> int:
        """Where the object begins; the head stays empty where that cannot be told yet."""
        if not MAGIC.startswith(buffer[: len(MAGIC)]):
            raise Unreadable("it does not begin with k8s and a zero byte")
        try:
            begin, type_end = _content(buffer, len(MAGIC), 1)
            if type_end > len(buffer):
                raise _NotYet
            raw, end = _content(buffer, type_end, 2)
        except _NotYet:
            if len(buffer) > ENVELOPE_LIMIT:
                raise Unreadable(f"its type is not within its first {ENVELOPE_LIMIT} bytes") from None
            return 0
        self._kind = type_of(buffer[begin:type_end])
        self._left = end - raw
        self._require_wanted()
        self._head = buffer[:type_end] + RAW
        return raw

    def _require_wanted(self) -> None:
        if self._kind.is_list:
            _ = self._kind.message
        elif self._documents.is_reduced and not self._kind.is_status:
            raise Unreadable("it is no list")
        elif self._left > DOCUMENT_LIMIT:
            raise Unreadable(f"it has more than {DOCUMENT_LIMIT} bytes")

    def _object(self, buffer: bytes, at: int) -> int:
        """The size of an object by itself; used up where it is here."""
        if at + self._left <= len(buffer):
            self._keep(self._documents.object(self._kind, buffer[at : at + self._left]))
        return self._left

    def _item(self, buffer: bytes, at: int) -> int:
        """The size of the next field of a list; used up where it is here."""
        try:
            number, begin, end = _field(buffer, at)
        except _NotYet:
            if len(buffer) - at >= min(LONGEST_HEAD, self._left):
                raise Unreadable("it ends within its items") from None
            return len(buffer) - at + 1
        if end - at > self._left or number not in (1, 2):
            raise Unreadable("one of its items is longer than the list, or no item")
        if end - begin > ITEM_LIMIT:
            raise Unreadable(f"one of its items has more than {ITEM_LIMIT} bytes")
        if end <= len(buffer):
            self._take_field(number, buffer[at:end], buffer[begin:end])
        return end - at

    def _take_field(self, number: int, written: bytes, content: bytes) -> None:
        if number == 1:
            if self._has_metadata:
                raise Unreadable("it has metadata twice")
            self._has_metadata = True
            left: bytes | None = self._documents.around(content)
        else:
            left = self._documents.item(self._kind, content)
        if left is not None:
            self._keep(written if left == content else sized(number, left))

    def _keep(self, part: bytes) -> None:
        self._held += len(part)
        if self._held > DOCUMENT_LIMIT:
            raise NotInProtobuf(f"it has more than {DOCUMENT_LIMIT} bytes, and its length stands before them")
        self._out.append(part)


class _Watched:
    """A watch: one frame after the other, each as soon as it is whole."""

    def __init__(self, documents: ProtobufDocuments) -> None:
        self._documents = documents
        self._buffer = _Buffer()
        self.at_boundary = True

    def feed(self, data: bytes) -> bytes:
        """See `MaskedAnswer`."""
        if not self._buffer.add(data):
            return b""
        return self._frames(self._buffer.take())

    def finish(self) -> bytes:
        """See `MaskedAnswer`."""
        if self._buffer.take():
            raise Unreadable("it ends within an event of the watch")
        return b""

    def _frames(self, buffer: bytes) -> bytes:
        out: list[bytes] = []
        at = 0
        while len(buffer) - at >= FRAME_HEAD:
            size = FRAME_HEAD + int.from_bytes(buffer[at : at + FRAME_HEAD])
            if size > DOCUMENT_LIMIT:
                raise Unreadable(f"an event of the watch has more than {DOCUMENT_LIMIT} bytes")
            if len(buffer) - at < size:
                self._buffer.put_back(buffer[at:], size)
                return b"".join(out)
            out.append(self._event(buffer[at + FRAME_HEAD : at + size]))
            at += size
        if at < len(buffer):
            self._buffer.put_back(buffer[at:], FRAME_HEAD)
        return b"".join(out)

    def _event(self, frame: bytes) -> bytes:
        """One event: its type in field 1, a RawExtension with its object in field 2 (apis/meta/v1/watch.go)."""
        kind, extension = exactly(frame, (1, 2))
        (document,) = exactly(extension, (1,))
        left = self._left_of(kind, document)
        if left is None:
            return b""
        event = frame if left == document else sized(1, kind) + sized(2, sized(1, left))
        return len(event).to_bytes(FRAME_HEAD) + event

    def _left_of(self, event: bytes, document: bytes) -> bytes | None:
        enclosed = read_enclosed(document)
        match event:
            case b"ERROR":
                if not enclosed.kind.is_status:
                    raise Unreadable("an event of the watch that says what went wrong is no Status")
            case b"BOOKMARK":
                self._documents.require_bookmark(enclosed.raw)
            case b"ADDED" | b"MODIFIED" | b"DELETED":
                if not self._documents.shows(enclosed.raw):
                    return None
            case _:
                raise Unreadable(f"an event of the watch is of the type {event[:40]!r}, which is not known")
        left = self._documents.object(enclosed.kind, enclosed.raw)
        return document if left == enclosed.raw else enclosed.before + varint(len(left)) + left + enclosed.behind


class _NotYet(Exception):
    """More must come before it can be told."""


def _field(buffer: bytes, at: int) -> tuple[int, int, int]:
    """The number of the field that begins there, and where its bytes begin and end. Raises _NotYet, and Unreadable for
    one that holds no bytes.
    """
    tag, at = _number(buffer, at)
    if tag & 7 != BYTES:
        raise Unreadable(f"field {tag >> 3} of it has the wrong type")
    size, at = _number(buffer, at)
    return tag >> 3, at, at + size


def _content(buffer: bytes, at: int, wanted: int) -> tuple[int, int]:
    """Where the bytes of the field begin and end that must stand there. Raises _NotYet, Unreadable."""
    number, begin, end = _field(buffer, at)
    if number != wanted:
        raise Unreadable(f"field {number} of its envelope stands where {wanted} should be")
    return begin, end


def _number(buffer: bytes, at: int) -> tuple[int, int]:
    ahead = buffer[at : at + VARINT_BYTES]
    if len(ahead) < VARINT_BYTES and all(byte > 0x7F for byte in ahead):
        raise _NotYet
    return read_varint(buffer, at)
