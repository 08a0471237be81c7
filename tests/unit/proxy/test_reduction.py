"""What is asked for, shown and told of a list of which its sender may see a part."""

from __future__ import annotations

import pytest
from tests.deciding import agent, answer, asks, policy, rule

from narrowgate.core.cluster import UpstreamMode
from narrowgate.core.decision import Allow
from narrowgate.core.masking.choosing import Where
from narrowgate.core.policy import Policy
from narrowgate.core.request_info import request_info
from narrowgate.core.target import parse_target
from narrowgate.core.visible import Part, Visible
from narrowgate.proxy.reduction import MOST_PIECES, WHOLE, InPieces, Reduction, parts_of

IN_CI = rule("allow", "get list watch", "pods", namespaces="ci", id="in-ci")
NAMED = rule("allow", "get list watch", "pods", namespaces="prod", names="web", id="named")
PODS = request_info("GET", parse_target(b"/api/v1/pods"))
WATCH = request_info("GET", parse_target(b"/api/v1/pods?watch=true"))


def visible(*policies: Policy) -> Visible:
    decision = answer(asks("list", "pods"), *policies, by=agent())
    assert isinstance(decision, Allow)
    assert decision.visible is not None
    return decision.visible


@pytest.mark.parametrize("mode", list(UpstreamMode))
def test_one_piece_is_asked_for_by_itself(mode: UpstreamMode) -> None:
    assert parts_of(visible(policy(IN_CI)), PODS, mode) == (Part("ci", None),)
    assert parts_of(visible(policy(NAMED)), WATCH, mode) == (Part("prod", "web"),)


@pytest.mark.parametrize("info", [PODS, WATCH], ids=["list", "watch"])
def test_where_the_gates_own_credential_is_used_several_pieces_are_asked_for_as_one(info: object) -> None:
    assert parts_of(visible(policy(IN_CI, NAMED)), info, UpstreamMode.CREDENTIAL) == (WHOLE,)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", [UpstreamMode.IMPERSONATE, UpstreamMode.SERVICE_ACCOUNT])
def test_several_pieces_are_not_watched_as_one_where_the_cluster_judges_the_sender(mode: UpstreamMode) -> None:
    with pytest.raises(InPieces, match="watch each namespace"):
        parts_of(visible(policy(IN_CI, NAMED)), WATCH, mode)


def test_several_pieces_of_a_list_are_asked_for_one_by_one_up_to_a_limit() -> None:
    def pieces(count: int) -> tuple[Part, ...]:
        names = " ".join(f"n{number:03}" for number in range(count))
        rules = policy(rule("allow", "get list", "pods", namespaces=names))
        return parts_of(visible(rules), PODS, UpstreamMode.IMPERSONATE)

    assert pieces(2) == (Part("n000", None), Part("n001", None))
    assert len(pieces(MOST_PIECES)) == MOST_PIECES
    with pytest.raises(InPieces, match="list each namespace"):
        pieces(MOST_PIECES + 1)


def test_what_is_shown_and_hidden_is_counted_for_the_record_and_told_to_nobody_else() -> None:
    reduction = Reduction(visible(policy(IN_CI, NAMED)))
    before = reduction.warnings()
    asked = [Where("ci", "a"), Where("prod", "web"), Where("prod", "db"), Where("other", "web")]
    assert [reduction.shows(where) for where in asked] == [True, True, False, False]
    assert reduction.told() == ("shown=2", "hidden=2")
    assert reduction.warnings() == before


def test_an_object_of_two_pieces_is_shown_in_one_of_them() -> None:
    everywhere = rule("allow", "get list", "pods", namespaces="*", names="web", id="everywhere")
    found = visible(policy(IN_CI, everywhere))
    shown = [Reduction(found, part).shows(Where("ci", "web")) for part in found.parts()]
    assert sorted(shown) == [False, True]


def test_a_warning_names_a_few_rules() -> None:
    def told(*names: str) -> str:
        rules = [rule("allow", "get list", "pods", namespaces=name, id=f"in-{name}") for name in names]
        ((name, line),) = Reduction(visible(policy(*rules, name="p"))).warnings()
        assert name == b"warning"
        return line.decode()

    assert told("a") == '299 narrowgate "shows only what you may see, by rule p/in-a"'
    assert told("a", "b") == '299 narrowgate "shows only what you may see, by rules p/in-a, p/in-b"'
    assert told("a", "b", "c", "d", "e").endswith('by rules p/in-a, p/in-b, p/in-c and 2 more"')
