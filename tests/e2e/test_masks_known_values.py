"""Values of a cluster's own Secrets, masked in every text that leaves: random passwords that no pattern knows.

Nothing here is named like a secret, and nothing looks like one: only the Secret says that it is.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from dev.cluster.processes import free_ports
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl

UNMASKED_RULES = ALLOW_ALL_RULES[:2]
KNOWN = b"[masked:narrowgate/known-value:"


class Relay:
    """Everything between the gate and the API server, so that it can be cut."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        (self.port,) = free_ports(1)
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                self._pairs.append((near, far))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        one.close()

    def cut(self) -> int:
        """End every connection there is; how many there were."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        return len(pairs)

    def close(self) -> None:
        self._listener.close()
        self.cut()


@pytest.fixture(scope="module")
def relay(cluster: Cluster) -> Iterator[Relay]:
    host, _, port = cluster.server.removeprefix("https://").partition(":")
    relay = Relay(host, int(port))
    yield relay
    relay.close()


@pytest.fixture(scope="module")
def knowing_gate(cluster: Cluster, relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("knowing-gate")
    kubeconfig = yaml.safe_load(cluster.kubeconfig.read_text())
    for entry in kubeconfig["clusters"]:
        name = cluster.server.removeprefix("https://").partition(":")[0]
        entry["cluster"] |= {"server": f"https://127.0.0.1:{relay.port}", "tls-server-name": name}
    path = folder / "relayed.kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    gate = Gate(folder, [{"name": "dev", "kubeconfig": str(path), "maskKnownValues": True}])
    gate.agent("reader", UNMASKED_RULES)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def reader(knowing_gate: Gate) -> Agent:
    return knowing_gate.agent("reader", UNMASKED_RULES)


@pytest.fixture(scope="module")
def here(direct: Kubectl, new_namespace: Callable[[str], str]) -> tuple[Kubectl, str]:
    namespace = new_namespace("known")
    return direct.within(namespace), namespace


def make_secret(here: Kubectl, name: str, value: str, kind: str = "create") -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"word": value}}
    here.must(kind, "-f", "-", stdin=json.dumps(secret).encode())


def get(agent: Agent, target: str) -> bytes:
    response = agent.request("GET", target)
    assert response.status == 200, response.body
    return response.body


def forms(value: str) -> list[bytes]:
    plain = value.encode()
    return [
        plain,
        plain.hex().encode(),
        plain.hex().upper().encode(),
        *(base64.b64encode(b"~" * shift + plain)[4 if shift else 0 : -4] for shift in range(3)),
    ]


def shows(value: str, data: bytes) -> list[bytes]:
    return [form for form in forms(value) if form in data]


def until_masked(gate: Gate, look: Callable[[], bytes]) -> bytes:
    """What is shown once the gate knows the value, which takes no longer than a few seconds."""
    gate.wait_until(lambda: KNOWN in look(), "the new value to be known")
    return look()


def new_value() -> str:
    return secrets.token_urlsafe(18)


def pod(cluster: Cluster, name: str, script: str, **spec: Any) -> bytes:
    container = {"name": "main", "image": cluster.image, "command": ["/bin/sh", "-c", script], **spec}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": [container]},
        }
    ).encode()


def test_a_pod_that_prints_a_password_prints_a_masked_value(
    knowing_gate: Gate, reader: Agent, here: tuple[Kubectl, str], cluster: Cluster
) -> None:
    kubectl, namespace = here
    value = new_value()
    make_secret(kubectl, "printed", value)
    encoded = base64.b64encode(b"x" + value.encode()).decode()
    script = (
        f'echo "it is $WORD"; echo "in hex {value.encode().hex()}"; echo "in base64 {encoded}"; echo the end; '
        'printf "$WORD" > /dev/termination-log'
    )
    env = [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "printed", "key": "word"}}}]
    kubectl.must("create", "-f", "-", stdin=pod(cluster, "printer", script, env=env))
    kubectl.must("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/printer", "--timeout=60s")
    for query in ("", "?follow=true", "?timestamps=true"):
        log = get(reader, f"/api/v1/namespaces/{namespace}/pods/printer/log{query}")
        assert shows(value, log) == []
        assert log.count(KNOWN) == 3
        assert b"the end" in log
    before = len("it is ")
    for limit in range(before, before + len(value) + 2):
        log = get(reader, f"/api/v1/namespaces/{namespace}/pods/printer/log?limitBytes={limit}")
        assert value[:2].encode() not in log, "a log that is cut within a value"
    shown = get(reader, f"/api/v1/namespaces/{namespace}/pods/printer")
    assert shows(value, shown) == [], "the container's last words, and its command"
    assert shows(value, knowing_gate.journal_text().encode()) == []
    assert knowing_gate.events("narrowgate/known-value=3")


def test_it_has_the_hash_that_it_has_in_its_secret(reader: Agent, here: tuple[Kubectl, str]) -> None:
    kubectl, namespace = here
    value = new_value()
    make_secret(kubectl, "compared", value)
    kubectl.must("create", "configmap", "compared", f"--from-literal=note=see {value} there")
    secret = json.loads(get(reader, f"/api/v1/namespaces/{namespace}/secrets/compared"))
    masked = base64.b64decode(secret["data"]["word"])
    hashed = masked.rpartition(b":")[2]
    config = get(reader, f"/api/v1/namespaces/{namespace}/configmaps/compared")
    assert b"see " + KNOWN + hashed + b" there" in config


def test_it_is_masked_in_config_maps_events_pods_annotations_and_refusals(
    knowing_gate: Gate, reader: Agent, here: tuple[Kubectl, str], cluster: Cluster
) -> None:
    kubectl, namespace = here
    value = new_value()
    make_secret(kubectl, "everywhere", value)
    kubectl.must("create", "configmap", "everywhere", f"--from-literal=note=a {value} b")
    kubectl.must("annotate", "configmap", "everywhere", f"example.com/note={value.encode().hex()}")
    plain = pod(cluster, "everywhere", "exit 0", env=[{"name": "NOTE", "value": f"see:{value}"}], args=[value])
    kubectl.must("create", "-f", "-", stdin=plain)
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "everywhere"},
        "involvedObject": {"kind": "Pod", "name": "everywhere", "namespace": namespace},
        "message": f"started with {value}",
        "reason": "Started",
        "type": "Normal",
    }
    kubectl.must("create", "-f", "-", stdin=json.dumps(event).encode())
    base = f"/api/v1/namespaces/{namespace}"
    until_masked(knowing_gate, lambda: get(reader, f"{base}/configmaps/everywhere"))
    for target in ("configmaps/everywhere", "configmaps", "pods/everywhere", "pods", "events/everywhere", "events"):
        shown = get(reader, f"{base}/{target}")
        assert KNOWN in shown, target
        assert shows(value, shown) == [], target
    table = reader.request("GET", f"{base}/events", {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    assert KNOWN in table.body
    assert shows(value, table.body) == []
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"Not {value}"}}
    refused = reader.request(
        "POST", f"{base}/configmaps", {"Content-Type": "application/json"}, json.dumps(wrong).encode()
    )
    assert refused.status == 422
    assert shows(value, refused.message.encode()) == [], "its name is repeated, which the caller sent"


def test_a_rotated_value_stays_masked_and_the_new_one_is(
    knowing_gate: Gate, reader: Agent, here: tuple[Kubectl, str]
) -> None:
    kubectl, namespace = here
    old, new = new_value(), new_value()
    target = f"/api/v1/namespaces/{namespace}/configmaps/rotated"
    make_secret(kubectl, "rotated", old)
    kubectl.must("create", "configmap", "rotated", f"--from-literal=old={old}", f"--from-literal=new={new}")
    until_masked(knowing_gate, lambda: get(reader, target))
    make_secret(kubectl, "rotated", new, "apply")
    knowing_gate.wait_until(lambda: get(reader, target).count(KNOWN) >= 2, "the new value to be known")
    shown = get(reader, target)
    assert shows(old, shown) == []
    assert shows(new, shown) == []
    kubectl.must("delete", "secret", "rotated")
    assert shows(old, get(reader, target)) == []


def test_a_watch_that_is_cut_goes_on_with_what_has_changed(
    knowing_gate: Gate, reader: Agent, here: tuple[Kubectl, str], relay: Relay
) -> None:
    kubectl, namespace = here
    assert relay.cut() > 0
    value = new_value()
    make_secret(kubectl, "after-the-cut", value)
    kubectl.must("create", "configmap", "after-the-cut", f"--from-literal=note={value}")

    def look() -> bytes:
        return reader.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/after-the-cut").body

    assert shows(value, until_masked(knowing_gate, look)) == []
    assert knowing_gate.ready()


def test_a_watch_under_way_masks_a_value_that_came_after_it_began(
    knowing_gate: Gate, reader: Agent, here: tuple[Kubectl, str]
) -> None:
    kubectl, namespace = here
    value = new_value()
    kubectl.must("create", "configmap", "watched", "--from-literal=note=nothing yet")
    with reader.connect() as connection:
        target = (
            f"/api/v1/namespaces/{namespace}/configmaps?watch=1&timeoutSeconds=8&fieldSelector=metadata.name=watched"
        )
        connection.send(reader.bytes_of("GET", target))
        make_secret(kubectl, "watched", value)
        kubectl.must("create", "configmap", "probe", f"--from-literal=note={value}")
        until_masked(knowing_gate, lambda: get(reader, f"/api/v1/namespaces/{namespace}/configmaps/probe"))
        kubectl.must("annotate", "configmap", "watched", f"example.com/note={value}")
        events = connection.response().body
    assert KNOWN in events
    assert shows(value, events) == []


def test_a_value_that_was_masked_is_put_back_when_its_text_is_edited(
    knowing_gate: Gate, reader: Agent, here: tuple[Kubectl, str]
) -> None:
    kubectl, namespace = here
    value = new_value()
    target = f"/api/v1/namespaces/{namespace}/configmaps/edited"
    make_secret(kubectl, "edited", value)
    kubectl.must("create", "configmap", "edited", f"--from-literal=note={value}")
    shown = json.loads(until_masked(knowing_gate, lambda: get(reader, target)))
    shown["data"]["more"] = "added"
    put = reader.request("PUT", target, {"Content-Type": "application/json"}, json.dumps(shown).encode())
    assert put.status == 200, put.body
    stored = json.loads(kubectl.must("get", "configmap", "edited", "-o", "json"))
    assert stored["data"] == {"note": value, "more": "added"}


def test_a_reveal_of_the_mask_lifts_it_for_its_resource_and_nothing_else_does(
    knowing_gate: Gate, here: tuple[Kubectl, str]
) -> None:
    kubectl, namespace = here
    value = new_value()
    make_secret(kubectl, "revealed", value)
    kubectl.must("create", "configmap", "revealed", f"--from-literal=note={value}")
    reveal = {"effect": "reveal", "apiGroups": [""], "approval": "none"}
    of_secret = knowing_gate.agent(
        "sees-the-secret", [*UNMASKED_RULES, {**reveal, "id": "see-secrets", "resources": ["secrets"]}]
    )
    of_text = knowing_gate.agent(
        "sees-the-text",
        [
            *UNMASKED_RULES,
            {**reveal, "id": "see-text", "resources": ["configmaps"], "masks": ["narrowgate/known-value"]},
        ],
    )
    target = f"/api/v1/namespaces/{namespace}/configmaps/revealed"
    knowing_gate.wait_until(lambda: of_text.request("GET", target).status == 200, "the policies to be in force")
    knowing_gate.wait_until(lambda: value.encode() in of_text.request("GET", target).body, "the text to be revealed")
    secret = get(of_secret, f"/api/v1/namespaces/{namespace}/secrets/revealed")
    assert base64.b64encode(value.encode()) in secret
    assert shows(value, until_masked(knowing_gate, lambda: get(of_secret, target))) == []


def test_while_the_values_cannot_be_read_nothing_with_text_is_answered(
    cluster: Cluster, here: tuple[Kubectl, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    kubectl, namespace = here
    kubectl.must("create", "serviceaccount", "narrow")
    kubectl.must("create", "rolebinding", "narrow", "--clusterrole=view", f"--serviceaccount={namespace}:narrow")
    folder = tmp_path_factory.mktemp("blind-gate")
    token = folder / "token"
    token.write_text(kubectl.must("create", "token", "narrow").strip())
    entry = {
        "name": "dev",
        "server": cluster.server,
        "certificateAuthority": str(cluster.ca),
        "tokenFile": str(token),
        "maskKnownValues": True,
    }
    gate = Gate(folder, [entry])
    agent = gate.agent("blind", UNMASKED_RULES)
    gate.start(ready=False)
    try:
        base = f"/api/v1/namespaces/{namespace}"
        gate.wait_until(
            lambda: "may not list and watch secrets" in said(agent, f"{base}/configmaps"),
            "the gate to say why it refuses",
        )
        refused = agent.request("GET", f"{base}/configmaps")
        assert refused.status == 503
        assert "maskKnownValues" in refused.message
        assert agent.request("GET", f"{base}/endpoints").status == 200, "which has no text"
        assert not gate.ready()
    finally:
        gate.stop()


def said(agent: Agent, target: str) -> str:
    """What is answered, if anything is: a gate that is just starting answers nothing."""
    with contextlib.suppress(OSError):
        return agent.request("GET", target).body.decode()
    return ""
