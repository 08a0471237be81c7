"""What a request means: the gate reads method and target as the API server does, or refuses.

Raw bytes go to a running gate. What it understood is in its journal (verb and object), and what it passed on is at the
upstream that remembers (k8s.io/apiserver/pkg/endpoints/request/requestinfo.go).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.e2e.echo import Echo
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Gate
from tests.e2e.wire import Response

PODS = "/api/v1/namespaces/d/pods"
CONFIG_MAPS = "/api/v1/namespaces/d/configmaps"

# Targets that are not written the one way they can be. `MARK` is in each, so that the upstream would remember it.
NOT_CANONICAL = (
    "//api/v1/namespaces/d/configmaps/MARK",
    "/api//v1/namespaces/d/configmaps/MARK",
    "/api/v1/namespaces//configmaps/MARK",
    "/api/v1/namespaces/d/configmaps//MARK",
    "/api/v1/namespaces/d/configmaps/MARK//",
    "/./api/v1/namespaces/d/configmaps/MARK",
    "/api/v1/./namespaces/d/configmaps/MARK",
    "/api/v1/namespaces/d/configmaps/MARK/.",
    "/api/v1/namespaces/d/../e/configmaps/MARK",
    "/api/v1/namespaces/d/configmaps/MARK/..",
    "/api/v1/namespaces/d/configmaps/..%2fsecrets%2fMARK",
    "/api/v1/namespaces/d/%2e%2e/e/configmaps/MARK",
    "/api/v1/namespaces/d/%2E%2E/e/configmaps/MARK",
    "/api/v1/namespaces/d/.%2e/e/configmaps/MARK",
    "/api/v1/namespaces/d/%2e/configmaps/MARK",
    "/api/v1/namespaces/d/configmaps%2fMARK",
    "/api/v1/namespaces/d/configmaps%2FMARK",
    "/api/v1/namespaces%2fd/configmaps/MARK",
    "/api/v1/namespaces/d/configmaps%5cMARK",
    "/api/v1/namespaces/d/configmaps\\MARK",
    "/api/v1/namespaces/d/configmaps/MARK%00",
    "/api/v1/namespaces/d/configmaps/MARK%0a",
    "/api/v1/namespaces/d/configmaps/MARK%7f",
    "/api/v1/namespaces/d/configmaps/MARK%252e",
    "/api/v1/namespaces/d/configmaps%252fMARK",
    "/api/v1/namespaces/d/configmaps/%25%32%66MARK",
    "/api/v1/namespaces/d/configmaps/MARK%",
    "/api/v1/namespaces/d/configmaps/MARK%2",
    "/api/v1/namespaces/d/configmaps/MARK%zz",
    "/api/v1/namespaces/d/configmaps/MARK%ff",
    "/api/v1/namespaces/d/configmaps/MARK%c0%af",
    "/api/v1/namespaces/d/configmaps/MARK%e2%80%ae",
    "/api/v1/namespaces/d/configmaps/MARK#fragment",
    "/api/v1/namespaces/d/configmaps/MARK\xe4",
    "/api/v1/namespaces/d/configmaps/MARK/",
    "/api/v1/namespaces/d/configmaps/?x=MARK",
    "/api/v1/namespaces/d/pods/MARK/log/",
    "/api/v1/namespaces/?x=MARK",
    "https://g/api/v1/namespaces/d/configmaps/MARK",
    "http://127.0.0.1/api/v1/namespaces/d/configmaps/MARK",
    "g:443/api/v1/namespaces/d/configmaps/MARK",
    "api/v1/namespaces/d/configmaps/MARK",
    "*?MARK",
    "?MARK",
    "/api/v1/namespaces/d/services/web/proxy/a/../MARK",
    "/api/v1/namespaces/d/services/web/proxy/a/%2e%2e/MARK",
    "/api/v1/namespaces/d/services/web/proxy//MARK",
    "/api/v1/namespaces/d/services/web/proxy/..%2fMARK",
    "/api/v1/namespaces/d/pods;x=MARK",
)

# Queries that two readers could read differently.
AMBIGUOUS_QUERIES = (
    "watch=false&watch=true",
    "watch=true&watch=false",
    "watch=1&watch=1",
    "fieldSelector=metadata.name%3Da&fieldSelector=metadata.name%3Db",
    "labelSelector=a&labelSelector=b",
    "watch=0;watch=1",
    "a=b;watch=true",
    "fieldSelector=metadata.name%3Da;fieldSelector=metadata.name%3Db",
    "watch=%zz",
    "watch=%",
    "labelSelector=%ff",
    "labelSelector=a%00b",
)


@pytest.mark.parametrize("target", NOT_CANONICAL)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_target_that_is_not_canonical_is_refused(
    method: str, target: str, caller: Agent, echo: Echo, marker: str
) -> None:
    line = f"{method} {target.replace('MARK', marker)} HTTP/1.1"
    head = f"{line}\r\nHost: g\r\nAuthorization: Bearer {caller.token}\r\n\r\n"

    with caller.connect() as connection:
        connection.send(head.encode("latin-1"))
        answer = connection.response()

    # `pods;x` is a resource that nobody has rather than a target that cannot be read.
    assert answer.status == 400 or (";" in target and answer.status in (400, 403, 404))
    assert answer.message
    assert echo.with_marker(marker) == []


@pytest.mark.parametrize("query", AMBIGUOUS_QUERIES)
def test_a_query_with_two_meanings_is_refused(query: str, caller: Agent, echo: Echo, marker: str) -> None:
    answer = caller.request("GET", f"{CONFIG_MAPS}?x={marker}&{query}")

    assert answer.status == 400
    assert echo.with_marker(marker) == []


def test_parameters_that_may_repeat_arrive_in_their_order(caller: Agent, echo: Echo, marker: str) -> None:
    query = f"command={marker}&command=-l&command=a%20b&command=&container=main&stdout=true"

    caller.request("POST", f"{PODS}/refuse/exec?{query}", {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"})

    (request,) = echo.with_marker(marker)
    found = request.target.partition("?")[2].replace("+", "%20")
    assert found == query


def test_a_proxied_path_arrives_as_it_was_sent(caller: Agent, echo: Echo, marker: str) -> None:
    for path in ("", "/", f"/a/{marker}/", f"/a/{marker}?q=1&r=%2F", "/with%20space"):
        before = len(echo.received)
        answer = caller.request("GET", f"/api/v1/namespaces/d/services/https:web:8443/proxy{path}")

        assert answer.status == 200
        assert echo.received[before].target == f"/api/v1/namespaces/d/services/https:web:8443/proxy{path}"


# --- what the gate understands ---

# Method, target, and what the API server's RequestInfo says of it: verb, resource, subresource, namespace, name.
MEANINGS: tuple[tuple[str, str, tuple[str, str, str, str, str]], ...] = (
    ("GET", f"{PODS}/p", ("get", "pods", "", "d", "p")),
    ("HEAD", f"{PODS}/p", ("get", "pods", "", "d", "p")),
    ("GET", PODS, ("list", "pods", "", "d", "")),
    ("HEAD", PODS, ("list", "pods", "", "d", "")),
    ("GET", "/api/v1/pods", ("list", "pods", "", "", "")),
    ("GET", f"{PODS}?watch", ("watch", "pods", "", "d", "")),
    ("GET", f"{PODS}?watch=", ("watch", "pods", "", "d", "")),
    ("GET", f"{PODS}?watch=true", ("watch", "pods", "", "d", "")),
    ("GET", f"{PODS}?watch=1", ("watch", "pods", "", "d", "")),
    ("GET", f"{PODS}?watch=yes", ("watch", "pods", "", "d", "")),
    ("GET", f"{PODS}?watch=0", ("list", "pods", "", "d", "")),
    ("GET", f"{PODS}?watch=false", ("list", "pods", "", "d", "")),
    ("GET", f"{PODS}?watch=False", ("list", "pods", "", "d", "")),
    ("GET", f"{PODS}?Watch=true", ("list", "pods", "", "d", "")),
    ("GET", f"{PODS}?fieldSelector=metadata.name%3Dp", ("list", "pods", "", "d", "p")),
    ("GET", f"{PODS}?fieldSelector=metadata.name%3Dp&watch=1", ("watch", "pods", "", "d", "p")),
    ("GET", f"{PODS}?fieldSelector=metadata.name%21%3Dp", ("list", "pods", "", "d", "")),
    ("GET", f"{PODS}?fieldSelector=metadata.name%3Dp,spec.nodeName%3Dn", ("list", "pods", "", "d", "p")),
    ("GET", f"{PODS}/p?watch=true", ("get", "pods", "", "d", "p")),
    ("POST", CONFIG_MAPS, ("create", "configmaps", "", "d", "")),
    ("PUT", f"{CONFIG_MAPS}/c", ("update", "configmaps", "", "d", "c")),
    ("PATCH", f"{CONFIG_MAPS}/c", ("patch", "configmaps", "", "d", "c")),
    ("DELETE", f"{CONFIG_MAPS}/c", ("delete", "configmaps", "", "d", "c")),
    ("DELETE", CONFIG_MAPS, ("deletecollection", "configmaps", "", "d", "")),
    ("GET", f"{PODS}/p/log", ("get", "pods", "log", "d", "p")),
    ("GET", f"{PODS}/p/status", ("get", "pods", "status", "d", "p")),
    ("GET", "/api/v1/namespaces", ("list", "namespaces", "", "", "")),
    # A namespace is in itself: RequestInfo says its own name.
    ("GET", "/api/v1/namespaces/d", ("get", "namespaces", "", "d", "d")),
    ("DELETE", "/api/v1/namespaces/d", ("delete", "namespaces", "", "d", "d")),
    ("PUT", "/api/v1/namespaces/d/finalize", ("update", "namespaces", "finalize", "d", "d")),
    ("GET", "/api/v1/namespaces/d/status", ("get", "namespaces", "status", "d", "d")),
    ("GET", "/api/v1/nodes/n", ("get", "nodes", "", "", "n")),
    ("GET", "/api/v1/nodes/n/proxy/configz", ("get", "nodes", "proxy", "", "n")),
    ("GET", "/apis/apps/v1/namespaces/d/deployments/w/scale", ("get", "deployments", "scale", "d", "w")),
    ("GET", "/api/v1/namespaces/d/services/web/proxy/x/y", ("get", "services", "proxy", "d", "web")),
    ("GET", "/api/v1/namespaces/d/services/https:web:8443/proxy/", ("get", "services", "proxy", "d", "https:web:8443")),
    ("POST", "/api/v1/namespaces/d/services/web/proxy/x", ("create", "services", "proxy", "d", "web")),
    ("DELETE", "/api/v1/namespaces/d/pods/p:80/proxy/x", ("delete", "pods", "proxy", "d", "p:80")),
)

BODIES: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("POST", "configmaps"): ("application/json", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}),
    ("PUT", "configmaps"): ("application/json", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}),
    ("PATCH", "configmaps"): ("application/merge-patch+json", {"data": {"a": "1"}}),
    ("PUT", "namespaces"): (
        "application/json",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "d"}, "spec": {"finalizers": []}},
    ),
}


def ask(caller: Agent, method: str, target: str, resource: str, marker: str) -> Response:
    """The request with a body that suits it, and the marker as its user agent: targets stay as the table has them."""
    content_type, document = BODIES.get((method, resource), ("", {}))
    headers = {"User-Agent": marker, **({"Content-Type": content_type} if content_type else {})}
    return caller.request(method, target, headers, json.dumps(document).encode() if document else b"")


@pytest.mark.parametrize(("method", "target", "meaning"), MEANINGS)
def test_the_journal_says_what_the_api_server_would_say(
    method: str, target: str, meaning: tuple[str, str, str, str, str], echo_gate: Gate, caller: Agent, marker: str
) -> None:
    answer = ask(caller, method, target, meaning[1], marker)

    event = echo_gate.wait_for_event(marker)
    reference = event["objectRef"]
    fields = ("resource", "subresource", "namespace", "name")
    assert answer.status == 200
    assert (event["verb"], *(reference.get(name, "") for name in fields)) == meaning
    assert event["requestURI"].partition("?")[0] == target.partition("?")[0]
    assert event["annotations"]["narrowgate.dev/decision"] == "allow"


# The prefixes of long ago: /watch in front means the verb, /proxy in front means a road into the network.
LEGACY = (
    ("/api/v1/watch/namespaces/d/pods", "watch"),
    ("/api/v1/watch/namespaces/d/pods/p", "watch"),
    ("/api/v1/watch/pods", "watch"),
    ("/api/v1/proxy/namespaces/d/pods/p", "proxy"),
    ("/api/v1/proxy/nodes/n", "proxy"),
)


@pytest.mark.parametrize(("target", "verb"), LEGACY)
def test_a_legacy_prefix_is_never_taken_for_a_plain_read(
    target: str, verb: str, echo_gate: Gate, reader: Agent, echo: Echo, marker: str
) -> None:
    answer = reader.request("GET", target, {"User-Agent": marker})

    # Who may get and list may neither watch nor proxy; the gate may also refuse such targets altogether.
    assert answer.status in (400, 403, 404)
    assert echo.with_marker(marker) == []
    assert echo_gate.wait_for_event(marker)["responseStatus"]["code"] == answer.status


@pytest.fixture(scope="module")
def reader(echo_gate: Gate) -> Agent:
    """Gets and lists pods, services and nodes, and nothing below them."""
    rule = {
        "id": "read",
        "effect": "allow",
        "verbs": ["get", "list"],
        "apiGroups": [""],
        "resources": ["pods", "services", "nodes", "configmaps"],
        "namespaces": ["*"],
    }
    return echo_gate.agent("reader", [rule], cluster="echo")


# What a reader of the objects themselves does not hold: each is a right of its own.
BEYOND_READING = (
    ("GET", f"{PODS}?watch=1"),
    ("GET", f"{PODS}?watch"),
    ("GET", f"{PODS}/p/log"),
    ("GET", f"{PODS}/p/exec?command=sh"),
    ("POST", f"{PODS}/p/exec?command=sh"),
    ("GET", f"{PODS}/p/attach"),
    ("POST", f"{PODS}/p/attach"),
    ("GET", f"{PODS}/p/portforward"),
    ("POST", f"{PODS}/p/portforward"),
    ("GET", f"{PODS}/p/proxy/"),
    ("GET", f"{PODS}/https:p:443/proxy/x"),
    ("GET", "/api/v1/namespaces/d/services/web/proxy/"),
    ("GET", "/api/v1/nodes/n/proxy/exec/d/p/c?command=sh"),
    ("PATCH", f"{PODS}/p/ephemeralcontainers"),
    ("POST", f"{PODS}/p/eviction"),
    ("POST", f"{PODS}/p/binding"),
    ("PUT", f"{PODS}/p/status"),
    ("POST", "/api/v1/namespaces/d/serviceaccounts/default/token"),
    ("DELETE", f"{PODS}/p"),
    ("DELETE", PODS),
    ("GET", "/api/v1/namespaces/d/secrets/s"),
    ("GET", "/api/v1/namespaces/d/secrets"),
    ("GET", "/apis/apps/v1/namespaces/d/deployments"),
    ("GET", "/metrics"),
    ("GET", "/logs/"),
    ("GET", "/debug/pprof/"),
)


@pytest.mark.parametrize(("method", "target"), BEYOND_READING)
def test_reading_an_object_is_no_right_to_what_is_below_or_beside_it(
    method: str, target: str, echo_gate: Gate, reader: Agent, echo: Echo, marker: str
) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}
    streams = any(word in target for word in ("/exec?", "/attach", "/portforward"))
    headers = {"User-Agent": marker, **(upgrade if streams and "/nodes/" not in target else {})}
    body = b""
    if method in ("PATCH", "POST", "PUT") and not streams:
        kind = "Eviction" if target.endswith("eviction") else "Binding" if target.endswith("binding") else "Pod"
        document = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "p"}}
        if target.endswith("token"):
            document = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
        body = json.dumps(document).encode()
        headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"

    answer = reader.request(method, target, headers, body)

    assert answer.status == 403
    assert answer.kube_status()["reason"] == "Forbidden"
    assert echo.with_marker(marker) == []
    event = echo_gate.wait_for_event(marker)
    assert event["annotations"]["narrowgate.dev/decision"] == "deny"
    if streams and "/nodes/" not in target:
        assert event["verb"] == "create"


def test_a_right_to_get_secrets_is_none_to_list_watch_or_delete_them(echo_gate: Gate, echo: Echo, marker: str) -> None:
    rule = {
        "id": "one-secret",
        "effect": "allow",
        "verbs": ["get"],
        "apiGroups": [""],
        "resources": ["secrets"],
        "namespaces": ["d"],
        "names": ["wanted"],
    }
    agent = echo_gate.agent("one-secret", [rule], cluster="echo")
    secrets = "/api/v1/namespaces/d/secrets"

    def status(method: str, target: str) -> int:
        return agent.request(method, target, {"User-Agent": marker}).status

    assert status("GET", f"{secrets}/wanted") == 200
    assert status("GET", f"{secrets}/other") == 403
    assert status("GET", secrets) == 403
    assert status("GET", f"{secrets}?watch=1") == 403
    assert status("GET", f"{secrets}?fieldSelector=metadata.name%3Dwanted") == 403
    assert status("GET", "/api/v1/secrets") == 403
    assert status("DELETE", secrets) == 403
    assert status("DELETE", f"{secrets}?dryRun=All") == 403
    assert len(echo.with_marker(marker)) == 1


def test_a_right_to_exec_holds_for_both_methods_and_both_protocols(echo_gate: Gate, echo: Echo, marker: str) -> None:
    rule = {
        "id": "exec",
        "effect": "allow",
        "verbs": ["create"],
        "apiGroups": [""],
        "resources": ["pods/exec"],
        "namespaces": ["d"],
        "mountedSecrets": "mask",
        # What answers here is no pod that says what it runs as.
        "pods": {"strongerAccounts": "allow"},
    }
    agent = echo_gate.agent("exec", [rule, ALLOW_ALL_RULES[2]], cluster="echo")
    websocket = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
    }
    spdy = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}

    for method, headers in (("GET", websocket), ("POST", spdy), ("GET", spdy)):
        with agent.connect() as connection:
            connection.send(agent.bytes_of(method, f"{PODS}/switch/exec?command={marker}", headers))
            status, _ = connection.head()
        assert status == 101
    assert len(echo.with_marker(marker)) == 3


# --- what nobody knows ---

UNKNOWN = (
    "/api/v1/namespaces/d/nonsense",
    "/api/v1/namespaces/d/nonsense/x",
    "/api/v2/namespaces/d/pods",
    "/apis/nonsense.example.com/v1/namespaces/d/things",
    "/apis/apps/v9/namespaces/d/deployments",
    "/apis/apps/v1/namespaces/d/pods",
    "/api/v1/namespaces/d/Pods",
    "/api/v1/namespaces/d/pod",
    "/api/v1/namespaces/d/pods/p/nonsense",
    "/api/v1/namespaces/d/configmaps/c/status",
    "/api/v1/namespaces/d/pods/p/exec/more",
    # Of the cluster, on a namespace's path (CVE-2019-11247).
    "/api/v1/namespaces/d/nodes",
    "/api/v1/namespaces/d/nodes/n",
    "/api/v1/namespaces/d/persistentvolumes/v",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/d/clusterroles/admin",
    # And of a namespace, on the cluster's.
    "/api/v1/pods/p",
    "/api/v1/configmaps/c",
)


@pytest.mark.parametrize("target", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_discovery_does_not_list_is_refused_even_where_everything_is_allowed(
    method: str, target: str, caller: Agent, echo: Echo, marker: str
) -> None:
    answer = caller.request(method, target, {"User-Agent": marker})

    assert answer.status in (400, 403, 404)
    assert answer.message
    assert echo.with_marker(marker) == []
