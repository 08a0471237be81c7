"""Kubernetes' protobuf, walked by field numbers: the envelope, and who an object is. No schema, no library.

An object is sent as the four bytes `k8s\\0` and a `runtime.Unknown` (k8s.io/apimachinery/pkg/runtime/generated.proto):
type meta in field 1, the object itself in field 2. Every object has its ObjectMeta in its own field 1, and that has the
name in 1, generateName in 2, namespace in 3, uid in 5 (apis/meta/v1/generated.proto).

The API server's generated readers are lenient: a second `metadata` is merged into the first, a field number beyond 32
bits is cut down to them, group fields are skipped. Here all that is refused, so that what the gate reads is what the
API server reads.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from narrowgate.core.body import PROTOBUF, ObjectNames
from narrowgate.core.malformed import Malformed

MAGIC = b"k8s\x00"
"""What every message begins with (runtime/serializer/protobuf/protobuf.go)."""

FIELDS_LIMIT = 50_000
"""Fields of one message that are walked. A ConfigMap of 1 MiB can have some thousands; this many take 30 ms."""

VARINT_BYTES = 10
"""The longest a 64-bit varint gets."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types; 3 and 4 (groups) are not used by Kubernetes."""


class BrokenProtobuf(Malformed):
    """These bytes are not a protobuf message that can be read in one way only."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the body is not readable as protobuf: {problem}; send application/json")
        self.problem = problem
        """What is wrong, for those who read it from elsewhere than a request."""


class Envelope(msgspec.Struct, frozen=True):
    """What stands around an object (`runtime.Unknown`)."""

    api_version: str
    kind: str
    raw: bytes
    """The object, without the envelope."""


def located(message: bytes) -> Iterator[tuple[int, int, int | bytes, int, int]]:
    """Walk one message: field number, wire type, value, and where the field begins and ends, in their order.

    A varint's value is the unsigned number, any other's its bytes. Raises BrokenProtobuf.
    """
    position, end = 0, len(message)
    for _ in range(FIELDS_LIMIT):
        if position == end:
            return
        begin = position
        tag = message[position]
        if tag > 0x7F:
            tag, position = read_varint(message, position)
        else:
            position += 1
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise BrokenProtobuf(f"{number} is no field number")
        if wire_type == VARINT:
            value, position = read_varint(message, position)
            yield number, wire_type, value, begin, position
            continue
        if wire_type == BYTES and position < end and message[position] < 0x80:
            start = position + 1
            position = start + message[position]
        else:
            size, start = _size(message, position, wire_type)
            position = start + size
        if position > end:
            raise BrokenProtobuf("a field is longer than what is there")
        yield number, wire_type, message[start:position], begin, position
    if position != end:
        raise BrokenProtobuf(f"a message has more than {FIELDS_LIMIT} fields")


def fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """The same without the places. Raises BrokenProtobuf."""
    for number, wire_type, value, _, _ in located(message):
        yield number, wire_type, value


def varint(value: int) -> bytes:
    """A number that is not negative, as short as it gets."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def sized(number: int, content: bytes) -> bytes:
    """A field that holds bytes."""
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def read_envelope(data: bytes) -> Envelope:
    """Take an object out of its envelope. Raises BrokenProtobuf."""
    if not data.startswith(MAGIC):
        raise BrokenProtobuf("it does not begin with k8s and a zero byte")
    type_meta, raw, encoding, content_type = _single(data[len(MAGIC) :], (1, 2, 3, 4))
    if encoding or content_type not in (b"", PROTOBUF.encode()):
        raise BrokenProtobuf("the object in the envelope has an encoding of its own")
    api_version, kind = _single(type_meta, (1, 2))
    return Envelope(_text(api_version), _text(kind), raw)


def object_meta(raw: bytes) -> ObjectNames:
    """Read who an object says it is; kind and apiVersion stand in the envelope alone. Raises BrokenProtobuf."""
    (metadata,) = _single(raw, (1,))
    name, generate_name, namespace, uid = (_text(value) for value in _single(metadata, (1, 2, 3, 5)))
    return ObjectNames(name=name, generate_name=generate_name, namespace=namespace, uid=uid)


def read_names(data: bytes) -> ObjectNames:
    """Read a request's body as far as the gate judges it; options have no metadata. Raises BrokenProtobuf."""
    envelope = read_envelope(data)
    if envelope.kind == "DeleteOptions":
        for _ in fields(envelope.raw):
            pass
        return ObjectNames(api_version=envelope.api_version, kind=envelope.kind)
    return msgspec.structs.replace(object_meta(envelope.raw), api_version=envelope.api_version, kind=envelope.kind)


def read_varint(message: bytes, position: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, least first; give back the place behind it. Raises BrokenProtobuf."""
    value = 0
    for index in range(VARINT_BYTES):
        if position + index >= len(message):
            raise BrokenProtobuf("it ends in the middle of a number")
        byte = message[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, position + index + 1
    raise BrokenProtobuf("a number has more than 64 bits")


def _size(message: bytes, position: int, wire_type: int) -> tuple[int, int]:
    """How long a value is, and where it begins."""
    if wire_type == BYTES:
        return read_varint(message, position)
    if wire_type == FIXED64:
        return 8, position
    if wire_type == FIXED32:
        return 4, position
    raise BrokenProtobuf(f"{wire_type} is no wire type of Kubernetes")


def _single(message: bytes, wanted: tuple[int, ...]) -> list[bytes]:
    """The byte fields with these numbers, empty where absent; each may be there once, and only as bytes."""
    found: dict[int, bytes] = {}
    for number, wire_type, value in fields(message):
        if number in wanted:
            if wire_type != BYTES or not isinstance(value, bytes):
                raise BrokenProtobuf(f"field {number} has the wrong type")
            if number in found:
                raise BrokenProtobuf(f"field {number} is there twice")
            found[number] = value
    return [found.get(number, b"") for number in wanted]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BrokenProtobuf("text in it is not UTF-8") from error
