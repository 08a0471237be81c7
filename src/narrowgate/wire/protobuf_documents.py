"""The documents of one protobuf answer, masked and reduced to what is shown: objects, the items of lists, Statuses.

A document is four bytes and a `runtime.Unknown` (k8s.io/apimachinery/pkg/runtime/generated.proto), written by
pkg/runtime/serializer/protobuf: the type, the object, and two texts that are empty. Nothing else may stand there: it
would leave as it is.
"""

from __future__ import annotations

from typing import Final

import msgspec

from narrowgate.core.body import PROTOBUF
from narrowgate.core.masking.choosing import ANYWHERE, Where
from narrowgate.core.masking.plan import Place, Plan
from narrowgate.wire.answer import Masks
from narrowgate.wire.json_mask import JsonMasker
from narrowgate.wire.kubernetes_kinds import ANSWERS, KINDS
from narrowgate.wire.protobuf import BYTES, MAGIC, VARINT, BrokenProtobuf, located, object_meta
from narrowgate.wire.protobuf_mask import NotInProtobuf, ProtobufMasker
from narrowgate.wire.protobuf_object import UnknownField
from narrowgate.wire.unreadable import Unreadable

MASKERS_LIMIT: Final = 4
"""Plans of one answer that are made ready at a time, as for JSON."""

LIST: Final = "List"
"""How the kinds of lists end; all of Kubernetes' own have their metadata in field 1 and their items in field 2."""

RAW: Final = b"\x12"
"""Number and type of the field of an envelope that holds the object."""


class Kind(msgspec.Struct, frozen=True):
    """What an envelope says it holds."""

    api_version: str
    kind: str

    @property
    def is_status(self) -> bool:
        """Whether it is a `metav1.Status`."""
        return self.kind == "Status" and self.api_version == "v1"

    @property
    def is_list(self) -> bool:
        """Whether it is a list of other objects."""
        return self.kind.endswith(LIST)

    @property
    def message(self) -> str:
        """The message that it is, or that its items are. Raises UnknownField."""
        name = f"{self.api_version}/{self.kind.removesuffix(LIST)}"
        found = KINDS.get(name) or ANSWERS.get(name)
        if found is None or self.kind == "StatusList":
            raise UnknownField(name[:100])
        return found


class Enclosed(msgspec.Struct, frozen=True):
    """A whole document, taken apart."""

    kind: Kind
    before: bytes
    """Up to the length of the object."""
    raw: bytes
    behind: bytes


class ProtobufDocuments:
    """Masks objects of one answer, and says which of them leave."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._varies = masks.varies
        self._anywhere = masks.plan(ANYWHERE)
        self._shows = masks.shows
        self._maskers: dict[Plan, tuple[JsonMasker, ProtobufMasker]] = {}

    @property
    def is_reduced(self) -> bool:
        """Whether not all objects of a list or watch leave."""
        return self._shows is not None

    def object(self, kind: Kind, raw: bytes) -> bytes:
        """An object by itself, or a Status, without its envelope. Raises Unreadable."""
        if kind.is_status:
            return self._masked(kind, raw, self._anywhere, is_item=False)
        if kind.is_list:
            raise Unreadable("there is a list where one object should be")
        return self._masked(kind, raw, self._plan(raw), is_item=False)

    def item(self, kind: Kind, raw: bytes) -> bytes | None:
        """An item of a list of this kind; None where it does not leave. Raises Unreadable."""
        return self._masked(kind, raw, self._plan(raw), is_item=True) if self.shows(raw) else None

    def shows(self, raw: bytes) -> bool:
        """Whether this object leaves. Raises Unreadable where it does not say which one it is."""
        if self._shows is None:
            return True
        where = _named(raw)
        if where is None:
            raise Unreadable("one of its objects does not say its name")
        return self._shows(where)

    def require_bookmark(self, raw: bytes) -> None:
        """Raise Unreadable for a bookmark that is about a hidden object. It should be about none."""
        where = _named(raw)
        if where is not None and self._shows is not None and not self._shows(where):
            raise Unreadable("a bookmark of the watch names an object")

    def around(self, metadata: bytes) -> bytes:
        """The ListMeta of a list (apis/meta/v1/generated.proto): where objects are left out, without how many follow.

        Raises Unreadable for what is none, and for a part of a longer list where objects are left out.
        """
        kept = []
        for number, wire_type, value, begin, end in _located(metadata):
            if number not in (1, 2, 3, 4) or wire_type != (VARINT if number == 4 else BYTES):
                raise NotInProtobuf(f"field {number} of its list's metadata is not known to this gate")
            if self._shows is not None and number == 3 and value:
                raise Unreadable("it goes on in a next part, which was not asked for")
            if self._shows is None or number != 4:
                kept.append(metadata[begin:end])
        return b"".join(kept)

    def _plan(self, raw: bytes) -> Plan | None:
        return self._masks.plan(_named(raw) or ANYWHERE) if self._varies else self._anywhere

    def _masked(self, kind: Kind, raw: bytes, plan: Plan | None, *, is_item: bool) -> bytes:
        place = _root(kind, plan)
        if plan is None or place is None:
            return raw
        head = {} if is_item else {"apiVersion": kind.api_version, "kind": kind.kind}
        return self._masker(plan).document(kind.message, raw, place, head)

    def _masker(self, plan: Plan) -> ProtobufMasker:
        """What masks it: one for each of the plan's own, which is another once more values are known."""
        own = self._masks.masker(plan)
        if self._maskers.get(plan, (None, None))[0] is not own:
            if len(self._maskers) >= MASKERS_LIMIT:
                self._maskers.clear()
            self._maskers[plan] = (own, ProtobufMasker(own))
        return self._maskers[plan][1]


