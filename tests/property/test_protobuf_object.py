"""Laws of objects in protobuf: what is written is read, in whatever order, and damage is refused or read."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrowgate.core.malformed import Malformed
from narrowgate.wire.kubernetes_kinds import KINDS, MESSAGES
from narrowgate.wire.protobuf import MAGIC, BrokenProtobuf
from narrowgate.wire.protobuf_object import read_object

BOUNDED = settings(max_examples=150, deadline=None)
DEPTH = 4
"""Levels of messages that are made; every message of every kind is reached from some kind within them."""

Field = tuple[int, bytes]
Made = tuple[list[Field], dict[str, Any]]
"""The encoded fields of a message, and the JSON that they stand for."""


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def sized(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


text = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=6)


def scalar(number: int, of: str) -> st.SearchStrategy[tuple[bytes, Any]]:
    """One field of a plain type: its bytes, and what JSON has."""
    match of:
        case "string":
            return text.map(lambda value: (sized(number, value.encode()), value))
        case "bytes":
            return st.binary(max_size=6).map(lambda value: (sized(number, value), base64.b64encode(value).decode()))
        case "bool":
            return st.booleans().map(lambda value: (varint(number << 3) + varint(int(value)), value))
        case "int32" | "int64":
            edge = 1 << (31 if of == "int32" else 63)
            return st.integers(-edge, edge - 1).map(lambda value: (varint(number << 3) + varint(value), value))
        case "double":
            doubles = st.floats(allow_nan=False, allow_infinity=False)
            return doubles.map(lambda value: (varint(number << 3 | 1) + struct.pack("<d", value), value))
        case "quantity":
            return text.map(lambda value: (sized(number, sized(1, value.encode())), value))
    raise LookupError(of)


SCALARS = {"string", "bytes", "bool", "int32", "int64", "double", "quantity"}


@st.composite
def message(draw: st.DrawFn, name: str, depth: int = DEPTH) -> Made:
    """Some fields of a message."""
    fields: list[Field] = []
    json: dict[str, Any] = {}
    usable = [each for each in MESSAGES[name] if each[1] and (each[3] in SCALARS or (each[3] in MESSAGES and depth))]
    if not usable:
        return fields, json
    for number, key, form, of in draw(st.lists(st.sampled_from(usable), max_size=4, unique_by=lambda each: each[0])):
        count = 1 if form in ("one", "filled") else draw(st.integers(1, 2))
        values = [draw(one_of(number if form != "map" else 2, of, depth)) for _ in range(count)]
        if form in ("one", "filled"):
            json[key] = values[0][1]
        elif form == "list":
            json[key] = [value for _, value in values]
        else:
            json[key] = {f"key-{index}": value for index, (_, value) in enumerate(values)}
            values = [
                (sized(number, sized(1, f"key-{index}".encode()) + raw), value)
                for index, (raw, value) in enumerate(values)
            ]
        fields += [(number, raw) for raw, _ in values]
    return fields, json


@st.composite
def one_of(draw: st.DrawFn, number: int, of: str, depth: int) -> tuple[bytes, Any]:
    if of in SCALARS:
        return draw(scalar(number, of))
    fields, json = draw(message(of, depth - 1))
    return sized(number, b"".join(raw for _, raw in fields)), json


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, Made]:
    kind = draw(st.sampled_from(sorted(KINDS)))
    return kind, draw(message(KINDS[kind]))


def enveloped(kind: str, raw: bytes) -> bytes:
    version, _, name = kind.rpartition("/")
    return MAGIC + sized(1, sized(1, version.encode()) + sized(2, name.encode())) + sized(2, raw)


def read(kind: str, fields: list[Field]) -> dict[str, Any]:
    version, _, name = kind.rpartition("/")
    found = read_object(enveloped(kind, b"".join(raw for _, raw in fields)))
    # Some kinds have fields of these names of their own in other messages, never in the outermost.
    assert (found.pop("apiVersion"), found.pop("kind")) == (version, name)
    return found


def read_or_refusal(data: bytes) -> dict[str, Any] | int:
    """The object, or the code of the refusal."""
    try:
        return read_object(data)
    except Malformed as refusal:
        return refusal.code


@BOUNDED
@given(objects())
def test_what_is_written_is_read(made: tuple[str, Made]) -> None:
    kind, (fields, json) = made
    assert read(kind, fields) == json


@BOUNDED
@given(objects(), st.randoms(use_true_random=False))
def test_the_order_of_different_fields_never_matters(made: tuple[str, Made], source: Any) -> None:
    kind, (fields, _) = made
    numbers = sorted({number for number, _ in fields})
    source.shuffle(numbers)
    # The items of one list keep their order; only whole fields change places.
    shuffled = [each for number in numbers for each in fields if each[0] == number]
    assert read(kind, shuffled) == read(kind, fields)


@BOUNDED
@given(objects(), st.data())
def test_a_field_that_is_there_twice_is_refused_unless_it_repeats(made: tuple[str, Made], data: st.DataObject) -> None:
    kind, (fields, _) = made
    single = {number for number, key, form, _ in MESSAGES[KINDS[kind]] if form in ("one", "filled") and key}
    chosen = [each for each in fields if each[0] in single]
    if not chosen:
        return
    with pytest.raises(BrokenProtobuf):
        read(kind, [*fields, data.draw(st.sampled_from(chosen))])


@BOUNDED
@given(objects(), st.integers(0, 5000), st.integers(0, 255), st.integers(0, 3))
def test_damage_is_refused_or_read_and_never_anything_else(
    made: tuple[str, Made], at: int, byte: int, dropped: int
) -> None:
    kind, (fields, _) = made
    data = enveloped(kind, b"".join(raw for _, raw in fields))
    at %= len(data)
    found = read_or_refusal(data[:at] + bytes([byte]) + data[at + dropped :])
    assert found in (400, 415) or isinstance(found["kind"], str)  # type: ignore[index]


@BOUNDED
@given(objects(), st.integers(1, 5000))
def test_a_message_that_is_cut_short_is_never_read_as_the_whole(made: tuple[str, Made], cut: int) -> None:
    kind, (fields, json) = made
    data = enveloped(kind, b"".join(raw for _, raw in fields))
    cut = 1 + cut % len(data)
    found = read_or_refusal(data[:-cut])
    # Where it is read, only what stands behind the type is missing, and then the object has no fields at all.
    assert found in (400, 415) or not json or set(found) == {"apiVersion", "kind"}  # type: ignore[arg-type]
