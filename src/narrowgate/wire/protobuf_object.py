"""A Kubernetes object in protobuf as the JSON object that it is: what rules look at, whatever the client sends.

kubectl and client-go send their built-in kinds as protobuf. `kubernetes_kinds.py` holds the fields of each kind, made
from Kubernetes' own struct tags; a field that is not in it (a newer API) cannot be judged, so the object is refused
and the client told to send JSON. Times and quantities come out as text, bytes as base64, as encoding/json writes them.
"""

from __future__ import annotations

import base64
import enum
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import msgspec

from narrowgate.core.documents import parse_json
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.plan import Arguments, Place
from narrowgate.wire.kubernetes_kinds import KINDS, MESSAGES
from narrowgate.wire.protobuf import BYTES, FIXED64, VARINT, BrokenProtobuf, fields, read_envelope

MAX_DEPTH: Final = 64
"""Nesting of messages; Kubernetes' own kinds end below 20, schemas of CRDs nest as deep as people write them."""

FIELDS_IN_ALL: Final = 100_000
"""Fields that one object may have. The largest CRDs have some 40,000; this many keep the event loop for 120 ms."""

MOST_NANOSECONDS: Final = 999_999_999


class UnknownField(Malformed):
    """The object holds something this gate has no name for, so it cannot be judged in protobuf."""

    def __init__(self, what: str) -> None:
        super().__init__(f"protobuf {what} is not known to this gate: send application/json", 415)
        self.problem = f"protobuf {what} is not known to this gate"
        """What is wrong, for those who read it from elsewhere than a request."""


class Skipped(enum.Enum):
    """Stands for a part that nobody asks for."""

    SKIPPED = "skipped"


SKIPPED: Final = Skipped.SKIPPED

Wanted = Place | None
"""What of a part is read: what a mask may look at from this place on, or all of it."""