def read_enclosed(document: bytes) -> Enclosed:
    """Take a whole document apart. Raises Unreadable."""
    if not document.startswith(MAGIC):
        raise Unreadable("an object of it does not begin with k8s and a zero byte")
    found = _located(document[len(MAGIC) :])
    match found:
        case [(1, 2, bytes(kind), _, end), (2, 2, bytes(raw), _, behind), *_]:
            rest = document[len(MAGIC) + behind :]
            require_no_encoding(rest)
            return Enclosed(type_of(kind), document[: len(MAGIC) + end] + RAW, raw, rest)
        case _:
            raise Unreadable("the envelope of an object is not readable")


def exactly(message: bytes, numbers: tuple[int, ...]) -> list[bytes]:
    """The byte fields with these numbers, each there once and nothing else. Raises Unreadable."""
    found: dict[int, bytes] = {}
    for number, wire_type, value, _, _ in _located(message):
        if wire_type != BYTES or not isinstance(value, bytes) or number in found:
            raise Unreadable("an event of the watch is not readable")
        found[number] = value
    if found.keys() != set(numbers):
        raise Unreadable("an event of the watch has something else in it than a type and an object")
    return [found[number] for number in numbers]


def type_of(written: bytes) -> Kind:
    """The type in an envelope. Raises Unreadable where two readers could read it differently."""
    found: dict[int, str] = {}
    for number, wire_type, value, _, _ in _located(written):
        if wire_type != BYTES or number not in (1, 2) or number in found or not isinstance(value, bytes):
            raise Unreadable("the type in its envelope is not readable")
        try:
            found[number] = value.decode()
        except UnicodeDecodeError:
            raise Unreadable("the type in its envelope is not UTF-8") from None
    return Kind(found.get(1, ""), found.get(2, ""))


def require_no_encoding(tail: bytes) -> None:
    """Raise Unreadable where what stands behind the object says more than nothing: how the object is encoded in field
    3, its content type in field 4.
    """
    seen = set[int]()
    for number, _, value, _, _ in _located(tail):
        if number in seen or number not in (3, 4) or value not in ((b"",) if number == 3 else (b"", PROTOBUF.encode())):
            raise Unreadable("the object in its envelope has an encoding of its own, or something stands behind it")
        seen.add(number)


def _located(message: bytes) -> list[tuple[int, int, int | bytes, int, int]]:
    try:
        return list(located(message))
    except BrokenProtobuf as error:
        raise Unreadable(f"it is not readable as protobuf: {error.problem}") from None


def _named(raw: bytes) -> Where | None:
    """Where an object is, its namespace empty where it is in none; None where it has no name."""
    try:
        names = object_meta(raw)
    except BrokenProtobuf as error:
        raise Unreadable(f"it is not readable as protobuf: {error.problem}") from None
    return Where(names.namespace, names.name) if names.name else None


def _root(kind: Kind, plan: Plan | None) -> Place | None:
    if plan is None:
        return None
    return plan.status if kind.is_status else plan.objects
