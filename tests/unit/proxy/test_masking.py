"""Masks on the data path of a gate: what the caller gets, what is recorded, and what is refused instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.proxy.loopback import (
    PODS,
    POLICY,
    InProcess,
    Message,
    Peer,
    Script,
    api_server,
    gate,
    ok,
    request,
    run,
)

MASKING = POLICY[: POLICY.index("    - {id: as-it-is")]
"""The same policy, which reveals nothing."""

NOTHING_ALLOWED = MASKING.replace("effect: allow", "effect: deny").replace(
    ", mountedSecrets: mask, pods: {strongerAccounts: allow}", ""
)

HIDES_NODES = """  masks:
    - {id: nodes, apiGroups: [""], resources: [pods], fields: [spec.nodeName]}
"""

PLANTED = "Zq7-planted-in-a-pod"
POD: dict[str, Any] = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "p", "namespace": "ci"},
    "spec": {"containers": [{"name": "c", "env": [{"name": "DB_PASSWORD", "value": PLANTED}]}]},
}
LISTED = json.dumps({"kind": "PodList", "apiVersion": "v1", "items": [POD] * 3}).encode()
EVENT = json.dumps({"type": "ADDED", "object": POD}).encode() + b"\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED_HEAD = JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answered(
    folder: Path,
    answer: list[bytes],
    target: str,
    look: Callable[[InProcess, Peer], Awaitable[Any]],
    *,
    close: bool = False,
) -> Any:
    """What `look` sees when the API server answers with these bytes, one after the other."""

    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        for part in answer:
            await peer.send(part)
            # So that what follows comes by itself, and not with what is at hand.
            await asyncio.sleep(0.05)
        if not close:
            await peer.ended()

    async def main() -> Any:
        async with api_server(folder, play) as server, gate(folder, server) as made:
            await made.change_policy(MASKING)
            client = await made.client()
            await client.send(request("GET", target))
            seen = await look(made, client)
            client.cut()
            return seen

    return run(main())


async def message(made: InProcess, client: Peer) -> tuple[Message, dict[str, Any]]:
    """The answer, and how it was recorded."""
    got = await client.message()
    return got, await made.finished()


async def broken(made: InProcess, client: Peer) -> tuple[bytes, dict[str, Any]]:
    """What came of an answer that was broken off, and how that was recorded."""
    head = await client.head()
    assert head.status == 200
    got = b""
    try:
        while part := await client.reader.read(65_536):
            got += part
    except OSError:
        pass
    return got, await made.finished()


@pytest.mark.parametrize("framing", ["at once", "in parts", "in chunks", "until the close"])
def test_what_leaves_is_masked_counted_and_told(framing: str, tmp_path: Path) -> None:
    whole = ok(LISTED)
    answer = {
        "at once": [whole],
        "in parts": [whole[:-200], whole[-200:]],
        "in chunks": [CHUNKED_HEAD + chunk(LISTED[:300]), chunk(LISTED[300:]) + b"0\r\n\r\n"],
        "until the close": [JSON_HEAD + b"\r\n" + LISTED[:300], LISTED[300:]],
    }[framing]
    got, recorded = answered(tmp_path, answer, PODS, message, close=framing == "until the close")
    assert got.status == 200
    assert PLANTED.encode() not in got.body
    values = [pod["spec"]["containers"][0]["env"][0]["value"] for pod in json.loads(got.body)["items"]]
    assert len(set(values)) == 1
    assert values[0].startswith("[masked:narrowgate/env:")
    assert got.fields["warning"] == '299 narrowgate "masked 3 values by narrowgate/env"'
    assert recorded["annotations"]["narrowgate.dev/masked"] == "narrowgate/env=3"
    assert PLANTED not in json.dumps(recorded)


@pytest.mark.parametrize("framing", ["at once", "in chunks"])
@pytest.mark.parametrize(
    "body", [LISTED[:-1], LISTED + LISTED, b"k8s\0" + LISTED, LISTED.replace(b'"kind": "PodList"', b'"items": []')]
)
def test_what_cannot_be_read_is_a_bad_gateway_before_anything_has_left(
    body: bytes, framing: str, tmp_path: Path
) -> None:
    answer = [ok(body)] if framing == "at once" else [CHUNKED_HEAD, chunk(body), b"0\r\n\r\n"]
    got, recorded = answered(tmp_path, answer, PODS, message)
    assert got.status == 502
    assert "cannot be masked" in json.loads(got.body)["message"]
    assert PLANTED not in got.body.decode() + json.dumps(recorded)
    assert recorded["annotations"]["narrowgate.dev/decision"] == "error"


@pytest.mark.parametrize(
    "line", [b"Content-Encoding: gzip", b"Content-Type: application/vnd.kubernetes.protobuf", b"X: no type at all"]
)
def test_an_answer_in_a_form_that_was_not_asked_for_is_a_bad_gateway(line: bytes, tmp_path: Path) -> None:
    kind = b"" if line.startswith((b"Content-Type", b"X")) else b"Content-Type: application/json\r\n"
    answer = b"HTTP/1.1 200 OK\r\n%b%b\r\nContent-Length: %d\r\n\r\n%b" % (kind, line, len(LISTED), LISTED)
    got, _ = answered(tmp_path, [answer], PODS, message)
    assert got.status == 502
    assert PLANTED.encode() not in got.body


def test_what_turns_odd_on_its_way_is_broken_off(tmp_path: Path) -> None:
    odd = EVENT.replace(b'"object"', b'"object": {}, "object"')
    got, recorded = answered(tmp_path, [CHUNKED_HEAD + chunk(EVENT), chunk(odd)], f"{PODS}?watch=1", broken)
    assert got.count(b"[masked:narrowgate/env:") == 1
    assert PLANTED.encode() not in got
    assert not got.endswith(b"0\r\n\r\n")
    assert recorded["annotations"]["narrowgate.dev/decision"] == "error"
    assert recorded["annotations"]["narrowgate.dev/masked"] == "narrowgate/env=1"


def test_a_log_is_masked_and_its_head_comes_at_once(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    lines = [b"starting\npassword=" + PLANTED.encode()[:9], PLANTED.encode()[9:] + b"\nready\n"]
    answer = [head, *map(chunk, lines), b"0\r\n\r\n"]
    got, recorded = answered(tmp_path, answer, f"{PODS}/p/log?follow=1", message)
    assert PLANTED.encode() not in got.body
    assert (got.body.startswith(b"starting\n"), got.body.endswith(b"ready\n")) == (True, True)
    assert recorded["annotations"]["narrowgate.dev/masked"] == "narrowgate/named-secret=1"


def test_a_watch_whose_permission_ends_is_told_so_behind_a_whole_event(tmp_path: Path) -> None:
    async def look(made: InProcess, client: Peer) -> list[dict[str, Any]]:
        assert (await client.head()).status == 200
        first = await line_of(client)
        await made.change_policy(NOTHING_ALLOWED)
        return [first, await line_of(client)]

    answer = [CHUNKED_HEAD + chunk(EVENT + EVENT[:-30])]
    first, last = answered(tmp_path, answer, f"{PODS}?watch=1", look)
    assert first["object"]["spec"]["containers"][0]["env"][0]["value"].startswith("[masked:narrowgate/env:")
    assert (last["type"], last["object"]["code"]) == ("ERROR", 403)


async def line_of(client: Peer) -> dict[str, Any]:
    """The next event, which comes in a chunk of its own."""
    size = int(await client.reader.readline(), 16)
    document: dict[str, Any] = json.loads(await client.reader.readexactly(size))
    await client.reader.readexactly(2)
    return document


def test_a_warning_of_the_cluster_is_masked_as_text_is(tmp_path: Path) -> None:
    warned = ok(json.dumps(POD).encode(), headers=b'Warning: 299 - "denied: password=%b"\r\n' % PLANTED.encode())

    async def look(gated: InProcess, peer: Peer) -> Message:
        return await peer.message()

    message = answered(tmp_path, [warned], f"{PODS}/p", look)
    warnings = [value for name, value in message.headers if name == "warning"]
    assert warnings[0].startswith('299 - "denied: password=[masked:narrowgate/named-secret:')
    assert PLANTED not in str(message.headers)


@pytest.mark.parametrize("road", ["", "&watch=1"])
def test_nothing_is_forwarded_that_selects_by_what_is_masked(road: str, tmp_path: Path) -> None:
    reached: list[int] = []

    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        reached.append(1)
        await peer.send(ok(LISTED))
        await peer.ended()

    async def main() -> tuple[Message, dict[str, Any]]:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            await made.change_policy(MASKING + HIDES_NODES)
            client = await made.client()
            await client.send(request("GET", f"{PODS}?fieldSelector=spec.nodeName%3Dnode-1{road}"))
            return await message(made, client)

    got, recorded = run(main())
    assert got.status == 403
    assert json.loads(got.body)["message"] == (
        "spec.nodeName is masked for you, and fieldSelector would tell what it is: leave it out of the selector"
    )
    assert reached == []
    assert recorded["responseStatus"]["code"] == 403
