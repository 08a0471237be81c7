"""Recordings get into the text index: kept ones and those that are made, once each, whatever happens in between."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.recorded_sessions import KEY, header, sealing

from narrowgate.config import SearchedText
from narrowgate.core.recording import Ended, Entry, Header
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.main.text_filling import Filled, Recordings, TextFilling
from narrowgate.main.text_following import TextFollowing
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.sealing import Packing, RecordingKey
from narrowgate.trail.text_file import LOCK, TEXT, TextUnusable, lock_of
from narrowgate.trail.text_index import TextCounts, TextIndex

DAY = "2026-11-18"
MOMENT = 20.0
"""Seconds within which a loaded machine does what takes none."""


class Kept:
    """The folders of a gate, in which recordings are made, and their text is looked for."""

    def __init__(self, folder: Path, key: RecordingKey | None = None) -> None:
        self.key = key
        self.trail = folder / "trail"
        self.spool = folder / "spool" / "gate-0"
        self.trail.mkdir()
        self.spool.mkdir(parents=True)
        self.store = FolderStore(folder / "recordings")

    def filling(self, wanted: SearchedText = SearchedText.PLAIN) -> TextFilling:
        keys = () if self.key is None else (self.key,)
        return TextFilling(self.trail, Recordings(self.store, self.spool.parent, keys), wanted)

    def begin(self, session: str, **more: object) -> LiveFile:
        said: Header = header(session, **more)
        return LiveFile.begin(self.spool, said, sealing(self.key), Packing())

    def keep(self, live: LiveFile) -> str:
        """Finish a recording and put it into its store."""
        name = live.finish().name
        path = self.spool / name.replace("/", ".", 1)
        self.store.put(name, path)
        path.unlink()
        return name

    def record(self, session: str, *texts: str) -> str:
        live = self.begin(session)
        for second, text in enumerate(texts):
            live.write([wrote(second, text)])
        live.write([Entry(len(texts) * 1_000_000, Ended("over"))])
        return self.keep(live)

    def found(self, text: str) -> dict[str, float]:
        """The sessions that hold a text, and when."""
        with closing(TextIndex.open(self.trail)) as texts:
            places = {session: texts.find(number, text) for session, number in texts.holding(text).items()}
        return {session: place.seconds for session, place in places.items() if place is not None}

    def counts(self) -> TextCounts:
        with closing(TextIndex.open(self.trail)) as texts:
            return texts.counts()


def wrote(second: float, text: str) -> Entry:
    return Entry(round(second * 1_000_000), ChannelData(Channel.STDOUT, text.encode()))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_what_is_kept_is_found_with_its_time(kept: Kept) -> None:
    kept.record("one", "first\r\n", "a kernel \x1b[31mpa\x1b[0mnic\r\n")
    kept.record("two", "nothing\r\n")
    assert kept.filling().fill() is Filled.UP_TO_DATE
    assert kept.found("kernel panic") == {"one": 1.0}
    assert kept.counts() == TextCounts(searched=2)


def test_what_comes_later_is_taken_in_by_the_same_filling(kept: Kept) -> None:
    filling = kept.filling()
    for number in range(3):
        kept.record(f"s{number}", f"text {number}\n")
        assert filling.fill() is Filled.UP_TO_DATE
        assert kept.counts().searched == number + 1
    assert kept.found("text 1") == {"s1": 0.0}


def test_a_session_is_found_while_it_goes_on_and_once_only_when_it_is_over(kept: Kept) -> None:
    filling = kept.filling()
    live = kept.begin("one")
    live.write([wrote(0, "begun\r\n"), wrote(1, "half a li")])
    assert filling.fill() is Filled.UP_TO_DATE
    assert (kept.found("begun"), kept.found("half a")) == ({"one": 0.0}, {})
    live.write([wrote(1, "ne\r\n"), wrote(1, "more\r\n")])
    assert filling.fill() is Filled.UP_TO_DATE
    assert kept.found("half a line\nmore") == {"one": 1.0}
    live.write([wrote(2, "the end\r\n"), Entry(2_000_000, Ended("over"))])
    kept.keep(live)
    assert filling.fill() is Filled.UP_TO_DATE
    assert kept.found("begun\nhalf a line\nmore\nthe end\n") == {"one": 0.0}
    assert kept.counts() == TextCounts(searched=1)


def test_another_filler_begins_anew_what_one_left_half_done(kept: Kept) -> None:
    live = kept.begin("one")
    live.write([wrote(0, "begun "), wrote(1, "early\r\n")])
    kept.filling().fill()
    live.write([wrote(2, "late\r\n"), Entry(2_000_000, Ended("over"))])
    kept.keep(live)
    assert kept.filling().fill() is Filled.UP_TO_DATE
    assert kept.found("begun early\nlate") == {"one": 0.0}
    assert kept.found("early\nbegun") == {}


def test_one_that_another_took_over_is_read_from_its_beginning(kept: Kept) -> None:
    first, second = kept.filling(), kept.filling()
    live = kept.begin("one")
    for number in range(6):
        live.write([wrote(number, f"line {number}\r\n")])
        assert (first, second)[number % 2].fill() is Filled.UP_TO_DATE
    assert kept.found("".join(f"line {number}\n" for number in range(6))) == {"one": 0.0}
    assert kept.found("line 0\nline 0") == {}
    live.close()


def test_a_session_that_somebody_follows_is_left_to_them(kept: Kept) -> None:
    live = kept.begin("one")
    live.write([wrote(0, "begun\r\n")])
    kept.record("two", "over\r\n")
    with kept.filling().follows() as held:
        assert held
        assert kept.filling().fill() is Filled.UP_TO_DATE
    assert (kept.found("begun"), kept.found("over")) == ({}, {"two": 0.0})
    assert kept.counts() == TextCounts(searched=1, waiting=1)
    live.close()


def test_it_stops_when_it_is_told_and_goes_on_from_there(kept: Kept) -> None:
    lines = [f"line {number:05d}\r\n" for number in range(2_000)]
    kept.record("one", *lines)
    kept.record("two", *lines)
    filling = kept.filling()
    asked, rounds = 0, 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked % 300 == 0

    while filling.fill(stop) is not Filled.UP_TO_DATE:
        rounds += 1
    assert rounds > 10
    for start in range(0, 2_000 - 20, 97):
        assert len(kept.found("".join(lines[start : start + 20]).replace("\r", ""))) == 2
    assert kept.found("line 00000\nline 00000") == {}


def test_what_is_removed_is_found_no_more(kept: Kept) -> None:
    filling = kept.filling()
    gone, stays = kept.record("one", "some text\r\n"), kept.record("two", "some text\r\n")
    filling.fill()
    kept.store.remove(gone)
    filling.fill()
    assert kept.found("some text") == {"two": 0.0}
    kept.store.remove(stays)
    # A day of which nothing is left is looked for by whoever looks everywhere.
    kept.filling().fill()
    assert (kept.found("some text"), kept.counts()) == ({}, TextCounts())


def test_a_lost_file_costs_time_and_nothing_else(kept: Kept) -> None:
    filling = kept.filling()
    live = kept.begin("live")
    live.write([wrote(0, "some text\r\n")])
    kept.record("one", "some text\r\n")
    filling.fill()
    for path in kept.trail.glob(f"{TEXT}*"):
        path.unlink()
    filling.fill()
    assert kept.found("some text") == {"one": 0.0, "live": 0.0}
    live.close()


def test_it_is_made_anew_with_its_progress(kept: Kept) -> None:
    for number in range(3):
        kept.record(f"s{number}", "some text\r\n")
    told: list[tuple[int, int]] = []
    filling = kept.filling()
    filling.fill()
    other = kept.filling()
    assert other.fill(progress=lambda *each: told.append(each), anew=True) is Filled.UP_TO_DATE
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert filling.fill() is Filled.UP_TO_DATE
    assert len(kept.found("some text")) == 3


def test_two_do_not_fill_at_one_time(kept: Kept) -> None:
    kept.record("one", "some text\r\n")
    with lock_of(kept.trail, LOCK):
        assert kept.filling().fill() is Filled.BUSY
        assert kept.filling().fill(wait=0.1) is Filled.BUSY
    assert kept.filling().fill() is Filled.UP_TO_DATE


def test_a_damaged_recording_is_counted_and_read_again_by_the_next_filler(kept: Kept) -> None:
    name = kept.record("one", "some text\r\n")
    path = Path(kept.store.where.removeprefix("file:")) / name
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + b"x" + whole[201:])
    kept.filling().fill()
    assert kept.counts() == TextCounts(unreadable=1)
    path.write_bytes(whole)
    kept.filling().fill()
    assert (kept.counts(), kept.found("some text")) == (TextCounts(searched=1), {"one": 0.0})


def test_encrypted_recordings_are_left_out_unless_they_are_wanted(tmp_path: Path) -> None:
    kept = Kept(tmp_path, KEY)
    live = kept.begin("live")
    live.write([wrote(0, "some text\r\n")])
    kept.record("one", "some text\r\n")
    kept.filling().fill()
    assert (kept.found("some text"), kept.counts()) == ({}, TextCounts(encrypted=2))
    kept.filling(SearchedText.ALL).fill()
    assert kept.found("some text") == {"one": 0.0, "live": 0.0}
    kept.filling().fill()
    assert (kept.found("some text"), kept.counts()) == ({}, TextCounts(encrypted=2))
    assert b"some text" not in (kept.trail / TEXT).read_bytes()
    live.close()


def test_one_whose_key_is_missing_is_unreadable_where_all_are_wanted(tmp_path: Path) -> None:
    kept = Kept(tmp_path, KEY)
    kept.record("one", "some text\r\n")
    kept.key = None
    kept.filling(SearchedText.ALL).fill()
    assert kept.counts() == TextCounts(unreadable=1)


def test_where_no_text_is_wanted_what_there_was_is_removed(kept: Kept) -> None:
    kept.record("one", "some text\r\n")
    kept.filling().fill()
    assert kept.filling(SearchedText.NONE).fill() is Filled.UP_TO_DATE
    assert not list(kept.trail.glob(f"{TEXT}*"))


def test_what_is_copied_is_not_taken_in(kept: Kept) -> None:
    live = LiveFile.begin(
        kept.spool,
        Header(**{**fields_of(header("one")), "command": ("tar", "cf", "-", "/etc/motd"), "tty": False}),
        sealing(),
        Packing(),
    )
    live.write([wrote(0, "some text\r\n"), Entry(1, Ended("over"))])
    kept.keep(live)
    kept.filling().fill()
    assert (kept.found("some text"), kept.counts()) == ({}, TextCounts(searched=1))


def fields_of(said: Header) -> dict[str, object]:
    return {name: getattr(said, name) for name in said.__struct_fields__}


@pytest.fixture
def missing(tmp_path: Path) -> TextFilling:
    return TextFilling(tmp_path / "nowhere", Recordings(FolderStore(tmp_path), tmp_path, ()), SearchedText.PLAIN)


def test_a_record_that_is_away_is_told_of(kept: Kept, missing: TextFilling) -> None:
    with pytest.raises((TextUnusable, OSError)):
        missing.fill()


def test_it_follows_until_it_is_cancelled_and_a_record_that_is_away_does_not_end_it(
    kept: Kept, missing: TextFilling
) -> None:
    async def follow() -> None:
        away = asyncio.create_task(TextFollowing(missing).follow())
        following = asyncio.create_task(TextFollowing(kept.filling()).follow())
        deadline = time.monotonic() + MOMENT
        while not await asyncio.to_thread(kept.found, "some text"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert not away.done()
        for task in (away, following):
            task.cancel()
        await asyncio.wait([away, following], timeout=MOMENT)
        assert away.cancelled()
        assert following.cancelled()

    kept.record("one", "some text\r\n")
    asyncio.run(follow())
