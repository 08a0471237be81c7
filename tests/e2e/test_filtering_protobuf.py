"""Lists and watches in protobuf show what their reader may see: the same as in JSON, and no count of the rest."""

from __future__ import annotations

import pytest
from tests.e2e.kubectl import Kubectl
from tests.e2e.test_filtering import Scene, got, maps, names_in, scene
from tests.e2e.workloads import configmap, yaml_of

from narrowgate.core.body import ObjectNames
from narrowgate.wire.protobuf import fields, object_meta, read_envelope

__all__ = ["scene"]

PROTOBUF = "application/vnd.kubernetes.protobuf"
PARTIAL = f"{PROTOBUF};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def listed(body: bytes) -> tuple[list[ObjectNames], dict[int, int | bytes]]:
    """Who is in a list, and the fields of its metadata."""
    parts = [(number, value) for number, _, value in fields(read_envelope(body).raw)]
    (meta,) = [value for number, value in parts if number == 1]
    items = [object_meta(value) for number, value in parts if number == 2 and isinstance(value, bytes)]
    assert isinstance(meta, bytes)
    return items, {number: value for number, _, value in fields(meta)}


def events(body: bytes) -> list[tuple[bytes, ObjectNames]]:
    """The events of a watch: their types, and whom they are about."""
    found = []
    while body:
        size = 4 + int.from_bytes(body[:4])
        event = {number: value for number, _, value in fields(body[4:size])}
        body = body[size:]
        kind, extension = event[1], event[2]
        assert isinstance(kind, bytes)
        assert isinstance(extension, bytes)
        ((_, _, document),) = fields(extension)
        assert isinstance(document, bytes)
        found.append((kind, object_meta(read_envelope(document).raw)))
    return found


def named(names: list[ObjectNames]) -> set[str]:
    return {f"{one.namespace}/{one.name}" for one in names}


@pytest.mark.parametrize("accept", [PROTOBUF, PARTIAL])
@pytest.mark.parametrize("query", ["", "limit=1", "resourceVersion=0"])
def test_a_list_in_protobuf_shows_what_json_does(scene: Scene, accept: str, query: str) -> None:
    answer = scene.reader.request("GET", maps(scene, query), {"Accept": accept})
    assert answer.status == 200, answer.message
    assert answer.header("content-type").startswith(PROTOBUF)
    items, meta = listed(answer.body)
    in_json, _ = got(scene, maps(scene, query))
    assert named(items) == names_in(in_json["items"]) == scene.visible
    assert scene.hidden_in(answer.body) == []
    assert 4 not in meta
    assert meta.get(3, b"") == b""
    assert "shows only what you may see" in answer.header("warning")


@pytest.mark.parametrize("accept", [PROTOBUF, f"{PROTOBUF};stream=watch"])
def test_a_watch_in_protobuf_tells_of_what_may_be_seen_and_of_nothing_else(
    scene: Scene, direct: Kubectl, accept: str
) -> None:
    for namespace in (scene.all, scene.none):
        passing = configmap("passing", colour="hidden-value" if namespace == scene.none else "red")
        passing["metadata"]["labels"] = {scene.label: "yes"}
        direct.within(namespace).must("apply", "-f", "-", stdin=yaml_of(passing))
        direct.within(namespace).must("delete", "configmap", "passing")
    target = maps(scene, "watch=1&timeoutSeconds=2&resourceVersion=0")
    answer = scene.reader.request("GET", target, {"Accept": accept})
    assert answer.status == 200, answer.message
    told = events(answer.body)
    assert named([one for kind, one in told if kind == b"ADDED" and one.name != "passing"]) == scene.visible
    assert scene.hidden_in(answer.body) == []
