"""The reference engine: a plan carried out over Python values, as JSON was read into them.

What it returns is right by definition: `wire/json_mask` walks bytes, and asks here what becomes of each value it comes
to. A value of which nothing is masked is returned as it was given, the very same object, so that whoever holds its
bytes may keep them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, assert_never

import orjson

from narrowgate.core.documents import parse_json
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.arguments import masked_arguments
from narrowgate.core.masking.built_in import UNREADABLE
from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues
from narrowgate.core.masking.masked_value import ValueMasker, decoded
from narrowgate.core.masking.patterns import ARCHIVE, KNOWN_VALUE, text_patterns
from narrowgate.core.masking.plan import (
    DEPTH_LIMIT,
    EMBEDDED_LIMIT,
    Arguments,
    Embedded,
    Hide,
    Place,
    Plan,
    Prose,
    Scan,
)
from narrowgate.core.masking.status_text import STATUS_VALUE, mask_repeated_values
from narrowgate.core.masking.text import CUT_LENGTH, LINE_LIMIT, mask_text

ARCHIVES: Final = (b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh")
"""How gzip, zip, zstd, xz and bzip2 begin: nothing looks for text in them, so they are hidden whole."""

ENCODED_LENGTH: Final = 24
"""Characters of a text at least that is also looked at as base64, if it could be that."""

_BASE64: Final = re.compile(r"[A-Za-z0-9+/\r\n]+={0,2}[\r\n]*\Z")
_BASE64_BYTES: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}\Z")
_MAY_BE_DOCUMENT: Final = re.compile(rb"[ \x7f-\xff]*[{\[\x7f-\xff]")

TABLE_GROUP: Final = "meta.k8s.io/"


_SCAN: Final = Scan()


class ObjectMasker:
    """Masks values by one plan, under one key, and counts what it masks by rule."""

    __slots__ = ("_absent", "_embedded", "_known", "_patterns", "_values", "counts", "plan")

    def __init__(
        self,
        plan: Plan,
        values: ValueMasker,
        counts: dict[str, int],
        known: KnownValues = NOTHING_KNOWN,
        *,
        are_parts: bool = False,
    ) -> None:
        """`known` counts only where the plan has its rule. `are_parts`: values are parts of objects, as patches are; a
        name or a kind that does not stand in them may be any.
        """
        self._absent: Final = None if are_parts else ""
        self.plan: Final = plan
        self._values: Final = values
        self.counts: Final = counts
        """How many values each rule has masked, added to what was in it."""
        self._patterns: Final = text_patterns(plan.text_rules)
        self._known: Final = known if KNOWN_VALUE in plan.text_rules else NOTHING_KNOWN
        self._embedded = 0

    def mask(self, value: Any, place: Place) -> Any:
        """The value as it leaves, from `place` on; the very same object where nothing of it is masked.

        Raises Malformed where it is nested deeper than DEPTH_LIMIT, or nothing that JSON has.
        """
        return self._value(value, place, 0)

    def leaves(self, written: bytes, place: Place) -> bool:
        """Whether a string, as valid JSON has it, is one of which nothing is masked; False in doubt.

        Says it of most strings, sooner than they could be read. Between the quotes stands the text itself where no
        escape is; so what `mask` would look for is looked for in there: it is no document, no text in base64, and
        neither a pattern nor a known value is in it.
        """
        text = written[1:-1]
        # What stands before a document may be white space of any alphabet.
        if b"\\" in text or not _is_looked_through(place) or _MAY_BE_DOCUMENT.match(text) is not None:
            return False
        if len(text) >= ENCODED_LENGTH and _BASE64_BYTES.match(text) is not None:
            plain = decoded(text.decode())
            if plain != text and _is_text(plain):
                return False
        if self._known and (len(text) >= CUT_LENGTH or self._known.is_in(text)):
            return False
        return len(text) < LINE_LIMIT and self._patterns.is_clean_in_bytes(text)

    def _value(self, value: Any, place: Place, depth: int) -> Any:
        if depth > DEPTH_LIMIT:
            raise _too_deep()
        if place.hides is not None:
            return self._hidden(value, place, place.hides.rule, depth)
        # By type, the most frequent first: this runs for every value of every object.
        kind = type(value)
        if kind is str:
            return self._string(value, place)
        if kind is dict:
            return self._object(value, place, depth)
        if kind is list:
            return self._list(value, place, depth)
        if value is None or kind is bool:
            return value
        if kind is int or kind is float:
            return (
                self._replaced(place.text.rule, value, encoded=place.encoded) if isinstance(place.text, Hide) else value
            )
        raise _no_json(value)

    def _object(self, value: dict[str, Any], place: Place, depth: int) -> Any:
        for forget in place.forgets:
            told = [key for key in value if forget.tells(key)]
            if forget.texts and any(self._is_found_in_key(key) for key in told):
                return {}
            if told and not forget.texts:
                self._count(forget.rule)
                return {}
        if place.by_name:
            name, kind = value.get("name", self._absent), value.get("kind", self._absent)
            named = place.named(name if isinstance(name, str) else None, kind if isinstance(kind, str) else None)
            if named is None:
                return value
            place = named
        exact = place.exact
        keys = value if exact is None else [key for key in exact if key in value]
        changed: dict[str, Any] = {}
        for key in keys:
            below = place.child(key)
            if below is not None:
                masked = self._value(value[key], below, depth + 1)
                if masked is not value[key]:
                    changed[key] = masked
        return value | changed if changed else value

    def _is_found_in_key(self, key: str) -> bool:
        """Whether something is masked in what a key of managed fields repeats, which is JSON."""
        try:
            said = orjson.loads(key[len("v:") :])
        except orjson.JSONDecodeError:
            said = key
        texts = said.values() if isinstance(said, dict) else (said,)
        return any(isinstance(text, str) and self._text(text) is not text for text in texts)

    def _list(self, value: list[Any], place: Place, depth: int) -> Any:
        if isinstance(place.text, Arguments) and all(isinstance(item, str) for item in value):
            rule = place.text.rule
            return masked_arguments(value, self._text, lambda argument: self._replaced(rule, argument))
        below = place.element
        if below is None:
            return value
        masked = [self._value(item, below, depth + 1) for item in value]
        return value if all(new is old for new, old in zip(masked, value, strict=True)) else masked

    def _hidden(self, value: Any, place: Place | None, rule: str, depth: int) -> Any:
        """The value with everything in it masked: keys, lengths and nothing else stay."""
        if depth > DEPTH_LIMIT:
            raise _too_deep()
        # By type, the most frequent first: this runs for every value of every Secret.
        kind = type(value)
        if kind is str:
            return self._replaced(rule, value, encoded=place is not None and place.encoded)
        if kind is dict:
            return {
                key: self._hidden(below, place.child(key) if place is not None else None, rule, depth + 1)
                for key, below in value.items()
            }
        if kind is list:
            element = place.element if place is not None else None
            return [self._hidden(below, element, rule, depth + 1) for below in value]
        if value is None:
            return value
        if kind is bool or kind is int or kind is float:
            return self._replaced(rule, value, encoded=place is not None and place.encoded)
        raise _no_json(value)

    def _string(self, value: str, place: Place) -> str:
        if place.text == _SCAN and not place.encoded:
            if len(value) < ENCODED_LENGTH and not self._known and self._patterns.is_known_clean(value):
                return value
            return self._text(value)
        match place.text:
            case None:
                return value
            case Hide(rule=rule):
                return self._replaced(rule, value, encoded=place.encoded)
            case Embedded():
                return self._document(value, place.text)
            case Scan(prose=Prose.STATUS):
                return self._text(mask_repeated_values(value, self.plan.objects, self._repeated))
            case Scan() | Arguments():
                return self._bytes(value) if place.encoded else self._text(value)
            case action:
                assert_never(action)

    def _document(self, value: str, action: Embedded) -> str:
        """A JSON document within a string, written anew only where something of it is masked."""
        if value.lstrip()[:1] in ("{", "["):
            place = self.plan.root(action.root)
            if self._embedded >= EMBEDDED_LIMIT:
                return self._replaced(UNREADABLE, value)
            self._embedded += 1
            try:
                document = parse_json(value.encode("utf-8", "surrogatepass"))
                masked = self._value(document, place, 0) if place is not None else document
            except Malformed:
                pass  # It is a text like any other, then, or hidden.
            else:
                unchanged = masked is document
                written = value if unchanged else orjson.dumps(masked).decode() + value[len(value.rstrip()) :]
                return self._known_within(written)
            finally:
                self._embedded -= 1
        return self._replaced(action.unreadable, value) if action.unreadable else self._text(value)

    def _known_within(self, document: str) -> str:
        """A document as the text that it is: its keys are masked nowhere else."""
        if not self._known:
            return document
        plain = document.encode("utf-8", "surrogatepass")
        masked = self._known.masked(plain, self._values, self.counts)
        return document if masked is plain else masked.decode("utf-8", "surrogatepass")

    def _bytes(self, value: str) -> str:
        """Text in base64, scanned as what it decodes to."""
        plain = decoded(value)
        if plain.startswith(ARCHIVES) and ARCHIVE in self.plan.text_rules:
            return self._replaced(ARCHIVE, value, encoded=True)
        left = self._known.masked(plain, self._values, self.counts)
        text = left.decode("latin-1")
        masked = self._masked_text(text)
        if left is plain and masked == text:
            return value
        return base64.b64encode(masked.encode("latin-1", "replace")).decode()

    def _text(self, value: str) -> str:
        masked = self._masked_text(value)
        if masked is value and len(value) >= ENCODED_LENGTH and _BASE64.match(value) is not None:
            return self._encoded_text(value)
        return masked

    def _encoded_text(self, value: str) -> str:
        """A text that may be another one in base64: a kubeconfig in a variable, user data of a machine."""
        try:
            plain = decoded(value).decode()
        except UnicodeDecodeError:
            return value
        masked = self._masked_text(plain)
        return value if masked is plain else base64.b64encode(masked.encode("utf-8", "surrogatepass")).decode()

    def _masked_text(self, value: str) -> str:
        masked = mask_text(value, self._patterns, self._values, self.counts, self._known)
        return value if masked == value else masked

    def _repeated(self, value: str) -> str:
        return self._replaced(STATUS_VALUE, value)

    def _replaced(self, rule: str, value: str | float | bool, *, encoded: bool = False) -> str:
        """One value's masked value; the value itself where it is one already."""
        if isinstance(value, str):
            plain = value
            masked = (
                self._values.of_base64(rule, value)
                if encoded
                else self._values.of(rule, value.encode("utf-8", "surrogatepass"))
            )
        else:
            plain = ""
            masked = self._values.of(rule, orjson.dumps(value))
            if encoded:
                masked = base64.b64encode(masked.encode()).decode()
        if masked == plain:
            return plain
        self._count(rule)
        return masked

    def _count(self, rule: str) -> None:
        self.counts[rule] = self.counts.get(rule, 0) + 1


