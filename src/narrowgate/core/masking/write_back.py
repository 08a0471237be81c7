"""Masked values in what a caller writes: found wherever they stand, and put back where that is possible.

Nothing masked is ever stored: it would take the place of what it stands for. What a caller read is put back only in the
very place of the object where it was masked for that caller, so that no secret can be moved to where it could be read.
Three documents are walked side by side for that: what was sent, the object as the caller is shown it, and the object as
it is. Where a part of the first is what the second has there, it becomes what the third has.

Nothing here knows a mask. Whether all of it stays masked is seen by whoever masks the result again: it must be what
was sent, masked.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import orjson

from narrowgate.core.documents import parse_json
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.built_in import LAST_APPLIED
from narrowgate.core.masking.masked_value import masked_in

LIST_KEYS: Final = ("name", "id", "key", "type", "ip", "host", "mountPath", "devicePath", "containerPort", "port")
"""What the elements of a list are told apart by, the first that they have; without one it is their position. Strategic
merges and server-side apply go by these for Kubernetes' own lists."""


class MaskedValue(msgspec.Struct, frozen=True):
    """A masked value in a document."""

    field: str
    """Where it stands, as the API server writes fields: `data[tls.key]`, `spec.containers[0].env[1].value`."""
    masked: str
    """`[masked:<rule>:<hash>]`."""


class There(msgspec.Struct, frozen=True):
    """One place of the object: as the caller is shown it, and as it is."""

    shown: Any
    now: Any


class PutBack(msgspec.Struct, frozen=True):
    """What was sent, with what could be put back."""

    document: Any
    left: tuple[MaskedValue, ...]
    """The masked values that could not: unless there are none, nothing may be stored."""


def masked_values(document: Any, field: str = "") -> Iterator[MaskedValue]:
    """All strings of a document that hold a masked value, each with the first one in it, and keys that do."""
    match document:
        case str():
            if masked := masked_in(document):
                yield MaskedValue(field, masked)
        case dict():
            for key, value in document.items():
                if masked := masked_in(key):
                    yield MaskedValue(field, masked)
                yield from masked_values(value, member(field, key))
        case list():
            for at, value in enumerate(document):
                yield from masked_values(value, f"{field}[{at}]")
        case _:
            pass


def member(field: str, key: str) -> str:
    """The field of an object's key."""
    if not key.replace("-", "").replace("_", "").isalnum():
        return f"{field}[{key}]"
    return f"{field}.{key}" if field else key


def put_back(sent: Any, there: There) -> PutBack:
    """An object as it was sent, or a part of one as merge patches are, with its masked values put back."""
    walk = Walk(there)
    document = walk.value(sent, (walk.root,), "")
    return PutBack(document, tuple(walk.left))


def first_difference(one: Any, other: Any, field: str = "") -> str | None:
    """The first field in which two documents differ, however deep; None where they are the same, types included."""
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(member(field, key), one.get(key), other.get(key)) for key in {**one, **other}]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(f"{field}[{at}]", *pair) for at, pair in enumerate(zip(one, other, strict=True))]
    else:
        return None if type(one) is type(other) and one == other else field
    for below_field, left, right in pairs:
        if (found := first_difference(left, right, below_field)) is not None:
            return found
    return None


def texts_of(document: Any) -> frozenset[str]:
    """All strings of a document but its keys."""
    match document:
        case str():
            return frozenset((document,))
        case dict():
            return frozenset().union(*map(texts_of, document.values()))
        case list():
            return frozenset().union(*map(texts_of, document))
        case _:
            return frozenset()


def less_known(masked: Any, plain: Any, known: frozenset[str]) -> Any:
    """A masked document with those strings of the plain one that somebody is known to know."""
    match masked, plain:
        case dict(), dict():
            return {key: less_known(value, plain.get(key), known) for key, value in masked.items()}
        case list(), list() if len(masked) == len(plain):
            return [less_known(value, plain[at], known) for at, value in enumerate(masked)]
        case _:
            return plain if isinstance(plain, str) and plain in known else masked


