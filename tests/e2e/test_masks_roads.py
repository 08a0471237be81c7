"""What leaves the gate for an agent by roads that are easily forgotten: subresources, refusals, selectors, tokens of
pages, schemas, merges and conflicts, and the API of somebody else behind the aggregation layer.

Each looks for a secret that was planted for it in every byte that came back, and in the record.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from dev.cluster.processes import free_ports
from tests.e2e.echo_documents import make_certificate
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.test_masks import JSON, TABLE, UNMASKED_RULES, Planted

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

REFUSED_CODES = frozenset({400, 403, 409, 415, 422})


@pytest.fixture(scope="module")
def gate_of_roads(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("roads-gate"), [entry])
    gate.agent("traveller", UNMASKED_RULES)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def group(run_id: str) -> str:
    return f"roads-{run_id}.example.com"


@pytest.fixture(scope="module")
def agent(gate_of_roads: Gate, group: str) -> Agent:
    """An agent for whom a policy of its own masks fields of `vaults`, besides what the gate masks by itself."""
    mask = {
        "id": "hidden",
        "apiGroups": [group],
        "resources": ["vaults"],
        "fields": ["spec.pin", "spec.size", "spec.members[*]", "metadata.labels.level", "status.picked"],
    }
    document = {
        "apiVersion": "narrowgate.dev/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": "hides"},
        "spec": {
            "subjects": [{"kind": "Agent", "name": "traveller"}],
            "clusters": ["dev"],
            "rules": [{**UNMASKED_RULES[1], "id": "paths"}],
            "masks": [mask],
        },
    }
    gate_of_roads.write_policy_text("hides.yaml", json.dumps(document))
    return gate_of_roads.agent("traveller", UNMASKED_RULES)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


def vaults(group: str, members: str) -> dict[str, Any]:
    """A kind with a set, a list by name, a scale, and fields to select by."""
    text = {"type": "string"}
    users = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {"name": text, "password": text}},
    }
    spec = {
        "pin": text,
        "colour": text,
        "apiToken": text,
        "size": {"type": "integer"},
        "members": {"type": "array", "items": text, "x-kubernetes-list-type": members},
        "tags": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
        "users": users,
        "even": {"type": "integer", "multipleOf": 2},
    }
    status = {"type": "object", "properties": {"picked": text, "size": {"type": "integer"}, "message": text}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": {"type": "object", "properties": spec}, "status": status},
            }
        },
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.size",
                "statusReplicasPath": ".status.size",
                "labelSelectorPath": ".status.picked",
            },
        },
        "selectableFields": [{"jsonPath": f".spec.{name}"} for name in ("pin", "colour", "apiToken")],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"vaults.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "vaults", "kind": "Vault"},
            "versions": [version],
        },
    }


@pytest.fixture(scope="module")
def place(
    direct: Kubectl, agent: Agent, gate_of_roads: Gate, new_namespace: Any, group: str, planted: Planted
) -> Iterator[str]:
    """A namespace with the secret in objects of several kinds."""
    namespace: str = new_namespace("roads")
    here = direct.within(namespace)
    direct.must("create", "-f", "-", stdin=json.dumps(vaults(group, "atomic")).encode())
    try:
        direct.must("wait", "--for=condition=Established", f"crd/vaults.{group}", "--timeout=60s")
        vault = {
            "apiVersion": f"{group}/v1",
            "kind": "Vault",
            "metadata": {"name": "one", "labels": {"level": "7", "app": "vault"}},
            "spec": {
                "pin": planted.text,
                "colour": "red",
                "apiToken": planted.text,
                "size": 421337,
                # Twice the same: allowed as long as it is no set.
                "members": [planted.text, planted.text],
                "tags": ["plain", f"password={planted.text}"],
                "users": [{"name": "a", "password": planted.text}],
            },
        }
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}, "stringData": {"k": planted.text}}
        container = {"name": "c", "image": "none", "env": [{"name": "DB_PASSWORD", "value": planted.text}]}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "one"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "one"}},
                "template": {"metadata": {"labels": {"app": "one"}}, "spec": {"containers": [container]}},
            },
        }
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "one"},
            "involvedObject": {"kind": "Pod", "name": "x", "namespace": namespace},
            "type": "Warning",
            "reason": "Failed",
            "message": f"cannot pull https://user:{planted.text}@registry/x: token={planted.text}",
        }
        another = {**secret, "metadata": {"name": "two"}}
        listed = {"apiVersion": "v1", "kind": "List", "items": [vault, secret, another, deployment, event]}
        here.must("apply", "--server-side", "--field-manager=owner", "-f", "-", stdin=json.dumps(listed).encode())
        status = {"status": {"picked": f"app={planted.text}", "size": 3, "message": f"token: {planted.text}"}}
        here.must("patch", "vault", "one", "--subresource=status", "--type=merge", "-p", json.dumps(status))
        vault_target = f"/apis/{group}/v1/namespaces/{namespace}/vaults/one"
        gate_of_roads.wait_until(
            lambda: b"masked:hides/hidden" in agent.request("GET", vault_target).body, "the policy's mask in force"
        )
        yield namespace
    finally:
        direct("delete", "crd", f"vaults.{group}", "--wait=false")


@pytest.fixture(scope="module")
def targets(place: str, group: str) -> dict[str, str]:
    return {
        "vault": f"/apis/{group}/v1/namespaces/{place}/vaults/one",
        "vaults": f"/apis/{group}/v1/namespaces/{place}/vaults",
        "secret": f"/api/v1/namespaces/{place}/secrets/one",
        "secrets": f"/api/v1/namespaces/{place}/secrets",
        "deployment": f"/apis/apps/v1/namespaces/{place}/deployments/one",
        "event": f"/api/v1/namespaces/{place}/events/one",
        "events": f"/apis/events.k8s.io/v1/namespaces/{place}/events",
    }


def everything(answer: Any) -> bytes:
    """Head and body of an answer."""
    return "\n".join(f"{name}: {value}" for name, value in answer.headers).encode() + b"\n\n" + answer.body


def ask(agent: Agent, method: str, target: str, kind: str = "", body: Any = None) -> Any:
    sent = b"" if body is None else json.dumps(body).encode()
    return agent.request(method, target, {"Content-Type": kind} if kind else {}, sent)


# --- subresources


SUBRESOURCES: dict[str, tuple[str, str, str, Any]] = {
    "status of a custom resource": ("GET", "vault/status", "", None),
    "scale of a custom resource": ("GET", "vault/scale", "", None),
    "status of a deployment": ("GET", "deployment/status", "", None),
    "scale of a deployment": ("GET", "deployment/scale", "", None),
    "patch of a status": ("PATCH", "vault/status", MERGE, {"status": {"size": 4}}),
    "dry patch of a status": ("PATCH", "vault/status?dryRun=All", MERGE, {"status": {"size": 5}}),
    "dry patch of a scale": ("PATCH", "vault/scale?dryRun=All", MERGE, {"spec": {"replicas": 9}}),
    "patch of a deployment's scale": ("PATCH", "deployment/scale", MERGE, {"spec": {"replicas": 0}}),
    "patch of a deployment's status": ("PATCH", "deployment/status", MERGE, {"metadata": {"labels": {"seen": "yes"}}}),
}


def spelled(targets: dict[str, str], name: str) -> str:
    """`vault/status?x` with the target of `vault`."""
    key = next(one for one in sorted(targets, key=len, reverse=True) if name.startswith(one))
    return targets[key] + name[len(key) :]


@pytest.mark.parametrize("road", SUBRESOURCES)
def test_no_subresource_shows_what_was_planted(
    agent: Agent, targets: dict[str, str], planted: Planted, road: str
) -> None:
    method, name, kind, body = SUBRESOURCES[road]
    answer = ask(agent, method, spelled(targets, name), kind, body)
    assert answer.status == 200, answer.body
    assert planted.found_in(everything(answer)) == []
    assert b"421337" not in answer.body


# --- dry runs of every write verb

DRY = "?dryRun=All"
WRITES: dict[str, tuple[str, str, str, Any]] = {
    "merge patch": ("PATCH", "secret", MERGE, {"metadata": {"labels": {"a": "b"}}}),
    "strategic patch": ("PATCH", "deployment", STRATEGIC, {"spec": {"replicas": 0}}),
    "JSON patch": ("PATCH", "secret", JSON_PATCH, [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]),
    "apply": ("PATCH", "secret", APPLY, {"apiVersion": "v1", "kind": "Secret", "metadata": {"labels": {"a": "b"}}}),
    "delete": ("DELETE", "secret", "", None),
    "delete a deployment in the foreground": ("DELETE", "deployment", "application/json", "Foreground"),
    "deletecollection": ("DELETE", "secrets", "", None),
    "deletecollection of vaults": ("DELETE", "vaults", "", None),
    "deletecollection of events": ("DELETE", "events", "", None),
}


@pytest.mark.parametrize("road", WRITES)
def test_no_dry_run_of_a_write_shows_what_was_planted(
    agent: Agent, targets: dict[str, str], planted: Planted, road: str
) -> None:
    method, name, kind, body = WRITES[road]
    query = DRY + ("&fieldManager=traveller" if kind == APPLY else "")
    if body == "Foreground":
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground", "dryRun": ["All"]}
    answer = ask(agent, method, targets[name] + query, kind, body)
    assert answer.status == 200, answer.body
    assert planted.found_in(everything(answer)) == []


# --- refusals

REFUSED: dict[str, tuple[str, str, str, Any]] = {
    "a text where an object belongs": ("PATCH", "deployment", STRATEGIC, {"spec": {"template": "x"}}),
    "a number where a text belongs": ("PATCH", "secret", MERGE, {"data": {"k": 5}}),
    "no base64": ("PATCH", "secret", MERGE, {"data": {"other": "%%%"}}),
    "a label that is none": ("PATCH", "vault", MERGE, {"metadata": {"labels": {"a b": "c"}}}),
    "a number that does not fit its schema": ("PATCH", "vault", MERGE, {"spec": {"even": 3}}),
    "a member that is there twice": ("PATCH", "vault", MERGE, {"spec": {"tags": ["x", "x"]}}),
    "an operation on nothing": ("PATCH", "secret", JSON_PATCH, [{"op": "remove", "path": "/data/none"}]),
    "a test of a masked value": (
        "PATCH", "secret", JSON_PATCH, [{"op": "test", "path": "/data/k", "value": "Z3Vlc3M="}],
    ),
    "another field manager's field": (
        "PATCH", "vault", APPLY, {"kind": "Vault", "spec": {"pin": "other", "colour": "green"}},
    ),
    "another's member of a list": (
        "PATCH", "vault", APPLY, {"kind": "Vault", "spec": {"users": [{"name": "a", "password": "other"}]}},
    ),
    "another's variable": (
        "PATCH", "deployment", APPLY,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "spec": {"template": {"spec": {"containers": [
                {"name": "c", "env": [{"name": "DB_PASSWORD", "value": "guess"}]}
            ]}}},
        },
    ),
    "a selector that cannot be changed": (
        "PATCH", "deployment", MERGE, {"spec": {"selector": {"matchLabels": {"app": "two"}}}},
    ),
    "an old version": ("PATCH", "secret", MERGE, {"metadata": {"resourceVersion": "1"}, "data": {"x": "eA=="}}),
    "another uid": ("DELETE", "secret", "application/json", {"preconditions": {"uid": "none"}}),
}  # fmt: skip


@pytest.mark.parametrize("road", REFUSED)
def test_no_refusal_repeats_what_was_planted(
    agent: Agent, targets: dict[str, str], planted: Planted, group: str, road: str
) -> None:
    method, name, kind, body = REFUSED[road]
    query = "?fieldManager=traveller" if kind == APPLY else ""
    if kind == APPLY:
        body = {"apiVersion": f"{group}/v1", **body, "metadata": {"name": "one"}}
    answer = ask(agent, method, targets[name] + query, kind, body)
    assert answer.status in REFUSED_CODES, answer.body
    assert planted.found_in(everything(answer)) == []
    assert b"421337" not in answer.body


# --- selectors


@pytest.mark.parametrize("verb", ["list", "watch", "table", "page", "deletecollection"])
@pytest.mark.parametrize("selector", ["pin", "pin by !=", "apiToken", "level", "level by size", "a text's own secret"])
def test_what_is_masked_is_not_selected_by(
    agent: Agent, direct: Kubectl, targets: dict[str, str], planted: Planted, place: str, verb: str, selector: str
) -> None:
    query, field = {
        "pin": (f"fieldSelector=spec.pin%3D{planted.text}", "spec.pin"),
        "pin by !=": ("fieldSelector=spec.pin!%3Dguess", "spec.pin"),
        "apiToken": ("fieldSelector=spec.colour%3Dred%2Cspec.apiToken%3Dguess", "spec.apiToken"),
        "level": ("labelSelector=level%3D7", "level"),
        "level by size": ("labelSelector=app%3Dvault%2Clevel%3E5", "level"),
        "a text's own secret": ("fieldSelector=spec.colour%3Dpassword%5C%3Dhunter2", "spec.colour"),
    }[selector]
    road = {"watch": "&watch=1&timeoutSeconds=1", "page": "&limit=1"}.get(verb, "")
    method = "DELETE" if verb == "deletecollection" else "GET"
    headers = {"Accept": TABLE if verb == "table" else JSON}

    answer = agent.request(method, f"{targets['vaults']}?{query}{road}", headers)

    assert answer.status == 403
    assert answer.message.startswith(f"{field} is masked for you, and ")
    direct.within(place).must("get", "vault", "one")


@pytest.mark.parametrize(
    "query", ["fieldSelector=spec.colour%3Dred", "labelSelector=app%3Dvault", "fieldSelector=metadata.name%3Done"]
)
def test_what_is_not_masked_is_selected_by_as_ever(agent: Agent, targets: dict[str, str], query: str) -> None:
    answer = agent.request("GET", f"{targets['vaults']}?{query}")
    assert answer.status == 200
    assert [item["metadata"]["name"] for item in answer.json()["items"]] == ["one"]


# --- server-side apply and sets


def test_a_set_is_not_told_by_what_is_applied_to_it(
    agent: Agent, targets: dict[str, str], planted: Planted, group: str
) -> None:
    """An agent applies members to a set of which one is a secret, and to a list that a policy masks."""
    for spec in (
        {"tags": ["mine"]},
        {"tags": [f"password={planted.text[:-1]}"]},
        {"members": ["mine"]},
        {"users": [{"name": "b"}]},
    ):
        body = {"apiVersion": f"{group}/v1", "kind": "Vault", "metadata": {"name": "one"}, "spec": spec}
        answer = ask(agent, "PATCH", f"{targets['vault']}?fieldManager=traveller&dryRun=All&force=true", APPLY, body)
        assert answer.status in {200, *REFUSED_CODES}, answer.body
        assert planted.found_in(everything(answer)) == []


def test_a_list_that_became_a_set_with_a_member_twice_in_it_is_not_told_by_what_is_applied(
    agent: Agent, direct: Kubectl, gate_of_roads: Gate, targets: dict[str, str], planted: Planted, group: str
) -> None:
    """Typed merges name members by their value where they complain."""
    definition = json.dumps(vaults(group, "set")).encode()
    direct.must("replace", "-f", "-", stdin=definition)
    new = {"apiVersion": f"{group}/v1", "kind": "Vault", "metadata": {"name": "two"}, "spec": {"members": ["a", "a"]}}
    gate_of_roads.wait_until(
        lambda: ask(agent, "POST", targets["vaults"] + DRY, JSON, new).status == 422, "the new schema in force"
    )
    for spec in ({"colour": "blue"}, {"members": ["mine"]}, {"members": [f"{planted.text[:-1]}"]}):
        body = {"apiVersion": f"{group}/v1", "kind": "Vault", "metadata": {"name": "one"}, "spec": spec}
        for force in ("", "&force=true"):
            target = f"{targets['vault']}?dryRun=All&fieldManager=traveller{force}"
            answer = ask(agent, "PATCH", target, APPLY, body)
            assert answer.status in {200, *REFUSED_CODES}, answer.body
            assert planted.found_in(everything(answer)) == []


# --- pages, events, schemas


def test_the_token_of_a_page_holds_names_alone(agent: Agent, targets: dict[str, str], planted: Planted) -> None:
    answer = agent.request("GET", f"{targets['secrets']}?limit=1")
    token = answer.json()["metadata"]["continue"]
    plain = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert set(json.loads(plain)) == {"v", "rv", "start"}
    seen = everything(answer)
    while token:
        answer = agent.request("GET", f"{targets['secrets']}?limit=1&continue={token}")
        seen += everything(answer)
        token = answer.json()["metadata"].get("continue", "")
    assert seen.count(base64.b64encode(b"[masked:narrowgate/secret-data:")[:36]) == 2
    assert planted.found_in(seen) == []


@pytest.mark.parametrize("road", ["event", "events"])
@pytest.mark.parametrize("accept", [JSON, TABLE])
def test_events_say_what_happened_without_the_secret(
    agent: Agent, targets: dict[str, str], planted: Planted, road: str, accept: str
) -> None:
    answer = agent.request("GET", targets[road], {"Accept": accept})
    assert answer.status == 200
    assert b"cannot pull https://user:[masked:narrowgate/url-password:" in answer.body
    assert planted.found_in(everything(answer)) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "vaults.spec", "--recursive"), ("explain", "deployments.spec.template", "--recursive"),
        ("describe", "vaults,deployments,secrets,events"), ("get", "all,vaults", "-o", "wide"),
        ("events", "--types=Warning"), ("get", "vault", "one", "-o", "yaml", "--show-managed-fields"),
        ("get", "vault", "one", "--subresource=scale", "-o", "yaml"), ("diff", "--server-side=false", "-f", "-"),
    ],
)  # fmt: skip
def test_no_command_of_kubectl_shows_it(
    agent: Agent, kubectl_of: Callable[[Agent], Kubectl], place: str, planted: Planted, arguments: tuple[str, ...]
) -> None:
    kubectl = kubectl_of(agent).within(place)
    stdin = kubectl("get", "secret", "one", "-o", "json").out if arguments[0] == "diff" else b""
    ran = kubectl(*arguments, stdin=stdin)
    assert ran.code == 0, ran.err
    assert planted.found_in(ran.out + ran.err) == []
    assert b"421337" not in ran.out


# --- the API of somebody else


class Notes(BaseHTTPRequestHandler):
    """An API server behind the aggregation layer, with one object. What it answers with hangs on the object's name."""

    protocol_version = "HTTP/1.1"
    group = ""
    secret = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        base = f"/apis/{self.group}/v1"
        kinds = {
            "name": "notes",
            "singularName": "note",
            "namespaced": True,
            "kind": "Note",
            "verbs": ["get", "list", "watch", "create"],
        }
        if path == base:
            resources = {
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{self.group}/v1", "resources": [kinds],
            }  # fmt: skip
            self._answer(200, resources)
        elif path.endswith("/notes"):
            self._list()
        elif path.endswith("/notes/odd"):
            self._raw(200, self.secret.encode(), "application/octet-stream")
        elif path.endswith("/notes/cbor"):
            self._raw(200, b"\xd9\xd9\xf7" + self.secret.encode(), "application/cbor")
        elif path.endswith("/notes/refused"):
            said = f"cannot reach postgres://app:{self.secret}@db/app with password={self.secret}"
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": said}
            self._answer(500, status)
        elif path.endswith("/notes/one"):
            self._answer(200, self._note())
        else:
            self._answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(201, self._note())

    def _note(self) -> dict[str, Any]:
        return {
            "kind": "Note",
            "apiVersion": f"{self.group}/v1",
            "metadata": {"name": "one", "namespace": "any"},
            "text": f"token: {self.secret}",
            "apiKey": self.secret,
            "inner": {"kind": "Secret", "data": {"k": base64.b64encode(self.secret.encode()).decode()}},
        }

    def _list(self) -> None:
        if "watch=" in self.path:
            self._answer(200, {"type": "ADDED", "object": self._note()})
        elif "as=Table" in self.headers.get("Accept", "").partition(",")[0]:
            columns = [{"name": name, "type": "string"} for name in ("Name", "ApiKey", "Text")]
            cells = ["one", self.secret, f"token: {self.secret}"]
            rows = [{"cells": cells, "object": self._note()}]
            table = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": columns, "rows": rows}
            self._answer(200, table)
        else:
            listed = {"kind": "NoteList", "apiVersion": f"{self.group}/v1", "metadata": {}, "items": [self._note()]}
            self._answer(200, listed)

    def _answer(self, code: int, document: Any) -> None:
        self._raw(code, json.dumps(document).encode() + b"\n", "application/json")

    def _raw(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Warning", f'299 - "password={self.secret}"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def notes(
    direct: Kubectl, cluster: Cluster, gate_of_roads: Gate, agent: Agent, place: str, run_id: str, planted: Planted,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:  # fmt: skip
    """The path of an aggregated resource in a namespace, served by this process on the address of the node."""
    group = f"notes-{run_id}.example.com"
    found = direct.must("get", "node", cluster.node, "-o", "json")
    addresses = json.loads(found)["status"]["addresses"]
    address = next(one["address"] for one in addresses if one["type"] == "InternalIP")
    folder: Path = tmp_path_factory.mktemp("notes")
    (port,) = free_ports(1)
    handler = type("HandlerOfNotes", (Notes,), {"group": group, "secret": planted.text})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(folder / "ca.crt", folder / "serving.pem"))
    server = ThreadingHTTPServer((address, port), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name="notes", daemon=True)
    thread.start()
    ports = [{"port": port, "protocol": "TCP"}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "notes"}, "spec": {"ports": ports}}
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "notes"},
        "subsets": [{"addresses": [{"ip": address}], "ports": ports}],
    }
    registered = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1.{group}"},
        "spec": {
            "group": group,
            "version": "v1",
            "groupPriorityMinimum": 1,
            "versionPriority": 1,
            "insecureSkipTLSVerify": True,
            "service": {"name": "notes", "namespace": place, "port": port},
        },
    }
    here = direct.within(place)
    try:
        for document in (service, endpoints, registered):
            here.must("create", "-f", "-", stdin=json.dumps(document).encode())
        direct.must("wait", "--for=condition=Available", f"apiservice/v1.{group}", "--timeout=60s")
        target = f"/apis/{group}/v1/namespaces/{place}/notes"
        gate_of_roads.wait_until(
            lambda: agent.request("GET", f"{target}/one").status == 200, "the aggregated API served"
        )
        yield target
    finally:
        direct("delete", "apiservice", f"v1.{group}")
        server.shutdown()
        server.server_close()
        thread.join()


