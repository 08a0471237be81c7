"""Two places that use one agent's credential: the request that reveals it says so in the record, and goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.unit.proxy.loopback import AGENT, PODS, SECRETS, InProcess, always_ok, api_server, gate, request, run

from narrowgate.authenticators.access_credential import AccessClaims, AccessSigner, Port
from narrowgate.authenticators.access_credentials import AccessCredentials, Genuine
from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.first_match import FirstMatch
from narrowgate.core.identity import Kind

NOTICED = "narrowgate.dev/noticed"
BOTH = "the credential of agent ci is used from 127.0.0.2 and 127.0.0.3 at once"


async def ask(made: InProcess, source: str, path: str) -> int:
    client = await made.client(source)
    await client.send(request("GET", path))
    status = (await client.message()).status
    await client.close()
    return status


def told(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["stage"], event["annotations"][NOTICED]) for event in events if NOTICED in event["annotations"]]


def test_the_request_that_reveals_two_places_is_served_and_says_so_in_the_record(tmp_path: Path) -> None:
    async def main() -> list[list[tuple[str, str]]]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            found = []
            for source, mark in (("127.0.0.2", "one"), ("127.0.0.3", "two"), ("127.0.0.2", "three")):
                assert await ask(made, source, f"{PODS}?fieldSelector={mark}") == 200
                await made.finished(f"={mark}")
                found.append(told(made.events(f"={mark}")))
            return found

    assert run(main()) == [[], [("RequestReceived", BOTH), ("ResponseComplete", BOTH)], []]


def test_an_allow_that_is_used_again_tells_nothing_twice(tmp_path: Path) -> None:
    async def main() -> list[tuple[str, str]]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            first, second = await made.client("127.0.0.2"), await made.client("127.0.0.3")
            # Each address has its own memory of what was allowed: the second round is served from both.
            for _ in range(2):
                for client in (first, second):
                    await client.send(request("GET", PODS))
                    assert (await client.message()).status == 200
            await first.close()
            await second.close()
            await made.trail.close()
            return told(made.events())

    assert run(main()) == [("RequestReceived", BOTH), ("ResponseComplete", BOTH)]


def test_what_is_refused_reveals_a_second_place_too(tmp_path: Path) -> None:
    async def main() -> tuple[int, str]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            await ask(made, "127.0.0.2", PODS)
            code = await ask(made, "127.0.0.3", f"{SECRETS}/marked")
            event = await made.finished("marked")
            return code, event["annotations"][NOTICED]

    assert run(main()) == (403, BOTH)


def test_who_proves_nothing_is_seen_nowhere(tmp_path: Path) -> None:
    async def main() -> list[tuple[str, str]]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            await ask(made, "127.0.0.2", PODS)
            client = await made.client("127.0.0.3")
            await client.send(request("GET", PODS, token="ng1_nonsense"))
            assert (await client.message()).status == 401
            await client.close()
            await made.trail.close()
            return told(made.events())

    assert run(main()) == []


def test_a_person_where_an_agent_is_at_work_is_told_in_the_record(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    claims = AccessClaims(
        id="session-1",
        port=Port.KUBERNETES,
        kind=Kind.PERSON,
        name="alice",
        proven_by="oidc:corp",
        cluster="dev",
        issued_at=time.time(),
        expires_at=time.time() + 3600,
    )
    token = AccessSigner(key).sign(claims)

    async def main() -> list[dict[str, Any]]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            both = FirstMatch(
                [
                    AgentCredentials.of([AGENT]),
                    AccessCredentials(Genuine(key.public_key()), Port.KUBERNETES, agents=[AGENT]),
                ]
            )
            made.state.replace(both, made.rulebook)
            assert await ask(made, "127.0.0.2", PODS) == 200
            found = []
            for source, mark in (("127.0.0.3", "far"), ("127.0.0.2", "near")):
                client = await made.client(source)
                await client.send(request("GET", f"{PODS}?fieldSelector={mark}", token=token))
                # No policy speaks of her: what a request reveals does not depend on what becomes of it.
                assert (await client.message()).status == 403
                await client.close()
                found.append((await made.finished(f"={mark}"))["annotations"])
            return found

    far, near = run(main())
    assert NOTICED not in far
    assert near[NOTICED] == (
        "the credential of person alice is used from 127.0.0.2 with the same client where agent ci is at work"
    )
