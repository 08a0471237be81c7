"""What happens at the same instant: answers, deadlines, ends and changes, each from a process or thread of its own.

Whoever comes first, the outcome is one that could have come about with everybody in turn.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from typing import Any

import pytest
from tests.e2e.api_caller import Answered, by_token
from tests.e2e.gate import Agent, Gate
from tests.e2e.rules import allow, deny
from tests.e2e.stub import Stub
from tests.e2e.tasks import grantable
from tests.e2e.team import Team, approve, everywhere, task_of, team_at
from tests.e2e.wire import ConnectionEnded

MAPS = "/api/v1/namespaces/ci/configmaps"
SECRETS = "/api/v1/namespaces/ci/secrets"
SEE = allow("see", "get", "configmaps", "ci")
PROBE = f"{MAPS}/a"
WITHIN = 4.0
"""Seconds for an answer where the answer comes as they end."""
ROUNDS = 16
STEP = 0.012
"""Seconds from one answer to the next: the sixteen are spread around the deadline, most of them within the time that an
answer takes on a busy machine."""
DECISION = "narrowgate.dev/decision"


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    stub = Stub(tmp_path_factory.mktemp("stub"))
    yield stub
    stub.release.set()
    stub.stop()


@pytest.fixture(scope="module")
def team(stub: Stub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    # One process that forwards: what it knows is known. Several of them are in test_approvals_requests.py.
    with team_at(tmp_path_factory.mktemp("races"), [stub.cluster("dev")], {"workers": 1}) as team:
        yield team


def arrived(stub: Stub, target: str) -> int:
    return [each.target for each in stub.received].count(target)


def asked(team: Team, holder: str, count: int) -> dict[str, dict[str, Any]]:
    """The questions that wait, by the name of what they are about, once there are so many."""
    team.gate.wait_until(lambda: len(team.waiting(holder)) == count, f"{count} questions of {holder}")
    return {str(one["name"]): one for one in team.waiting(holder)}


def test_an_answer_as_the_time_ends_counts_or_does_not_and_everybody_is_told_the_same(team: Team, stub: Stub) -> None:
    hurried = approve("keys", "get", "secrets", "ci", within=f"{WITHIN:.0f}s")
    agent = team.agent("hurried", [SEE, hurried], PROBE)
    names = [f"late-{number}" for number in range(ROUNDS)]
    with ThreadPoolExecutor(2 * ROUNDS) as threads:
        sent = {name: threads.submit(agent.request, "GET", f"{SECRETS}/{name}") for name in names}
        questions = asked(team, "hurried", ROUNDS)
        answers = {
            name: threads.submit(_answer_at, team, questions[name], (number - ROUNDS / 2) * STEP)
            for number, name in enumerate(names)
        }
        for name in names:
            said, status = answers[name].result(), sent[name].result().status
            state = team.question(questions[name]["id"])["state"]
            passed = arrived(stub, f"{SECRETS}/{name}")
            # Heard is not yet passed: it has to be used in time, too, and again once it is used. Not heard, not passed.
            assert (said.status, status, state, passed) in {
                (200, 200, "spent", 1),
                (200, 403, "spent", 0),
                # Sent in time, and answered too late to be shown.
                (200, 403, "spent", 1),
                (200, 403, "lapsed", 0),
                (409, 403, "lapsed", 0),
            }, said.document


def _answer_at(team: Team, question: dict[str, Any], offset: float) -> Answered:
    """Bob's yes, on its way so many seconds after the question lapses (before, where negative)."""
    lapses_at = datetime.fromisoformat(question["lapsesAt"]).timestamp()
    time.sleep(max(0.0, lapses_at + offset - time.time()))
    return team.answer("bob", question["id"])


def test_a_yes_and_a_no_at_once_come_to_one_end(team: Team, stub: Stub) -> None:
    agent = team.agent("torn", [SEE, approve("keys", "get", "secrets", "ci")], PROBE)
    names = [f"torn-{number}" for number in range(ROUNDS)]
    with ThreadPoolExecutor(3 * ROUNDS) as threads:
        sent = {name: threads.submit(agent.request, "GET", f"{SECRETS}/{name}") for name in names}
        questions = asked(team, "torn", ROUNDS)
        voices: dict[str, list[Any]] = {}
        for name in names:
            start = threading.Barrier(2)
            voices[name] = [
                threads.submit(_at_once, start, team, who, questions[name]["id"], voice)
                for who, voice in (("alice", "approve"), ("bob", "deny"))
            ]
        outcomes = Counter[str]()
        for name in names:
            yes, no = (each.result().status for each in voices[name])
            status = sent[name].result().status
            state = team.question(questions[name]["id"])["state"]
            found = (yes, no, status, state, arrived(stub, f"{SECRETS}/{name}"))
            assert found in {(200, 409, 200, "spent", 1), (409, 200, 403, "denied", 0)}
            outcomes[state] += 1
    assert outcomes.total() == ROUNDS


def _at_once(start: threading.Barrier, team: Team, who: str, approval: str, voice: str = "approve") -> Answered:
    start.wait()
    return team.answer(who, approval, voice)


