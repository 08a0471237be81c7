"""Recordings of a real kubectl, kept: in Azure's storage, on hold, let go by kind, verified, told from cut ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.blob_server import ACCOUNT, ACCOUNT_KEY, BlobServer
from tests.e2e.api_caller import by_session, link_of
from tests.e2e.browser import browser, new_page
from tests.e2e.gate import ALLOW_ALL_RULES, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.signing_in import authority_of, control_url
from tests.e2e.workloads import pod, yaml_of

READY_SECONDS = 90
RULES = (
    # What an account of the test's pod could do in the cluster is no matter here.
    {**ALLOW_ALL_RULES[0], "pods": {"strongerAccounts": "allow"}},
    *ALLOW_ALL_RULES[1:],
)
KEY = "a key that was made for one test alone, of 48 bytes"


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    name = new_namespace("keeping")
    here = direct.within(name)
    here.must("apply", "-f", "-", stdin=yaml_of(pod("shell", cluster.image)))
    here.must("wait", "--for=condition=Ready", "pod/shell", f"--timeout={READY_SECONDS}s")
    return name


def kubectl_of(gate: Gate, cluster: Cluster, namespace: str, folder: Path) -> Kubectl:
    agent = gate.agent("keeper", RULES)
    return Kubectl(cluster.kubectl, agent.kubeconfig, folder).within(namespace)


def listed(gate: Gate) -> list[dict[str, Any]]:
    done = gate.command("sessions", "list", "-o", "json", "--limit", "0")
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)
    return found


def ran(gate: Gate, here: Kubectl, word: str) -> str:
    """A session that says this word, once its recording is kept; its id."""
    done = here("exec", "shell", "--", "echo", word)
    assert done.code == 0, done.err
    return kept(gate, lambda one: one["command"] == ["echo", word])


def kept(gate: Gate, is_it: Callable[[dict[str, Any]], bool]) -> str:
    def there() -> bool:
        waiting = list((gate.data_dir / "spool").rglob("*.live")) + list((gate.data_dir / "spool").rglob("*.recording"))
        return not waiting and any(is_it(one) for one in listed(gate))

    gate.wait_until(there, "the recording is in its store")
    (session,) = [one["session"] for one in listed(gate) if is_it(one)]
    return str(session)


def verified(gate: Gate) -> dict[str, Any]:
    done = gate.command("sessions", "verify", "--all", "-o", "json")
    found: dict[str, Any] = json.loads(done.out)
    assert done.code == (0 if found["content"] else 1), done.err
    return found


@pytest.fixture(scope="module")
def azure(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate whose recordings go to a container, encrypted."""
    folder = tmp_path_factory.mktemp("azure-gate")
    server = BlobServer(folder / "blobs")
    server.start()
    for name, secret in (("recording.key", KEY), ("account.key", ACCOUNT_KEY)):
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    settings = {
        "recordings": "az://recordings/gate/one",
        "objectStorage": {
            "account": ACCOUNT,
            "endpoint": f"http://127.0.0.1:{server.port}/{ACCOUNT}",
            "secretKeyFile": str(folder / "account.key"),
        },
        "encryption": {"recordingKeyFile": str(folder / "recording.key")},
    }
    try:
        gate = Gate(folder / "gate", [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}], settings=settings)
        gate.agent("keeper", RULES)
        gate.start()
        yield gate
        gate.stop()
    finally:
        server.stop()


