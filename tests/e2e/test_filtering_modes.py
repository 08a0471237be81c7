"""Lists over all namespaces where the cluster itself judges the sender: asked for in pieces, shown as one list.

The gate's accounts are made from its own manifests: neither may list what its policies do not give, so that a list over
all namespaces would be refused by the cluster.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow
from tests.e2e.test_upstream_modes import Installed
from tests.e2e.workloads import configmap, yaml_of

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
VERBS = "get list watch"
OBJECTS = ("alpha", "beta", "shared")


class Scene(NamedTuple):
    """A gate in one mode, and what its agent may see."""

    gate: Gate
    reader: Agent
    kubectl: Kubectl
    whole: str
    some: str
    other: str
    """Given by another policy, and so by another account in mode serviceAccount."""
    none: str
    label: str

    @property
    def visible(self) -> set[str]:
        seen = {f"{self.whole}/{name}" for name in OBJECTS} | {f"{self.other}/{name}" for name in OBJECTS}
        return seen | {f"{self.some}/shared"}

    def target(self, query: str = "") -> str:
        return f"/api/v1/configmaps?labelSelector={self.label}%3Dyes{query}"


@pytest.fixture(scope="module", params=["impersonate", "serviceAccount"])
def scene(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    direct: Kubectl,
    new_namespace: Callable[[str], str],
    kubectl_of: Callable[[Agent], Kubectl],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    mark = secrets.token_hex(2)
    account = new_namespace(f"gate-{mark}")
    whole, some, other, none = (new_namespace(f"{which}-{mark}") for which in ("whole", "some", "other", "none"))
    label = f"pieces-{mark}"
    for name in (whole, some, other, none):
        made: list[dict[str, Any]] = [configmap(each, colour="red") for each in OBJECTS]
        for one in made:
            one["metadata"]["labels"] = {label: "yes"}
        direct.within(name).must("apply", "-f", "-", stdin=yaml_of(*made))
    folder: Path = tmp_path_factory.mktemp("pieces") / "gate"
    entry = {
        "name": "dev",
        "server": cluster.server,
        "certificateAuthority": str(cluster.ca),
        "tokenFile": str(folder / "token"),
        "upstream": {"mode": request.param, "accountNamespace": account},
    }
    gate = Gate(folder, [entry])
    installed = Installed(gate, direct, account, whole)
    installed.token_file.write_text("none-yet")
    rules = [
        allow("maps", VERBS, "configmaps", whole),
        allow("one-map", VERBS, "configmaps", some, names=["shared"]),
        allow("secrets", VERBS, "secrets", whole),
        allow("these", VERBS, "namespaces", whole),
    ]
    reader = gate.agent("reader", rules)
    more = [allow("more-maps", VERBS, "configmaps", other)]
    gate.write_policy("besides", [{"kind": "Agent", "name": "reader"}], more)
    installed.install()
    gate.start()
    gate.agent("reader", rules)
    yield Scene(gate, reader, kubectl_of(reader), whole, some, other, none, label)
    gate.stop()
    installed.remove()


def names_in(items: list[dict[str, Any]]) -> set[str]:
    return {f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in items}


@pytest.mark.parametrize("output", ["json", "wide", "name"])
def test_pieces_are_shown_as_one_list(scene: Scene, output: str) -> None:
    ran = scene.kubectl("get", "configmaps", "-A", "-l", f"{scene.label}=yes", "-o", output)
    assert ran.code == 0, ran.text
    assert scene.none.encode() not in ran.out
    if output == "json":
        items = json.loads(ran.out)["items"]
        assert (names_in(items), len(items)) == (scene.visible, len(scene.visible))
    else:
        assert len(ran.out.splitlines()) == len(scene.visible) + (output == "wide")
    assert b"shows only what you may see" in ran.err


def test_the_pieces_are_of_one_version_and_told_in_the_record(scene: Scene) -> None:
    mark = secrets.token_hex(6)
    answer = scene.reader.request("GET", scene.target(f",mark!%3D{mark}"))
    assert answer.status == 200, answer.body
    document = answer.json()
    assert int(document["metadata"]["resourceVersion"]) > 0
    assert names_in(document["items"]) == scene.visible
    annotations = scene.gate.wait_for_event(mark)["annotations"]
    assert annotations["narrowgate.dev/filtered"] == f"shown={len(scene.visible)},hidden=0"


def test_tables_of_pieces_are_one_table(scene: Scene) -> None:
    answer = scene.reader.request("GET", scene.target(), {"Accept": TABLE})
    rows = answer.json()["rows"]
    assert names_in([row["object"] for row in rows]) == scene.visible


def test_one_piece_is_listed_and_watched_as_if_it_were_asked_for(scene: Scene) -> None:
    answer = scene.reader.request("GET", "/api/v1/secrets")
    assert answer.status == 200, answer.body
    assert {item["metadata"]["namespace"] for item in answer.json()["items"]} <= {scene.whole}
    version = answer.json()["metadata"]["resourceVersion"]
    with scene.reader.connect() as connection:
        target = f"/api/v1/secrets?watch=true&resourceVersion={version}&timeoutSeconds=1"
        connection.send(scene.reader.bytes_of("GET", target))
        answer = connection.response()
    assert (answer.status, answer.body) == (200, b"")


def test_namespaces_are_listed_as_far_as_they_may_be_seen(scene: Scene) -> None:
    ran = scene.kubectl("get", "namespaces", "-o", "name")
    assert (ran.code, ran.out.decode().split()) == (0, [f"namespace/{scene.whole}"]), ran.text


def test_several_pieces_are_not_watched_as_one(scene: Scene) -> None:
    answer = scene.reader.request("GET", scene.target("&watch=true"))
    assert answer.status == 403
    assert "watch each namespace" in answer.message


def test_what_the_cluster_refuses_of_a_piece_is_the_answer(scene: Scene) -> None:
    # Newer than the manifests: the cluster gives it to nobody, or there is no account to ask as.
    rules = [allow(f"in-{name}", VERBS, "endpoints", name) for name in (scene.whole, scene.none)]
    scene.gate.write_policy("later", [{"kind": "Agent", "name": "reader"}], rules)
    told: list[str] = []

    def is_asked() -> bool:
        told[:] = [scene.reader.request("GET", "/api/v1/endpoints").message]
        return "cannot list resource" in told[0] or "no token for ServiceAccount" in told[0]

    scene.gate.wait_until(is_asked, "the cluster is asked, and says no")
    assert told[0]
