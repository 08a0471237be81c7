"""What leaves the gate for an agent that takes protobuf alone: the planted is not in it, and the rest is as it was.

The roads of `test_masks`, and objects that only some kinds have: tokens, certificate requests, metadata alone. What is
read of an answer is held against the same answer in JSON.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.test_masks import JSON, PROTOBUF, RESOURCES, UNMASKED_RULES, Planted, objects, planted

from narrowgate.wire.protobuf_object import read_object

__all__ = ["objects", "planted"]

PARTIAL = f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = f"{PROTOBUF};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
TABLE = f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io"
WATCH = "?watch=1&timeoutSeconds=1&resourceVersion=0"
CSR = Path(__file__).with_name("request.csr.b64").read_text().strip()
MASKED = re.compile(rb"\[masked:[a-z/.-]+:[0-9a-f]{8}\]")

READS = {
    "get": ("/planted", PROTOBUF),
    "get its metadata": ("/planted", PARTIAL),
    "get as protobuf or CBOR": ("/planted", f"{PROTOBUF},application/cbor"),
    "list": ("", PROTOBUF),
    "list metadata": ("", PARTIAL_LIST),
    "list a page": ("?limit=1", PROTOBUF),
    "list everywhere": ("everywhere", PROTOBUF),
    "watch": (WATCH, PROTOBUF),
    "watch as a stream": (WATCH, f"{PROTOBUF};stream=watch"),
    "watch metadata": (WATCH, PARTIAL),
    "delete, dry run": ("/planted?dryRun=All", PROTOBUF),
}


@pytest.fixture(scope="module")
def agent(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("protobuf-gate"), [entry])
    gate.agent("masked", UNMASKED_RULES)
    gate.start()
    yield gate.agent("masked", UNMASKED_RULES)
    gate.stop()


def masked_values(body: bytes) -> set[bytes]:
    """All masked values, those in base64 too."""
    found = set(MASKED.findall(body))
    for run in re.findall(rb"[A-Za-z0-9+/]{40,}={0,2}", body):
        found |= set(MASKED.findall(base64.b64decode(run[: len(run) // 4 * 4])))
    return found


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("road", READS)
def test_no_read_shows_what_was_planted(agent: Agent, objects: str, planted: Planted, road: str, resource: str) -> None:
    ending, accept = READS[road]
    target = RESOURCES[resource].format(namespace=objects) + ending
    if ending == "everywhere":
        target = RESOURCES[resource].replace("/namespaces/{namespace}", "")

    answer = agent.request("DELETE" if "delete" in road else "GET", target, {"Accept": accept})

    assert answer.status == 200, answer.message
    assert answer.header("content-type").startswith(PROTOBUF)
    assert planted.found_in(answer.body) == []
    if "metadata" not in road and "delete" not in road and "page" not in road:
        assert b"planted" in answer.body
        assert masked_values(answer.body) != set()


@pytest.mark.parametrize("resource", RESOURCES)
def test_protobuf_says_what_json_says(agent: Agent, objects: str, resource: str) -> None:
    target = RESOURCES[resource].format(namespace=objects) + "/planted"
    written = agent.request("GET", target, {"Accept": PROTOBUF})
    read = agent.request("GET", target, {"Accept": JSON})
    assert list(differences(read_object(written.body), read.json())) == []
    assert masked_values(written.body) == masked_values(read.body)
    assert written.header("warning") == read.header("warning")


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where two documents differ; absent, empty, zero and null are one."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from differences(ours.get(key), theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif ours != theirs and (says(ours) or says(theirs)):
        yield path


def says(value: Any) -> bool:
    """Whether a value says anything."""
    if isinstance(value, dict):
        return any(map(says, value.values()))
    return value not in (None, 0, False, "", [])


def test_what_has_no_protobuf_form_is_refused_by_the_api_server_as_always(agent: Agent, objects: str) -> None:
    answer = agent.request("GET", RESOURCES["secrets"].format(namespace=objects), {"Accept": TABLE})
    assert answer.status == 406
    assert "media types are accepted" in answer.message


def test_a_token_that_is_issued_is_masked(agent: Agent, objects: str) -> None:
    asked = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}).encode()
    target = f"/api/v1/namespaces/{objects}/serviceaccounts/default/token"
    answer = agent.request("POST", target, {"Accept": PROTOBUF, "Content-Type": JSON}, asked)
    assert answer.status == 201, answer.message
    token: str = read_object(answer.body)["status"]["token"]
    assert MASKED.fullmatch(token.encode())
    assert b"eyJ" not in answer.body


def test_a_key_in_the_annotations_of_a_certificate_request_is_masked(
    agent: Agent, direct: Kubectl, planted: Planted, objects: str
) -> None:
    name = f"{objects}-protobuf"
    csr = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name, "annotations": {"example.com/note": f"password={planted.text}"}},
        "spec": {"request": CSR, "signerName": "example.com/none", "usages": ["client auth"]},
    }
    direct.must("create", "-f", "-", stdin=json.dumps(csr).encode())
    try:
        for ending in (f"/{name}", "", f"{WATCH}&fieldSelector=metadata.name%3D{name}"):
            target = f"/apis/certificates.k8s.io/v1/certificatesigningrequests{ending}"
            answer = agent.request("GET", target, {"Accept": PROTOBUF})
            assert answer.status == 200, answer.message
            assert planted.found_in(answer.body) == []
            assert b"password=[masked:narrowgate/named-secret:" in answer.body
            assert base64.b64decode(CSR) in answer.body
    finally:
        direct.must("delete", "csr", name)


@pytest.mark.parametrize("accept", [JSON, PROTOBUF])
def test_what_the_api_server_refuses_arrives_as_its_status(agent: Agent, objects: str, accept: str) -> None:
    secrets = RESOURCES["secrets"].format(namespace=objects)
    for ending, said in (("/none", b"NotFound"), ("?watch=1&resourceVersion=x", b"Invalid value")):
        answer = agent.request("GET", secrets + ending, {"Accept": accept})
        assert answer.status >= 400
        assert answer.body.startswith(b"k8s\0" if accept == PROTOBUF else b"{")
        assert said in answer.body


def test_what_is_neither_json_nor_protobuf_is_refused_with_what_to_ask_for(agent: Agent, objects: str) -> None:
    target = RESOURCES["secrets"].format(namespace=objects)
    answer = agent.request("GET", target, {"Accept": "application/cbor, application/yaml"})
    assert answer.status == 406
    assert "accept application/json" in answer.message
