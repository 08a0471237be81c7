"""The three answers of `decide`, and nothing else.

Only `core/decide.py` makes an `Allow` (a house test reads the tree for that); `proxy` cannot forward without one.
"""

from __future__ import annotations

import msgspec

from narrowgate.core.masking.choosing import MaskChoice
from narrowgate.core.policy import Approval
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.task_limits import Limits
from narrowgate.core.typed_lines import LineGuard
from narrowgate.core.visible import Visible

__all__ = ["Allow", "Decision", "Deny", "NeedsApproval", "RuleRef"]


class Allow(msgspec.Struct, frozen=True, kw_only=True):
    """Forward it, with these obligations."""

    rule: RuleRef
    """What covers the sender (the last of the chain); `covers` has one for every member, root first."""
    covers: tuple[RuleRef, ...]
    covers_of_uses: tuple[tuple[int, RuleRef], ...] = ()
    """What covers each thing that the request uses, behind the place in the chain of whom it covers."""
    tasks: tuple[str, ...] = ()
    """The tasks whose grants it rests on, sorted; none where standing rules cover all of it."""
    limits: tuple[Limits, ...] = ()
    """Of those tasks that have some, by task: each must have a request left, and a stream for what is one, before
    anything is forwarded."""
    approval: str = ""
    """The approval that lifts what would hold it: to be spent before anything is forwarded. Empty where none is."""
    deadline: float | None = None
    """Unix seconds: a stream that still runs then is decided again."""
    masks: MaskChoice | None = None
    """What must be masked in the answer before any of it leaves; None where nothing is."""
    lines: tuple[LineGuard, ...] = ()
    """What ends the session that it opens, or waits for people, when it is typed there, by each rule that lets it
    in."""
    mends: tuple[tuple[str, ...], ...] = ()
    """The pod specs of the body that are sent on with `automountServiceAccountToken: false`, by their paths."""
    visible: Visible | None = None
    """What of a list or watch may be seen, and must be all that leaves; None where all of it may."""


class Deny(msgspec.Struct, frozen=True, kw_only=True):
    """Refuse it. `message` says what was asked and why not, `hint` what to do; both are for people and agents."""

    message: str
    hint: str = ""
    rule: RuleRef | None = None
    """The deny rule that matched; None where simply nothing covers the request."""
    code: int = 403
    missing: tuple[str, ...] = ()
    """All that its sender lacks, in words that a task asks for it with; empty where no words would let it pass."""


class NeedsApproval(msgspec.Struct, frozen=True, kw_only=True):
    """Hold it for people: once all of `asks` are fulfilled, and for this very request alone, nothing holds it."""

    rule: RuleRef
    """The first of `rules`."""
    message: str
    hint: str = ""
    rules: tuple[RuleRef, ...] = ()
    """Every rule that holds it, whoever in the chain and whichever part of the request it is about."""
    asks: tuple[Approval, ...] = ()
    """What each of `rules` asks for, in their order."""
    reveals: tuple[RuleRef, ...] = ()
    """Those of `rules` that show what is masked, once people have said yes."""
    approval: str = ""
    """The question that was put to people; empty where none was."""


Decision = Allow | Deny | NeedsApproval
