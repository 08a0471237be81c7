"""Lists and watches that show what their reader may see, and nothing that tells how much more there is.

Three namespaces hold ConfigMaps of the same names. The agent `reader` may see all of the first, one name of the second,
and nothing of the third; whatever it is shown of them together is held against what it gets one by one.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from tests.e2e.gate import SETTLE_SECONDS, Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl, Ran
from tests.e2e.rules import allow, deny
from tests.e2e.wire import Connection
from tests.e2e.workloads import configmap, yaml_of

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
VERBS = "get list watch"
OBJECTS = ("alpha", "beta", "shared")
WATCHED_SECONDS = 90.0


class Scene(NamedTuple):
    """Who reads what."""

    gate: Gate
    reader: Agent
    kubectl: Kubectl
    all: str
    some: str
    none: str
    label: str
    """What every object here has, so that others' objects are not in the way."""

    @property
    def visible(self) -> set[str]:
        return {f"{self.all}/{name}" for name in OBJECTS} | {f"{self.some}/shared"}

    def hidden_in(self, data: bytes) -> list[str]:
        """Words for what may not be seen: the namespace that is hidden, and a name where only that is."""
        return [word for word in (self.none, f"{self.some}/alpha", "hidden-value") if word.encode() in data]


@pytest.fixture(scope="module")
def scene(
    cluster: Cluster,
    direct: Kubectl,
    new_namespace: Callable[[str], str],
    kubectl_of: Callable[[Agent], Kubectl],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    names = [new_namespace(f"filter-{which}-{secrets.token_hex(2)}") for which in ("all", "some", "none")]
    label = f"filter-{secrets.token_hex(4)}"
    for name in names:
        for each in OBJECTS:
            seen = name == names[0] or (name == names[1] and each == "shared")
            there = configmap(each, colour="red" if seen else "hidden-value")
            there["metadata"]["labels"] = {label: "yes", "which": each}
            direct.within(name).must("apply", "-f", "-", stdin=yaml_of(there))
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("filter-gate"), [entry])
    reader = gate.agent("reader", rules_of(names[0], names[1]))
    gate.start()
    gate.agent("reader", rules_of(names[0], names[1]))
    yield Scene(gate, reader, kubectl_of(reader), names[0], names[1], names[2], label)
    gate.stop()


def rules_of(everything: str, some: str) -> list[dict[str, Any]]:
    return [
        allow("maps", VERBS, "configmaps", everything),
        allow("one-map", VERBS, "configmaps", some, names=["shared"]),
        allow("these", VERBS, "namespaces", everything),
    ]


def maps(scene: Scene, query: str = "") -> str:
    return f"/api/v1/configmaps?labelSelector={scene.label}%3Dyes{'&' if query else ''}{query}"


def names_in(items: list[dict[str, Any]]) -> set[str]:
    return {f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}" for item in items}


def got(scene: Scene, target: str, accept: str = JSON) -> tuple[Any, bytes]:
    answer = scene.reader.request("GET", target, {"Accept": accept})
    assert answer.status == 200, answer.body[:500]
    return answer.json(), answer.body


@pytest.mark.parametrize("output", ["name", "json", "yaml", "wide", "", "custom-columns=NS:.metadata.namespace"])
@pytest.mark.parametrize("more", [(), ("--chunk-size=1",)], ids=["", "chunks"])
def test_kubectl_gets_what_may_be_seen_in_every_form(scene: Scene, output: str, more: tuple[str, ...]) -> None:
    options = ["-o", output] if output else []
    ran: Ran = scene.kubectl("get", "configmaps", "-A", "-l", f"{scene.label}=yes", *options, *more)
    assert ran.code == 0, ran.text
    assert scene.hidden_in(ran.out) == []
    assert (ran.out.count(b"shared") >= 2) or output.startswith("custom")
    if output == "json":
        assert names_in(json.loads(ran.out)["items"]) == scene.visible
    elif output in ("wide", "", "custom-columns=NS:.metadata.namespace"):
        assert len(ran.out.splitlines()) == 1 + len(scene.visible)
    assert b"shows only what you may see, by rules reader/maps, reader/one-map" in ran.err


def test_a_list_shows_what_single_gets_would(scene: Scene, direct: Kubectl) -> None:
    everything = json.loads(direct.must("get", "configmaps", "-A", "-l", f"{scene.label}=yes", "-o", "json"))["items"]
    assert len(everything) == 3 * len(OBJECTS)
    single = {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        for one in everything
        if scene.reader.request(
            "GET", f"/api/v1/namespaces/{one['metadata']['namespace']}/configmaps/{one['metadata']['name']}"
        ).status
        == 200
    }
    assert single == scene.visible
    for accept, key in ((JSON, "items"), (PARTIAL, "items"), (TABLE, "rows")):
        found, body = got(scene, maps(scene), accept)
        shown = [row["object"] for row in found["rows"]] if key == "rows" else found["items"]
        assert names_in(shown) == single
        assert scene.hidden_in(body) == []


