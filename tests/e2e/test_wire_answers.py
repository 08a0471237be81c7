"""Answers in every form that clients ask for come through the gate as the API server gave them.

The real server is asked by raw requests, directly (with a token of its own) and through the gate; bodies are compared
byte for byte where nothing in them depends on the moment.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from tests.e2e.echo import STREAMED_LIST
from tests.e2e.gate import Agent, Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.wire import Response
from tests.e2e.workloads import configmap, yaml_of

MAPS = 40
FILLING = "x" * 20_000
# From the server's own cache: for "now" it would ask an etcd that the test cluster does not have.
WATCH = "watch=1&resourceVersion=0"
PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
METADATA_PROTOBUF = f"{PROTOBUF};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@pytest.fixture(scope="module")
def namespace(direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    """Forty objects that nobody changes, some of them in need of several packets."""
    name = new_namespace("answers")
    maps = [configmap(f"cm-{number}", filling=FILLING, number=str(number)) for number in range(MAPS)]
    direct.within(name).must("create", "-f", "-", stdin=yaml_of(*maps))
    return name


@pytest.fixture(scope="module")
def straight(cluster: Cluster, direct: Kubectl, namespace: str) -> Agent:
    """A caller of the API server itself, with a right to view what is compared."""
    here = direct.within(namespace)
    here.must("create", "serviceaccount", "viewer")
    here.must("create", "rolebinding", "viewer", "--clusterrole=view", f"--serviceaccount={namespace}:viewer")
    address = urlsplit(cluster.server)
    return Agent(
        name="viewer",
        kubeconfig=cluster.kubeconfig,
        host=address.hostname or "",
        port=address.port or 0,
        ca=cluster.ca.read_text(),
        token=here.must("create", "token", "viewer", "--duration=1h").strip(),
    )


# What a client may accept, and what is asked with it.
FORMS: dict[str, tuple[str, dict[str, str]]] = {
    "JSON": ("configmaps?labelSelector=app%3Dconfig", {"Accept": "application/json"}),
    "indented JSON": ("configmaps/cm-1?pretty=true", {"Accept": "application/json"}),
    "YAML": ("configmaps/cm-1", {"Accept": "application/yaml"}),
    "protobuf": ("configmaps?labelSelector=app%3Dconfig", {"Accept": PROTOBUF}),
    "one object in protobuf": ("configmaps/cm-1", {"Accept": PROTOBUF}),
    "a table": ("configmaps/cm-1", {"Accept": TABLE}),
    "metadata alone": ("configmaps?labelSelector=app%3Dconfig", {"Accept": METADATA}),
    "metadata in protobuf": ("configmaps?labelSelector=app%3Dconfig", {"Accept": METADATA_PROTOBUF}),
    "protobuf, else JSON": ("configmaps/cm-1", {"Accept": f"{PROTOBUF},application/json"}),
    "nothing said": ("configmaps/cm-1", {}),
    "what the server does not have": ("configmaps/cm-1", {"Accept": "text/html"}),
    "an object that is not there": ("configmaps/absent", {"Accept": "application/json"}),
    "an object that is not there, in protobuf": ("configmaps/absent", {"Accept": PROTOBUF}),
    "a page": ("configmaps?labelSelector=app%3Dconfig&limit=3", {"Accept": "application/json"}),
    "a bad selector": ("configmaps?labelSelector=%3D%3D", {"Accept": "application/json"}),
    "a watch that ends at once": (
        f"configmaps?{WATCH}&timeoutSeconds=1&fieldSelector=metadata.name%3Dcm-1",
        {"Accept": "application/json"},
    ),
    "a watch in protobuf": (
        f"configmaps?{WATCH}&timeoutSeconds=1&fieldSelector=metadata.name%3Dcm-1",
        {"Accept": f"{PROTOBUF};stream=watch"},
    ),
    "a watch from too long ago": ("configmaps?watch=1&resourceVersion=1&timeoutSeconds=1", {}),
}


def comparable(answer: Response) -> tuple[int, str, bytes]:
    body, content_type = answer.body, answer.header("content-type")
    if content_type.startswith("application/json") and b"List" in body[:40]:
        # A list carries the revision of the whole cluster, which moves, and a page a token made from it.
        document = json.loads(body)
        document["metadata"].pop("resourceVersion", None)
        document["metadata"].pop("continue", None)
        body = json.dumps(document, sort_keys=True).encode()
    if content_type.startswith(PROTOBUF) and len(body) > len(FILLING) * 2:
        # The same revision, where a list in protobuf has it: in the first bytes of its metadata.
        body = body[-len(FILLING) :]
    return answer.status, content_type, body


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_is_the_servers_own(form: str, straight: Agent, admin: Agent, namespace: str) -> None:
    path, headers = FORMS[form]
    target = f"/api/v1/namespaces/{namespace}/{path}"

    expected, found = straight.request("GET", target, headers), admin.request("GET", target, headers)

    assert comparable(found) == comparable(expected)


def test_a_compressed_answer_stays_compressed_and_whole(straight: Agent, admin: Agent, namespace: str) -> None:
    target = f"/api/v1/namespaces/{namespace}/configmaps?labelSelector=app%3Dconfig"
    headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}

    expected, found = straight.request("GET", target, headers), admin.request("GET", target, headers)

    assert found.header("content-encoding") == expected.header("content-encoding") == "gzip"
    items = [json.loads(gzip.decompress(answer.body))["items"] for answer in (expected, found)]
    assert items[0] == items[1]
    assert len(items[0]) == MAPS


def test_a_watch_of_tables_has_a_row_for_each_event(admin: Agent, namespace: str) -> None:
    target = f"/api/v1/namespaces/{namespace}/configmaps?{WATCH}&timeoutSeconds=1&fieldSelector=metadata.name%3Dcm-1"

    answer = admin.request("GET", target, {"Accept": TABLE})

    (event,) = [json.loads(line) for line in answer.body.splitlines()]
    assert (event["type"], event["object"]["kind"]) == ("ADDED", "Table")
    assert event["object"]["rows"][0]["cells"][0] == "cm-1"


def test_a_watch_is_never_compressed(admin: Agent, namespace: str) -> None:
    target = f"/api/v1/namespaces/{namespace}/configmaps?{WATCH}&timeoutSeconds=1&fieldSelector=metadata.name%3Dcm-1"

    answer = admin.request("GET", target, {"Accept-Encoding": "gzip"})

    assert answer.header("content-encoding") == ""
    assert json.loads(answer.body.splitlines()[0])["type"] == "ADDED"


def test_a_streamed_list_ends_its_beginning_with_a_bookmark(caller: Agent) -> None:
    # From the echo: a real server streams lists only where its etcd reports progress (3.4.25, 3.5.8 and later).
    initial = "allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    answer = caller.request("GET", f"/api/v1/namespaces/d/configmaps?watch=1&{initial}&labelSelector=bookmarks")

    assert answer.body == b"".join(STREAMED_LIST)


def test_an_event_leaves_the_gate_as_soon_as_it_comes(admin: Agent, direct: Kubectl, namespace: str) -> None:
    target = f"/api/v1/namespaces/{namespace}/configmaps?{WATCH}&fieldSelector=metadata.name%3Dprompt"
    with admin.connect() as connection:
        connection.send(admin.bytes_of("GET", target))
        status, _ = connection.head()
        direct.within(namespace).must("create", "configmap", "prompt", "--from-literal=a=1")
        # The watch goes on: were the event held back for more, this would wait until it times out.
        size = int(connection.line(), 16)
        event = json.loads(connection.take(size))

    assert status == 200
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "prompt")


def test_an_unchanged_discovery_document_is_not_sent_again(admin: Agent) -> None:
    first = admin.request("GET", "/openapi/v3/apis/apps/v1", {"Accept": "application/json"})
    etag = first.header("etag")
    again = admin.request("GET", "/openapi/v3/apis/apps/v1", {"Accept": "application/json", "If-None-Match": etag})

    assert first.status == 200
    assert etag
    assert (again.status, again.body) == (304, b"")


def test_the_servers_warnings_and_its_audit_id_reach_the_caller(admin: Agent) -> None:
    answer = admin.request("GET", "/api/v1/namespaces/default/endpoints")

    assert answer.status == 200
    assert "deprecated" in answer.header("warning")
    assert answer.header("audit-id")
