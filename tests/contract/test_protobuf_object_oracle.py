"""The API server writes every object as protobuf and as JSON: read as an object, the one must be the other.

And what is read of bytes that somebody tampered with must be what the API server reads of them, or be refused.
"""

from __future__ import annotations

import base64
import random
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from http.client import RemoteDisconnected
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.contract.api_server import ApiServer
from tests.contract.full_objects import CLUSTER_SCOPED, NAMESPACED, Document, named

from narrowgate.core.body import PROTOBUF
from narrowgate.core.malformed import Malformed
from narrowgate.wire.protobuf_object import UnknownField, read_object

SEED = 20261121
OBJECTS_PER_RESOURCE = 10
LEAST_KINDS = 40
LEAST_OBJECTS = 150
ATTEMPTS = 5
"""To get both forms of the same version of an object that its controller keeps writing."""
TAMPERED = 3000
LEAST_READ = 0.05
"""Share of tampered messages that both read: without it agreement could be bought by refusing."""
SUFFIX = secrets.token_hex(4)
NEVER_TWICE = {"services", "jobs", "customresourcedefinitions"}
"""Their creation makes something that the next may not ask for (node ports, a selector), or wants a fixed name."""
OVERWRITTEN = (".status", ".metadata", ".spec.template.spec.serviceAccount:")
"""What a creation may not say, and the old name of serviceAccountName, which gives way (core/v1/conversion.go)."""
DIFFERENT = ("uid", "creationTimestamp", "managedFields", "resourceVersion", "generation", "clusterIP", "clusterIPs")
"""What two dry runs of one creation differ in."""


