"""A list or watch of which its sender may see a part: what is asked of the cluster for it, what of the answer is shown,
and what is told about that.

Nothing that is told counts what is hidden but the record: with a selector beside it, a count answers questions about
objects that its reader may not see.
"""

from __future__ import annotations

from typing import Final

from narrowgate.core.cluster import UpstreamMode
from narrowgate.core.masking.choosing import Where
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.visible import Part, Visible

RULES_TOLD: Final = 3
"""Rules that a warning names: kubectl prints it above every list, and names may take 300 characters each."""

WHOLE: Final = Part()

MOST_PIECES: Final = 64
"""Pieces that one list is asked for in: each is a request of its own, one after the other."""


class InPieces(Exception):
    """What was asked for could only be had in pieces that cannot be put together; the message says what to do."""


class Reduction:
    """What one answer is reduced to. It counts what it was asked about."""

    def __init__(self, visible: Visible, part: Part = WHOLE) -> None:
        """`part` is what is asked of the cluster for this answer."""
        self._visible = visible
        self._shown = 0
        self._hidden = 0
        self.turn_to(part)

    def turn_to(self, part: Part) -> None:
        """What comes next is another part of the same list."""
        self._shows = self._visible.shows if part == WHOLE else self._visible.shown_in(part)

    def shows(self, where: Where) -> bool:
        """Whether an object there leaves, of the part that was asked for."""
        shown = self._shows(where)
        if shown:
            self._shown += 1
        else:
            self._hidden += 1
        return shown

    def told(self) -> tuple[str, ...]:
        """How much was shown and hidden so far: objects, rows, or events of a watch; for the record alone."""
        return f"shown={self._shown}", f"hidden={self._hidden}"

    def warnings(self) -> tuple[tuple[bytes, bytes], ...]:
        """The `Warning` header (RFC 9111 5.5) that says that there may be more, the same however much there is."""
        line = f"shows only what you may see, by {_named(self._visible.rules)}"
        return ((b"warning", f'299 narrowgate "{line}"'.encode("ascii", "replace")),)


def parts_of(visible: Visible, info: RequestInfo, mode: UpstreamMode) -> tuple[Part, ...]:
    """The pieces in which a list or watch is asked of the cluster, at least one. Raises InPieces.

    One piece says the same as the whole, and its answer is smaller. Several are asked for where the cluster itself
    judges the sender, which may not list the whole: its accounts hold no more than the policies give. Several watches
    would not make one: whoever watches goes on, after a break, from the version of the last event, and by then another
    one of them may have had no event for long, or have had later ones that never came.
    """
    parts = visible.parts()
    if len(parts) == 1:
        return parts
    if mode is UpstreamMode.CREDENTIAL:
        return (WHOLE,)
    if info.verb == "watch":
        raise InPieces(
            "what you may see of this is in several pieces, which cannot be watched as one: watch each namespace, or "
            "name, by itself"
        )
    if len(parts) > MOST_PIECES:
        raise InPieces(
            f"what you may see of this is in {len(parts)} pieces, and at most {MOST_PIECES} are put together: "
            "list each namespace, or name, by itself"
        )
    return parts


def _named(rules: tuple[RuleRef, ...]) -> str:
    named = ", ".join(str(rule) for rule in rules[:RULES_TOLD])
    more = f" and {len(rules) - RULES_TOLD} more" if len(rules) > RULES_TOLD else ""
    return f"rule{'s' if len(rules) > 1 else ''} {named}{more}"
