"""What leaves the gate for an agent: planted secrets, looked for in every byte that reaches the client and the record.

Roads by which an object can be read, times the forms in which it can be asked for, times what is masked by itself. A
row more is one line in a table.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
PROTOBUF = "application/vnd.kubernetes.protobuf"
UNMASKED_RULES = ALLOW_ALL_RULES[:2]
"""Everything is allowed, and nothing revealed."""


class Planted:
    """A secret that nothing else can look like."""

    def __init__(self) -> None:
        self.text = f"planted-{secrets.token_hex(16)}"

    @property
    def base64(self) -> str:
        """As a Secret has it."""
        return base64.b64encode(self.text.encode()).decode()

    def found_in(self, data: bytes) -> list[str]:
        """In which forms it is in these bytes."""
        plain = self.text.encode()
        forms = {"raw": plain, "hex": plain.hex().encode(), "reversed": plain[::-1]}
        for shift in range(3):
            # Base64 of it at each alignment, less the characters that depend on what is beside it.
            encoded = base64.b64encode(b"\0" * shift + plain)
            forms[f"base64 at {shift}"] = encoded[4 if shift else 0 : -4]
        found = [name for name, form in forms.items() if form in data]
        at = data.find(b"\x1f\x8b")
        while at >= 0:
            with contextlib.suppress(OSError, EOFError):
                found += [f"gzip: {name}" for name in self.found_in(gzip.decompress(data[at:]))]
            at = data.find(b"\x1f\x8b", at + 1)
        return found


@pytest.fixture(scope="module")
def masked_gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate of its own: its record must not hold what other tests reveal."""
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("masked-gate"), [entry])
    gate.agent("masked", UNMASKED_RULES)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def agent(masked_gate: Gate) -> Agent:
    return masked_gate.agent("masked", UNMASKED_RULES)


PLANTED = Planted()


@pytest.fixture(scope="module")
def planted() -> Planted:
    """The one of this run: `objects` of another module are applied over these."""
    return PLANTED


def pod_template(planted: Planted, image: str) -> dict[str, Any]:
    """A pod's spec with the secret wherever people put them."""
    return {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "main",
                "image": image,
                "command": ["/bin/sh", "-c", "sleep 3600", "--", f"--password={planted.text}", "--token", planted.text],
                "env": [
                    {"name": "DB_PASSWORD", "value": planted.text},
                    {"name": "DATABASE_URL", "value": f"postgres://app:{planted.text}@db/app"},
                    {"name": "PLAIN", "value": "stays"},
                ],
            }
        ],
    }


@pytest.fixture(scope="module")
def objects(direct: Kubectl, cluster: Cluster, namespace: str, planted: Planted) -> str:
    """Objects with the secret in them, put there by `apply`, so that the last-applied copy has it as well."""
    applied = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "planted"}, "stringData": {"key": planted.text}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "planted"},
            "data": {
                "password": planted.text,
                "app.yaml": f"db:\n  password: {planted.text}\n  host: db\n",
                "config": f'{{"clientSecret": "{planted.text}", "port": 1}}',
                "plain": "stays",
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "planted"},
            "spec": pod_template(planted, cluster.image),
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "planted"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "planted"}},
                "template": {"metadata": {"labels": {"app": "planted"}}, "spec": pod_template(planted, cluster.image)},
            },
        },
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "planted"},
            "spec": {
                "schedule": "0 0 1 1 *",
                "suspend": True,
                "jobTemplate": {
                    "spec": {"template": {"spec": pod_template(planted, cluster.image) | {"restartPolicy": "Never"}}}
                },
            },
        },
    ]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": applied}).encode()
    direct.within(namespace).must("apply", "-f", "-", stdin=document)
    return namespace


RESOURCES = {
    "secrets": "/api/v1/namespaces/{namespace}/secrets",
    "configmaps": "/api/v1/namespaces/{namespace}/configmaps",
    "pods": "/api/v1/namespaces/{namespace}/pods",
    "deployments": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "cronjobs": "/apis/batch/v1/namespaces/{namespace}/cronjobs",
}

READS = {
    "get": ("/planted", JSON),
    "get as a table": ("/planted", TABLE),
    "get its metadata": ("/planted", PARTIAL),
    "get as anything": ("/planted", "*/*"),
    "get as protobuf or JSON": ("/planted", f"{PROTOBUF},{JSON}"),
    "get pretty": ("/planted?pretty=true", JSON),
    "list": ("", JSON),
    "list as a table": ("", TABLE),
    "list as a table with objects": ("?includeObject=Object", TABLE),
    "list metadata": ("", PARTIAL_LIST),
    "list by name": ("?fieldSelector=metadata.name%3Dplanted", JSON),
    "list a page": ("?limit=500", JSON),
    "list pretty": ("?pretty=true", JSON),
    "list everywhere": ("everywhere", JSON),
    "list everywhere as a table": ("everywhere", TABLE),
    "watch": ("?watch=1&timeoutSeconds=1&resourceVersion=0", JSON),
    "watch pretty": ("?watch=1&timeoutSeconds=1&resourceVersion=0&pretty=true", JSON),
    "watch as a table": ("?watch=1&timeoutSeconds=1&resourceVersion=0", TABLE),
    "watch metadata": ("?watch=1&timeoutSeconds=1&resourceVersion=0", PARTIAL),
}


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("road", READS)
def test_no_read_shows_what_was_planted(agent: Agent, objects: str, planted: Planted, road: str, resource: str) -> None:
    ending, accept = READS[road]
    target = RESOURCES[resource].format(namespace=objects) + ending
    if ending == "everywhere":
        target = RESOURCES[resource].replace("/namespaces/{namespace}", "")

    answer = agent.request("GET", target, {"Accept": accept, "Accept-Encoding": "gzip"})

    assert answer.status == 200
    assert b"planted" in answer.body
    assert planted.found_in(answer.body) == []
    if "metadata" not in road and "table" not in road:
        assert b"masked:narrowgate/" in answer.body


