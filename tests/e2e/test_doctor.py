"""`narrowgate doctor` on a real cluster: nothing between tasks, a running task, a rule that stands, a road around."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.gate import Cluster, Finished, Gate
from tests.e2e.rules import allow, deny
from tests.e2e.tasks import AgentTerminal, grantable, terminal


@pytest.fixture(scope="module")
def doctor_gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("doctor"), [entry])
    gate.write_policy("nobody", [{"kind": "Agent", "name": "nobody"}], [grantable("none", "get", "pods", "none")])
    gate.start()
    yield gate
    gate.stop()


def examined(agent: AgentTerminal, *arguments: str | Path, **variables: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the lines of the report. No credential is at hand but what the arguments name."""
    done = agent("doctor", *arguments, "-o", "json", **{"NARROWGATE_CREDENTIAL": "", **variables})
    assert done.out, done.err
    report = json.loads(done.out)
    assert report["well"] == (done.code == 0), done.text
    return done.code, report["checks"]


def findings(checks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(line["check"], line["where"]) for line in checks if line["outcome"] == "finding"]


def secrets_of(kubeconfig: Path) -> list[str]:
    """Everything in a kubeconfig that must not be printed."""
    user = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]
    return [str(user[name]) for name in ("token", "client-key-data", "client-certificate-data") if name in user]


def test_an_agent_without_a_task_holds_nothing_and_each_try_is_in_the_record(
    doctor_gate: Gate, cluster: Cluster, tmp_path: Path
) -> None:
    agent = terminal(doctor_gate, cluster, "idle", tmp_path)
    code, checks = examined(agent, "--kubeconfig", agent.agent.kubeconfig)
    assert code == 0
    (line,) = checks
    assert (line["check"], line["outcome"]) == ("resting access", "ok")
    assert "all of 7 requests were refused (403)" in line["found"]
    # By its credential alone, as it lies in the environment.
    code, (line,) = examined(agent, NARROWGATE_CREDENTIAL=agent.agent.token)
    assert (code, line["outcome"]) == (0, "ok")

    # On the gate's machine the record is looked at, too.
    done = doctor_gate.command("doctor", "--kubeconfig", str(agent.agent.kubeconfig), "--agent", "idle", "-o", "json")
    assert done.code == 0, done.text
    found = {line["check"]: line for line in json.loads(done.out)["checks"]}
    assert {name: line["outcome"] for name, line in found.items()} == {
        "resting access": "ok",
        "allowed path recorded": "not tried",
        "denied path recorded": "ok",
        "rules in force": "ok",
    }
    assert "all of 7 requests are in the record" in found["denied path recorded"]["found"]


