"""A list and the watches behind it, from an API server that plays a script: what is told, in which order, and what
makes everything be listed anew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.proxy.loopback import PATIENCE, Message, Script, access_to, api_server, ok, run
from tests.unit.proxy.watched_server import WATCH, ApiServer

from narrowgate.proxy.accounts import account_for
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.cluster_watch import EVENT_LIMIT, MOST_WAITING, RETRY_SECONDS, ClusterWatch, Watched

NEVER = 600.0
"""Seconds of a watch that no test waits out."""


class Named(msgspec.Struct):
    name: str


class Thing(msgspec.Struct):
    metadata: Named


class Late(Exception):
    """The watcher's own reason to fail."""


class Noted:
    """A watcher that writes down what it hears; `may_go_on` holds it while it is told of an event."""

    failures: tuple[type[Exception], ...] = (Late,)

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.problems: list[str] = []
        self.fails_at = ""
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    def begun(self) -> None:
        self.heard.append("begun")

    async def listed(self, items: Sequence[Thing]) -> None:
        self.heard += [f"listed {item.metadata.name}" for item in items]

    async def complete(self) -> None:
        self.heard.append("complete")

    async def told(self, kind: str, item: Thing) -> None:
        await self.may_go_on.wait()
        if item.metadata.name == self.fails_at:
            self.fails_at = ""
            raise Late("not now")
        self.heard.append(f"{kind} {item.metadata.name}")

    def alive(self) -> None:
        pass

    def failed(self, problem: str) -> None:
        self.problems.append(problem)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 what is waited for is in the gate, which tells nobody
                await asyncio.sleep(0.01)


def thing(name: str, version: int = 1) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def event(kind: str, name: str, version: int = 1) -> dict[str, Any]:
    return {"type": kind, "object": thing(name, version)}


def listed(*names: str, more: str = "") -> bytes:
    items = [thing(name) for name in names]
    return ok(json.dumps({"metadata": {"resourceVersion": "7", "continue": more}, "items": items}).encode())


def played(
    folder: Path,
    server: ApiServer,
    test: Callable[[Noted], Awaitable[None]],
    *,
    seconds: float = NEVER,
    grace: float = 0.0,
) -> list[Message]:
    async def main() -> list[Message]:
        async with api_server(folder, server) as script:
            cluster = Cluster(access_to(script))
            account_for(cluster, str)
            watched = Watched(
                path="/api/v1/things", name="things", selected="labelSelector=x", page=2, seconds=seconds, grace=grace,
                remedy="ask for it",
            )  # fmt: skip
            noted = Noted()
            following = asyncio.ensure_future(ClusterWatch(cluster, watched, Thing, noted).follow())
            try:
                await test(noted)
                assert not following.done()
            finally:
                following.cancel()
                await asyncio.wait([following])
                cluster.close()
            return script.received

    return run(main())


def watches(requests: list[Message]) -> list[str]:
    return [each.target for each in requests if "watch=1" in each.target]


def test_pages_come_first_and_then_events_each_once_and_in_their_order(tmp_path: Path) -> None:
    server = ApiServer(listed("a", "b", more="x y"), listed("c"))

    async def test(noted: Noted) -> None:
        await noted.until(lambda: server.watches == 1)
        await server.send(event("ADDED", "d", 8), event("BOOKMARK", "", 9), event("DELETED", "a", 10))
        await noted.until(lambda: noted.heard[-1] == "DELETED a")
        assert noted.heard == ["begun", "listed a", "listed b", "listed c", "complete", "ADDED d", "DELETED a"]

    first, second, watch = played(tmp_path, server, test)
    assert first.target == "/api/v1/things?limit=2&labelSelector=x"
    assert second.target == f"{first.target}&continue=x%20y"
    assert watch.target == (
        "/api/v1/things?watch=1&allowWatchBookmarks=1&timeoutSeconds=600&resourceVersion=7&labelSelector=x"
    )


@pytest.mark.parametrize("last", [event("ADDED", "d", 42), event("BOOKMARK", "", 42)], ids=["event", "bookmark"])
def test_a_watch_that_was_ended_goes_on_behind_what_was_told_last(tmp_path: Path, last: dict[str, Any]) -> None:
    server = ApiServer(listed("a"))

    async def test(noted: Noted) -> None:
        await noted.until(lambda: server.watches == 1)
        await server.send(last)
        await server.end()
        await noted.until(lambda: server.watches == 2)
        assert (noted.heard.count("begun"), noted.problems) == (1, [])

    assert "resourceVersion=42" in watches(played(tmp_path, server, test))[1]


