"""What real programs wrote through a gate is found by its text, while they run and afterwards, with its time."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.api_caller import Caller, by_session, link_of
from tests.e2e.browser import browser, new_page
from tests.e2e.gate import ALLOW_ALL_RULES, Cluster, Gate
from tests.e2e.kubectl import TRANSPORTS, Kubectl
from tests.e2e.signing_in import authority_of, control_url
from tests.e2e.terminal import Terminal
from tests.e2e.workloads import pod, yaml_of

READY_SECONDS = 180
FOUND_SECONDS = 120.0
"""The gate looks every five seconds and rests in between; a loaded machine does it several times slower."""

LOGGING = "echo a line of quartz from the beginning; trap 'exit 0' TERM; sleep 3600 & wait"


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    name = new_namespace("recorded-text")
    here = direct.within(name)
    here.must("apply", "-f", "-", stdin=yaml_of(pod("shell", cluster.image, LOGGING)))
    here.must("wait", "--for=condition=Ready", "pod/shell", f"--timeout={READY_SECONDS}s")
    return name


@pytest.fixture(scope="module")
def recording(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    clusters = [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}]
    settings = {"audit": {"logs": "RequestResponse"}}
    gate = Gate(tmp_path_factory.mktemp("recorded-text-gate"), clusters, settings=settings)
    gate.agent("writer", ALLOW_ALL_RULES)
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


@pytest.fixture
def here(recording: Gate, cluster: Cluster, namespace: str, tmp_path: Path) -> Kubectl:
    agent = recording.agent("writer", ALLOW_ALL_RULES)
    return Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path).within(namespace)


def by_command(gate: Gate, text: str, *arguments: str) -> list[dict[str, Any]]:
    done = gate.command("audit", "search", "--text", text, "-o", "json", *arguments)
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)
    return found


def by_api(admin: Caller, text: str) -> list[dict[str, Any]]:
    answer = admin("GET", f"/records?text={text}")
    assert answer.status == 200, answer.document
    assert answer.document["texts"]["isKept"]
    found: list[dict[str, Any]] = answer.document["items"]
    return found


def ended(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose request is over: nothing about them changes any more."""
    return [entry for entry in found if entry["finishedAt"]]


def found_soon(gate: Gate, find: Callable[[], list[dict[str, Any]]], what: str) -> dict[str, Any]:
    gate.wait_until(lambda: len(find()) == 1, what, FOUND_SECONDS)
    (entry,) = find()
    return entry


@pytest.mark.parametrize("transport", list(TRANSPORTS))
def test_what_a_command_printed_is_found_by_command_and_by_api(
    recording: Gate, admin: Caller, here: Kubectl, namespace: str, transport: str
) -> None:
    script = rf"printf 'the \033[31mtopa\033[0mz of {transport}\n'; echo beryl-{transport} >&2; exit 3"
    ran = here.using(TRANSPORTS[transport])("exec", "shell", "--", "sh", "-c", script)
    assert ran.code == 3, ran.text
    found_soon(recording, lambda: ended(by_command(recording, f"TOPAZ of {transport}")), "the command finds it")
    found_soon(recording, lambda: ended(by_api(admin, f"topaz+of+{transport}")), "the API finds it")
    (entry,) = by_command(recording, f"topaz of {transport}")
    assert (entry["verb"], entry["resource"], entry["subresource"]) == ("create", "pods", "exec")
    assert (entry["user"], entry["namespace"], entry["name"]) == ("agent:writer", namespace, "shell")
    assert entry["recorded"]["line"] == f"the topaz of {transport}"
    assert entry["recorded"]["stream"] == "output"
    (errors,) = by_command(recording, f"beryl-{transport}")
    assert (errors["auditId"], errors["recorded"]["stream"]) == (entry["auditId"], "errors")
    assert by_api(admin, f"topaz+of+{transport}") == [entry]
    assert by_command(recording, f"topaz of {transport}", "--who", "person:nobody") == []
    begun = f"{entry['recorded']['seconds']:.6f}s"
    replayed = recording.command("sessions", "replay", entry["auditId"], "--from", begun)
    # What went to stderr may have come before: the two are streams of their own.
    assert f"z of {transport}" in replayed.out


