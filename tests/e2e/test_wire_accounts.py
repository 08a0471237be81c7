"""In whose name requests reach a cluster whose registered account may only impersonate.

An absent or empty `Impersonate-User` would run a request as the gate's own account: so every request carries exactly
one, no header of a caller takes it away, and the gate does not start with an account that may do more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from tests.e2e.echo import TOKEN, Echo, Received
from tests.e2e.gate import ECHO_RULES, UNREAD, Agent, Gate

TARGET = "/api/v1/namespaces/d/configmaps"
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
}
NARROW = [
    {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["narrowgate:agent:all"]},
    {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"], "resourceNames": ["narrowgate:agents"]},
]


@pytest.fixture(scope="module")
def impersonating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, Echo]]:
    """A gate in mode `impersonate`, and the upstream behind it."""
    echo = Echo(tmp_path_factory.mktemp("fenced-echo"), rights=NARROW)
    gate = Gate(tmp_path_factory.mktemp("impersonating-gate"), [echo.cluster("echo", "impersonate")], settings=UNREAD)
    gate.agent("all", ECHO_RULES, cluster="echo")
    gate.start()
    yield gate, echo
    gate.stop()
    echo.stop()


@pytest.fixture(scope="module")
def sender(impersonating: tuple[Gate, Echo]) -> Agent:
    return impersonating[0].agent("all")


def asked(impersonating: tuple[Gate, Echo], marker: str) -> Received:
    (request,) = impersonating[1].with_marker(marker)
    return request


def assert_in_the_name_of(agent: str, request: Received) -> None:
    assert request.values("impersonate-user") == [f"narrowgate:agent:{agent}"]
    assert request.values("authorization") == [f"Bearer {TOKEN}"]


def test_a_request_carries_its_sender_and_the_gates_credential(
    impersonating: tuple[Gate, Echo], sender: Agent, marker: str
) -> None:
    assert sender.request("GET", f"{TARGET}/{marker}").status == 200

    request = asked(impersonating, marker)
    assert_in_the_name_of("all", request)
    assert request.values("impersonate-group") == ["narrowgate:agents"]


@pytest.mark.parametrize(
    "connection", ["Impersonate-User", "keep-alive, impersonate-user, Impersonate-Group", "Authorization", "close"]
)
def test_a_hop_by_hop_header_takes_no_name_away(
    connection: str, impersonating: tuple[Gate, Echo], sender: Agent, marker: str
) -> None:
    # CVE-2021-31999: `Connection: Impersonate-User` made a proxy drop its own header, and the request ran as the proxy.
    answer = sender.request("GET", f"{TARGET}/{marker}", {"Connection": connection})

    assert answer.status in (200, 400)
    for request in impersonating[1].with_marker(marker):
        assert_in_the_name_of("all", request)


def test_an_upgraded_request_carries_its_sender_too(
    impersonating: tuple[Gate, Echo], sender: Agent, marker: str
) -> None:
    with sender.connect() as connection:
        target = f"/api/v1/namespaces/d/pods/switch/exec?command={marker}"
        connection.send(sender.bytes_of("GET", target, WEBSOCKET))
        status, _ = connection.head()

    assert status == 101
    assert_in_the_name_of("all", asked(impersonating, marker))


def test_groups_are_sent_one_header_each_and_the_chain_goes_along(
    impersonating: tuple[Gate, Echo], marker: str
) -> None:
    gate, _ = impersonating
    kubeconfig = gate.folder / "grouped.kubeconfig"
    done = gate.command(
        "agents", "add", "grouped", "--owner", "person:test", "--purpose", "test", "--cluster", "echo",
        "--group", "readers", "--group", "night-shift", "--kubeconfig", str(kubeconfig),
    )  # fmt: skip
    assert done.code == 0, done.text
    agent = gate.agent_from("grouped", kubeconfig)
    gate.write_policy("readers", [{"kind": "Group", "name": "readers"}], ECHO_RULES, cluster="echo")
    gate.wait_until(lambda: agent.request("GET", "/version").status == 200, "the group's policy in force")

    assert agent.request("GET", f"{TARGET}/{marker}").status == 200

    request = asked(impersonating, marker)
    assert_in_the_name_of("grouped", request)
    groups = request.values("impersonate-group")
    assert groups == ["narrowgate:agents", "narrowgate:group:readers", "narrowgate:group:night-shift"]
    extra = {unquote(name): value for name, value in request.headers if name.lower().startswith("impersonate-extra-")}
    assert {name.lower() for name in extra} == {
        "impersonate-extra-narrowgate.dev/chain",
        "impersonate-extra-narrowgate.dev/request",
    }
    assert "agent:grouped" in extra.values()
    # No name of a group ends in two by a comma, and none speaks for the cluster's own groups.
    assert not [value for _, value in request.headers if "system:" in value]


@pytest.mark.parametrize("name", ["system:admin", "System:masters", "a,b", "a\nImpersonate-Group: x", "-", ""])
def test_no_agent_gets_a_name_that_could_be_somebody_elses(name: str, impersonating: tuple[Gate, Echo]) -> None:
    gate, _ = impersonating

    done = gate.command("agents", "add", "--owner", "person:test", "--purpose", "test", "--cluster", "echo", "--", name)

    assert done.code in (1, 2)
    assert done.err.strip()


@pytest.mark.parametrize("group", ["system:masters", "a\r\nImpersonate-User: system:admin"])
def test_no_agent_gets_a_group_that_could_be_the_clusters(group: str, impersonating: tuple[Gate, Echo]) -> None:
    gate, _ = impersonating

    done = gate.command(
        "agents", "add", "grouper", "--owner", "person:test", "--purpose", "test", "--cluster", "echo", "--group", group
    )

    assert done.code in (1, 2)
    assert done.err.strip()


TOO_WIDE: dict[str, list[dict[str, Any]]] = {
    "reads secrets": [*NARROW, {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}],
    "does everything": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "impersonates anybody": [{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]}],
    "impersonates ServiceAccounts": [{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"]}],
}


@pytest.mark.parametrize("name", TOO_WIDE)
def test_the_gate_does_not_start_with_an_account_that_may_do_more_than_impersonate(
    name: str, impersonating: tuple[Gate, Echo], tmp_path_factory: pytest.TempPathFactory
) -> None:
    echo = Echo(tmp_path_factory.mktemp("wide-echo"), rights=TOO_WIDE[name])
    gate = Gate(tmp_path_factory.mktemp("wide-gate"), [echo.cluster("echo", "impersonate")])
    gate.start(ready=False)
    try:
        code = gate.wait_for_end()
    finally:
        gate.kill()
        echo.stop()

    last = gate.last_words().splitlines()[-1]
    assert code == 1
    assert "may do more than impersonate" in last
    assert "clusters manifests" in last
