"""Objects of every kind, generated from the cluster's own schemas and full of secrets, on every road to an agent.

What is found in the bytes that reached it must be in the table below of what no mask promises (`BEYOND`), by kind and
field; and the record of all of it must hold nothing at all but that.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.generated_objects import (
    DRY_ONLY,
    ApiServer,
    Generator,
    ObjectKind,
    Plant,
    Plants,
    created,
    kinds_of,
)
from tests.e2e.kubectl import Kubectl
from tests.e2e.test_masks import JSON, PARTIAL, PARTIAL_LIST, PROTOBUF, TABLE, UNMASKED_RULES

RULES = ({**UNMASKED_RULES[0], "pods": {"strongerAccounts": "allow"}}, *UNMASKED_RULES[1:])
"""Everything, revisions of workloads included, whatever their pods would run as."""
SEED = int(os.environ.get("NARROWGATE_SEED", "20260725"))
"""What all objects are made from; with the variable others are made."""

EACH = 4
"""Objects of each kind."""

AT_ONCE = 4
"""Requests under way at a time: a watch takes its second whatever it shows."""

OPENAPI_SECONDS = 60.0
"""How long the schema of a new resource may take to be published."""

MERGE = {"Content-Type": "application/merge-patch+json"}


def custom_resources(run_id: str) -> list[dict[str, Any]]:
    """Kinds of our own: nested, with lists and maps, with fields that nobody has named, with objects within objects."""
    text = {"type": "string"}
    nested = {
        "type": "object",
        "properties": {
            "note": text,
            "apiToken": text,
            "users": {
                "type": "array",
                "items": {"type": "object", "properties": {"name": text, "password": text, "about": text}},
            },
            "env": {"type": "array", "items": {"type": "object", "properties": {"name": text, "value": text}}},
            "tags": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
            "settings": {"type": "object", "additionalProperties": text},
        },
    }
    open_ended = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    embedded = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "x-kubernetes-preserve-unknown-fields": True,
    }
    status = {
        "type": "object",
        "properties": {"message": text, "secretKey": text},
        "x-kubernetes-preserve-unknown-fields": True,
    }
    shapes = {
        "gadgets": {
            "colour": text,
            "inner": {"type": "object", "properties": {"more": nested}},
            **nested["properties"],
        },
        "parcels": {"open": open_ended, "content": embedded, "contents": {"type": "array", "items": embedded}},
    }
    made = []
    for plural, properties in shapes.items():
        group = f"generated-{run_id}.example.com"
        schema = {
            "type": "object",
            "properties": {"spec": {"type": "object", "properties": properties}, "status": status},
        }
        columns = [{"name": "Note", "type": "string", "jsonPath": ".spec.note"}]
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}},
            "additionalPrinterColumns": columns,
        }
        made.append(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.{group}"},
                "spec": {
                    "group": group,
                    "scope": "Namespaced",
                    "names": {"plural": plural, "kind": plural.capitalize()[:-1]},
                    "versions": [version],
                },
            }
        )
    return made


class Stored(NamedTuple):
    """An object that is in the cluster, or was taken by a dry run."""

    kind: ObjectKind
    name: str
    sent: dict[str, Any]

    def target(self, namespace: str) -> str:
        return f"{self.kind.path(namespace)}/{self.name}"


class Found(NamedTuple):
    """A planted secret in what reached the agent."""

    kind: str
    path: str
    shape: str
    road: str
    form: str
    in_kind: str


class World(NamedTuple):
    """All that was made, and who reads it."""

    api: ApiServer
    gate: Gate
    agent: Agent
    run: str
    namespace: str
    plants: Plants
    stored: list[Stored]
    dry: list[Stored]


@pytest.fixture(scope="module")
def world(
    cluster: Cluster, direct: Kubectl, new_namespace: Any, run_id: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("generated")
    namespace = new_namespace("generated")
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(folder / "gate", [entry])
    gate.agent("reader", RULES)
    api = ApiServer(cluster.kubeconfig, folder)
    plants = Plants(SEED)
    definitions = custom_resources(run_id)
    stored: list[Stored] = []
    dry: list[Stored] = []
    try:
        gate.start()
        for definition in definitions:
            answer = api("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
            assert answer.status == 201, answer.document
        group = definitions[0]["spec"]["group"]
        kinds: list[ObjectKind] = []

        def published() -> bool:
            kinds[:] = kinds_of(api)
            return sum(kind.group == group for kind in kinds) == len(definitions)

        gate.wait_until(published, "the schemas of the new resources", OPENAPI_SECONDS)
        generator = Generator(plants, cluster.image, run_id)
        for kind in kinds:
            if kind.group != group and "." in kind.group and not kind.group.endswith(".k8s.io"):
                # Another test's: it comes and goes.
                continue
            for _ in range(EACH):
                made, said = created(api, generator, kind, f"g-{run_id}-{len(stored) + len(dry)}", namespace)
                assert made is not None, f"seed {SEED}: no {kind.kind} is taken: {said}"
                one = Stored(kind, made["metadata"]["name"], made)
                if kind.kind in DRY_ONLY:
                    dry.append(one)
                    continue
                answer = api("POST", kind.path(namespace) + "?fieldValidation=Ignore", made)
                assert answer.status == 201, f"seed {SEED}: {kind.kind}: {answer.document}"
                stored.append(one)
                give_status(api, one, namespace, generator)
        plants.freeze()
        yield World(api, gate, gate.agent("reader", RULES), run_id, namespace, plants, stored, dry)
    finally:
        for one in stored:
            api("DELETE", one.target(namespace))
        for definition in definitions:
            api("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition['metadata']['name']}")
        api.close()
        gate.stop()


def give_status(api: ApiServer, one: Stored, namespace: str, generator: Generator) -> None:
    """Conditions with a secret in what they say, where the kind has a status that takes them."""
    message = generator.plant(one.kind, "status.conditions[].message", "database")
    condition = {
        "type": "Generated",
        "status": "True",
        "reason": "Generated",
        "message": message,
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }
    api("PATCH", one.target(namespace) + "/status", {"status": {"conditions": [condition]}}, MERGE["Content-Type"])


def reads(one: Stored, world: World) -> Iterator[tuple[str, int, bytes]]:
    """What reaches an agent of one object: the road, the code, the bytes."""
    target = one.target(world.namespace)
    forms = {"get": JSON, "get as a table": TABLE, "get its metadata": PARTIAL, "get as protobuf": PROTOBUF}
    for road, accept in forms.items():
        answer = world.agent.request("GET", target, {"Accept": accept})
        yield road, answer.status, head_and_body(answer)
    touched = b'{"metadata":{"annotations":{"touched":"yes"}}}'
    for road, query in {"patch dry": "?dryRun=All", "patch": ""}.items():
        answer = world.agent.request("PATCH", target + query, MERGE, touched)
        yield road, answer.status, head_and_body(answer)
    refused = b'{"metadata":{"labels":{"no such label!":"x"}}}'
    answer = world.agent.request("PATCH", target, MERGE, refused)
    yield "refused patch", answer.status, head_and_body(answer)
    again = json.dumps(one.sent).encode()
    typed = {"Content-Type": "application/json"}
    answer = world.agent.request("POST", one.kind.path(world.namespace) + "?dryRun=All", typed, again)
    yield "create again", answer.status, head_and_body(answer)


def head_and_body(answer: Any) -> bytes:
    """All of an answer that somebody could read."""
    return "\n".join(f"{name}: {value}" for name, value in answer.headers).encode() + b"\n\n" + answer.body


def collections(kind: ObjectKind, world: World) -> Iterator[tuple[str, int, bytes]]:
    """What reaches an agent of all objects of a kind."""
    target = kind.path(world.namespace)
    mine = f"labelSelector=generated%3D{world.run}"
    roads = {
        "list": (f"?{mine}", JSON),
        "list as a table": (f"?{mine}", TABLE),
        "list as a table with objects": (f"?{mine}&includeObject=Object", TABLE),
        "list metadata": (f"?{mine}", PARTIAL_LIST),
        "list a page": (f"?{mine}&limit=2", JSON),
        "watch": (f"?{mine}&watch=1&timeoutSeconds=1&resourceVersion=0", JSON),
        "watch as a table": (f"?{mine}&watch=1&timeoutSeconds=1&resourceVersion=0", TABLE),
    }
    for road, (query, accept) in roads.items():
        answer = world.agent.request("GET", target + query, {"Accept": accept})
        yield road, answer.status, head_and_body(answer)


def finds(world: World, kind: ObjectKind, road: str, data: bytes) -> list[Found]:
    return [
        Found(plant.kind, plant.path, plant.shape, road, form, kind.kind) for plant, form in world.plants.found_in(data)
    ]


def kinds_in(stored: list[Stored]) -> list[ObjectKind]:
    return list({(one.kind.group, one.kind.kind): one.kind for one in stored}.values())


# --- what no mask promises

PASSING = frozenset({
    "ClusterRole", "ClusterRoleBinding", "CSINode", "CSIStorageCapacity", "EndpointSlice", "Endpoints", "Lease",
    "LimitRange", "PodDisruptionBudget", "PriorityClass", "ResourceQuota", "Role", "RoleBinding", "RuntimeClass",
})  # fmt: skip
"""Kinds of names and numbers: they pass as they are, in every encoding (docs/masks.md)."""

LOOKED_AT = re.compile(
    r"metadata\.annotations\b|last-applied|(?:\A|\.)(?:data|stringData|binaryData)\b|env\[\]\.value|args\[\]|command\[\]"
    r"|httpHeaders|conditions\[\]\.message|parameters|mountOptions|volumeAttributes|flexVolume\.options|clientConfig\.url"
    r"|gitRepo\.repository|httpGet\.path|freeText|apiKey|password"
)
"""Fields of Kubernetes' own kinds at which masks look (docs/masks.md, "What the gate masks by itself"). All others hold
names, paths, numbers, or expressions of policies: a secret there is beyond what is promised, and is not masked. A field
that holds text and is not here is a hole, for this list and for the gate.
"""

ONLY_NAMED = re.compile(r"\.(?:name|key|prefix|optional|fieldPath)\Z|valueFrom")
"""Parts of those that name something else."""


def is_beyond(found: Found) -> bool:
    """Whether no mask promises to find this."""
    return not is_promised(found.kind, found.path)


def is_promised(kind: str, path: str) -> bool:
    """Whether a secret in this field is masked: the words of docs/masks.md, as fields."""
    if kind in ("Gadget", "Parcel") or (kind == "Event" and path in ("message", "note")):
        return True
    if kind in PASSING or ONLY_NAMED.search(path) is not None:
        return False
    return LOOKED_AT.search(path) is not None


def promised(found: list[Found]) -> str:
    """What must not have been found, in words, a line for each."""
    left = sorted({(one.kind, one.path, one.shape, one.form) for one in found if not is_beyond(one)})
    roads = {key: {one.road for one in found if (one.kind, one.path, one.shape, one.form) == key} for key in left}
    return "\n".join(f"seed {SEED}: {' '.join(key)}: {', '.join(sorted(roads[key]))}" for key in left)


# --- the roads


def test_there_are_hundreds_of_objects_and_what_is_in_them_is_found(world: World) -> None:
    """The eyes of this file are open: what the cluster itself shows, unmasked, is full of finds."""
    assert len(world.stored) >= 200
    assert len(kinds_in(world.stored)) >= 50
    seen = {}
    there: set[Plant] = set()
    for one in world.stored:
        answer = world.api("GET", one.target(world.namespace))
        plants = world.plants.found_in(json.dumps(answer.document).encode())
        there |= {plant for plant, _ in plants}
        seen[one.kind.kind, one.name] = len({plant for plant, _ in plants})
    among = [is_promised(plant.kind, plant.path) for plant in there if plant.kind not in PASSING]
    assert sum(among) >= 0.75 * len(among), "nearly all of it is where secrets are masked"
    assert min(seen.values()) >= 14, f"seed {SEED}: {min(seen, key=lambda key: seen[key])} has hardly any secret"
    assert sum(seen.values()) >= 20 * len(seen)


def test_no_read_and_no_patch_of_an_object_shows_what_was_planted(world: World) -> None:
    def look(one: Stored) -> tuple[dict[str, int], list[Found]]:
        codes, found = {}, []
        for road, code, data in reads(one, world):
            codes[road] = code
            found += finds(world, one.kind, road, data)
        return codes, found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        looked = list(pool.map(look, world.stored))
    codes = [codes for codes, _ in looked]
    for road in ("get", "get as a table", "get its metadata"):
        assert {code[road] for code in codes} == {200}
    # What has no room for a masked value in it, and custom resources, are to be had as JSON alone.
    assert {code["get as protobuf"] for code in codes} <= {200, 406}
    assert {code["refused patch"] for code in codes} == {422}
    assert {code["create again"] for code in codes} == {409}
    assert [code["patch"] for code in codes].count(200) >= 0.9 * len(codes)
    assert promised([one for _, found in looked for one in found]) == ""


def test_no_list_and_no_watch_shows_what_was_planted(world: World) -> None:
    def look(kind: ObjectKind) -> list[Found]:
        found = []
        for road, code, data in collections(kind, world):
            assert code == 200, (kind.kind, road)
            assert b"g-" in data, (kind.kind, road)
            found += finds(world, kind, road, data)
        return found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        looked = list(pool.map(look, kinds_in(world.stored)))
    assert promised([one for found in looked for one in found]) == ""


def test_no_dry_run_shows_its_sender_what_was_planted(world: World) -> None:
    """Of every kind, those included that the cluster itself goes by."""

    def send(one: Stored) -> tuple[str, int, list[Found]]:
        again = {**one.sent, "metadata": {**one.sent["metadata"]}}
        if one.kind.kind not in DRY_ONLY:
            again["metadata"]["name"] += "-again"
        target = one.kind.path(world.namespace) + "?dryRun=All&fieldValidation=Ignore"
        headers = {"Content-Type": "application/json"}
        answer = world.agent.request("POST", target, headers, json.dumps(again).encode())
        return one.kind.kind, answer.status, finds(world, one.kind, "create dry", head_and_body(answer))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        sent = list(pool.map(send, [*world.dry, *world.stored]))
    assert sorted({(kind, code) for kind, code, _ in sent if code != 201}) == []
    assert promised([one for _, _, found in sent for one in found]) == ""


def test_what_was_read_is_written_back_and_stays_what_it_was(world: World) -> None:
    """Masked values of every kind, in the places where they were shown."""

    def write(one: Stored) -> tuple[str, str, bool, list[Found]]:
        target = one.target(world.namespace)
        before = world_view(world, target)
        shown = world.agent.request("GET", target, {"Accept": JSON})
        headers = {"Content-Type": "application/json"}
        answer = world.agent.request("PUT", target, headers, shown.body)
        same = world_view(world, target) == before
        said = answer.message_or_nothing
        return one.kind.kind, said, same, finds(world, one.kind, "update", head_and_body(answer))

    # One after the other: the cluster is asked on one connection.
    written = [write(one) for one in world.stored]
    assert sorted({kind for kind, _, same, _ in written if not same}) == []
    assert {f"{kind}: {said[:400]}" for kind, said, _, _ in written if said} == set()
    assert promised([one for *_, found in written for one in found]) == ""


def world_view(world: World, target: str) -> Any:
    """An object as it is, less what any write changes."""
    document = world.api("GET", target).document
    for key in ("managedFields", "resourceVersion", "generation"):
        document["metadata"].pop(key, None)
    return document


def test_no_delete_shows_what_was_planted(world: World) -> None:
    """The last of each kind goes by `deletecollection`, which answers with all that it deleted."""
    found: list[Found] = []
    codes = set()
    for kind in kinds_in(world.stored):
        if kind.group == "events.k8s.io":
            # They are those of the core group, under another name.
            continue
        mine = [one for one in world.stored if one.kind is kind]
        for query in ("?dryRun=All", ""):
            answer = world.agent.request("DELETE", mine[0].target(world.namespace) + query, {"Accept": JSON})
            codes.add((kind.kind, answer.status))
            found += finds(world, kind, "delete" + query, head_and_body(answer))
        target = kind.path(world.namespace) + f"?labelSelector=generated%3D{world.run}"
        answer = world.agent.request("DELETE", target, {"Accept": JSON})
        # Namespaces alone cannot be deleted together.
        codes.add((kind.kind, answer.status if kind.kind != "Namespace" else 200))
        found += finds(world, kind, "deletecollection", head_and_body(answer))
    assert sorted(pair for pair in codes if pair[1] not in (200, 202)) == []
    assert promised(found) == ""


def test_the_record_of_all_of_it_holds_nothing_that_was_planted(world: World) -> None:
    journal = world.gate.journal_text().encode()
    assert journal.count(b"ResponseComplete") >= 5 * len(world.stored)
    assert promised(finds(world, world.stored[0].kind, "the record", journal)) == ""
