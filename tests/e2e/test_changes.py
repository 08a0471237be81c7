"""What changes while the gate runs is in force at once: for the next request, and for streams that run already."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest
from tests.e2e.gate import Agent, Gate
from tests.e2e.kubectl import SPDY, WEBSOCKETS, Kubectl
from tests.e2e.rules import allow

# A stream whose permission is gone ends within a second; a test on a busy machine waits longer before it says never.
END_SECONDS = 90.0

KubectlOf = Callable[[Agent], Kubectl]


@contextmanager
def running(kubectl: Kubectl, *arguments: str, until: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """A kubectl that streams, and has said something already."""
    process = kubectl.start(*arguments)
    assert process.stdout is not None
    try:
        said = b""
        while until not in said:
            line = process.stdout.readline()
            if not line:
                raise AssertionError(f"kubectl {' '.join(arguments)} ended before it said {until!r}: {said!r}")
            said += line
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ends by itself; what it still says is read away, so that it can."""
    try:
        process.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


STREAMS = {
    "watch": (("get", "pods", "clock", "--watch"), b"clock"),
    "logs": (("logs", "-f", "clock"), b"tick"),
    "exec": (("exec", "clock", "--", "sh", "-c", "echo begun; while true; do echo on; sleep 0.2; done"), b"begun"),
    "silent exec": (("exec", "clock", "--", "sh", "-c", "echo begun; sleep 300"), b"begun"),
    "port-forward": (("port-forward", "clock", ":80"), b"Forwarding"),
}
STREAM_RULES = ("get list watch", "pods pods/log"), ("create", "pods/exec pods/portforward")


def streaming_agent(gate: Gate, name: str, namespace: str) -> Agent:
    rules = [allow(f"r{number}", *words, namespace) for number, words in enumerate(STREAM_RULES)]
    return gate.agent(name, rules)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("transport", [WEBSOCKETS, SPDY], ids=["websocket", "spdy"])
def test_a_stream_ends_when_the_policy_takes_its_right_away(
    stream: str, transport: Mapping[str, str], gate: Gate, kubectl_of: KubectlOf, namespace: str
) -> None:
    name = f"streams-{stream.replace(' ', '-')}-{'spdy' if transport else 'ws'}"
    agent = streaming_agent(gate, name, namespace)
    arguments, until = STREAMS[stream]

    with running(kubectl_of(agent).within(namespace).using(transport), *arguments, until=until) as process:
        gate.allow(name, [allow("something-else", "get", "configmaps", namespace)])

        if stream == "port-forward":
            # The connection behind the listener is gone; kubectl notices, says so, and ends or listens on in vain.
            event = gate.wait_for_event(f"agent:{name}")
            assert event["stage"] == "ResponseComplete"
        else:
            assert ended(process), f"{stream} still runs though nothing allows it any more"


def test_a_stream_goes_on_when_the_policy_changes_and_still_allows_it(
    gate: Gate, kubectl_of: KubectlOf, namespace: str
) -> None:
    agent = streaming_agent(gate, "steady", namespace)

    with running(kubectl_of(agent).within(namespace), "logs", "-f", "clock", "--tail=1", until=b"tick") as process:
        gate.allow("steady", [allow("anew", "get list watch", "pods pods/log", namespace)])
        configmaps = f"/api/v1/namespaces/{namespace}/pods/clock/exec?command=true"
        gate.wait_until(lambda: agent.request("POST", configmaps).status == 403, "the changed policy in force")
        assert process.stdout is not None
        later = [process.stdout.readline() for _ in range(20)]

    assert all(line.startswith(b"tick") for line in later)


def test_a_stream_ends_when_its_agent_is_removed(gate: Gate, kubectl_of: KubectlOf, namespace: str) -> None:
    agent = streaming_agent(gate, "leaves", namespace)

    with running(kubectl_of(agent).within(namespace), "logs", "-f", "clock", until=b"tick") as process:
        removed = gate.command("agents", "remove", "leaves", "--yes")
        assert removed.code == 0, removed.text

        assert ended(process), "the log still runs though its agent is gone"
    assert agent.request("GET", "/version").status == 401


