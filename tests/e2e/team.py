"""People who answer, at a gate before a cluster: signed in at Dex by a browser, answering by the gate's own API.

Here belongs what the tests of races and attacks share: many answers in little time, from several threads, by real
sign-ins. What people do at their terminals is in `person.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.e2e.api_caller import Answered, Caller, by_session, by_token
from tests.e2e.dex import ALICE, BOB, CAROL
from tests.e2e.gate import Agent, Gate
from tests.e2e.rules import allow
from tests.e2e.signing_in import SignInGate, sign_in_gate

DEVELOPERS = "corp:developers"
"""Alice and bob are in it, carol is not."""

PROBES = 8
"""Connections after which each of two processes has surely had one."""


def asks(count: int = 1, within: str = "5m") -> dict[str, Any]:
    """The approval of a rule: so many developers, in so much time."""
    return {"from": [{"group": DEVELOPERS, "count": count}], "within": within}


def approve(identifier: str, verbs: str, resources: str, namespace: str, **more: Any) -> dict[str, Any]:
    """A rule that holds what it matches; `count` developers must say yes within `within`."""
    ask = asks(more.pop("count", 1), more.pop("within", "5m"))
    return {**allow(identifier, verbs, resources, namespace, **more), "effect": "approve", "approval": ask}


class Team:
    """A running gate, and alice, bob and carol signed in at its console."""

    def __init__(self, running: SignInGate) -> None:
        self.running = running
        self.people: Mapping[str, Caller] = {
            who.name: by_session(running.gate, running.signed_in(who)) for who in (ALICE, BOB, CAROL)
        }

    @property
    def gate(self) -> Gate:
        return self.running.gate

    def name_of(self, who: str) -> str:
        return str(self.people[who]("GET", "/whoami").document["name"])

    def answer(self, who: str, approval: str, voice: str = "approve") -> Answered:
        body = {"reason": "no"} if voice == "deny" else {}
        return self.people[who]("POST", f"/approvals/{approval}/{voice}", body)

    def approve(self, approval: str, *people: str) -> None:
        """These people say yes (bob where nobody is named), and are heard."""
        for who in people or ("bob",):
            said = self.answer(who, approval)
            assert said.status == 200, said.document

    def question(self, approval: str) -> dict[str, Any]:
        """As bob sees it."""
        found = self.people["bob"]("GET", f"/approvals/{approval}")
        assert found.status == 200, found.document
        return dict(found.document)

    def waiting(self, holder: str) -> list[dict[str, Any]]:
        """What bob may answer for this agent, newest first."""
        found = self.people["bob"]("GET", "/approvals?limit=500")
        assert found.status == 200, found.document
        return [one for one in found.document["items"] if one["chain"] == [f"agent:{holder}"] and one["mayAnswer"]]

    def one_waiting(self, holder: str) -> str:
        """The id of the one question that waits for this agent, once there is one."""
        self.gate.wait_until(lambda: len(self.waiting(holder)) == 1, f"one question of {holder}")
        return str(self.waiting(holder)[0]["id"])

    def agent(self, name: str, rules: Sequence[Mapping[str, Any]], probe: str, *, cluster: str = "dev") -> Agent:
        """An agent with these rules in force: one of them lets it get `probe`, a target."""
        agent = self.gate.agent(name, cluster=cluster)
        self.gate.allow(name, rules, cluster=cluster)
        self.gate.wait_until(lambda: everywhere(agent, probe, {200, 404}), f"the rules of {name}")
        _wait_for_the_api(self.gate, agent)
        return agent


def _wait_for_the_api(gate: Gate, agent: Agent) -> None:
    """Until the gate's own API, a process of its own, knows this credential, too."""
    call = by_token(gate, agent.token)
    gate.wait_until(lambda: call("GET", "/whoami").status == 200, "the API knows the credential")


def everywhere(agent: Agent, target: str, wanted: set[int]) -> bool:
    """Whether each process of the gate answers so: each hears of changes by itself, within half a second."""
    return all(agent.request("GET", target).status in wanted for _ in range(PROBES))


@contextmanager
def team_at(
    folder: Path, clusters: Sequence[Mapping[str, Any]], settings: Mapping[str, Any] | None = None
) -> Iterator[Team]:
    """A team at a gate of its own."""
    with sign_in_gate(folder, clusters, settings=settings) as running:
        yield Team(running)


def task_of(gate: Gate, agent: Agent, *allow: str, lasts: str = "10m") -> tuple[str, Agent]:
    """A task that needs nobody: its id, and the agent as it comes with the task's credential, known everywhere."""
    wish = {"purpose": "test", "allow": list(allow), "for": lasts}
    call = by_token(gate, agent.token)
    gate.wait_until(lambda: call("POST", "/tasks/check", wish).status == 200, "it is offered")
    made = call("POST", "/tasks", wish)
    assert made.status == 201, made.document
    working = replace(agent, token=made.document["credential"])
    # Each process hears of it by itself, within half a second.
    gate.wait_until(
        lambda: all(working.request("GET", "/version").status != 401 for _ in range(8)), "the task is known"
    )
    return str(made.document["id"]), working
