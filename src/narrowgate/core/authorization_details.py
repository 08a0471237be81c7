"""What a task asks for, in the form of RFC 9396 (`authorization_details`), for programs that have it in parts anyway.

    {"type": "narrowgate_task", "locations": ["prod"], "actions": ["get", "list"],
     "datatypes": ["deployments.apps", "pods/log"], "namespaces": ["ci"]}

The fields are those of section 2.2, read so: `actions` are verbs, `datatypes` resources with group and subresource (as
`core.wanted` has them), `locations` clusters, `identifier` the name of one object. `namespaces` is our own. What is not
known here is refused, as section 5 has it; nothing is filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from narrowgate.core.wanted import MOST_WANTED, SUBRESOURCES, WantedRefused

TYPE = "narrowgate_task"

_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
_Words = Annotated[tuple[_Word, ...], msgspec.Meta(max_length=MOST_WANTED)]
_SomeWords = Annotated[tuple[_Word, ...], msgspec.Meta(min_length=1, max_length=MOST_WANTED)]

_APART = re.compile(r"[\s,]")
"""What separates words from each other: in one, it would make more of it than one."""


class TaskDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that a task is for (RFC 9396, section 2)."""

    type: Literal["narrowgate_task"]
    actions: Annotated[_SomeWords, msgspec.Meta(description="Verbs.")]
    datatypes: Annotated[_SomeWords, msgspec.Meta(description='Resources, like "deployments.apps" or "pods/log".')]
    locations: Annotated[_Words, msgspec.Meta(description="Clusters; left out: the agent's.")] = ()
    namespaces: Annotated[_Words, msgspec.Meta(description="Left out for what lives in none.")] = ()
    identifier: Annotated[str, msgspec.Meta(max_length=300, description="The name of one object.")] = ""


def words_of(details: Iterable[TaskDetails]) -> tuple[str, ...]:
    """The same in words that `read_wanted` reads, or refuses. Raises WantedRefused where a word would be two."""
    return tuple(word for one in details for word in _words(one))


def locations_of(details: Iterable[TaskDetails]) -> frozenset[str]:
    """The clusters that are named."""
    return frozenset(place for one in details for place in one.locations)


def _words(details: TaskDetails) -> Iterable[str]:
    for part in (*details.actions, *details.datatypes, *details.namespaces, details.identifier):
        if _APART.search(part):
            raise WantedRefused(f'"{part}" is more than one word; write each as an item of its list')
    if "/" in details.identifier:
        raise WantedRefused(f'identifier "{details.identifier}" is no name of an object')
    where = f" -n {','.join(details.namespaces)}" if details.namespaces else ""
    name = f"/{details.identifier}" if details.identifier else ""
    for datatype in details.datatypes:
        _, slash, subresource = datatype.partition("/")
        if slash and subresource not in SUBRESOURCES:
            raise WantedRefused(f'"{datatype}" has no subresource "{subresource}"; a name is written as identifier')
        yield f"{','.join(details.actions)} {datatype}{name}{where}"
