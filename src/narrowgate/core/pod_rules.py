"""What a rule says of the pods that a request makes or gets into (`pods`), as values. What it means is `pod_judging`'s.

All of it narrows what the rule gives, and gives nothing by itself: the account, the Secrets and whatever else a
template names must be allowed besides (`uses`).
"""

from __future__ import annotations

import enum

import msgspec

from narrowgate.core.named_templates import TemplatePath


class Action(enum.Enum):
    """What becomes of a request whose pods are not as a rule says."""

    DENY = "deny"
    APPROVE = "approve"
    """People are asked; by whom is the rule's `approval`."""
    MEND = "mend"
    """What is written is changed so that it is, and its sender is told. For tokens alone."""
    ALLOW = "allow"


class Level(enum.Enum):
    """The levels of Kubernetes' Pod Security Standards."""

    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"


class PodRules(msgspec.Struct, frozen=True, kw_only=True):
    """What pods may be. None and empty defaults mean that the rule says nothing of it."""

    service_accounts: tuple[str, ...] | None = None
    """Names of the accounts that they may run as; a pod that names none runs as `default`."""
    stronger_accounts: Action | None = None
    """DENY, APPROVE or ALLOW. None: DENY for agents and whatever they have started, ALLOW for people."""
    automount_token: Action = Action.ALLOW
    """For pods that do not say `automountServiceAccountToken: false`."""
    token_audiences: tuple[str, ...] | None = None
    """Audiences of projected tokens; one that names none is for the API server, and is not in any list."""
    level: Level = Level.PRIVILEGED
    images: tuple[str, ...] | None = None
    """Exact, or what they begin with where they end in `*`."""
    node_choice: bool = True
    """Whether they may choose their nodes."""
    templates: tuple[TemplatePath, ...] = ()
    """Where custom resources keep them, besides where that can be seen; what is not there is refused."""
    otherwise: Action = Action.DENY
    """DENY or APPROVE: for whatever has no action of its own."""

    @property
    def reads_templates(self) -> bool:
        """Whether it hangs on more of the pods than on their account."""
        return msgspec.structs.replace(self, stronger_accounts=None, otherwise=Action.DENY) != PodRules()

    @property
    def asks(self) -> bool:
        """Whether it ever asks people."""
        return Action.APPROVE in (self.stronger_accounts, self.automount_token, self.otherwise)
