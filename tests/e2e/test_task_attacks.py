"""What a clever agent tries, at a real gate: to pass by a yes that was said to something else, or with what is over."""

from __future__ import annotations

import json
import secrets
import ssl
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.e2e.api_caller import Caller, by_session, by_token
from tests.e2e.dex import ALICE, BOB, CAROL, Person
from tests.e2e.gate import Agent, Gate, read_agent
from tests.e2e.rules import allow
from tests.e2e.signing_in import authority_of, control_url
from tests.e2e.stub import Stub
from tests.e2e.tasks import grantable
from tests.e2e.team import Team, approve, everywhere, task_of, team_at

CI = "/api/v1/namespaces/ci"
MAPS, KEYS, PODS = f"{CI}/configmaps", f"{CI}/secrets", f"{CI}/pods"
SEE = allow("see", "get", "configmaps", "ci")
PROBE = f"{MAPS}/a"
HELD = approve("held", "get create delete update patch", "secrets pods pods/exec", "ci")
JSON = {"Content-Type": "application/json"}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
SECRET = b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"k"},"stringData":{"word":"i"}}'
TWICE = SECRET.replace(b'"word":"i"', b'"word":"i","word":"j"')


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    stub = Stub(tmp_path_factory.mktemp("stub"))
    yield stub
    stub.release.set()
    stub.stop()


