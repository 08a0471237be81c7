"""`narrowgate kubeconfig`: a way to the gate, with its CA, without a secret."""

from __future__ import annotations

import base64

import yaml
from tests.unit.cli.terminal import Terminal


def test_it_verifies_the_gate_and_holds_no_secret(shell: Terminal) -> None:
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
