"""Credentials in objects: what opens an API server by itself is told by its kind, and never shown."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
import yaml

from narrowgate.core.agent_bundle import Bundle, Way, bundle_objects
from narrowgate.core.credential_roads import (
    LARGEST,
    MOST_TOKENS,
    Gate,
    roads_of_config_map,
    roads_of_secret,
    roads_of_variables,
)
from narrowgate.core.roads import PodsLike

AT_MOST_SECONDS = 40.0
"""Far more than a loaded machine needs for a few hundred KB."""

GATE = Gate("narrowgate", (("gate.corp", 8443),))


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def token(audience: Any = "https://kubernetes.default.svc", **claims: Any) -> str:
    said = {"sub": "system:serviceaccount:ci:builder", "aud": audience, **claims}
    return f"{part({'alg': 'RS256', 'kid': 'abc'})}.{part(said)}.{'s' * 40}"


def kubeconfig(server: str = "https://10.0.0.1:6443", **user: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": user}],
        }
    )


def found(text: str) -> list[str]:
    """What is told of a text, in each place where it may stand; each place tells the same."""
    of_map = [road.found for road in roads_of_config_map({"metadata": {"name": "m"}, "data": {"k": text}}, GATE)]
    encoded = base64.b64encode(text.encode()).decode()
    of_secret = [road.found for road in roads_of_secret({"metadata": {"name": "s"}, "data": {"k": encoded}}, GATE)]
    container = {"name": "c", "env": [{"name": "V", "value": text}]}
    pods = PodsLike(
        where="pod p", labels={}, annotations={}, spec={"containers": [container]}, account="default", runs=True
    )
    of_pods = [road.found for road in roads_of_variables(pods, GATE)]
    assert of_map == of_secret == of_pods
    return of_map


def test_a_token_of_an_account_is_told_by_the_account_and_is_not_shown() -> None:
    (said,) = found(f"export TOKEN='{token()}'")
    assert said == "holds a token of ci/builder"
    # One kind of finding for each account, however often it stands there.
    assert len(found(f"{token()}\n{token()}")) == 1


@pytest.mark.parametrize("audience", ["narrowgate", ["narrowgate"]])
def test_a_token_for_the_gate_alone_is_none(audience: Any) -> None:
    assert found(token(audience)) == []


def test_a_token_for_the_gate_and_others_is_one() -> None:
    assert len(found(token(["narrowgate", "https://kubernetes.default.svc"]))) == 1


@pytest.mark.parametrize(
    "text",
    ["", "eyJ", "a.b.c", token(sub="alice"), f"eyJhbGciOiJub25lIn0.{'eyJ' + 'A' * 30}.{'s' * 40}", "clusters: users:",
     "users: [\nclusters", "[users, clusters]"],
)  # fmt: skip
def test_what_is_no_credential_of_kubernetes_is_passed_over(text: str) -> None:
    assert found(text) == []


def test_a_token_of_a_legacy_account_is_told_by_its_claims() -> None:
    assert found(token(sub="x", **{"kubernetes.io": {}})) == ["holds a token of x"]


@pytest.mark.parametrize(
    ("user", "what"),
    [
        ({"token": "abc"}, "a token"),
        ({"client-key-data": "abc"}, "a client certificate"),
        ({"exec": "abc"}, "a credential plugin"),
        ({"password": "abc"}, "a password"),
    ],
)
def test_a_kubeconfig_with_a_credential_is_told_with_its_server(user: dict[str, str], what: str) -> None:
    assert found(kubeconfig(**user)) == [f"holds a kubeconfig with {what} for https://10.0.0.1:6443"]
    assert found(json.dumps(yaml.safe_load(kubeconfig(**user))))


def test_a_kubeconfig_without_a_credential_or_for_the_gate_is_none() -> None:
    assert found(kubeconfig(tokenFile="/var/run/token")) == []
    assert found(kubeconfig("https://gate.corp:8443/clusters/prod", token="abc")) == []
    assert len(found(kubeconfig("https://gate.corp/clusters/prod", token="abc"))) == 1


@pytest.mark.parametrize("odd", ["name: y\n", "a: 1\na: 2\n", "---\nb: 1\n", "when: 2020-01-01\n", "&x a: *x\n"])
def test_a_kubeconfig_that_is_not_the_same_to_every_reader_is_told_too(odd: str) -> None:
    (said,) = found(kubeconfig(token="abc") + odd)
    assert said in ("holds what may be a kubeconfig, with a token", "holds a kubeconfig with a token for "
                    "https://10.0.0.1:6443")  # fmt: skip
    # The gate's own file beside it is no excuse, and a text without a credential is none.
    assert found(kubeconfig(tokenFile="/t") + odd) == []


def test_a_kubeconfig_in_braces_that_is_not_the_same_to_every_reader_is_told_too() -> None:
    for user in ("token: abc", "'token': abc", "username: x, token: abc"):
        text = f"{{odd: y, clusters: [], users: [{{name: u, user: {{{user}}}}}]}}"
        assert found(text) == ["holds what may be a kubeconfig, with a token"]


def test_a_password_in_the_address_of_a_server_is_not_shown() -> None:
    said = found(kubeconfig("https://admin:swordfish@10.0.0.1:6443", token="abc"))
    assert said == ["holds a kubeconfig with a token for https://10.0.0.1:6443"]


def test_what_is_made_to_be_looked_at_for_long_is_not() -> None:
    before = time.monotonic()
    assert found("users clusters : : {[" + "\n" * (LARGEST // 2)) == []
    assert found("eyJ" * (LARGEST // 4)) == []
    # Gone through from each line to its end, the first alone takes minutes.
    assert time.monotonic() - before < AT_MOST_SECONDS


def test_claims_that_nest_without_end_are_none() -> None:
    deep = base64.urlsafe_b64encode(b'{"a":' + b"[" * 5000).decode().rstrip("=")
    assert found(f"{part({'alg': 'RS256'})}.{deep}.{'s' * 40}") == []


def test_kinds_of_secrets_that_are_tokens_are_told_without_a_look_inside() -> None:
    legacy = {
        "metadata": {"name": "s", "annotations": {"kubernetes.io/service-account.name": "builder"}},
        "type": "kubernetes.io/service-account-token",
        "data": {"token": base64.b64encode(token().encode()).decode()},
    }
    (road,) = roads_of_secret(legacy, GATE)
    assert road.found == "holds a token of account builder for the API server, which does not expire"
    (road,) = roads_of_secret({"metadata": {"name": "s"}, "type": "bootstrap.kubernetes.io/token"}, GATE)
    assert "bootstrap token" in road.found


def test_commands_are_looked_at_as_variables_are() -> None:
    container = {"name": "c", "command": ["sh", "-c", f"curl -H 'Authorization: Bearer {token()}'"], "args": "odd"}
    pods = PodsLike(
        where="pod p", labels={}, annotations={}, spec={"initContainers": [container]}, account="default", runs=True
    )
    (road,) = roads_of_variables(pods, GATE)
    assert (road.where, road.found) == ("pod p, container c, its command", "holds a token of ci/builder")


def test_how_much_is_looked_at_has_a_limit() -> None:
    assert found("x" * LARGEST + token()) == []
    many = "\n".join(token(sub=f"system:serviceaccount:ci:a{number}") for number in range(MOST_TOKENS + 5))
    assert len(found(many)) == MOST_TOKENS


def test_binary_data_and_what_is_not_base64_do_no_harm() -> None:
    made = {"metadata": {"name": "m"}, "binaryData": {"k": base64.b64encode(b"\xff" + token().encode()).decode()}}
    assert len(list(roads_of_config_map(made, GATE))) == 1
    assert list(roads_of_secret({"metadata": {"name": "s"}, "data": {"k": "%%%"}}, GATE)) == []
    assert list(roads_of_secret({"metadata": "odd", "data": "odd"}, GATE)) == []


def test_what_the_bundle_puts_into_the_namespace_is_none() -> None:
    way = Way(host="10.0.0.5", port=8443, to=("10.0.0.5/32",), to_port=8443)
    made = Bundle(cluster="c", namespace="n", account="a", audience="narrowgate", authority="PEM", way=way)
    (config_map,) = (one for one in bundle_objects(made) if one["kind"] == "ConfigMap")
    assert list(roads_of_config_map(config_map, Gate("narrowgate"))) == []