class Walk:
    """One object's reading: counts its fields, so that none takes the event loop for long."""

    __slots__ = ("_left", "as_json")

    def __init__(self, *, as_json: bool = False) -> None:
        """`as_json` leaves out what JSON leaves out where it is empty."""
        self._left = FIELDS_IN_ALL
        self.as_json: Final = as_json

    def fields(self, message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
        """See `protobuf.fields`. Raises BrokenProtobuf beyond the limit, too."""
        for found in fields(message):
            self._left -= 1
            if self._left < 0:
                raise BrokenProtobuf(f"it has more than {FIELDS_IN_ALL} fields")
            yield found


_WIRE_TYPES: Final = {"int32": VARINT, "int64": VARINT, "bool": VARINT, "double": FIXED64}


class Field(msgspec.Struct, frozen=True):
    """One field of a message (`kubernetes_kinds.MESSAGES`)."""

    name: str
    form: str
    of: str
    wire_type: int
    """How it is written (a list of numbers one by one, not packed)."""
    repeats: bool
    """Whether it may be there several times."""
    is_list: bool
    """Whether it is a list in JSON."""
    is_message: bool
    """Whether it is a message by itself, or a list of such."""


def read_object(data: bytes) -> dict[str, Any]:
    """The object in a Kubernetes protobuf envelope, as plain JSON values.

    Raises BrokenProtobuf (400) for bytes that cannot be read in one way only, UnknownField (415) for kinds and fields
    that are not known.
    """
    envelope = read_envelope(data)
    message = KINDS.get(f"{envelope.api_version}/{envelope.kind}")
    if message is None:
        raise UnknownField(f"{envelope.api_version[:100]}/{envelope.kind[:100]}")
    found = {"apiVersion": envelope.api_version, "kind": envelope.kind}
    _read_into(found, message, envelope.raw, Walk(), 0, None)
    return found


def read_part(message: str, data: bytes, place: Place, walk: Walk | None = None) -> dict[str, Any]:
    """What masks look at of a message from `place` on, as encoding/json would write it: what is empty and left out
    there is left out here. What no mask looks at is not read, and may be anything. With a `walk`, messages that stand
    directly in it and have a place of their own (`place_below`) are left to whoever goes on to them.

    Raises BrokenProtobuf and UnknownField as `read_object` does, as far as it reads.
    """
    found: dict[str, Any] = {}
    _read_into(found, message, data, walk or _Deep(as_json=True), 0, place)
    return found


class _Deep(Walk):
    """A walk that leaves nothing to anybody else."""


@cache
def fields_of(message: str) -> dict[int, Field]:
    """The fields of a message by their numbers. Raises KeyError for none of Kubernetes'."""
    return {
        number: Field(
            name,
            form,
            of,
            wire_type=BYTES if form == "map" else _WIRE_TYPES.get(of, BYTES),
            repeats=form in ("map", "list"),
            is_list=form == "list" or of.startswith("list:"),
            is_message=of in MESSAGES and form != "map",
        )
        for number, name, form, of in MESSAGES[message]
    }


def _read_into(found: dict[str, Any], message: str, data: bytes, walk: Walk, depth: int, place: Wanted) -> None:
    if depth > MAX_DEPTH:
        raise BrokenProtobuf("it is nested too deeply")
    place = all_or(place)
    is_left = place is not None and depth == 0 and not isinstance(walk, _Deep)
    known = fields_of(message)
    seen: set[int] = set()
    for number, wire_type, value in walk.fields(data):
        field = known.get(number)
        if field is None:
            raise UnknownField(f"field {number} of {message}")
        if number in seen:
            # Go's readers let a second one win or merge it into the first; here there is one.
            raise BrokenProtobuf(f"field {number} of {message} is there twice")
        if not field.repeats:
            seen.add(number)
        if wire_type != field.wire_type:
            raise BrokenProtobuf(f"field {number} of {message} has the wrong type")
        below = place_below(place, field)
        if below is not SKIPPED and not (is_left and below is not None and field.is_message and field.name):
            _read_field(found, field, (wire_type, value), walk, depth, below)


def _read_field(
    found: dict[str, Any], field: Field, raw: tuple[int, int | bytes], walk: Walk, depth: int, place: Wanted
) -> None:
    if not field.name:
        _read_into(found, field.of, _bytes(*raw), walk, depth, place)
    elif field.form == "map":
        _read_entry(found.setdefault(field.name, {}), field.of, _bytes(*raw), walk, depth, place)
    elif field.form == "list":
        found.setdefault(field.name, []).append(_value(field.of, *raw, walk, depth, place))
    elif not (walk.as_json and field.form == "filled" and _is_empty(*raw)):
        found[field.name] = _value(field.of, *raw, walk, depth, place)


def all_or(place: Wanted) -> Wanted:
    """The place, unless what a mask looks at there cannot be told without all of it."""
    if place is None or place.hides is not None or place.by_name or place.forgets:
        return None
    return place


def place_below(place: Wanted, field: Field) -> Wanted | Skipped:
    """What is wanted of a field, or of each element of a list."""
    if place is None or not field.name:
        return place
    child = place.child(field.name)
    if child is None:
        return SKIPPED
    if not field.is_list:
        return child
    if child.hides is not None or isinstance(child.text, Arguments):
        return None
    return child.element or SKIPPED


def _is_empty(wire_type: int, value: int | bytes) -> bool:
    return not value or (wire_type == FIXED64 and value == bytes(8))


def _read_entry(found: dict[str, Any], of: str, data: bytes, walk: Walk, depth: int, place: Wanted) -> None:
    """One entry of a map: key in field 1, value in field 2, either left out where it is empty."""
    raw: dict[int, tuple[int, int | bytes]] = {}
    for number, wire_type, value in walk.fields(data):
        if number in raw or number not in (1, 2):
            raise BrokenProtobuf("an entry of a map has more than a key and a value")
        raw[number] = wire_type, value
    key = _string(*raw[1]) if 1 in raw else ""
    if key in found:
        raise BrokenProtobuf("a map has a key twice")
    place = all_or(place)
    below = None if place is None else place.child(key) or SKIPPED
    if below is SKIPPED:
        return
    if 2 in raw:
        found[key] = _value(of, *raw[2], walk, depth, below)
    else:
        found[key] = _EMPTY[of] if of in _EMPTY else _value(of, BYTES, b"", walk, depth, below)


_EMPTY: Final[dict[str, Any]] = {"string": "", "bytes": "", "int32": 0, "int64": 0, "bool": False}


def _value(of: str, wire_type: int, value: int | bytes, walk: Walk, depth: int, place: Wanted) -> Any:
    read = _SCALARS.get(of)
    if read is not None:
        return read(wire_type, value)
    if of == "unread":
        raise UnknownField("of this type")
    data = _bytes(wire_type, value)
    if of.startswith("list:"):
        items = walk.fields(data)
        return [_value(of[5:], inner, raw, walk, depth + 1, place) for number, inner, raw in items if _is_items(number)]
    special = _SPECIALS.get(of)
    if special is not None:
        return special(data)
    found: dict[str, Any] = {}
    _read_into(found, of, data, walk, depth + 1, place)
    return found


def _is_items(number: int) -> bool:
    if number != 1:
        raise UnknownField(f"field {number} of a list")
    return True


def _bytes(wire_type: int, value: int | bytes) -> bytes:
    if wire_type != BYTES or not isinstance(value, bytes):
        raise BrokenProtobuf("a field has the wrong type")
    return value


def _string(wire_type: int, value: int | bytes) -> str:
    try:
        return _bytes(wire_type, value).decode()
    except UnicodeDecodeError as error:
        raise BrokenProtobuf("text in it is not UTF-8") from error


def _base64(wire_type: int, value: int | bytes) -> str:
    return base64.b64encode(_bytes(wire_type, value)).decode()


def _integer(wire_type: int, value: int | bytes) -> int:
    if wire_type != VARINT or not isinstance(value, int):
        raise BrokenProtobuf("a number has the wrong type")
    return value - (1 << 64) if value >= 1 << 63 else value


def _integer32(wire_type: int, value: int | bytes) -> int:
    """A 32-bit number. Go's readers cut a larger one down to 32 bits; here there is nothing to cut."""
    number = _integer(wire_type, value)
    if not -(1 << 31) <= number < 1 << 31:
        raise BrokenProtobuf("a number has more than 32 bits")
    return number


def _boolean(wire_type: int, value: int | bytes) -> bool:
    return _integer(wire_type, value) != 0


def _double(wire_type: int, value: int | bytes) -> float:
    if wire_type != FIXED64 or not isinstance(value, bytes):
        raise BrokenProtobuf("a number has the wrong type")
    number: float = struct.unpack("<d", value)[0]
    return number


_SCALARS: Final[dict[str, Callable[[int, int | bytes], Any]]] = {
    "string": _string,
    "bytes": _base64,
    "int32": _integer32,
    "int64": _integer,
    "bool": _boolean,
    "double": _double,
}


def _numbered(data: bytes, limit: int) -> dict[int, tuple[int, int | bytes]]:
    """The fields of a small message by number, each at most once and none above `limit`."""
    found: dict[int, tuple[int, int | bytes]] = {}
    for number, wire_type, value in fields(data):
        if number in found or number > limit:
            raise BrokenProtobuf("a field is there twice, or unknown")
        found[number] = (wire_type, value)
    return found


def _moment(data: bytes, digits: int) -> str | None:
    """Seconds in field 1, nanoseconds in 2 (metav1.Timestamp); an empty message is the zero time: null.

    A Time drops its nanoseconds, a MicroTime what is less than a microsecond (apis/meta/v1/time_proto.go).
    """
    found = _numbered(data, 2)
    seconds = _integer(*found[1]) if 1 in found else 0
    nanos = _integer32(*found[2]) if 2 in found else 0
    if not data:
        return None
    if not 0 <= nanos <= MOST_NANOSECONDS:
        raise BrokenProtobuf("a time has more nanoseconds than a second")
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise BrokenProtobuf("a time is out of range") from None
    return moment.isoformat(timespec="microseconds" if digits else "seconds").replace("+00:00", "Z")


def _quantity(data: bytes) -> str:
    found = _numbered(data, 1)
    return _string(*found[1]) if found else "0"


def _int_or_string(data: bytes) -> int | str:
    """Kind in field 1 (1 is text), number in 2, text in 3 (k8s.io/apimachinery/pkg/util/intstr)."""
    found = _numbered(data, 3)
    if 1 in found and _integer(*found[1]) == 1:
        return _string(*found[3]) if 3 in found else ""
    return _integer32(*found[2]) if 2 in found else 0


def _json_inside(data: bytes) -> Any:
    """A message that holds JSON in its field 1 (RawExtension, FieldsV1)."""
    found = _numbered(data, 1)
    if not found:
        return None
    try:
        return parse_json(_bytes(*found[1]))
    except Malformed:
        raise UnknownField("of an embedded object") from None


def _duration(data: bytes) -> str:
    found = _numbered(data, 1)
    nanos = _integer(*found[1]) if found else 0
    return f"{nanos / 1_000_000_000:.9f}".rstrip("0").rstrip(".") + "s"


_SPECIALS: Final[dict[str, Callable[[bytes], Any]]] = {
    "time": lambda data: _moment(data, 0),
    "microtime": lambda data: _moment(data, 6),
    "duration": _duration,
    "quantity": _quantity,
    "intorstring": _int_or_string,
    "raw": _json_inside,
    "fields": _json_inside,
}
