"""What reaches the API server is built anew: headers of a caller that mean something to it never do.

An upstream that remembers every header stands behind the gate. Filtering what came is what went wrong elsewhere
(CVE-2021-31999: a hop-by-hop `Connection: Impersonate-User` dropped the proxy's own header).
"""

from __future__ import annotations

import json

import pytest
from tests.e2e.echo import TOKEN, Echo
from tests.e2e.gate import Agent
from tests.e2e.wire import Response

TARGET = "/api/v1/namespaces/d/configmaps"

IMPERSONATION = (
    "Impersonate-User",
    "impersonate-user",
    "IMPERSONATE-USER",
    "Impersonate-Group",
    "Impersonate-Uid",
    "Impersonate-Extra-Scopes",
    "Impersonate-Extra-example.com%2fkey",
)

# Headers by which proxies tell servers who the caller is, where it is from, or what to do instead.
TRUSTED_BY_SERVERS = (
    "X-Remote-User",
    "X-Remote-Uid",
    "X-Remote-Group",
    "X-Remote-Extra-Scopes",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Uri",
    "X-Forwarded-Client-Cert",
    "X-Real-Ip",
    "X-Original-Url",
    "X-Rewrite-Url",
    "Forwarded",
    "Via",
    "True-Client-Ip",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Cookie",
    "X-Anything-Else",
    "Audit-Id",
    "Traceparent",
)

# Headers that belong to one connection (RFC 9110 7.6.1).
HOP_BY_HOP = ("Keep-Alive", "TE", "Trailer", "Proxy-Connection", "Upgrade-Insecure-Requests")


def only(echo: Echo, marker: str) -> dict[str, list[str]]:
    """The headers of the one request with the marker, by lower-case name."""
    (request,) = echo.with_marker(marker)
    return {name: request.values(name) for name in request.names()}


@pytest.mark.parametrize("header", IMPERSONATION)
def test_a_caller_that_asks_to_be_somebody_else_is_refused_and_told_so(
    header: str, caller: Agent, echo: Echo, marker: str
) -> None:
    answer = caller.request("GET", f"{TARGET}/{marker}", {header: "system:admin"})

    assert answer.status in (400, 403)
    assert "impersonat" in answer.message.lower()
    assert echo.with_marker(marker) == []


@pytest.mark.parametrize("header", TRUSTED_BY_SERVERS + HOP_BY_HOP)
def test_a_header_that_is_not_the_callers_to_send_goes_nowhere(
    header: str, caller: Agent, echo: Echo, marker: str
) -> None:
    value = f"said-{marker[5:]}"

    answer = caller.request("GET", f"{TARGET}/{marker}", {header: value})

    assert answer.status in (200, 400)
    for request in echo.with_marker(marker):
        assert value not in [sent for _, sent in request.headers]


def test_the_callers_credential_is_replaced_by_the_gates_own(caller: Agent, echo: Echo, marker: str) -> None:
    answer = caller.request("GET", f"{TARGET}/{marker}")

    assert answer.status == 200
    headers = only(echo, marker)
    assert headers["authorization"] == [f"Bearer {TOKEN}"]
    assert caller.token not in json.dumps(headers)


def test_the_gates_credential_is_in_no_answer(caller: Agent) -> None:
    for name in ("anything", "garbage", "hang-up", "redirect", "refuse", "hop-by-hop"):
        answer = caller.request("GET", f"{TARGET}/{name}")

        assert TOKEN.encode() not in answer.body
        assert TOKEN not in str(answer.headers)


@pytest.mark.parametrize(
    "named", ["Authorization", "Impersonate-User", "Host", "Accept, Authorization", "Content-Length", "User-Agent"]
)
def test_a_connection_header_takes_nothing_from_what_the_gate_sends(
    named: str, caller: Agent, echo: Echo, marker: str
) -> None:
    answer = caller.request("GET", f"{TARGET}/{marker}", {"Connection": f"keep-alive, {named}", "User-Agent": "me/1"})

    assert answer.status in (200, 400)
    if answer.status == 200:
        headers = only(echo, marker)
        assert headers["authorization"] == [f"Bearer {TOKEN}"]
        assert len(headers["host"]) == 1


def test_the_upstream_is_addressed_by_its_own_name(caller: Agent, echo: Echo, marker: str) -> None:
    assert caller.request("GET", f"{TARGET}/{marker}", {"Host": "somebody.else:1"}).status == 200

    assert only(echo, marker)["host"] == [f"127.0.0.1:{echo.port}"]


def test_what_clients_say_about_content_is_passed_on(caller: Agent, echo: Echo, marker: str) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": marker}}).encode()
    sent = {"Accept": accept, "Content-Type": "application/json", "User-Agent": f"kubectl/{marker}"}

    assert caller.request("POST", TARGET, sent, body).status == 200

    headers = only(echo, marker)
    assert headers["accept"] == [accept]
    assert headers["content-type"] == ["application/json"]
    # The cluster's own audit log shows whose request it was by this.
    assert headers["user-agent"] == [f"kubectl/{marker}"]


def test_nothing_but_known_names_reaches_the_upstream(caller: Agent, echo: Echo, marker: str) -> None:
    known = {
        "accept",
        "accept-encoding",
        "authorization",
        "audit-id",
        "connection",
        "content-length",
        "content-type",
        "host",
    }

    assert caller.request("GET", f"{TARGET}/{marker}", {"X-New-Tomorrow": "1", "Accept": "*/*"}).status == 200

    assert set(only(echo, marker)) <= known | {"user-agent", "if-none-match", "if-modified-since"}