def test_of_two_answers_that_are_needed_at_once_none_is_lost(team: Team, stub: Stub) -> None:
    agent = team.agent("paired", [SEE, approve("keys", "get", "secrets", "ci", count=2)], PROBE)
    names = [f"paired-{number}" for number in range(ROUNDS)]
    with ThreadPoolExecutor(3 * ROUNDS) as threads:
        sent = {name: threads.submit(agent.request, "GET", f"{SECRETS}/{name}") for name in names}
        questions = asked(team, "paired", ROUNDS)
        for name in names:
            start = threading.Barrier(2)
            both = [threads.submit(_at_once, start, team, who, questions[name]["id"]) for who in ("alice", "bob")]
            assert [each.result().status for each in both] == [200, 200]
        assert [sent[name].result().status for name in names] == [200] * ROUNDS
    assert [arrived(stub, f"{SECRETS}/{name}") for name in names] == [1] * ROUNDS


def test_of_a_withdrawal_and_a_use_at_once_one_happens(team: Team, stub: Stub) -> None:
    agent = team.agent("hesitant", [SEE, approve("keys", "get", "secrets", "ci")], PROBE)
    own = by_token(team.gate, agent.token)
    names = [f"hesitant-{number}" for number in range(ROUNDS)]
    with ThreadPoolExecutor(3 * ROUNDS) as threads:
        sent = {name: threads.submit(agent.request, "GET", f"{SECRETS}/{name}") for name in names}
        questions = asked(team, "hesitant", ROUNDS)
        for name in names:
            approval = questions[name]["id"]
            team.approve(approval)
            withdrawn = own("POST", f"/approvals/{approval}/withdraw")
            found = (withdrawn.status, sent[name].result().status, arrived(stub, f"{SECRETS}/{name}"))
            assert found in {(200, 403, 0), (409, 200, 1)}
            assert (found[0] == 200) == (team.question(approval)["state"] == "withdrawn")


@pytest.mark.parametrize("change", ["a deny rule comes", "the rule is gone", "it asks for more", "nobody is asked"])
def test_a_policy_that_changes_while_a_request_waits_decides_at_once(change: str, team: Team, stub: Stub) -> None:
    name = "during-" + change.replace(" ", "-")
    key = approve("keys", "get", "secrets", "ci")
    agent = team.agent(name, [SEE, key], PROBE)
    target = f"{SECRETS}/{name}"
    rules: dict[str, list[Any]] = {
        "a deny rule comes": [SEE, key, deny("never", "get", "secrets", namespaces=["ci"])],
        "the rule is gone": [SEE],
        "it asks for more": [
            SEE,
            allow("in-force", "get", "pods", "ci"),
            approve("keys", "get", "secrets", "ci", count=2),
        ],
        "nobody is asked": [SEE, allow("keys", "get", "secrets", "ci")],
    }
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(agent.request, "GET", target)
        approval = team.one_waiting(name)
        team.gate.allow(name, rules[change])
        if change == "it asks for more":
            # What is asked by then is not what was asked: one yes was enough for the old question, and is none now.
            team.gate.wait_until(lambda: everywhere(agent, "/api/v1/namespaces/ci/pods/p", {200}), "more is asked for")
            team.approve(approval)
        status = sent.result().status
    assert (status, arrived(stub, target)) == ((200, 1) if change == "nobody is asked" else (403, 0))
    # The old question gives nothing from then on, whatever people say to it.
    team.answer("bob", approval)
    if change in ("a deny rule comes", "the rule is gone"):
        assert [agent.request("GET", target).status for _ in range(4)] == [403] * 4
        assert arrived(stub, target) == 0


def test_of_twenty_senders_one_passes(team: Team, stub: Stub) -> None:
    agent = team.agent("crowd", [SEE, approve("keys", "get", "secrets", "ci")], PROBE)
    target = f"{SECRETS}/crowd"
    with ThreadPoolExecutor(20) as threads:
        sent = [threads.submit(agent.request, "GET", target) for _ in range(20)]
        team.approve(team.one_waiting("crowd"))

        def answered() -> bool:
            for question in team.waiting("crowd"):
                team.answer("bob", question["id"], "deny")
            return all(each.done() for each in sent)

        team.gate.wait_until(answered, "all are answered")
        codes = Counter(each.result().status for each in sent)
    assert codes == {200: 1, 403: 19}
    assert arrived(stub, target) == 1


