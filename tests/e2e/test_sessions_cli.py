"""Sessions of a real kubectl, looked at as the gate's operator does: listed, told, played again, watched, ended."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dev.cluster.processes import free_ports
from tests.e2e.api_caller import Caller, by_session, link_of
from tests.e2e.browser import browser, new_page
from tests.e2e.gate import ALLOW_ALL_RULES, Cluster, Gate, environment, narrowgate
from tests.e2e.kubectl import TRANSPORTS, Kubectl
from tests.e2e.signing_in import authority_of, control_url
from tests.e2e.terminal import MEBIBYTE, Terminal, noise
from tests.e2e.workloads import pod, yaml_of

READY_SECONDS = 90
END_SECONDS = 90
"""Far more than the second that ending one takes: two cores and a cluster are busy with other things."""


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    name = new_namespace("sessions")
    here = direct.within(name)
    here.must("apply", "-f", "-", stdin=yaml_of(pod("shell", cluster.image)))
    here.must("wait", "--for=condition=Ready", "pod/shell", f"--timeout={READY_SECONDS}s")
    return name


@pytest.fixture(scope="module")
def recording(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Two processes, encrypted recordings: a session is found in whichever of them it runs."""
    folder = tmp_path_factory.mktemp("sessions-gate")
    key = folder / "recording.key"
    key.write_text("a key that was made for one test alone, of 48 bytes")
    key.chmod(0o600)
    settings = {"workers": 2, "encryption": {"recordingKeyFile": str(key)}}
    gate = Gate(folder, [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}], settings=settings)
    gate.agent("runner", ALLOW_ALL_RULES)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def admin(recording: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with browser(tmp_path_factory.mktemp("home"), [authority_of(recording)]) as running:
        page = new_page(running)
        page.goto(link_of(recording))
        page.click("main button")
        page.wait_for_url(f"{control_url(recording)}/")
        yield by_session(recording, page)


@pytest.fixture(params=list(TRANSPORTS))
def here(request: pytest.FixtureRequest, recording: Gate, cluster: Cluster, namespace: str, tmp_path: Path) -> Kubectl:
    agent = recording.agent("runner", ALLOW_ALL_RULES)
    kubectl = Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path)
    return kubectl.within(namespace).using(TRANSPORTS[request.param])


def listed(gate: Gate, *arguments: str) -> list[dict[str, Any]]:
    done = gate.command("sessions", "list", "-o", "json", *arguments)
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)
    return found


def newest(gate: Gate) -> dict[str, Any]:
    """The last session, once it is over."""
    gate.wait_until(lambda: not listed(gate, "--limit", "1")[0]["live"], "the last session is over")
    return listed(gate, "--limit", "1")[0]


def shown(gate: Gate, session: str) -> dict[str, Any]:
    done = gate.command("sessions", "show", session, "-o", "json")
    assert done.code == 0, done.out + done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def raw(gate: Gate, session: str, channel: str) -> bytes:
    command = [narrowgate(), "sessions", "replay", session, "--raw", channel, "--config", str(gate.config)]
    return subprocess.run(command, env=environment(), capture_output=True, check=True).stdout