def test_a_bearer_token_in_a_websocket_subprotocol_never_goes_on(caller: Agent, echo: Echo, marker: str) -> None:
    # Browsers cannot set headers on WebSockets: the API server takes base64url.bearer.authorization.k8s.io.<token>.
    protocols = "base64url.bearer.authorization.k8s.io.c3lzdGVtOmFkbWlu, v5.channel.k8s.io"
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": protocols,
    }

    with caller.connect() as connection:
        connection.send(caller.bytes_of("GET", f"/api/v1/namespaces/d/pods/switch/exec?command={marker}", headers))
        status, _ = connection.head()

    assert status in (101, 400)
    for request in echo.with_marker(marker):
        assert request.values("sec-websocket-protocol") == ["v5.channel.k8s.io"]


def test_only_the_credential_of_the_caller_counts_when_the_subprotocol_brings_another(
    caller: Agent, echo: Echo, marker: str
) -> None:
    headers = {
        "Authorization": "Bearer nobody",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
    }

    answer = caller.request("GET", f"/api/v1/namespaces/d/pods/switch/exec?command={marker}", headers)

    assert answer.status == 401
    assert echo.with_marker(marker) == []


def test_what_belongs_to_the_upstream_connection_stays_behind(caller: Agent) -> None:
    answer = caller.request("GET", f"{TARGET}/hop-by-hop")

    names = {name for name, _ in answer.headers}
    assert answer.status == 200
    assert not names & {"keep-alive", "proxy-authenticate", "te", "trailer"}
    assert answer.header("x-kept") == "1"
    # Kubernetes' warnings are for the person at kubectl.
    assert "kept" in answer.header("warning")


# --- credentials ---


def unauthorized(answer: Response) -> str:
    status = answer.kube_status()
    assert answer.status == 401
    assert status["reason"] == "Unauthorized"
    assert answer.header("www-authenticate").startswith("Bearer")
    return str(status["message"])


@pytest.mark.parametrize(
    "credential",
    [
        "Bearer nobody",
        "Bearer ng1_x_y",
        "Bearer ",
        "Bearer",
        "Basic YWRtaW46YWRtaW4=",
        "Negotiate abc",
        "",
        f"Bearer {TOKEN}",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06YWRtaW4ifQ.",
        "Bearer " + "a" * 20_000,
    ],
)
def test_a_credential_that_is_none_opens_nothing(credential: str, caller: Agent, echo: Echo, marker: str) -> None:
    answer = caller.request("GET", f"{TARGET}/{marker}", {"Authorization": credential})

    message = unauthorized(answer)
    assert message
    if len(credential) > 20:
        assert credential[7:] not in message
    assert echo.with_marker(marker) == []


def test_no_credential_opens_nothing(caller: Agent, echo: Echo, marker: str) -> None:
    with caller.connect() as connection:
        connection.send(f"GET {TARGET}/{marker} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
        answer = connection.response()

    unauthorized(answer)
    assert echo.with_marker(marker) == []


def test_a_credential_with_one_letter_changed_opens_nothing(caller: Agent, echo: Echo, marker: str) -> None:
    for position in (-1, len(caller.token) // 2, 5):
        letters = list(caller.token)
        letters[position] = "A" if letters[position] != "A" else "B"
        answer = caller.request("GET", f"{TARGET}/{marker}", {"Authorization": f"Bearer {''.join(letters)}"})

        unauthorized(answer)
    assert echo.with_marker(marker) == []


def test_a_credential_in_the_query_opens_nothing(caller: Agent, echo: Echo, marker: str) -> None:
    with caller.connect() as connection:
        raw = f"GET {TARGET}/{marker}?access_token={caller.token} HTTP/1.1\r\nHost: g\r\n\r\n"
        connection.send(raw.encode())
        answer = connection.response()

    unauthorized(answer)
    assert echo.with_marker(marker) == []


def test_the_scheme_of_a_credential_is_read_in_any_case(caller: Agent, marker: str) -> None:
    # RFC 9110 11.1: the scheme is case-insensitive; Kubernetes reads it so.
    assert caller.request("GET", f"{TARGET}/{marker}", {"Authorization": f"bearer {caller.token}"}).status == 200


# --- one cluster for a credential ---


def test_the_cluster_may_be_named_in_front_of_the_path(caller: Agent, echo: Echo, marker: str) -> None:
    answer = caller.request("GET", f"/clusters/echo{TARGET}/{marker}")

    assert answer.status == 200
    assert [request.target for request in echo.with_marker(marker)] == [f"{TARGET}/{marker}"]


@pytest.mark.parametrize("prefix", ["/clusters/other", "/clusters/", "/clusters//", "/clusters/Echo"])
def test_another_clusters_name_is_refused(prefix: str, caller: Agent, echo: Echo, marker: str) -> None:
    answer = caller.request("GET", f"{prefix}{TARGET}/{marker}")

    assert answer.status in (400, 403, 404)
    assert answer.message
    assert echo.with_marker(marker) == []


@pytest.mark.parametrize("path", ["/", "/clusters", "/console", "/metrics/../api", "/api/v1/../../console"])
def test_nothing_but_the_clusters_lives_on_this_port(path: str, caller: Agent) -> None:
    answer = caller.request("GET", path)

    # Either refused by the gate, or the upstream's own answer to that very path.
    assert answer.status in (200, 400, 403, 404)
    if answer.status == 200:
        assert answer.json()["target"] == path