def test_narrowing_by_several_at_once_never_leaves_more_than_each_of_them_left(team: Team, stub: Stub) -> None:
    maps = grantable("maps", "get list create", "configmaps secrets", "ci")
    agent = team.agent("narrowed", [allow("see", "get", "configmaps", "ci"), maps], PROBE)
    own = by_token(team.gate, agent.token)
    for _ in range(ROUNDS // 4):
        task, _working = task_of(team.gate, agent, "get configmaps -n ci", "list secrets -n ci", "create secrets -n ci")
        keeps = [["allow-1", "allow-2"], ["allow-1", "allow-3"], ["allow-1"]]
        start = threading.Barrier(len(keeps))

        def narrow(keep: list[str], start: threading.Barrier = start, task: str = task) -> int:
            start.wait()
            return own("POST", f"/tasks/{task}/narrow", {"keep": keep}).status

        with ThreadPoolExecutor(len(keeps)) as threads:
            codes = list(threads.map(narrow, keeps))
        left = {rule["id"] for rule in own("GET", f"/tasks/{task}").document["allow"]}
        granted = [set(keep) for keep, code in zip(keeps, codes, strict=True) if code == 200]
        assert granted
        assert left == set.intersection(*granted)


def test_a_write_that_is_on_its_way_when_its_task_is_revoked_is_whole_and_the_next_is_refused(
    team: Team, stub: Stub
) -> None:
    agent = team.agent("writer", [SEE, grantable("maps", "get create delete", "configmaps", "ci")], PROBE)
    task, working = task_of(team.gate, agent, "create,delete configmaps -n ci", "get configmaps -n ci")
    target = f"{MAPS}/held"
    with ThreadPoolExecutor(2) as threads:
        sent = threads.submit(working.request, "DELETE", target)
        read = threads.submit(working.request, "GET", f"{target}-read")
        team.gate.wait_until(lambda: arrived(stub, target) + arrived(stub, f"{target}-read") == 2, "they arrive")
        revoked = by_token(team.gate, agent.token)("POST", f"/tasks/{task}/revoke", {"because": "enough"})
        assert revoked.status == 200
        team.gate.wait_until(lambda: everywhere(working, PROBE, {401}), "it is over")
        stub.release.set()
        # What the cluster has done is told; what it shows is shown to nobody who may not see it by now.
        assert (sent.result().status, read.result().status) == (200, 403)
        stub.release.clear()
    assert working.request("DELETE", target).status == 401
    assert arrived(stub, target) == 1


# --- time

HOUR = 3600.0


def _set_in(gate: Gate, table: str, identifier: str, **values: object) -> None:
    """Change the kept document of a task or a question, as if its times had been taken by another clock."""
    with closing(sqlite3.connect(next(gate.data_dir.glob("*.db")))) as database, database:
        (text,) = database.execute(f"select document from {table} where id = ?", (identifier,)).fetchone()
        document = json.dumps({**json.loads(text), **values})
        database.execute(f"update {table} set document = ? where id = ?", (document, identifier))


TASK_TIMES: dict[str, Callable[[float], dict[str, float]]] = {
    "began in the future": lambda now: {"began_at": now + HOUR, "ends_at": now + 2 * HOUR},
    "was over long ago": lambda now: {"began_at": now - 2 * HOUR, "ends_at": now - HOUR},
    "lasts longer than the rule gives": lambda now: {"began_at": now - 2 * HOUR, "ends_at": now + HOUR},
}


@pytest.mark.parametrize("times", TASK_TIMES)
def test_a_task_of_another_time_gives_nothing_whichever_way_the_clock_was_set(times: str, team: Team) -> None:
    name = "clock-" + times.replace(" ", "-")
    agent = team.agent(name, [SEE, grantable("keys", "list", "secrets", "ci")], PROBE)
    task, working = task_of(team.gate, agent, "list secrets -n ci")
    assert working.request("GET", SECRETS).status == 200
    team.gate.kill()
    _set_in(team.gate, "tasks", task, **TASK_TIMES[times](time.time()))
    team.gate.start()
    assert [working.request("GET", SECRETS).status for _ in range(4)] != [200] * 4
    assert {working.request("GET", SECRETS).status for _ in range(8)} <= {401, 403}


QUESTION_TIMES: dict[str, Callable[[float], dict[str, float]]] = {
    "lapsed long ago": lambda now: {"asked_at": now - 2 * HOUR, "lapses_at": now - HOUR},
    "lapsed this instant": lambda now: {"lapses_at": now},
}


@pytest.mark.parametrize("times", QUESTION_TIMES)
def test_an_approval_of_another_time_lets_nothing_pass(times: str, team: Team, stub: Stub) -> None:
    name = "said-" + times.replace(" ", "-")
    agent = team.agent(name, [SEE, approve("keys", "get", "secrets", "ci")], PROBE)
    target = f"{SECRETS}/{name}"
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(_status_or_none, agent, target)
        approval = team.one_waiting(name)
        team.gate.kill()
        assert sent.result() == 0
        team.gate.start()
        team.approve(approval)
        team.gate.kill()
        _set_in(team.gate, "approvals", approval, **QUESTION_TIMES[times](time.time()))
        team.gate.start()
        again = threads.submit(agent.request, "GET", target)
        other = team.one_waiting(name)
        assert other != approval
        team.answer("bob", other, "deny")
        assert again.result().status == 403
    assert arrived(stub, target) == 0


def _status_or_none(agent: Agent, target: str) -> int:
    try:
        return agent.request("GET", target).status
    except (ConnectionEnded, OSError):
        return 0
