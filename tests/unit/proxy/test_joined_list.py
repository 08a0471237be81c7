"""A list in pieces on its way: what is asked for, what leaves, and what becomes of a piece that fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.proxy.loopback import Message, Peer, Script, api_server, gate, ok, request, run, until

from narrowgate.core.cluster import UpstreamMode
from narrowgate.wire.json_items import BATCH_BYTES

POLICY = """
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: test}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [dev]
  rules:
    - {id: pods, effect: allow, verbs: [get, list, watch], apiGroups: [""], resources: [pods], namespaces: [a, b]}
    - {id: one, effect: allow, verbs: [get, list, watch], apiGroups: [""], resources: [pods], namespaces: [c],
       names: [web]}
"""
REFUSED = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no", "code": 403}
BROKEN = (asyncio.IncompleteReadError, ConnectionError, ValueError)
"""What reading an answer raises that is broken off: within a chunk, at once, or where a chunk should begin."""

Answer = Callable[[str], bytes]
"""What the API server answers to a target."""


def pod(namespace: str, name: str = "web", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, **more}


def listed(*items: Any, version: str = "7") -> bytes:
    document = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}
    return json.dumps(document, separators=(",", ":")).encode()


def status(code: int, body: dict[str, Any]) -> bytes:
    return ok(json.dumps(body).encode()).replace(b"200 OK", b"%d X" % code)


def by_namespace(target: str) -> bytes:
    namespace = target.split("/")[4]
    return ok(listed(pod(namespace), pod("hidden")))


def ask(folder: Path, answer: Answer, target: str = "/api/v1/pods", *, broken: bool = False) -> tuple[Any, list[str]]:
    """What the client gets, and the targets that the API server was asked for."""

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            found = await script.take(peer)
            await peer.send(answer(found.start[1]))

    async def main() -> tuple[Any, list[str]]:
        async with api_server(folder, play) as server, gate(folder, server) as made:
            made.cluster.access = msgspec.structs.replace(made.cluster.access, mode=UpstreamMode.IMPERSONATE)
            await made.change_policy(POLICY)
            client = await made.client()
            await client.send(request("GET", target))
            if broken:
                with pytest.raises(BROKEN):
                    await client.message()
                found: Any = await made.finished()
            else:
                found = await client.message()
            await client.close()
            return found, [each.start[1] for each in server.received]

    return run(main())


def test_each_piece_is_asked_for_as_it_was_at_the_version_of_the_first(tmp_path: Path) -> None:
    found, asked = ask(tmp_path, by_namespace, "/api/v1/pods?limit=500&labelSelector=x")
    exact = "resourceVersion=7&resourceVersionMatch=Exact"
    assert asked == [
        "/api/v1/namespaces/a/pods?labelSelector=x",
        f"/api/v1/namespaces/b/pods?labelSelector=x&{exact}",
        f"/api/v1/namespaces/c/pods?labelSelector=x&fieldSelector=metadata.name%3Dweb&{exact}",
    ]
    assert found.body == listed(pod("a"), pod("b"), pod("c"))
    assert "shows only what you may see" in found.fields["warning"]


def test_a_list_that_says_no_version_is_asked_for_as_it_is(tmp_path: Path) -> None:
    found, asked = ask(tmp_path, lambda target: ok(listed(pod(target.split("/")[4]), version="")))
    assert (found.status, [target for target in asked if "resourceVersion" in target]) == (200, [])


@pytest.mark.parametrize("at", ["a", "b", "c"])
def test_what_the_cluster_says_to_a_piece_is_the_answer_while_nothing_has_left(tmp_path: Path, at: str) -> None:
    found, _ = ask(tmp_path, lambda target: status(403, REFUSED) if f"/{at}/" in target else by_namespace(target))
    assert (found.status, json.loads(found.body)) == (403, REFUSED)
    assert "warning" not in found.fields


def large(target: str) -> bytes:
    """More than is held of a piece."""
    namespace = target.split("/")[4]
    filler = "x" * 1_000
    return ok(listed(*(pod(namespace, f"n{n}", filler=filler) for n in range(2 * BATCH_BYTES // len(filler)))))


@pytest.mark.parametrize(
    "later", [status(403, REFUSED), ok(b'{"kind":"PodList"}'), ok(listed(version="8")), b"HTTP/1.1 200 OK\r\n\r\n{}"]
)
def test_what_goes_wrong_later_breaks_the_answer_off(tmp_path: Path, later: bytes) -> None:
    event, _ = ask(tmp_path, lambda target: large(target) if "/a/" in target else later, broken=True)
    assert event["annotations"]["narrowgate.dev/decision"] == "error"


@pytest.mark.parametrize(
    "later",
    [ok(b'{"kind":"PodList"}'), ok(listed(version="8")), ok(b"{}").replace(b"application/json", b"text/plain")],
)
def test_what_cannot_be_joined_is_a_bad_gateway_while_nothing_has_left(tmp_path: Path, later: bytes) -> None:
    found, _ = ask(tmp_path, lambda target: by_namespace(target) if "/a/" in target else later)
    assert found.status == 502


def test_a_list_ends_when_it_may_not_go_on(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            target = (await script.take(peer)).start[1]
            if "/b/" in target:
                # Half a piece, and then nothing.
                asked.set()
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{")
            else:
                await peer.send(large(target))

    async def main() -> tuple[dict[str, Any], list[str]]:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            made.cluster.access = msgspec.structs.replace(made.cluster.access, mode=UpstreamMode.IMPERSONATE)
            await made.change_policy(POLICY)
            client = await made.client()
            await client.send(request("GET", "/api/v1/pods"))
            await until(asked.is_set)
            await made.change_policy(POLICY.replace("[a, b]", "[a]"))
            with pytest.raises(BROKEN):
                await client.message()
            await client.close()
            return await made.finished(), [each.start[1] for each in server.received]

    event, targets = run(main())
    assert "narrowgate.dev/ended" in event["annotations"]
    assert [target for target in targets if "/c/" in target] == []


def test_several_pieces_are_not_watched_as_one(tmp_path: Path) -> None:
    found, asked = ask(tmp_path, by_namespace, "/api/v1/pods?watch=true")
    assert isinstance(found, Message)
    assert (found.status, asked) == (403, [])
    assert b"watch each namespace" in found.body
