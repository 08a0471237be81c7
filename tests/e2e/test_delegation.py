"""Agents that delegate, on a real cluster with a real kubectl: two levels, refused beyond, all cut with the root."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.tasks import AgentTerminal, credential_of, grantable, terminal
from tests.e2e.test_changes import ended, running

EXAMPLE = Path(__file__).parents[2] / "examples" / "agents" / "delegate.py"

WATCH = ("get", "pods", "clock", "--watch")


@pytest.fixture(scope="module")
def delegating_gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("delegation"), [entry], settings={"workers": 2})
    gate.write_policy("nobody", [{"kind": "Agent", "name": "nobody"}], [grantable("none", "get", "pods", "none")])
    gate.start()
    yield gate
    gate.stop()


class Lead:
    """An agent with a task, and the delegates of it."""

    def __init__(self, gate: Gate, cluster: Cluster, name: str, namespace: str, folder: Path) -> None:
        self.agent: AgentTerminal = terminal(gate, cluster, name, folder)
        self.gate, self.namespace = gate, namespace
        rules = [
            grantable("read", "get list watch", "pods pods/log", namespace),
            grantable("run", "create", "pods/exec", namespace),
            grantable("maps", "get list create delete", "configmaps", namespace),
        ]
        gate.allow(name, rules)
        words = ("get,list,watch pods", "create pods/exec", "get,list,create,delete configmaps")
        self.allow = [argument for word in words for argument in ("--allow", f"{word} -n {namespace}")]
        self.file = self.agent.shell.folder / "root.kubeconfig"

        def offered() -> bool:
            return self.agent("tasks", "request", "--dry-run", "--reason", "look", *self.allow).code == 0

        gate.wait_until(offered, "the policy offers it")
        self.task = self.agent.document("tasks", "request", "--reason", "look", *self.allow, "--kubeconfig", self.file)
        self.kubectl = self.agent.kubectl(self.file).within(namespace)

    def delegate(self, name: str, *words: str, by: Path | None = None) -> tuple[Any, Path, Kubectl]:
        """A delegate of the task whose kubeconfig `by` is, or of the root's."""
        path = self.agent.shell.folder / f"{name}.kubeconfig"
        allow = [argument for word in words for argument in ("--allow", f"{word} -n {self.namespace}")]
        arguments = ("--name", name, "--reason", f"work of {name}", "--kubeconfig", path)
        task = self.agent.document(
            "tasks", "delegate", *arguments, *allow, "--task-kubeconfig", by or self.file, NARROWGATE_CREDENTIAL=""
        )
        return task, path, self.agent.kubectl(path).within(self.namespace)


@pytest.fixture
def lead(delegating_gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path, marker: str) -> Lead:
    return Lead(delegating_gate, cluster, f"lead-{marker[-12:]}", namespace, tmp_path)


def test_two_levels_of_delegates_do_their_part_and_are_refused_the_rest_with_the_chain_named(lead: Lead) -> None:
    name = lead.agent.agent.name
    first, file, helper = lead.delegate("helper", "get,list pods", "get configmaps")
    second, _, small = lead.delegate("second", "get pods/clock", by=file)
    assert (first["name"], second["name"]) == (f"{name}/helper", f"{name}/helper/second")
    assert helper("get", "pods").code == 0
    assert small("get", "pod", "clock").code == 0
    for kubectl, words, task in (
        (helper, ("create", "configmap", "mine"), first),
        (helper, ("exec", "clock", "--", "true"), first),
        (small, ("get", "configmap", "cm-1"), first | second),
        (small, ("get", "pod", "other"), second),
        (helper, ("get", "secrets"), first),
    ):
        refused = kubectl(*words)
        assert refused.code != 0
        assert f'agent "{task["name"]}"' in refused.text, refused.text
    assert f"task {second['id']}, which" in small("get", "pod", "other").text
    # What the root itself may do is not touched by any of it.
    assert lead.kubectl("get", "configmaps").code == 0
    event = lead.gate.wait_for_event(second["id"])["annotations"]
    assert json.loads(event["narrowgate.dev/chain"]) == [
        f"agent:{name}",
        f"agent:{name}/helper",
        f"agent:{name}/helper/second",
    ]
    assert event["narrowgate.dev/delegated-from"] == first["id"]


