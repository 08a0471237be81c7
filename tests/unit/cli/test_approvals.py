"""`narrowgate approvals`: what the gate says, shown; and what a person types, sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.scripted_gate import Called, ScriptedGate, Told, told
from tests.unit.cli.terminal import Terminal

from narrowgate.authenticators.credential import new_credential
from narrowgate.cli.sign_in_files import GateFacts, KeptSignIn, keep_facts, keep_sign_in, note_last_gate

LIST = "/api/v1/approvals?limit=25"
REQUEST: dict[str, Any] = {
    "id": "q1",
    "state": "pending",
    "task": "",
    "askedBy": "agent:bot",
    "chain": ["person:zoe", "agent:bot"],
    "owner": "person:olga",
    "purpose": "roll back web",
    "link": "",
    "cluster": "prod",
    "verb": "patch",
    "apiGroup": "apps",
    "resource": "deployments/scale",
    "namespace": "ci",
    "name": "web",
    "path": "/apis/apps/v1/namespaces/ci/deployments/web/scale",
    "summary": ["spec:", "  replicas: 3"],
    "wanted": [],
    "duration": "",
    "rules": ["ci/scale"],
    "asks": [{"from": [{"group": "sre", "count": 2}, {"group": "security", "count": 1}], "within": "10m"}],
    "excluded": ["olga", "zoe"],
    "answers": [{"person": "ada", "answer": "yes", "comment": "fine", "at": "2026-11-21T08:00:05Z"}],
    "askedAt": "2026-11-21T08:00:00Z",
    "lapsesAt": "2026-11-21T08:10:00Z",
    "endedAt": None,
    "endedBecause": "",
    "mayAnswer": True,
    "digest": "d" * 64,
    "auditId": "w-1",
}
TASK = REQUEST | {
    "id": "t1",
    "task": "t1",
    "verb": "",
    "apiGroup": "",
    "resource": "",
    "wanted": ["get pods -n ci", "patch deployments.apps/web -n ci"],
    "duration": "20m",
    "mayAnswer": False,
}


@pytest.fixture
def gate(scripted: ScriptedGate, home: Path) -> ScriptedGate:
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://127.0.0.1:8443"))
    keep_sign_in(scripted.url, KeptSignIn("alice", "ngr1_x", "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"))
    note_last_gate(scripted.url)
    return scripted


def page(*items: dict[str, Any], behind: str = "") -> Told:
    return told({"items": list(items), "metadata": {"continue": behind}})


def test_the_list_says_what_waits_and_whose_answer_it_needs(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers(LIST, page(REQUEST, TASK))
    done = shell.bare("approvals", "list")
    assert done.code == 0
    heads, first, second = done.out.splitlines()
    assert heads.split("  ")[0] == "ID"
    assert "patch deployments.apps/scale/web -n ci" in first
    assert first.endswith("yes")
    assert "get pods -n ci; patch deployments.apps/web -n ci" in second
    assert second.endswith("no")


def test_every_page_is_read_and_programs_get_the_documents(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers(f"{LIST}&all=true", page(REQUEST, behind="abc"))
    gate.answers(f"{LIST}&all=true&continue=abc", page(TASK))
    assert shell.bare("approvals", "list", "--all", "-o", "json").json == [REQUEST, TASK]


def test_where_nothing_waits_that_is_said(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers(LIST, page())
    done = shell.bare("approvals", "list")
    assert (done.code, done.out, done.err) == (0, "", "nothing waits for you\n")


def test_a_gate_that_always_has_another_page_is_not_followed_for_ever(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers(LIST, page(*[REQUEST] * 100, behind="abc"))
    gate.answers(f"{LIST}&continue=abc", page(*[REQUEST] * 100, behind="abc"))
    done = shell.bare("approvals", "list", "-o", "json")
    assert (len(done.json), done.err) == (1000, "these are the newest 1000; there are more\n")


def test_one_question_is_shown_with_everything_that_an_answer_needs(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers("/api/v1/approvals/q1", told(REQUEST))
    assert shell.bare("approvals", "show", "q1").out.splitlines() == [
        "approval: q1",
        "state: pending",
        "asked by: agent:bot",
        "for: person:zoe -> agent:bot",
        "owner: person:olga",
        "purpose: roll back web",
        "cluster: prod",
        "request: patch deployments.apps/scale/web -n ci",
        "path: /apis/apps/v1/namespaces/ci/deployments/web/scale",
        "object: spec:",
        "object:   replicas: 3",
        "rule: ci/scale",
        "needs: 2 of sre and 1 of security, within 10m",
        "not: olga, zoe",
        "answer: ada: yes (fine), 2026-11-21T08:00:05Z",
        "asked at: 2026-11-21T08:00:00Z",
        "lapses at: 2026-11-21T08:10:00Z",
        "in the record: w-1",
        "yours to answer: yes",
    ]
    gate.answers("/api/v1/approvals/t1", told(TASK))
    assert "wants: get pods -n ci\nwants: patch deployments.apps/web -n ci\nlasts: 20m\n" in (
        shell.bare("approvals", "show", "t1").out
    )


def test_words_that_an_agent_chose_do_not_move_the_cursor(shell: Terminal, gate: ScriptedGate) -> None:
    nasty = "\x1b[2J\x1b]0;x\x07ok\n"
    fields = {"purpose": nasty, "name": nasty, "summary": [nasty], "path": nasty, "chain": [nasty]}
    gate.answers("/api/v1/approvals/q1", told(REQUEST | fields))
    gate.answers(LIST, page(REQUEST | fields))
    for command in (("show", "q1"), ("list",)):
        out = shell.bare("approvals", *command).out
        assert "ok" in out
        assert all(line.isprintable() for line in out.splitlines())
        assert not any(line.startswith("ok") for line in out.splitlines())


@pytest.mark.parametrize(
    ("typed", "path", "sent"),
    [
        (("approve", "q1"), "approve", {}),
        (("approve", "q1", "--comment", "fine"), "approve", {"comment": "fine"}),
        (("deny", "q1", "--reason", "no"), "deny", {"reason": "no"}),
    ],
)
def test_an_answer_is_sent_as_it_was_typed(
    shell: Terminal, gate: ScriptedGate, typed: tuple[str, ...], path: str, sent: dict[str, str]
) -> None:
    heard: list[str] = []
    bodies = f"/api/v1/approvals/q1/{path}"

    def answer(call: Called) -> Told:
        heard.append(call.headers["Content-Length"])
        return told({"id": "q1", "state": "pending"})

    gate.answers(bodies, answer)
    done = shell.bare("approvals", *typed)
    assert (done.code, done.out) == (0, "approval q1 is pending; more people must say yes\n")
    assert heard == [str(len(json.dumps(sent)))]


def test_what_it_came_to_is_said(shell: Terminal, gate: ScriptedGate) -> None:
    for command, state in ((("approve", "q1"), "approved"), (("withdraw", "q1"), "withdrawn")):
        gate.answers(f"/api/v1/approvals/q1/{command[0]}", told({"id": "q1", "state": state}))
        assert shell.bare("approvals", *command).out == f"approval q1 is {state}\n"
        assert shell.bare("approvals", *command, "-o", "json").json == {"id": "q1", "state": state}


def test_a_refusal_is_the_gates_own_sentence_and_exit_code_1(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers("/api/v1/approvals/q1/approve", told({"detail": "olga may not answer approval q1"}, 403))
    done = shell.bare("approvals", "approve", "q1")
    assert (done.code, done.out, done.err) == (1, "", "narrowgate: olga may not answer approval q1\n")


def test_what_is_no_id_is_misuse_and_is_not_sent(shell: Terminal, gate: ScriptedGate) -> None:
    for wrong in ("../sign-ins/x", "q1/approve", "q1?x", "", "q" * 65, "ä"):
        assert shell.bare("approvals", "approve", wrong).code == 2
    assert shell.bare("approvals", "deny", "q1").code == 2
    assert gate.calls == []


def test_whoever_is_not_signed_in_is_told_how(shell: Terminal, scripted: ScriptedGate, home: Path) -> None:
    done = shell.bare("approvals", "list", "--gate", scripted.url)
    assert (done.code, f"run: narrowgate login {scripted.url}" in done.err) == (1, True)


def test_an_agent_looks_and_withdraws_by_its_own_credential_and_only_a_person_answers(
    shell: Terminal, gate: ScriptedGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = new_credential().text
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", credential)
    gate.answers("/api/v1/approvals/q1", told(REQUEST))
    for what in ("approve", "withdraw"):
        gate.answers(f"/api/v1/approvals/q1/{what}", told({"id": "q1", "state": "pending"}))
        assert shell.bare("approvals", what, "q1").code == 0
    assert shell.bare("approvals", "show", "q1").code == 0

    def proof(path: str) -> str:
        return gate.called(f"/api/v1/approvals/q1{path}")[0].headers["Authorization"]

    assert proof("") == proof("/withdraw") == f"Bearer {credential}"
    assert proof("/approve") == "Bearer nga1_a.b"


def test_several_are_answered_each_by_itself_and_what_was_heard_before_a_refusal_is_told(
    shell: Terminal, gate: ScriptedGate
) -> None:
    for name in ("q1", "q2"):
        gate.answers(f"/api/v1/approvals/{name}/approve", told({"id": name, "state": "approved"}))
    gate.answers("/api/v1/approvals/q3/approve", told({"detail": "there is no approval"}, 404))
    done = shell.bare("approvals", "approve", "q1", "q2", "q1", "q3")
    assert (done.code, done.out) == (1, "approval q1 is approved\napproval q2 is approved\n")
    assert len(gate.called("/api/v1/approvals/q1/approve")) == 1
    documents = shell.bare("approvals", "approve", "q1", "q2", "q3", "-o", "json").json
    assert [one["id"] for one in documents] == ["q1", "q2"]
    # One that is no id: nothing is answered at all.
    before = len(gate.calls)
    assert shell.bare("approvals", "approve", "q1", "../q2").code == 2
    assert len(gate.calls) == before


def test_limits_of_a_task_are_shown_to_whoever_answers(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers("/api/v1/approvals/t1", told(TASK | {"maxRequests": 50, "maxStreams": None}))
    shown = shell.bare("approvals", "show", "t1").out
    assert "lasts: 20m\nrequests at most: 50\n" in shown
    assert "streams at most" not in shown


def test_whoever_answers_is_told_what_becomes_of_what_a_task_leaves_behind(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers("/api/v1/approvals/t1", told(TASK | {"onEnd": "deleteWorkloads"}))
    told_so = "in the end: the workloads that were created under it are deleted\n"
    assert told_so in shell.bare("approvals", "show", "t1").out
    gate.answers("/api/v1/approvals/t1", told(TASK | {"onEnd": "leave"}))
    assert "in the end" not in shell.bare("approvals", "show", "t1").out


TOGETHER = REQUEST | {"askedWith": "m", "mayAnswer": True}


def test_what_was_asked_together_stands_together_in_the_list_and_has_one_command(
    shell: Terminal, gate: ScriptedGate
) -> None:
    other = TOGETHER | {"id": "q2", "name": "db"}
    gate.answers(LIST, page(other, TASK, TOGETHER))
    done = shell.bare("approvals", "list")
    assert [line.split()[0] for line in done.out.splitlines()] == ["ID", "q2", "q1", "t1"]
    assert "2 questions of agent:bot were asked together: narrowgate approvals approve q2 --together" in done.err


def test_together_every_question_is_shown_and_nothing_is_answered_unseen(shell: Terminal, gate: ScriptedGate) -> None:
    other = TOGETHER | {"id": "q2", "summary": ["- spec.replicas: 2", "+ spec.replicas: 9"]}
    gate.answers(LIST, page(other, TASK, TOGETHER))
    for one in (TOGETHER, other):
        gate.answers(f"/api/v1/approvals/{one['id']}", told(one))
    gate.answers("/api/v1/approvals/answers", told({"items": []}))
    # Nobody is there to say yes: what is shown is not answered.
    done = shell.bare("approvals", "approve", "q1", "--together")
    assert done.code == 1
    assert "object: + spec.replicas: 9" in done.out.splitlines()
    assert done.out.count("--- ") == 2
    assert [call.path for call in gate.calls if call.method == "POST" and "approvals" in call.path] == []


def test_together_is_for_people_who_look_at_one_question(shell: Terminal, gate: ScriptedGate) -> None:
    for arguments in (("q1", "q2", "--together"), ("q1", "--together", "-o", "json")):
        assert shell.bare("approvals", "approve", *arguments).code == 2
