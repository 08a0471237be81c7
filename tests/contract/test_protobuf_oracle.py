"""The API server writes its objects as protobuf and as JSON; the walker must read the names that JSON shows.

And the other way round: what the walker refuses, the API server does read, and not as one would think.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.api_server import ApiServer

from narrowgate.core.body import PROTOBUF, with_body
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.wire.protobuf import MAGIC, BrokenProtobuf, object_meta, read_envelope, read_names

OBJECTS_PER_RESOURCE = 20
LEAST_RESOURCES = 25
LEAST_OBJECTS = 100

POD_SPEC = {"containers": [{"name": "c", "image": "local/busybox:1"}], "nodeSelector": {"no-such": "node"}}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD_SPEC}
SELECTOR = {"matchLabels": {"a": "b"}}
RBAC = "/apis/rbac.authorization.k8s.io/v1"
MADE: list[tuple[str, str, dict[str, Any]]] = [
    ("/api/v1", "configmaps", {"data": {"a": "b"}}),
    ("/api/v1", "secrets", {"stringData": {"a": "b"}}),
    ("/api/v1", "serviceaccounts", {}),
    ("/api/v1", "pods", {"spec": POD_SPEC}),
    ("/api/v1", "podtemplates", {"template": TEMPLATE}),
    ("/api/v1", "services", {"spec": {"ports": [{"port": 80}]}}),
    ("/api/v1", "limitranges", {"spec": {"limits": []}}),
    ("/api/v1", "resourcequotas", {"spec": {"hard": {"pods": "50"}}}),
    ("/api/v1", "persistentvolumeclaims",
     {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
    ("/apis/apps/v1", "deployments", {"spec": {"replicas": 0, "selector": SELECTOR, "template": TEMPLATE}}),
    ("/apis/apps/v1", "statefulsets",
     {"spec": {"replicas": 0, "serviceName": "x", "selector": SELECTOR, "template": TEMPLATE}}),
    ("/apis/apps/v1", "daemonsets", {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    ("/apis/batch/v1", "jobs",
     {"spec": {"suspend": True, "template": {"spec": {**POD_SPEC, "restartPolicy": "Never"}}}}),
    ("/apis/networking.k8s.io/v1", "networkpolicies", {"spec": {"podSelector": {}}}),
    ("/apis/coordination.k8s.io/v1", "leases", {"spec": {}}),
    ("/apis/policy/v1", "poddisruptionbudgets", {"spec": {"selector": SELECTOR, "minAvailable": 1}}),
    (RBAC, "roles", {"rules": []}),
    (RBAC, "rolebindings", {"roleRef": {"apiGroup": RBAC.split("/")[2], "kind": "ClusterRole", "name": "view"}}),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("admin")) as running:
        for prefix, resource, content in MADE:
            path = f"{prefix}/namespaces/{running.namespace}/{resource}"
            made = running.ask("POST", path, {"metadata": {"name": f"a-{resource}"}, **content})
            assert made.code == 201, made
        yield running


def listable(server: ApiServer) -> Iterator[str]:
    """The path of every resource that can be listed and read one by one."""
    versions = [("/api/v1", "v1")]
    for group in server.ask("GET", "/apis").json["groups"]:
        version = group["preferredVersion"]["groupVersion"]
        versions.append((f"/apis/{version}", version))
    for prefix, _ in versions:
        for resource in server.ask("GET", prefix).json.get("resources", ()):
            if {"get", "list"} <= {*resource["verbs"]} and "/" not in resource["name"]:
                yield f"{prefix}|{resource['name']}"


def test_the_walker_reads_the_names_that_json_shows_for_every_kind(server: ApiServer):
    resources, objects = set(), 0
    for prefix, resource in (entry.split("|") for entry in listable(server)):
        for item in server.ask("GET", f"{prefix}/{resource}?limit={OBJECTS_PER_RESOURCE}").json["items"]:
            metadata = item["metadata"]
            scope = f"namespaces/{metadata['namespace']}/" if metadata.get("namespace") else ""
            path = f"{prefix}/{scope}{resource}/{metadata['name']}"
            answer = server.ask("GET", path, accept=PROTOBUF)
            if answer.code in (404, 406):
                continue  # gone meanwhile, or of a kind that has no protobuf
            assert answer.code == 200, answer
            names = read_names(answer.body)
            assert f"/{names.api_version}" in prefix
            assert names.kind
            assert (names.name, names.namespace, names.generate_name, names.uid) == (
                metadata["name"],
                metadata.get("namespace", ""),
                metadata.get("generateName", ""),
                metadata.get("uid", ""),  # a ComponentStatus has none
            )
            resources.add(resource)
            objects += 1
    assert len(resources) >= LEAST_RESOURCES
    assert objects >= LEAST_OBJECTS


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def config_map(raw: bytes) -> bytes:
    return MAGIC + field(1, field(1, b"v1") + field(2, b"ConfigMap")) + field(2, raw)


def named(name: bytes) -> bytes:
    return field(1, field(1, name))


def create(server: ApiServer, body: bytes) -> Any:
    return server.ask("POST", f"/api/v1/namespaces/{server.namespace}/configmaps?dryRun=All", body, PROTOBUF)


def test_the_api_server_creates_what_the_walker_says(server: ApiServer):
    created = create(server, config_map(named(b"plain")))
    assert created.code == 201
    assert created.json["metadata"]["name"] == read_names(config_map(named(b"plain"))).name == "plain"


@pytest.mark.parametrize(
    "raw",
    [
        named(b"shown") + named(b"hidden"),
        named(b"shown") + varint((1 << 32 | 1) << 3 | 2) + varint(8) + field(1, b"hidden"),
        field(1, field(1, b"shown") + field(1, b"hidden")),
        field(1, field(1, b"shown") + varint((1 << 32 | 1) << 3 | 2) + varint(6) + b"hidden"),
    ],
    ids=["second metadata", "field number beyond 32 bits", "second name", "name beyond 32 bits"],
)
def test_what_the_walker_refuses_the_api_server_reads_its_own_way(server: ApiServer, raw: bytes):
    created = create(server, config_map(raw))
    assert created.code == 201, created
    assert created.json["metadata"]["name"] == "hidden"
    with pytest.raises(BrokenProtobuf):
        read_names(config_map(raw))


def test_a_list_in_protobuf_has_an_envelope_and_items_too(server: ApiServer):
    body = server.ask("GET", f"/api/v1/namespaces/{server.namespace}/configmaps", accept=PROTOBUF).body
    assert read_envelope(body).kind == "ConfigMapList"


def test_a_written_object_is_held_against_the_path_as_the_api_server_does(server: ApiServer):
    path = f"/api/v1/namespaces/{server.namespace}/configmaps/a-configmaps"
    body = server.ask("GET", path, accept=PROTOBUF).body
    info = RequestInfo(
        is_resource_request=True, path=path, verb="update", api_version="v1", resource="configmaps",
        namespace=server.namespace, name="a-configmaps",
    )  # fmt: skip
    assert object_meta(read_envelope(body).raw).namespace == server.namespace
    assert with_body(Intent(cluster="c", info=info), PROTOBUF, body, read_names).info == info
    assert server.ask("PUT", f"{path}?dryRun=All", body, PROTOBUF).code == 200
    other = config_map(named(b"other"))
    assert server.ask("PUT", f"{path}?dryRun=All", other, PROTOBUF).code == 400
    with pytest.raises(Malformed) as caught:
        with_body(Intent(cluster="c", info=info), PROTOBUF, other, read_names)
    assert caught.value.code == 400