def test_what_was_typed_and_what_was_logged_is_found(recording: Gate, here: Kubectl) -> None:
    with Terminal(here.command("exec", "-it", "shell", "--", "sh"), here.environment()) as shell:
        shell.wait_for("#")
        shell.type("echo jas''per\r")
        shell.wait_for("jasper")
        shell.type("exit\r")
        shell.process.wait(60)
    typed = found_soon(recording, lambda: by_command(recording, "echo jas''per"), "what was typed is found")
    (shown,) = by_command(recording, "jasper")
    assert shown["auditId"] == typed["auditId"]
    assert "a line of quartz" in here.must("logs", "shell")
    logged = found_soon(recording, lambda: by_command(recording, "line of quartz from"), "what was logged is found")
    assert (logged["subresource"], logged["recorded"]["line"]) == ("log", "a line of quartz from the beginning")


def test_what_is_copied_is_no_text(recording: Gate, here: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a line of garnet\n")
    here.must("cp", str(tmp_path / "in.txt"), "shell:/tmp/in.txt")
    here.must("exec", "shell", "--", "sh", "-c", "echo behind the copy of spinel; cat /tmp/in.txt >&2")
    found_soon(recording, lambda: by_command(recording, "behind the copy of spinel"), "what came later is found")
    # Once, where it was printed: the copy came before, and was looked at by then.
    (printed,) = by_command(recording, "line of garnet")
    assert printed["recorded"]["stream"] == "errors"


def test_a_session_is_found_while_it_runs_and_once_when_the_gate_was_killed(
    recording: Gate, admin: Caller, here: Kubectl
) -> None:
    running = here.start("exec", "shell", "--", "sh", "-c", "echo a line of olivine; sleep 600")
    try:
        entry = found_soon(recording, lambda: by_api(admin, "line+of+olivine"), "it is found while it runs")
        assert entry["recorded"]["line"] == "a line of olivine"
        recording.kill()
        recording.start()
    finally:
        running.kill()
        running.communicate()
    after = found_soon(recording, lambda: by_command(recording, "line of olivine"), "it is found afterwards")
    assert after["auditId"] == entry["auditId"]
    assert by_command(recording, "olivine\na line of olivine") == []
    assert recording.command("audit", "verify").code == 0


def test_a_lost_index_is_made_anew_from_the_recordings(recording: Gate, here: Kubectl) -> None:
    here.must("exec", "shell", "--", "echo", "a line of peridot")
    entry = found_soon(recording, lambda: by_command(recording, "line of peridot"), "it is found")
    for name in ("text.db", "text.db-wal", "text.db-shm"):
        (recording.data_dir / "trail" / name).unlink(missing_ok=True)
    assert by_command(recording, "line of peridot", "--rebuild") == [entry]
    (recording.data_dir / "trail" / "text.db").unlink()
    assert found_soon(recording, lambda: by_command(recording, "line of peridot"), "it is found again") == entry


def test_a_recording_that_was_removed_is_found_no_more(recording: Gate, here: Kubectl) -> None:
    here.must("exec", "shell", "--", "echo", "a line of zircon")
    entry = found_soon(recording, lambda: by_command(recording, "line of zircon"), "it is found")
    kept = recording.data_dir / "recordings"
    recording.wait_until(lambda: bool(list(kept.glob(f"*/{entry['auditId']}.recording"))), "it is kept", FOUND_SECONDS)
    for path in kept.glob(f"*/{entry['auditId']}.recording"):
        path.unlink()
    recording.wait_until(lambda: by_command(recording, "line of zircon") == [], "it is forgotten", FOUND_SECONDS)


def test_encrypted_recordings_are_left_out_and_that_is_said(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    key = tmp_path / "recording.key"
    key.write_text("a key that was made for one test alone, of 48 bytes")
    key.chmod(0o600)
    clusters = [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}]
    gate = Gate(tmp_path / "gate", clusters, settings={"encryption": {"recordingKeyFile": str(key)}})
    agent = gate.agent("writer", ALLOW_ALL_RULES)
    gate.start()
    try:
        kubectl = Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path).within(namespace)
        gate.wait_until(lambda: kubectl("get", "pods").code == 0, "the agent may")
        kubectl.must("exec", "shell", "--", "echo", "a line of amethyst")

        def said() -> str:
            done = gate.command("audit", "search", "--text", "line of amethyst")
            assert (done.code, done.out) == (0, "")
            return done.err

        gate.wait_until(lambda: "1 recording is not searched, being encrypted" in said(), "it is said", FOUND_SECONDS)
    finally:
        gate.stop()
    held = subprocess.run(["grep", "-rl", "amethyst", str(gate.data_dir / "trail")], capture_output=True, check=False)
    # The command line of the exec is in the journal, as always; no other file holds the word.
    assert {Path(line).suffix for line in held.stdout.decode().split()} == {".jsonl"}
