"""Which objects of a list or watch its sender may see, where it may not see all of them: an obligation of an `Allow`.

An object is seen where every member of the chain could ask for it alone: by the same verb, with its name. So a list
shows what single requests would, and no road through a list is wider than the one around it. What rules say differs by
namespace and name alone, and they compare those with what they list: so a few places stand for all (`Visible.places`),
each of the listed namespaces and names and one that none of them lists. Where a rule has a condition, which may look at
the name in ways of its own, what a place stands for is judged object by object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from narrowgate.core.identity import Identity
from narrowgate.core.intent import Intent, Use
from narrowgate.core.judging import Evidence, Granted, Grants, judge
from narrowgate.core.masking.choosing import Where
from narrowgate.core.matching import CompiledRule, Question
from narrowgate.core.policy import EVERYTHING, Approval
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.rulebook import Holding

VISIBLE_VERBS: Final = frozenset({"list", "watch"})
"""Verbs whose answer can be reduced to a part. Deleting a collection cannot: it is covered whole, or refused."""

MOST_PLACES: Final = 4_096
"""Places that are looked at before a list is given up on: a few milliseconds, and more than people write."""

MOST_REMEMBERED: Final = 4_096
"""Answers about places that one list or watch remembers."""

OTHER: Final = "\0"
"""A namespace or name that no rule lists: no object is called so."""


class Member(msgspec.Struct, frozen=True):
    """One member of the chain, with what it holds."""

    identity: Identity
    holding: Holding
    grants: Grants | None

    def rules(self, question: Question) -> Iterator[CompiledRule]:
        """Every rule that may say something about an object of the list, those of grants included."""
        yield from (rule for rule in self.holding.on_resource(question) if rule.has_verb(question))
        if self.grants is not None:
            for grant in (*self.grants.held, *(self.grants.bound or ())):
                yield from grant.rules


class Part(msgspec.Struct, frozen=True):
    """A piece of a list that can be asked for by itself."""

    namespace: str | None = None
    """None: as the list was asked for."""
    name: str | None = None
    """None: every name."""

    def has(self, where: Where) -> bool:
        """Whether an object there is in it."""
        return self.namespace in (None, where.namespace) and self.name in (None, where.name)


class Place(msgspec.Struct, frozen=True):
    """A namespace and a name that stand for themselves, or (`OTHER`) for all that no rule lists; what covers them."""

    namespace: str
    name: str
    covers: tuple[RuleRef | Granted, ...]
    """By member, root first."""


class _Hopeful(Evidence):
    """Takes every condition to be as good as it can be: what could be seen, were all of them in favour."""

    def met(self, rule: CompiledRule, member: Identity, question: Question, use: Use | None) -> bool:  # noqa: ARG002
        """See `Evidence`. Whoever asks, and what for, make no difference."""
        return rule.condition is None or not rule.guards


class Visible:
    """What of one list or watch may be seen. It never changes; what it has worked out it remembers, within limits."""

    __slots__ = ("_is_conditional", "_members", "_names", "_namespaces", "_question", "_shown", "_what", "places")

    def __init__(self, members: Sequence[Member], question: Question, what: Intent) -> None:
        """`question` is that of the whole list, without a name; `what` its request."""
        self._members: Final = tuple(members)
        self._question: Final = question
        self._what: Final = what
        rules = [rule for member in members for rule in member.rules(question)]
        self._is_conditional: Final = any(rule.condition is not None for rule in rules)
        self._namespaces: Final = _listed(rule.namespaces for rule in rules)
        self._names: Final = _listed(rule.names for rule in rules)
        self._shown: dict[tuple[str, str], bool] = {}
        self.places: Final = tuple(self._seen_places())
        """Where something could be seen; none where nothing could, or where there are too many places to tell."""

    def shows(self, where: Where) -> bool:
        """Whether an object there may be seen; in doubt (its place is not known, it is in another namespace than was
        asked for) it may not.
        """
        namespace, name = where.namespace, where.name
        if not name or namespace is None or not self._is_asked_for(namespace):
            return False
        if self._is_conditional:
            # Evidence remembers by question, and this one is asked once.
            return self._covers(Evidence(self._what), namespace, name) is not None
        key = (
            namespace if namespace in self._namespaces else OTHER,
            name if name in self._names or (self._question.is_of_namespaces and name in self._namespaces) else OTHER,
        )
        shown = self._shown.get(key)
        if shown is None:
            if len(self._shown) >= MOST_REMEMBERED:
                self._shown.clear()
            shown = self._shown[key] = self._covers(Evidence(self._what), namespace, name) is not None
        return shown

    def parts(self) -> tuple[Part, ...]:
        """Pieces that hold together all that may be seen, and as little else as rules can tell; one that is
        `Part()` where nothing less than the whole list does. An object may be in two of them: it belongs to the first.
        """
        rows: dict[str, list[str]] = {}
        for place in self.places:
            rows.setdefault(place.namespace, []).append(place.name)
        anywhere = rows.pop(OTHER, []) if self._is_over_all else []
        if OTHER in anywhere:
            return (Part(),)
        found = [Part(None, name) for name in anywhere]
        for namespace, names in rows.items():
            there = namespace if self._is_over_all else None
            if OTHER in names:
                found.append(Part(there, None))
            else:
                found += [Part(there, name) for name in names if name not in anywhere]
        return tuple(found)

    def covering(self, part: Part) -> RuleRef:
        """What gives its sender one of the parts."""
        place = (part.namespace or (OTHER if self._is_over_all else self._question.namespace), part.name or OTHER)
        found = next((one for one in self.places if (one.namespace, one.name) == place), self.places[0])
        cover = found.covers[-1]
        return cover.ref if isinstance(cover, Granted) else cover

    def shown_in(self, part: Part) -> Callable[[Where], bool]:
        """What may be seen of one of the parts, and is in none of those before it; whatever else comes is hidden."""
        parts = self.parts()
        before = parts[: parts.index(part)]
        if not before and part == Part():
            return self.shows
        return lambda where: part.has(where) and self.shows(where) and not any(one.has(where) for one in before)

    @property
    def rules(self) -> tuple[RuleRef, ...]:
        """What gives its sender what is shown, each once."""
        last = (place.covers[-1] for place in self.places)
        return tuple(dict.fromkeys(cover.ref if isinstance(cover, Granted) else cover for cover in last))

    def __eq__(self, other: object) -> bool:
        """Whether both show the same objects, whatever revision of the policies they are from."""
        return self is other or (isinstance(other, Visible) and self._meaning() == other._meaning())

    # Equal ones may hold different memories, so nothing is found by one; `object` says that it can be.
    __hash__ = None  # type: ignore[assignment]

    # --- working it out

    def _meaning(self) -> object:
        return self._question, [
            (
                member.identity,
                [
                    (rule.ref.policy, msgspec.structs.replace(rule.rule, line=0))
                    for rule in member.rules(self._question)
                ],
                _held(member.grants),
            )
            for member in self._members
        ]

    @property
    def _is_over_all(self) -> bool:
        return self._question.namespaced and not self._question.namespace

    def _is_asked_for(self, namespace: str) -> bool:
        if not self._question.namespaced:
            return not namespace
        return bool(namespace) and self._question.namespace in ("", namespace)

    def _seen_places(self) -> Iterator[Place]:
        """Every place where something could be seen; none at all where there are too many."""
        hopeful = _Hopeful(self._what)
        left = MOST_PLACES
        found = []
        for namespace in self._rows():
            names = (*sorted(self._names_in(namespace)), OTHER)
            left -= len(names)
            if left < 0:
                return iter(())
            for name in names:
                covers = self._covers(hopeful, namespace, name)
                if covers is not None:
                    found.append(Place(namespace, name, covers))
        return iter(found)

    def _rows(self) -> tuple[str, ...]:
        if not self._question.namespaced:
            return ("",)
        if self._question.namespace:
            return (self._question.namespace,)
        return (*sorted(self._namespaces), OTHER)

    def _names_in(self, namespace: str) -> frozenset[str]:
        """The names that rules list which may speak of objects there."""
        if self._question.is_of_namespaces:
            return self._names | self._namespaces
        there = self._asks(namespace, OTHER)
        return _listed(
            rule.names
            for member in self._members
            for rule in member.rules(there)
            if rule.namespaces is None or EVERYTHING in rule.namespaces or namespace in rule.namespaces
        )

    def _asks(self, namespace: str, name: str) -> Question:
        """The question about one object."""
        if self._question.is_of_namespaces:
            namespace = name
        return msgspec.structs.replace(self._question, namespace=namespace, name=name)

    def _covers(self, evidence: Evidence, namespace: str, name: str) -> tuple[RuleRef | Granted, ...] | None:
        """What covers an object there, for each member; None where it does not for one."""
        question = self._asks(namespace, name)
        covers = []
        for member in self._members:
            answer = judge(member.holding, member.identity, question, None, evidence, member.grants)
            if not isinstance(answer, RuleRef | Granted):
                return None
            covers.append(answer)
        return tuple(covers)


def _held(grants: Grants | None) -> list[tuple[str, tuple[Approval, ...]]]:
    """The grants of a member, as far as they make a difference to what is shown."""
    return [] if grants is None else [(one.task, one.approved) for one in (*grants.held, *(grants.bound or ()))]


def _listed(sets: Iterator[frozenset[str] | None] | Sequence[frozenset[str] | None]) -> frozenset[str]:
    """Everything that is listed by name."""
    return frozenset().union(*(one for one in sets if one is not None)) - {EVERYTHING}
