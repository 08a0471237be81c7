"""How people find a rule again: in decisions, refusals, masks and the record."""

from __future__ import annotations

import msgspec


class RuleRef(msgspec.Struct, frozen=True, cache_hash=True):
    """The rule that made a decision, as people find it again: policy name, rule id, revision of the policy set.

    Built-in rules have the policy name `narrowgate` (discovery for whoever holds anything, say).
    """

    policy: str
    rule: str
    revision: int = 0

    def __str__(self) -> str:
        return f"{self.policy}/{self.rule}"
