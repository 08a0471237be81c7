"""Which commands, containers and pods rules let somebody into, and at which lines one ends: in both transports."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.e2e.gate import Cluster, Gate
from tests.e2e.kubectl import TRANSPORTS, Kubectl, Ran
from tests.e2e.rules import allow, deny
from tests.e2e.terminal import Terminal, eventually
from tests.e2e.workloads import container, pod, yaml_of

READY_SECONDS = 90
SOON_SECONDS = 90.0
INTO = "pods/exec pods/attach pods/ephemeralcontainers"
COMMANDS = ["ls *", "cat /etc/*", ["sh", "-c", "echo spelled; echo out"], "echo **"]


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    name = new_namespace("commands")
    here = direct.within(name)
    two = pod("two", cluster.image)
    two["spec"]["containers"].append(container("side", cluster.image))
    reader = pod("reader", cluster.image)
    reader["spec"]["containers"] = [
        container("main", cluster.image, "while read line; do eval $line; done", stdin=True, tty=True)
    ]
    here.must("apply", "-f", "-", stdin=yaml_of(two, reader, pod("web", cluster.image), pod("db", cluster.image)))
    pods = [f"pod/{one}" for one in ("two", "reader", "web", "db")]
    here.must("wait", "--for=condition=Ready", *pods, f"--timeout={READY_SECONDS}s")
    return name


def rules_of(namespace: str) -> dict[str, list[dict[str, Any]]]:
    """The rules of each agent; what they look at besides is the same for all."""
    reads = allow("reads", "get list", "pods", namespace)
    anything = allow("in", "create patch", INTO, namespace)
    lines = {"deny": ["rm -rf", "shutdown"]}
    return {
        "lister": [reads, allow("in", "create", "pods/exec", namespace, commands=COMMANDS)],
        "careful": [reads, anything, deny("no-rm", "create patch", INTO, commands=["rm"])],
        "contained": [reads, allow("in", "create", "pods/exec", namespace, containers=["main"])],
        "webmaster": [
            reads,
            allow("in", "create", "pods/exec", namespace, podSelector={"matchLabels": {"app": "web"}}),
        ],
        "debugger": [
            reads,
            allow("in", "patch", "pods/ephemeralcontainers", namespace, commands=["echo *"]),
        ],
        "typist": [reads, allow("in", "create", "pods/exec pods/attach", namespace, lines=lines)],
    }


@pytest.fixture(scope="module")
def commands_gate(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    gate = Gate(tmp_path_factory.mktemp("commands"), [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}])
    for name, rules in rules_of(namespace).items():
        gate.agent(name, rules)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(params=list(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


As = Callable[[str], Kubectl]


@pytest.fixture
def kubectl_of(commands_gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path, transport: str) -> As:
    def made(name: str) -> Kubectl:
        agent = commands_gate.agent(name, rules_of(namespace)[name])
        return Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path).within(namespace).using(TRANSPORTS[transport])

    return made


def let_in(ran: Ran) -> bool:
    """Whether the gate let it in, whatever became of it there."""
    return b"may not create pods/exec" not in ran.err and b"may not create pods/attach" not in ran.err


@pytest.mark.parametrize(
    "command",
    [["ls", "tmp"], ["cat", "/etc/hosts"], ["sh", "-c", "echo spelled; echo out"], ["echo", "a", "-n", "$(id)"]],
)
def test_a_listed_command_runs(kubectl_of: As, command: list[str]) -> None:
    ran = kubectl_of("lister")("exec", "web", "--", *command)
    assert ran.code == 0, ran.text


@pytest.mark.parametrize(
    "command",
    [
        ["id"],
        ["sh"],
        ["sh", "-c", "echo spelled; echo out; id"],
        ["sh", "-c", "echo spelled; echo out", "x"],
        ["ls", "-R"],
        ["ls", "/"],
        ["ls", "a", "b"],
        ["ls", ""],
        ["/bin/ls", "tmp"],
        ["busybox", "ls", "tmp"],
        ["env", "ls", "tmp"],
        ["cat", "/etc/../proc/1/environ"],
        ["cat", "/etc/ssl/x"],
        ["cat", "/etc/hosts", "/proc/1/environ"],
        ["ｌｓ", "tmp"],
        ["ls\n", "tmp"],
        ["ls", "tmp\nid"],
        ["--", "ls", "tmp"],
        ["", "ls", "tmp"],
    ],
)
def test_no_other_command_does(kubectl_of: As, command: list[str]) -> None:
    assert not let_in(kubectl_of("lister")("exec", "web", "--", *command))


def test_the_refusal_names_what_was_asked_and_what_may_be_run(kubectl_of: As) -> None:
    ran = kubectl_of("lister")("exec", "web", "-c", "main", "--", "rm", "-rf", "/")
    said = 'no rule allows running ["rm", "-rf", "/"] in container "main": commands allowed are ls *, cat /etc/*'
    assert said in ran.text


def test_attach_and_debug_are_no_way_around_a_list_of_commands(kubectl_of: As, cluster: Cluster) -> None:
    lister = kubectl_of("lister")
    assert lister("attach", "web", "-c", "main").code != 0
    debugged = lister("debug", "web", f"--image={cluster.image}", "--", "ls", "tmp")
    assert debugged.code != 0
    assert b"may not patch pods/ephemeralcontainers" in debugged.err


def test_what_is_asked_without_kubectl_is_read_the_same(
    commands_gate: Gate, namespace: str, direct: Kubectl, transport: str
) -> None:
    agent = commands_gate.agent("lister", rules_of(namespace)["lister"])
    upgrade = {
        "websocket": {
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Protocol": "v4.channel.k8s.io",
        },
        "spdy": {"Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"},
    }[transport.lower()]

    def code(*pairs: tuple[str, str], subresource: str = "exec", raw: str = "") -> int:
        method = "GET" if transport.lower() == "websocket" else "POST"
        query = urlencode([*pairs, ("stdout", "true")]) + raw
        target = f"/api/v1/namespaces/{namespace}/pods/web/{subresource}?{query}"
        with agent.connect() as connection:
            connection.send(agent.bytes_of(method, target, {"Connection": "Upgrade", **upgrade}))
            return connection.response(method).status

    listed = [("command", "ls"), ("command", "tmp")]
    assert code(*listed) == 101
    assert code(("command", "ls"), ("container", "main"), ("command", "tmp")) == 101
    assert code(*listed, ("command", "x")) == 403
    assert code(*reversed(listed)) == 403
    assert code(("Command", "ls"), ("command", "id")) == 403
    assert code(("command", "ls tmp")) == 403
    assert code(("command", "")) == 403
    assert code() == 403
    assert code(*listed, subresource="attach") == 403
    assert code(*listed, raw="&command=%00") == 400
    assert code(*listed, raw=";command=id") == 400
    assert code(("command", "ls"), raw="&command=tmp%0a") == 403
    assert code(*listed, ("container", "main"), ("container", "side")) == 400


@pytest.mark.parametrize("command", [["ls", "-R", "/tmp"], ["id"], ["cat", "/etc/hosts"]])
def test_a_guarded_command_leaves_others_alone(kubectl_of: As, command: list[str]) -> None:
    ran = kubectl_of("careful")("exec", "web", "--", *command)
    assert ran.code == 0, ran.text


@pytest.mark.parametrize(
    "command",
    [
        ["rm", "x"],
        ["/bin/rm", "x"],
        ["../bin/rm", "x"],
        ["sh", "-c", "rm x"],
        ["busybox", "rm", "x"],
        ["env", "rm", "x"],
        ["timeout", "1", "rm", "x"],
        ["find", "/x", "-delete"],
    ],
)
def test_a_guard_holds_for_what_could_hide_its_command(kubectl_of: As, command: list[str]) -> None:
    ran = kubectl_of("careful")("exec", "web", "--", *command)
    assert not let_in(ran)
    assert b"the rule guards the commands rm" in ran.err


def test_a_guard_holds_for_attach_and_debug(kubectl_of: As, cluster: Cluster) -> None:
    careful = kubectl_of("careful")
    assert not let_in(careful("attach", "web", "-c", "main"))
    debugged = careful("debug", "web", f"--image={cluster.image}", "--image-pull-policy=Never", "--", "ls")
    assert b"the rule guards the commands rm" in debugged.err


def test_a_container_is_entered_by_its_name_or_as_the_only_one(kubectl_of: As) -> None:
    contained = kubectl_of("contained")
    assert contained("exec", "two", "-c", "main", "--", "id").code == 0
    refused = contained("exec", "two", "-c", "side", "--", "id")
    assert b'no rule allows getting into container "side": containers allowed are main' in refused.err
    assert contained("exec", "web", "--", "id").code == 0


def test_a_request_that_names_no_container_enters_the_only_one(
    commands_gate: Gate, namespace: str, transport: str
) -> None:
    agent = commands_gate.agent("contained", rules_of(namespace)["contained"])
    for name, expected in (("web", 400), ("two", 403), ("absent", 403)):
        # Allowed, and then no upgrade: 400 is the cluster's own.
        method = "GET" if transport.lower() == "websocket" else "POST"
        target = f"/api/v1/namespaces/{namespace}/pods/{name}/exec?command=id&stdout=true"
        assert agent.request(method, target).status == expected, name


def test_pods_are_chosen_by_labels_as_they_are_now(kubectl_of: As, direct: Kubectl, namespace: str) -> None:
    webmaster, here = kubectl_of("webmaster"), direct.within(namespace)
    assert webmaster("exec", "web", "--", "id").code == 0
    refused = webmaster("exec", "db", "--", "id")
    assert b"no rule allows getting into this pod: it must have the labels app=web" in refused.err
    here.must("label", "pod", "db", "app=web", "--overwrite")
    try:
        assert webmaster("exec", "db", "--", "id").code == 0
    finally:
        here.must("label", "pod", "db", "app=db", "--overwrite")
    assert not let_in(webmaster("exec", "db", "--", "id"))


def test_a_debug_container_runs_what_is_listed(kubectl_of: As, cluster: Cluster, transport: str) -> None:
    debugger = kubectl_of("debugger")
    image = [f"--image={cluster.image}", "--image-pull-policy=Never", "--profile=baseline"]
    name = f"-c=shell-{transport.lower()}"
    for words in (["sh"], ["echo", "a", "b"], ["echo", "$(HOSTNAME)"]):
        refused = debugger("debug", "web", *image, name, "--", *words)
        assert b"no rule allows running" in refused.err or b"a command that the request does not tell" in refused.err
    unnamed = debugger("debug", "web", *image, name)
    assert b"a command that the request does not tell" in unnamed.err
    ran = debugger("debug", "web", *image, name, "--", "echo", "listed")
    assert b"narrowgate" not in ran.err, ran.text


@pytest.mark.parametrize("typed", ["rm -rf /nothing\n", "cd /; rm  -rf nothing\n", "rx\x7fm -rf /nothing\n"])
def test_a_terminal_ends_at_a_line_that_may_not_be_typed(
    kubectl_of: As, commands_gate: Gate, typed: str, direct: Kubectl, namespace: str
) -> None:
    here = kubectl_of("typist")
    with Terminal(here.command("exec", "-it", "web", "-c", "main", "--", "sh"), here.environment()) as terminal:
        terminal.wait_for("# ")
        terminal.type("echo still $((40 + 2))\n")
        terminal.wait_for("still 42")
        terminal.type(typed)
        assert terminal.exit_code() != 0
        assert "rule typist/in ends sessions at a line that was typed" in terminal.seen.replace("\r\n", "")
    recorded = commands_gate.wait_for_event("rule typist/in ends sessions")
    assert recorded["objectRef"]["subresource"] == "exec"


def test_a_line_of_the_history_is_met_as_it_is_shown(kubectl_of: As) -> None:
    here = kubectl_of("typist")
    with Terminal(here.command("exec", "-it", "web", "-c", "main", "--", "sh"), here.environment()) as terminal:
        terminal.wait_for("# ")
        # What is printed without an end of line is all that a look at the screen has, as of a line of the history.
        terminal.type("printf 'rm -%s ' rf\n")
        terminal.wait_for("rm -rf ")
        terminal.type("\n")
        assert terminal.exit_code() != 0


def test_what_is_piped_into_a_shell_is_met_before_it_runs(
    kubectl_of: As, direct: Kubectl, namespace: str, transport: str
) -> None:
    marker = f"/tmp/kept-{transport.lower()}"
    direct.within(namespace).must("exec", "web", "-c", "main", "--", "touch", marker)
    for script in (f"rm -rf {marker}\n", f"rm -rf {marker}", f"true\ntrue; rm -rf {marker}"):
        ran = kubectl_of("typist")("exec", "-i", "web", "-c", "main", "--", "sh", stdin=script.encode())
        assert ran.code != 0
        assert b"rule typist/in ends sessions" in ran.err
    direct.within(namespace).must("exec", "web", "-c", "main", "--", "ls", marker)


def test_other_lines_run_and_files_are_no_lines(kubectl_of: As) -> None:
    typist = kubectl_of("typist")
    script = b"echo one\nrm -f /nothing\necho two"
    assert typist("exec", "-i", "web", "-c", "main", "--", "sh", stdin=script).out == b"one\ntwo\n"
    data = b"rm -rf /\n" * 10 + b"x" * 100_000
    assert typist("exec", "-i", "web", "-c", "main", "--", "cat", stdin=data).out == data


def test_lines_are_read_on_an_attached_terminal(kubectl_of: As) -> None:
    here = kubectl_of("typist")
    with Terminal(here.command("attach", "-it", "reader", "-c", "main"), here.environment()) as attached:
        attached.type("echo there $((40 + 2))\n")
        attached.wait_for("there 42")
        attached.type("shutdown now\n")
        assert attached.exit_code() != 0
        assert "rule typist/in ends sessions" in attached.seen.replace("\r\n", "")


def test_a_session_ends_when_other_lines_would_end_it(kubectl_of: As, commands_gate: Gate, namespace: str) -> None:
    here = kubectl_of("typist")
    running = here.start("exec", "-i", "web", "-c", "main", "--", "sh", "-c", "echo up; cat", stdin=subprocess.PIPE)
    assert running.stdout is not None
    try:
        assert b"up" in running.stdout.readline()
        commands_gate.allow("typist", [allow("in", "create", "pods/exec", namespace, lines={"deny": ["dd"]})])
        assert running.wait(SOON_SECONDS) is not None
    finally:
        running.kill()
        running.communicate()
        commands_gate.allow("typist", rules_of(namespace)["typist"])
        assert eventually(lambda: here("get", "pods").code == 0)
