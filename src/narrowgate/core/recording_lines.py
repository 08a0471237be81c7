"""Recordings as lines of JSON, for people's own programs: one object for each entry, nothing lost.

    {"at":1.6,"type":"channelData","channel":"stdout","text":"README\\r\\n"}

`at` is in seconds since the beginning. Bytes are `text` where they are UTF-8, else `base64`: a character that was cut
in two by the network is in two lines of base64.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from enum import Enum
from typing import Any, get_args

import msgspec

from narrowgate.core.recording import LATEST, Entry, What

_MICROSECONDS = 1_000_000

_NAMES: dict[type[What], str] = {kind: kind.__name__[0].lower() + kind.__name__[1:] for kind in get_args(What)}
_KINDS = {name: kind for kind, name in _NAMES.items()}
_BYTES = {"data", "message"}
"""Fields that can hold bytes."""


class NoEntry(Exception):
    """A line is not one that a recording becomes; the message says what is wrong with it."""


def line_of(entry: Entry) -> bytes:
    """The entry as one line, without its line break."""
    document: dict[str, Any] = {"at": entry.at / _MICROSECONDS, "type": _NAMES[type(entry.what)]}
    for field in entry.what.__struct_fields__:
        value = getattr(entry.what, field)
        if isinstance(value, bytes):
            document |= _readable(value)
        else:
            document[field] = value.value if isinstance(value, Enum) else value
    return msgspec.json.encode(document)


def entry_of(line: bytes) -> Entry:
    """The entry that a line says. Raises NoEntry."""
    try:
        document = msgspec.json.decode(line, type=dict[str, Any])
        at, kind = round(document.pop("at") * _MICROSECONDS), _KINDS[document.pop("type")]
        for field in _BYTES & {field for field in kind.__struct_fields__ if kind.__annotations__[field] == "bytes"}:
            document[field] = _bytes(document)
        unknown = document.keys() - set(kind.__struct_fields__)
        if unknown or not 0 <= at < LATEST:
            raise NoEntry(f"unknown or impossible: {', '.join(sorted(unknown)) or at}")
        return Entry(at, msgspec.convert(list(_in_order(kind, document)), kind))
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, KeyError, TypeError, ValueError) as error:
        raise NoEntry(f"no line of a recording: {error}") from error


def _in_order(kind: Any, document: dict[str, Any]) -> list[Any]:
    """Entries are arrays where they are stored: their tag, then their fields as they were numbered."""
    return [kind.__struct_config__.tag, *(document[field] for field in kind.__struct_fields__)]


def _readable(value: bytes) -> dict[str, str]:
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def _bytes(document: dict[str, Any]) -> bytes:
    if "text" in document:
        return str(document.pop("text")).encode()
    return b64decode(document.pop("base64"), validate=True)
