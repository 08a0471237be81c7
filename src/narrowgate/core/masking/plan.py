"""What masks look for in the documents of one resource, compiled into places to walk: values, and nothing that masks.

Two engines walk the same plan and must agree: `objects` over Python values, which says what is right, and
`wire/json_mask` over bytes. Both begin at one of a plan's roots and ask each `Place` on their way

* `child(key)` for a value of an object, `element` for a value of a list. None: nothing below is masked, copy it;
* `by_name`, before anything else of an object: what is masked depends on the texts under its keys `name` (environment
  variables, HTTP headers) and `kind` (objects within objects). Then `named(name, kind)` is the place to go on with;
* `hides`: whatever is here goes, of any type and to any depth; keys and lengths of lists stay;
* `text`: what becomes of a string here. With `Arguments`, also of a list of strings, all of it at once;
* `forgets`: an object here whose keys tell something of a masked value becomes `{}` (managed fields do).

A compiled plan is a machine in the sense of the textbook: an entry is a path, a place is the set of positions in all
paths that an object's keys have led to, and is made when first asked for. So paths with `**` and paths that meet need
no special case, and where two say something about one value, the stronger holds, then the first by name: `hides`,
then `Hide`, `Embedded`, `Arguments`, `Scan` in `text`.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable, Sequence
from typing import Final, assert_never

import msgspec

from narrowgate.core.masking.secret_names import is_secret_field, is_secret_header, is_secret_name

PLACES_LIMIT: Final = 4_096
"""Places that a plan remembers; a cluster's busiest plan has some hundred. Beyond it they are made each time."""

CHILDREN_LIMIT: Final = 1_024
"""Keys whose answer a place remembers: keys come from objects, so that there may be any number of them."""

KEY_LENGTH: Final = 128
"""Characters of such a key, for the same reason."""

DEPTH_LIMIT: Final = 200
"""Levels of nesting an engine goes down before it refuses a document. CRD schemas, the deepest that people write, nest
in tens."""

EMBEDDED_LIMIT: Final = 3
"""Documents within documents: `last-applied-configuration` of an object whose annotations hold another. What lies
deeper is hidden as a whole."""


class Root(enum.Enum):
    """Where a path begins."""

    OBJECT = "object"
    """An object of the resource, or its PartialObjectMetadata: an item, a row's `object`, a watch frame's `object`."""
    STATUS = "status"
    """A `metav1.Status`, which any request may be answered with."""
    CELL = "cell"
    """One cell of a Table, as if a row were an object whose keys are the names of the columns."""
    ANYTHING = "anything"
    """A document of unknown shape: JSON that somebody wrote into an annotation."""


class Key(msgspec.Struct, frozen=True):
    """Exactly this key."""

    name: str


class KeyGlob(msgspec.Struct, frozen=True):
    """Keys that look like this, in any case: `*` is any run of characters, `?` any one."""

    glob: str


class SecretKey(msgspec.Struct, frozen=True):
    """Keys that are named like secrets (`secret_names`)."""


class SecretAnnotation(msgspec.Struct, frozen=True):
    """Keys whose name, behind the slash, is that of a secret: `external-secrets.io/` says nothing of what follows."""


class Every(msgspec.Struct, frozen=True):
    """Every key of an object, every element of a list."""


class Anywhere(msgspec.Struct, frozen=True):
    """Any number of keys and elements, none included."""


class OtherThan(msgspec.Struct, frozen=True):
    """Every key but these."""

    names: frozenset[str]


class SecretlyNamed(msgspec.Struct, frozen=True):
    """No step down: an object whose `name` is that of a secret environment variable or parameter."""


class SecretHeader(msgspec.Struct, frozen=True):
    """No step down: an object whose `name` is that of an HTTP header that carries credentials."""


class OfKind(msgspec.Struct, frozen=True):
    """No step down: an object whose `kind` is this."""

    kind: str


Step = (
    Key | KeyGlob | SecretKey | SecretAnnotation | Every | Anywhere | OtherThan | SecretlyNamed | SecretHeader | OfKind
)


class Hide(msgspec.Struct, frozen=True):
    """The value is replaced by a masked one that names this rule."""

    rule: str
    """`policy/rule`, as a masked value names it."""
    strings_only: bool = False
    """Whether objects and lists are left as they are: `token: {secretKeyRef: ...}` names a Secret and holds none. The
    strings of a list are masked, and so are numbers."""


