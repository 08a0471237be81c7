"""What a task with limits gets through the data path: each request once, however it is sent, and so many streams."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.proxy.loopback import (
    DISCOVERY,
    JSON,
    POD,
    PODS,
    SECRETS,
    InProcess,
    Message,
    Peer,
    Script,
    api_server,
    gate,
    ok,
    request,
    run,
    until,
)

from narrowgate.authenticators.task_credential import new_task_credential
from narrowgate.authenticators.task_credentials import TaskCredentials
from narrowgate.core.agent import AgentRecord
from narrowgate.core.approvals import ApprovalState, Said, Voice, answered
from narrowgate.core.discovery import Discovery, ResourceType
from narrowgate.core.identity import Kind
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.wanted import read_wanted
from narrowgate.store.people import PeopleNow

POLICY = """
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: test}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [dev]
  rules:
    - {id: pods, effect: grantable, verbs: ["*"], apiGroups: [""], resources: ["*"], namespaces: [ci],
       maxDuration: 1h, approval: none, mountedSecrets: mask, pods: {strongerAccounts: allow}}
    - {id: key, effect: approve, verbs: [get], apiGroups: [""], resources: [secrets], namespaces: [ci],
       approval: {from: [{group: sre, count: 1}], within: 5m}}
"""
MADE = new_task_credential()
REVIEWS = ResourceType(
    group="authorization.k8s.io",
    version="v1",
    resource="selfsubjectaccessreviews",
    kind="SelfSubjectAccessReview",
    namespaced=False,
    verbs=("create",),
)
WATCH = f"{PODS}?watch=1"
SPDY = ("Connection: Upgrade", "Upgrade: SPDY/3.1", "Content-Length: 0")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n"


def task(**limits: Any) -> Task:
    now = time.time()
    return Task(
        id=MADE.task,
        kind=Kind.AGENT,
        name="ci",
        requested_by="agent:ci",
        cluster="dev",
        purpose="test",
        rules=(read_wanted("* * -n ci", 1),),
        credential_id=MADE.task,
        credential_hash=MADE.hash,
        seconds=600.0,
        requested_at=now,
        lapses_at=now + 1,
        state=TaskState.ACTIVE,
        began_at=now,
        ends_at=now + 600,
        **limits,
    )


async def play(script: Script, peer: Peer, _: int) -> None:
    """Watches and followed logs go on, execs switch protocols unless the pod is `gone`, pod `missing` is a 404."""
    while True:
        asked = await script.take(peer)
        if "watch=1" in asked.target or "follow" in asked.target:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            await peer.reader.read(1)
        elif "/gone/exec" in asked.target and asked.method == "GET":
            await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        elif "/exec" in asked.target:
            await peer.send(SWITCHED)
            await peer.reader.read(1)
        elif "/missing" in asked.target:
            await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        elif asked.method == "HEAD":
            await peer.send(ok()[: -len(b"{}")])
        else:
            await peer.send(ok())


class World:
    """The gate, the API server, and a task."""

    def __init__(self, made: InProcess, server: Script) -> None:
        self.made = made
        self.server = server

    async def limited(self, **limits: Any) -> None:
        """Put a task with these limits in force."""
        found = task(**limits)
        grant = found.grant()
        assert grant is not None
        self.made.grants = {found.id: grant}

        def believed(agent: AgentRecord) -> TaskCredentials:
            return TaskCredentials([found], [agent])

        self.made.authenticator = believed
        await self.made.change_policy(POLICY)

    async def ask(self, method: str, target: str, body: bytes = b"", *headers: str) -> int:
        """The status of one request on a connection of its own."""
        answer, client = await self.begin(method, target, body, *headers)
        await client.close()
        return answer.status

    async def begin(self, method: str, target: str, body: bytes = b"", *headers: str) -> tuple[Message, Peer]:
        """A request whose answer may go on: its head, or all of a refusal, and the connection."""
        client = await self.made.client()
        await client.send(request(method, target, body, *headers, token=MADE.text))
        goes_on = "watch" in target or "follow=" in target or "/exec" in target
        answer = await client.head() if goes_on else await client.message(bodiless=method == "HEAD")
        if goes_on and "content-length" in answer.fields:
            body = await client.reader.readexactly(int(answer.fields["content-length"]))
            answer = msgspec.structs.replace(answer, body=body)
        return answer, client

    @property
    def used(self) -> int:
        return self.made.store.task_limits.used([MADE.task], now=time.time())[MADE.task].requests

    @property
    def streams(self) -> int:
        return self.made.store.task_limits.used([MADE.task], now=time.time())[MADE.task].streams


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async with api_server(folder, play) as server, gate(folder, server) as made:
        yield World(made, server)


def scene(folder: Path, act: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with world(folder) as made:
            await act(made)

    run(main())


def bob(now: float) -> SignIn:
    return SignIn(
        id="bob",
        person="bob",
        groups=("sre",),
        source="oidc:dex",
        client=Client.CLI,
        secret_hash=b"bob",
        renewed_at=now,
        created_at=now,
        expires_at=now + 3600,
    )


def told(answer: Message) -> str:
    return str(json.loads(answer.body)["message"])


def test_the_same_bytes_again_count_each_time(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_requests=3)
        client = await world.made.client()
        found = []
        for _ in range(5):
            await client.send(request("GET", f"{PODS}/web", token=MADE.text))
            found.append((await client.message()).status)
        await client.close()
        assert found == [200, 200, 200, 403, 403]
        assert len(world.server.received) == 3

    scene(tmp_path, act)


def test_a_refusal_says_so_and_what_to_do_and_is_recorded_as_one(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_requests=1)
        assert await world.ask("GET", f"{PODS}/first") == 200
        answer, client = await world.begin("GET", f"{PODS}/second")
        await client.close()
        assert told(answer) == (
            f'pods "second" is forbidden: task {MADE.task} has used up its 1 request; what it has running goes on; '
            "for more ask for a new task: narrowgate tasks request"
        )
        event = await world.made.finished("pods/second")
        assert event["annotations"]["narrowgate.dev/decision"] == "deny"
        assert event["responseStatus"]["code"] == 403

    scene(tmp_path, act)


@pytest.mark.parametrize(
    ("method", "target", "body", "headers"),
    [
        ("HEAD", f"{PODS}/web", b"", ()),
        ("GET", f"{PODS}/web?pretty=1", b"", ()),
        ("GET", f"{PODS}/missing", b"", ()),
        ("GET", f"{PODS}/missing/log", b"", ()),
        ("POST", PODS, POD, (JSON,)),
        ("POST", f"{PODS}?dryRun=All", POD, (JSON,)),
        ("GET", WATCH, b"", ()),
        ("GET", f"{PODS}/web/log?follow=true", b"", ()),
        ("POST", f"{PODS}/web/exec?command=ls", b"", SPDY),
    ],
)
def test_whatever_is_sent_and_whatever_is_answered_it_counts_once(
    tmp_path: Path, method: str, target: str, body: bytes, headers: tuple[str, ...]
) -> None:
    async def act(world: World) -> None:
        await world.limited(max_requests=2)
        assert await world.ask(method, target, body, *headers) != 403
        assert world.used == 1
        assert await world.ask("GET", f"{PODS}/last") == 200
        assert await world.ask(method, target, body, *headers) == 403
        assert len(world.server.received) == 2

    scene(tmp_path, act)


def test_what_is_refused_or_rests_on_no_task_does_not_count(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_requests=1)
        world.made.cluster.discovery = Discovery((*DISCOVERY.types(), REVIEWS))
        review = json.dumps(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "ci"}},
            }
        ).encode()
        for method, target, body in (
            ("GET", "/api/v1/namespaces/elsewhere/pods", b""),
            ("GET", "/api", b""),
            ("GET", "/version", b""),
            ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review),
        ):
            status = await world.ask(method, target, body, *((JSON,) if body else ()))
            assert (target, status) == (target, 403 if "elsewhere" in target else 201 if body else 200)
        assert world.used == 0
        assert await world.ask("GET", f"{PODS}/web") == 200
        # Clients find their way about when nothing is left.
        assert (await world.ask("GET", f"{PODS}/web"), await world.ask("GET", "/api")) == (403, 200)

    scene(tmp_path, act)


def test_what_runs_goes_on_when_nothing_is_left(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_requests=2)
        answer, watching = await world.begin("GET", WATCH)
        assert answer.status == 200
        assert [await world.ask("GET", f"{PODS}/web") for _ in range(2)] == [200, 403]
        # It is judged again with every change.
        await world.made.change_policy(POLICY)
        await asyncio.sleep(0.6)
        assert len(world.made.running) == 1
        await watching.close()

    scene(tmp_path, act)


def test_many_at_once_pass_exactly_as_often_as_the_task_covers(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_requests=50)
        statuses = await asyncio.gather(*(world.ask("GET", f"{PODS}/p{n}") for n in range(90)))
        assert (statuses.count(200), statuses.count(403)) == (50, 40)
        assert len(world.server.received) == 50

    scene(tmp_path, act)


def test_a_limit_that_is_lowered_holds_at_once(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_requests=80)
        assert await world.ask("GET", f"{PODS}/web") == 200
        await world.limited(max_requests=2)
        assert [await world.ask("GET", f"{PODS}/web") for _ in range(3)] == [200, 403, 403]

    scene(tmp_path, act)


def test_so_many_streams_run_at_one_time_and_no_more(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_streams=2)
        opened = [await world.begin("GET", WATCH), await world.begin("GET", f"{PODS}/web/log?follow=1")]
        assert [answer.status for answer, _ in opened] == [200, 200]
        for method, target, headers in (
            ("GET", WATCH, ()),
            ("GET", f"{PODS}/web/log?follow=true", ()),
            ("POST", f"{PODS}/web/exec?command=ls", SPDY),
            ("GET", f"{PODS}/web/proxy/", ()),
        ):
            refused, client = await world.begin(method, target, b"", *headers)
            await client.close()
            assert refused.status == 403
            assert "has its 2 streams at one time under way already" in told(refused)
        # What is no stream passes.
        assert await world.ask("GET", f"{PODS}/web/log?follow=false") == 200
        assert await world.ask("GET", f"{PODS}/web/log") == 200

        await opened[0][1].close()
        await until(lambda: world.streams == 1)
        await asyncio.sleep(0.3)
        again, client = await world.begin("GET", WATCH)
        assert again.status == 200
        await client.close()
        await opened[1][1].close()
        await until(lambda: world.streams == 0)

    scene(tmp_path, act)


def test_an_exec_that_the_cluster_refuses_may_be_sent_again_at_once(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_streams=1)
        key = ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13")
        websocket = ("Connection: Upgrade", "Upgrade: websocket", *key, "Sec-WebSocket-Protocol: v5.channel.k8s.io")
        target = f"{PODS}/gone/exec?command=ls"
        for _ in range(5):
            client = await world.made.client()
            await client.send(request("GET", target, b"", *websocket, token=MADE.text))
            assert (await client.message()).status == 403
            # As soon as there is an answer others may open one, whichever process they are sent to.
            assert world.streams == 0
            await client.close()
        assert await world.ask("POST", target, b"", *SPDY) == 101

    scene(tmp_path, act)


def test_a_refused_stream_costs_no_request(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_requests=2, max_streams=1)
        _, watching = await world.begin("GET", WATCH)
        assert await world.ask("GET", WATCH) == 403
        assert await world.ask("GET", PODS) == 200
        assert await world.ask("GET", PODS) == 403
        await watching.close()

    scene(tmp_path, act)


def test_where_the_store_does_not_answer_nothing_passes(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_requests=50, max_streams=5)
        world.made.store._file.close()
        assert await world.ask("GET", f"{PODS}/web") == 503
        assert await world.ask("GET", WATCH) == 503
        assert world.server.received == []

    scene(tmp_path, act)


def test_a_stream_that_others_may_not_count_any_more_ends(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_streams=1)
        answer, watching = await world.begin("GET", f"{WATCH}&labelSelector=lost")
        assert answer.status == 200
        # As it is after the process was kept from its work for a while.
        world.made.counting._told_at -= 9.0
        event = await world.made.finished("lost")
        assert "could not be counted" in event["annotations"]["narrowgate.dev/ended"]
        await watching.close()

    scene(tmp_path, act)


def test_what_people_have_said_yes_to_is_not_used_up_by_a_request_that_cannot_pass(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.limited(max_requests=1)
        approvals = world.made.store.approvals
        client = await world.made.client()
        await client.send(request("GET", f"{SECRETS}/key", token=MADE.text))
        await until(lambda: bool(approvals.listed()))
        assert world.used == 0
        assert await world.ask("GET", f"{PODS}/web") == 200
        (asked,) = approvals.listed()
        now = time.time()
        world.made.store.sign_ins.add(bob(now), by="person:bob", at=now)
        people = PeopleNow(world.made.store, now).about(asked, "bob")
        approved = answered(asked, Said(person="bob", voice=Voice.YES, at=now), people, now)
        approvals.change(approved, was=asked, by="person:bob", at=now)
        answer = await client.message()
        await client.close()
        assert (answer.status, "has used up its 1 request" in told(answer)) == (403, True)
        assert approvals.get(asked.id).state is ApprovalState.APPROVED
        assert [each.target for each in world.server.received] == [f"{PODS}/web"]

    scene(tmp_path, act)