class Walk:
    """Goes through what was sent. `left` are the masked values that it had to leave, with their fields."""

    __slots__ = ("left", "root")

    def __init__(self, root: There) -> None:
        self.root: Final = _with_string_data(root)
        """All of the object."""
        self.left: Final[list[MaskedValue]] = []

    def value(self, sent: Any, there: tuple[There, ...], field: str) -> Any:
        """A part of what was sent, put back by what may be in its place; none where the object has no such place."""
        match sent:
            case str():
                return self._text(sent, there, field)
            case dict():
                return self._object(sent, there, field)
            case list():
                lists = [_List(one) for one in there if _are_lists(one)]
                own = by_key(sent)
                return [
                    self.value(
                        element, tuple(f for one in lists for f in one.place_of(element, at, own)), f"{field}[{at}]"
                    )
                    for at, element in enumerate(sent)
                ]
            case _:
                return sent

    def _object(self, sent: dict[str, Any], there: tuple[There, ...], field: str) -> Any:
        for one in there:
            if sent == {} and one.shown == {} and isinstance(one.now, dict):
                # Keys that tell of a masked value are not shown at all (managed fields).
                return one.now
        for key in sent:
            if masked := masked_in(key):
                self.left.append(MaskedValue(field, masked))
        return {key: self.value(value, below(there, key), member(field, key)) for key, value in sent.items()}

    def _text(self, sent: str, there: tuple[There, ...], field: str) -> Any:
        masked = masked_in(sent)
        if not masked:
            return sent
        for one in there:
            if isinstance(one.shown, str) and one.shown == sent:
                return one.now
        if (document := self._document(sent, there, field)) is not None:
            return document
        for one in there:
            if isinstance(one.shown, str) and isinstance(one.now, str):
                lines = put_back_lines(sent, one.shown, one.now)
                if lines is not None:
                    return lines
        self.left.append(MaskedValue(field, masked))
        return sent

    def _document(self, sent: str, there: tuple[There, ...], field: str) -> str | None:
        """A JSON document within a text; None where it, or what it takes the place of, is none."""
        document = _json(sent)
        if document is None:
            return None
        inner = [There(_json(one.shown), _json(one.now)) for one in there]
        known = tuple(one for one in inner if one.shown is not None and one.now is not None)
        if field == LAST_APPLIED_FIELD:
            # kubectl copies what it applies: what is masked in the copy is masked in the object, and the other way.
            known = (*known, self.root)
        if not known:
            return None
        back = orjson.dumps(self.value(document, known, field)).decode()
        return back + sent[len(sent.rstrip()) :]


def below(there: tuple[There, ...], key: str) -> tuple[There, ...]:
    """The places of an object's key."""
    return tuple(
        There(one.shown[key], one.now[key])
        for one in there
        if isinstance(one.shown, dict) and isinstance(one.now, dict) and key in one.shown and key in one.now
    )


def key_of(element: Any) -> tuple[str, str | int] | None:
    """What an element of a list is told apart by: a key and its value; None where only its position tells."""
    if isinstance(element, dict):
        for key in LIST_KEYS:
            value = element.get(key)
            if isinstance(value, str) or type(value) is int:
                return key, value
    return None


def put_back_lines(sent: str, shown: str, now: str) -> str | None:
    """A text of which some lines are masked: each such line that was sent as it is shown becomes what it is, wherever
    it stands by now. None where a line cannot be put back.
    """
    known = _masked_lines(shown.split("\n"), now.split("\n"))
    if known is None:
        return None
    lines = sent.split("\n")
    back: list[str] = []
    for line in lines:
        if masked_in(line):
            plain = known.get(line)
            if plain is None:
                return None
            back += plain
        else:
            back.append(line)
    text = "\n".join(back)
    return None if masked_in(text) else text


