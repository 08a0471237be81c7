"""Values of Secrets kept fresh from an API server that plays a script: known, added, kept for a while, and refused when
nobody knows them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.proxy.loopback import UPSTREAM_TOKEN, Message, Script, access_to, api_server, ok, run
from tests.unit.proxy.watched_server import ApiServer

from narrowgate.proxy.accounts import account_for
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.known_values import FORMER_LIMIT, FORMER_SECONDS, STALE_SECONDS, KnownSecrets

ENOUGH_SECONDS = 10.0


def secret(name: str, version: int = 1, /, **values: str) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {
        "metadata": {"namespace": "ci", "name": name, "resourceVersion": str(version)},
        "type": "Opaque",
        "data": data,
    }


def listed(*secrets: dict[str, Any], more: str = "") -> bytes:
    return ok(json.dumps({"metadata": {"resourceVersion": "7", "continue": more}, "items": secrets}).encode())


class World:
    """A cluster whose Secrets a test changes, and what the gate knows of them."""

    def __init__(self, cluster: Cluster, script: Script) -> None:
        self.now = 0.0
        self.script = script
        self.known = KnownSecrets(cluster, lambda: self.now)

    def knows(self, text: str) -> bool:
        return self.known.current().is_in(text.encode())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(ENOUGH_SECONDS):
            while not condition():  # noqa: ASYNC110 what is waited for is in the gate, which tells nobody
                await asyncio.sleep(0.01)

    async def until_known(self, text: str) -> None:
        await self.until(lambda: not self.known.trouble and self.knows(text))


def played(folder: Path, server: ApiServer, test: Callable[[World], Awaitable[None]]) -> list[Message]:
    async def main() -> list[Message]:
        async with api_server(folder, server) as script:
            cluster = Cluster(access_to(script))
            account_for(cluster, str)
            world = World(cluster, script)
            following = asyncio.ensure_future(world.known.follow())
            try:
                await test(world)
                assert not following.done()
            finally:
                following.cancel()
                await asyncio.wait([following])
                cluster.close()
            return script.received

    return run(main())


def test_nothing_is_known_before_it_was_read(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        with pytest.raises(ClusterNotReady, match="they have not been read yet"):
            world.known.current()
        assert "answers with text are refused" in world.known.trouble

    played(tmp_path, ApiServer(listed()), test)


def test_all_pages_are_read_and_changes_followed_as_the_gate_itself(tmp_path: Path) -> None:
    server = ApiServer(listed(secret("a", a="Zq7Xk29LmPw4"), more="a b"), listed(secret("b", b="Nn8Vb37TrYq1")))

    async def test(world: World) -> None:
        await world.until_known("Zq7Xk29LmPw4")
        assert world.knows("Nn8Vb37TrYq1")
        await world.until(lambda: server.watches == 1)
        await server.send({"type": "ADDED", "object": secret("c", 8, c="Hh5Gf64DsAz9")})
        await world.until_known("Hh5Gf64DsAz9")
        assert world.knows("Zq7Xk29LmPw4")
        assert world.known.trouble == ""

    first, second, watch = played(tmp_path, server, test)
    assert first.target == "/api/v1/secrets?limit=20&fieldSelector=type%21%3Dhelm.sh/release.v1"
    assert second.target == first.target + "&continue=a%20b"
    assert "watch=1" in watch.target
    assert "resourceVersion=7" in watch.target
    assert {each.fields["authorization"] for each in (first, second, watch)} == {f"Bearer {UPSTREAM_TOKEN}"}


def test_a_former_value_is_known_for_an_hour(tmp_path: Path) -> None:
    server = ApiServer(listed(secret("a", a="Zq7Xk29LmPw4")))

    async def test(world: World) -> None:
        await world.until_known("Zq7Xk29LmPw4")
        await world.until(lambda: server.watches == 1)
        await server.send({"type": "MODIFIED", "object": secret("a", 8, a="Nn8Vb37TrYq1")})
        await world.until_known("Nn8Vb37TrYq1")
        await server.send({"type": "DELETED", "object": secret("a", 9, a="Nn8Vb37TrYq1")})
        world.now += FORMER_SECONDS - 1
        await server.send({"type": "ADDED", "object": secret("b", 10, b="Hh5Gf64DsAz9")})
        await world.until_known("Hh5Gf64DsAz9")
        assert world.knows("Zq7Xk29LmPw4")
        assert world.knows("Nn8Vb37TrYq1")
        world.now += 2 * FORMER_SECONDS
        await server.send({"type": "ADDED", "object": secret("c", 11, c="Ww2Ee46RrTt8")})
        await world.until_known("Ww2Ee46RrTt8")
        assert not world.knows("Zq7Xk29LmPw4")
        assert not world.knows("Nn8Vb37TrYq1")
        assert world.knows("Hh5Gf64DsAz9")

    played(tmp_path, server, test)


def test_whoever_rotates_a_secret_all_the_time_is_left_with_the_newest_values(tmp_path: Path) -> None:
    server = ApiServer(listed(secret("a", a="Zq7Xk29LmPw4")))

    async def test(world: World) -> None:
        await world.until_known("Zq7Xk29LmPw4")
        await world.until(lambda: server.watches == 1)
        for number in range(FORMER_LIMIT + 1):
            await server.send({"type": "MODIFIED", "object": secret("a", 8, a=f"Qq-{number:05}-Zx")})
        await world.until_known(f"Qq-{FORMER_LIMIT:05}-Zx")
        await world.until(lambda: len(world.known.current()) == FORMER_LIMIT + 2)
        assert world.knows("Qq-00001-Zx")
        assert world.knows("Zq7Xk29LmPw4"), "it was compiled before, and stays until all is compiled anew"

    played(tmp_path, server, test)


def test_a_watch_that_ends_goes_on_where_it_was(tmp_path: Path) -> None:
    server = ApiServer(listed(secret("a", a="Zq7Xk29LmPw4")))

    async def test(world: World) -> None:
        await world.until(lambda: server.watches == 1)
        await server.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "42"}}})
        await server.end()
        await world.until(lambda: server.watches == 2)

    watches = [each.target for each in played(tmp_path, server, test) if "watch=1" in each.target]
    assert "resourceVersion=42" in watches[1]


@pytest.mark.parametrize("how", ["error", "garbage", "no base64", "cut"])
def test_whatever_cannot_be_followed_is_read_anew(tmp_path: Path, how: str) -> None:
    server = ApiServer(listed(secret("a", a="Zq7Xk29LmPw4")), listed(secret("b", b="Nn8Vb37TrYq1")))
    broken = secret("a", 8)
    broken["data"] = {"a": "%%%"}
    gone = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": 410}

    async def test(world: World) -> None:
        await world.until(lambda: server.watches == 1)
        match how:
            case "error":
                await server.send({"type": "ERROR", "object": gone})
            case "garbage":
                await server.send(b'{"type": "ADDED", "object": [}\n')
            case "no base64":
                await server.send({"type": "ADDED", "object": broken})
            case _:
                server.cut()
        await world.until_known("Nn8Vb37TrYq1")
        assert world.knows("Zq7Xk29LmPw4"), "it is gone, and masked for a while"
        await world.until(lambda: server.watches == 2)

    played(tmp_path, server, test)


def test_nothing_is_known_any_more_when_no_watch_lives(tmp_path: Path) -> None:
    server = ApiServer(listed(secret("a", a="Zq7Xk29LmPw4")))

    async def test(world: World) -> None:
        await world.until_known("Zq7Xk29LmPw4")
        await world.until(lambda: server.watches == 1)
        world.now += STALE_SECONDS + 1
        with pytest.raises(ClusterNotReady, match="its watch of them is silent"):
            world.known.current()
        assert "the watch of its Secrets is silent" in world.known.trouble
        await server.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "42"}}})
        await world.until_known("Zq7Xk29LmPw4")

    played(tmp_path, server, test)


def test_a_right_that_is_missing_is_named(tmp_path: Path) -> None:
    server = ApiServer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}")

    async def test(world: World) -> None:
        await world.until(lambda: "may not list and watch secrets" in world.known.trouble)
        with pytest.raises(ClusterNotReady, match="maskKnownValues"):
            world.known.current()

    played(tmp_path, server, test)


def test_an_answer_that_is_no_list_makes_nothing_known(tmp_path: Path) -> None:
    server = ApiServer(ok(b'{"items": 3}'))

    async def test(world: World) -> None:
        await world.until(lambda: "cannot be read" in world.known.trouble)

    played(tmp_path, server, test)