@pytest.fixture(scope="module")
def team(stub: Stub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    clusters = [stub.cluster("dev"), stub.cluster("prod")]
    with team_at(tmp_path_factory.mktemp("attacks"), clusters, {"workers": 1}) as team:
        yield team


@pytest.fixture
def agent(team: Team, marker: str) -> Agent:
    """An agent of the test's own, whose requests for Secrets and pods are held."""
    return team.agent(f"sly-{marker[-12:]}", [SEE, HELD], PROBE)


def held(team: Team, agent: Agent, what: Sent) -> str:
    """Send something that is held, and leave; the question about it, which bob has then said yes to."""
    with agent.connect() as connection:
        connection.send(agent.bytes_of(*what))
        approval = team.one_waiting(agent.name)
    team.approve(approval)
    return approval


Sent = tuple[str, str, Mapping[str, str], bytes]


def sent(method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Sent:
    return method, target, headers or {}, body


GET = sent("GET", f"{KEYS}/k")
EXEC = sent("POST", f"{PODS}/p/exec?command=ls&command=-l&stdout=true")
DELETE = sent("DELETE", f"{PODS}/p")
CREATE = sent("POST", KEYS, JSON, SECRET)
OTHERS: dict[str, tuple[Sent, Sent]] = {
    "another name": (GET, sent("GET", f"{KEYS}/l")),
    "another query": (GET, sent("GET", f"{KEYS}/k?resourceVersion=0")),
    "another verb": (GET, sent("DELETE", f"{KEYS}/k")),
    "another version of the API in the path": (GET, sent("GET", f"/api/v2{KEYS[7:]}/k")),
    "another command": (EXEC, sent("POST", f"{PODS}/p/exec?command=rm&command=-l&stdout=true")),
    "the words of a command in another order": (EXEC, sent("POST", f"{PODS}/p/exec?command=-l&command=ls&stdout=true")),
    "one word more": (EXEC, sent("POST", f"{PODS}/p/exec?command=ls&command=-l&command=-a&stdout=true")),
    "another container": (EXEC, sent("POST", f"{PODS}/p/exec?command=ls&command=-l&stdout=true&container=x")),
    "not only a rehearsal": (sent("DELETE", f"{PODS}/p?dryRun=All"), DELETE),
    "a body where there was none": (DELETE, sent("DELETE", f"{PODS}/p", JSON, b'{"gracePeriodSeconds":0}')),
    "another body": (CREATE, sent("POST", KEYS, JSON, SECRET.replace(b'"i"', b'"j"'))),
    "one more space in the body": (CREATE, sent("POST", KEYS, JSON, SECRET + b" ")),
    "a key twice in the body": (CREATE, sent("POST", KEYS, JSON, TWICE)),
    "the same bytes read as something else": (CREATE, sent("POST", KEYS, {"Content-Type": "application/yaml"}, SECRET)),
    "packed": (CREATE, sent("POST", KEYS, {**JSON, "Content-Encoding": "gzip"}, SECRET)),
    "another identity besides": (GET, sent("GET", f"{KEYS}/k", {"Impersonate-User": "system:admin"})),
    "another cluster": (GET, sent("GET", f"/clusters/prod{KEYS}/k")),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_yes_to_one_request_lets_no_other_pass(other: str, team: Team, stub: Stub, agent: Agent) -> None:
    approved, tried = OTHERS[other]
    with ThreadPoolExecutor(2) as threads:
        approval = held(team, agent, approved)
        before = len(stub.received)
        trying = threads.submit(agent.request, *tried)

        def answered() -> bool:
            for question in team.waiting(agent.name):
                assert question["id"] != approval
                team.answer("bob", question["id"], "deny")
            return trying.done()

        team.gate.wait_until(answered, "it is refused, or asked about by itself")
        assert 400 <= trying.result().status < 500
        # The gate itself looks at the pod that somebody wants to enter.
        passed = [one for one in stub.received[before:] if (one.method, one.target) != ("GET", f"{PODS}/p")]
        assert [one.target for one in passed if one.target.startswith((KEYS, PODS))] == []
        # What was said yes to is untouched by that, and passes.
        assert agent.request(*approved).status == 200
        assert team.question(approval)["state"] == "spent"


SAME: dict[str, tuple[Sent, Sent]] = {
    "the parameters in another order": (
        EXEC, sent("POST", f"{PODS}/p/exec?stdout=true&command=ls&command=-l")),
    "letters of the path escaped": (GET, sent("GET", f"{CI}/%73ecrets/%6b")),
    "letters of the query escaped": (EXEC, sent("POST", f"{PODS}/p/exec?%63ommand=l%73&command=%2Dl&stdout=true")),
    "the cluster named in the path": (GET, sent("GET", f"/clusters/dev{KEYS}/k")),
    "another form of the answer": (GET, sent("GET", f"{KEYS}/k", {"Accept": TABLE})),
    "the media type in capitals": (CREATE, sent("POST", KEYS, {"Content-Type": "Application/JSON"}, SECRET)),
}  # fmt: skip


@pytest.mark.parametrize("same", SAME)
def test_the_same_in_another_spelling_passes_or_is_refused_and_passes_once(
    same: str, team: Team, stub: Stub, agent: Agent
) -> None:
    approved, tried = SAME[same]
    with ThreadPoolExecutor(2) as threads:
        approval = held(team, agent, approved)
        answer = agent.request(*tried)
        assert answer.status in (200, 400), answer.body
        if answer.status == 400:
            # A spelling that the gate does not take at all; what was approved is still there.
            assert agent.request(*approved).status == 200
        assert team.question(approval)["state"] == "spent"
        again = threads.submit(agent.request, *approved)
        team.answer("bob", team.one_waiting(agent.name), "deny")
        assert again.result().status == 403


def test_neither_another_credential_of_the_agent_nor_another_agent_passes_by_it(
    team: Team, stub: Stub, agent: Agent
) -> None:
    other = team.agent(f"{agent.name}-2", [SEE, HELD], PROBE)
    team.gate.allow(agent.name, [SEE, HELD, grantable("list", "list", "secrets", "ci")])
    _, working = task_of(team.gate, agent, "list secrets -n ci")
    target = f"{KEYS}/mine-{agent.name}"
    with ThreadPoolExecutor(4) as threads:
        approval = held(team, agent, sent("GET", target))
        rotated = team.gate.command("agents", "rotate", agent.name, "--kubeconfig", str(team.gate.folder / "new"))
        assert rotated.code == 0, rotated.text
        fresh = read_agent(agent.name, team.gate.folder / "new")
        team.gate.wait_until(lambda: everywhere(fresh, PROBE, {200}), "the new credential is known")
        tries = [threads.submit(one.request, "GET", target) for one in (other, working, fresh)]

        def answered() -> bool:
            for question in (*team.waiting(agent.name), *team.waiting(other.name)):
                team.answer("bob", question["id"], "deny")
            return all(each.done() for each in tries)

        team.gate.wait_until(answered, "each is asked about by itself")
        assert [each.result().status for each in tries] == [403] * 3
        # And with the old credential nobody comes any more.
        assert agent.request("GET", target).status == 401
    assert team.question(approval)["state"] == "approved"
    assert [one for one in stub.received if one.target == target] == []


def test_the_yes_of_somebody_who_left_the_group_before_it_is_used_is_none(team: Team, stub: Stub, agent: Agent) -> None:
    target = f"{KEYS}/left-{agent.name}"
    with ThreadPoolExecutor(1) as threads:
        approval = held(team, agent, sent("GET", target))
        _, running = team.gate, team.running
        running.dex.people = (ALICE, Person(BOB.name, ()), CAROL)
        running.dex.start()
        try:
            # The newest sign-in tells; the one that said yes still runs.
            by_session(team.gate, running.signed_in(BOB))
            sending = threads.submit(agent.request, "GET", target)

            def asked_anew() -> list[str]:
                found = team.people["alice"]("GET", "/approvals").document["items"]
                return [one["id"] for one in found if one["mayAnswer"] and one["chain"] == [f"agent:{agent.name}"]]

            team.gate.wait_until(lambda: bool(asked_anew()), "others are asked")
            assert asked_anew() != [approval]
            assert team.answer("bob", asked_anew()[0]).status in (403, 404)
            assert team.answer("alice", asked_anew()[0], "deny").status == 200
            assert sending.result().status == 403
        finally:
            running.dex.people = (ALICE, BOB, CAROL)
            running.dex.start()
            by_session(team.gate, running.signed_in(BOB))
    assert team.question(approval)["state"] == "withdrawn"
    assert [one for one in stub.received if one.target == target] == []


# --- tasks

LIST = grantable("list", "list", "secrets", "ci")


def test_a_tasks_credential_takes_no_name_of_somebody_elses(team: Team, stub: Stub, agent: Agent) -> None:
    team.gate.allow(agent.name, [SEE, LIST])
    _, working = task_of(team.gate, agent, "list secrets -n ci")
    for header in ("Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-Scopes"):
        answer = working.request("GET", KEYS, {header: "system:masters"})
        assert (answer.status, "passes no impersonation on" in answer.message) == (403, True)
    told = {"X-Remote-User": "root", "X-Remote-Group": "system:masters", "X-Forwarded-Client-Cert": "Subject=root"}
    before = len(stub.received)
    assert working.request("GET", KEYS, told).status == 200
    (arrived,) = [one for one in stub.received[before:] if one.target == KEYS]
    assert arrived.names() & {name.lower() for name in told} == set()


def test_an_agent_made_anew_under_the_old_name_has_nothing_of_the_old_ones_task(
    team: Team, stub: Stub, marker: str
) -> None:
    name = f"namesake-{marker[-12:]}"
    agent = team.agent(name, [SEE, LIST], PROBE)
    task, working = task_of(team.gate, agent, "list secrets -n ci")
    assert working.request("GET", KEYS).status == 200
    assert team.gate.command("agents", "remove", name, "--yes").code == 0
    added = ("agents", "add", name, "--owner", "person:test", "--purpose", "test", "--cluster", "dev")
    done = team.gate.command(*added, "--kubeconfig", str(team.gate.folder / f"{name}-2"))
    assert done.code == 0, done.text
    anew = read_agent(name, team.gate.folder / f"{name}-2")
    team.gate.wait_until(lambda: everywhere(anew, PROBE, {200}), "the new one is known")
    assert working.request("GET", KEYS).status == 401
    call = by_token(team.gate, anew.token)
    team.gate.wait_until(lambda: call("GET", "/whoami").status == 200, "at the gate's own API, too")
    assert [call("GET", f"/tasks/{task}").status, call("POST", f"/tasks/{task}/complete").status] == [404, 404]
    assert call("GET", "/tasks").document["items"] == []
    assert by_token(team.gate, working.token)("GET", "/whoami").status == 401


def test_an_id_that_is_somebody_elses_and_one_that_is_nobodys_get_the_same_answer(team: Team, agent: Agent) -> None:
    team.gate.allow(agent.name, [SEE, LIST, HELD])
    task, _ = task_of(team.gate, agent, "list secrets -n ci")
    other = by_token(team.gate, team.agent(f"{agent.name}-2", [SEE], PROBE).token)
    approval = held(team, agent, GET)
    for kind, real in (("tasks", task), ("approvals", approval)):
        nobodys = secrets.token_hex(len(real) // 2)[: len(real)]
        for method, verb in (("GET", ""), ("POST", "/complete"), ("POST", "/collect"), ("POST", "/withdraw")):
            answers = [other(method, f"/{kind}/{one}{verb}") for one in (real, nobodys)]
            said = [
                (each.status, json.dumps(each.document.get("detail")).replace(one, "ID"))
                for each, one in zip(answers, (real, nobodys), strict=True)
            ]
            assert said[0] == said[1]
            assert said[0][0] in (404, 405)
    assert other("GET", "/approvals?all=true").document["items"] == []


def _calls(gate: Gate) -> list[tuple[str, str]]:
    """Every call of the gate's own API, as it describes itself."""
    context = ssl.create_default_context(cafile=str(authority_of(gate)))
    with urllib.request.urlopen(f"{control_url(gate)}/api/v1/openapi.json", timeout=90, context=context) as answer:
        document: dict[str, Any] = json.load(answer)
    return [
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in document["paths"].items()
        for method in methods
        if method in ("get", "post", "put", "patch", "delete")
    ]


def _statuses(call: Caller, calls: list[tuple[str, str]], identifier: str) -> dict[tuple[str, str], int]:
    """The answer to each call, with this id wherever one is wanted and a body that asks for nothing in particular."""
    found = {}
    for method, path in calls:
        target = "/".join(identifier if part.startswith("{") else part for part in path.split("/"))
        status = call(method, target).status
        wants_body = method not in ("GET", "DELETE") and status in (400, 415, 422)
        found[method, path] = call(method, target, {}).status if wants_body else status
    return found


PUBLIC = {("GET", "/openapi.json")}
"""What everybody may read."""


def test_at_the_gates_own_api_a_tasks_credential_does_its_own_and_nothing_once_it_is_over(
    team: Team, agent: Agent
) -> None:
    team.gate.allow(agent.name, [SEE, LIST])
    task, working = task_of(team.gate, agent, "list secrets -n ci")
    call, calls = by_token(team.gate, working.token), _calls(team.gate)
    assert len(calls) > 30
    # What ends it comes last.
    calls.sort(key=lambda each: each[1].endswith("/complete"))
    while_it_runs = _statuses(call, calls, task)
    good = {each for each, status in while_it_runs.items() if status < 400} - PUBLIC
    assert good == {
        ("GET", "/whoami"),
        ("GET", "/tasks/{id}"),
        ("GET", "/tasks/{id}/tree"),
        ("POST", "/tasks/{id}/complete"),
    }
    assert {status for status in while_it_runs.values() if status >= 500} == set()
    afterwards = _statuses(call, calls, task)
    assert {each: status for each, status in afterwards.items() if each not in PUBLIC and status != 401} == {}


def test_a_tasks_credential_in_other_hands_is_noticed(team: Team, agent: Agent) -> None:
    team.gate.allow(agent.name, [SEE, LIST])
    task, working = task_of(team.gate, agent, "list secrets -n ci")
    for source in ("127.0.0.1", "127.0.0.2"):
        with working.connect(source=source) as connection:
            connection.send(working.bytes_of("GET", f"{KEYS}?labelSelector=at%3D{task}"))
            assert connection.response("GET").status == 200

    def noticed() -> bool:
        found = team.gate.events(f"at%3D{task}")
        return any("is used from" in said for event in found for said in event["annotations"].values())

    team.gate.wait_until(noticed, "that it is in two places is in the record")
    assert noticed()


@pytest.mark.parametrize("wrong", ["one letter", "another task's id", "the id alone", "another task's secret"])
def test_a_credential_that_is_nearly_a_tasks_is_nobodys(wrong: str, team: Team, agent: Agent) -> None:
    team.gate.allow(agent.name, [SEE, LIST])
    (one, mine), (other, theirs) = (task_of(team.gate, agent, "list secrets -n ci") for _ in range(2))
    prefix, _, rest = mine.token.split("_", 2)
    made = {
        "one letter": mine.token[:-8] + ("A" if mine.token[-8] != "A" else "B") + mine.token[-7:],
        "another task's id": f"{prefix}_{other}_{rest}",
        "the id alone": f"{prefix}_{one}",
        "another task's secret": f"{prefix}_{one}_{theirs.token.split('_', 2)[2]}",
    }[wrong]
    guessed = replace(mine, token=made)
    assert guessed.request("GET", KEYS).status == 401
    assert by_token(team.gate, made)("GET", f"/tasks/{one}").status == 401
    assert mine.request("GET", KEYS).status == 200


# --- in somebody's place


def _delegate(team: Team, who: str, to: str) -> str:
    """The id of a delegation for an hour."""
    until = datetime.fromtimestamp(time.time() + 3600, UTC).isoformat(timespec="seconds")
    made = team.people[who]("POST", "/delegations", {"to": team.name_of(to), "until": until})
    assert made.status == 201, made.document
    return str(made.document["id"])


def _end(team: Team, who: str, delegation: str) -> None:
    assert team.people[who]("POST", f"/delegations/{delegation}/end").status == 200


def test_one_person_and_who_answers_in_their_place_are_one_yes(team: Team, stub: Stub, marker: str) -> None:
    agent = team.agent(f"two-{marker[-12:]}", [SEE, approve("held", "get", "secrets", "ci", count=2)], PROBE)
    target = f"{KEYS}/place-{agent.name}"
    delegation = _delegate(team, "alice", "carol")
    try:
        with ThreadPoolExecutor(1) as threads:
            sent_once = threads.submit(agent.request, "GET", target)
            approval = team.one_waiting(agent.name)
            # Neither in this order nor in the other, nor again.
            for who in ("carol", "alice", "carol", "alice"):
                team.answer(who, approval)
                assert team.question(approval)["state"] == "pending"
            team.approve(approval, "bob")
            assert sent_once.result().status == 200
    finally:
        _end(team, "alice", delegation)
    assert [one.target for one in stub.received].count(target) == 1


def test_a_yes_in_somebodys_place_counts_no_more_when_the_place_is_taken_back(
    team: Team, stub: Stub, agent: Agent
) -> None:
    target = f"{KEYS}/back-{agent.name}"
    delegation = _delegate(team, "bob", "carol")
    with agent.connect() as connection:
        connection.send(agent.bytes_of("GET", target))
        approval = team.one_waiting(agent.name)
    assert team.answer("carol", approval).document["state"] == "approved"
    _end(team, "bob", delegation)
    with ThreadPoolExecutor(1) as threads:
        again = threads.submit(agent.request, "GET", target)
        other = team.one_waiting(agent.name)
        assert other != approval
        assert team.answer("carol", other).status in (403, 404)
        team.answer("bob", other, "deny")
        assert again.result().status == 403
    assert [one for one in stub.received if one.target == target] == []


def test_who_owns_the_agent_answers_in_nobodys_place_and_nobody_in_theirs(team: Team, agent: Agent) -> None:
    for owner, other in (("carol", "alice"), ("alice", "carol")):
        name = f"{agent.name}-of-{owner}"
        kubeconfig = team.gate.folder / name
        added = (
            "agents",
            "add",
            name,
            "--owner",
            f"person:{team.name_of(owner)}",
            "--purpose",
            "t",
            "--cluster",
            "dev",
        )
        assert team.gate.command(*added, "--kubeconfig", str(kubeconfig)).code == 0
        owned = read_agent(name, kubeconfig)
        team.gate.allow(name, [SEE, HELD])
        team.gate.wait_until(lambda owned=owned: everywhere(owned, PROBE, {200}), "its rules")
        # To carol, who owns it, and from alice, who owns it.
        delegation = _delegate(team, "alice", "carol")
        try:
            with owned.connect() as connection:
                connection.send(owned.bytes_of("GET", f"{KEYS}/k"))
                approval = team.one_waiting(name)
                for who in (owner, other) if owner == "alice" else (owner,):
                    assert team.answer(who, approval).status in (403, 404)
                assert team.question(approval)["state"] == "pending"
        finally:
            _end(team, "alice", delegation)
