"""Requests that wait for people, in a gate with a store of its own: asked once, held, passed once, or refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tests.unit.proxy.loopback import (
    AGENT,
    JSON,
    MADE,
    POD,
    PODS,
    SECRETS,
    InProcess,
    Message,
    Peer,
    Play,
    Script,
    always_ok,
    api_server,
    gate,
    ok,
    request,
    run,
    until,
)

from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.credential import new_credential
from narrowgate.core.approvals import (
    ApprovalEvent,
    ApprovalQuestion,
    ApprovalState,
    Said,
    Voice,
    after,
    answered,
)
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.proxy.waiting import HOLD_SECONDS, MAX_HELD_OF_ONE, MAX_OPEN_OF_ONE
from narrowgate.store.people import PeopleNow
from narrowgate.store.sqlite import SQLiteStore

POLICY = """
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: test}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [dev]
  rules:
    - {id: pods, effect: allow, verbs: [get, list, create, delete], apiGroups: [""], resources: [pods],
       namespaces: [ci], pods: {strongerAccounts: allow}}
    - {id: key, effect: approve, verbs: [get], apiGroups: [""], resources: [secrets], namespaces: [ci], names: [key],
       approval: {from: [{group: sre, count: 2}], within: 5m}}
    - {id: changes, effect: approve, verbs: [create, delete], apiGroups: [""], resources: [pods], namespaces: [ci],
       approval: {from: [{group: sre, count: 2}], within: 5m}, pods: {strongerAccounts: allow}}
    - {id: exec, effect: approve, verbs: [create], apiGroups: [""], resources: [pods/exec], namespaces: [ci],
       approval: {from: [{group: sre, count: 2}], within: 5m}, pods: {strongerAccounts: allow}}
    - {id: stream, effect: approve, verbs: [watch], apiGroups: [""], resources: [pods], namespaces: [ci],
       approval: {from: [{group: sre, count: 2}], within: 5m}}
    - {id: proxied, effect: approve, verbs: [create], apiGroups: [""], resources: [pods/proxy], namespaces: [ci],
       approval: {from: [{group: sre, count: 2}], within: 5m}}
