"""`narrowgate tasks request --from-denied`: what refused requests lacked becomes one wish, and nothing more."""

from __future__ import annotations

from typing import Any

import click
import pytest

from narrowgate.cli.denied_requests import MOST_IDS, read_ids, with_denied
from narrowgate.cli.failure import Failed
from narrowgate.cli.oauth_client import GateRefused, GateUnreachable

WISH = {"purpose": "look"}


class Gate:
    """Tells what it knows of refused requests; those of `late` only when it is asked for the second time."""

    def __init__(self, *denied: dict[str, Any], late: frozenset[str] = frozenset()) -> None:
        self._denied = {str(one["auditId"]): one for one in denied}
        self._late = set(late)
        self.asked: list[str] = []

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        audit_id = path.removeprefix("/denied/")
        if audit_id in self._late:
            self._late.remove(audit_id)
            raise GateRefused("", "no such request", 404)
        if audit_id not in self._denied:
            raise GateRefused("", "you may not", 403)
        return self._denied[audit_id]


def denied(audit_id: str, *words: str, **other: str) -> dict[str, Any]:
    return {"auditId": audit_id, "agent": "bot", "cluster": "dev", "allow": list(words), **other}


def test_what_one_lacked_is_asked_for_on_its_cluster_for_its_agent() -> None:
    asked = with_denied(Gate(denied("a", "get secrets/key -n ci")), WISH, ("a",))
    assert asked == {"purpose": "look", "agent": "bot", "cluster": "dev", "allow": ["get secrets/key -n ci"]}


def test_several_are_put_together_and_stand_beside_what_is_asked_for_besides() -> None:
    gate = Gate(denied("a", "get pods -n ci"), denied("b", "list pods -n ci", "get pods -n ci"))
    asked = with_denied(gate, WISH | {"allow": ["get nodes"]}, ("a", "b"))
    assert asked["allow"] == ["get nodes", "get,list pods -n ci"]


def test_a_refusal_that_is_not_written_down_yet_is_asked_for_again() -> None:
    gate = Gate(denied("a", "get pods -n ci"), late=frozenset({"a"}))
    assert with_denied(gate, WISH, ("a",))["allow"] == ["get pods -n ci"]
    assert gate.asked == ["/denied/a", "/denied/a"]


def test_what_is_refused_is_not_asked_for_again() -> None:
    gate = Gate()
    with pytest.raises(GateRefused, match="you may not"):
        with_denied(gate, WISH, ("a",))
    assert len(gate.asked) == 1


@pytest.mark.parametrize(
    ("wish", "other", "what"),
    [
        (WISH, {"cluster": "prod"}, "cluster: dev, prod"),
        (WISH, {"agent": "eve"}, "agent: bot, eve"),
        (WISH | {"cluster": "prod"}, {}, "cluster: dev, prod"),
        (WISH | {"agent": "eve"}, {}, "agent: bot, eve"),
    ],
)
def test_requests_of_different_agents_or_clusters_are_no_one_task(
    wish: dict[str, Any], other: dict[str, str], what: str
) -> None:
    gate = Gate(denied("a", "get pods -n ci"), denied("b", "get pods -n ci", **other))
    with pytest.raises(Failed, match=what):
        with_denied(gate, wish, ("a", "b"))


def test_a_gate_that_tells_no_words_is_none() -> None:
    with pytest.raises(GateUnreachable, match="no task can be asked for"):
        with_denied(Gate(denied("a", "\x1b[2J everything")), WISH, ("a",))


def test_ids_are_read_one_by_one_or_with_commas_each_once() -> None:
    assert read_ids(("a-1,b", "b", " c")) == ("a-1", "b", "c")
    assert read_ids(()) == ()


@pytest.mark.parametrize("text", ["", "a,", "../tasks", "a b", "é", "x" * 65, ",".join(map(str, range(MOST_IDS + 1)))])
def test_what_is_no_id_is_refused_before_anybody_is_asked(text: str) -> None:
    with pytest.raises(click.BadParameter):
        read_ids((text,))