AGGREGATED_READS = {
    "get": ("GET", "/one", JSON, 200),
    "list": ("GET", "", JSON, 200),
    "list as a table": ("GET", "", TABLE, 200),
    "watch": ("GET", "?watch=1&timeoutSeconds=1", JSON, 200),
    "create": ("POST", "", JSON, 201),
    "refusal": ("GET", "/refused", JSON, 500),
    "bytes": ("GET", "/odd", JSON, 502),
    "CBOR": ("GET", "/cbor", JSON, 502),
}


@pytest.mark.parametrize("road", AGGREGATED_READS)
def test_an_aggregated_api_shows_nothing_of_what_was_planted(
    agent: Agent, notes: str, planted: Planted, road: str
) -> None:
    method, ending, accept, code = AGGREGATED_READS[road]
    body = json.dumps({"metadata": {"name": "new"}}).encode() if method == "POST" else b""
    headers = {"Accept": accept, **({"Content-Type": JSON} if body else {})}
    answer = agent.request(method, notes + ending, headers, body)
    assert answer.status == code, answer.body
    assert planted.found_in(everything(answer)) == []
    if code < 300:
        assert b"[masked:narrowgate/" in answer.body


def test_a_field_of_an_aggregated_api_that_is_written_in_no_known_way_is_not_selected_by(
    agent: Agent, notes: str
) -> None:
    for selector in ("apiKey%3Dguess", "%24.apiKey%3Dguess", "inner%5B%27k%27%5D%3Dguess"):
        assert agent.request("GET", f"{notes}?fieldSelector={selector}").status == 403
    assert agent.request("GET", f"{notes}?fieldSelector=metadata.name%3Done").status == 200


# --- at last


def test_the_record_holds_nothing_of_it(
    gate_of_roads: Gate, agent: Agent, targets: dict[str, str], planted: Planted
) -> None:
    answer = agent.request("GET", targets["vault"])
    gate_of_roads.wait_for_event(answer.header("audit-id"))
    journal = gate_of_roads.journal_text()
    # A selector stands in the address of its request, and there as its sender wrote it.
    sent = [line for line in journal.splitlines() if f"spec.pin%3D{planted.text}" in line or planted.text[:-1] in line]
    assert all('"verb":"' in line for line in sent)
    assert planted.found_in("\n".join(line for line in journal.splitlines() if line not in sent).encode()) == []
