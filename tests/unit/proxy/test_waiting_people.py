"""Whose yes lets a held request pass: looked at anew when it is used, never by whoever can ask as the agent."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest
from tests.unit.proxy.loopback import AGENT, request
from tests.unit.proxy.test_waiting import KEY, NEVER, POLICY, World, causes, in_world

from narrowgate.authenticators.task_credential import new_task_credential
from narrowgate.authenticators.task_credentials import TaskCredentials
from narrowgate.core.agent import AgentRecord
from narrowgate.core.agent_credential import handed_over
from narrowgate.core.approvals import ApprovalState, NotPossible, Voice
from narrowgate.core.delegation import Delegation
from narrowgate.core.identity import Kind
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.wanted import read_wanted

TEAMS = msgspec.structs.replace(AGENT, owner="group:sre")
ONE = POLICY.replace("count: 2", "count: 1")
KEPT_OUT = ONE.replace("within: 5m}", "within: 5m, notByOwner: true}")


def keep(world: World, agent: AgentRecord) -> None:
    """The agent, as the store and the authenticator know it from now on."""
    world.made.agent = agent
    known = any(one.name == agent.name for one in world.store.agents())
    put = world.store.change_agent if known else world.store.add_agent
    put(agent, by="local:test", at=time.time())


def away(world: World, person: str, delegate: str) -> Delegation:
    now = time.time()
    made = Delegation(
        id=f"{person}-{delegate}",
        person=person,
        delegate=delegate,
        groups=("sre",),
        made_at=now,
        begins_at=now,
        ends_at=now + 600,
    )
    world.store.delegations.add(made, by=f"person:{person}", at=now)
    return made


def test_whoever_was_shown_its_credential_does_not_answer_what_it_asks(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        keep(world, handed_over(TEAMS, "person:bob"))
        await world.made.change_policy(ONE)
        await world.send(request("GET", KEY))
        question = await world.asked()
        assert question.excluded == ("bob",)
        with pytest.raises(NotPossible, match="credential they were shown"):
            world.say(question, Voice.YES, "bob")
        world.say(question, Voice.YES, "eve")
        assert (await world.send(request("GET", KEY))).status == 200

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_whoever_is_shown_one_after_saying_yes_has_not_said_yes(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        keep(world, TEAMS)
        await world.made.change_policy(ONE)
        await world.send(request("GET", KEY))
        question = world.say(await world.asked(), Voice.YES, "bob")
        assert question.state is ApprovalState.APPROVED
        # A rotation that keeps the old one good for a while: the question is of that one, and bob has the new one.
        keep(world, handed_over(TEAMS, "person:bob"))
        refused = await world.send(request("GET", KEY))
        assert refused.status == 403
        assert not world.server.received
        assert world.state_of(question) is ApprovalState.WITHDRAWN
        assert causes(refused)["NarrowgateApproval"] != question.id

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_whoever_became_its_owner_in_between_has_not_said_yes(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        keep(world, TEAMS)
        await world.made.change_policy(ONE)
        await world.send(request("GET", KEY))
        question = world.say(await world.asked(), Voice.YES, "bob")
        keep(world, msgspec.structs.replace(TEAMS, owner="person:bob"))
        assert (await world.send(request("GET", KEY))).status == 403
        assert world.state_of(question) is ApprovalState.WITHDRAWN

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_whoever_could_take_the_tasks_credential_does_not_answer_what_is_sent_with_it(tmp_path: Path) -> None:
    # The agent's own credential was replaced since, and bob forgotten there: the task's is good all the same.
    async def scene(world: World) -> None:
        agent, made, now = handed_over(TEAMS, "person:zoe"), new_task_credential(), time.time()
        keep(world, agent)
        task = Task(
            id=made.task,
            kind=Kind.AGENT,
            name=agent.name,
            requested_by="person:eve",
            cluster="dev",
            purpose="look",
            rules=(read_wanted("get pods -n ci", 1),),
            credential_id=made.task,
            credential_hash=made.hash,
            handed_to=("person:eve", "person:bob"),
            seconds=600.0,
            requested_at=now,
            lapses_at=now + 1,
            state=TaskState.ACTIVE,
            began_at=now,
            ends_at=now + 600,
        )
        world.store.tasks.add(task, by="person:eve", at=now)
        world.made.authenticator = lambda known: TaskCredentials([task], [known])
        await world.made.change_policy(ONE)
        await world.send(request("GET", KEY, token=made.text))
        question = await world.asked()
        assert (question.excluded, question.about.purpose) == (("bob", "eve", "zoe"), "look")
        for person in ("bob", "eve"):
            with pytest.raises(NotPossible, match="credential they were shown"):
                world.say(question, Voice.YES, person)

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_nobody_answers_a_delegate_who_could_take_a_credential_above_it(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        agent, own, made, now = (
            handed_over(TEAMS, "person:zoe"),
            new_task_credential(),
            new_task_credential(),
            time.time(),
        )
        keep(world, agent)
        root = Task(
            id=own.task,
            kind=Kind.AGENT,
            name=agent.name,
            requested_by="person:eve",
            cluster="dev",
            purpose="look",
            rules=(read_wanted("get secrets/key -n ci", 1),),
            credential_id=own.task,
            credential_hash=own.hash,
            handed_to=("person:bob",),
            seconds=600.0,
            requested_at=now,
            lapses_at=now + 1,
            state=TaskState.ACTIVE,
            began_at=now,
            ends_at=now + 600,
        )
        told = {"id": made.task, "credential_id": made.task, "credential_hash": made.hash, "parent": root.id}
        told |= {"name": f"{agent.name}/helper", "purpose": "help", "handed_to": (), "requested_by": "agent:ci"}
        child = msgspec.structs.replace(root, **told)
        for task in (root, child):
            world.store.tasks.add(task, by="person:eve", at=now)
        world.made.grants = {task.id: grant for task in (root, child) if (grant := task.grant()) is not None}
        world.made.authenticator = lambda known: TaskCredentials([root, child], [known])
        await world.made.change_policy(ONE)
        await world.send(request("GET", KEY, token=made.text))
        question = await world.asked()
        assert (question.excluded, question.about.purpose) == (("bob", "eve", "zoe"), "help")
        assert question.about.chain == (f"agent:{agent.name}", f"agent:{agent.name}/helper")
        for person in ("bob", "eve"):
            with pytest.raises(NotPossible, match="credential they were shown"):
                world.say(question, Voice.YES, person)

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_a_yes_in_somebodys_place_lets_it_pass_while_it_is_filled(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.made.change_policy(ONE)
        world.sign_in("dan", "developers")
        made = away(world, "bob", "dan")
        await world.send(request("GET", KEY))
        first = world.say(await world.asked(), Voice.YES, "dan")
        assert (first.state, first.said[0].stands_for) == (ApprovalState.APPROVED, ("bob",))
        ended = msgspec.structs.replace(made, ended_at=time.time(), ended_by="person:bob")
        world.store.delegations.change(ended, was=made, by="person:bob", at=time.time())
        assert (await world.send(request("GET", KEY))).status == 403
        assert world.state_of(first) is ApprovalState.WITHDRAWN
        away(world, "eve", "dan")
        world.say(await world.asked(2), Voice.YES, "dan")
        assert (await world.send(request("GET", KEY))).status == 200

    in_world(tmp_path, scene, hold_seconds=NEVER)


def test_what_nobody_could_answer_is_refused_at_once_and_asks_nobody(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        keep(world, TEAMS)
        await world.made.change_policy(KEPT_OUT)
        refused = await world.send(request("GET", KEY))
        assert refused.status == 403
        told = json.loads(refused.body)["message"]
        assert "nobody can answer: sre is asked, which answers for the agent" in told
        assert world.store.approvals.listed() == ()

    in_world(tmp_path, scene)


def test_a_rule_that_keeps_the_owner_out_by_now_asks_anew(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        keep(world, msgspec.structs.replace(AGENT, owner="group:other"))
        await world.made.change_policy(ONE)
        await world.send(request("GET", KEY))
        question = world.say(await world.asked(), Voice.YES, "bob")
        await world.made.change_policy(KEPT_OUT)
        assert (await world.send(request("GET", KEY))).status == 403
        assert world.state_of(question) is ApprovalState.WITHDRAWN

    in_world(tmp_path, scene, hold_seconds=NEVER)
