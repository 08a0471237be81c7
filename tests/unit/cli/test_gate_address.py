"""Which gate is meant, and by what it is trusted before anything is told to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.terminal import Terminal

from narrowgate.cli.failure import Failed
from narrowgate.cli.gate_address import (
    authority_of,
    certificates_in,
    fingerprint_of,
    gate_in_use,
    gate_to_sign_in,
    pinned,
    read_metadata,
)
from narrowgate.cli.oauth_client import GatePort, GateUnreachable
from narrowgate.cli.private_text import Unusable
from narrowgate.cli.sign_in_files import GateFacts, keep_facts, note_last_gate

METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture
def port(scripted: ScriptedGate) -> GatePort:
    return GatePort(scripted.url, scripted.authority_pem)


def test_the_named_gate_comes_before_the_one_configured_here_and_that_before_the_last(
    shell: Terminal, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.parent)
    note_last_gate("https://last.corp")
    config = str(shell.config)
    assert gate_to_sign_in("named.corp", config) == "https://named.corp"
    assert gate_to_sign_in("", config) == "https://127.0.0.1:8444"
    assert gate_in_use("named.corp") == "https://named.corp"
    assert gate_in_use("") == "https://last.corp"
    shell.config.unlink()
    assert gate_to_sign_in("", None) == "https://last.corp"


def test_without_any_gate_one_is_asked_for(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NARROWGATE_CONFIG", raising=False)
    with pytest.raises(Failed, match="no gate is named"):
        gate_to_sign_in("", None)


def test_a_file_comes_before_what_is_remembered(scripted: ScriptedGate, home: Path, tmp_path: Path) -> None:
    keep_facts(GateFacts(scripted.url, "REMEMBERED", "https://x"))
    file = tmp_path / "ca.pem"
    file.write_text(f"remarks\n{scripted.authority_pem}-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n")
    chosen = authority_of(scripted.url, file=file, fingerprint="", config=None)
    assert chosen == scripted.authority_pem
    assert authority_of(scripted.url, file=None, fingerprint="", config=None) == "REMEMBERED"
    assert authority_of("https://other.corp", file=None, fingerprint="", config=None) == ""


def test_the_configured_gate_is_trusted_by_its_own_ca(shell: Terminal, home: Path) -> None:
    found = authority_of("https://127.0.0.1:8444", file=None, fingerprint="", config=str(shell.config))
    assert certificates_in(found)


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    for name, says in (("x", "no certificate in it"), ("gone", "cannot read the CA certificate")):
        with pytest.raises(Failed, match=says):
            authority_of("https://gate.corp", file=tmp_path / name, fingerprint="", config=None)


def test_the_ca_that_the_gate_shows_is_taken_if_its_fingerprint_was_told(scripted: ScriptedGate) -> None:
    right = fingerprint_of(scripted.authority_pem)
    colons = ":".join(right[at : at + 2] for at in range(0, 64, 2)).upper()
    for spelling in (right, colons, f"sha256:{right}"):
        assert pinned(scripted.url, spelling) == scripted.authority_pem
    with pytest.raises(Failed, match="shows no CA with this fingerprint"):
        pinned(scripted.url, "0" * 64)
    with pytest.raises(Failed, match="write its 64 hexadecimal digits"):
        pinned(scripted.url, right[:-1])


def test_of_several_cas_only_the_one_with_the_fingerprint_is_trusted(scripted: ScriptedGate, tmp_path: Path) -> None:
    from dev.cluster.certificates import Certificates

    other = Certificates(tmp_path / "other").authority("other").certificate.read_text()
    scripted.answers(METADATA, told(scripted.metadata(narrowgate_certificate_authority=other + scripted.authority_pem)))
    assert pinned(scripted.url, fingerprint_of(scripted.authority_pem)) == scripted.authority_pem


def test_what_is_no_certificate_has_no_fingerprint() -> None:
    assert fingerprint_of("x") == ""
    assert fingerprint_of("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n") == ""


def test_a_gate_says_where_one_signs_in(scripted: ScriptedGate, port: GatePort) -> None:
    assert read_metadata(port) == (
        "/oauth/authorize",
        "/oauth/device_authorization",
        "/oauth/revoke",
        "https://127.0.0.1:8443",
    )


def test_a_gate_that_is_called_otherwise_is_to_be_called_by_its_name(scripted: ScriptedGate, port: GatePort) -> None:
    scripted.answers(METADATA, told(scripted.metadata(issuer="https://gate.corp:8444")))
    with pytest.raises(
        Failed, match=r"this gate is called https://gate\.corp:8444, .*narrowgate login https://gate\.corp"
    ):
        read_metadata(port)


@pytest.mark.parametrize(
    "more",
    [
        {"issuer": None},
        {"issuer": "https://\x1b[2J"},
        {"authorization_endpoint": "https://evil.example/oauth/authorize"},
        {"device_authorization_endpoint": None},
        {"revocation_endpoint": 7},
        {"narrowgate_kubernetes_url": None},
    ],
)
def test_a_gate_that_sends_people_elsewhere_is_none(
    scripted: ScriptedGate, port: GatePort, more: dict[str, object]
) -> None:
    scripted.answers(METADATA, told(scripted.metadata(**more)))
    with pytest.raises(GateUnreachable):
        read_metadata(port)


def test_a_port_for_kubernetes_that_is_none_is_refused(scripted: ScriptedGate, port: GatePort) -> None:
    scripted.answers(METADATA, told(scripted.metadata(narrowgate_kubernetes_url="http://gate.corp")))
    with pytest.raises(Unusable, match="no address of a gate"):
        read_metadata(port)


def test_an_endpoint_that_only_begins_like_the_gate_is_refused(scripted: ScriptedGate, port: GatePort) -> None:
    scripted.answers(METADATA, told(scripted.metadata(authorization_endpoint=f"{scripted.url}.evil.example/x")))
    with pytest.raises(GateUnreachable):
        read_metadata(port)