@pytest.mark.parametrize("query", ["limit=1", "limit=500", "limit=1&continue="])
def test_a_reduced_list_comes_whole_and_counts_nothing(scene: Scene, query: str) -> None:
    for accept, key in ((JSON, "items"), (TABLE, "rows")):
        found, _ = got(scene, maps(scene, query), accept)
        assert len(found[key]) == len(scene.visible)
        assert {"continue", "remainingItemCount"} & {
            name for name, value in found["metadata"].items() if value
        } == set()


def test_a_start_in_the_middle_is_gone_and_clients_list_anew(scene: Scene) -> None:
    answer = scene.reader.request("GET", maps(scene, "limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ"))
    assert (answer.status, answer.kube_status()["reason"]) == (410, "Expired")
    assert "list again without continue" in answer.message


def test_rows_without_objects_are_told_apart_all_the_same(scene: Scene) -> None:
    found, body = got(scene, maps(scene, "includeObject=None"), TABLE)
    assert len(found["rows"]) == len(scene.visible)
    assert scene.hidden_in(body) == []


@pytest.mark.parametrize(
    "selector",
    ["fieldSelector=metadata.namespace%3D{none}", "fieldSelector=metadata.namespace!%3D{all},metadata.name%3Dalpha"],
)
def test_selectors_find_nothing_that_is_hidden(scene: Scene, selector: str) -> None:
    target = maps(scene, selector.format(none=scene.none, all=scene.all))
    answer = scene.reader.request("GET", target)
    if answer.status == 200:
        assert answer.json()["items"] == []
        assert "shows only" in answer.header("warning")
    else:
        assert answer.status == 403
    other = scene.reader.request("GET", target.replace(scene.none, "ng-no-such-namespace").replace("alpha", "omega"))
    assert (other.status, other.header("warning")) == (answer.status, answer.header("warning"))


def test_a_namespace_in_which_one_name_may_be_seen_is_listed_to_that_name(scene: Scene) -> None:
    found, body = got(scene, f"/api/v1/namespaces/{scene.some}/configmaps")
    assert names_in(found["items"]) == {f"{scene.some}/shared"}
    assert b"hidden-value" not in body


def test_a_list_that_can_show_nothing_is_refused(scene: Scene) -> None:
    assert scene.reader.request("GET", f"/api/v1/namespaces/{scene.none}/configmaps").status == 403
    assert scene.reader.request("GET", "/api/v1/secrets").status == 403


def test_namespaces_are_listed_as_far_as_they_may_be_seen(scene: Scene) -> None:
    ran = scene.kubectl("get", "namespaces", "-o", "name")
    assert (ran.code, ran.out.decode().split()) == (0, [f"namespace/{scene.all}"])


def test_a_collection_is_not_deleted_in_part(scene: Scene, direct: Kubectl) -> None:
    remover = scene.gate.agent(
        "remover", [allow("one", f"{VERBS} delete deletecollection", "configmaps", scene.some, names=["shared"])]
    )
    answer = remover.request("DELETE", f"/api/v1/namespaces/{scene.some}/configmaps?labelSelector={scene.label}%3Dyes")
    assert answer.status == 403
    left = direct.within(scene.some).must("get", "configmaps", "-l", f"{scene.label}=yes", "-o", "name").split()
    assert len(left) == len(OBJECTS)


def test_a_guard_over_one_name_takes_it_out_of_lists(scene: Scene) -> None:
    guarded = scene.gate.agent(
        "guarded",
        [allow("maps", VERBS, "configmaps", scene.all), deny("not-beta", "get", "configmaps", names=["beta"])],
    )
    answer = guarded.request("GET", f"/api/v1/namespaces/{scene.all}/configmaps?labelSelector={scene.label}%3Dyes")
    assert names_in(answer.json()["items"]) == {f"{scene.all}/alpha", f"{scene.all}/shared"}


def test_the_record_says_how_much_was_shown_and_hidden(scene: Scene) -> None:
    mark = secrets.token_hex(6)
    got(scene, f"/api/v1/configmaps?labelSelector={scene.label}%3Dyes,mark!%3D{mark}")
    found = scene.gate.wait_for_event(mark)["annotations"]
    hidden = 3 * len(OBJECTS) - len(scene.visible)
    assert found["narrowgate.dev/filtered"] == f"shown={len(scene.visible)},hidden={hidden}"


# --- watches


