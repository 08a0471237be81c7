"""What happened in a session, told from its entries."""

from __future__ import annotations

import json

import pytest
from tests.recorded_sessions import a_session, header

from narrowgate.core.recording import BodyData, Called, Ended, Entry, Exited, Header, Kind, Noted, PortCounted, Resized
from narrowgate.core.session_story import (
    MOST_PORTS,
    MOST_TYPED,
    TYPED_BYTES,
    Story,
    Telling,
    command_text,
    length_text,
    sentences,
    size_text,
    story_document,
    what_text,
)
from narrowgate.core.stream_events import Channel, ChannelData, Direction, PortData, PortError, PortOpened


def told(entries: list[Entry], of: Header | None = None) -> Story:
    telling = Telling(of or header())
    for entry in entries:
        telling.feed(entry)
    return telling.finish()


def typed(*pieces: bytes) -> list[str]:
    return told([Entry(at, ChannelData(Channel.STDIN, piece)) for at, piece in enumerate(pieces)]).typed


def test_a_session_is_told_in_sentences() -> None:
    assert sentences(told(a_session())) == [
        "agent:ci, for person:alice, ran `sh -c ls` in pod ci/web-0 of cluster prod, on a terminal.",
        "It began at 2026-11-18T11:06:40Z. It lasted 1.7s.",
        "The process ended with exit code 0. At its end: the process ended.",
        "It carried 3 bytes of input, 14 bytes of output.",
    ]


def test_one_that_goes_on_does_not_claim_an_end() -> None:
    said = " ".join(sentences(told(a_session()[:3])))
    assert "It is recorded for" in said
    assert "has not ended, as far as it is recorded" in said
    assert "exit code" not in said


def test_an_exec_that_ended_without_an_exit_code_says_so() -> None:
    cut = [entry for entry in a_session() if not isinstance(entry.what, Exited)]
    assert "the end of the output is missing" in " ".join(sentences(told(cut)))
    assert "missing" not in " ".join(sentences(told(a_session()))) + " ".join(sentences(told(a_session()[:3])))


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ((b"ls -l\r", b"pwd\r"), ["ls -l", "pwd"]),
        ((b"l", b"s", b"\r"), ["ls"]),
        ((b"lx\x7fs\r",), ["ls"]),
        ((b"\x1b[Als\x1b[D\r",), ["ls"]),
        ((b"\r\r\n",), []),
        ((b"half",), ["half"]),
        (("gr\u00fcn\r".encode(),), ["gr\u00fcn"]),
        ((b"\x1b]52;c;evil\x07\r",), ["52;c;evil"]),
    ],
)
def test_what_was_typed_is_told_in_lines(pieces: tuple[bytes, ...], lines: list[str]) -> None:
    assert typed(*pieces) == lines


def test_no_more_lines_are_held_than_are_shown() -> None:
    story = told([Entry(0, ChannelData(Channel.STDIN, b"a\n" * (MOST_TYPED + 5))) for _ in range(3)])
    assert len(story.typed) == MOST_TYPED
    assert story.more_typed == 2 * MOST_TYPED + 15
    (line,) = typed(b"a" * 1_000_000)
    assert len(line) < 1000
    assert typed(b"first\n", b"\0" * TYPED_BYTES, b"last\n") == ["first"]


def test_forwarded_ports_are_counted_whether_their_bytes_are_kept_or_not() -> None:
    story = told(
        [
            Entry(1, PortOpened(1, 8080)),
            Entry(2, PortData(1, b"GET /", Direction.TO_POD)),
            Entry(3, PortOpened(2, 8080)),
            Entry(4, PortCounted(2, Direction.FROM_POD, 5_000_000)),
            Entry(5, PortError(2, b"connection refused")),
        ],
        Header(session="s", began=0, kind=Kind.PORT_FORWARD, chain=("agent:ci",), cluster="c", namespace="n", pod="p"),
    )
    assert sentences(story)[0] == "agent:ci forwarded ports of pod n/p of cluster c."
    assert "Port 8080: 2 connections, 5 bytes to the pod, 4.8 MiB from it." in sentences(story)
    assert "A port failed: connection refused" in sentences(story)


def test_ports_without_number_are_not_all_held() -> None:
    story = told([Entry(0, PortOpened(number, number)) for number in range(1, 1000)])
    assert len(story.ports) == MOST_PORTS


def test_notes_resizes_and_bodies_are_told() -> None:
    hidden = Noted("input not recorded: the terminal did not show it")
    story = told(
        [
            Entry(0, hidden),
            Entry(0, hidden),
            Entry(0, ChannelData(Channel.RESIZE, b'{"Width":80,"Height":24}')),
            Entry(0, Resized(80, 24)),
            Entry(0, Resized(81, 24)),
            Entry(0, BodyData(b"log line\n")),
            Entry(0, Called("id", "get", "/api", 200)),
            Entry(0, Exited(None, "killed")),
            Entry(0, Ended("the task was revoked")),
        ]
    )
    said = sentences(story)
    assert "Noted: input not recorded: the terminal did not show it (2 times)." in said
    assert "The terminal was resized 1 time." in said
    assert "It carried 9 bytes from the pod." in said
    assert "The process did not end by itself: killed. At its end: the task was revoked." in said
    assert story.calls == 1


def test_the_document_is_json_that_names_what_the_sentences_do() -> None:
    document = json.loads(json.dumps(story_document(told(a_session()))))
    assert (document["exitCode"], document["typed"], document["seconds"]) == (0, ["ls"], 1.700001)
    assert document["bytes"] == {"stdin": 3, "stdout": 14}


def test_what_was_done_is_a_command_or_what_was_asked_for() -> None:
    assert what_text(header()) == "sh -c ls"
    of = {"session": "s", "began": 0, "chain": ("agent:ci",), "cluster": "c", "target": "/api/v1/pods"}
    assert what_text(Header(kind=Kind.LOG, **of)) == "/api/v1/pods"  # type: ignore[arg-type]
    assert what_text(Header(kind=Kind.ATTACH, **of)) == "-"  # type: ignore[arg-type]


def test_commands_are_written_as_one_would_type_them() -> None:
    assert command_text(("sh", "-c", "it's $x")) == "sh -c 'it'\\''s $x'"
    assert command_text(("ls", "/var/lib", "")) == "ls /var/lib ''"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1, "1 byte"), (1024, "1.0 KiB"), (3 << 40, "3.0 TiB"), (5 << 30, "5.0 GiB")]
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size_text(count) == text


def test_lengths_are_for_people() -> None:
    assert (length_text(0.44), length_text(72.9)) == ("0.4s", "1m12s")
