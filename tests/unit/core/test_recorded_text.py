"""What of a recording is text: words as they were seen, in whole lines, and nothing that is none."""

from __future__ import annotations

import random

import pytest

from narrowgate.core.recorded_text import LONGEST_LINE, Passage, RecordedText, Stream, copied_channel, is_text
from narrowgate.core.recording import BodyData, Entry, Header, Kind, Noted
from narrowgate.core.stream_events import Channel, ChannelData, Direction, PortData


def header(*, tty: bool = False, command: tuple[str, ...] = ("sh",), kind: Kind = Kind.EXEC) -> Header:
    return Header(session="s1", began=0, kind=kind, chain=(), cluster="dev", command=command, tty=tty)


def text_of(*data: bytes, tty: bool = False, channel: Channel = Channel.STDOUT) -> str:
    text = RecordedText(header(tty=tty))
    found = [passage for each in data for passage in text.feed(Entry(0, ChannelData(channel, each)))]
    return "".join(passage.text for passage in [*found, *text.finish()])


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (b"plain\n", "plain\n"),
        (b"", ""),
        (b"no end", "no end"),
        (b"two\r\nlines\r\n", "two\nlines\n"),
        (b"a wo\x1b[1;31mr\x1b[0md of \x1b(Bcolours\x1b[m\n", "a word of colours\n"),
        (b"\x1b]0;title of it\x07$ ls\n", "$ ls\ntitle of it\n"),
        (b"\x1b]8;;http://here\x1b\\li\x1b]8;;\x1b\\nk\n", "link\nhttp://here\n"),
        (b"10%\r20%\r\n", "10%\n20%\n"),
        (b"USER=root\0HOME=/root\0\n", "USER=root HOME=/root \n"),
        (b"caf\xc3\xa9 \xf0\x9f\x98\x80\n", "caf\u00e9 \U0001f600\n"),
        (b"caf\xe9 au lait\n", "caf\ufffd au lait\n"),
        (b"\tone\ttwo\n\n\nthree\n", "\tone\ttwo\n\n\nthree\n"),
        (b"\x1b[2J\x1b[H\n", ""),
    ],
)
def test_what_was_written_is_text_as_it_was_seen(written: bytes, text: str) -> None:
    assert text_of(written) == text
    assert text_of(*(written[at : at + 1] for at in range(len(written)))) == text


def test_on_a_terminal_what_was_put_right_is_found_both_ways() -> None:
    assert text_of(b"$ caz\b \bt file\r\n", tty=True) == "$ cat file\n$ caz t file\n"
    assert text_of(b"N\bNA\bAM\bME\n") == "NAME\nNNAAMME\n"


def test_on_a_terminal_a_command_that_is_wrapped_is_one_line() -> None:
    assert text_of(b"$ echo hello wo \rrld\r\n", tty=True) == "$ echo hello world\n"


@pytest.mark.parametrize(
    "written",
    [
        b"\x1b]52;c;the words\n",
        b"\x1bPthe words",
        b"\x1b]0;\x1b]0;\x1b]0;the words\n\x07",
        b"\x1b]0;the words\x07\n",
        b"the words\b\b\b\b\b\b\b\b\b\n",
        b"the words\rxxx xxxxx\n",
        b"the \x1b[31;1mwo\x1b[0mrds\x1b[2K\x1b[1A\n",
        b"\x9b\x9dthe words of it, which are long enough to be text\n",
        b"a" * (LONGEST_LINE - 5) + b"the words\n",
    ],
)
@pytest.mark.parametrize("tty", [True, False])
def test_nothing_is_hidden_by_an_escape_sequence(written: bytes, *, tty: bool) -> None:
    assert "the words" in text_of(written, tty=tty)


def test_what_is_no_text_is_left_out_and_what_follows_is_not() -> None:
    noise = random.Random(7).randbytes(100_000)
    text = text_of(b"before\n", noise, b"\nbehind\n")
    assert text.startswith("before\n")
    assert text.endswith("behind\n")
    assert len(text) < 1_000
    assert text_of("utf-16".encode("utf-16-le") * 100 + b"\n") == ""


def test_text_is_what_holds_little_that_text_does_not() -> None:
    assert is_text("")
    assert is_text("\0ab\ufffdcdefgh")
    assert not is_text("\0ab\ufffd\x01\x02cdefg")