def test_a_stream_ends_when_its_credential_expires(gate: Gate, kubectl_of: KubectlOf, namespace: str) -> None:
    kubeconfig = gate.folder / "ephemeral.kubeconfig"
    done = gate.command(
        "agents", "add", "ephemeral", "--owner", "person:test", "--purpose", "test", "--cluster", "dev", "--for", "15s",
        "--kubeconfig", str(kubeconfig),
    )  # fmt: skip
    assert done.code == 0, done.text
    agent = gate.agent_from("ephemeral", kubeconfig)
    gate.allow("ephemeral", [allow("read", "get list watch", "pods pods/log", namespace)])
    gate.wait_until(lambda: agent.request("GET", "/version").status == 200, "the agent is known")

    with running(kubectl_of(agent).within(namespace), "logs", "-f", "clock", until=b"tick") as process:
        assert ended(process), "the log still runs though its credential has expired"


def test_an_edited_policy_is_in_force_without_a_restart(gate: Gate, namespace: str) -> None:
    agent = gate.agent("edited", [allow("pods", "get list", "pods", namespace)])
    pods, maps = f"/api/v1/namespaces/{namespace}/pods", f"/api/v1/namespaces/{namespace}/configmaps"
    assert (agent.request("GET", pods).status, agent.request("GET", maps).status) == (200, 403)

    gate.allow("edited", [allow("maps", "get list", "configmaps", namespace)])

    gate.wait_until(lambda: agent.request("GET", maps).status == 200, "the new rule")
    assert agent.request("GET", pods).status == 403


def test_a_removed_policy_is_out_of_force_without_a_restart(gate: Gate, namespace: str) -> None:
    agent = gate.agent("unwritten", [allow("pods", "get list", "pods", namespace)])

    (gate.policies / "unwritten.yaml").unlink()

    gate.wait_until(lambda: agent.request("GET", "/version").status == 403, "nothing is held any more")


BROKEN = {
    "no YAML": "spec: [unclosed",
    "an unknown key": (
        "apiVersion: narrowgate.dev/v1alpha1\nkind: Policy\nmetadata: {name: broken}\nspec: {subjcts: []}\n"
    ),
    "an unknown verb": (
        "apiVersion: narrowgate.dev/v1alpha1\nkind: Policy\nmetadata: {name: broken}\nspec:\n  clusters: [dev]\n"
        "  subjects: [{kind: Agent, name: x}]\n  rules:\n"
        "  - {id: a, effect: allow, verbs: [raed], apiGroups: [''], resources: [pods], namespaces: [x]}\n"
    ),
    "a condition that is no CEL": (
        "apiVersion: narrowgate.dev/v1alpha1\nkind: Policy\nmetadata: {name: broken}\nspec:\n  clusters: [dev]\n"
        "  subjects: [{kind: Agent, name: x}]\n  rules:\n"
        "  - {id: a, effect: deny, verbs: [create], apiGroups: [''], resources: [pods], when: 'object.spec.('}\n"
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_changes_nothing_and_is_named_aloud(name: str, gate: Gate, namespace: str) -> None:
    agent = gate.agent("steadfast", [allow("pods", "get list", "pods", namespace)])
    pods = f"/api/v1/namespaces/{namespace}/pods"
    said = len(gate.log.read_text())

    gate.write_policy_text("broken.yaml", BROKEN[name])
    try:
        gate.wait_until(lambda: "broken.yaml" in gate.log.read_text()[said:], "the broken file is named in the log")
        # The rest of the folder is not half in force either: a good change beside a broken file waits for it.
        assert agent.request("GET", pods).status == 200
    finally:
        (gate.policies / "broken.yaml").unlink()
    after = allow("maps", "get list", "configmaps", namespace)
    gate.allow("steadfast", [after])
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    gate.wait_until(lambda: agent.request("GET", maps).status == 200, "policies are loaded again")
    gate.allow("steadfast", [allow("pods", "get list", "pods", namespace)])
    gate.wait_until(lambda: agent.request("GET", pods).status == 200, "policies are loaded again")
