"""Who asks for tasks: a credential at hand, an agent's key, a task's kubeconfig, or the person who is signed in."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, granted, told

from narrowgate.authenticators.task_credential import new_task_credential
from narrowgate.cli.failure import Failed
from narrowgate.cli.kubeconfig_file import InlineToken, kubeconfig_document
from narrowgate.cli.oauth_client import GateRefused
from narrowgate.cli.private_text import Unusable
from narrowgate.cli.sign_in_files import GateFacts, KeptSignIn, keep_facts, keep_sign_in
from narrowgate.cli.task_caller import Proof, TaskCaller

TASKS = "/api/v1/tasks"


@pytest.fixture(autouse=True)
def nowhere(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of a gate, no credential of the tester's."""
    monkeypatch.chdir(tmp_path)
    for name in ("NARROWGATE_CREDENTIAL", "NARROWGATE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def proof(gate: ScriptedGate, credential: Path | None = None, key: Path | None = None, agent: str = "") -> Proof:
    return Proof(
        gate=gate.url, certificate_authority=gate.authority, credential_file=credential, key_file=key, agent=agent
    )


def presented(gate: ScriptedGate) -> list[str]:
    return [call.headers["Authorization"] for call in gate.called(TASKS)]


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_credential_of_the_environment_is_presented_as_it_is(
    scripted: ScriptedGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.answers(TASKS, told({"items": []}))
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", "ng1_abc")
    assert TaskCaller(proof(scripted)).get("/tasks") == {"items": []}
    assert presented(scripted) == ["Bearer ng1_abc"]


def test_a_file_comes_before_the_environment(
    scripted: ScriptedGate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scripted.answers(TASKS, told({}))
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", "ng1_abc")
    TaskCaller(proof(scripted, private(tmp_path / "credential", "ng1_file\n"))).post("/tasks", {"a": 1})
    assert presented(scripted) == ["Bearer ng1_file"]


def test_a_file_that_others_may_read_is_not_used(scripted: ScriptedGate, tmp_path: Path) -> None:
    path = private(tmp_path / "credential", "ng1_file\n")
    path.chmod(0o644)
    with pytest.raises(Unusable, match="chmod 600"):
        TaskCaller(proof(scripted, path))


def test_without_a_credential_it_is_the_person_who_is_signed_in(scripted: ScriptedGate) -> None:
    scripted.answers(TASKS, told({}))
    with pytest.raises(Failed, match="nobody is signed in"):
        TaskCaller(proof(scripted)).get("/tasks")
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://127.0.0.1:8443"))
    keep_sign_in(scripted.url, KeptSignIn("alice", "ngr1_x", "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"))
    TaskCaller(proof(scripted)).get("/tasks")
    assert presented(scripted) == ["Bearer nga1_a.b"]


def test_a_key_is_exchanged_once_and_again_where_the_gate_refuses(scripted: ScriptedGate, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = private(tmp_path / "key.pem", pem.decode())
    scripted.answers("/oauth/token", granted("nga1_1.x", secret=""), granted("nga1_2.x", secret=""))
    scripted.answers(TASKS, told({}), told({}), told({"detail": "over"}, 401), told({"id": "t"}))
    caller = TaskCaller(proof(scripted, key=key, agent="bot"))
    caller.get("/tasks")
    caller.get("/tasks")
    assert len(scripted.called("/oauth/token")) == 1
    assert scripted.called("/oauth/token")[0].form["resource"] == scripted.url
    assert caller.get("/tasks") == {"id": "t"}
    assert presented(scripted)[-1] == "Bearer nga1_2.x"


def test_a_refusal_is_said_in_the_gates_words_and_not_tried_again(
    scripted: ScriptedGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", "ng1_abc")
    scripted.answers(TASKS, told({"detail": "no policy offers it"}, 403))
    with pytest.raises(GateRefused, match="no policy offers it"):
        TaskCaller(proof(scripted)).post("/tasks", {})
    assert len(scripted.called(TASKS)) == 1


def test_a_tasks_kubeconfig_is_a_proof_and_says_which_task(scripted: ScriptedGate, tmp_path: Path) -> None:
    made = new_task_credential()
    text = kubeconfig_document("https://127.0.0.1:8443", b"", "dev", "bot", InlineToken(made.text))
    wish = Proof(
        gate=scripted.url,
        certificate_authority=scripted.authority,
        credential_file=None,
        key_file=None,
        kubeconfig=private(tmp_path / "task.kubeconfig", text),
    )
    assert TaskCaller(wish).own_task == made.task


def test_two_proofs_at_once_are_misuse(scripted: ScriptedGate, tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="give one"):
        TaskCaller(proof(scripted, tmp_path / "a", tmp_path / "b", "bot"))
    with pytest.raises(click.UsageError, match="--agent NAME"):
        TaskCaller(proof(scripted, key=tmp_path / "b"))


def test_a_new_credential_is_waited_for_until_the_gate_knows_it(
    scripted: ScriptedGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", "ng1_abc")
    scripted.answers("/version", told({}, 401), told({}, 401), told({}, 403))
    TaskCaller(proof(scripted)).wait_until_known(scripted.url, "ngt1_x")
    assert [call.headers["Authorization"] for call in scripted.called("/version")] == ["Bearer ngt1_x"] * 3


def test_a_port_that_cannot_be_asked_from_here_is_not_waited_for(
    scripted: ScriptedGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", "ng1_abc")
    caller = TaskCaller(proof(scripted))
    scripted.down()
    caller.wait_until_known(scripted.url, "ngt1_x")
    assert scripted.called("/version") == []