def mask_document(
    document: Any,
    plan_of: Callable[[str | None, str | None], Plan | None],
    values: ValueMasker,
    counts: dict[str, int],
) -> Any:
    """A whole answer: an object, a list, a Table, a Status, or a watch event around one of them.

    `plan_of` says what holds for the object with a namespace and a name (None where they cannot be told, so that every
    mask holds). Raises Malformed for what is no JSON object, or is nested too deeply: nothing of it may be shown.
    """
    if not isinstance(document, dict):
        raise Malformed("the document is not a JSON object, and cannot be masked")
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind == "Status" and version == "v1":
        plan = plan_of(None, None)
        return document if plan is None else _at(document, plan.status, ObjectMasker(plan, values, counts))
    if kind == "Table" and isinstance(version, str) and version.startswith(TABLE_GROUP):
        return _table(document, plan_of, values, counts)
    if isinstance(document.get("type"), str) and isinstance(document.get("object"), dict) and kind is None:
        return document | {"object": mask_document(document["object"], plan_of, values, counts)}
    if isinstance(document.get("items"), list) and isinstance(kind, str) and kind.endswith("List"):
        return document | {"items": [_item(item, plan_of, values, counts) for item in document["items"]]}
    return _item(document, plan_of, values, counts)


def _item(
    item: Any, plan_of: Callable[[str | None, str | None], Plan | None], values: ValueMasker, counts: dict[str, int]
) -> Any:
    plan = plan_of(*_place_of(item))
    return item if plan is None else _at(item, plan.objects, ObjectMasker(plan, values, counts))


