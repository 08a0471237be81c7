"""Lists, pages and watches show the union of what single gets would: 2,000 objects, policies by chance, every encoding.

The oracle is the gate's own answer to a `get` of each object: 403 is hidden, everything else is not.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.rules import allow, deny
from tests.e2e.test_filtering import JSON, PARTIAL, TABLE, object_of, watching
from tests.e2e.wire import Connection

NAMESPACES, NAMES = 10, 200
SEEDS = (1, 2, 3, 4)
CHANGES = 150
PROTOBUF = "application/vnd.kubernetes.protobuf"
END = "the-end"
"""The object whose deletion ends a watch; everybody may see it."""


class World(NamedTuple):
    gate: Gate
    admin: Agent
    namespaces: tuple[str, ...]
    readers: dict[int, Agent]
    label: str

    @property
    def places(self) -> list[tuple[str, str]]:
        return [(namespace, f"m{number}") for namespace in self.namespaces for number in range(NAMES)]

    def path(self, namespace: str = "", name: str = "", query: str = "") -> str:
        there = f"/api/v1/{f'namespaces/{namespace}/' if namespace else ''}configmaps{f'/{name}' if name else ''}"
        selected = "" if name else f"?labelSelector={self.label}%3Dyes"
        return there + selected + (("&" if selected else "?") + query if query else "")


def document(world_label: str, name: str, value: str) -> bytes:
    metadata = {"name": name, "labels": {world_label: "yes"}}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"v": value}}).encode()


def policy_by_chance(seed: int, namespaces: tuple[str, ...]) -> list[dict[str, Any]]:
    """Some rules that give, some that withhold; a guard over get or list counts for both."""
    chance = random.Random(seed)
    rules = [allow("the-end", "get list watch", "configmaps", "*", names=[END])]

    def some_names() -> list[str] | None:
        return None if chance.random() < 0.5 else [f"m{chance.randrange(NAMES)}" for _ in range(chance.randint(1, 20))]

    for number in range(chance.randint(2, 4)):
        where = " ".join(chance.sample(namespaces, chance.randint(1, 4))) if chance.random() < 0.8 else "*"
        names = some_names() if where != "*" else [f"m{chance.randrange(NAMES)}" for _ in range(5)]
        gives = allow(f"gives-{number}", "get list watch", "configmaps", "", **listed(names))
        rules.append({**gives, "namespaces": where.split()})
    for number in range(chance.randint(0, 3)):
        where = " ".join(chance.sample(namespaces, chance.randint(1, 2)))
        names = [f"m{chance.randrange(NAMES)}" for _ in range(30)] if chance.random() < 0.8 else None
        rules.append(deny(f"guards-{number}", "get", "configmaps", namespaces=where.split(), **listed(names)))
    return rules


def listed(names: list[str] | None) -> dict[str, list[str]]:
    return {} if names is None else {"names": sorted(set(names))}


@pytest.fixture(scope="module")
def world(
    cluster: Cluster, admin: Agent, new_namespace: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    namespaces = tuple(new_namespace(f"union-{number}") for number in range(NAMESPACES))
    label = f"union-{namespaces[0].rsplit('-', 3)[1]}"
    with admin.connect() as connection:
        for namespace in namespaces:
            for number in range(NAMES):
                body = document(label, f"m{number}", "0")
                target = f"/api/v1/namespaces/{namespace}/configmaps"
                answer = asked(admin, connection, "POST", target, {"Content-Type": JSON}, body)
                assert answer.status == 201, answer.body
    gate = Gate(tmp_path_factory.mktemp("union-gate"), [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}])
    readers = {seed: gate.agent(f"reader-{seed}", policy_by_chance(seed, namespaces)) for seed in SEEDS}
    gate.start()
    for seed in SEEDS:
        gate.agent(f"reader-{seed}", policy_by_chance(seed, namespaces))
    yield World(gate, admin, namespaces, readers, label)
    gate.stop()


def asked(
    agent: Agent, connection: Connection, method: str, target: str, headers: dict[str, str], body: bytes = b""
) -> Any:
    connection.send(agent.bytes_of(method, target, headers, body))
    return connection.response(method)


@pytest.fixture(params=SEEDS)
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def visible_to(world: World) -> Callable[[int], frozenset[tuple[str, str]]]:
    """What single gets show, for each reader; asked once."""
    known: dict[int, frozenset[tuple[str, str]]] = {}

    def visible(seed: int) -> frozenset[tuple[str, str]]:
        if seed not in known:
            reader = world.readers[seed]
            with reader.connect() as connection:
                known[seed] = frozenset(
                    place
                    for place in world.places
                    if asked(reader, connection, "GET", world.path(*place), {}).status != 403
                )
        return known[seed]

    return visible


def places_of(body: bytes, content_type: str) -> list[tuple[str, str]]:
    """Namespace and name of everything in a list, whatever it is encoded in."""
    if content_type.startswith(PROTOBUF):
        (raw,) = fields(body[4:])[2]
        metadata = [fields(fields(item)[1][0]) for item in fields(raw).get(2, [])]
        return [(each[3][0].decode(), each[1][0].decode()) for each in metadata]
    found = json.loads(body)
    items = [row["object"] for row in found["rows"]] if found["kind"] == "Table" else found["items"]
    return [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in items]


def fields(message: bytes) -> dict[int, list[bytes]]:
    """The length-delimited fields of a protobuf message by number; the others are passed over."""
    found: dict[int, list[bytes]] = {}
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        length, at = varint(message, at)
        if key & 7 == 2:
            found.setdefault(key >> 3, []).append(message[at : at + length])
            at += length
    return found


def varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


@pytest.mark.parametrize("accept", [JSON, TABLE, PARTIAL, PROTOBUF], ids=["json", "table", "partial", "protobuf"])
@pytest.mark.parametrize("query", ["", "resourceVersion=0"], ids=["now", "cached"])
def test_a_list_is_the_union_of_what_single_gets_show(
    world: World, visible_to: Callable[[int], frozenset[tuple[str, str]]], *, seed: int, accept: str, query: str
) -> None:
    expected = visible_to(seed)
    assert 0 < len(expected) < NAMESPACES * NAMES
    answer = world.readers[seed].request("GET", world.path(query=query), {"Accept": accept})
    assert answer.status == 200, answer.body[:400]
    places = places_of(answer.body, answer.header("content-type"))
    assert sorted(places) == sorted(expected)


def test_so_is_a_list_of_each_namespace_and_in_pages(
    world: World, visible_to: Callable[[int], frozenset[tuple[str, str]]], *, seed: int
) -> None:
    expected = visible_to(seed)
    reader = world.readers[seed]
    for namespace in world.namespaces:
        answer = reader.request("GET", world.path(namespace, query="limit=50"))
        there = sorted(place for place in expected if place[0] == namespace)
        if answer.status == 403:
            assert not there
            continue
        found = places_of(answer.body, JSON)
        while following := answer.json()["metadata"].get("continue"):
            answer = reader.request("GET", world.path(namespace, query=f"limit=50&continue={following}"))
            found += places_of(answer.body, JSON)
        assert sorted(found) == there


@pytest.mark.parametrize("accept", [JSON, TABLE], ids=["json", "table"])
def test_so_is_a_watch_while_everything_changes(
    world: World, visible_to: Callable[[int], frozenset[tuple[str, str]]], *, seed: int, accept: str
) -> None:
    expected = visible_to(seed)
    reader, chance = world.readers[seed], random.Random(seed)
    version = world.admin.request("GET", world.path(query="limit=1")).json()["metadata"]["resourceVersion"]
    query = f"watch=1&resourceVersion={version}"
    with world.admin.connect() as connection:
        first = world.namespaces[0]
        for _ in range(CHANGES):
            change(world, connection, chance, chance.choice(world.places))
        asked(world.admin, connection, "POST", create_in(first), {"Content-Type": JSON}, document(world.label, END, ""))
        asked(world.admin, connection, "DELETE", world.path(first, END), {})

    def is_last(event: dict[str, Any]) -> bool:
        return event["type"] == "DELETED" and object_of(event)["metadata"]["name"] == END

    with watching(world.admin, world.path(query=query)) as watch:
        everything = [told(event) for event in watch.events(is_last)]
    with watching(reader, world.path(query=query), accept) as watch:
        shown = [told(event) for event in watch.events(is_last)]
    assert shown == [event for event in everything if event[1:3] in expected or event[2] == END]
    assert len(shown) < len(everything)


def told(event: dict[str, Any]) -> tuple[str, str, str, str]:
    metadata = object_of(event)["metadata"]
    return event["type"], metadata["namespace"], metadata["name"], metadata["resourceVersion"]


def create_in(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def change(world: World, connection: Connection, chance: random.Random, place: tuple[str, str]) -> None:
    """Changes one object, or deletes it and makes it anew."""
    admin, (namespace, name) = world.admin, place
    if chance.random() < 0.6:
        body = json.dumps({"data": {"v": str(chance.random())}}).encode()
        headers = {"Content-Type": "application/merge-patch+json"}
        answer = asked(admin, connection, "PATCH", world.path(namespace, name), headers, body)
        assert answer.status == 200, answer.body
        return
    assert asked(admin, connection, "DELETE", world.path(namespace, name), {}).status == 200
    body = document(world.label, name, "new")
    assert asked(admin, connection, "POST", create_in(namespace), {"Content-Type": JSON}, body).status == 201