def test_a_running_task_is_named_and_after_its_end_there_is_nothing(
    doctor_gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    agent = terminal(doctor_gate, cluster, "works", tmp_path)
    doctor_gate.allow("works", [grantable("pods", "get list", "pods", namespace)])
    wish = ("--reason", "look at pods", "--allow", f"get,list pods -n {namespace}")
    doctor_gate.wait_until(lambda: agent("tasks", "request", *wish, "--dry-run").code == 0, "it is offered")
    task, _ = agent.request(*wish)
    kubeconfig = agent.shell.folder / "task.kubeconfig"

    code, checks = examined(agent, "--kubeconfig", kubeconfig)
    assert code == 1
    assert [check for check, _ in findings(checks)] == ["resting access", "active task"]
    assert "opens: get /version" in checks[0]["found"]
    assert f"task {task['id']} (look at pods) is active until" in checks[1]["found"]
    assert checks[1]["toDo"].endswith(f"narrowgate tasks complete {task['id']} --kubeconfig {kubeconfig}")
    by_rules = doctor_gate.command("doctor", "--agent", "works", "-o", "json")
    assert by_rules.code == 1
    assert ("active task", task["id"]) in findings(json.loads(by_rules.out)["checks"])

    assert agent("tasks", "complete", "--kubeconfig", kubeconfig).code == 0
    doctor_gate.wait_until(lambda: examined(agent, "--kubeconfig", kubeconfig)[0] == 0, "nothing is open")
    _, (line,) = examined(agent, "--kubeconfig", kubeconfig)
    assert "were refused (401)" in line["found"]


def test_a_rule_that_stands_is_named_with_its_age_and_last_use(
    doctor_gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    agent = terminal(doctor_gate, cluster, "stander", tmp_path)
    doctor_gate.agent("stander", [allow("pods", "get list", "pods", namespace)])
    _, checks = examined(agent, "--kubeconfig", agent.agent.kubeconfig)
    assert [check for check, _ in findings(checks)] == ["resting access", "standing rule"]
    assert "opens: get /version, ask for its rules" in checks[0]["found"]
    assert checks[1]["where"] == "stander/pods"
    assert f"allows agent:stander to get,list pods -n {namespace} on dev; since 20" in checks[1]["found"]
    assert "last used: never since 20" in checks[1]["found"]
    assert "effect: grantable" in checks[1]["toDo"]

    agent.kubectl(agent.agent.kubeconfig).must("get", "pods", "-n", namespace)

    def used() -> bool:
        _, checks = examined(agent, "--kubeconfig", agent.agent.kubeconfig)
        return "last used: 20" in checks[1]["found"]

    doctor_gate.wait_until(used, "its use is known")
    # An allowed path is in the record as well.
    # What the agent's credential and the gate's own store tell alike is told once.
    arguments = ("--kubeconfig", str(agent.agent.kubeconfig), "--agent", "stander")
    checks = json.loads(doctor_gate.command("doctor", *arguments, "-o", "json").out)["checks"]
    assert [line["check"] for line in checks].count("standing rule") == 1
    outcomes = {line["check"]: line["outcome"] for line in checks}
    assert (outcomes["allowed path recorded"], outcomes["denied path recorded"]) == ("ok", "ok")


def test_a_narrow_rule_that_hides_from_the_tries_is_found_by_what_the_gate_tells(
    doctor_gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    agent = terminal(doctor_gate, cluster, "hidden", tmp_path)
    hiding = {"id": "no-version", "effect": "deny", "verbs": ["*"], "nonResourceURLs": ["*"]}
    reviews = deny("no-reviews", "create", "*", groups=["authorization.k8s.io"])
    doctor_gate.allow("hidden", [allow("maps", "get", "configmaps", namespace), hiding, reviews])

    def listed() -> bool:
        return bool(agent.document("tasks", "list", "--standing"))

    doctor_gate.wait_until(listed, "the rule stands")
    code, checks = examined(agent, "--kubeconfig", agent.agent.kubeconfig)
    assert (code, checks[0]["outcome"], findings(checks)) == (1, "ok", [("standing rule", "hidden/maps")])


def test_an_administrators_kubeconfig_left_behind_is_found_and_proven(
    doctor_gate: Gate, cluster: Cluster, tmp_path: Path
) -> None:
    agent = terminal(doctor_gate, cluster, "lazy", tmp_path)
    left = agent.shell.home / ".kube" / "config"
    left.parent.mkdir()
    shutil.copy(cluster.kubeconfig, left)
    shutil.copy(agent.agent.kubeconfig, agent.shell.home / "mine.kubeconfig")

    code, checks = examined(agent, "--search-home")
    assert code == 1
    (line,) = [line for line in checks if line["outcome"] == "finding"]
    assert (line["check"], line["where"].startswith(f"{left} (")) == ("access around the gate", True)
    assert cluster.server in line["found"]
    assert "not tried" in line["found"]

    done = agent("doctor", "--search-home", "--try", NARROWGATE_CREDENTIAL="")
    assert done.code == 1
    (proven,) = [row for row in done.out.splitlines() if "around the gate" in row]
    assert "list secrets -A" in proven
    # Kubernetes tells its version to everybody, and the gate's own kubeconfig opens nothing.
    assert "/version" not in proven
    assert any("resting access" in row and "ok" in row for row in done.out.splitlines())
    _expect_nothing_of(cluster.kubeconfig, done)

    left.unlink()
    assert examined(agent, "--search-home", "--try")[0] == 0


def test_a_second_context_of_a_kubeconfig_is_tried_too(doctor_gate: Gate, cluster: Cluster, tmp_path: Path) -> None:
    agent = terminal(doctor_gate, cluster, "twofold", tmp_path)
    mine, admin = (yaml.safe_load(path.read_text()) for path in (agent.agent.kubeconfig, cluster.kubeconfig))
    for kind in ("clusters", "users", "contexts"):
        mine[kind] += [{**one, "name": f"left-{one['name']}"} for one in admin[kind]]
    for name in ("cluster", "user"):
        mine["contexts"][-1]["context"][name] = f"left-{mine['contexts'][-1]['context'][name]}"
    both = agent.shell.write("both.kubeconfig", yaml.safe_dump(mine), 0o600)
    code, checks = examined(agent, "--kubeconfig", both)
    assert (code, [line["outcome"] for line in checks]) == (1, ["ok", "finding"])
    assert checks[1]["check"] == "access around the gate"


def test_what_could_not_be_tried_is_no_all_clear(doctor_gate: Gate, cluster: Cluster, tmp_path: Path) -> None:
    agent = terminal(doctor_gate, cluster, "away", tmp_path)
    document = yaml.safe_load(agent.agent.kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    nowhere = agent.shell.write("nowhere.kubeconfig", yaml.safe_dump(document), 0o600)
    code, (line,) = examined(agent, "--kubeconfig", nowhere)
    assert (code, line["outcome"], "cannot be reached" in line["found"]) == (1, "not tried", True)
    # Whoever answers in the server's place learns nothing: the certificate is verified first.
    document = yaml.safe_load(agent.agent.kubeconfig.read_text())
    document["clusters"][0]["cluster"]["certificate-authority-data"] = yaml.safe_load(cluster.kubeconfig.read_text())[
        "clusters"
    ][0]["cluster"]["certificate-authority-data"]
    stranger = agent.shell.write("stranger.kubeconfig", yaml.safe_dump(document), 0o600)
    code, (line,) = examined(agent, "--kubeconfig", stranger)
    assert (code, "its certificate is not trusted" in line["found"]) == (1, True)
    # By the rules alone nothing was tried.
    assert doctor_gate.command("doctor", "--agent", "away").code == 1
    assert agent("doctor", NARROWGATE_CREDENTIAL="").code == 2
    assert agent("doctor", "--agent", "away", "--try", NARROWGATE_CREDENTIAL="").code == 2


def _expect_nothing_of(kubeconfig: Path, done: Finished) -> None:
    assert [secret for secret in secrets_of(kubeconfig) if secret in done.text] == []
