"""`narrowgate clusters` at a real API server: what `check` finds, and that what it says to run mends it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.command_line import Shell
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "work")


@pytest.fixture
def accounts(direct: Kubectl) -> Iterator[str]:
    """A namespace for the gate's accounts, gone at the end with everything that was bound to it."""
    name = f"ngc-{secrets.token_hex(3)}"
    direct.must("create", "namespace", name)
    yield name
    direct("delete", "namespace", name, "--wait=false")
    for kind in ("clusterrole", "clusterrolebinding"):
        direct("delete", kind, "--ignore-not-found", "narrowgate:impersonator", "narrowgate:policy:look")


def checked(shell: Shell, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """`clusters check` of `dev`: exit code, and the lines of the report by what they are about."""
    done = shell("clusters", "check", "dev", "-o", "json", *arguments)
    lines = yaml.safe_load(done.out)["dev"]
    return done.code, {line["check"]: line for line in lines}


def test_an_admin_works_and_is_told_how_wide_it_is(shell: Shell, cluster: Cluster) -> None:
    shell.configure(cluster.kubeconfig)
    code, lines = checked(shell)
    assert code == 0
    assert {name: line["outcome"] for name, line in lines.items()} == {
        "tls": "ok",
        "version": "ok",
        "clock": "ok",
        "account": "ok",
        "discovery": "ok",
        "audit": "ok",
        "rights": "warning",
        "needs": "ok",
    }
    assert "everything" in lines["rights"]["found"]
    assert "narrowgate clusters manifests dev | kubectl apply -f -" in lines["rights"]["toDo"]


def test_the_account_of_the_manifests_is_found_narrow(
    shell: Shell, cluster: Cluster, direct: Kubectl, accounts: str
) -> None:
    narrow(shell, cluster, direct, accounts, "impersonate")
    code, lines = checked(shell)
    assert code == 0, lines
    assert lines["rights"]["outcome"] == lines["fence"]["outcome"] == lines["needs"]["outcome"] == "ok", lines
    assert f"system:serviceaccount:{accounts}:narrowgate" in lines["account"]["found"]


def test_an_impersonating_account_that_may_do_more_fails_the_check(
    shell: Shell, cluster: Cluster, direct: Kubectl, accounts: str
) -> None:
    narrow(shell, cluster, direct, accounts, "impersonate")
    direct.must(
        "create", "rolebinding", "more", "-n", accounts, "--clusterrole=view", f"--serviceaccount={accounts}:narrowgate"
    )
    deadline = 50
    while (found := checked(shell))[0] == 0:
        deadline -= 1
        assert deadline, "the binding is never seen"
    assert found[1]["rights"]["outcome"] == "failed"
    assert accounts in found[1]["rights"]["found"]


def narrow(shell: Shell, cluster: Cluster, direct: Kubectl, accounts: str, mode: str) -> None:
    """Do what the check says to do: apply the manifests, take a token of the new account, register it instead."""
    config = shell.configure(cluster.kubeconfig)
    text = config.read_text()
    config.write_text(f"{text}    upstream: {{mode: {mode}, accountNamespace: {accounts}}}\n")
    made = shell("clusters", "manifests", "dev").out
    direct.must("apply", "-f", "-", stdin=made.encode())
    token = direct.must("create", "token", "narrowgate", "-n", accounts)
    shell.write("token", token, mode=0o600)
    admin = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    authority = shell.write("ca.crt", base64.b64decode(admin["certificate-authority-data"]).decode())
    entry = f"""\
  - name: dev
    server: {cluster.server}
    certificateAuthority: {authority}
    tokenFile: token
    upstream: {{mode: {mode}, accountNamespace: {accounts}}}
"""
    config.write_text(text[: text.index("  - name: dev")] + entry)


def test_a_server_of_another_authority_is_not_trusted(shell: Shell, cluster: Cluster) -> None:
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    shell.configure(cluster.kubeconfig)
    # The gate's own CA: a good one, and not the one that signed the API server's certificate.
    of_the_gate = yaml.safe_load(shell("kubeconfig", "--cluster", "dev").out)["clusters"][0]["cluster"]
    document["clusters"][0]["cluster"]["certificate-authority-data"] = of_the_gate["certificate-authority-data"]
    shell.configure(shell.write("other.kubeconfig", yaml.safe_dump(document)))
    code, lines = checked(shell)
    assert code == 1
    assert "its certificate is not trusted" in lines["connection"]["found"]


def test_a_certificate_for_another_name_is_not_trusted(shell: Shell, cluster: Cluster) -> None:
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    document["clusters"][0]["cluster"]["tls-server-name"] = "elsewhere.example"
    shell.configure(shell.write("named.kubeconfig", yaml.safe_dump(document)))
    code, lines = checked(shell)
    assert code == 1
    assert "tls-server-name" in lines["connection"]["found"]


def test_a_token_that_is_not_accepted_is_said(shell: Shell, cluster: Cluster) -> None:
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": "not.a.token"}
    shell.configure(shell.write("token.kubeconfig", yaml.safe_dump(document)))
    code, lines = checked(shell)
    assert code == 1
    assert lines["account"]["outcome"] == "failed"
    assert "register a new one" in lines["account"]["toDo"]


def test_the_report_for_people_says_what_to_run(shell: Shell, cluster: Cluster) -> None:
    shell.configure(cluster.kubeconfig)
    done = shell("clusters", "check")
    assert done.code == 0
    assert done.out.startswith("cluster dev\n  ok       tls ")
    assert "-> make a narrow account: narrowgate clusters manifests dev | kubectl apply -f -\n" in done.out
