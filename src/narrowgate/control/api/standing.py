"""The call that lists standing access: what `allow` rules open at any time, since when, and when it was last used."""

from __future__ import annotations

import msgspec

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.paging import ListMeta, Page, page_of, read_token
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.policies import number_in
from narrowgate.control.api.tasks import holder_of
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.agent import AgentRecord
from narrowgate.core.call_rights import answers_for
from narrowgate.core.identity import Identity
from narrowgate.core.moment import moment_text
from narrowgate.core.standing import Standing, rule_text, standing_of, standing_of_subjects, without_former

_LIST = "standing"


class StandingDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One allow rule, for one of those whom it is for, on one cluster."""

    holder: str
    """`agent:ci-bot`, `group:ci`, `agent:*`; for whoever sees their own alone, always one identity."""
    agents: int
    """How many registered agents that is, now."""
    cluster: str
    """`*`: every cluster."""
    policy: str
    rule: str
    allow: str
    """What the rule opens, in words."""
    since: str
    """When the revision was made since which the very same rule stands; empty where that is not known."""
    revision: int
    """That revision; 0 where it is not known."""
    is_older: bool
    """Whether it may be older still: no older revision was looked at."""
    last_used_at: str
    """Empty where it was not used, as it stands now, since `unusedSince`. A stream counts when it begins."""
    last_used_by: str
    unused_since: str
    """Empty where it was used, and where nobody has begun to count."""


class StandingList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of standing access, worst first: never used and old, then used long ago, then used lately."""

    items: tuple[StandingDocument, ...]
    metadata: ListMeta


def list_standing(parts: ApiParts, sent: Sent) -> Answered:
    """All that stands, or what stands for the caller and the agents that they answer for."""
    page: Page = sent.query
    if sent.rulebook is None:
        raise Problem(Trouble.UNAVAILABLE, "the policies in force are not known now; try again soon")
    behind = number_in(read_token(page, _LIST)) or 0
    policies, aged = sent.rulebook.policies, parts.standing_ages.of(sent.rulebook, parts.store)
    agents = parts.store.agents()
    known = without_former(parts.store.rule_uses.known(), agents)
    if sent.reaches_all:
        found = standing_of_subjects(policies, aged, known, agents)
    else:
        found = standing_of(_own(sent.caller.identity, agents), policies, aged, known)
    numbered = list(enumerate(found, 1))[behind : behind + page.limit + 1]
    shown, meta = page_of(numbered, page, _LIST, lambda one: str(one[0]))
    return Answered(document=StandingList(items=tuple(document_of(line) for _, line in shown), metadata=meta))


def _own(who: Identity, agents: tuple[AgentRecord, ...]) -> list[Identity]:
    """The caller, and the agents that they answer for."""
    return [who, *(holder_of(agent) for agent in agents if answers_for(who, agent))]


def document_of(line: Standing) -> StandingDocument:
    """One line as the API tells it."""
    access, age, last = line.access, line.age, line.last_use
    return StandingDocument(
        holder=line.holder,
        agents=line.agents,
        cluster=access.cluster,
        policy=access.policy,
        rule=access.rule.id,
        allow=rule_text(access.rule),
        since=moment_text(age.at) if age is not None else "",
        revision=age.revision if age is not None else 0,
        is_older=age.is_older if age is not None else False,
        last_used_at=moment_text(last.at) if last is not None else "",
        last_used_by=last.holder if last is not None else "",
        unused_since=moment_text(line.unused_since) if line.unused_since is not None else "",
    )
