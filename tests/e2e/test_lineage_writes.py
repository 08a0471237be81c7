"""What is kept of writes that make pods, whatever form their answers have, and of those that make none."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import Agent, Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.placed_pods import Place, placed_gate
from tests.e2e.rules import allow
from tests.e2e.wire import Response

JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


@pytest.fixture(scope="module")
def place(cluster: Cluster, direct: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed_gate(cluster, direct, tmp_path_factory.mktemp("writes")) as found:
        yield found


@pytest.fixture(scope="module")
def agent(place: Place) -> Agent:
    verbs = "get list create update patch delete"
    rules = [
        allow("sets", verbs, "deployments deployments/scale", place.namespace, groups=["apps"]),
        allow("maps", verbs, "configmaps", place.namespace),
    ]
    return place.gate.agent("writer", rules)


class Kept:
    """What the gate has in its store."""

    def __init__(self, place: Place) -> None:
        self._path = place.gate.data_dir / "gate.db"

    def authors(self, uid: str) -> list[str]:
        with contextlib.closing(sqlite3.connect(self._path)) as database:
            rows = database.execute("SELECT authors FROM lineage WHERE uid = ?", (uid,)).fetchall()
        return [one["name"] for (authors,) in rows for author in json.loads(authors) for one in author]

    def named(self, beginning: str) -> list[str]:
        with contextlib.closing(sqlite3.connect(self._path)) as database:
            return [name for (name,) in database.execute("SELECT name FROM lineage") if name.startswith(beginning)]

    def pending(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self._path)) as database:
            return [document for (document,) in database.execute("SELECT document FROM lineage_writes")]


def deployment(place: Place, **metadata: str) -> dict[str, Any]:
    labels = {"app": "none"}
    spec = {"containers": [{"name": "main", "image": place.cluster.image}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def create(place: Place, agent: Agent, document: Mapping[str, Any], accept: str = JSON, query: str = "") -> Response:
    path = f"/apis/apps/v1/namespaces/{place.namespace}/deployments{query}"
    headers = {"Content-Type": JSON, "Accept": accept}
    return agent.request("POST", path, headers, json.dumps(document).encode())


def uid(place: Place, name: str) -> str:
    return str(json.loads(place.direct.must("get", "deployment", name, "-o", "json"))["metadata"]["uid"])


@pytest.mark.parametrize("accept", [JSON, PROTOBUF, TABLE, METADATA])
def test_what_was_made_is_kept_by_its_uid_before_the_answer_is_there(place: Place, agent: Agent, accept: str) -> None:
    name = f"as-{[JSON, PROTOBUF, TABLE, METADATA].index(accept)}"
    assert create(place, agent, deployment(place, name=name), accept).status == 201
    assert Kept(place).authors(uid(place, name)) == ["writer"]
    assert Kept(place).pending() == []


def test_a_name_that_the_cluster_makes_up_is_kept(place: Place, agent: Agent) -> None:
    assert create(place, agent, deployment(place, generateName="made-up-")).status == 201
    (name,) = Kept(place).named("made-up-")
    assert Kept(place).authors(uid(place, name)) == ["writer"]


def test_a_dry_run_makes_nobody_an_author(place: Place, agent: Agent) -> None:
    assert create(place, agent, deployment(place, name="dry"), query="?dryRun=All").status == 201
    assert (Kept(place).named("dry"), Kept(place).pending()) == ([], [])


def test_what_the_cluster_refuses_makes_nobody_an_author(place: Place, agent: Agent) -> None:
    assert create(place, agent, deployment(place, name="twice")).status == 201
    assert create(place, agent, deployment(place, name="twice")).status == 409
    broken = deployment(place, name="broken")
    broken["spec"]["selector"] = {"matchLabels": {"app": "another"}}
    assert create(place, agent, broken).status == 422
    assert (Kept(place).named("broken"), Kept(place).pending()) == ([], [])


def test_a_scale_makes_an_author_of_what_is_scaled(place: Place, agent: Agent) -> None:
    place.direct.must("apply", "-f", "-", stdin=json.dumps(deployment(place, name="scaled")).encode())
    path = f"/apis/apps/v1/namespaces/{place.namespace}/deployments/scaled/scale"
    headers = {"Content-Type": "application/merge-patch+json"}
    assert agent.request("PATCH", path, headers, b'{"spec": {"replicas": 0}}').status == 200
    assert Kept(place).authors(uid(place, "scaled")) == ["writer"]


def test_what_no_pod_is_made_from_is_not_kept(place: Place, agent: Agent) -> None:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}}
    path = f"/api/v1/namespaces/{place.namespace}/configmaps"
    assert agent.request("POST", path, {"Content-Type": JSON}, json.dumps(document).encode()).status == 201
    assert (Kept(place).named("plain"), Kept(place).pending()) == ([], [])


def test_nothing_is_sent_that_could_not_be_kept(place: Place, agent: Agent, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(place.gate.data_dir / "gate.db", timeout=30)) as database:
        database.execute("ALTER TABLE lineage_writes RENAME TO away")
        database.commit()
        try:
            assert create(place, agent, deployment(place, name="unkept")).status in (500, 503)
        finally:
            database.execute("ALTER TABLE away RENAME TO lineage_writes")
            database.commit()
    assert place.direct("get", "deployment", "unkept").code != 0
    assert create(place, agent, deployment(place, name="kept")).status == 201, tmp_path
