"""A gate that is killed while people are asked, and while what they approved is on its way: nothing passes twice."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from tests.e2e.gate import Agent
from tests.e2e.rules import allow
from tests.e2e.stub import Stub
from tests.e2e.team import Team, approve, team_at
from tests.e2e.wire import ConnectionEnded, Response

WAITING = 12
"""Requests that wait when the gate is killed."""
SECRETS = "/api/v1/namespaces/ci/secrets"
MAPS = "/api/v1/namespaces/ci/configmaps"
RULES = (
    allow("see", "get", "configmaps", "ci"),
    approve("keys", "get delete", "secrets", "ci"),
)


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    stub = Stub(tmp_path_factory.mktemp("stub"))
    yield stub
    stub.release.set()
    stub.stop()


@pytest.fixture(scope="module")
def team(stub: Stub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with team_at(tmp_path_factory.mktemp("killed"), [stub.cluster("dev")], {"workers": 2}) as team:
        yield team


def sent(agent: Agent, method: str, target: str) -> int:
    """The status of the answer; 0 where the connection ended without one."""
    try:
        answer: Response = agent.request(method, target)
    except (ConnectionEnded, OSError, ValueError):
        return 0
    return answer.status


def arrived(stub: Stub, target: str) -> int:
    return [each.target for each in stub.received].count(target)


def test_when_the_gate_is_killed_what_waits_is_refused_and_what_people_say_is_kept(team: Team, stub: Stub) -> None:
    agent = team.agent("many", RULES, f"{MAPS}/a")
    targets = [f"{SECRETS}/key-{number}" for number in range(WAITING)]
    with ThreadPoolExecutor(2 * WAITING) as threads:
        waiting = [threads.submit(sent, agent, "GET", target) for target in targets]
        team.gate.wait_until(lambda: len(team.waiting("many")) == WAITING, "all of them are asked about")
        approved, pending = team.waiting("many")[: WAITING // 2], team.waiting("many")[WAITING // 2 :]
        team.gate.kill()
        assert [each.result() for each in waiting] == [0] * WAITING
        assert [target for target in targets if arrived(stub, target)] == []
        team.gate.start()
        # Nobody was there to hear it: what was asked is still asked, and passes when it is sent again, once.
        for question in approved:
            team.approve(question["id"])
        names = {question["name"] for question in approved}
        good = [target for target in targets if target.rpartition("/")[2] in names]
        answers = [threads.submit(sent, agent, "GET", target) for target in good for _ in range(2)]
        team.gate.wait_until(lambda: all(arrived(stub, target) == 1 for target in good), "each passes")

        def answered() -> bool:
            # The second of each was told that it was used, or asks anew.
            for question in team.waiting("many"):
                team.answer("bob", question["id"], "deny")
            return all(each.done() for each in answers)

        team.gate.wait_until(answered, "all are answered")
        assert sorted(each.result() for each in answers) == [200] * len(good) + [403] * len(good)
    assert [arrived(stub, target) for target in targets if target not in good] == [0] * len(pending)
    assert [arrived(stub, target) for target in good] == [1] * len(good)


def _spent(team: Team, approval: str) -> bool:
    return bool(team.question(approval)["state"] == "spent")


def _entries(team: Team, approval: str, stage: str) -> list[dict[str, Any]]:
    found = team.gate.events(approval)
    return [
        event
        for event in found
        if event["stage"] == stage
        and event["annotations"].get("narrowgate.dev/decision") == "allow"
        and event["annotations"].get("narrowgate.dev/approval") == approval
    ]


def _asks_anew(team: Team, agent: Agent, before: str, target: str, threads: ThreadPoolExecutor) -> None:
    """The same request, sent again, is another question; nobody sends it by itself."""
    again: Future[int] = threads.submit(sent, agent, "DELETE", target)
    other = team.one_waiting(agent.name)
    assert other != before
    team.answer("bob", other, "deny")
    assert again.result() == 403


def test_killed_while_the_cluster_works_on_it_it_was_used_and_is_not_sent_again(team: Team, stub: Stub) -> None:
    agent = team.agent("forwarded", RULES, f"{MAPS}/a")
    target = f"{SECRETS}/held"
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(sent, agent, "DELETE", target)
        approval = team.one_waiting("forwarded")
        team.approve(approval)
        team.gate.wait_until(lambda: arrived(stub, target) == 1, "it is at the cluster")
        team.gate.kill()
        assert waiting.result() == 0
        team.gate.start()
        assert _spent(team, approval)
        # It may have happened: that it was let through was on the disk before it went.
        assert len(_entries(team, approval, "RequestReceived")) == 1
        _asks_anew(team, agent, approval, target, threads)
    assert arrived(stub, target) == 1


def test_killed_between_the_use_of_an_approval_and_the_sending_nothing_passes(team: Team, stub: Stub) -> None:
    agent = team.agent("between", RULES, f"{MAPS}/a")
    target = f"{SECRETS}/never"
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(sent, agent, "DELETE", target)
        approval = team.one_waiting("between")
        stub.down()
        # Connections are taken and never greeted: the gate is between the two for as long as it waits for that.
        silent = socket.create_server(("127.0.0.1", stub.port), backlog=8)
        try:
            team.approve(approval)
            team.gate.wait_until(lambda: _spent(team, approval), "it is used up")
            assert not waiting.done()
            team.gate.kill()
            assert waiting.result() == 0
        finally:
            silent.close()
            stub.up()
        team.gate.start()
        assert _spent(team, approval)
        assert arrived(stub, target) == 0
        _asks_anew(team, agent, approval, target, threads)
    assert arrived(stub, target) == 0
    verified = team.gate.command("audit", "verify")
    assert verified.code == 0, verified.text
