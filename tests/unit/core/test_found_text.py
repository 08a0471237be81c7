"""A request with the place in its recording, as programs read it."""

from __future__ import annotations

import msgspec

from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.found_text import FoundText, found_entry


def entry() -> AuditEntry:
    fields = {field.name: field.type for field in msgspec.structs.fields(AuditEntry)}
    return AuditEntry(**{name: 0 if kind is int else () if name == "chain" else name for name, kind in fields.items()})


def test_without_a_place_it_is_written_as_it_was() -> None:
    assert msgspec.json.encode(found_entry(entry(), None)) == msgspec.json.encode(entry())


def test_a_place_is_one_word_more() -> None:
    place = FoundText(seconds=1.5, stream="output", line="a line")
    written = msgspec.to_builtins(found_entry(entry(), place))
    assert written.pop("recorded") == {"seconds": 1.5, "stream": "output", "line": "a line"}
    assert written == msgspec.to_builtins(entry())
