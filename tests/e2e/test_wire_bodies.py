"""The object in the body counts: its name, its namespace, its kind, and that there is one way to read it.

Raw requests at a running gate in front of an upstream that remembers what reached it.
"""

from __future__ import annotations

import json

import pytest
from tests.e2e.echo import Echo
from tests.e2e.gate import Agent, Gate

CONFIG_MAPS = "/api/v1/namespaces/d/configmaps"
JSON = {"Content-Type": "application/json"}


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


def config_map(name: str, **metadata: str) -> bytes:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return json.dumps(document).encode()


# What the path says and the body denies, in a word; each names the method, the target and the body.
CONTRADICTIONS: dict[str, tuple[str, str, dict[str, str], bytes]] = {
    "another name": ("PUT", f"{CONFIG_MAPS}/a", JSON, config_map("b")),
    "another namespace": ("POST", CONFIG_MAPS, JSON, config_map("a", namespace="e")),
    "another namespace in an update": ("PUT", f"{CONFIG_MAPS}/a", JSON, config_map("a", namespace="e")),
    "another version": (
        "POST",
        CONFIG_MAPS,
        JSON,
        b'{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"a"}}',
    ),
    "a name twice": (
        "POST",
        CONFIG_MAPS,
        JSON,
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","name":"b"}}',
    ),
    "metadata twice": (
        "POST",
        CONFIG_MAPS,
        JSON,
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"metadata":{"name":"b"}}',
    ),
    "two objects": ("POST", CONFIG_MAPS, JSON, config_map("a") + config_map("b")),
    "text behind the object": ("POST", CONFIG_MAPS, JSON, config_map("a") + b"x"),
    "no JSON": ("POST", CONFIG_MAPS, JSON, b"hello"),
    "an array": ("POST", CONFIG_MAPS, JSON, b"[" + config_map("a") + b"]"),
    "half an object": ("POST", CONFIG_MAPS, JSON, config_map("a")[:-5]),
    "not UTF-8": ("POST", CONFIG_MAPS, JSON, config_map("a").replace(b"ConfigMap", b"ConfigMap\xff")),
    "NaN": ("POST", CONFIG_MAPS, JSON, config_map("a").replace(b'"a"', b"NaN")),
    "depth without end": ("POST", CONFIG_MAPS, JSON, b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "YAML with a key twice": (
        "POST",
        CONFIG_MAPS,
        {"Content-Type": "application/yaml"},
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nmetadata: {name: b}\n",
    ),
    "a bomb of YAML aliases": (
        "POST",
        CONFIG_MAPS,
        {"Content-Type": "application/yaml"},
        b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        b"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
    ),
    "a patch that renames": (
        "PATCH",
        f"{CONFIG_MAPS}/a",
        {"Content-Type": "application/merge-patch+json"},
        b'{"metadata":{"name":"b"}}',
    ),
    "a patch that moves": (
        "PATCH",
        f"{CONFIG_MAPS}/a",
        {"Content-Type": "application/merge-patch+json"},
        b'{"metadata":{"namespace":"e"}}',
    ),
    "an applied object of another name": (
        "PATCH",
        f"{CONFIG_MAPS}/a?fieldManager=t&force=true",
        {"Content-Type": "application/apply-patch+yaml"},
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_body_that_contradicts_its_path_or_itself_is_refused(
    name: str, caller: Agent, echo: Echo, marker: str
) -> None:
    method, target, headers, body = CONTRADICTIONS[name]

    answer = caller.request(method, target, {**headers, "User-Agent": marker}, body)

    assert answer.status in (400, 403, 415, 422)
    assert answer.message
    assert echo.with_marker(marker) == []


@pytest.mark.parametrize(
    ("method", "content_type"),
    [
        ("POST", "application/cbor"),
        ("POST", "text/plain"),
        ("POST", "application/xml"),
        ("PATCH", "application/json"),
        ("PATCH", "application/nonsense-patch+json"),
        ("PATCH", "application/cbor"),
    ],
)
def test_a_body_in_a_language_the_gate_cannot_read_is_refused(
    method: str, content_type: str, caller: Agent, echo: Echo, marker: str
) -> None:
    target = CONFIG_MAPS if method == "POST" else f"{CONFIG_MAPS}/a"

    answer = caller.request(method, target, {"Content-Type": content_type, "User-Agent": marker}, config_map("a"))

    assert answer.status == 415
    assert answer.kube_status()["reason"] == "UnsupportedMediaType"
    assert echo.with_marker(marker) == []


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "application/yaml", ""]
)
def test_a_body_in_a_language_the_server_reads_passes_byte_for_byte(
    content_type: str, caller: Agent, echo: Echo, marker: str
) -> None:
    body = b' {"apiVersion": "v1",  "kind":"ConfigMap", "metadata": {"name":"a"}, "data": {"x": "\\u00e4"}} '
    headers = {"User-Agent": marker, **({"Content-Type": content_type} if content_type else {})}

    answer = caller.request("POST", CONFIG_MAPS, headers, body)

    assert answer.status == 200
    assert [request.body for request in echo.with_marker(marker)] == [body]


def test_a_dry_run_is_judged_as_the_real_thing(reader: Agent, echo: Echo, marker: str) -> None:
    headers = {**JSON, "User-Agent": marker}

    for method, target, body in (
        ("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("a")),
        ("PUT", f"{CONFIG_MAPS}/a?dryRun=All", config_map("a")),
        ("DELETE", f"{CONFIG_MAPS}/a?dryRun=All", b""),
        ("DELETE", f"{CONFIG_MAPS}/a", b'{"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"]}'),
    ):
        assert reader.request(method, target, headers, body).status == 403
    assert echo.with_marker(marker) == []


def test_create_is_judged_by_the_name_in_the_body(echo_gate: Gate, echo: Echo, marker: str) -> None:
    rule = {
        "id": "one-name",
        "effect": "allow",
        "verbs": ["create"],
        "apiGroups": [""],
        "resources": ["configmaps"],
        "namespaces": ["d"],
        "names": ["mine"],
    }
    agent = echo_gate.agent("one-name", [rule], cluster="echo")
    generated = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"mine"}}'

    statuses = [
        agent.request("POST", CONFIG_MAPS, {**JSON, "User-Agent": marker}, body).status
        for body in (config_map("mine"), config_map("other"), generated)
    ]

    assert statuses == [200, 403, 403]
    assert len(echo.with_marker(marker)) == 1