def _masked_lines(shown: list[str], now: list[str]) -> dict[str, list[str]] | None:
    """For each masked line what it stands for, one line or several; None where that cannot be told for certain."""
    known: dict[str, list[str]] = {}
    at = 0
    for position, line in enumerate(shown):
        if at < len(now) and line == now[at]:
            at += 1
            continue
        if not masked_in(line):
            return None
        end = _end_of(shown, position + 1, now, at)
        if end <= at or known.setdefault(line, now[at:end]) != now[at:end]:
            return None
        at = end
    return known if at == len(now) else None


def _end_of(shown: list[str], following: int, now: list[str], at: int) -> int:
    """Where the lines end that one masked line stands for: where the next one that is not masked is found again."""
    if following == len(shown):
        return len(now)
    if masked_in(shown[following]):
        # Two masked lines in a row are one line each, or nobody knows which is which: the result is masked again.
        return at + 1
    for end in range(at + 1, len(now)):
        if now[end] == shown[following]:
            return end
    return -1


LAST_APPLIED_FIELD: Final = member("metadata.annotations", LAST_APPLIED)


def by_key(elements: list[Any]) -> dict[tuple[str, str | int], list[int]]:
    """Where in a list the elements with each key stand."""
    found: dict[tuple[str, str | int], list[int]] = {}
    for at, element in enumerate(elements):
        key = key_of(element)
        if key is not None:
            found.setdefault(key, []).append(at)
    return found


class _List:
    """A list, and where in it is what."""

    def __init__(self, there: There) -> None:
        self._there: Final = there
        self._keys: Final = by_key(there.shown)
        self._alike: Final[dict[tuple[str, str | int], bool]] = {}
        self._texts: Final = {text: at for at, text in enumerate(there.shown) if isinstance(text, str)}

    def place_of(self, element: Any, at: int, own: dict[tuple[str, str | int], list[int]]) -> Iterator[There]:
        """What an element may be put back by: the one that is told apart by the same, or else the one that stands at
        the same place. `own` says where the elements beside it are.
        """
        key = key_of(element)
        if key is not None:
            places = self._keys.get(key, [])
            if len(places) == 1 and len(own[key]) == 1:
                place = places[0]
            else:
                # Where several go by one name it must be as many, in the same places.
                if key not in self._alike:
                    self._alike[key] = own[key] == places
                place = at if self._alike[key] else -1
        else:
            place = self._texts.get(element, at) if isinstance(element, str) else at
        if 0 <= place < len(self._there.shown) and key_of(self._there.shown[place]) == key:
            yield There(self._there.shown[place], self._there.now[place])


def _are_lists(there: There) -> bool:
    return isinstance(there.shown, list) and isinstance(there.now, list) and len(there.shown) == len(there.now)


def _json(text: Any) -> Any:
    """The JSON object or list that a text is; None where it is none."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return parse_json(text.encode("utf-8", "surrogatepass"))
    except Malformed:
        return None


def _with_string_data(root: There) -> There:
    """A Secret with its `stringData`, which the API server writes into `data` and shows to nobody."""
    if not isinstance(root.shown, dict) or (root.shown.get("kind"), root.shown.get("apiVersion")) != ("Secret", "v1"):
        return root
    shown, now = root.shown.get("data"), root.now.get("data")
    if not isinstance(shown, dict) or not isinstance(now, dict) or "stringData" in root.shown:
        return root
    texts = {key: (_decoded(value), _decoded(now.get(key))) for key, value in shown.items()}
    known = {key: pair for key, pair in texts.items() if pair[0] is not None and pair[1] is not None}
    return There(
        root.shown | {"stringData": {key: pair[0] for key, pair in known.items()}},
        root.now | {"stringData": {key: pair[1] for key, pair in known.items()}},
    )


def _decoded(value: Any) -> str | None:
    """What base64 stands for where that is text."""
    try:
        return base64.b64decode(value, validate=True).decode() if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        return None
