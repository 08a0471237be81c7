"""The command line of `narrowgate doctor`: what it takes, what it refuses, and what its exit code says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.terminal import Done, Terminal
from tests.unit.cli.test_doctor_tries import refusing


@pytest.fixture
def doctor(shell: Terminal, scripted: ScriptedGate, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command at a gate where everything is refused, and nothing stands."""
    monkeypatch.chdir(home.parent / "policies")
    monkeypatch.setenv("HOME", str(home.parent))
    for name in ("NARROWGATE_CONFIG", "NARROWGATE_CREDENTIAL", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    refusing(scripted)
    for path in ("namespaces/default/pods", "namespaces/default/secrets"):
        scripted.answers(f"/api/v1/{path}?limit=1", told({}, 403))
    scripted.answers("/api/v1/standing?limit=100", told({"items": []}))
    scripted.answers("/api/v1/tasks?limit=10", told({"items": []}))
    metadata = scripted.metadata(narrowgate_kubernetes_url=scripted.url)
    scripted.answers("/.well-known/oauth-authorization-server", told(metadata))

    def call(*arguments: str | Path, knows_gate: bool = True) -> Done:
        place = ("--gate", scripted.url, "--certificate-authority", scripted.authority) if knows_gate else ()
        return shell.bare("doctor", *arguments, *place)

    return call


@pytest.fixture
def credential(home: Path) -> Path:
    file = home.parent / "agent.credential"
    file.write_text("ng1_abcdefghijk_" + "x" * 48 + "\n")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize("arguments", [(), ("--try",), ("--agent", "a", "--try"), ("--for", "1m")])
def test_what_makes_no_sense_is_misuse(doctor: Any, arguments: tuple[str, ...]) -> None:
    assert doctor(*arguments).code == 2


def test_a_credential_is_tried_where_the_gate_says_its_clusters_are(doctor: Any, credential: Path) -> None:
    done = doctor("--credential-file", credential)
    assert (done.code, "resting access" in done.out, "ok" in done.out) == (0, True, True), done.err
    assert "ng1_" not in done.out + done.err
    done = doctor("--credential-file", credential, knows_gate=False)
    assert (done.code, "name the gate with --gate" in done.err) == (1, True)


def test_a_finding_ends_with_1_and_says_what_to_do(doctor: Any, credential: Path, scripted: ScriptedGate) -> None:
    scripted.answers("/api/v1/pods?limit=1", told({}))
    done = doctor("--credential-file", credential)
    assert (done.code, "to do: " in done.err, "list pods -A" in done.out) == (1, True, True)
    done = doctor("--credential-file", credential, "-o", "json")
    (line,) = done.json["checks"]
    assert (done.code, done.json["well"]) == (1, False)
    assert sorted(line) == ["check", "counts", "found", "outcome", "toDo", "where"]


@pytest.mark.parametrize(
    ("text", "said"), [(None, "no such file"), ("- a\n", "is no kubeconfig"), ("kind: Config\n", "has no context")]
)
def test_a_kubeconfig_that_opens_nothing_by_its_form_is_refused(
    doctor: Any, home: Path, text: str | None, said: str
) -> None:
    path = home.parent / "k.yaml"
    if text is not None:
        path.write_text(text)
    done = doctor("--kubeconfig", path)
    assert (done.code, said in done.err) == (1, True)


def test_an_agent_is_looked_up_on_the_gates_machine_alone(doctor: Any) -> None:
    done = doctor("--agent", "bot")
    assert (done.code, "no gate is configured here" in done.err) == (1, True)


def test_a_home_without_credentials_is_all_clear_without_a_gate_as_well(doctor: Any, home: Path) -> None:
    done = doctor("--search-home", knows_gate=False)
    assert (done.code, "looked into 0 files" in done.out) == (0, True), done.err
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "https://c.example"}}],
        "users": [{"name": "u", "user": {"token": "hidden"}}],
    }
    (home.parent / "old.kubeconfig").write_text(yaml.safe_dump(document))
    done = doctor("--search-home", knows_gate=False)
    assert (done.code, "access around the gate" in done.out, "hidden" in done.out + done.err) == (1, True, False)