class Prose(enum.Enum):
    """What sort of text is scanned."""

    PLAIN = "plain"
    STATUS = "status"
    """The message of a Status, in which the API server repeats values that it refuses."""


class Scan(msgspec.Struct, frozen=True):
    """Parts of the text that look like secrets are masked, by the patterns of the plan (`patterns`), also in all that
    lies below.
    """

    prose: Prose = Prose.PLAIN


class Embedded(msgspec.Struct, frozen=True):
    """The text is a JSON document of its own, masked from that root."""

    root: Root
    unreadable: str = ""
    """The rule that hides the text as a whole where it is no JSON object; without one it is scanned."""


class Arguments(msgspec.Struct, frozen=True):
    """A command and its arguments: each is scanned, and what follows `--password` is hidden by this rule."""

    rule: str


class Forget(msgspec.Struct, frozen=True):
    """A list in managed fields: its keys repeat values, `v:"x"` those of a set, `k:{"name":"x"}` those that tell list
    elements apart (structured-merge-diff, fieldpath/serialize-pe.go). Where they would tell of a masked field, the
    object becomes `{}`.
    """

    rule: str
    field: str = ""
    """The masked field of the list's elements; empty where all of an element is masked."""
    secret_fields: bool = False
    """Whether it is every field of them that is named like a secret."""
    texts: bool = False
    """Whether it is what is found in a text: members of sets, fields that tell elements apart."""

    def tells(self, key: str) -> bool:
        """Whether this key repeats a masked value; with `texts`, whether it is one to be looked through."""
        if self.texts:
            return key.startswith(("v:", "k:"))
        if self.secret_fields:
            return key.startswith("k:") and any(is_secret_field(name) for name in _FIELD_OF_KEY.findall(key))
        if key.startswith("v:"):
            return not self.field
        return key.startswith("k:") and (not self.field or f'"{self.field}"' in key)


_FIELD_OF_KEY: Final = re.compile(r'[{,]"([^"]*)":')
"""The fields in a list element's key."""


class Encoded(msgspec.Struct, frozen=True):
    """No change by itself: strings here are base64 (Go's `[]byte`), so a masked value is written that way too, and
    what is scanned is what it decodes to.
    """


Action = Hide | Scan | Embedded | Arguments | Forget | Encoded
TextAction = Hide | Embedded | Arguments | Scan


class Entry(msgspec.Struct, frozen=True):
    """One path and what becomes of the values at its end."""

    root: Root
    steps: tuple[Step, ...]
    action: Action


_Position = tuple[int, int]
"""Index of an entry, and of the step it stands before."""


class Place:
    """One place of a document. Its meaning never changes; what it remembers is only sooner found."""

    __slots__ = (
        "_children", "_element", "_machine", "_named", "_positions",
        "by_name", "encoded", "exact", "forgets", "hides", "marks", "text",
    )  # fmt: skip

    def __init__(self, machine: _Machine, positions: frozenset[_Position]) -> None:
        self._machine: Final = machine
        self._positions: Final = positions
        self._children: Final[dict[str, Place | None]] = {}
        self._named: Final[dict[tuple[str | None, str | None], Place | None]] = {}
        self._element: Place | _Unasked | None = _UNASKED
        ends = machine.ends(positions)
        hidden = [end for end in ends if isinstance(end, Hide)]
        self.hides: Final[Hide | None] = _first(end for end in hidden if not end.strings_only)
        """The rule that hides everything from here on; None where none does."""
        self.text: Final[TextAction | None] = _strongest(ends)
        """What becomes of a string here (after `hides`); None where it stays."""
        self.forgets: Final[tuple[Forget, ...]] = tuple(end for end in ends if isinstance(end, Forget))
        self.encoded: Final[bool] = any(isinstance(end, Encoded) for end in ends)
        """Whether strings here are base64."""
        self.by_name: Final[bool] = machine.waits_for_name(positions)
        """Whether an object here must be asked for with `named` first."""
        self.exact: Final[frozenset[str] | None] = machine.exact_keys(positions)
        """The only keys that lead on from here; None where any key may."""
        self.marks: Final[tuple[bytes, ...] | None] = machine.marks(positions)
        """Keys in their quotes, one of which is in the bytes of a value here in which something is masked, unless a key
        there is written with escapes; None where nothing is known of its keys.
        """

    def child(self, key: str) -> Place | None:
        """The place of an object's value; None where nothing of it is masked."""
        try:
            return self._children[key]
        except KeyError:
            found = self._machine.after_key(self._positions, key)
            if len(self._children) < CHILDREN_LIMIT and len(key) <= KEY_LENGTH:
                self._children[key] = found
            return found

    @property
    def element(self) -> Place | None:
        """The place of a list's values, all the same; None where nothing of them is masked."""
        if isinstance(self._element, _Unasked):
            self._element = self._machine.after_element(self._positions)
        return self._element

    def named(self, name: str | None, kind: str | None = None) -> Place | None:
        """The place of an object here with these texts under `name` and `kind`: "" where it has no such key, None where
        that is no text, so that it may mean any. None as the answer: nothing of the object is masked.
        """
        try:
            return self._named[name, kind]
        except KeyError:
            found = self._machine.after_name(self._positions, name, kind)
            if len(self._named) < CHILDREN_LIMIT and len(name or "") + len(kind or "") <= KEY_LENGTH:
                self._named[name, kind] = found
            return found


