"""When each rule last let somebody through: what one process counts, on the way of every allowed request.

It costs a dictionary's write. Somebody else takes it from here every few seconds and keeps it.
"""

from __future__ import annotations

from narrowgate.core.decision import Allow, RuleRef
from narrowgate.core.identity import Chain
from narrowgate.core.policy import BUILT_IN
from narrowgate.core.standing import RuleUse

MOST_COUNTED = 10_000
"""Identities times rules between two times that they are taken; what is more is left out, and that is told."""

_Key = tuple[str, str, str, RuleRef]


class CountedRuleUses:
    """The memory of one process; its event loop alone touches it."""

    def __init__(self) -> None:
        self._used: dict[_Key, float] = {}
        self._lost_at: float | None = None

    def __len__(self) -> int:
        return len(self._used)

    def count(self, who: Chain, cluster: str, allowed: Allow, now: float) -> None:
        """Take down that these rules let a request through at `now` (Unix seconds): a stream, when it begins."""
        for member, ref in zip(who, allowed.covers, strict=True):
            if member.delegated_by:
                # It rests on the rule by the root of its chain, whose use was just taken down.
                continue
            # The value of an enum member is a property in CPython 3.11, four times slower than the attribute behind it.
            self._note((member.kind._value_, member.name, cluster, ref), now)
        for place, ref in allowed.covers_of_uses:
            member = who[place]
            if member.delegated_by:
                continue
            self._note((member.kind._value_, member.name, cluster, ref), now)

    def take(self) -> tuple[tuple[RuleUse, ...], float | None]:
        """Everything since the last time, and when something was left out (None: nothing was); forgotten here."""
        latest: dict[tuple[str, str, str, str], float] = {}
        for (kind, name, cluster, ref), at in self._used.items():
            if ref.policy != BUILT_IN:
                # The same rule under two revisions is one.
                key = (f"{kind.lower()}:{name}", cluster, ref.policy, ref.rule)
                latest[key] = max(at, latest.get(key, at))
        lost_at, self._used, self._lost_at = self._lost_at, {}, None
        uses = (
            RuleUse(holder=holder, cluster=cluster, policy=policy, rule=rule, at=at)
            for (holder, cluster, policy, rule), at in latest.items()
        )
        return tuple(uses), lost_at

    def put_back(self, uses: tuple[RuleUse, ...], lost_at: float | None) -> None:
        """Take back what could not be kept; what was counted since stays."""
        for use in uses:
            kind, _, name = use.holder.partition(":")
            written = _WRITTEN[kind]
            key = (written, name, use.cluster, RuleRef(use.policy, use.rule))
            if key not in self._used:
                self._note(key, use.at)
        if lost_at is not None:
            self._lost_at = max(lost_at, self._lost_at or lost_at)

    def _note(self, key: _Key, now: float) -> None:
        used = self._used
        if len(used) < MOST_COUNTED or key in used:
            used[key] = now
        else:
            self._lost_at = now


_WRITTEN = {"agent": "Agent", "person": "Person", "serviceaccount": "ServiceAccount"}