class Watch:
    """A watch by hand: its events as they come."""

    def __init__(self, agent: Agent, target: str, accept: str = JSON) -> None:
        self.connection: Connection = agent.connect()
        self.connection.send(agent.bytes_of("GET", target, {"Accept": accept}))
        self.status, self.headers = self.connection.head()
        assert self.status == 200
        self.seen = b""
        self.rest = b""
        """Of an event that has not come whole."""

    def events(self, until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Every event up to one of which `until` says so."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + WATCHED_SECONDS
        while time.monotonic() < deadline:
            size = int(self.connection.line(), 16)
            data = self.connection.take(size) if size else b""
            self.connection.take(2)
            if not size:
                break
            self.seen += data
            *lines, self.rest = (self.rest + data).split(b"\n")
            for line in lines:
                found.append(json.loads(line))
                if until(found[-1]):
                    return found
        raise AssertionError(f"the watch ended before: {found}")


@contextlib.contextmanager
def watching(agent: Agent, target: str, accept: str = JSON) -> Iterator[Watch]:
    watch = Watch(agent, target, accept)
    with watch.connection:
        yield watch


def object_of(event: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = event["object"]
    if found["kind"] == "Table":
        found = found["rows"][0]["object"]
    return found


def is_about(name: str, kind: str = "DELETED") -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["type"] == kind and object_of(event)["metadata"].get("name") == name


@pytest.mark.parametrize("accept", [JSON, TABLE], ids=["json", "table"])
def test_a_watch_shows_changes_of_what_may_be_seen_and_no_others(scene: Scene, direct: Kubectl, accept: str) -> None:
    listed, _ = got(scene, maps(scene))
    version = listed["metadata"]["resourceVersion"]
    new = f"new-{secrets.token_hex(3)}"
    with watching(scene.reader, maps(scene, f"watch=true&resourceVersion={version}"), accept) as watch:
        for namespace in (scene.none, scene.some, scene.all):
            here = direct.within(namespace)
            made = configmap(new, colour="red" if namespace == scene.all else "hidden-value")
            made["metadata"]["labels"] = {scene.label: "yes"}
            here.must("apply", "-f", "-", stdin=yaml_of(made))
            here.must("annotate", "configmap", new, f"changed={namespace}")
            here.must("delete", "configmap", new)
        events = watch.events(is_about(new))
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert {object_of(event)["metadata"]["namespace"] for event in events} == {scene.all}
    assert scene.hidden_in(watch.seen) == []
    if accept == TABLE:
        assert events[0]["object"]["columnDefinitions"]


def test_what_the_cluster_says_went_wrong_with_a_watch_is_passed_on(scene: Scene) -> None:
    with watching(scene.reader, maps(scene, "watch=true&resourceVersion=1")) as watch:
        (error,) = watch.events(lambda event: event["type"] == "ERROR")
    assert error["object"]["reason"] == "Expired"


def test_kubectl_follows_what_may_be_seen(scene: Scene, direct: Kubectl) -> None:
    running = scene.kubectl.start("get", "configmaps", "-A", "-l", f"{scene.label}=yes", "-w", "--output-watch-events")
    new = f"followed-{secrets.token_hex(3)}"
    try:
        assert running.stdout is not None
        seen = b""
        deadline = time.monotonic() + WATCHED_SECONDS
        while seen.count(b"ADDED") < len(scene.visible) and time.monotonic() < deadline:
            seen += os.read(running.stdout.fileno(), 65536)
        for namespace in (scene.none, scene.all):
            made = configmap(new, colour="hidden-value")
            made["metadata"]["labels"] = {scene.label: "yes"}
            direct.within(namespace).must("apply", "-f", "-", stdin=yaml_of(made))
            direct.within(namespace).must("delete", "configmap", new)
        while b"DELETED" not in seen and time.monotonic() < deadline:
            seen += os.read(running.stdout.fileno(), 65536)
    finally:
        running.kill()
        running.wait()
        running.stdout.close()
    assert (seen.count(new.encode()), b"DELETED" in seen) == (2, True)
    assert scene.hidden_in(seen) == []


def test_a_watch_whose_view_changes_ends_so_that_clients_list_anew(scene: Scene) -> None:
    viewer = scene.gate.agent("viewer", rules_of(scene.all, scene.some))
    version = viewer.request("GET", maps(scene)).json()["metadata"]["resourceVersion"]
    with watching(viewer, maps(scene, f"watch=true&resourceVersion={version}")) as watch:
        scene.gate.allow("viewer", rules_of(scene.all, scene.none))
        (last,) = watch.events(lambda event: event["type"] == "ERROR")[-1:]
    assert last["object"]["code"] == 410
    scene.gate.wait_until(
        lambda: f"{scene.none}/shared" in names_in(viewer.request("GET", maps(scene)).json()["items"]),
        "the list shows what it should now",
        SETTLE_SECONDS,
    )
    found = names_in(viewer.request("GET", maps(scene)).json()["items"])
    assert found == {f"{scene.all}/{name}" for name in OBJECTS} | {f"{scene.none}/shared"}