class Plan:
    """All that is masked in the documents of one resource. Made by `compile_plan`, walked from its roots.

    Safe to share between requests; it holds no values and no key.
    """

    __slots__ = ("_roots", "entries", "text_rules")

    def __init__(self, entries: tuple[Entry, ...], text_rules: frozenset[str]) -> None:
        self.entries: Final = entries
        self.text_rules: Final = text_rules
        """The text patterns that hold, by their rules (`patterns.TEXT_RULES`)."""
        machine = _Machine(entries)
        self._roots: Final = {root: machine.start(root) for root in Root}

    def root(self, root: Root) -> Place | None:
        """Where documents of that sort begin; None where nothing of them is masked."""
        return self._roots[root]

    @property
    def objects(self) -> Place | None:
        """Where objects of the resource begin."""
        return self._roots[Root.OBJECT]

    @property
    def status(self) -> Place | None:
        """Where a `metav1.Status` begins."""
        return self._roots[Root.STATUS]

    def cells(self, columns: Sequence[str]) -> tuple[Place | None, ...]:
        """A place for each cell of a Table's rows. A column without a known name, as in the later frames of a watch
        whose first was missed, is "".
        """
        row = self._roots[Root.CELL]
        # A second column of the same name, which a CRD may well have, does not show what the first one does.
        names = [name if name not in columns[:at] else "" for at, name in enumerate(columns)]
        return tuple(row.child(name) if row is not None else None for name in names)


def compile_plan(entries: Iterable[Entry], text_rules: Iterable[str] = ()) -> Plan | None:
    """Put together what holds for one resource; None where that is nothing, so that bytes are copied."""
    kept = tuple(dict.fromkeys(entries))
    return Plan(kept, frozenset(text_rules)) if kept else None


class _Unasked:
    """Stands for an element that nobody has asked for yet: None is an answer."""


_UNASKED: Final = _Unasked()


class _Machine:
    """The entries of one plan, and the places they have led to so far."""

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        self._entries: Final = entries
        self._places: Final[dict[frozenset[_Position], Place]] = {}

    def start(self, root: Root) -> Place | None:
        return self._place((index, 0) for index, entry in enumerate(self._entries) if entry.root is root)

    def after_key(self, positions: frozenset[_Position], key: str) -> Place | None:
        return self._place(_move(self._entries[index], index, at, key) for index, at in positions)

    def after_element(self, positions: frozenset[_Position]) -> Place | None:
        return self._place(_enter(self._entries[index], index, at) for index, at in positions)

    def after_name(self, positions: frozenset[_Position], name: str | None, kind: str | None) -> Place | None:
        return self._place(_judge(self._entries[index], index, at, name, kind) for index, at in positions)

    def ends(self, positions: frozenset[_Position]) -> list[Action]:
        """What is said about the values of a place, in an order that does not depend on how it was reached."""
        done = [self._entries[index] for index, at in sorted(positions) if at == len(self._entries[index].steps)]
        return [entry.action for entry in done]

    def waits_for_name(self, positions: frozenset[_Position]) -> bool:
        return any(isinstance(step, SecretlyNamed | SecretHeader | OfKind) for step in self._steps(positions))

    def exact_keys(self, positions: frozenset[_Position]) -> frozenset[str] | None:
        keys = set()
        for index, at in positions:
            entry = self._entries[index]
            if at == len(entry.steps):
                if isinstance(entry.action, _BELOW):
                    return None
            elif isinstance(step := entry.steps[at], Key):
                keys.add(step.name)
            else:
                return None
        return frozenset(keys)

    def marks(self, positions: frozenset[_Position]) -> tuple[bytes, ...] | None:
        """The last key of each path that goes on from here: the one that the fewest values have."""
        found = set()
        for index, at in positions:
            ahead = [step.name for step in self._entries[index].steps[at:] if isinstance(step, Key)]
            if not ahead or not ahead[-1].isascii() or not ahead[-1].isprintable() or {*ahead[-1]} & {*'"\\'}:
                return None
            found.add(ahead[-1])
        return tuple(f'"{name}"'.encode("ascii") for name in sorted(found))

    def _steps(self, positions: frozenset[_Position]) -> Iterable[Step]:
        for index, at in positions:
            steps = self._entries[index].steps
            if at < len(steps):
                yield steps[at]

    def _place(self, reached: Iterable[_Position | None]) -> Place | None:
        """The place where all of these stand; `Anywhere` may also be nothing, so what follows it is there as well."""
        positions = set()
        for position in reached:
            if position is None:
                continue
            positions.add(position)
            index, at = position
            steps = self._entries[index].steps
            while at < len(steps) and isinstance(steps[at], Anywhere):
                at += 1
                positions.add((index, at))
        if not positions:
            return None
        found = frozenset(positions)
        place = self._places.get(found)
        if place is None:
            place = Place(self, found)
            if len(self._places) < PLACES_LIMIT:
                self._places[found] = place
        return place


