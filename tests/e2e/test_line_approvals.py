"""Lines and commands that people are asked about: held in a real shell, entered once, nothing behind them before."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.api_caller import by_token
from tests.e2e.gate import Agent, Cluster
from tests.e2e.kubectl import CALL_SECONDS, TRANSPORTS, Kubectl, Ran
from tests.e2e.rules import allow
from tests.e2e.tasks import grantable
from tests.e2e.team import Team, asks, task_of, team_at
from tests.e2e.terminal import Terminal
from tests.e2e.workloads import pod, yaml_of

READY_SECONDS = 90
PODS = "/api/v1/namespaces/{}/pods/web"
INTO = "create", "pods/exec pods/attach"
ASKED = {"approve": ["rm -rf"], "deny": ["shutdown"], "approval": asks()}


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    name = new_namespace("lines")
    here = direct.within(name)
    here.must("apply", "-f", "-", stdin=yaml_of(pod("web", cluster.image)))
    here.must("wait", "--for=condition=Ready", "pod/web", f"--timeout={READY_SECONDS}s")
    return name


@pytest.fixture(scope="module")
def team(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("lines")
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig)}
    with team_at(folder, [entry], {"workers": 2}) as team:
        yield team


@pytest.fixture(params=list(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Desk:
    """An agent with rules of its own, kubectl in its name, and a file in the pod that it would like to be gone."""

    def __init__(self, team: Team, agent: Agent, kubectl: Kubectl, direct: Kubectl) -> None:
        self.team = team
        self.agent = agent
        self.kubectl = kubectl
        self.file = f"/tmp/of-{agent.name}"
        self._direct = direct
        direct.must("exec", "web", "--", "touch", self.file)

    def with_kubeconfig(self, kubeconfig: Path) -> Desk:
        return Desk(self.team, self.agent, replace(self.kubectl, kubeconfig=kubeconfig), self._direct)

    def shell(self, *command: str) -> Terminal:
        words = self.kubectl.command("exec", "-it", "web", "-c", "main", "--", *(command or ("sh",)))
        return Terminal(words, self.kubectl.environment())

    def is_there(self) -> bool:
        return self._direct("exec", "web", "--", "test", "-e", self.file).code == 0

    def state_of(self, approval: str) -> str:
        return str(self.team.question(approval)["state"])

    def wait_for_state(self, approval: str, state: str) -> None:
        self.team.gate.wait_until(lambda: self.state_of(approval) == state, f"{approval} is {state}")


MakeDesk = Callable[..., Desk]


@pytest.fixture
def desk_of(team: Team, cluster: Cluster, direct: Kubectl, namespace: str, tmp_path: Path, transport: str) -> MakeDesk:
    def made(name: str, *rules: dict[str, Any], task: tuple[str, ...] = ()) -> Desk:
        name = f"{name}-{transport.lower()}"
        reads = allow("reads", "get list", "pods", namespace)
        agent = team.agent(name, [reads, *rules], PODS.format(namespace))
        kubectl = Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path).within(namespace)
        return Desk(team, agent, kubectl.using(TRANSPORTS[transport]), direct.within(namespace))

    return made


def typist(namespace: str, **more: Any) -> dict[str, Any]:
    return allow("in", *INTO, namespace, lines=ASKED, **more)


def plain(terminal: Terminal) -> str:
    """What the terminal showed, with lines that are folded put together."""
    return terminal.seen.replace("\r\n", "")


def test_a_line_waits_until_people_say_yes_and_runs_once(desk_of: MakeDesk, namespace: str) -> None:
    desk = desk_of("waits", typist(namespace))
    team, name = desk.team, desk.agent.name
    with desk.shell() as terminal:
        terminal.wait_for("# ")
        terminal.type("(for i in $(seq 90); do echo tick $((i + 1000)); sleep 1; done) &\n")
        terminal.wait_for("tick 1002")
        terminal.type(f"rm -rf {desk.file}\n")
        terminal.wait_for("narrowgate: waiting for approval")
        approval = team.one_waiting(name)
        assert approval in plain(terminal)
        question = team.question(approval)
        assert f"line: rm -rf {desk.file}" in question["summary"]
        assert f"session: {question['auditId']}" in question["summary"]
        terminal.type("echo ahead $((40 + 2))\n")
        # What the program writes still comes.
        seen = terminal.seen.count("tick 1")
        terminal.wait_for(f"tick {1000 + seen + 3}")
        assert desk.is_there()
        assert "ahead 42" not in terminal.seen
        team.approve(approval)
        terminal.wait_for("ahead 42")
        assert not desk.is_there()
        desk.wait_for_state(approval, "spent")
        terminal.type(f"rm -rf {desk.file}\n")
        again = team.one_waiting(name)
        assert again != approval
        assert team.answer("bob", again, "deny").status == 200
        assert terminal.exit_code() != 0
        assert f"approval {again}: denied by {team.name_of('bob')}" in plain(terminal)
    recorded = team.gate.wait_for_event(f"rule {name}/in asks people about a line that was typed; approval {again}")
    assert recorded["objectRef"]["subresource"] == "exec"
    told = [event["annotations"].get("narrowgate.dev/approval") for event in team.gate.events(question["auditId"])]
    assert {approval, again} <= set(told)


@pytest.mark.parametrize("ends", ["^C", "left", "policy", "too much"])
def test_a_session_that_ends_while_its_line_waits_enters_nothing(desk_of: MakeDesk, namespace: str, ends: str) -> None:
    desk = desk_of(f"ends-{ends.replace(' ', '-').strip('^').lower()}", typist(namespace))
    team, name = desk.team, desk.agent.name
    with desk.shell() as terminal:
        terminal.wait_for("# ")
        terminal.type(f"rm -rf {desk.file}\n")
        approval = team.one_waiting(name)
        match ends:
            case "^C":
                terminal.type("\x03")
                terminal.exit_code()
                assert "a line that was taken back (^C)" in plain(terminal)
            case "left":
                terminal.process.kill()
            case "policy":
                team.gate.allow(name, [typist(namespace) | {"lines": ASKED | {"deny": ["dd"]}}])
                terminal.exit_code()
                assert "what may be typed into this session has changed" in plain(terminal)
            case "too much":
                for _ in range(40):
                    terminal.type("#" * 2000 + "\n")
                terminal.exit_code()
                assert "which is more than is kept" in plain(terminal)
        desk.wait_for_state(approval, "withdrawn")
    assert desk.is_there()
    assert team.answer("bob", approval).status != 200


def test_a_session_of_a_task_ends_with_it_and_enters_nothing(desk_of: MakeDesk, namespace: str, tmp_path: Path) -> None:
    desk = desk_of("tasked", grantable("offer", *INTO, namespace, lines=ASKED))
    team = desk.team
    task, working = task_of(team.gate, desk.agent, f"create pods/exec -n {namespace}")
    config = tmp_path / "task.kubeconfig"
    config.write_text(desk.agent.kubeconfig.read_text().replace(desk.agent.token, working.token))
    with desk.with_kubeconfig(config).shell() as terminal:
        terminal.wait_for("# ")
        terminal.type(f"rm -rf {desk.file}\n")
        terminal.wait_for("narrowgate: waiting for approval")
        approval = team.one_waiting(desk.agent.name)
        completed = by_token(team.gate, working.token)("POST", f"/tasks/{task}/complete")
        assert completed.status == 200, completed.document
        terminal.exit_code()
        desk.wait_for_state(approval, "withdrawn")
    assert desk.is_there()


@pytest.mark.parametrize(
    "typed",
    [
        "rm -rf \\\n/nothing\n",
        "rm -rf '/nothing\n",
        "rm -rf /nothing |\n",
        "rm -rf /not\t\n",
        "shutdown now\n",
    ],
)
def test_what_people_cannot_be_asked_about_ends_the_session(desk_of: MakeDesk, namespace: str, typed: str) -> None:
    desk = desk_of("doubts", typist(namespace))
    with desk.shell() as terminal:
        terminal.wait_for("# ")
        terminal.type(typed)
        assert terminal.exit_code() != 0
        assert "ends sessions at a line" in plain(terminal)
    assert desk.team.waiting(desk.agent.name) == []


def test_nobody_is_asked_about_a_line_that_only_the_terminal_shows(desk_of: MakeDesk, namespace: str) -> None:
    desk = desk_of("shown", typist(namespace))
    with desk.shell() as terminal:
        terminal.wait_for("# ")
        # What is printed without an end of line is all that a look at the screen has, as of a line of the history.
        terminal.type("printf 'rm -%s ' rf\n")
        terminal.wait_for("rm -rf ")
        terminal.type("\n")
        assert terminal.exit_code() != 0
        assert "its keys do not tell what it says" in plain(terminal)


def test_lines_that_are_pasted_together_are_asked_about_one_by_one(desk_of: MakeDesk, namespace: str) -> None:
    desk = desk_of("pastes", typist(namespace))
    team, name = desk.team, desk.agent.name
    with desk.shell() as terminal:
        terminal.wait_for("# ")
        terminal.type(f"echo one $((1 + 1)); rm -rf {desk.file}\nrm -rf /nothing; echo two $((2 + 2))\n")
        first = team.one_waiting(name)
        assert "one 2" not in terminal.seen
        team.approve(first)
        terminal.wait_for("one 2")
        team.gate.wait_until(
            lambda: [one["id"] for one in team.waiting(name)] not in ([], [first]), "the second line waits"
        )
        second = team.one_waiting(name)
        assert "two 4" not in terminal.seen
        team.approve(second)
        terminal.wait_for("two 4")
        assert not desk.is_there()


def finished(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    out, _ = process.communicate(timeout=CALL_SECONDS)
    return process.returncode, out.decode(errors="replace")


def test_what_is_piped_waits_as_well_and_its_end_with_it(desk_of: MakeDesk, namespace: str) -> None:
    desk = desk_of("pipes", typist(namespace))
    team, name = desk.team, desk.agent.name
    process = desk.kubectl.start("exec", "-i", "web", "-c", "main", "--", "sh", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(f"echo before\nrm -rf {desk.file}\necho behind\nrm -rf /nothing".encode())
    process.stdin.close()
    process.stdin = None
    first = team.one_waiting(name)
    assert desk.is_there()
    team.approve(first)
    team.gate.wait_until(lambda: [one["id"] for one in team.waiting(name)] not in ([], [first]), "the last line waits")
    team.approve(team.one_waiting(name))
    code, said = finished(process)
    assert code == 0, said
    assert "before\n" in said
    assert "behind\n" in said
    assert not desk.is_there()


def test_a_pipe_that_is_denied_runs_nothing_of_the_line(desk_of: MakeDesk, namespace: str) -> None:
    desk = desk_of("denied", typist(namespace))
    team = desk.team
    process = desk.kubectl.start("exec", "-i", "web", "-c", "main", "--", "sh", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(f"echo before; rm -rf {desk.file}".encode())
    process.stdin.close()
    process.stdin = None
    approval = team.one_waiting(desk.agent.name)
    assert team.answer("bob", approval, "deny").status == 200
    code, said = finished(process)
    assert code != 0
    assert "asks people about a line that was typed; approval" in said
    assert "before\n" not in said
    assert desk.is_there()


def held(identifier: str, verbs: str, resources: str, namespace: str, **more: Any) -> dict[str, Any]:
    return {**allow(identifier, verbs, resources, namespace, **more), "effect": "approve", "approval": asks()}


def test_a_command_waits_for_people_and_another_one_asks_anew(desk_of: MakeDesk, namespace: str) -> None:
    desk = desk_of("commands", held("touch", "create", "pods/exec", namespace, commands=["touch *", "rm -f /tmp/*"]))
    team, name = desk.team, desk.agent.name

    def start(*command: str) -> subprocess.Popen[bytes]:
        return desk.kubectl.start("exec", "web", "-c", "main", "--", *command)

    running = start("rm", "-f", desk.file)
    approval = team.one_waiting(name)
    assert ["argument 1: rm", "argument 2: -f", f"argument 3: {desk.file}"] == [
        line for line in team.question(approval)["summary"] if line.startswith("argument")
    ]
    assert desk.is_there()
    team.approve(approval)
    assert finished(running)[0] == 0
    assert not desk.is_there()
    # The yes was for that command, once.
    other = start("touch", "x")
    second = team.one_waiting(name)
    assert team.answer("bob", second, "deny").status == 200
    code, said = finished(other)
    assert code != 0
    assert second in said
    same = start("rm", "-f", desk.file)
    third = team.one_waiting(name)
    assert third not in (approval, second)
    assert team.answer("bob", third, "deny").status == 200
    assert finished(same)[0] != 0
    refused = desk.kubectl("exec", "web", "-c", "main", "--", "rm", "-f", "/etc/hosts")
    assert b"no rule allows running" in refused.err


def test_a_guarded_command_that_is_allowed_besides_waits_too(desk_of: MakeDesk, namespace: str) -> None:
    guard = held("careful", "create", "pods/exec", namespace, commands=["rm"])
    desk = desk_of("guarded", allow("all", "create", "pods/exec", namespace), guard)
    assert desk.kubectl("exec", "web", "-c", "main", "--", "id").code == 0
    for command in (["rm", "-f", desk.file], ["sh", "-c", f"rm -f {desk.file}"]):
        running = desk.kubectl.start("exec", "web", "-c", "main", "--", *command)
        approval = desk.team.one_waiting(desk.agent.name)
        assert desk.is_there()
        assert desk.team.answer("bob", approval, "deny").status == 200
        assert finished(running)[0] != 0
    assert desk.is_there()


def debugged(desk: Desk, cluster: Cluster, name: str, *command: str) -> list[str]:
    image = [f"--image={cluster.image}", "--image-pull-policy=Never", "--profile=baseline"]
    return ["debug", "web", *image, f"-c={name}", "--", *command]


def test_a_debug_container_waits_for_people_with_its_command(
    desk_of: MakeDesk, namespace: str, cluster: Cluster, direct: Kubectl, transport: str
) -> None:
    desk = desk_of("debugs", held("debug", "patch", "pods/ephemeralcontainers", namespace, commands=["echo *"]))
    team, name, container = desk.team, desk.agent.name, f"echo-{transport.lower()}"

    def containers() -> list[str]:
        pod = json.loads(direct.within(namespace).must("get", "pod", "web", "-o", "json"))
        return [one["name"] for one in pod["spec"].get("ephemeralContainers", [])]

    def refused() -> Ran:
        return desk.kubectl(*debugged(desk, cluster, f"other-{container}", "rm", "-rf", "/"))

    assert b"no rule allows running" in refused().err
    running = desk.kubectl.start(*debugged(desk, cluster, container, "echo", "listed"))
    approval = team.one_waiting(name)
    summary = team.question(approval)["summary"]
    assert f"debug container: {container}" in summary
    assert f"image: {cluster.image}" in summary
    assert [line for line in summary if line.startswith("argument")] == ["argument 1: echo", "argument 2: listed"]
    assert container not in containers()
    team.approve(approval)
    code, said = finished(running)
    assert code == 0, said
    assert container in containers()
    other = desk.kubectl.start(*debugged(desk, cluster, f"second-{container}", "echo", "other"))
    second = team.one_waiting(name)
    assert team.answer("bob", second, "deny").status == 200
    assert finished(other)[0] != 0
    assert f"second-{container}" not in containers()


def test_a_guarded_debug_container_waits_whatever_its_command(
    desk_of: MakeDesk, namespace: str, cluster: Cluster, transport: str
) -> None:
    guard = held("no-rm", "patch", "pods/ephemeralcontainers", namespace, commands=["rm"])
    desk = desk_of("guards", allow("all", "patch", "pods/ephemeralcontainers", namespace), guard)
    running = desk.kubectl.start(*debugged(desk, cluster, f"any-{transport.lower()}", "echo", "x"))
    approval = desk.team.one_waiting(desk.agent.name)
    assert desk.team.answer("bob", approval, "deny").status == 200
    assert finished(running)[0] != 0