def test_what_may_be_done_is_told_to_a_delegate_as_it_is(lead: Lead) -> None:
    _, _, helper = lead.delegate("asker", "get pods")
    assert helper("auth", "can-i", "get", "pods").out.strip() == b"yes"
    assert helper("auth", "can-i", "get", "configmaps").out.startswith(b"no")
    assert lead.kubectl("auth", "can-i", "get", "configmaps").out.strip() == b"yes"


@pytest.mark.parametrize("ending", ["revoke", "complete", "pause"])
def test_the_end_of_the_root_cuts_both_levels_with_their_streams(lead: Lead, ending: str) -> None:
    first, file, helper = lead.delegate("helper", "get,list,watch pods", "create pods/exec")
    second, _, small = lead.delegate("second", "get,list,watch pods", by=file)
    with ExitStack() as stack:
        streams = [
            stack.enter_context(running(kubectl, *WATCH, until=b"clock")) for kubectl in (lead.kubectl, helper, small)
        ]
        shell = ("exec", "clock", "--", "sh", "-c", "echo begun; sleep 300")
        streams.append(stack.enter_context(running(helper, *shell, until=b"begun")))
        if ending == "pause":
            assert lead.gate.command("agents", "pause", lead.agent.agent.name).code == 0
        else:
            assert lead.agent("tasks", ending, lead.task["id"]).code == 0
        assert [ended(stream) for stream in streams] == [True] * len(streams)
    assert helper("get", "pods").code != 0
    assert small("get", "pods").code != 0
    if ending == "pause":
        assert lead.gate.command("agents", "resume", lead.agent.agent.name).code == 0

    def over() -> bool:
        found = [lead.agent("tasks", "show", task["id"], "-o", "json") for task in (first, second)]
        return all(one.code == 0 and json.loads(one.out)["endedWith"] == lead.task["id"] for one in found)

    lead.gate.wait_until(over, "the ends of what hung on it are written down")


def test_the_end_of_a_delegate_ends_what_hangs_on_it_and_nothing_beside(lead: Lead) -> None:
    first, file, helper = lead.delegate("helper", "get,list,watch pods")
    _, _, small = lead.delegate("second", "get,list,watch pods", by=file)
    _, _, beside = lead.delegate("beside", "get,list,watch pods")
    with ExitStack() as stack:
        cut = [stack.enter_context(running(kubectl, *WATCH, until=b"clock")) for kubectl in (helper, small)]
        left = [stack.enter_context(running(kubectl, *WATCH, until=b"clock")) for kubectl in (beside, lead.kubectl)]
        assert lead.agent("tasks", "revoke", first["id"]).code == 0
        assert [ended(stream) for stream in cut] == [True, True]
        assert [stream.poll() for stream in left] == [None, None]
    assert beside("get", "pods").code == lead.kubectl("get", "pods").code == 0


def test_what_is_taken_from_the_root_is_taken_from_its_delegates_streams_too(lead: Lead) -> None:
    _, _, helper = lead.delegate("helper", "get,list,watch pods", "get,list configmaps")
    with running(helper, *WATCH, until=b"clock") as watch:
        assert lead.agent("tasks", "narrow", lead.task["id"], "--keep", "allow-3").code == 0
        assert ended(watch)
    assert helper("get", "pods").code != 0
    assert helper("get", "configmaps").code == 0


def test_a_chain_that_is_too_long_and_a_part_that_is_none_are_refused(lead: Lead) -> None:
    by = lead.file
    for name in ("a", "b", "c"):
        _, by, _ = lead.delegate(name, "get pods", by=by)
    words = ("tasks", "delegate", "--name", "d", "--reason", "x", "--allow", f"get pods -n {lead.namespace}")
    refused = lead.agent(*words, "--task-kubeconfig", by, NARROWGATE_CREDENTIAL="")
    assert (refused.code, "tasks.maxDepth" in refused.text) == (1, True), refused.text
    wider = (*words[:-1], f"get secrets -n {lead.namespace}")
    refused = lead.agent(*wider, "--task-kubeconfig", lead.file, NARROWGATE_CREDENTIAL="")
    assert (refused.code, "has it not" in refused.text) == (1, True), refused.text


