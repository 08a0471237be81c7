"""The calls of a task, looked at as the gate's operator does: told, shown with what they changed, exported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.browser import browser, new_page
from tests.e2e.gate import Cluster, Gate, environment, narrowgate
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow
from tests.e2e.signing_in import authority_of
from tests.e2e.tasks import grantable, terminal
from tests.e2e.terminal import Terminal
from tests.e2e.workloads import configmap, pod, yaml_of

READY_SECONDS = 90
RED = "\x1b[31m"


@dataclass(frozen=True)
class Worked:
    """A gate on which a task was worked on, and what is known of that."""

    gate: Gate
    task: str
    namespace: str
    sessions: list[str]


@pytest.fixture(scope="module")
def worked(
    cluster: Cluster,
    direct: Kubectl,
    new_namespace: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Worked]:
    namespace = new_namespace("calls")
    here = direct.within(namespace)
    here.must("apply", "-f", "-", stdin=yaml_of(pod("shell", cluster.image)))
    here.must("wait", "--for=condition=Ready", "pod/shell", f"--timeout={READY_SECONDS}s")
    folder = tmp_path_factory.mktemp("calls")
    gate = Gate(
        folder / "gate",
        [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}],
        settings={"audit": {"bodies": [{"level": "RequestResponse", "namespaces": [namespace]}]}},
    )
    rules = [
        grantable("maps", "get list create patch update delete", "configmaps", namespace),
        grantable("run", "get", "pods", namespace),
        {**grantable("enter", "create", "pods/exec", namespace), "mountedSecrets": "mask"},
    ]
    gate.agent("worker", rules)
    gate.start()
    agent = terminal(gate, cluster, "worker", folder)
    task, given = agent.request(
        "--reason", "turn the lamp on",
        "--allow", f"get,list,create,patch,update,delete configmaps -n {namespace}",
        "--allow", f"get pods -n {namespace}",
        "--allow", f"create pods/exec -n {namespace}",
    )  # fmt: skip
    kubectl = given.within(namespace)
    kubectl.must("create", "-f", "-", stdin=yaml_of(configmap("lamp", state="off", password="hush-hush-planted")))
    kubectl.must("patch", "configmap", "lamp", "--type=merge", "-p", '{"data":{"state":"on"}}')
    assert kubectl("get", "secret", "anything").code == 1
    kubectl.must("exec", "shell", "--", "echo", "said in the pod")
    kubectl.must("create", "-f", "-", stdin=yaml_of(configmap("large", text="0123456789" * 20_000)))
    kubectl.must("patch", "configmap", "large", "--type=merge", "-p", '{"data":{"more":"yes"}}')
    kubectl.must("delete", "configmap", "lamp")
    gate.wait_for_event('"verb":"delete"')
    gate.wait_until(lambda: not list((gate.data_dir / "spool").rglob("*.live")), "all recordings are over")
    listed = json.loads(gate.command("sessions", "list", "--kind", "exec", "-o", "json").out)
    yield Worked(gate, task["id"], namespace, [one["session"] for one in listed])
    gate.stop()


def said(gate: Gate, *arguments: str) -> str:
    done = gate.command("sessions", *arguments)
    assert done.code == 0, done.text
    return done.out


def test_show_tells_whose_task_it_was_and_each_of_its_calls(worked: Worked) -> None:
    told = said(worked.gate, "show", worked.task)
    lines = told.splitlines()
    assert lines[0] == f"Task {worked.task} of agent:worker on cluster dev: turn the lamp on."
    assert "1 denied" in told
    (denied,) = [line for line in lines if "DENIED" in line]
    assert f"agent:worker get secrets {worked.namespace}/anything: 403 deny" in denied
    calls = [line for line in lines if "agent:worker" in line and line.startswith("2")]
    about = [line for line in calls if "configmaps" in line and " get " not in line]
    assert [line.split()[2] for line in about] == ["create", "patch", "create", "patch", "delete"]
    times = [line[:20] for line in calls]
    assert times == sorted(times)
    assert any(f"narrowgate sessions replay {worked.sessions[0]}" in line for line in lines)


def test_replay_shows_what_each_write_changed_and_what_was_recorded_in_its_place(worked: Worked) -> None:
    told = said(worked.gate, "replay", worked.task)
    assert "hush-hush-planted" not in told
    created, patched, entered = (
        told.index(text) for text in (" create configmaps ", " patch configmaps ", "pods/exec")
    )
    assert created < told.index('+ data.state: "off"') < patched
    change = told[patched:entered]
    assert '- data.state: "off"' in change
    assert '+ data.state: "on"' in change
    assert "password" not in change
    assert "exec `echo 'said in the pod'`" in told[entered:]
    assert "exit code 0" in told[entered:]
    assert any(line.split()[1:] == ["out", "said", "in", "the", "pod"] for line in told[entered:].splitlines())
    # What is too large for the record is held against what is in its recording.
    assert '+ data.more: "yes"' in told[entered:]
    assert RED not in told


def test_on_a_terminal_what_was_denied_is_red(worked: Worked) -> None:
    command = [narrowgate(), "sessions", "replay", worked.task, "--config", str(worked.gate.config)]
    with Terminal(command, environment()) as shown:
        shown.wait_for(" delete configmaps ")
        assert shown.exit_code() == 0
        screen = shown.seen
    (line,) = [line for line in screen.splitlines() if "DENIED" in line]
    assert RED in line
    assert all(RED not in line for line in screen.splitlines() if "DENIED" not in line)


def test_programs_get_the_calls_with_their_changes(worked: Worked) -> None:
    document: dict[str, Any] = json.loads(said(worked.gate, "show", worked.task, "-o", "json"))
    assert (document["session"], document["sort"], document["isWhole"]) == (worked.task, "task", True)
    (denied,) = [call for call in document["calls"] if call["denied"]]
    assert denied["what"] == f"secrets {worked.namespace}/anything"
    changes = [call["changes"] for call in document["calls"] if call["verb"] == "patch"]
    assert changes[0] == ['- data.state: "off"', '+ data.state: "on"']
    lines = said(worked.gate, "export", worked.task, "--as", "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == document["calls"]


def test_a_page_of_a_task_shows_what_was_denied_in_red(worked: Worked, tmp_path: Path) -> None:
    page_file = tmp_path / "task.html"
    said(worked.gate, "export", worked.task, "--as", "html", "-o", str(page_file))
    with browser(tmp_path / "home", [authority_of(worked.gate)]) as running:
        page = new_page(running)
        page.goto(page_file.as_uri())
        page.wait_for_selector("#lines li")
        assert worked.task in page.inner_text("#title")
        (denied,) = page.query_selector_all("#lines li.refused")
        assert "DENIED" in denied.inner_text()
        colour = denied.evaluate("element => getComputedStyle(element).color")
        assert colour == "rgb(198, 40, 40)"
        assert '+ data.state: "on"' in page.inner_text("#lines")
        assert "said in the pod" in page.inner_text("#lines")
        assert not page.is_visible("#screen")


def test_what_is_for_recordings_alone_is_refused_for_a_task(worked: Worked) -> None:
    gate = worked.gate
    assert gate.command("sessions", "replay", worked.task, "--raw", "stdout").code == 2
    assert gate.command("sessions", "replay", worked.task, "--search", "x").code == 2
    cast = gate.command("sessions", "export", worked.task, "--as", "asciicast")
    assert (cast.code, "html or jsonl" in cast.err) == (2, True)
    unknown = gate.command("sessions", "show", "aaaaaaaaaaaaaaaa")
    assert (unknown.code, "sessions list" in unknown.err) == (1, True)


def test_sessions_of_recordings_are_looked_at_as_before(worked: Worked) -> None:
    told = said(worked.gate, "show", worked.sessions[0])
    assert "agent:worker ran `echo 'said in the pod'`" in told
    assert "said in the pod" in said(worked.gate, "replay", worked.sessions[0])


def test_without_kept_bodies_calls_are_told_without_changes(
    cluster: Cluster, new_namespace: Callable[[str], str], tmp_path: Path
) -> None:
    namespace = new_namespace("calls-bare")
    gate = Gate(tmp_path / "gate", [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}])
    gate.agent("standing", [allow("maps", "get create", "configmaps", namespace)])
    gate.agent("worker", [grantable("maps", "get create", "configmaps", namespace)])
    gate.start()
    try:
        task, kubectl = terminal(gate, cluster, "worker", tmp_path).request(
            "--reason", "one map", "--allow", f"get,create configmaps -n {namespace}"
        )
        kubectl.must("create", "configmap", "bare", "-n", namespace, "--from-literal=a=b")
        gate.wait_for_event(f"/namespaces/{namespace}/configmaps")
        told = said(gate, "replay", task["id"])
        assert " create configmaps " in told
        assert "data.a" not in told
    finally:
        gate.stop()