_BELOW: Final = (Scan, Embedded, Arguments)
"""What holds for all text below its place: what should be a text, and turns out to hold some."""


def _move(entry: Entry, index: int, at: int, key: str) -> _Position | None:
    """Where one path stands after a key of an object; None where that is not on it."""
    if at == len(entry.steps):
        return (index, at) if isinstance(entry.action, _BELOW) else None
    match entry.steps[at]:
        case Anywhere():
            return (index, at)
        case Key(name=name):
            return (index, at + 1) if key == name else None
        case KeyGlob(glob=glob):
            return (index, at + 1) if _glob(glob).fullmatch(key) else None
        case SecretKey():
            return (index, at + 1) if is_secret_field(key) else None
        case SecretAnnotation():
            return (index, at + 1) if is_secret_field(key.rpartition("/")[2]) else None
        case OtherThan(names=names):
            return (index, at + 1) if key not in names else None
        case Every():
            return (index, at + 1)
        case SecretlyNamed() | SecretHeader() | OfKind():
            return None
        case step:
            assert_never(step)


def _enter(entry: Entry, index: int, at: int) -> _Position:
    """Where one path stands in a list. A key where a list turns up means the key of each element: whoever left out
    the `[*]` of a mask meant it, and would not see that it is missing.
    """
    if at < len(entry.steps) and isinstance(entry.steps[at], Every):
        return (index, at + 1)
    return (index, at)


def _judge(entry: Entry, index: int, at: int, name: str | None, kind: str | None) -> _Position | None:
    """Where one path stands once an object's name and kind are known."""
    if at == len(entry.steps):
        return (index, at)
    match entry.steps[at]:
        case SecretlyNamed():
            return (index, at + 1) if name is None or is_secret_name(name) else None
        case SecretHeader():
            return (index, at + 1) if name is None or is_secret_header(name) else None
        case OfKind(kind=wanted):
            return (index, at + 1) if kind is None or kind == wanted else None
        case _:
            return (index, at)


@functools.lru_cache(maxsize=1_024)
def _glob(glob: str) -> re.Pattern[str]:
    """One key's pattern. Runs of `*` are one, so that matching a key takes no more steps than stars times its length
    (`field_paths` bounds the stars).
    """
    parts = re.split(r"(\*+|\?)", glob)
    written = "".join(
        ".*" if part.startswith("*") else "." if part == "?" else re.escape(part) for part in parts if part
    )
    return re.compile(written, re.IGNORECASE | re.DOTALL)


def _first(found: Iterable[Hide]) -> Hide | None:
    return min(found, key=lambda hide: hide.rule, default=None)


def _strongest(ends: Sequence[Action]) -> TextAction | None:
    """What becomes of a string where several things are said about it."""
    hide = _first(end for end in ends if isinstance(end, Hide))
    if hide is not None:
        return hide
    for kind in (Embedded, Arguments, Scan):
        said = [end for end in ends if isinstance(end, kind)]
        if said:
            # A copy of the object is that before it is any document: only so are its own places found in it.
            return min(
                said, key=lambda action: (not (isinstance(action, Embedded) and action.unreadable), repr(action))
            )
    return None