def test_of_delegating_and_ending_the_root_at_once_nobody_is_left_with_access(lead: Lead) -> None:
    words = ("--reason", "race", "--allow", f"get pods -n {lead.namespace}", "--task-kubeconfig", lead.file)

    def delegate(number: int) -> Path | None:
        path = lead.agent.shell.folder / f"race-{number}.kubeconfig"
        done = lead.agent(
            "tasks", "delegate", "--name", f"r{number}", *words, "--kubeconfig", path, NARROWGATE_CREDENTIAL=""
        )
        return path if done.code == 0 else None

    with ThreadPoolExecutor(4) as pool:
        racing = [pool.submit(delegate, number) for number in range(4)]
        assert lead.agent("tasks", "revoke", lead.task["id"]).code == 0
        files = [path for one in racing if (path := one.result()) is not None]
    for path in files:
        assert lead.agent.kubectl(path).within(lead.namespace)("get", "pods").code != 0

    def none_active() -> bool:
        listed = lead.agent.document("tasks", "list")
        return all(one["state"] != "active" for one in listed)

    lead.gate.wait_until(none_active, "every task that hung on it has ended")


def test_an_agents_program_delegates_by_one_call(lead: Lead) -> None:
    pods = f"/api/v1/namespaces/{lead.namespace}/pods"

    def program(name: str, scope: str, path: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", str(EXAMPLE), name, "count the pods", scope, "5m", path],
            env={**lead.agent.variables, "NARROWGATE_CREDENTIAL": credential_of(lead.file)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def works() -> bool:
        # A process of the gate that has not heard of the new credential yet refuses it.
        done = program(f"h-{next(numbers)}", f"get,list:pods@{lead.namespace}", pods)
        return done.returncode == 0 and "clock" in [one["metadata"]["name"] for one in json.loads(done.stdout)["items"]]

    numbers = itertools.count()
    lead.gate.wait_until(works, "the helper reads what was delegated to it")
    wider = program("wider", f"get:secrets@{lead.namespace}", pods)
    assert (wider.returncode, "has it not" in wider.stderr) == (1, True), wider.stderr
    elsewhere = program("elsewhere", f"list:pods@{lead.namespace}", pods.replace("pods", "configmaps"))
    assert elsewhere.returncode == 1


def test_delegates_outlast_a_gate_that_was_killed_and_end_with_their_root_after_it(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path / "gate", [entry])
    gate.write_policy("nobody", [{"kind": "Agent", "name": "nobody"}], [grantable("none", "get", "pods", "none")])
    gate.start()
    try:
        lead = Lead(gate, cluster, "lead-killed", namespace, tmp_path)
        _, file, helper = lead.delegate("helper", "get,list pods")
        _, last, small = lead.delegate("second", "get pods", by=file)
        gate.kill()
        gate.start()

        def work() -> bool:
            return helper("get", "pods").code == small("get", "pod", "clock").code == 0

        gate.wait_until(work, "both levels work after the restart")
        refused = helper("get", "configmaps")
        assert (refused.code, "does not cover it" in refused.text) == (1, True), refused.text
        assert lead.agent("tasks", "revoke", lead.task["id"]).code == 0

        comers = [replace(lead.agent.agent, token=credential_of(path)) for path in (file, last)]
        pods = f"/api/v1/namespaces/{namespace}/pods/clock"

        def cut() -> bool:
            return [comer.request("GET", pods).status for comer in comers] == [401, 401]

        gate.wait_until(cut, "both levels are cut")
        gate.kill()
        gate.start()
        gate.wait_until(cut, "both levels are cut after another restart")
    finally:
        gate.stop()
