"""Writes with masked values in them: refused, and nothing masked is ever stored."""

from __future__ import annotations

import re
from typing import Any, Final

from narrowgate.core.body import JSON, PROTOBUF, must_read_body
from narrowgate.core.documents import parse_json, parse_yaml
from narrowgate.core.intent import Intent
from narrowgate.core.masking.masked_value import masked_in
from narrowgate.core.masking.write_back import MaskedValue, masked_values
from narrowgate.core.status import CAUSE_INVALID, Cause, Status, invalid
from narrowgate.proxy.exchange import Exchange, Understood, is_bare
from narrowgate.wire.protobuf_object import read_object

TOLD_FIELDS: Final = 5
"""Fields that a refusal names in its message; all of them, up to TOLD_CAUSES, are among its causes."""
TOLD_CAUSES: Final = 50

_MAY_HOLD: Final = re.compile(rb"masked:|\\|bWFza2Vk|1hc2tlZD|tYXNrZWQ6|\n")
"""What any body with a masked value has in it: the word, also in base64, or what may divide it (escapes, line ends)."""


class MaskedWrite(Exception):
    """A write holds masked values that cannot be put back: 422, naming each field."""

    def __init__(self, intent: Intent, found: tuple[MaskedValue, ...], why: str) -> None:
        fields = ", ".join(f"{one.field} ({one.masked})" for one in found[:TOLD_FIELDS])
        more = f" and {len(found) - TOLD_FIELDS} more" if len(found) > TOLD_FIELDS else ""
        self.message = (
            f"{fields}{more}: {why}, and a masked value is never stored: leave the field out, or give it a new value"
        )
        super().__init__(self.message)
        self._intent = intent
        self._found = found

    @property
    def status(self) -> Status:
        """What the sender is told."""
        causes = tuple(
            Cause(reason=CAUSE_INVALID, message=f"{one.masked} is a masked value", field=one.field)
            for one in self._found[:TOLD_CAUSES]
        )
        return invalid(self._intent.info, self.message, causes)


def require_unmasked(exchange: Exchange, what: Understood) -> None:
    """Raise MaskedWrite where the request would store something masked."""
    info = what.intent.info
    if is_bare(exchange.head):
        return
    for key, value in what.target.query:
        if masked := masked_in(value):
            raise MaskedWrite(what.intent, (MaskedValue(f"the parameter {key}", masked),), "it is no plain text")
    if not must_read_body(info) or _MAY_HOLD.search(exchange.body) is None:
        return
    found = tuple(masked_values(document_of(exchange)))
    if found:
        raise MaskedWrite(what.intent, found, "it cannot be put back")


def document_of(exchange: Exchange) -> Any:
    """The body as values. Raises Malformed as whoever read it before has."""
    form = form_of(exchange)
    if form == PROTOBUF:
        return read_object(exchange.body)
    return parse_yaml(exchange.body) if form.endswith("yaml") else parse_json(exchange.body)


def form_of(exchange: Exchange) -> str:
    """The media type of the body; JSON where none is said."""
    content_type = exchange.head.fields.get(b"content-type", b"").decode("latin-1")
    return content_type.partition(";")[0].strip().lower() or JSON