"""
KEY = f"{SECRETS}/key"
SPDY = ("Connection: Upgrade", "Upgrade: SPDY/3.1", "Content-Length: 0")
NEVER = 0.0
"""Seconds of a hold that lets nobody answer."""


class World:
    """The gate, the API server, a client, and people who answer."""

    def __init__(self, made: InProcess, server: Script) -> None:
        self.made = made
        self.server = server
        self.client: Peer
        for person in ("bob", "eve"):
            self.sign_in(person)

    @property
    def store(self) -> SQLiteStore:
        return self.made.store

    def sign_in(self, person: str, *groups: str) -> None:
        now = time.time()
        signed_in = SignIn(
            id=f"{person}-{now}",
            person=person,
            groups=groups or ("sre",),
            source="oidc:dex",
            client=Client.CLI,
            secret_hash=f"{person}-{now}".encode(),
            renewed_at=now,
            created_at=now,
            expires_at=now + 3600,
        )
        self.store.sign_ins.add(signed_in, by=f"person:{person}", at=now)

    async def send(self, *sent: bytes) -> Message:
        """Send on a connection of its own, and wait for the answer."""
        client = await self.made.client()
        await client.send(b"".join(sent))
        answer = await client.message()
        await client.close()
        return answer

    async def asked(self, number: int = 1) -> ApprovalQuestion:
        """The newest question, once there are so many."""
        await until(lambda: len(self.store.approvals.listed()) >= number)
        return self.store.approvals.listed()[0]

    def say(self, question: ApprovalQuestion, voice: Voice, *names: str, comment: str = "") -> ApprovalQuestion:
        for person in names:
            now = time.time()
            kept = self.store.approvals.get(question.id)
            people = PeopleNow(self.store, now).about(kept, person)
            heard = answered(kept, Said(person=person, voice=voice, comment=comment, at=now), people, now)
            self.store.approvals.change(heard, was=kept, by=f"person:{person}", at=now)
        return self.store.approvals.get(question.id)

    def state_of(self, question: ApprovalQuestion) -> ApprovalState:
        return self.store.approvals.get(question.id).state


@asynccontextmanager
async def world(folder: Path, *, hold_seconds: float = HOLD_SECONDS, play: Play = always_ok) -> AsyncIterator[World]:
    async with api_server(folder, play) as server, gate(folder, server, hold_seconds=hold_seconds) as made:
        await made.change_policy(POLICY)
        yield World(made, server)


def in_world(
    folder: Path,
    scene: Callable[[World], Awaitable[None]],
    *,
    hold_seconds: float = HOLD_SECONDS,
    play: Play = always_ok,
) -> None:
    async def main() -> None:
        async with world(folder, hold_seconds=hold_seconds, play=play) as made:
            await scene(made)

    run(main())


def causes(answer: Message) -> dict[str, str]:
    return {cause["reason"]: cause["message"] for cause in json.loads(answer.body)["details"]["causes"]}


def test_a_request_waits_for_people_and_passes_when_they_say_yes(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        client = await world.made.client()
        await client.send(request("GET", KEY))
        question = await world.asked()
        assert not world.server.received
        world.say(question, Voice.YES, "bob")
        assert world.state_of(question) is ApprovalState.PENDING
        world.say(question, Voice.YES, "eve")
        assert (await client.message()).status == 200
        assert [each.target for each in world.server.received] == [KEY]
        assert world.state_of(question) is ApprovalState.SPENT
        await client.close()
        end = await world.made.finished("secrets/key")
        assert end["annotations"]["narrowgate.dev/approval"] == question.id
        stages = [
            (event["stage"], event["annotations"].get("narrowgate.dev/decision"))
            for event in world.made.events(end["auditID"])
        ]
        assert stages == [
            ("RequestReceived", None),
            ("RequestReceived", "needs-approval"),
            ("RequestReceived", "allow"),
            ("ResponseComplete", "allow"),
        ]

    in_world(tmp_path, scene)


def test_it_passes_once(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.send(request("GET", KEY))
        first = world.say(await world.asked(), Voice.YES, "bob", "eve")
        assert (await world.send(request("GET", KEY))).status == 200
        again = await world.send(request("GET", KEY))
        assert again.status == 403
        assert causes(again)["NarrowgateApproval"] != first.id
        assert len(world.server.received) == 1

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_without_an_answer_in_time_the_refusal_names_the_approval_and_what_to_do(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        refused = await world.send(request("GET", KEY))
        question = await world.asked()
        assert refused.status == 403
        assert causes(refused)["NarrowgateApproval"] == question.id
        assert f"narrowgate approvals show {question.id}" in json.loads(refused.body)["message"]
        assert world.state_of(question) is ApprovalState.PENDING
        assert not world.server.received

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_a_no_is_told_with_its_reason_and_nobody_is_asked_again(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        client = await world.made.client()
        await client.send(request("GET", KEY))
        world.say(await world.asked(), Voice.NO, "bob", comment="not on a friday")
        refused = await client.message()
        assert refused.status == 403
        assert "not on a friday" in json.loads(refused.body)["message"]
        again = await world.send(request("GET", KEY))
        assert "not on a friday" in json.loads(again.body)["message"]
        assert len(world.store.approvals.listed()) == 1
        assert not world.server.received
        await client.close()

    in_world(tmp_path, scene)


def test_the_same_request_sent_twice_is_one_question_and_one_of_them_passes(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        clients = [await world.made.client() for _ in range(4)]
        for client in clients:
            await client.send(request("GET", KEY))
        question = await world.asked()
        await until(lambda: len(world.made.waiting) == 4)
        world.say(question, Voice.YES, "bob", "eve")
        codes = sorted([(await client.message()).status for client in clients])
        assert codes == [200, 403, 403, 403]
        assert len(world.server.received) == len(world.store.approvals.listed()) == 1
        for client in clients:
            await client.close()

    in_world(tmp_path, scene)


@pytest.mark.parametrize(
    ("approved", "other"),
    [
        (request("GET", f"{KEY}?pretty=true"), request("GET", KEY)),
        (request("GET", KEY), request("GET", f"{KEY}?pretty=true")),
        (request("POST", PODS, POD, JSON), request("POST", PODS, POD.replace(b'"p"', b'"q"'), JSON)),
        (request("POST", PODS, POD, JSON), request("POST", f"{PODS}?dryRun=All", POD, JSON)),
        (request("POST", PODS, POD, JSON), request("POST", PODS, POD + b" ", JSON)),
        (request("DELETE", f"{PODS}/a"), request("DELETE", f"{PODS}/b")),
        (request("DELETE", f"{PODS}/a"), request("DELETE", f"{PODS}/a?propagationPolicy=Orphan")),
        (
            request("DELETE", f"{PODS}/a"),
            request("DELETE", f"{PODS}/a", b'{"kind":"DeleteOptions","gracePeriodSeconds":0}', JSON),
        ),
    ],
)
def test_another_request_does_not_pass_by_it(approved: bytes, other: bytes, tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.send(approved)
        question = world.say(await world.asked(), Voice.YES, "bob", "eve")
        assert (await world.send(other)).status == 403
        assert world.state_of(question) is ApprovalState.APPROVED
        # What is to be deleted is looked at, for whoever is asked.
        assert {one.start[:2] for one in world.server.received} <= {("GET", f"{PODS}/a"), ("GET", f"{PODS}/b")}
        assert (await world.send(approved)).status == 200

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_the_same_request_in_another_spelling_is_the_same_request(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.send(request("GET", f"{KEY}?a=1&b=2"))
        world.say(await world.asked(), Voice.YES, "bob", "eve")
        spelled = f"/clusters/dev{KEY.replace('key', '%6Bey')}?b=%32&&a=1"
        assert (await world.send(request("GET", spelled))).status == 200
        assert len(world.store.approvals.listed()) == 1

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_another_credential_of_the_same_agent_does_not_pass_by_it(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.send(request("GET", KEY))
        world.say(await world.asked(), Voice.YES, "bob", "eve")
        rotated = new_credential()
        both = msgspec.structs.replace(AGENT, credential_id=rotated.id, credential_hash=rotated.hash)
        world.made.authenticator = lambda _: AgentCredentials.of([both])
        await world.made.change_policy(POLICY)
        assert (await world.send(request("GET", KEY, token=rotated.text))).status == 403
        assert (await world.send(request("GET", KEY, token=MADE.text))).status == 401
        assert not world.server.received

    in_world(tmp_path, scene, hold_seconds=NEVER)


@pytest.mark.parametrize("gone", ["another group", "signed out"])
def test_the_yes_of_somebody_who_left_the_group_is_no_yes(gone: str, tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.send(request("GET", KEY))
        question = world.say(await world.asked(), Voice.YES, "bob", "eve")
        if gone == "another group":
            world.sign_in("bob", "dev")
        else:
            (running,) = world.store.sign_ins.listed("bob")
            world.store.sign_ins.end(running.id, "signed out", by="person:bob", at=time.time())
        refused = await world.send(request("GET", KEY))
        assert refused.status == 403
        assert not world.server.received
        assert world.state_of(question) is ApprovalState.WITHDRAWN
        assert causes(refused)["NarrowgateApproval"] != question.id

    in_world(tmp_path, scene, hold_seconds=NEVER)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda text: text.replace("count: 2", "count: 3"), 403),
        (lambda text: text.replace("{id: key, effect: approve", "{id: other, effect: approve"), 403),
        (
            lambda text: (
                text + "    - {id: never, effect: deny, verbs: [get], apiGroups: [''], resources: [secrets]}\n"
            ),
            403,
        ),
        (lambda text: text.replace("names: [key]", "names: [elsewhere]"), 403),
        (lambda text: text + "\n", 200),
    ],
    ids=["more people", "another rule", "a deny rule", "no rule", "nothing of it"],
)
def test_a_policy_that_was_changed_since_decides(change: Callable[[str], str], code: int, tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.send(request("GET", KEY))
        world.say(await world.asked(), Voice.YES, "bob", "eve")
        await world.made.change_policy(change(POLICY))
        assert (await world.send(request("GET", KEY))).status == code
        assert len(world.server.received) == (code == 200)

    in_world(tmp_path, scene, hold_seconds=NEVER)


@pytest.mark.parametrize(("what", "code"), [("policy", 403), ("agent", 401), ("allowed", 200)])
def test_a_change_while_it_waits_ends_the_wait(what: str, code: int, tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        client = await world.made.client()
        await client.send(request("GET", KEY))
        await until(lambda: len(world.made.waiting) == 1)
        if what == "agent":
            world.made.agent = msgspec.structs.replace(AGENT, paused=True)
            await world.made.change_policy(POLICY)
        elif what == "policy":
            await world.made.change_policy(POLICY.replace("names: [key]", "names: [elsewhere]"))
        else:
            await world.made.change_policy(
                POLICY.replace("id: key, effect: approve", "id: key, effect: allow").replace(
                    "names: [key],\n       approval: {from: [{group: sre, count: 2}], within: 5m}}", "names: [key]}"
                )
            )
        assert (await client.message()).status == code
        assert len(world.server.received) == (code == 200)
        await until(lambda: len(world.made.waiting) == 0)
        await client.close()

    in_world(tmp_path, scene)


def test_the_question_stays_when_the_client_leaves_and_another_connection_passes(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        client = await world.made.client()
        await client.send(request("GET", KEY))
        question = await world.asked()
        await until(lambda: len(world.made.waiting) == 1)
        await client.close()
        await until(lambda: len(world.made.waiting) == 0)
        world.say(question, Voice.YES, "bob", "eve")
        assert (await world.send(request("GET", KEY))).status == 200

    in_world(tmp_path, scene)


def test_what_is_approved_survives_the_gate_and_passes_once_in_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as first:
            client = await first.made.client()
            await client.send(request("GET", KEY))
            question = await first.asked()
            await until(lambda: len(first.made.waiting) == 1)
            first.made.waiting.stop()
            assert (await client.message()).status == 403
            await client.close()
        async with world(tmp_path, hold_seconds=NEVER) as second:
            assert (await second.send(request("GET", KEY))).status == 403
            assert [one.id for one in second.store.approvals.listed()] == [question.id]
            second.say(question, Voice.YES, "bob", "eve")
            assert (await second.send(request("GET", KEY))).status == 200
            assert (await second.send(request("GET", KEY))).status == 403
            assert len(second.server.received) == 1

    run(main())


def test_a_question_that_lapsed_is_asked_anew(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.send(request("GET", KEY))
        question = await world.asked()
        over = after(question, ApprovalEvent.LAPSED, time.time())
        world.store.approvals.change(over, was=question, by="gate", at=time.time())
        refused = await world.send(request("GET", KEY))
        assert causes(refused)["NarrowgateApproval"] != question.id

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_a_store_that_is_away_lets_nothing_pass(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.send(request("GET", KEY))
        world.say(await world.asked(), Voice.YES, "bob", "eve")
        world.store.close()
        assert (await world.send(request("GET", KEY))).status == 503
        assert not world.server.received

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_what_cannot_be_recorded_is_not_asked(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.made.trail.close()
        assert (await world.send(request("GET", KEY))).status == 500
        assert world.store.approvals.listed() == ()

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_a_body_that_is_streamed_cannot_be_approved(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        refused = await world.send(request("POST", f"{PODS}/web/proxy/x", b"hello"))
        assert refused.status == 403
        assert "streamed" in json.loads(refused.body)["message"]
        assert world.store.approvals.listed() == ()
        bodiless = await world.send(request("POST", f"{PODS}/web/proxy/x"))
        assert causes(bodiless)["NarrowgateApproval"]

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_nobody_takes_more_than_their_places(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        clients = [await world.made.client() for _ in range(MAX_HELD_OF_ONE)]
        for number, client in enumerate(clients):
            await client.send(request("GET", f"{KEY}?a={number}"))
        await until(lambda: len(world.made.waiting) == MAX_HELD_OF_ONE)
        one_more = await world.send(request("GET", f"{KEY}?a=more"))
        assert one_more.status == 403
        assert causes(one_more)["NarrowgateApproval"]
        for client in clients:
            await client.close()
        await until(lambda: len(world.made.waiting) == 0)

    in_world(tmp_path, scene)


def test_nobody_asks_more_than_people_can_read(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        client = await world.made.client()
        for number in range(MAX_OPEN_OF_ONE):
            await client.send(request("GET", f"{KEY}?a={number}"))
            await client.message()
        await client.send(request("GET", f"{KEY}?a=more"))
        refused = await client.message()
        assert "narrowgate approvals list" in json.loads(refused.body)["message"]
        assert len(world.store.approvals.listed(limit=1000)) == MAX_OPEN_OF_ONE
        await client.close()

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_the_web_socket_and_the_spdy_form_of_an_exec_are_one_question(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        target = f"{PODS}/web/exec?command=ls&stdout=true"
        web_socket = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        web_socket += ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: v5.channel.k8s.io")
        first = await world.send(request("GET", target, b"", *web_socket))
        second = await world.send(request("POST", target, b"", *SPDY))
        assert causes(first)["NarrowgateApproval"] == causes(second)["NarrowgateApproval"]
        assert len(world.store.approvals.listed()) == 1

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_an_exec_is_held_once_though_kubectl_sends_it_twice(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        sent = request("POST", f"{PODS}/web/exec?command=ls&stdout=true", b"", *SPDY)
        client = await world.made.client()
        await client.send(sent)
        question = await world.asked()
        await client.close()
        earlier = msgspec.structs.replace(question, asked_at=question.asked_at - HOLD_SECONDS)
        world.store.approvals.change(earlier, was=question, by="test", at=time.time())
        # Held anew it would be answered long after a test runs out of patience.
        again = await world.send(sent)
        assert causes(again)["NarrowgateApproval"] == question.id

    in_world(tmp_path, scene)


def test_two_gates_on_one_store_let_it_pass_once(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "other").mkdir()
        async with world(tmp_path, hold_seconds=NEVER) as here:
            await here.send(request("GET", KEY))
            approved = here.say(await here.asked(), Voice.YES, "bob", "eve")
            stores = [SQLiteStore(tmp_path / "gate.db") for _ in range(4)]
            others = [type(here.made.waiting)(here.made.state, store) for store in stores]
            spent = await asyncio.gather(*(each.spend(approved) for each in others))
            assert sorted(spent) == [False, False, False, True]
            assert (await here.send(request("GET", KEY))).status == 403
            assert not here.server.received
            for store in stores:
                store.close()

    run(main())


@pytest.mark.parametrize("state", [ApprovalState.PENDING, ApprovalState.DENIED, ApprovalState.SPENT])
def test_what_is_not_approved_is_never_spent(state: ApprovalState, tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.send(request("GET", KEY))
        question = await world.asked()
        claimed = msgspec.structs.replace(question, state=ApprovalState.APPROVED)
        if state is ApprovalState.DENIED:
            world.say(question, Voice.NO, "bob")
        if state is ApprovalState.SPENT:
            approved = world.say(question, Voice.YES, "bob", "eve")
            assert await world.made.waiting.spend(approved)
        assert not await world.made.waiting.spend(claimed)
        assert world.state_of(question) is state

    in_world(tmp_path, scene, hold_seconds=NEVER)


async def streaming(script: Script, peer: Peer, _: int) -> None:
    """Begin a watch that says nothing for as long as it may."""
    await script.take(peer)
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    await peer.ended()


def test_a_stream_that_was_approved_goes_on_while_the_rules_ask_for_no_more(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        client = await world.made.client()
        await client.send(request("GET", f"{PODS}?watch=true"))
        world.say(await world.asked(), Voice.YES, "bob", "eve")
        assert (await client.head()).status == 200
        await world.made.change_policy(POLICY + "\n")
        # As long as it takes to be judged again: a stream that is judged is not ended.
        (running,) = world.made.running._running
        await until(lambda: running.number == world.made.state.number)
        assert not running.over
        await world.made.change_policy(POLICY.replace("count: 2", "count: 3"))
        await until(lambda: bool(running.over))
        assert "holds it for approval" in running.over
        await client.close()

    in_world(tmp_path, scene, play=streaming)


def test_a_stream_that_was_approved_ends_when_the_approval_lapses(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        client = await world.made.client()
        await client.send(request("GET", f"{PODS}?watch=true"))
        question = await world.asked()
        world.say(question, Voice.YES, "bob", "eve")
        assert (await client.head()).status == 200
        (running,) = world.made.running._running
        assert running.deadline == question.lapses_at
        await client.close()

    in_world(tmp_path, scene, play=streaming)


def test_of_many_who_wait_the_one_who_is_revoked_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        made = {name: new_credential() for name in ("one", "two", "three")}
        agents = [
            msgspec.structs.replace(AGENT, name=name, credential_id=new.id, credential_hash=new.hash)
            for name, new in made.items()
        ]
        everybody = POLICY.replace("[{kind: Agent, name: ci}]", "[{kind: Agent, name: '*'}]")
        world.made.authenticator = lambda _: AgentCredentials.of(agents)
        await world.made.change_policy(everybody)
        clients = {name: [await world.made.client() for _ in range(20)] for name in made}
        for name, theirs in clients.items():
            for number, client in enumerate(theirs):
                await client.send(request("GET", f"{KEY}?a={number}", token=made[name].text))
        await until(lambda: len(world.made.waiting) == 60)
        agents[1] = msgspec.structs.replace(agents[1], paused=True)
        await world.made.change_policy(everybody)
        assert [(await client.message()).status for client in clients["two"]] == [401] * 20
        assert len(world.made.waiting) == 40
        assert not world.server.received
        for client in (client for theirs in clients.values() for client in theirs):
            await client.close()
        await until(lambda: len(world.made.waiting) == 0)

    in_world(tmp_path, scene)


def test_a_deny_that_comes_with_the_answer_wins(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        client = await world.made.client()
        await client.send(request("GET", KEY))
        question = await world.asked()
        await until(lambda: len(world.made.waiting) == 1)
        world.say(question, Voice.YES, "bob", "eve")
        # Nothing runs in between: the gate hears of both at once.
        await world.made.change_policy(
            POLICY + "    - {id: never, effect: deny, verbs: [get], apiGroups: [''], resources: [secrets]}\n"
        )
        assert (await client.message()).status == 403
        assert world.state_of(question) is ApprovalState.APPROVED
        assert not world.server.received
        await client.close()

    in_world(tmp_path, scene)


def test_the_object_is_looked_at_as_it_is_after_the_wait(tmp_path: Path) -> None:
    locked = [False]

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            await script.take(peer)
            pod = {"metadata": {"name": "a", "resourceVersion": "1", "labels": {"locked": str(locked[0])}}}
            await peer.send(ok(json.dumps(pod).encode()))

    async def scene(world: World) -> None:
        condition = 'oldObject.metadata.labels.locked == "True"'
        await world.made.change_policy(
            POLICY + "    - {id: locked, effect: deny, verbs: [delete], apiGroups: [''], resources: [pods],\n"
            f"       namespaces: [ci], when: '{condition}'}}\n"
        )
        client = await world.made.client()
        await client.send(request("DELETE", f"{PODS}/a"))
        question = await world.asked()
        locked[0] = True
        world.say(question, Voice.YES, "bob", "eve")
        refused = await client.message()
        assert refused.status == 403
        assert "rule locked" in json.loads(refused.body)["message"]
        assert {each.method for each in world.server.received} == {"GET"}
        locked[0] = False
        assert (await world.send(request("DELETE", f"{PODS}/a"))).status == 200
        await client.close()

    in_world(tmp_path, scene, play=play)


def test_what_was_approved_is_sent_once_though_a_kept_connection_dies_under_it(tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, number: int) -> None:
        await script.take(peer)
        await peer.send(ok())
        # The next request on this connection arrives, and perhaps it was obeyed: nobody says.
        await script.take(peer)

    async def scene(world: World) -> None:
        assert (await world.send(request("GET", f"{PODS}/p"))).status == 200
        client = await world.made.client()
        await client.send(request("GET", KEY))
        world.say(await world.asked(), Voice.YES, "bob", "eve")
        assert (await client.message()).status == 200
        assert [sent.target for sent in world.server.received].count(KEY) == 1
        await client.close()

    in_world(tmp_path, scene, play=play)


def test_what_nobody_can_use_any_more_is_taken_back(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.send(request("GET", KEY))
        question = await world.asked()
        await world.made.waiting.take_back("no such digest", "over")
        assert world.state_of(question) is ApprovalState.PENDING
        await world.made.waiting.take_back(question.digest, "the session is over")
        kept = world.store.approvals.get(question.id)
        assert (kept.state, kept.ended_because) == (ApprovalState.WITHDRAWN, "the session is over")
        await world.made.waiting.take_back(question.digest, "again")
        assert world.store.approvals.get(question.id) == kept

    in_world(tmp_path, scene, hold_seconds=NEVER)
