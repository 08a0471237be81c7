"""Text gets into the index and out of it again, in whichever state a recording is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.trail.texts import BEGAN, name_of, put_text

from narrowgate.core.recorded_text import Passage, Stream
from narrowgate.trail.text_file import PIECE, TEXT, State
from narrowgate.trail.text_index import TextCounts, TextIndex
from narrowgate.trail.text_writer import TextWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[TextWriter]:
    opened = TextWriter.open(tmp_path, "me")
    yield opened
    opened.close()


def found(folder: Path, text: str) -> list[str]:
    with closing(TextIndex.open(folder)) as texts:
        return sorted(session for session, number in texts.holding(text).items() if texts.find(number, text))


def counts(folder: Path) -> TextCounts:
    with closing(TextIndex.open(folder)) as texts:
        return texts.counts()


def lists_of(folder: Path) -> int:
    """How many three characters the index has lists for."""
    with closing(sqlite3.connect(folder / TEXT)) as database:
        database.execute("CREATE VIRTUAL TABLE temp.seen USING fts5vocab('main', 'words', 'row')")
        return len(database.execute("SELECT term FROM temp.seen WHERE doc > 0").fetchall())


def test_what_is_forgotten_is_found_no_more_and_nothing_else_is(writer: TextWriter, tmp_path: Path) -> None:
    for session in ("r1", "r2"):
        put_text(tmp_path, session, "hello ", "world\n" + session)
    writer.forget([name_of("r1")])
    writer.forget([name_of("r1")])
    assert (found(tmp_path, "hello world"), writer.names("2026-11-18")) == (["r2"], [name_of("r2")])
    writer.forget([name_of("r2")])
    assert (lists_of(tmp_path), writer.names(), writer.days()) == (0, [], set())


def test_a_piece_that_grows_is_replaced_and_leaves_nothing_behind(writer: TextWriter, tmp_path: Path) -> None:
    writer.expect([name_of("r1")])
    growing = writer.begin(name_of("r1"), BEGAN, is_encrypted=False)
    for number in range(100):
        growing.add([Passage(number, Stream.OUTPUT, f"{number:05d} "), Passage(number, Stream.INPUT, f"<{number}>")])
        writer.store(growing)
    with closing(sqlite3.connect(tmp_path / TEXT)) as database:
        assert database.execute("SELECT count(*) FROM pieces").fetchone() == (2,)
    assert found(tmp_path, "00041 00042") == found(tmp_path, "<41><42>") == ["r1"]
    assert found(tmp_path, "00041 <") == []
    writer.forget([name_of("r1")])
    assert lists_of(tmp_path) == 0


def test_what_fills_no_piece_waits_where_that_is_wanted(writer: TextWriter, tmp_path: Path) -> None:
    writer.expect([name_of("r1")])
    growing = writer.begin(name_of("r1"), BEGAN, is_encrypted=False)
    growing.add([Passage(0, Stream.OUTPUT, "first" + "a" * PIECE + "last")])
    writer.store(growing, as_far_as_it_is=False)
    assert (found(tmp_path, "first"), found(tmp_path, "last")) == (["r1"], [])
    writer.settle(growing, State.WHOLE)
    assert found(tmp_path, "last") == ["r1"]


def test_a_recording_that_is_begun_anew_stands_there_once(writer: TextWriter, tmp_path: Path) -> None:
    put_text(tmp_path, "r1", "of the first time")
    growing = writer.begin(name_of("r1"), BEGAN, is_encrypted=False)
    growing.add([Passage(0, Stream.OUTPUT, "another text")])
    writer.settle(growing, State.WHOLE)
    assert (found(tmp_path, "first time"), found(tmp_path, "another")) == ([], ["r1"])


def test_what_another_filler_began_is_known_as_such(writer: TextWriter, tmp_path: Path) -> None:
    writer.expect([name_of("r1"), name_of("r2")])
    mine = writer.begin(name_of("r1"), BEGAN, is_encrypted=False)
    with closing(TextWriter.open(tmp_path, "other")) as other:
        other.begin(name_of("r2"), BEGAN, is_encrypted=False)
    assert writer.begun() == {name_of("r1"): mine.number, name_of("r2"): None}
    writer.again([name_of("r2")])
    assert writer.begun() == {name_of("r1"): mine.number}
    assert writer.waiting(10) == [name_of("r2")]


def test_text_of_encrypted_recordings_goes_when_it_is_not_wanted(writer: TextWriter, tmp_path: Path) -> None:
    put_text(tmp_path, "r1", "in the open")
    writer.expect([name_of("r2")])
    growing = writer.begin(name_of("r2"), BEGAN, is_encrypted=True)
    growing.add([Passage(0, Stream.OUTPUT, "in the dark")])
    writer.settle(growing, State.WHOLE)
    writer.leave_out_encrypted()
    assert (found(tmp_path, "in the"), counts(tmp_path)) == (["r1"], TextCounts(searched=1, encrypted=1))
    assert writer.all_of(State.ENCRYPTED) == [name_of("r2")]


def test_an_index_that_is_cleared_has_another_mark(writer: TextWriter, tmp_path: Path) -> None:
    put_text(tmp_path, "r1", "some text")
    before = writer.mark
    writer.clear()
    assert before != writer.mark
    assert (found(tmp_path, "some text"), lists_of(tmp_path), counts(tmp_path)) == ([], 0, TextCounts())


def test_every_state_is_counted(writer: TextWriter, tmp_path: Path) -> None:
    for number, state in enumerate(State):
        writer.expect([name_of(f"r{number}")])
        writer.give_up(name_of(f"r{number}"), state, "because")
    assert counts(tmp_path) == TextCounts(searched=3, cut=1, waiting=1, encrypted=1, unreadable=1)
    assert writer.count_waiting() == 1


def test_text_of_one_recording_is_found_to_a_tenth_of_a_second_however_many_pieces(
    writer: TextWriter, tmp_path: Path
) -> None:
    writer.expect([name_of("r1")])
    growing = writer.begin(name_of("r1"), BEGAN, is_encrypted=False)
    for tenth in range(0, 5000, 3):
        growing.add([Passage(tenth * 100_000 + 7, Stream.OUTPUT, f"at tenth {tenth:06d}: some words of it\n")])
    writer.settle(growing, State.WHOLE)
    with closing(TextIndex.open(tmp_path)) as texts:
        for tenth in range(0, 5000, 111):
            place = texts.find(growing.number, f"tenth {tenth:06d}")
            assert place is not None
            assert (tenth - 1) / 10 <= place.seconds <= (tenth + 1) / 10