def test_a_session_is_kept_in_azure_played_again_verified_and_held(
    azure: Gate, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    session = ran(azure, kubectl_of(azure, cluster, namespace, tmp_path), "in-azure")
    played = azure.command("sessions", "replay", session, "--raw", "stdout")
    assert (played.code, played.out) == (0, "in-azure\n"), played.err
    assert verified(azure)["problems"] == []
    held = azure.command("sessions", "hold", session, "--because", "case 12")
    assert held.code == 0, held.err
    (one,) = [one for one in listed(azure) if one["session"] == session]
    assert (one["hold"]["because"], one["hold"]["by"].startswith("local:")) == ("case 12", True)
    assert "is on hold: " in azure.command("sessions", "show", session).out
    # The gate writes its own journals meanwhile, and the record stays whole and searchable with one more.
    assert (whole := azure.command("audit", "verify")).code == 0, whole.text
    found = azure.command("audit", "search", "--verb", "hold", "-o", "json")
    assert session in found.out, found.text
    assert azure.command("sessions", "lift", session).code == 0
    assert azure.command("sessions", "lift", session).code == 1
    assert [one["hold"] for one in listed(azure) if one["session"] == session] == [None]


def test_an_admin_holds_and_lifts_by_the_api(azure: Gate, cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    session = ran(azure, kubectl_of(azure, cluster, namespace, tmp_path), "by-the-api")
    with browser(tmp_path / "home", [authority_of(azure)]) as running:
        page = new_page(running)
        page.goto(link_of(azure))
        page.click("main button")
        page.wait_for_url(f"{control_url(azure)}/")
        admin = by_session(azure, page)
        # The API looks sessions up in an index of the record, which follows it.
        azure.wait_until(
            lambda: admin("POST", f"/sessions/{session}/hold", {"because": "case 13"}).status == 200, "it is held"
        )
        (one,) = [one for one in listed(azure) if one["session"] == session]
        assert one["hold"]["because"] == "case 13"
        lifted = admin("POST", f"/sessions/{session}/lift")
        assert (lifted.status, lifted.document["because"]) == (200, "case 13")
        assert admin("POST", f"/sessions/{session}/lift").status == 409
    told = [event for event in azure.events(session) if event["verb"] in ("hold", "lift") and event["stage"] != "Panic"]
    reasons = {event["annotations"].get("narrowgate.dev/asked-because") for event in told if event["verb"] == "hold"}
    assert reasons == {"case 13"}
    assert [event["stage"] for event in told if event["verb"] == "lift"][:2] == ["RequestReceived", "ResponseComplete"]


def test_the_doctor_finds_the_container_and_the_key(azure: Gate) -> None:
    well = azure.command("doctor", "--recordings", "-o", "json")
    checks = {line["check"]: line for line in json.loads(well.out)["checks"]}
    assert checks["recordings encrypted"]["outcome"] == "ok"
    assert checks["store of recordings"]["outcome"] == "ok", well.text
    assert checks["store of recordings"]["where"] == "az://recordings/gate/one"


@pytest.fixture
def gate(cluster: Cluster, tmp_path: Path) -> Iterator[Gate]:
    """One that a test may kill. Terminals are let go at once, and all else is kept."""
    settings = {
        "audit": {"logs": "RequestResponse"},
        "retention": {"recordings": {"sessions": "1s", "default": "90d"}},
    }
    gate = Gate(tmp_path / "gate", [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}], settings=settings)
    gate.agent("keeper", RULES)
    gate.start()
    yield gate
    gate.kill()


def test_kinds_are_let_go_in_their_time_and_what_is_on_hold_is_not(
    gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    here = kubectl_of(gate, cluster, namespace, tmp_path)
    held, going = ran(gate, here, "held"), ran(gate, here, "going")
    assert here("logs", "shell").code == 0
    log = kept(gate, lambda one: one["kind"] == "log")
    assert gate.command("sessions", "hold", held, "--because", "case 12").code == 0
    assert verified(gate)["problems"] == []
    # Old recordings are looked for at the start.
    gate.stop()
    gate.start()
    gate.wait_until(lambda: going not in {one["session"] for one in listed(gate)}, "the old one is removed")
    assert {held, log} <= {one["session"] for one in listed(gate)}
    found = verified(gate)
    assert (found["problems"], found["letGo"]) == ([], 1)


def test_what_was_removed_changed_or_planted_is_found(
    gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    here = kubectl_of(gate, cluster, namespace, tmp_path)
    words = ("shortened", "swapped", "stays")
    sessions = {word: ran(gate, here, word) for word in words}
    (paths,) = [list((gate.data_dir / "recordings").rglob("*.recording"))]
    of = {word: path for word, session in sessions.items() for path in paths if path.stem == session}
    of["shortened"].write_bytes(of["shortened"].read_bytes()[:-50])
    of["swapped"].write_bytes(of["stays"].read_bytes())
    (of["stays"].parent / "planted.recording").write_bytes(of["stays"].read_bytes())
    problems = {one["session"]: one["fault"] for one in verified(gate)["problems"]}
    assert problems == {
        sessions["shortened"]: "shortened",
        sessions["swapped"]: "swapped",
        "planted": "swapped",
    }
    one = gate.command("sessions", "verify", sessions["swapped"])
    assert (one.code, one.out.startswith("SWAPPED ")) == (1, True)
    assert gate.command("sessions", "verify", sessions["stays"]).code == 0


def test_a_session_of_a_killed_gate_is_cut_until_the_next_start_finishes_it(
    gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    here = kubectl_of(gate, cluster, namespace, tmp_path)
    running = here.start("exec", "shell", "--", "sh", "-c", "echo begun; sleep 1000")
    try:
        gate.wait_until(lambda: [one["live"] for one in listed(gate)] == [True], "the session is listed as live")
        gate.kill()
        (one,) = listed(gate)
        assert (one["live"], one["cut"]) == (False, True)
        assert " cut" in gate.command("sessions", "list").out
        assert verified(gate)["problems"] == []
        left = gate.command("doctor", "--recordings")
        assert (left.code, "nobody writes any more" in left.out) == (1, True)
        ended = gate.command("sessions", "end", one["session"], "--because", "x")
        assert (ended.code, "ended with its gate, which was killed" in ended.err) == (1, True)
    finally:
        running.kill()
        running.communicate()
    gate.start()
    gate.wait_until(lambda: not listed(gate)[0]["cut"], "the next start has finished it")
    (one,) = listed(gate)
    assert (one["live"], one["ended"]) == (False, "the gate ended before the session did")
