"""Receivers that fail in every way, and a gate that ends in between: nothing is lost, nothing changes its order."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from tests.hearing import CUT, Answer, HTTPReceiver, MailServer, until
from tests.unit.control.notifications.samples import QUESTION

from narrowgate.control.notifications.flood import MOST_ASKED
from narrowgate.control.notifications.receivers import (
    AnyReceiver,
    MailReceiver,
    MailSecurity,
    SlackReceiver,
    WebhookReceiver,
)
from narrowgate.control.notifications.telling import OLDEST_SECONDS, tell_receivers
from narrowgate.core.agent import AgentRecord
from narrowgate.core.approvals import ApprovalEvent, after
from narrowgate.store.port import NotificationCursor, RoleGrant, Store
from narrowgate.store.sqlite import SQLiteStore

URL = "https://gate.example:8444"
PATIENCE = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(SQLiteStore(tmp_path / "gate.db")) as opened:
        yield opened


@pytest.fixture
def receiver() -> Iterator[HTTPReceiver]:
    with HTTPReceiver() as made:
        yield made


def webhook(receiver: HTTPReceiver, name: str = "pager") -> WebhookReceiver:
    return WebhookReceiver(name=name, url=receiver.url, secrets=(b"k" * 32,), events=("*",))


def happen(store: Store, *names: str, at: float | None = None) -> None:
    """Something that is told, once for each name."""
    for name in names:
        store.roles.give(
            RoleGrant(person=name, role="admin", given_by="local:test", given_at=time.time() if at is None else at)
        )


def told(receiver: HTTPReceiver) -> list[str]:
    return [one.document["data"]["id"] for one in receiver.told]


def tell_until(store: Store, done: Callable[[], bool], *receivers: AnyReceiver) -> None:
    """Run what a gate runs until that is so, and end it as a stopping gate does."""

    async def telling() -> None:
        task = asyncio.ensure_future(tell_receivers(store, receivers, URL))
        try:
            await asyncio.to_thread(until, lambda: done() or task.done(), "all that should be told")
            assert done()
        finally:
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(telling())


def known(store: Store, *receivers: AnyReceiver) -> None:
    """Let these receivers begin here."""
    for receiver in receivers:
        store.notifications.cursor(receiver.name)


def trouble(store: Store, name: str = "pager") -> NotificationCursor:
    return store.notifications.cursor(name)


def test_order_is_kept_across_refusals_cuts_and_slow_answers(store: Store, receiver: HTTPReceiver) -> None:
    known(store, webhook(receiver))
    receiver.answers = [Answer(503), Answer(200, after=0.3), Answer(CUT), Answer(307), Answer(), Answer(429)]
    happen(store, "a", "b", "c", "d")
    tell_until(store, lambda: len(receiver.told) >= 4, webhook(receiver))
    assert told(receiver) == ["a", "b", "c", "d"]
    assert len(receiver.heard) == 8
    ids = [one.headers["webhook-id"] for one in receiver.heard]
    assert len(set(ids)) == 4
    assert ids == sorted(ids, key=ids.index)


def test_what_happens_while_the_gate_is_down_is_told_when_it_is_back(store: Store, receiver: HTTPReceiver) -> None:
    known(store, webhook(receiver))
    happen(store, "a")
    tell_until(store, lambda: told(receiver) == ["a"], webhook(receiver))
    happen(store, "b", "c")
    tell_until(store, lambda: len(receiver.told) >= 3, webhook(receiver))
    assert told(receiver) == ["a", "b", "c"]


def test_a_gate_that_ends_between_two_attempts_goes_on_with_the_same_message(
    store: Store, receiver: HTTPReceiver
) -> None:
    known(store, webhook(receiver))
    receiver.answers = [Answer(503)]
    happen(store, "a", "b")
    tell_until(store, lambda: trouble(store).attempts == 1, webhook(receiver))
    assert trouble(store).trouble == "it answered 503"
    tell_until(store, lambda: trouble(store).attempts == 0 and len(receiver.told) >= 2, webhook(receiver))
    assert [one.document["data"]["id"] for one in receiver.heard] == ["a", "a", "b"]
    assert trouble(store).trouble == ""


PROGRAM = """
import asyncio, sys
from pathlib import Path
from narrowgate.control.notifications.receivers import WebhookReceiver
from narrowgate.control.notifications.telling import tell_receivers
from narrowgate.store.sqlite import SQLiteStore
receiver = WebhookReceiver(name="pager", url=sys.argv[2], secrets=(b"k" * 32,), events=("*",))
asyncio.run(tell_receivers(SQLiteStore(Path(sys.argv[1])), [receiver], "https://gate.example:8444"))
"""


def test_kill_9_repeats_one_message_at_most_and_loses_none(
    store: Store, receiver: HTTPReceiver, tmp_path: Path
) -> None:
    known(store, webhook(receiver))
    names = [f"n{number:02}" for number in range(30)]
    receiver.answers = [Answer(after=0.02) for _ in range(60)]
    happen(store, *names)
    for stop_at in (5, 12, 30):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "gate.db"), receiver.url])
        try:
            until(lambda limit=stop_at: len(set(told(receiver))) >= limit, f"{stop_at} messages")  # type: ignore[misc]
        finally:
            process.kill()
            process.wait()
    heard = told(receiver)
    assert sorted(set(heard)) == names
    assert len(heard) <= 30 + 2
    # In order but for what is told twice.
    assert list(dict.fromkeys(heard)) == names
    repeated = [one.headers["webhook-id"] for one in receiver.told]
    assert len(set(repeated)) == 30


def test_410_stops_that_receiver_and_no_other(store: Store, receiver: HTTPReceiver) -> None:
    with HTTPReceiver() as gone:
        two = (webhook(receiver), webhook(gone, "gone"))
        known(store, *two)
        gone.answers = [Answer(410)]
        happen(store, "a", "b", "c")
        tell_until(store, lambda: len(receiver.told) >= 3 and trouble(store, "gone").attempts == 1, *two)
        assert told(receiver) == ["a", "b", "c"]
        assert len(gone.heard) == 1
        assert "wants nothing more" in trouble(store, "gone").trouble
        # Somebody mended it and started the gate again: it gets what it missed.
        tell_until(store, lambda: len(gone.told) >= 3, *two)
        assert told(gone) == ["a", "b", "c"]


def test_a_receiver_that_hangs_delays_nobody_else(store: Store, receiver: HTTPReceiver) -> None:
    with HTTPReceiver() as slow:
        two = (webhook(slow, "slow"), webhook(receiver))
        known(store, *two)
        slow.answers = [Answer(after=5.0)]
        happen(store, "a", "b")
        tell_until(store, lambda: len(receiver.told) >= 2, *two)
        assert slow.told == []


def test_a_message_that_a_receiver_refuses_for_itself_does_not_hold_up_the_others(
    store: Store, receiver: HTTPReceiver
) -> None:
    known(store, webhook(receiver))
    happen(store, "a", "b")
    # As if it had been refused seven times, over some minutes.
    begun = trouble(store)
    store.notifications.move(msgspec.structs.replace(begun, attempts=7), was=begun)
    receiver.answers = [Answer(422)]
    tell_until(store, lambda: len(receiver.told) >= 1, webhook(receiver))
    assert [one.document["data"]["id"] for one in receiver.heard] == ["a", "b"]
    assert told(receiver) == ["b"]


def test_what_is_older_than_a_day_is_left_out_and_counted(store: Store, receiver: HTTPReceiver) -> None:
    known(store, webhook(receiver))
    happen(store, "old-1", "old-2", at=time.time() - OLDEST_SECONDS - 60)
    happen(store, "new", "newer")
    tell_until(store, lambda: len(receiver.told) >= 2, webhook(receiver))
    assert told(receiver) == ["new", "newer"]
    assert receiver.told[0].document["data"]["leftOut"] == 2
    assert "leftOut" not in receiver.told[1].document["data"]


def test_a_wait_that_another_clock_wrote_is_not_waited_for(store: Store, receiver: HTTPReceiver) -> None:
    known(store, webhook(receiver))
    happen(store, "a")
    begun = trouble(store)
    store.notifications.move(msgspec.structs.replace(begun, attempts=1, next_at=time.time() + 1e8), was=begun)
    tell_until(store, lambda: told(receiver) == ["a"], webhook(receiver))
    assert told(receiver) == ["a"]


def test_a_receiver_hears_only_what_it_asked_for_and_every_emergency(store: Store, receiver: HTTPReceiver) -> None:
    quiet = msgspec.structs.replace(webhook(receiver), events=("agent.paused",))
    known(store, quiet)
    agent = AgentRecord(
        name="bot",
        owner="person:olga",
        purpose="test",
        cluster="prod",
        credential_id="c",
        credential_hash=b"h",
        created_at=0.0,
        expires_at=4e9,
    )
    store.add_agent(agent, by="local:test", at=time.time())
    happen(store, *[f"n{number}" for number in range(250)])
    store.change_agent(msgspec.structs.replace(agent, paused=True), by="person:olga", at=time.time())
    tell_until(store, lambda: len(receiver.told) >= 1, quiet)
    assert [one.document["type"] for one in receiver.told] == ["agent.paused"]


def test_an_agent_that_asks_and_takes_back_all_the_time_wears_nobody_down(store: Store, receiver: HTTPReceiver) -> None:
    with HTTPReceiver() as channel:
        slack = SlackReceiver(
            name="chat", events=("*",), channel="C1", token="t", url=channel.url.removesuffix("/hook")
        )
        known(store, slack, webhook(receiver))
        for number in range(MOST_ASKED + 5):
            ask = msgspec.structs.replace(
                QUESTION, id=f"q{number}", digest=f"{number:064}", lapses_at=time.time() + 600
            )
            store.approvals.add(ask, by="agent:bot", at=time.time())
        happen(store, "a")
        tell_until(
            store,
            lambda: len(receiver.told) > MOST_ASKED + 5 and b"given a role" in channel.heard[-1].body,
            slack,
            webhook(receiver),
        )
        # Programs get everything; people get so many, the word that there is no more, and what others do.
        assert len(receiver.told) == MOST_ASKED + 6
        assert len(channel.told) == MOST_ASKED + 1
        assert b"no more are sent here" in channel.told[-2].body
        assert b"no more are sent here" not in channel.told[-3].body


def test_what_was_answered_meanwhile_is_told_without_the_command_to_answer(
    store: Store, receiver: HTTPReceiver
) -> None:
    known(store, webhook(receiver))
    question = msgspec.structs.replace(QUESTION, lapses_at=time.time() + 600)
    store.approvals.add(question, by="agent:bot", at=time.time())
    receiver.answers = [Answer(503)]
    tell_until(store, lambda: len(receiver.heard) == 1, webhook(receiver))
    withdrawn = after(question, ApprovalEvent.WITHDRAWN, time.time())
    store.approvals.change(withdrawn, was=question, by="agent:bot", at=time.time())
    tell_until(store, lambda: len(receiver.told) == 2, webhook(receiver))
    first, second = (one.document for one in receiver.told)
    assert (first["type"], second["type"]) == ("approval.asked", "approval.withdrawn")
    assert first["data"]["commands"] == ["narrowgate approvals show q1"]


def test_a_test_goes_to_the_receiver_that_it_names(store: Store, receiver: HTTPReceiver) -> None:
    with HTTPReceiver() as other:
        two = (webhook(receiver), webhook(other, "other"))
        known(store, *two)
        store.notifications.ask_test("pager", by="local:test", at=time.time())
        happen(store, "a")
        tell_until(store, lambda: len(receiver.told) >= 2 and len(other.told) >= 1, *two)
        assert [one.document["type"] for one in receiver.told] == ["notification.test", "role.given"]
        assert [one.document["type"] for one in other.told] == ["role.given"]


def test_two_processes_at_one_store_lose_nothing(tmp_path: Path, store: Store, receiver: HTTPReceiver) -> None:
    known(store, webhook(receiver))
    happen(store, "a", "b", "c")
    with closing(SQLiteStore(tmp_path / "gate.db")) as second:

        async def both() -> None:
            tasks = [asyncio.ensure_future(tell_receivers(each, [webhook(receiver)], URL)) for each in (store, second)]
            await asyncio.to_thread(until, lambda: trouble(store).change >= 3, "all that should be told")
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

        asyncio.run(both())
    assert list(dict.fromkeys(told(receiver))) == ["a", "b", "c"]


def test_a_change_that_cannot_be_put_into_words_keeps_nobody_from_hearing_the_next(
    tmp_path: Path, store: Store, receiver: HTTPReceiver
) -> None:
    known(store, webhook(receiver))
    happen(store, "a", "b")
    with closing(sqlite3.connect(tmp_path / "gate.db")) as database:
        # What a newer version, or a bad disk, may leave behind.
        database.execute("UPDATE changes SET detail = ?, action = 'approval.changed' WHERE number = 1", ("[[[",))
        database.execute(
            "INSERT INTO approvals VALUES ('a', '', '', '', 'pending', 0, 0, ?)", (json.dumps({"id": "a"}),)
        )
        database.commit()
    tell_until(store, lambda: told(receiver) == ["b"], webhook(receiver))
    assert told(receiver) == ["b"]


def test_a_mail_server_that_answers_in_drops_is_left_in_time_and_the_gate_can_stop(store: Store) -> None:
    with MailServer(silent=True) as server:
        entry = MailReceiver(
            name="mail",
            events=("*",),
            host="127.0.0.1",
            port=server.port,
            security=MailSecurity.NONE,
            sender="gate@corp.example",
            to=("a@corp.example",),
        )
        known(store, entry)
        happen(store, "a")
        begun = time.monotonic()

        async def stopped_early() -> None:
            task = asyncio.ensure_future(tell_receivers(store, [entry], URL))
            await asyncio.sleep(1.5)
            task.cancel()
            await asyncio.wait({task})

        asyncio.run(stopped_early())
        assert time.monotonic() - begun < PATIENCE
        assert trouble(store, "mail").change == 0
