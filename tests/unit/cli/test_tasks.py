"""`narrowgate tasks`: what is sent, what is shown, and where a credential goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.terminal import Done, Terminal

from narrowgate.authenticators.task_credential import new_task_credential

MADE = new_task_credential()
TASK: dict[str, Any] = {
    "id": MADE.task,
    "kind": "Agent",
    "name": "bot",
    "requestedBy": "agent:bot",
    "cluster": "dev",
    "purpose": "look",
    "link": "",
    "state": "active",
    "allow": [{"id": "allow-1", "text": "get pods -n ci"}],
    "lasts": "20m",
    "requestedAt": "2026-01-01T00:00:00Z",
    "beganAt": "2026-01-01T00:00:00Z",
    "endsAt": "2026-01-01T00:20:00Z",
    "endedAt": None,
    "endedBecause": "",
}
ONE = f"/api/v1/tasks/{MADE.task}"
WISH = ("--reason", "look", "--allow", "get pods -n ci")


class Tasks:
    """`narrowgate tasks` as an agent types it, at a gate that answers as it is told."""

    def __init__(self, shell: Terminal, gate: ScriptedGate) -> None:
        self.shell, self.gate = shell, gate

    def __call__(self, *arguments: str | Path) -> Done:
        place = ("--gate", self.gate.url, "--certificate-authority", self.gate.authority)
        return self.shell.bare("tasks", *arguments, *place)


@pytest.fixture
def tasks(shell: Terminal, scripted: ScriptedGate, home: Path, monkeypatch: pytest.MonkeyPatch) -> Tasks:
    monkeypatch.chdir(home.parent / "policies")
    monkeypatch.delenv("NARROWGATE_CONFIG", raising=False)
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", "ng1_abc")
    scripted.answers(
        "/.well-known/oauth-authorization-server", told(scripted.metadata(narrowgate_kubernetes_url=scripted.url))
    )
    scripted.answers("/version", told({}))
    scripted.answers("/api/v1/tasks", told(TASK | {"credential": MADE.text}, 201))
    scripted.answers(ONE, told(TASK))
    for verb, state in (("complete", "completed"), ("revoke", "revoked"), ("narrow", "active")):
        scripted.answers(f"{ONE}/{verb}", told(TASK | {"state": state}))
    return Tasks(shell, scripted)


def test_the_credential_is_shown_once_alone_on_stdout(tasks: Tasks) -> None:
    done = tasks("request", "--cluster", "dev", "--for", "20m", *WISH)
    assert (done.code, done.out) == (0, f"{MADE.text}\n")
    assert "until 2026-01-01T00:20:00Z" in done.err


def test_what_a_refused_request_lacked_is_asked_for(tasks: Tasks) -> None:
    denied = {"auditId": "a-1", "agent": "bot", "cluster": "dev", "allow": ["get secrets/key -n ci"]}
    tasks.gate.answers("/api/v1/denied/a-1", told(denied))
    done = tasks("request", "--reason", "look", "--from-denied", "a-1")
    assert (done.code, done.out) == (0, f"{MADE.text}\n")
    assert 'asks for: --allow "get secrets/key -n ci"' in done.err
    (sent,) = [call.document for call in tasks.gate.calls if call.path == "/api/v1/tasks"]
    assert (sent["allow"], sent["cluster"]) == (["get secrets/key -n ci"], "dev")


def test_a_task_that_asks_for_nothing_is_misuse(tasks: Tasks) -> None:
    done = tasks("request", "--reason", "look")
    assert (done.code, "--from-denied ID" in done.err) == (2, True)


def test_it_goes_into_a_kubeconfig_and_nowhere_else(tasks: Tasks, tmp_path: Path) -> None:
    path = tmp_path / "task.kubeconfig"
    done = tasks("request", *WISH, "--kubeconfig", path)
    assert done.code == 0
    assert MADE.text not in done.out + done.err
    assert path.stat().st_mode & 0o777 == 0o600
    document = yaml.safe_load(path.read_text())
    assert document["users"][0]["user"] == {"token": MADE.text}
    assert document["clusters"][0]["cluster"]["server"] == tasks.gate.url
    shown = tasks("request", *WISH, "--kubeconfig", path, "-o", "json").json
    assert (shown["kubeconfig"], "credential" in shown) == (str(path), False)
    # The same file ends the task.
    done = tasks("complete", "--kubeconfig", path)
    assert (done.code, "state: completed" in done.out) == (0, True)
    assert tasks.gate.called(f"{ONE}/complete")[0].headers["Authorization"] == f"Bearer {MADE.text}"


def test_somebodys_own_kubeconfig_is_not_overwritten_and_nothing_is_asked(tasks: Tasks, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("apiVersion: v1\n")
    done = tasks("request", *WISH, "--kubeconfig", path)
    assert (done.code, "is not one that narrowgate wrote" in done.err) == (1, True)
    assert tasks.gate.called("/api/v1/tasks") == []


def test_a_task_whose_credential_cannot_be_kept_is_ended(tasks: Tasks, tmp_path: Path) -> None:
    done = tasks("request", *WISH, "--kubeconfig", tmp_path / "no-such-folder" / "task.kubeconfig")
    assert (done.code, "cannot write" in done.err) == (1, True)
    assert tasks.gate.called(f"{ONE}/complete")[0].headers["Authorization"] == f"Bearer {MADE.text}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--reason", "x"), "--allow"),
        (("--allow", "get pods -n ci"), "--reason"),
        (("--reason", "", "--allow", "get pods -n ci"), "1 to 500 characters"),
        (("--reason", "a\nb", "--allow", "get pods -n ci"), "1 to 500 characters"),
        (("--reason", "x", "--allow", "pods"), "is not written like"),
        (("--reason", "x", "--allow", "get po -n ci"), 'write "pods"'),
        ((*WISH, "--for", "soon"), "--for"),
        ((*WISH, "--link", "http://x"), "https address"),
    ],
)
def test_what_no_gate_would_take_is_misuse_and_not_sent(
    tasks: Tasks, arguments: tuple[str, ...], sentence: str
) -> None:
    done = tasks("request", *arguments)
    assert (done.code, sentence in done.err) == (2, True), done.err
    assert tasks.gate.calls == []


def test_a_dry_run_says_what_would_be_granted(tasks: Tasks) -> None:
    offer = {
        "agent": "bot",
        "cluster": "dev",
        "lasts": "5m",
        "rules": ["p/r"],
        "approvers": [{"group": "sre", "count": 2}],
    }
    tasks.gate.answers("/api/v1/tasks/check", told(offer))
    done = tasks("request", *WISH, "--dry-run")
    assert done.out.splitlines() == ["agent: bot", "cluster: dev", "lasts: 5m", "rules: p/r", "approval: 2 of sre"]
    assert tasks.gate.called("/api/v1/tasks") == []


def test_what_waits_for_people_says_how_it_goes_on(tasks: Tasks) -> None:
    tasks.gate.answers("/api/v1/tasks", told(TASK | {"state": "requested"}, 201))
    done = tasks("request", *WISH, "--no-wait")
    assert (done.code, f"narrowgate tasks collect {MADE.task}" in done.err) == (0, True)
    assert "state: requested" in done.out


def test_a_list_goes_on_page_by_page(tasks: Tasks) -> None:
    page = {"items": [TASK] * 10, "metadata": {"continue": "abc_-1"}}
    tasks.gate.answers("/api/v1/tasks?limit=10", told(page))
    tasks.gate.answers("/api/v1/tasks?limit=10&continue=abc_-1", told({"items": [TASK], "metadata": {"continue": ""}}))
    assert len(tasks("list", "-o", "json").json) == 11
    done = tasks("list")
    assert done.out.splitlines()[0].split() == ["ID", "FOR", "CLUSTER", "STATE", "ENDS", "FROM", "PURPOSE"]
    assert len(done.out.splitlines()) == 12


def test_a_list_says_what_each_was_delegated_from(tasks: Tasks) -> None:
    items = [TASK | {"id": "child", "parent": "root"}, TASK | {"id": "root", "parent": ""}]
    tasks.gate.answers("/api/v1/tasks?limit=10", told({"items": items, "metadata": {"continue": ""}}))
    heads, child, root = (line.split() for line in tasks("list").out.splitlines())
    column = heads.index("FROM")
    assert (child[column], root[column]) == ("root", "-")


def test_a_task_is_shown_line_by_line_and_cannot_move_the_cursor(tasks: Tasks) -> None:
    tasks.gate.answers(ONE, told(TASK | {"purpose": "\x1b[2Jlook"}))
    done = tasks("show", MADE.task)
    assert "\x1b" not in done.out
    assert {"for: bot", "state: active", "allow-1: get pods -n ci"} <= set(done.out.splitlines())
    assert tasks("show", MADE.task, "-o", "json").json["id"] == MADE.task


def test_ends_and_less(tasks: Tasks) -> None:
    assert "state: revoked" in tasks("revoke", MADE.task, "--reason", "odd").out
    assert tasks("narrow", MADE.task, "--keep", "allow-1").code == 0
    assert (tasks("narrow", MADE.task).code, tasks("narrow", MADE.task, "--until", "soon").code) == (2, 2)


def test_an_id_that_is_none_is_misuse(tasks: Tasks) -> None:
    for name in ("../agents", "a/b", "ä", "a?b"):
        assert tasks("complete", name).code == 2
    assert tasks("complete").code == 2
    assert tasks.gate.calls == []


def test_a_refusal_is_the_gates_own_sentence(tasks: Tasks) -> None:
    tasks.gate.answers("/api/v1/tasks", told({"detail": "get pods -n ci: no policy offers it"}, 403))
    done = tasks("request", *WISH)
    assert (done.code, done.err) == (1, "narrowgate: get pods -n ci: no policy offers it\n")


def test_a_task_that_deletes_what_it_leaves_behind_says_so(tasks: Tasks) -> None:
    tasks.gate.answers(ONE, told(TASK | {"onEnd": "deleteWorkloads"}))
    told_so = "in the end: the workloads that were created under it are deleted"
    assert told_so in tasks("show", MADE.task).out.splitlines()
    tasks.gate.answers(ONE, told(TASK | {"onEnd": "leave"}))
    assert "in the end" not in tasks("show", MADE.task).out


def test_limits_are_asked_for_and_shown_with_what_is_used(tasks: Tasks) -> None:
    limited = TASK | {"maxRequests": 50, "requestsUsed": 7, "maxStreams": 3, "streams": 0}
    tasks.gate.answers(ONE, told(limited))
    assert tasks("request", *WISH, "--max-requests", "50", "--max-streams", "3").code == 0
    (sent,) = tasks.gate.called("/api/v1/tasks")
    assert (sent.document["maxRequests"], sent.document["maxStreams"]) == (50, 3)
    assert {"requests: 7 of 50", "streams: 0 of 3"} <= set(tasks("show", MADE.task).out.splitlines())


def test_a_task_without_limits_is_shown_without(tasks: Tasks) -> None:
    tasks.gate.answers(ONE, told(TASK | {"maxRequests": None, "requestsUsed": None}))
    assert tasks("request", *WISH).code == 0
    assert not {"maxRequests", "maxStreams"} & tasks.gate.called("/api/v1/tasks")[0].document.keys()
    assert "requests:" not in tasks("show", MADE.task).out


def test_limits_are_lowered(tasks: Tasks) -> None:
    assert tasks("narrow", MADE.task, "--max-requests", "5", "--max-streams", "1").code == 0
    (sent,) = tasks.gate.called(f"{ONE}/narrow")
    assert sent.document == {"maxRequests": 5, "maxStreams": 1}
    done = tasks("narrow", MADE.task)
    assert (done.code, "say what stays" in done.err) == (2, True)


@pytest.mark.parametrize("wrong", ["0", "-1", "1000001", "many"])
def test_what_is_no_limit_is_misuse(tasks: Tasks, wrong: str) -> None:
    done = tasks("request", *WISH, "--max-requests", wrong)
    assert (done.code, "--max-requests" in done.err) == (2, True)
    assert tasks.gate.calls == []


def test_a_dry_run_tells_limits(tasks: Tasks) -> None:
    offer = {"agent": "bot", "cluster": "dev", "lasts": "5m", "rules": ["p/r"], "approvers": [], "maxRequests": 50}
    tasks.gate.answers("/api/v1/tasks/check", told(offer))
    assert tasks("request", *WISH, "--dry-run").out.splitlines()[-1] == "requests: 50 at most"
