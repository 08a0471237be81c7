"""`narrowgate kubeconfig`: a way to the gate, with its CA, without a secret."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.scripted_gate import ScriptedGate, refused
from tests.unit.cli.terminal import Done, Terminal

from narrowgate.cli.sign_in_files import GateFacts, KeptSignIn, keep_facts, keep_sign_in, note_last_gate


def test_it_verifies_the_gate_and_holds_no_secret(shell: Terminal, home: Path) -> None:
    done = shell("kubeconfig", "--cluster", "prod", "--credential-file", shell.write("credential", "ng1_x"))
    document = yaml.safe_load(done.out)
    reached = document["clusters"][0]["cluster"]
    assert reached["server"] == "https://127.0.0.1:8443"
    assert base64.b64decode(reached["certificate-authority-data"]).startswith(b"-----BEGIN CERTIFICATE-----")
    assert "insecure" not in done.out
    assert "token" not in document["users"][0]["user"]
    assert document["users"][0]["user"]["exec"]["args"] == ["--credential-file", str(shell.folder / "credential")]


def test_for_an_agent_it_is_for_the_cluster_that_its_credential_opens(shell: Terminal) -> None:
    shell.config.write_text(shell.config.read_text() + "  - name: stage\n    inCluster: true\n")
    shell("agents", "add", "ci", "--owner", "person:a", "--purpose", "x", "--cluster", "stage")
    assert yaml.safe_load(shell("kubeconfig", "--agent", "ci").out)["clusters"][0]["name"] == "stage"
    assert shell("kubeconfig", "--agent", "ci", "--cluster", "prod").code == 1


def test_what_is_not_clear_is_asked_for(shell: Terminal) -> None:
    shell.config.write_text(shell.config.read_text() + "  - name: stage\n    inCluster: true\n")
    done = shell("kubeconfig")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "add --cluster, one of: prod, stage" in done.err


def test_an_unknown_cluster_or_agent_is_one_line(shell: Terminal) -> None:
    for arguments in (("--cluster", "gone"), ("--agent", "gone")):
        done = shell("kubeconfig", *arguments)
        assert (done.code, len(done.err.splitlines())) == (1, 1)


def test_an_address_that_is_none_is_asked_for(shell: Terminal) -> None:
    shell.config.write_text(shell.config.read_text() + 'listen: {kubernetes: "0.0.0.0:8443"}\n')
    assert "give --server" in shell("kubeconfig").err
    assert shell("kubeconfig", "--server", "https://gate.corp:8443").code == 0


# --- people, workloads, keys ---


@pytest.fixture
def signed_in(scripted: ScriptedGate, home: Path) -> ScriptedGate:
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://gate.corp:8443"))
    keep_sign_in(scripted.url, KeptSignIn("alice@corp.example", "ngr1_secret", "2026-01-01T00:00:00Z", ""))
    note_last_gate(scripted.url)
    return scripted


def exec_of(done: Done) -> dict[str, Any]:
    assert (done.code, done.err) == (0, "")
    found: dict[str, Any] = yaml.safe_load(done.out)["users"][0]["user"]["exec"]
    return found


def test_a_person_gets_one_without_any_secret_and_the_cluster_is_checked(
    shell: Terminal, signed_in: ScriptedGate
) -> None:
    done = shell.bare("kubeconfig", "--cluster", "prod")
    assert exec_of(done)["args"] == ["--gate", signed_in.url, "--cluster", "prod"]
    document = yaml.safe_load(done.out)
    assert document["clusters"][0]["cluster"]["server"] == "https://gate.corp:8443"
    assert document["current-context"] == "alice@corp.example@prod"
    assert "ngr1_" not in done.out
    assert "nga1_" not in done.out
    assert signed_in.called("/oauth/token")[0].form["resource"] == f"{signed_in.url}/clusters/prod"


def test_a_misspelt_cluster_shows_at_once(shell: Terminal, signed_in: ScriptedGate) -> None:
    signed_in.answers("/oauth/token", refused("invalid_target", "there is no cluster prud here; registered are: prod"))
    done = shell.bare("kubeconfig", "--gate", signed_in.url, "--cluster", "prud")
    assert (done.code, done.out, done.err) == (
        1,
        "",
        "narrowgate: there is no cluster prud here; registered are: prod\n",
    )


def test_while_the_gate_is_away_it_is_printed_unchecked(shell: Terminal, signed_in: ScriptedGate) -> None:
    signed_in.down()
    done = shell.bare("kubeconfig", "--cluster", "prod")
    assert done.code == 0
    assert "whether it knows cluster prod was not asked" in done.err


def test_who_is_not_signed_in_is_told_to(shell: Terminal, home: Path) -> None:
    done = shell.bare("kubeconfig", "--gate", "gate.corp", "--cluster", "prod")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "run: narrowgate login https://gate.corp" in done.err


def test_a_person_names_a_cluster(shell: Terminal, signed_in: ScriptedGate) -> None:
    done = shell.bare("kubeconfig")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "add --cluster" in done.err


def test_the_configuration_of_a_gate_is_meant_when_it_is_named(shell: Terminal, signed_in: ScriptedGate) -> None:
    assert "exec" in shell("kubeconfig", "--cluster", "prod").out
    assert "--gate" not in shell("kubeconfig", "--cluster", "prod").out
    assert signed_in.calls == []


def test_a_configuration_in_the_environment_is_named_too(
    shell: Terminal, signed_in: ScriptedGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARROWGATE_CONFIG", str(shell.config))
    assert "--gate" not in shell.bare("kubeconfig", "--cluster", "prod").out
    assert "--gate" in shell.bare("kubeconfig", "--cluster", "prod", "--gate", signed_in.url).out


def test_a_workload_gets_one_that_it_needs_nothing_else_for(shell: Terminal, home: Path) -> None:
    done = shell("kubeconfig", "--cluster", "prod", "--token-file", "/var/run/secrets/narrowgate/token")
    arguments = exec_of(done)["args"]
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert options["--gate"] == "https://127.0.0.1:8444"
    assert options["--token-file"] == "/var/run/secrets/narrowgate/token"
    assert base64.b64decode(options["--certificate-authority-data"]).startswith(b"-----BEGIN CERTIFICATE-----")


def test_an_agent_with_a_key_gets_one_that_names_the_key(shell: Terminal, home: Path) -> None:
    done = shell("kubeconfig", "--cluster", "prod", "--agent", "ci", "--key-file", "key.pem")
    arguments = exec_of(done)["args"]
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert options["--agent"] == "ci"
    assert options["--key-file"] == str(Path.cwd() / "key.pem")


def test_the_gate_of_the_last_sign_in_is_known_to_workloads_too(shell: Terminal, signed_in: ScriptedGate) -> None:
    done = shell.bare("kubeconfig", "--gate", signed_in.url, "--cluster", "prod", "--token-file", "/t")
    assert exec_of(done)["args"][:2] == ["--gate", signed_in.url]


@pytest.mark.parametrize(
    "arguments",
    [
        "--token-file t --agent a --cluster prod",
        "--key-file k --cluster prod",
        "--agent a --key-file k --credential-file c --cluster prod",
        "--gate https://g --agent a",
        "--gate https://g --credential-file c --cluster prod",
    ],
)
def test_options_that_do_not_fit_together_are_misuse(shell: Terminal, home: Path, arguments: str) -> None:
    done = shell.bare("kubeconfig", *arguments.split())
    assert (done.code, len(done.err.splitlines())) == (2, 1)
