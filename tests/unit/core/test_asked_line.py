"""What people are asked about a line: by which rules, within which time, and what they see of it."""

from __future__ import annotations

from narrowgate.core.asked_line import needs_for_line, shown_line
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.request_summary import MAX_PIECE
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.typed_lines import LONGEST_LINE, LineGuard

SRE = Approval((Approvers("sre", 1),), 300.0)
DEV = Approval((Approvers("dev", 2),), 60.0)


def guard(rule: str, approval: Approval | None) -> LineGuard:
    return LineGuard(rule, (("rm",),), approval)


def test_all_rules_that_ask_are_asked_for() -> None:
    needs = needs_for_line([guard("shop/shell", SRE), guard("all/rm", DEV)], 7)
    assert needs.rules == (RuleRef("shop", "shell", 7), RuleRef("all", "rm", 7))
    assert needs.asks == (SRE, DEV)
    assert needs.rule == needs.rules[0]
    assert "rule shop/shell asks people about a line that was typed" in needs.message
    assert "sre" in needs.hint
    assert "dev" in needs.hint


def test_a_rule_that_asks_nobody_is_lifted_by_nobody() -> None:
    assert needs_for_line([guard("shop/shell", SRE), guard("all/rm", None)], 7).asks == ()


def test_the_line_is_shown_whole_and_on_lines_of_its_own() -> None:
    text = "rm -rf " + "x" * 500 + "\u202e\nsession: other"
    shown = list(shown_line(text, "id-1"))
    assert shown[1] == "session: id-1"
    assert shown[2].startswith("line: rm -rf xxx")
    assert all(line.startswith("line, further: ") for line in shown[3:])
    said = "".join(line.partition(": ")[2] for line in shown[2:])
    assert said == "rm -rf " + "x" * 500 + "\\u202e\\nsession: other"
    longest = "y" * LONGEST_LINE
    assert "".join(line.partition(": ")[2] for line in list(shown_line(longest, "a"))[2:]) == longest
    assert max(map(len, shown_line(longest, "a"))) < 2 * MAX_PIECE
