"""Access credentials that live for seconds: they end in the middle of a watch, and are renewed unseen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.e2e.dex import ALICE
from tests.e2e.gate import ALLOW_ALL_RULES, SETTLE_SECONDS, Cluster
from tests.e2e.person import PersonsTerminal
from tests.e2e.signing_in import SignInGate, sign_in_gate

ACCESS_SECONDS = 5
SIGN_IN_SECONDS = 60
"""Long enough for a browser on a busy machine, short enough to be waited for."""


@pytest.fixture(scope="module")
def gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInGate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    lives = {"accessLifetime": f"{ACCESS_SECONDS}s", "lifetime": f"{SIGN_IN_SECONDS}s"}
    with sign_in_gate(tmp_path_factory.mktemp("lifetimes"), [entry], {"authentication": {"signIn": lives}}) as running:
        running.gate.write_policy("sre", [{"kind": "Group", "name": "corp:sre"}], ALLOW_ALL_RULES)
        yield running


def test_a_watch_ends_with_its_credential_and_the_next_one_begins_unseen_until_the_sign_in_is_over(
    cluster: Cluster, gate: SignInGate, tmp_path: Path
) -> None:
    alice = PersonsTerminal(tmp_path, gate, ALICE)
    ends = datetime.fromisoformat(alice.login()["expiresAt"])
    kubectl = alice.kubectl(cluster)
    for _ in range(2):
        watch = kubectl.start("get", "namespaces", "--watch", "-o", "name")
        try:
            said, _ = watch.communicate(timeout=SETTLE_SECONDS)
        finally:
            watch.kill()
        assert said.startswith(b"namespace/")
    kubectl.must("get", "--raw", "/version")
    assert json.loads(alice("whoami", "-o", "json").out)["confirmed"] is True
    gate.gate.wait_until(
        lambda: datetime.now(UTC) > ends + timedelta(seconds=2), "the sign-in is over", SIGN_IN_SECONDS
    )
    done = kubectl("get", "--raw", "/version")
    assert done.code == 1
    assert "sign in again with `narrowgate login`" in done.text
    assert (alice("whoami").code, len(alice("whoami").err.splitlines())) == (1, 1)