WRITES: dict[str, Callable[[Kubectl], Any]] = {
    "get -o yaml": lambda kubectl: kubectl("get", "secret,configmap,pod,deployment,cronjob", "planted", "-o", "yaml"),
    "describe": lambda kubectl: kubectl("describe", "secret,configmap,pod,deployment,cronjob", "planted"),
    "get -o jsonpath": lambda kubectl: kubectl("get", "secret", "planted", "-o", "jsonpath={.data.key}"),
    "view last applied": lambda kubectl: kubectl("apply", "view-last-applied", "configmap", "planted"),
    "label": lambda kubectl: kubectl("label", "secret", "planted", "looked-at=yes", "--overwrite", "-o", "yaml"),
    "patch dry run": lambda kubectl: kubectl(
        "patch", "deployment", "planted", "-p", '{"spec":{"replicas":0}}', "--dry-run=server", "-o", "yaml"
    ),
    "scale": lambda kubectl: kubectl("scale", "deployment", "planted", "--replicas=0", "-o", "yaml"),
    "rollout history": lambda kubectl: kubectl("rollout", "history", "deployment/planted", "-o", "yaml"),
    "set env --list": lambda kubectl: kubectl("set", "env", "deployment/planted", "--list"),
    "events": lambda kubectl: kubectl("events"),
    "token": lambda kubectl: kubectl("create", "token", "default"),
}


@pytest.mark.parametrize("command", WRITES)
def test_no_command_of_kubectl_shows_what_was_planted(
    agent: Agent, kubectl_of: Callable[[Agent], Kubectl], objects: str, planted: Planted, command: str
) -> None:
    ran = WRITES[command](kubectl_of(agent).within(objects))
    assert ran.code == 0, ran.err
    assert planted.found_in(ran.out + ran.err) == []


def test_keys_stay_and_values_name_the_mask(agent: Agent, kubectl_of: Callable[[Agent], Kubectl], objects: str) -> None:
    kubectl = kubectl_of(agent).within(objects)
    ran = kubectl("get", "secret", "planted", "-o", "json")
    shown = base64.b64decode(json.loads(ran.out)["data"]["key"]).decode()
    assert shown.startswith("[masked:narrowgate/secret-data:")
    assert b"Warning: masked" in ran.err
    configured = json.loads(kubectl.must("get", "configmap", "planted", "-o", "json"))["data"]
    assert configured["plain"] == "stays"
    assert "host: db" in configured["app.yaml"]
    pod = json.loads(kubectl.must("get", "pod", "planted", "-o", "json"))
    env = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
    assert env["PLAIN"] == "stays"
    assert env["DB_PASSWORD"].startswith("[masked:narrowgate/env:")


def test_the_record_says_what_was_masked_and_holds_none_of_it(
    agent: Agent, masked_gate: Gate, objects: str, planted: Planted
) -> None:
    answer = agent.request("GET", f"/api/v1/namespaces/{objects}/secrets/planted")
    entry = masked_gate.wait_for_event(answer.header("audit-id"))
    told = entry["annotations"]["narrowgate.dev/masked"]
    assert "narrowgate/secret-data=" in told
    assert planted.found_in(masked_gate.journal_text().encode()) == []


def test_logs_are_masked_line_by_line(
    agent: Agent, kubectl_of: Callable[[Agent], Kubectl], direct: Kubectl, cluster: Cluster, objects: str
) -> None:
    said = Planted()
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "talker"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "main",
                    "image": cluster.image,
                    "command": ["/bin/sh", "-c", f"echo plain line; echo password={said.text}; echo last line"],
                }
            ],
        },
    }
    here = direct.within(objects)
    here.must("create", "-f", "-", stdin=json.dumps(pod).encode())
    here.must("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/talker", "--timeout=60s")
    for options in ((), ("-f",), ("--timestamps",)):
        ran = kubectl_of(agent).within(objects)("logs", "talker", *options)
        assert ran.code == 0
        assert b"plain line" in ran.out
        assert b"last line" in ran.out
        assert b"[masked:narrowgate/" in ran.out
        assert said.found_in(ran.out) == []


def test_a_reveal_shows_it_again_and_a_policy_of_its_own_masks_more(
    masked_gate: Gate, objects: str, planted: Planted
) -> None:
    revealing = [
        *UNMASKED_RULES,
        {
            "id": "see",
            "effect": "reveal",
            "apiGroups": [""],
            "resources": ["secrets"],
            "namespaces": [objects],
            "names": ["planted"],
            "approval": "none",
        },
    ]
    sees = masked_gate.agent("sees", revealing)
    target = f"/api/v1/namespaces/{objects}/secrets"
    masked_gate.wait_until(
        lambda: planted.base64.encode() in sees.request("GET", f"{target}/planted").body, "the secret revealed"
    )
    listed = {one["metadata"]["name"]: one for one in sees.request("GET", target).json()["items"]}
    assert listed["planted"]["data"]["key"] == planted.base64
    assert planted.found_in(sees.request("GET", f"/api/v1/namespaces/{objects}/configmaps/planted").body) == []
