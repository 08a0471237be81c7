"""People who sign in with SAML work from the command line: `narrowgate login`, then kubectl on the real cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.dex import ALICE, BOB, Person
from tests.e2e.gate import ALLOW_ALL_RULES, Cluster
from tests.e2e.person import PersonsTerminal, StartedLogin
from tests.e2e.saml_gate import SAMLGate, saml_gate
from tests.e2e.saml_idp import sign_in_at_saml


@pytest.fixture(scope="module")
def gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SAMLGate]:
    """A gate before the real cluster, where the group sre may do everything."""
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    with saml_gate(tmp_path_factory.mktemp("saml-login"), [entry], {"corp": {}}) as running:
        running.gate.write_policy("sre", [{"kind": "Group", "name": "corp:sre"}], ALLOW_ALL_RULES)
        yield running


def logged_in(folder: Path, gate: SAMLGate, who: Person, *more: str) -> PersonsTerminal:
    """A terminal where this person has signed in, by way of the SAML provider."""
    terminal = PersonsTerminal(folder, gate, who)  # type: ignore[arg-type]
    with StartedLogin(terminal, *more) as started:
        page = gate.page()
        page.goto(started.address)
        assert page.url.startswith(gate.providers["corp"].origin)
        sign_in_at_saml(page, who)
        page.wait_for_selector("button[name=decision]")
        started.say(page, "allow")
        assert started.document()["person"] == f"corp:{who.name}"
    return terminal


@pytest.mark.parametrize("more", [(), ("--device",)])
def test_a_person_signs_in_and_works_with_kubectl(
    cluster: Cluster, gate: SAMLGate, tmp_path: Path, more: tuple[str, ...]
) -> None:
    alice = logged_in(tmp_path / "alice", gate, ALICE, *more)
    told = json.loads(alice("whoami", "-o", "json").out)
    assert told["identity"] == "person:corp:alice"
    assert set(told["groups"]) == {"corp:sre", "corp:developers"}
    alice.kubectl(cluster).must("get", "namespaces", "-o", "name")
    event = gate.gate.wait_for_event("/api/v1/namespaces")
    assert event["user"]["username"] == "person:corp:alice"
    assert event["user"]["extra"]["narrowgate.dev/proven-by"] == ["saml:corp"]


def test_groups_from_the_provider_decide_what_one_may_do(cluster: Cluster, gate: SAMLGate, tmp_path: Path) -> None:
    bob = logged_in(tmp_path / "bob", gate, BOB)
    done = bob.kubectl(cluster)("get", "namespaces")
    assert done.code == 1
    assert "forbidden" in done.text.lower()