def signing_request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "none")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def content_of(server: ApiServer, resource: str, content: Document) -> tuple[str, Document]:
    """What is to be created under which name, where that depends on the run."""
    name = f"narrowgate-{SUFFIX}"
    if resource == "customresourcedefinitions":
        group = f"{name}.narrowgate.dev"
        return f"nones.{group}", {"spec": {**content["spec"], "group": group}}
    if resource == "certificatesigningrequests":
        spec = {"request": signing_request(), "signerName": "narrowgate.dev/none", "usages": ["client auth"]}
        return name, {"spec": {**spec, "expirationSeconds": 600}}
    if resource == "events":
        return name, {**content, "involvedObject": {**content["involvedObject"], "namespace": server.namespace}}
    return name, content


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The API server with one full object of each kind in it."""
    made: list[str] = []
    refused: list[tuple[str, str]] = []
    with ApiServer(tmp_path_factory.mktemp("admin")) as running:
        try:
            for path, resource, content in paths(running):
                name, full = content_of(running, resource, content)
                answer = running.ask("POST", path, named(full, name))
                if answer.code == 201:
                    made.append(f"{path}/{name}")
                else:
                    refused.append((resource, answer.json.get("message")))
            assert refused == []
            yield running
        finally:
            for each in made:
                running.ask("DELETE", f"{each}?gracePeriodSeconds=0")


def paths(server: ApiServer) -> list[tuple[str, str, Document]]:
    within = [(f"{prefix}/namespaces/{server.namespace}/{name}", name, full) for prefix, name, full in NAMESPACED]
    return within + [(f"{prefix}/{name}", name, full) for prefix, name, full in CLUSTER_SCOPED]


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where two documents differ; absent, empty, zero and null are one."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        # An object within an object (a claim's template) has its type in JSON alone.
        untyped = {"apiVersion", "kind"} if path.endswith("]") and "metadata" in ours else set()
        for key in sorted((ours.keys() | theirs.keys()) - untyped):
            yield from differences(ours.get(key), theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif ours != theirs and (is_something(ours) or is_something(theirs)):
        yield f"{path}: {ours!r} is {theirs!r}"


def is_something(value: Any) -> bool:
    """Whether a value says anything: a message whose every field is empty says nothing either."""
    if isinstance(value, dict):
        return any(is_something(each) for each in value.values())
    return value not in (None, 0, False, "", [])


def both_forms(server: ApiServer, path: str) -> tuple[bytes, Any] | None:
    """An object as protobuf and as JSON, of one version; None where it is gone or has no protobuf form."""
    for _ in range(ATTEMPTS):
        before = server.ask("GET", path)
        binary = server.ask("GET", path, accept=PROTOBUF)
        after = server.ask("GET", path)
        if {before.code, binary.code, after.code} != {200} or not binary.body.startswith(b"k8s\x00"):
            return None
        if before.json == after.json:
            return binary.body, after.json
    return None


def listed(server: ApiServer) -> Iterator[tuple[str, str]]:
    """Group version and path of some objects of every resource that can be listed."""
    versions = [("/api/v1", "v1")]
    for group in server.ask("GET", "/apis").json["groups"]:
        versions += [(f"/apis/{each['groupVersion']}", each["groupVersion"]) for each in group["versions"]]
    for base, version in versions:
        for resource in server.ask("GET", base).json["resources"]:
            if "/" in resource["name"] or "list" not in resource["verbs"]:
                continue
            found = server.ask("GET", f"{base}/{resource['name']}?limit={OBJECTS_PER_RESOURCE}").json
            for item in found.get("items") or []:
                namespace = item["metadata"].get("namespace")
                within = f"/namespaces/{namespace}" if namespace else ""
                yield f"{version}/{resource['kind']}", f"{base}{within}/{resource['name']}/{item['metadata']['name']}"


def test_every_full_object_is_what_its_json_says(server: ApiServer) -> None:
    for path, resource, content in paths(server):
        name, _ = content_of(server, resource, content)
        forms = both_forms(server, f"{path}/{name}")
        assert forms is not None, resource
        assert list(differences(read_object(forms[0]), forms[1])) == [], resource


def test_every_object_of_the_cluster_is_what_its_json_says(server: ApiServer) -> None:
    kinds: Counter[str] = Counter()
    unread: set[str] = set()
    for kind, path in listed(server):
        forms = both_forms(server, path)
        if forms is None:
            continue
        try:
            found = read_object(forms[0])
        except UnknownField:
            unread.add(kind)
            continue
        assert list(differences(found, forms[1])) == [], path
        kinds[kind] += 1
    assert len(kinds) >= LEAST_KINDS, kinds
    assert kinds.total() >= LEAST_OBJECTS
    # Schemas of lists and of further properties have no plain JSON form in protobuf's messages.
    assert unread <= {"apiextensions.k8s.io/v1/CustomResourceDefinition"}


def dry_run(server: ApiServer, path: str, document: Document) -> bytes:
    """An object as the API server would store it, in protobuf."""
    answer = server.ask("POST", f"{path}?dryRun=All", document, accept=PROTOBUF)
    assert answer.code == 201, answer
    return answer.body


def without_what_differs(document: Any) -> Any:
    if isinstance(document, Mapping):
        return {key: without_what_differs(value) for key, value in document.items() if key not in DIFFERENT}
    if isinstance(document, list):
        return [without_what_differs(each) for each in document]
    return document


def test_what_is_read_of_a_creation_is_what_the_api_server_creates(server: ApiServer) -> None:
    for path, resource, content in paths(server):
        if resource in NEVER_TWICE:
            continue
        _, full = content_of(server, resource, content)
        binary = dry_run(server, path, named(full, f"again-{SUFFIX}"))
        taken = server.ask("POST", f"{path}?dryRun=All", binary, PROTOBUF)
        assert taken.code == 201, (resource, taken)
        ours, theirs = without_what_differs(read_object(binary)), without_what_differs(taken.json)
        assert list(differences(ours, theirs)) == [], resource


def tampered(source: random.Random, message: bytes) -> bytes:
    """The message after one or two small changes: a byte, a piece twice, a piece less, a piece from elsewhere."""
    raw = bytearray(message)
    for _ in range(source.choice((1, 1, 1, 2))):
        at, length = source.randrange(4, len(raw)), source.choice((1, 1, 2, 4, 8, 20, 60))
        piece = bytes(raw[at : at + length])
        match source.randrange(4):
            case 0:
                raw[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF, raw[at] ^ 1 << source.randrange(8)))
            case 1:
                raw[at:at] = piece
            case 2:
                del raw[at : at + length]
            case _:
                elsewhere = source.randrange(4, len(raw))
                raw[elsewhere : elsewhere + len(piece)] = piece
    return bytes(raw)


def contradictions(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where what we read is not in what the API server read; it may have added defaults, never changed a value."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from contradictions(value, theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from contradictions(one, other, f"{path}[{index}]")
    elif ours != theirs and is_something(ours):
        yield f"{path}: {ours!r} was read as {theirs!r}"


SMALL: Document = {
    "spec": {
        "replicas": 3,
        "minReadySeconds": 300,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "hostNetwork": True,
                "serviceAccountName": "builder",
                "volumes": [{"name": "s", "secret": {"secretName": "deploy-key"}}],
                "containers": [
                    {
                        "name": "main",
                        "image": "local/busybox:1",
                        "env": [{"name": "A", "value": "b"}],
                        "ports": [{"containerPort": 8080}],
                        "securityContext": {"privileged": True, "runAsUser": 0},
                    }
                ],
            },
        },
    }
}


def test_what_is_read_of_tampered_bytes_is_what_the_api_server_reads(server: ApiServer) -> None:
    source = random.Random(SEED)
    path = f"/apis/apps/v1/namespaces/{server.namespace}/deployments"
    original = dry_run(server, path, named(SMALL, f"tampered-{SUFFIX}"))
    seen: Counter[str] = Counter()
    for _ in range(TAMPERED):
        raw = tampered(source, original)
        try:
            ours = read_object(raw)
        except Malformed as refusal:
            seen[f"refused {refusal.code}"] += 1
            continue
        try:
            taken = server.ask("POST", f"{path}?dryRun=All", raw, PROTOBUF)
        except RemoteDisconnected:
            # Some of these it does not answer at all; nothing was created, and the next request connects anew.
            seen["refused by the API server"] += 1
            continue
        if taken.code != 201:
            seen["refused by the API server"] += 1
            continue
        found = list(contradictions(without_what_differs(ours), without_what_differs(taken.json)))
        found = [each for each in found if not each.startswith(OVERWRITTEN)]
        assert found == [], (raw, found)
        seen["read by both"] += 1
    assert seen["read by both"] >= LEAST_READ * TAMPERED, seen
    assert min(seen["refused 400"], seen["refused 415"]) > 0, seen
