"""Writes by those for whom something is masked: what they were shown is put back, and what they were not stays hidden.

A masked value in a write becomes what it stands for, read with the caller's own rights, where that is possible
(`core.masking.write_back`); the write is then bound to the version of the object that was read. Everything else with a
masked value in it is refused, with the field's name: nothing masked is ever stored. A patch that could have a value
shown without knowing it is held against the object, too (`core.masking.patched`).

What people are asked about, and what the record keeps, is the write as it was sent: nothing that was put back is in
either, or in a refusal.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
import orjson

from narrowgate.core.body import JSON, MERGE_PATCH, PROTOBUF, must_read_body
from narrowgate.core.decision import RuleRef
from narrowgate.core.documents import parse_json, parse_yaml
from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.built_in import is_known
from narrowgate.core.masking.choosing import MaskChoice
from narrowgate.core.masking.masked_value import MAY_HOLD, masked_in
from narrowgate.core.masking.patched import (
    Lists,
    Patched,
    apply_merge,
    apply_operations,
    merge_may_show,
    operations_may_show,
)
from narrowgate.core.masking.write_back import MaskedValue, There, first_difference, masked_values, put_back
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.status import CAUSE_INVALID, Cause, Status, invalid, one_line
from narrowgate.core.target import Target
from narrowgate.proxy.exchange import Exchange, Understood
from narrowgate.proxy.look import JSON_PATCH, Look, masks_of, object_target, pinned, right_to_read
from narrowgate.proxy.masking import Masking
from narrowgate.wire.protobuf_object import read_object

TOLD_FIELDS: Final = 5
"""Fields that a refusal names in its message; all of them, up to TOLD_CAUSES, are among its causes."""
TOLD_CAUSES: Final = 50

_MAY_HOLD: Final = re.compile(rb"\\|\n|" + MAY_HOLD.pattern)
"""What any body with a masked value has in it: the word, also in base64, or what may divide it (escapes, line ends)."""

NEVER_STORED: Final = "a masked value is never stored: leave the field out, or give it a new value"
NEVER_SHOWN: Final = "write the whole value with what it is masked by"


class MaskedWrite(Exception):
    """A write holds masked values that cannot be put back, or would have some shown: 422, naming each field."""

    def __init__(self, intent: Intent, fields: tuple[MaskedValue, ...], why: str) -> None:
        told = ", ".join(one.field for one in fields[:TOLD_FIELDS])
        more = f" and {len(fields) - TOLD_FIELDS} more" if len(fields) > TOLD_FIELDS else ""
        self.message = f"{told}{more}: {why}"
        super().__init__(self.message)
        self._intent = intent
        self._fields = fields
        self._why = why

    @property
    def status(self) -> Status:
        """What the sender is told. Of a 422 kubectl prints the causes alone."""
        causes = tuple(
            Cause(
                reason=CAUSE_INVALID,
                message=one_line(f"{one.masked}: {self._why}" if one.masked else self._why),
                field=one_line(one.field),
            )
            for one in self._fields[:TOLD_CAUSES]
        )
        return invalid(self._intent.info, self.message, causes)


class Settled(msgspec.Struct, frozen=True):
    """A write as it may be sent."""

    body: bytes | None
    is_put_back: bool = False
    """Whether something is in it that its sender does not know: it is judged anew."""


class WriteBack:
    """Settles writes. Keeps nothing between them."""

    def __init__(self, masking: Masking) -> None:
        self._masking = masking

    async def settled(
        self, exchange: Exchange, who: Chain, what: Understood, body: bytes | None, covering: RuleRef | None
    ) -> Settled:
        """The body as it may be sent on; `body` is the sender's, maybe bound to a version by now.

        `covering` is what allows the write; None where that is not known yet: then only masked values are looked for.

        Raises MaskedWrite, Malformed (409 where the object is another by now, 415), and what asking the cluster raises.
        """
        info = what.intent.info
        if not body:
            return Settled(body)
        for key, value in what.target.query:
            if masked := masked_in(value):
                raise _unstorable(what, (MaskedValue(f"the parameter {key}", masked),), "it is no text")
        if not must_read_body(info):
            return Settled(body)
        form = form_of(exchange)
        found = _masked_in(form, body)
        if not found and not _may_show(form, body, info):
            return Settled(body)
        write = _Write(self._masking, exchange, who, what, form)
        if found:
            return Settled(await write.put_back(body, found), is_put_back=True)
        return Settled(await write.held_against(body, covering))


class _Write:
    """One write that must be held against the object that it changes."""

    def __init__(self, masking: Masking, exchange: Exchange, who: Chain, what: Understood, form: str) -> None:
        self._masking = masking
        self._exchange = exchange
        self._who = who
        self._what = what
        self._form = form

    async def put_back(self, body: bytes, found: tuple[MaskedValue, ...]) -> bytes:
        """The body with its masked values put back. Raises MaskedWrite where one of them cannot be."""
        what, info = self._what, self._what.intent.info
        if info.verb not in ("update", "patch") or not info.name:
            raise _unstorable(what, found, "this write has no object to put it back from")
        if self._form == PROTOBUF:
            raise Malformed(f"{found[0].field} is masked, and put back in JSON alone: send {JSON}", 415)
        right = right_to_read(self._who, what)
        if right is None:
            raise _unstorable(what, found, f"{self._who[-1]} may not get the object to put it back from")
        allowed, target = right
        now = await self._read(allowed.rule, target)
        if now is None:
            raise _unstorable(what, found, "the cluster shows no such object to put it back from")
        there = self._there(allowed.masks, now)
        bound = pinned(self._form, body, now)
        if info.verb == "update":
            back = put_back(_document(self._form, bound), there)
            self._require(back.left, There(_document(self._form, bound), back.document), allowed.masks, now)
            return orjson.dumps(back.document)
        patched = self._patched(bound, there)
        self._require_patched(patched, allowed.masks, now)
        return orjson.dumps(patched.patch)

    async def held_against(self, body: bytes, covering: RuleRef | None) -> bytes:
        """The body of a patch without masked values. Raises MaskedWrite where it would have something shown."""
        what = self._what
        right = right_to_read(self._who, what)
        masks = right[0].masks if right is not None else masks_of(self._who, what)
        rule, target = (right[0].rule, right[1]) if right is not None else (covering, object_target(what.target))
        if masks is None or rule is None:
            return body
        now = await self._read(rule, target)
        if now is None:
            # There is nothing yet that could be shown, or the cluster shows it to nobody who sends this.
            return body
        there = self._there(masks, now)
        if there.shown is there.now:
            return body
        bound = pinned(self._form, body, now)
        self._require_patched(self._patched(bound, there), masks, now)
        return bound

    async def _read(self, rule: RuleRef, target: Target) -> Any:
        """The object as it is; None where the cluster shows none."""
        code, answer = await Look(self._exchange, self._who, self._what, rule, self._masking).ask(
            "GET", target, b"", b""
        )
        return parse_json(answer) if code == 200 else None

    def _there(self, masks: MaskChoice | None, now: Any) -> There:
        return There(self._masking.shown(masks, now, now, self._what.intent.cluster), now)

    def _patched(self, bound: bytes, there: There) -> Patched:
        patch = _document(self._form, bound)
        if self._form == JSON_PATCH:
            return apply_operations(patch, there)
        return apply_merge(patch, there, whole_lists=self._form == MERGE_PATCH)

    def _require_patched(self, patched: Patched, masks: MaskChoice | None, now: Any) -> None:
        if patched.problem:
            fields = (MaskedValue(patched.field, ""),)
            raise MaskedWrite(self._what.intent, fields, f"{patched.problem}: {NEVER_SHOWN}")
        self._require(patched.left, patched.result, masks, now)

    def _require(self, left: tuple[MaskedValue, ...], result: There, masks: MaskChoice | None, now: Any) -> None:
        """Raise MaskedWrite unless all was put back, and is masked for the sender where it is now."""
        if left:
            raise _unstorable(self._what, left, "it is not what is masked at this place now")
        cluster = self._what.intent.cluster
        one, other = (self._masking.shown(masks, document, now, cluster) for document in (result.shown, result.now))
        field = first_difference(one, other)
        if field is not None:
            fields = (MaskedValue(field or "the object", ""),)
            raise MaskedWrite(self._what.intent, fields, f"it is masked, and would be shown: {NEVER_SHOWN}")


def _unstorable(what: Understood, found: tuple[MaskedValue, ...], why: str) -> MaskedWrite:
    return MaskedWrite(what.intent, found, f"{why}, and {NEVER_STORED}")


def _masked_in(form: str, body: bytes) -> tuple[MaskedValue, ...]:
    if _MAY_HOLD.search(body) is None:
        return ()
    document = _document(form, body)
    # Written anew nothing is escaped but line ends: most bodies are done with here.
    if MAY_HOLD.search(orjson.dumps(document).replace(b"\\n", b"").replace(b"\\r", b"")) is None:
        return ()
    return tuple(masked_values(document))


def _may_show(form: str, body: bytes, info: RequestInfo) -> bool:
    """Whether a write without masked values could have something shown: no update can, all of it is in there."""
    if info.verb != "patch" or not info.name:
        return False
    patch = _document(form, body)
    if form == JSON_PATCH:
        return operations_may_show(patch)
    lists = Lists.NAMED if is_known(info.api_group, info.resource) else Lists.ANY
    return merge_may_show(patch, Lists.WHOLE if form == MERGE_PATCH else lists)


def _document(form: str, body: bytes) -> Any:
    """The body as values. Raises Malformed as whoever read it before has."""
    if form == PROTOBUF:
        return read_object(body)
    return parse_yaml(body) if form.endswith("yaml") else parse_json(body)


def body_of(exchange: Exchange) -> Any:
    """What was sent as values. Raises Malformed."""
    return _document(form_of(exchange), exchange.body)


def form_of(exchange: Exchange) -> str:
    """The media type of the body; JSON where none is said."""
    content_type = exchange.head.fields.get(b"content-type", b"").decode("latin-1")
    return content_type.partition(";")[0].strip().lower() or JSON
