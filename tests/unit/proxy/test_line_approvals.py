"""Lines that wait for people, with a store of its own: asked once, entered once, taken back when nobody waits."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest
from tests.deciding import agent, asks
from tests.unit.proxy.loopback import until
from tests.unit.proxy.test_waiting import World, in_world

from narrowgate.core.approvals import ApprovalEvent, ApprovalState, Voice, after
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval, RuleRef
from narrowgate.core.identity import chain_of
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.request_question import HeldRequest
from narrowgate.core.target import parse_target
from narrowgate.core.typed_lines import LineAsked, LineGuard
from narrowgate.proxy.line_approvals import NO_LONGER, LineApprovals
from narrowgate.trail.segment_file import TrailUnwritable

APPROVAL = Approval((Approvers("sre", 1),), 300.0)
GUARD = LineGuard("shop/shell", (("rm",),), APPROVAL)
LINE = LineAsked((GUARD,), "rm -rf /tmp/x")
ALLOWED = Allow(rule=RuleRef("shop", "shell", 3), covers=(RuleRef("shop", "shell", 3),), lines=(GUARD,))


class Session:
    """One session whose lines are asked about, as the pipeline makes it."""

    def __init__(self, world: World, audit_id: str = "session-1") -> None:
        self.world = world
        self.said: list[str] = []
        self.recorded: list[Decision] = []
        self.decision: Decision = ALLOWED
        self.is_recording = True
        held = HeldRequest(
            who=chain_of(agent()),
            intent=asks("create", "pods/exec", "web", namespace="ci"),
            target=parse_target(b"/api/v1/namespaces/ci/pods/web/exec?command=sh&stdin=true&tty=true"),
            digest="d" * 64,
            audit_id=audit_id,
        )
        self.lines = LineApprovals(world.made.waiting, lambda: held, ALLOWED, self._record, self._decide_again)

    async def _record(self, decision: Decision) -> None:
        if not self.is_recording:
            raise TrailUnwritable("the disk is full")
        self.recorded.append(decision)

    async def _decide_again(self) -> Decision:
        return self.decision

    def ask(self, line: LineAsked = LINE, text: str = "") -> asyncio.Task[str]:
        return asyncio.ensure_future(self.lines.ask(line, text or line.text, self.said.append))


def test_a_line_is_entered_once_people_have_said_yes(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        session = Session(world)
        asking = session.ask(text="rm -rf [masked]")
        question = await world.asked()
        assert question.about.summary[:3] == (
            "a line that is typed into a session under way, to be entered once",
            "session: session-1",
            "line: rm -rf [masked]",
        )
        assert "argument 1: sh" in question.about.summary
        assert question.about.audit_id == "session-1"
        assert question.rules[0].policy == "shop"
        # The session is told when the question is in the store, where this test found it.
        await until(lambda: bool(session.said))
        assert session.said == [
            f"waiting for approval {question.id}: narrowgate approvals show {question.id} (^C ends the session)"
        ]
        assert isinstance(session.recorded[0], NeedsApproval), "before it was put"
        world.say(question, Voice.YES, "bob")
        assert await asking == ""
        assert session.said[1:] == [f"approval {question.id}: approved"]
        assert world.state_of(question) is ApprovalState.SPENT
        assert session.recorded[1:] == [msgspec.structs.replace(ALLOWED, approval=question.id)]

    in_world(tmp_path, scene)


def test_another_line_and_the_same_in_another_session_are_asked_about_anew(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        first, other = Session(world), Session(world, "session-2")
        digests = []
        for number, (session, text) in enumerate([(first, "rm a"), (first, "rm a"), (first, "rm b"), (other, "rm a")]):
            asking = session.ask(LineAsked((GUARD,), text))
            question = await world.asked(number + 1)
            digests.append(question.digest)
            world.say(question, Voice.YES, "bob")
            assert await asking == ""
        assert digests[0] == digests[1]
        assert len(set(digests)) == 3

    in_world(tmp_path, scene)


def test_a_no_ends_the_session_with_its_reason(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        session = Session(world)
        asking = session.ask()
        question = await world.asked()
        world.say(question, Voice.NO, "bob", comment="not on a friday")
        why = await asking
        assert "rule shop/shell asks people about a line that was typed" in why
        assert "not on a friday" in why
        assert "rm" not in why, "the line may hold a secret"
        again = await session.ask()
        assert "not on a friday" in again, "nobody is asked again"

    in_world(tmp_path, scene)


def test_it_waits_longer_than_requests_are_held_and_lapses(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        asking = Session(world).ask()
        question = await world.asked()
        assert not asking.done()
        over = after(question, ApprovalEvent.LAPSED, time.time())
        world.store.approvals.change(over, was=question, by="gate", at=time.time())
        world.made.stamp += 1
        assert "nobody answered in time" in await asking

    in_world(tmp_path, scene, hold_seconds=0.0)


@pytest.mark.parametrize(
    "decision", [Deny(message="over"), msgspec.structs.replace(ALLOWED, lines=())], ids=["denied", "other lines"]
)
def test_what_changes_while_it_waits_ends_it_and_takes_it_back(tmp_path: Path, decision: Decision) -> None:
    async def scene(world: World) -> None:
        session = Session(world)
        asking = session.ask()
        question = await world.asked()
        session.decision = decision
        world.made.stamp += 1
        assert await asking == NO_LONGER
        assert world.state_of(question) is ApprovalState.WITHDRAWN

    in_world(tmp_path, scene)


def test_what_changes_with_the_yes_enters_nothing(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        session = Session(world)
        asking = session.ask()
        question = await world.asked()
        session.decision = Deny(message="over")
        world.say(question, Voice.YES, "bob")
        assert await asking == NO_LONGER
        assert session.recorded[1:] == []
        assert world.state_of(question) is ApprovalState.WITHDRAWN

    in_world(tmp_path, scene)


def test_whoever_leaves_takes_the_question_back(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        asking = Session(world).ask()
        question = await world.asked()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert world.state_of(question) is ApprovalState.WITHDRAWN

    in_world(tmp_path, scene)


def test_what_cannot_be_recorded_is_neither_asked_nor_entered(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        session = Session(world)
        session.is_recording = False
        assert await session.ask() == "the disk is full"
        assert world.store.approvals.listed() == ()
        session.is_recording = True
        asking = session.ask()
        question = await world.asked()
        session.is_recording = False
        world.say(question, Voice.YES, "bob")
        assert await asking == "the disk is full"

    in_world(tmp_path, scene)


def test_a_store_that_is_away_enters_nothing(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.store.close()
        assert await Session(world).ask() != ""

    in_world(tmp_path, scene)


def test_a_rule_that_asks_nobody_enters_nothing(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        nobody = LineAsked((LineGuard("shop/shell", (("rm",),)),), "rm a")
        assert "names nobody to be asked" in await Session(world).ask(nobody)
        assert world.store.approvals.listed() == ()

    in_world(tmp_path, scene)


def test_what_breaks_is_the_end_of_the_session_alone(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        session = Session(world)

        def broken(_: str) -> None:
            raise ValueError("nobody listens")

        assert "failed to ask people" in await session.lines.ask(LINE, LINE.text, broken)
        assert [one.state for one in world.store.approvals.listed()] == [ApprovalState.WITHDRAWN]

    in_world(tmp_path, scene)