def test_watches_that_end_before_anything_comes_are_not_begun_without_a_breath(tmp_path: Path) -> None:
    class Short(ApiServer):
        """Begins watches, and ends each of them at once."""

        async def __call__(self, script: Script, peer: Any, _: int) -> None:
            while True:
                request = await script.take(peer)
                is_watch = "watch=1" in request.target
                self.watches += is_watch
                await peer.send(WATCH + b"0\r\n\r\n" if is_watch else self.lists[0])

    server = Short(listed("a"))
    spent: list[float] = []

    async def test(noted: Noted) -> None:
        loop = asyncio.get_running_loop()
        await noted.until(lambda: server.watches >= 1)
        began, first = loop.time(), server.watches
        await noted.until(lambda: server.watches >= first + 3)
        spent.append(loop.time() - began)
        assert noted.problems == []

    played(tmp_path, server, test)
    assert spent[0] >= RETRY_SECONDS


def test_it_goes_on_only_when_all_was_taken_in(tmp_path: Path) -> None:
    server = ApiServer(listed("a"))

    async def test(noted: Noted) -> None:
        await noted.until(lambda: server.watches == 1)
        noted.may_go_on.clear()
        await server.send(event("ADDED", "b", 8), event("ADDED", "c", 9))
        noted.fails_at = "c"
        await server.end()
        noted.may_go_on.set()
        await noted.until(lambda: server.watches == 2)
        assert noted.problems == ["not now"]
        assert noted.heard == ["begun", "listed a", "complete", "ADDED b", "begun", "listed a", "complete"]

    assert all("resourceVersion=7" in each for each in watches(played(tmp_path, server, test)))


class Gone(ApiServer):
    """Says of the first watch that it is too late for that."""

    async def __call__(self, script: Script, peer: Any, number: int) -> None:
        if number == 0:
            await script.take(peer)
            await peer.send(self.lists[0])
            await script.take(peer)
            await peer.send(b"HTTP/1.1 410 Gone\r\nContent-Length: 2\r\n\r\n{}")
            return
        await super().__call__(script, peer, number)


def test_a_version_that_is_too_old_makes_everything_be_listed_anew(tmp_path: Path) -> None:
    server = Gone(listed("a"))

    async def test(noted: Noted) -> None:
        await noted.until(lambda: server.watches == 1)
        assert noted.heard == ["begun", "listed a", "complete"] * 2
        assert noted.problems == ["the API server answers 410 to who lists or watches things"]

    played(tmp_path, server, test)


def test_a_watch_that_says_nothing_and_never_ends_is_noticed(tmp_path: Path) -> None:
    server = ApiServer(listed("a"), listed("b"))

    async def test(noted: Noted) -> None:
        await noted.until(lambda: "listed b" in noted.heard)
        assert noted.problems == ["the API server was silent for too long"]

    played(tmp_path, server, test, seconds=0.2)


@pytest.mark.parametrize("how", ["too long", "no json", "no object", "an error", "too many"])
def test_what_cannot_be_followed_is_listed_anew(tmp_path: Path, how: str) -> None:
    server = ApiServer(listed("a"), listed("b"))

    async def test(noted: Noted) -> None:
        await noted.until(lambda: server.watches == 1)
        match how:
            case "too long":
                await server.send(b'{"type": "' + b"x" * (EVENT_LIMIT + 1))
            case "no json":
                await server.send(b'{"type": "ADDED", "object": [}\n')
            case "no object":
                await server.send(b'{"type": "ADDED", "object": {"metadata": {}}}\n')
            case "an error":
                await server.send({"type": "ERROR", "object": {"kind": "Status", "code": 410}})
            case _:
                noted.may_go_on.clear()
                line = json.dumps(event("ADDED", "c")).encode() + b"\n"
                await server.send(line * (MOST_WAITING + 2))
        await noted.until(lambda: len(noted.problems) == 1)
        noted.may_go_on.set()
        await noted.until(lambda: noted.heard[-2:] == ["listed b", "complete"])
        await noted.until(lambda: server.watches == 2)

    played(tmp_path, server, test)


def test_a_right_that_is_missing_is_named_with_its_remedy(tmp_path: Path) -> None:
    server = ApiServer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}")

    async def test(noted: Noted) -> None:
        await noted.until(lambda: len(noted.problems) == 1)
        assert noted.problems == ["the gate's account may not list and watch things (403); ask for it"]
        assert noted.heard == ["begun"]

    played(tmp_path, server, test)


def test_an_answer_that_ends_with_its_connection_is_a_watch_as_well(tmp_path: Path) -> None:
    """HTTP/1.0 proxies in between pass on no chunks."""

    class Plain(ApiServer):
        async def __call__(self, script: Script, peer: Any, number: int) -> None:
            if number == 0:
                await script.take(peer)
                await peer.send(self.lists[0])
                await script.take(peer)
                await peer.send(WATCH.replace(b"Transfer-Encoding: chunked", b"Connection: close"))
                await peer.send(json.dumps(event("ADDED", "b", 42)).encode() + b"\n")
                return
            await super().__call__(script, peer, number)

    server = Plain(listed("a"))

    async def test(noted: Noted) -> None:
        await noted.until(lambda: server.watches == 1)
        assert noted.heard == ["begun", "listed a", "complete", "ADDED b"]

    assert "resourceVersion=42" in watches(played(tmp_path, server, test))[1]
