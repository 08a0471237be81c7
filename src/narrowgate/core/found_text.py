"""A request of the record together with where its recording holds a text that was looked for."""

from __future__ import annotations

import msgspec

from narrowgate.core.audit_entry import AuditEntry


class FoundText(msgspec.Struct, frozen=True, kw_only=True):
    """Where a recording holds a text for the first time."""

    seconds: float
    """Since the session began, a tenth of a second early at most: `narrowgate sessions replay --from` begins there."""
    stream: str
    """`output`, `errors`, `input`."""
    line: str
    """What stands around it, as it was recorded (what was masked is masked), without colours and movements."""


class FoundEntry(AuditEntry, frozen=True, kw_only=True, rename="camel"):
    """A request, and what was found in its recording where a search looked there."""

    recorded: FoundText | msgspec.UnsetType = msgspec.UNSET


def found_entry(entry: AuditEntry, text: FoundText | None) -> FoundEntry:
    """The request with what was found in its recording, if anything was looked for there."""
    fields = {name: getattr(entry, name) for name in AuditEntry.__struct_fields__}
    return FoundEntry(**fields, recorded=msgspec.UNSET if text is None else text)