def test_a_command_is_told_played_and_vouched_for(recording: Gate, here: Kubectl, namespace: str) -> None:
    ran = here("exec", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (ran.code, ran.out) == (3, b"out\n")
    one = newest(recording)
    assert one["chain"] == ["agent:runner"]
    assert (one["namespace"], one["pod"], one["exitCode"]) == (namespace, "shell", 3)
    told = shown(recording, one["session"])
    assert told["bytes"] == {"stdout": 4, "stderr": 4}
    assert told["integrity"]["isWhole"]
    assert told["integrity"]["vouchedBlocks"] == told["integrity"]["blocks"] > 0
    said = recording.command("sessions", "show", one["session"]).out
    assert said.startswith(f"agent:runner ran `sh -c 'echo out; echo err >&2; exit 3'` in pod {namespace}/shell")
    assert "The process ended with exit code 3." in said
    lines = [line.split()[1:] for line in recording.command("sessions", "replay", one["session"]).out.splitlines()]
    assert ["out", "out"] in lines
    assert ["err", "err"] in lines


def test_replayed_bytes_are_those_that_were_sent_and_seen(recording: Gate, here: Kubectl) -> None:
    sent = noise(MEBIBYTE, seed=1)
    ran = here("exec", "-i", "shell", "--", "sh", "-c", "tee /dev/null", stdin=sent)
    assert (ran.code, ran.out == sent) == (0, True)
    session = newest(recording)["session"]
    assert raw(recording, session, "stdin") == sent
    assert raw(recording, session, "stdout") == sent


def test_copied_files_are_named_with_their_hashes(recording: Gate, here: Kubectl, tmp_path: Path) -> None:
    content = noise(100_000, seed=2)
    (tmp_path / "in.bin").write_bytes(content)
    here.must("cp", str(tmp_path / "in.bin"), "shell:/tmp/in.bin")
    digest = hashlib.sha256(content).hexdigest()

    def moved(direction: str) -> list[tuple[str, int, str]]:
        sessions = [one["session"] for one in listed(recording, "--limit", "5") if not one["live"]]
        for session in sessions:
            files = shown(recording, session).get("files")
            if files is not None and files["direction"] == direction:
                return [(file["name"].lstrip("./"), file["size"], file["sha256"]) for file in files["items"]]
        return []

    recording.wait_until(lambda: bool(moved("into the pod")), "the copy is told of")
    assert moved("into the pod") == [("in.bin", 100_000, digest)]
    here.must("cp", "shell:/tmp/in.bin", str(tmp_path / "out.bin"))
    recording.wait_until(lambda: bool(moved("out of the pod")), "the copy back is told of")
    assert moved("out of the pod") == [("tmp/in.bin", 100_000, digest)]


def test_a_terminal_is_played_in_a_terminal_and_keys_end_it(recording: Gate, here: Kubectl) -> None:
    command = here.command("exec", "-it", "shell", "--", "sh")
    with Terminal(command, here.environment()) as terminal:
        terminal.wait_for("#")
        terminal.type("printf '\\033]0;stolen title\\007dra''wn'; echo\r")
        terminal.wait_for("drawn")
        terminal.type("exit 4\r")
        assert terminal.exit_code() == 4
    one = newest(recording)
    told = shown(recording, one["session"])
    assert any("printf" in line for line in told["typed"])
    replay = [narrowgate(), "sessions", "replay", one["session"], "--config", str(recording.config)]
    with Terminal([*replay, "--speed", "0"], environment()) as player:
        player.wait_for("drawn")
        assert player.exit_code() == 0
        assert "\x1b]0;stolen" not in player.seen
    with Terminal([*replay, "--speed", "0.001"], environment()) as player:
        player.wait_for("space: pause")
        player.type("q")
        assert player.exit_code() == 0
    found = recording.command("sessions", "replay", one["session"], "--search", "DRAWN", "--timeline")
    assert (found.code, "found at " in found.err) == (0, True)


def test_forwarded_ports_are_counted(recording: Gate, here: Kubectl, direct: Kubectl) -> None:
    here.must("exec", "shell", "--", "sh", "-c", "nc -lk -p 8099 -e echo hello >/dev/null 2>&1 &")
    port = free_ports(1)[0]
    forwarding = here.start("port-forward", "pod/shell", f"{port}:8099")
    try:
        assert forwarding.stdout is not None
        assert b"Forwarding from" in forwarding.stdout.readline()
        (live,) = listed(recording, "--live", "--kind", "portForward")
        assert live["pod"] == "shell"
    finally:
        forwarding.terminate()
        forwarding.communicate(timeout=END_SECONDS)
    one = newest(recording)
    assert (one["kind"], one["session"]) == ("portForward", live["session"])
    assert direct


def test_a_running_session_is_followed_and_ended_for_a_reason(recording: Gate, here: Kubectl, namespace: str) -> None:
    script = "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done"
    running = here.start("exec", "shell", "--", "sh", "-c", script)
    other = here.start("exec", "shell", "--", "sh", "-c", script)
    try:
        recording.wait_until(lambda: len(listed(recording, "--live", "-n", namespace)) == 2, "both run")
        sessions = sorted(one["session"] for one in listed(recording, "--live"))
        follow = [narrowgate(), "sessions", "follow", sessions[0], "--config", str(recording.config)]
        with subprocess.Popen(follow, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as following:
            assert following.stdout is not None
            while b"tick 3" not in following.stdout.readline():
                assert following.poll() is None
            began = time.monotonic()
            done = recording.command("sessions", "end", sessions[0], "--because", "it ticks too loudly")
            assert (done.code, done.out) == (0, f"session {sessions[0]} was ended\n"), done.err
            assert time.monotonic() - began < END_SECONDS
            _, said = following.communicate(timeout=END_SECONDS)
        assert b"it is over: the session was ended by local:" in said
        assert b"it ticks too loudly" in said
        ended = recording.wait_for_event(sessions[0])
        assert ended["annotations"]["narrowgate.dev/ended"].endswith(": it ticks too loudly")
        recording.wait_until(lambda: [running.poll(), other.poll()].count(None) == 1, "one client is told")
        (told,) = [one for one in (running, other) if one.poll() is not None]
        assert told.stdout is not None
        assert (told.returncode, b"it ticks too loudly" in told.stdout.read()) == (1, True)
        assert [one["session"] for one in listed(recording, "--live")] == [sessions[1]]
        assert "it ticks too loudly" in recording.command("sessions", "show", sessions[0]).out
        again = recording.command("sessions", "end", sessions[0], "--because", "twice")
        assert (again.code, "is over already" in again.err) == (1, True)
    finally:
        for one in (running, other):
            one.kill()
            one.wait(timeout=END_SECONDS)
            if one.stdout is not None:
                one.stdout.close()


def test_an_admin_ends_a_session_by_the_api(recording: Gate, admin: Caller, here: Kubectl, marker: str) -> None:
    running = here.start("exec", "shell", "--", "sh", "-c", f"sleep 1000; echo {marker}")

    def runs() -> list[dict[str, Any]]:
        answer = admin("GET", "/sessions?running=true")
        assert answer.status == 200
        return [one for one in answer.document["items"] if marker in one["command"][-1]]

    try:
        recording.wait_until(lambda: len(runs()) == 1, "the session is known to the API")
        (one,) = runs()
        assert (one["user"], one["kind"], one["endedAt"]) == ("agent:runner", "exec", None)
        answer = admin("POST", f"/sessions/{one['id']}/end", {"because": "nobody sleeps here"})
        assert answer.status == 200
        said, _ = running.communicate(timeout=END_SECONDS)
        assert (running.returncode, b"ended by person:admin@local: nobody sleeps here" in said) == (1, True), said
        recording.wait_until(lambda: not runs(), "the session is over for the API as well")
        (ended,) = [
            event["annotations"]["narrowgate.dev/ended"]
            for event in recording.events(one["id"])
            if (event["auditID"], event["stage"]) == (one["id"], "ResponseComplete")
        ]
        assert ended == "the session was ended by person:admin@local: nobody sleeps here"
        assert admin("POST", f"/sessions/{one['id']}/end", {"because": "twice"}).status == 409
    finally:
        if running.poll() is None:
            running.kill()
            running.communicate(timeout=END_SECONDS)


def test_the_record_of_sessions_is_still_whole(recording: Gate) -> None:
    done = recording.command("audit", "verify")
    assert (done.code, "nothing was changed" in done.out) == (0, True)
