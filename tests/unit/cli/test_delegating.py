"""`narrowgate tasks delegate`: what is sent and by whom, and where the delegate's credential goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.terminal import Terminal
from tests.unit.cli.test_tasks import ONE, TASK, Tasks

from narrowgate.authenticators.task_credential import new_task_credential
from narrowgate.cli.kubeconfig_file import InlineToken, kubeconfig_document

PARENT, CHILD = new_task_credential(), new_task_credential()
FROM = f"/api/v1/tasks/{PARENT.task}/delegate"
MADE = TASK | {"id": CHILD.task, "name": "bot/helper", "parent": PARENT.task, "credential": CHILD.text}
WISH = ("--name", "helper", "--reason", "count pods", "--allow", "get pods -n ci", "--for", "5m")


@pytest.fixture
def tasks(shell: Terminal, scripted: ScriptedGate, home: Path, monkeypatch: pytest.MonkeyPatch) -> Tasks:
    monkeypatch.chdir(home.parent / "policies")
    monkeypatch.delenv("NARROWGATE_CONFIG", raising=False)
    monkeypatch.delenv("NARROWGATE_CREDENTIAL", raising=False)
    scripted.answers(
        "/.well-known/oauth-authorization-server", told(scripted.metadata(narrowgate_kubernetes_url=scripted.url))
    )
    scripted.answers("/version", told({}))
    scripted.answers(FROM, told(MADE, 201))
    return Tasks(shell, scripted)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The kubeconfig of the task to delegate of."""
    path = tmp_path / "task.kubeconfig"
    path.write_text(kubeconfig_document("https://gate", b"", "dev", "bot", InlineToken(PARENT.text)))
    path.chmod(0o600)
    return path


def test_the_tasks_own_kubeconfig_says_which_task_and_proves_its_holder(tasks: Tasks, own: Path) -> None:
    done = tasks("delegate", *WISH, "--task-kubeconfig", own)
    assert (done.code, done.out) == (0, f"{CHILD.text}\n")
    (call,) = tasks.gate.called(FROM)
    assert call.headers["Authorization"] == f"Bearer {PARENT.text}"
    assert call.document == {"name": "helper", "purpose": "count pods", "for": "5m", "allow": ["get pods -n ci"]}


def test_the_credential_of_the_task_does_as_well_and_so_does_the_agents_with_the_id(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", PARENT.text)
    assert tasks("delegate", *WISH).code == 0
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", "ng1_abc")
    assert tasks("delegate", PARENT.task, *WISH).code == 0
    assert [call.headers["Authorization"] for call in tasks.gate.called(FROM)] == [
        f"Bearer {PARENT.text}",
        "Bearer ng1_abc",
    ]


def test_it_goes_into_a_kubeconfig_of_the_delegates_own(tasks: Tasks, own: Path, tmp_path: Path) -> None:
    path = tmp_path / "helper.kubeconfig"
    done = tasks("delegate", *WISH, "--task-kubeconfig", own, "--kubeconfig", path)
    assert (done.code, CHILD.text in done.out + done.err) == (0, False)
    assert path.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(path.read_text())["users"][0]["user"] == {"token": CHILD.text}
    assert PARENT.text in own.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--name", "a/b", *WISH[2:]), "--name"),
        (("--name", "", *WISH[2:]), "--name"),
        ((*WISH, "--for", "soon"), "--for"),
        ((*WISH, "--allow", "pods"), "--allow"),
        (("--name", "helper", "--reason", "", *WISH[4:]), "--reason"),
        (WISH[:4], "--allow"),
        (WISH, "name the task"),
    ],
)
def test_what_no_gate_would_take_is_misuse_and_nothing_is_sent(
    tasks: Tasks, arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", "ng1_abc")
    done = tasks("delegate", *arguments)
    assert (done.code, sentence in done.err) == (2, True), done.err
    assert tasks.gate.called(FROM) == tasks.gate.called(ONE) == []
