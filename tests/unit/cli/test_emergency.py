"""`narrowgate tasks request --emergency`: what is sent, what is refused before, and what whoever takes one is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.terminal import Terminal
from tests.unit.cli.test_tasks import MADE, ONE, TASK, Tasks
from tests.unit.cli.test_tasks import tasks as tasks

TAKEN = TASK | {"kind": "Person", "name": "alice", "requestedBy": "person:alice", "emergency": True}
WISH = ("--emergency", "--cluster", "dev", "--reason", "the web is down", "--allow", "get pods -n ci")


@pytest.fixture
def emergency(tasks: Tasks) -> Tasks:
    # The same calls for whoever proves themselves; who is let through is the gate's to say.
    tasks.gate.answers("/api/v1/emergencies", told(TAKEN | {"credential": MADE.text}, 201))
    tasks.gate.answers(ONE, told(TAKEN))
    return tasks


def test_it_is_taken_by_a_call_of_its_own_and_told_to_be_reviewed(emergency: Tasks) -> None:
    done = emergency("request", *WISH, "--for", "10m", "--link", "https://tickets.example/1")
    assert (done.code, done.out) == (0, f"{MADE.text}\n")
    assert f"approval {MADE.task}-review" in done.err
    (call,) = emergency.gate.called("/api/v1/emergencies")
    assert call.document == {
        "cluster": "dev",
        "purpose": "the web is down",
        "link": "https://tickets.example/1",
        "for": "10m",
        "allow": ["get pods -n ci"],
    }
    assert emergency.gate.called("/api/v1/tasks") == []


def test_it_goes_into_a_kubeconfig_as_other_tasks_do(emergency: Tasks, tmp_path: Path) -> None:
    path = tmp_path / "task.kubeconfig"
    done = emergency("request", *WISH, "--kubeconfig", path)
    assert (done.code, MADE.text in path.read_text(), MADE.text in done.out + done.err) == (0, True, False)


def test_a_dry_run_says_who_would_look_at_it_and_takes_none(emergency: Tasks) -> None:
    offer = {"cluster": "dev", "lasts": "20m", "rules": ["p/r"], "reviewers": [{"group": "lea\x1bds", "count": 1}]}
    emergency.gate.answers("/api/v1/emergencies/check", told(offer))
    done = emergency("request", *WISH, "--dry-run")
    assert done.out.splitlines() == ["cluster: dev", "lasts: 20m", "rules: p/r", "reviewed by: 1 of lea?ds"]
    assert emergency("request", *WISH, "--dry-run", "-o", "json").json == offer
    assert emergency.gate.called("/api/v1/emergencies") == []


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--agent", "bot"), "for yourself, and for no agent"),
        (("--credential-file", "x"), "by whoever is signed in"),
        (("--key-file", "x"), "by whoever is signed in"),
        (("--from-denied", "a-1"), "with --allow"),
        (("--max-requests", "5"), "limits of its rules"),
        (("--max-streams", "5"), "limits of its rules"),
        (("--no-wait",), "waits for nobody"),
        (("--reason", "db down"), "at least 10 characters"),
        (("--cluster", ""), "say where"),
    ],
)
def test_what_does_not_go_with_one_is_misuse_and_not_sent(
    emergency: Tasks, more: tuple[str, ...], sentence: str
) -> None:
    done = emergency("request", *WISH, *more)
    assert (done.code, sentence in done.err) == (2, True), done.err
    assert emergency.gate.calls == []


def test_lists_and_pages_mark_it(emergency: Tasks) -> None:
    emergency.gate.answers("/api/v1/tasks?limit=10", told({"items": [TAKEN, TASK], "metadata": {"continue": ""}}))
    rows = emergency("list").out.splitlines()
    assert [("active (emergency)" in row, "alice" in row) for row in rows[1:]] == [(True, True), (False, False)]
    shown = emergency("show", MADE.task).out
    assert f"emergency: yes; its review is approval {MADE.task}-review" in shown


def test_a_review_is_shown_and_answered_as_one(shell: Terminal, scripted: ScriptedGate, tasks: Tasks) -> None:
    question = {
        "id": f"{MADE.task}-review",
        "state": "pending",
        "task": MADE.task,
        "askedBy": "person:alice",
        "chain": ["person:alice"],
        "wanted": ["get pods -n ci"],
        "review": True,
    }
    place = ("--gate", scripted.url, "--certificate-authority", scripted.authority)
    scripted.answers("/api/v1/approvals?limit=25", told({"items": [question], "metadata": {"continue": ""}}))
    scripted.answers(f"/api/v1/approvals/{MADE.task}-review", told(question))
    assert "review of emergency: get pods -n ci" in shell.bare("approvals", "list", *place).out
    shown = shell.bare("approvals", "show", f"{MADE.task}-review", *place).out
    assert f"review of: emergency task {MADE.task}" in shown
