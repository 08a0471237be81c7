"""The question that people are asked about one line that is typed into a session, as any other about a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from narrowgate.core.decision import NeedsApproval, RuleRef
from narrowgate.core.refusals import asked_people
from narrowgate.core.request_summary import cut, in_pieces
from narrowgate.core.typed_lines import LineGuard

MAX_LINE = 16 * 1024
"""Characters of a line that are shown, as many as one may have (`typed_lines.LONGEST_LINE`)."""


def needs_for_line(guards: Sequence[LineGuard], revision: int) -> NeedsApproval:
    """What the rules that ask about a line ask for. `revision` is that of the policies they were read from."""
    asks = tuple(guard.approval for guard in guards if guard.approval is not None)
    rules = tuple(_ref(guard.rule, revision) for guard in guards)
    people = " and by ".join(dict.fromkeys(asked_people(ask) for ask in asks))
    return NeedsApproval(
        rule=rules[0],
        message=f"rule {guards[0].rule} asks people about a line that was typed",
        hint=f"it needs approval by {people}",
        rules=rules,
        # A rule that asks nobody is lifted by nobody.
        asks=asks if len(asks) == len(rules) else (),
    )


def shown_line(text: str, session: str) -> Iterator[str]:
    """The line as people see it, above what is said of the session that it is typed into. Raises nothing."""
    yield "a line that is typed into a session under way, to be entered once"
    yield f"session: {session}"
    # As one text: what breaks a line here, or turns it around, is written out.
    yield from in_pieces("line", cut(text, MAX_LINE))


def _ref(rule: str, revision: int) -> RuleRef:
    policy, _, name = rule.partition("/")
    return RuleRef(policy, name, revision)