def test_a_long_line_goes_on_in_the_next_one() -> None:
    line = "".join(f"{number:05d} " for number in range(3 * LONGEST_LINE // 6))
    assert text_of(line.encode()) == line
    painted = ("x" * (LONGEST_LINE - 3) + "\x1b[38;5;196mred\x1b[0m" + "y" * 100 + "\n").encode()
    assert text_of(painted) == "x" * (LONGEST_LINE - 3) + "red" + "y" * 100 + "\n"


def test_keys_become_the_line_they_made() -> None:
    assert text_of(b"lx\x7fs -l\x1b[D\x1bOC\r", channel=Channel.STDIN, tty=True) == "ls -l\n"
    assert text_of(b"\x1b[200~pasted\x1b[201~\r\n", channel=Channel.STDIN, tty=True) == "pasted\n\n"
    assert text_of(b"a\x7fb\n", channel=Channel.STDIN) == "ab\n"


def test_a_passage_has_the_time_of_its_first_byte_and_its_stream() -> None:
    text = RecordedText(header())
    found = [
        passage
        for at, channel, data in (
            (1, Channel.STDOUT, b"one "),
            (2, Channel.STDERR, b"bad\n"),
            (3, Channel.STDOUT, b"line\ntwo"),
            (4, Channel.STDIN, b"in\n"),
            (5, Channel.ERROR, b'{"status":"Success"}'),
            (6, Channel.STDOUT, b"\n"),
        )
        for passage in text.feed(Entry(at, ChannelData(channel, data)))
    ]
    assert found == [
        Passage(2, Stream.ERRORS, "bad\n"),
        Passage(1, Stream.OUTPUT, "one line\n"),
        Passage(4, Stream.INPUT, "in\n"),
        Passage(3, Stream.OUTPUT, "two\n"),
    ]


def test_logs_and_bodies_are_text_and_ports_and_notes_are_not() -> None:
    text = RecordedText(header(kind=Kind.LOG))
    assert text.feed(Entry(1, BodyData(b"logged\n"))) == [Passage(1, Stream.OUTPUT, "logged\n")]
    assert text.feed(Entry(2, BodyData(b"sent\n", Direction.TO_POD))) == [Passage(2, Stream.INPUT, "sent\n")]
    for what in (PortData(1, b"query\n", Direction.TO_POD), Noted("a note")):
        assert text.feed(Entry(3, what)) == []


@pytest.mark.parametrize(
    ("command", "channel"),
    [
        (("tar", "cf", "-", "/etc/motd"), Channel.STDOUT),
        (("sh", "-c", "tar cf - /etc/motd | tail -c+1"), Channel.STDOUT),
        (("tar", "-xmf", "-", "-C", "/tmp"), Channel.STDIN),
        (("tar", "-xmf", "-"), Channel.STDIN),
        (("tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-", "-C", "/tmp"), Channel.STDIN),
        (("tar", "cf", "-", "--to-command=cat"), None),
        (("tar", "cf", "-", "a", "b"), None),
        (("sh", "-c", "tar cf - /etc/motd | tail -c+1; cat secret"), None),
        (("sh", "-c", "tar cf - $(cat secret >&2) | tail -c+1"), None),
        (("sh", "-c", "tar cf - x -Icat | tail -c+1"), None),
        (("sh", "-c", "tar cf - -Icat | tail -c+1"), None),
        (("sh",), None),
        ((), None),
    ],
)
def test_only_what_kubectl_runs_is_a_copy(command: tuple[str, ...], channel: Channel | None) -> None:
    assert copied_channel(header(command=command)) is channel
    assert copied_channel(header(command=command, tty=True)) is None


def test_what_is_copied_is_left_out_and_what_is_said_beside_is_not() -> None:
    text = RecordedText(header(command=("tar", "cf", "-", "/etc/motd")))
    assert text.feed(Entry(1, ChannelData(Channel.STDOUT, b"welcome\n"))) == []
    assert text.feed(Entry(2, ChannelData(Channel.STDERR, b"tar: removing\n"))) != []


def test_there_is_an_end_to_what_is_taken_of_one_recording() -> None:
    text = RecordedText(header(), most_characters=10)
    assert text.feed(Entry(1, ChannelData(Channel.STDOUT, b"12345\n"))) == [Passage(1, Stream.OUTPUT, "12345\n")]
    assert not text.is_full
    assert text.feed(Entry(2, ChannelData(Channel.STDOUT, b"67890\n1\n"))) == []
    assert text.is_full
    assert (text.feed(Entry(3, ChannelData(Channel.STDERR, b"1\n"))), text.finish()) == ([], [])
    looked_through = RecordedText(header(), most_bytes=10)
    assert looked_through.feed(Entry(1, ChannelData(Channel.STDOUT, b"\0" * 11))) == []
    assert looked_through.is_full
