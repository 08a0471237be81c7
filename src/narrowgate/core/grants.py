"""What a task holds while it is active: rules that cover requests of one identity on one cluster, for a time.

A grant gives nothing by itself. It counts where a `grantable` rule of the policy in force would still grant it: a
tightened policy takes effect at once, and what was granted under an earlier one does not outlive it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from narrowgate.core.identity import Identity, Kind
from narrowgate.core.matching import CompiledRule, Question
from narrowgate.core.policy import Approval, Effect, OnEnd, Rule
from narrowgate.core.task_limits import Limits, is_within
from narrowgate.core.task_links import begins_with_one_of

GRANT = "task"
"""Where a policy's name stands in references to granted rules."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The access of one active task, for whoever comes with that task's credential."""

    task: str
    kind: Kind
    name: str
    """The identity that holds it."""
    cluster: str
    rules: tuple[CompiledRule, ...]
    """As `granted_rule` makes them: any of them covers."""
    begins_at: float
    ends_at: float
    """Unix seconds: it covers from the one until just before the other."""
    approved: tuple[Approval, ...] = ()
    """What people have said yes to."""
    link: str = ""
    """Of its task."""
    parent: str = ""
    """The task that its task was delegated from. Such a grant rests on no rule by itself: it is a bound of what that
    task's holder may do, who is judged beside it (`judging.Grants.bound`)."""
    emergency: bool = False
    """Whether its task is an emergency: it rests on emergency rules alone, and no other grant does."""
    limits: Limits | None = None
    """How many requests and streams it covers; None where any number."""
    on_end: OnEnd = OnEnd.LEAVE
    """What becomes of the workloads that its task leaves behind."""

    def is_held_by(self, member: Identity, cluster: str, now: float) -> bool:
        """Whether `member` holds it on `cluster` at `now`. A time that is no number (NaN) is outside."""
        same = self.kind is member.kind and self.name == member.name and self.task == member.task
        same = same and self.parent == member.delegated_by
        return same and self.cluster == cluster and self.begins_at <= now < self.ends_at

    def covers(self, question: Question) -> bool:
        """Whether one of its rules covers all of the question."""
        return any(rule.covers(question) for rule in self.rules)

    def is_grantable_by(self, rule: CompiledRule, now: float) -> bool:
        """Whether a grantable rule would still give it: for a shorter time by now, or only if other people say yes.
        None gives what was delegated.

        Nor does an emergency rule give anything to a task that is none, nor any other rule to one that is; nor does
        a rule that limits requests or streams more than the task was limited, or asks for a link that the task
        has not, or would have deleted what the task leaves behind.
        """
        longest, approval = rule.rule.max_duration, rule.rule.approval
        if self.parent:
            return False
        if self.emergency is not (rule.rule.review is not None):
            return False
        if approval is not None and approval not in self.approved:
            return False
        if not self._is_within_limits_of(rule.rule):
            return False
        return longest is not None and now < self.begins_at + longest

    def _is_within_limits_of(self, rule: Rule) -> bool:
        mine = self.limits
        if not is_within(mine.requests if mine is not None else None, rule.max_requests):
            return False
        if not is_within(mine.streams if mine is not None else None, rule.max_streams):
            return False
        if rule.on_end is OnEnd.DELETE_WORKLOADS and self.on_end is not OnEnd.DELETE_WORKLOADS:
            return False
        return rule.links is None or begins_with_one_of(self.link, rule.links)


def granted_rule(rule: Rule, task: str) -> CompiledRule:
    """A rule of a task as grants hold it. Raises ValueError for what a task cannot be granted.

    A task's rules are plain: no condition, because the grantable rule's own decides anew at every request, and nothing
    that withholds.
    """
    if rule.effect is not Effect.ALLOW or rule.when or rule.looks_inside:
        raise ValueError("a task is granted plain allow rules")
    return CompiledRule(f"{GRANT}/{task}", rule, 0)


def held_by(grants: Iterable[Grant], member: Identity, cluster: str, now: float) -> tuple[Grant, ...]:
    """The grants that `member` holds there and then, by task: the answer does not depend on their order."""
    held = (grant for grant in grants if grant.is_held_by(member, cluster, now))
    return tuple(sorted(held, key=lambda grant: grant.task))
