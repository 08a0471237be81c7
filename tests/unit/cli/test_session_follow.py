"""A session that runs is followed: every entry once, in order, until its end."""

from __future__ import annotations

from tests.recorded_sessions import a_session
from tests.unit.cli.session_gate import FIRST, RUNNING, SessionGate

from narrowgate.cli.session_follow import followed
from narrowgate.cli.session_place import opened_place
from narrowgate.core.recording import Ended, Entry, Header, Noted
from narrowgate.core.stream_events import Channel, ChannelData

SAME = [Entry(50, ChannelData(Channel.STDOUT, b"twice")), Entry(50, ChannelData(Channel.STDOUT, b"twice"))]


def test_a_finished_one_is_shown_to_its_end(recorded: SessionGate) -> None:
    assert recorded.sessions("follow", FIRST) == (0, "$ ls\r\nREADME\r\n", "it is over: the process ended\n")


def test_every_entry_comes_once_while_it_is_written(recorded: SessionGate) -> None:
    live = recorded.begin("ffff")
    live.write(SAME)
    place = opened_place(str(recorded.config))
    written = iter([[*SAME, Entry(50, Noted("x"))], [], [Entry(60, Noted("y"))], None, [Entry(70, Ended("over"))]])

    def passes(_: float) -> None:
        some = next(written)
        if some is None:
            # What was loose is in a block now.
            live.seal()
            live.sync()
            return
        live.write(some)
        if some and isinstance(some[-1].what, Ended):
            live.finish()
            (waiting,) = recorded.spool.finished()
            recorded.spool.send(waiting, recorded.store)

    header, *entries = followed(place, place.find("ffff"), passes)
    assert isinstance(header.what, Header)
    assert entries == [*SAME, *SAME, Entry(50, Noted("x")), Entry(60, Noted("y")), Entry(70, Ended("over"))]


def test_entries_from_the_very_beginning_come_once(recorded: SessionGate) -> None:
    live = recorded.begin("ffff")
    live.write([Entry(0, Noted("a"))])
    place = opened_place(str(recorded.config))
    looks = iter(range(3))

    def passes(_: float) -> None:
        if next(looks) == 2:
            live.write([Entry(0, Ended("b"))])
            live.finish()

    assert [entry.what for entry in followed(place, place.find("ffff"), passes)][1:] == [Noted("a"), Ended("b")]


def test_one_that_runs_is_not_called_over(recorded: SessionGate) -> None:
    place = opened_place(str(recorded.config))
    seen: list[Entry] = []

    class Enough(Exception):
        pass

    def stop(_: float) -> None:
        raise Enough

    try:
        seen.extend(followed(place, place.find(RUNNING), stop))
    except Enough:
        seen.append(Entry(0, Noted("still running")))
    assert [entry.at for entry in seen[1:-1]] == [entry.at for entry in a_session()[:3]]
    assert seen[-1].what == Noted("still running")