def _table(
    table: dict[str, Any],
    plan_of: Callable[[str | None, str | None], Plan | None],
    values: ValueMasker,
    counts: dict[str, int],
) -> Any:
    definitions = table.get("columnDefinitions") or []
    names = [column.get("name") for column in definitions]
    columns = [name if isinstance(name, str) else "" for name in names]
    rows = []
    for row in table.get("rows") or []:
        plan = plan_of(*_place_of(row.get("object")))
        if plan is None:
            rows.append(row)
            continue
        masker = ObjectMasker(plan, values, counts)
        cells = row.get("cells") or []
        named = [*columns, *("" for _ in cells)][: len(cells)]
        masked = [_at(cell, place, masker) for cell, place in zip(cells, plan.cells(named), strict=True)]
        shown = row | ({"cells": masked} if cells else {})
        rows.append(shown | {"object": _at(row["object"], plan.objects, masker)} if row.get("object") else shown)
    return table | {"rows": rows} if rows else table


def _is_looked_through(place: Place) -> bool:
    """Whether a string here that is no document is looked through as a text, and nothing else becomes of it."""
    if place.hides is not None or place.encoded:
        return False
    match place.text:
        case Scan(prose=prose):
            return prose is Prose.PLAIN
        case Embedded(unreadable=rule):
            return not rule
        case _:
            return False


def _is_text(plain: bytes) -> bool:
    try:
        plain.decode()
    except UnicodeDecodeError:
        return False
    return True


def _too_deep() -> Malformed:
    return Malformed(f"the object is nested deeper than {DEPTH_LIMIT} levels, and cannot be masked")


def _no_json(value: object) -> Malformed:
    return Malformed(f"the object holds a {type(value).__name__}, which is nothing that JSON has")


def _at(value: Any, place: Place | None, masker: ObjectMasker) -> Any:
    return value if place is None else masker.mask(value, place)


def _place_of(item: Any) -> tuple[str | None, str | None]:
    """Namespace and name of an object; None where they cannot be told."""
    metadata = item.get("metadata") if isinstance(item, Mapping) else None
    if not isinstance(metadata, Mapping):
        return None, None
    namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
    return (namespace if isinstance(namespace, str) else None), (name if isinstance(name, str) else None)
