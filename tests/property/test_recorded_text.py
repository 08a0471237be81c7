"""Text of recordings: any cut of the bytes is the same text, and a search finds what reading all of it finds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.recorded_sessions import BEGAN, sealing

from narrowgate.config import SearchedText
from narrowgate.core.audit_query import LONGEST_TEXT, SHORTEST_TEXT
from narrowgate.core.recorded_text import RecordedText
from narrowgate.core.recording import Ended, Entry, Header, Kind
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.main.text_filling import Filled, Recordings, TextFilling
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.sealing import Packing
from narrowgate.trail.text_index import TextIndex

EXAMPLES = 25
"""Each makes recordings in files and an index of them: a few tenths of a second."""

CHANNELS = (Channel.STDOUT, Channel.STDERR, Channel.STDIN)

PARTS = (
    "kernel", "PANIC", " ", " ", "\n", "\r\n", "\r", "\b", "\t", "é", "ß", "Σ", "İ", "😀", "\x1b[31m", "\x1b[0m",
    "\x1b]0;title\x07", "\x1b]8;;x\x1b\\", "\x1b]", "\x1b", "\x1b[", "\0", "\x7f", '"', "*", "AND", "a" * 300,
)  # fmt: skip
written = st.one_of(
    st.lists(st.sampled_from(PARTS), max_size=60).map(lambda parts: "".join(parts).encode()),
    st.lists(st.sampled_from(PARTS), max_size=60).map(lambda parts: "".join(parts).encode() * 40),
    st.binary(max_size=40),
)
pieces = st.tuples(st.sampled_from(CHANNELS), written)
recordings = st.tuples(st.booleans(), st.lists(pieces, max_size=8), st.lists(st.integers(1, 400), max_size=8))
"""Whether it has a terminal, what passed, and where that is cut."""


def header(session: str, *, tty: bool) -> Header:
    return Header(session=session, began=BEGAN, kind=Kind.EXEC, chain=(), cluster="dev", command=("sh",), tty=tty)


def texts_of(passed: Sequence[tuple[Channel, bytes]], *, tty: bool) -> list[str]:
    """The text of each stream, every piece taken as it is."""
    text = RecordedText(header("s", tty=tty))
    found = [
        one for at, (channel, data) in enumerate(passed) for one in text.feed(Entry(at, ChannelData(channel, data)))
    ]
    found += text.finish()
    streams = dict.fromkeys((one.stream for one in found), "")
    for one in found:
        streams[one.stream] += one.text
    return sorted(streams.values())


def cut(passed: Sequence[tuple[Channel, bytes]], places: Sequence[int]) -> list[tuple[Channel, bytes]]:
    """The same bytes in other pieces."""
    found: list[tuple[Channel, bytes]] = []
    for channel, data in passed:
        rest = data
        for place in places:
            found.append((channel, rest[:place]))
            rest = rest[place:]
        found.append((channel, rest))
    return [(channel, data) for channel, data in found if data]


@given(recordings)
@settings(deadline=None)
def test_how_the_bytes_are_cut_means_nothing(
    recording: tuple[bool, list[tuple[Channel, bytes]], list[int]],
) -> None:
    tty, passed, places = recording
    whole = texts_of(passed, tty=tty)
    assert texts_of(cut(passed, places), tty=tty) == whole
    assert texts_of(cut(passed, [1] * 50), tty=tty) == whole


@given(st.lists(st.sampled_from(PARTS), max_size=40).map("".join), st.booleans())
@settings(deadline=None)
def test_letters_are_lost_to_nothing(line: str, tty: bool) -> None:
    """Whatever escape sequences stand around it: a word that the program wrote in one piece is in the text."""
    for before, behind in (("", line), (line, ""), (line, line)):
        text = "\n".join(texts_of([(Channel.STDOUT, f"{before}\nfindthisword{behind}\n".encode())], tty=tty))
        assert "findthisword" in text


class Told:
    """Recordings that grow, are interrupted, and are kept; each step by the filler that is there at the time."""

    def __init__(self, folder: Path) -> None:
        self.trail, self.spool = folder / "trail", folder / "spool" / "gate-0"
        self.trail.mkdir()
        self.spool.mkdir(parents=True)
        self.store = FolderStore(folder / "recordings")

    def filling(self) -> TextFilling:
        return TextFilling(self.trail, Recordings(self.store, self.spool.parent, ()), SearchedText.PLAIN)

    def begin(self, session: str, *, tty: bool) -> LiveFile:
        return LiveFile.begin(self.spool, header(session, tty=tty), sealing(), Packing())

    def keep(self, live: LiveFile) -> None:
        name = live.finish().name
        path = self.spool / name.replace("/", ".", 1)
        self.store.put(name, path)
        path.unlink()


def asked(texts: Sequence[str], starts: Sequence[tuple[int, int, int]]) -> list[str]:
    """Texts to look for: parts of what there is, and two that are put together from such."""
    every = "".join(texts) or "nothing"
    found = ["kernel", "PANIC ", "kernel panic", "nowhere at all", "éß", '" AND "', "a" * 200]
    for first, second, length in starts:
        one, other = every[first % len(every) :][:length], every[second % len(every) :][: length // 2]
        found += [one, one.swapcase(), one[: length // 2] + other]
    return [text for text in found if SHORTEST_TEXT <= len(text) <= LONGEST_TEXT and "\0" not in text]


def letters(text: str) -> list[str]:
    """A text letter by letter, each in its lower case where that is one letter."""
    return [next((other for other in (each.casefold(), each.lower()) if len(other) == 1), each) for each in text]


def holds(text: str, sought: str) -> bool:
    whole, part = letters(text), letters(sought)
    return any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))


@given(
    st.lists(recordings, min_size=1, max_size=3),
    st.lists(st.integers(0, 2), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 1 << 20), st.integers(3, 256)), max_size=4),
    st.integers(3, 50),
)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_search_finds_what_reading_all_recordings_finds(
    made: list[tuple[bool, list[tuple[Channel, bytes]], list[int]]],
    fillers: list[int],
    starts: list[tuple[int, int, int]],
    patience: int,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        told = Told(Path(name))
        fillings = [told.filling() for _ in range(3)]
        live = [told.begin(f"s{number}", tty=tty) for number, (tty, _, _) in enumerate(made)]
        passed = [cut(of, places) for _, of, places in made]
        for step in range(max(map(len, passed))):
            for file, parts in zip(live, passed, strict=True):
                if step < len(parts):
                    file.write([Entry(step * 50_000, ChannelData(*parts[step]))])
            asked_to_stop = iter([False] * patience + [True] * 1_000_000)
            fillings[fillers[step % len(fillers)]].fill(lambda stops=asked_to_stop: next(stops))
        for file in live:
            file.write([Entry(1 << 40, Ended("over"))])
            told.keep(file)
        assert fillings[fillers[-1]].fill() is Filled.UP_TO_DATE
        there = {f"s{number}": texts_of(of, tty=tty) for number, (tty, of, _) in enumerate(made)}
        with closing(TextIndex.open(told.trail)) as texts:
            for sought in asked([text for each in there.values() for text in each], starts):
                expected = {session for session, streams in there.items() if any(holds(one, sought) for one in streams)}
                found = texts.holding(sought)
                assert {one for one, number in found.items() if texts.find(number, sought)} == expected
