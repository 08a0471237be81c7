"""Masks over the bytes of protobuf messages: what is not masked stays byte for byte.

The plan is walked down the messages it leads into, and nothing else is looked at. What stands directly in a message is
read as the JSON that it stands for (`protobuf_object.read_part`), and what becomes of that is said by
`core.masking.objects`, and by nothing here. Only what has changed is written back, at its very place, and the lengths
of all that encloses it. Then it is read once more: unless that is what was to be shown, nothing of it leaves. Where all
of a message must be known to say what is masked in it (its name tells, or all of it goes), it is read whole.

What became of a message is remembered, as `json_mask` remembers lists: pods of one workload repeat their containers.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import orjson

from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.plan import Place
from narrowgate.wire.json_mask import OVERHEAD, REMEMBERED_LENGTH, WHITESPACE, JsonMasker, Told
from narrowgate.wire.json_spans import elements_of, members_of, spliced
from narrowgate.wire.kubernetes_kinds import MESSAGES
from narrowgate.wire.protobuf import BrokenProtobuf, located, sized
from narrowgate.wire.protobuf_object import (
    MAX_DEPTH,
    Field,
    UnknownField,
    Walk,
    all_or,
    fields_of,
    place_below,
    read_part,
)
from narrowgate.wire.unreadable import Unreadable

_IS_TEXT: Final = b"\x08\x01"
"""Field 1 of an IntOrString, which says that it is text (k8s.io/apimachinery/pkg/util/intstr)."""


class NotInProtobuf(Unreadable):
    """The answer can be masked in JSON, but not in protobuf: unknown to this gate, or no text where a mask is to be."""


class ProtobufMasker:
    """Masks messages of one answer by one plan."""

    __slots__ = ("_held", "_masker", "_told", "_walk")

    def __init__(self, masker: JsonMasker) -> None:
        """`masker` knows the reference, and counts."""
        self._masker: Final = masker
        self._told: Final[dict[tuple[Place, str, bytes], Told]] = {}
        self._held = 0
        self._walk = Walk(as_json=True)

    def document(self, message: str, data: bytes, place: Place, head: dict[str, Any]) -> bytes:
        """A message of this name masked from `place` on; itself where nothing is. `head` is what JSON says of an object
        besides (`kind`, `apiVersion`). Raises Unreadable, and then nothing of it may leave.
        """
        self._walk = Walk(as_json=True)
        try:
            return self._message(message, data, place, head, 0)
        except (BrokenProtobuf, UnknownField) as error:
            raise unreadable(error) from None
        except (Malformed, UnicodeError) as error:
            raise Unreadable(str(error)) from None

    @property
    def remembered(self) -> int:
        """Bytes that are remembered."""
        return self._held

    def _message(self, message: str, data: bytes, place: Place, head: dict[str, Any], depth: int) -> bytes:
        """First the messages within that have a place of their own, then what stands directly in it."""
        if depth > MAX_DEPTH:
            raise BrokenProtobuf("it is nested too deeply")
        plain = read_part(message, data, place, self._walk)
        if all_or(place) is not None:
            data = self._within(message, data, place, depth)
        document = head | plain
        masked = self._masker.value(document, place)
        if masked is document:
            return data
        _require_same_keys(document, masked)
        if any(masked[key] is not value for key, value in head.items()):
            raise NotInProtobuf("its kind is masked")
        new = _written(message, data, document, masked)
        if head | read_part(message, new, place, self._walk) != masked:
            raise NotInProtobuf("what is masked of it cannot be written as protobuf")
        return new

    def _within(self, message: str, data: bytes, place: Place, depth: int) -> bytes:
        """The message with those within masked that have a place of their own; itself where nothing is."""
        known = fields_of(message)
        parts: list[bytes] = []
        at = 0
        for number, _, value, begin, end in located(data):
            field = known[number]
            if not field.is_message:
                continue
            below = place_below(place, field)
            if not isinstance(below, Place) or not isinstance(value, bytes):
                continue
            new = (
                self._once(field.of, value, below, depth + 1)
                if field.name
                else self._within(field.of, value, place, depth + 1)
            )
            if new is not value:
                parts += (data[at:begin], sized(number, new))
                at = end
        return b"".join((*parts, data[at:])) if parts else data

    def _once(self, message: str, data: bytes, place: Place, depth: int) -> bytes:
        """What becomes of a message, or became of the same one before."""
        if len(data) > REMEMBERED_LENGTH:
            return self._message(message, data, place, {}, depth)
        told = self._told.get((place, message, data))
        if told is None:
            before = self._masker.counted()
            new = self._message(message, data, place, {}, depth)
            self._remember((place, message, data), (None if new is data else new, self._masker.counted_since(before)))
            return new
        self._masker.count(told[1])
        return data if told[0] is None else told[0]

    def _remember(self, key: tuple[Place, str, bytes], told: Told) -> None:
        size = len(key[2]) + len(told[0] or b"") + OVERHEAD
        self._held += size
        if self._held > self._masker.remembers:
            self._told.clear()
            self._held = size
        self._told[key] = told


def unreadable(error: BrokenProtobuf | UnknownField) -> Unreadable:
    """The same, said of an answer."""
    if isinstance(error, UnknownField):
        return NotInProtobuf(error.problem)
    return Unreadable(f"it is not readable as protobuf: {error.problem}")


def _written(message: str, data: bytes, plain: Any, masked: Any) -> bytes:
    """The message with those fields written anew of which something is masked."""
    _require_same_keys(plain, masked)
    known = fields_of(message)
    parts, seen = [], dict[str, int]()
    for number, _, value, begin, end in located(data):
        field = known[number]
        new: bytes | None = None
        if not field.name:
            inner = _written(field.of, _bytes(value), plain, masked)
            new = None if inner == value else inner
        elif plain.get(field.name) is not masked.get(field.name):
            at = seen[field.name] = seen.get(field.name, -1) + 1
            new = _field(field, value, (plain[field.name], masked[field.name]), at)
        parts.append(data[begin:end] if new is None else sized(number, new))
    return b"".join(parts)


def _field(field: Field, value: int | bytes, pair: tuple[Any, Any], at: int) -> bytes | None:
    """What a field holds now; None where it stays as it is. `at` is which one of its number it is."""
    plain, masked = pair
    if field.form == "map":
        return _entry(field.of, _bytes(value), plain, masked)
    if field.form == "list":
        plain, masked = _element(plain, masked, at)
    return None if masked is plain else _value(field.of, value, plain, masked)


def _entry(of: str, data: bytes, plain: Any, masked: Any) -> bytes | None:
    """An entry of a map: its key in field 1, its value in field 2. None where it stays as it is."""
    _require_same_keys(plain, masked)
    found = {number: (_bytes(value), data[begin:end]) for number, _, value, begin, end in located(data) if number == 1}
    content, written = found.get(1, (b"", b""))
    key = content.decode()
    if plain.get(key) is masked.get(key):
        return None
    values = [value for number, _, value, _, _ in located(data) if number == 2]
    return written + sized(2, _value(of, values[0] if values else b"", plain[key], masked[key]))


def _value(of: str, value: int | bytes, plain: Any, masked: Any) -> bytes:
    """The content of a value that is shown as another one."""
    if of in MESSAGES:
        return _written(of, _bytes(value), plain, masked)
    if of.startswith("list:"):
        return _list(of.removeprefix("list:"), _bytes(value), plain, masked)
    if of in ("raw", "fields"):
        ((_, _, content, _, _),) = located(_bytes(value))
        return sized(1, json_changed(_bytes(content), plain, masked))
    if not isinstance(masked, str) or not isinstance(plain, str | int) or isinstance(plain, bool):
        raise NotInProtobuf(f"a {of} of it is masked, which has no text in protobuf")
    match of:
        case "string":
            return masked.encode()
        case "bytes":
            return _decoded(masked)
        case "quantity":
            return sized(1, masked.encode())
        case "intorstring":
            return _IS_TEXT + sized(3, masked.encode())
        case _:
            raise NotInProtobuf(f"a {of} of it is masked, which has no text in protobuf")


def _list(of: str, data: bytes, plain: Any, masked: Any) -> bytes:
    parts = []
    for at, (number, _, value, begin, end) in enumerate(located(data)):
        one, other = _element(plain, masked, at)
        parts.append(data[begin:end] if other is one else sized(number, _value(of, value, one, other)))
    return b"".join(parts)


def json_changed(data: bytes, plain: Any, masked: Any) -> bytes:
    """JSON within a message: `plain` is what was read of it. All that is not masked stays byte for byte."""
    if masked is plain:
        return data
    body = data.strip(WHITESPACE)
    if isinstance(plain, dict) and isinstance(masked, dict) and plain.keys() == masked.keys():
        spans = members_of(body)
        pairs = [(spans[key], plain[key], masked[key]) for key in plain]
    elif isinstance(plain, list) and isinstance(masked, list) and len(plain) == len(masked):
        pairs = list(zip(elements_of(body), plain, masked, strict=True))
    else:
        return orjson.dumps(masked)
    changed = [(span, json_changed(body[slice(*span)], old, new)) for span, old, new in pairs if new is not old]
    before = len(data) - len(data.lstrip(WHITESPACE))
    return data[:before] + spliced(body, sorted(changed)) + data[before + len(body) :]


def _element(plain: Any, masked: Any, at: int) -> tuple[Any, Any]:
    if not isinstance(masked, list) or len(masked) != len(plain):
        raise NotInProtobuf("a list of it is masked as a whole")
    return plain[at], masked[at]


def _require_same_keys(plain: Any, masked: Any) -> None:
    if not isinstance(masked, dict) or masked.keys() != plain.keys():
        raise NotInProtobuf("a part of it is masked as a whole")


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise NotInProtobuf("a number of it is masked")
    return value


def _decoded(masked: str) -> bytes:
    try:
        return base64.b64decode(masked, validate=True)
    except (binascii.Error, ValueError):
        raise NotInProtobuf("bytes of it are masked as the text that JSON has for them") from None
