"""`narrowgate sessions show`: what happened, and whether it can be believed."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import msgspec
import pytest
from tests.recorded_sessions import a_session, header
from tests.unit.cli.session_gate import FIRST, RUNNING, SECOND, SessionGate

from narrowgate.cli.session_show import copied_files
from narrowgate.core.recording import Ended, Entry, Exited, Header
from narrowgate.core.stream_events import Channel, ChannelData


def archive(*names: str) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 5
            tar.addfile(member, io.BytesIO(b"hello"))
    return written.getvalue()


def running(*command: str) -> Header:
    return msgspec.structs.replace(header(), command=command, tty=False)


def test_a_session_is_told_and_vouched_for(recorded: SessionGate) -> None:
    code, out, err = recorded.sessions("show", FIRST[:4])
    assert (code, err) == (0, "")
    assert out.startswith("agent:ci, for person:alice, ran `sh -c ls` in pod ci/web-0 of cluster prod, on a terminal.")
    assert "Typed:\n    ls\n" in out
    assert "The recording is whole: 8 entries in 2 blocks. The record vouches for all of it" in out


def test_a_forwarded_port_is_told(recorded: SessionGate) -> None:
    code, out, _ = recorded.sessions("show", SECOND)
    assert (code, "Port 5432: 1 connection, 0 bytes to the pod" in out) == (0, True)


def test_one_that_runs_is_told_as_far_as_it_is(recorded: SessionGate) -> None:
    code, out, _ = recorded.sessions("show", RUNNING)
    assert code == 0
    assert "The recording has no end yet: 4 entries" in out
    document = json.loads(recorded.sessions("show", RUNNING, "-o", "json")[1])
    assert (document["ended"], document["integrity"]["isWhole"]) == (None, True)


def test_a_changed_recording_is_told_of_and_the_exit_code_says_so(recorded: SessionGate) -> None:
    path = recorded.data / "recordings" / "2026-11-18" / f"{FIRST}.recording"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    code, out, err = recorded.sessions("show", FIRST)
    assert code == 1
    assert "damaged" in out or str(path) in err


def test_another_recording_in_its_place_is_told_of(recorded: SessionGate, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    live = recorded.begin(FIRST)
    live.write([*a_session()[:-1], Entry(9_000_000, Ended("nothing happened here"))])
    live.finish()
    (waiting,) = recorded.spool.finished()
    waiting.path.replace(recorded.data / "recordings" / "2026-11-18" / f"{FIRST}.recording")
    code, out, _ = recorded.sessions("show", FIRST)
    assert code == 1
    assert "is not the recording that the trail speaks of" in out


def test_one_that_the_record_does_not_know_is_not_believed(recorded: SessionGate) -> None:
    live = recorded.begin("planted")
    live.write(a_session())
    live.finish()
    code, out, _ = recorded.sessions("show", "planted")
    assert code == 1
    assert "fits together, but the record says nothing of it" in out
    assert not json.loads(recorded.sessions("show", "planted", "-o", "json")[1])["integrity"]["isWhole"]


def test_one_that_was_cut_is_told_of(recorded: SessionGate) -> None:
    path = recorded.data / "recordings" / "2026-11-18" / f"{FIRST}.recording"
    path.write_bytes(path.read_bytes()[:-40])
    code, out, _ = recorded.sessions("show", FIRST)
    assert code == 1
    assert "ends before what the trail has seen of it" in out


@pytest.mark.parametrize(
    ("command", "channel", "said"),
    [
        (("tar", "cf", "-", "/etc/hosts"), Channel.STDOUT, "out of the pod"),
        (("sh", "-c", "tar cf - /x | tail -c+0"), Channel.STDOUT, "out of the pod"),
        (("tar", "-xmf", "-", "-C", "/tmp"), Channel.STDIN, "into the pod"),
        (("/bin/tar", "-xf", "-"), Channel.STDIN, "into the pod"),
    ],
)
def test_the_files_of_a_copy_are_told(
    recorded: SessionGate, command: tuple[str, ...], channel: Channel, said: str
) -> None:
    data = archive("a.txt", "evil\x1b[2J\nname")
    pieces = [Entry(at, ChannelData(channel, data[at : at + 700])) for at in range(0, len(data), 700)]
    recorded.record("cccc", [*pieces, Entry(99_999, Exited(0)), Entry(99_999, Ended("done"))], running(*command))
    code, out, _ = recorded.sessions("show", "cccc")
    assert code == 0
    assert f"Files that moved {said}:" in out
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert f"    a.txt  5 bytes, sha256 {digest}\n    evil?[2J?name  5 bytes" in out
    assert "Sent to the program" not in out
    document = json.loads(recorded.sessions("show", "cccc", "-o", "json")[1])
    assert [file["name"] for file in document["files"]["items"]] == ["a.txt", "evil\x1b[2J\nname"]


def test_a_copy_that_goes_on_in_the_middle_is_not_guessed_at(recorded: SessionGate) -> None:
    of = running("sh", "-c", "tar cf - /x | tail -c+1025")
    recorded.record("cccc", [Entry(1, ChannelData(Channel.STDOUT, b"x" * 600)), Entry(2, Ended("done"))], of)
    assert "went on where another one had broken off" in recorded.sessions("show", "cccc")[1]


@pytest.mark.parametrize("command", [("tar",), ("tar", "--help"), ("cat", "-"), ("tar", "xf", "a.tar"), ()])
def test_other_commands_copy_nothing(command: tuple[str, ...]) -> None:
    assert copied_files(running(*command)) is None
    assert copied_files(msgspec.structs.replace(running("tar", "cf", "-", "x"), tty=True)) is None


def test_what_was_recorded_cannot_move_the_cursor_of_who_looks(recorded: SessionGate) -> None:
    of = msgspec.structs.replace(header(), command=("\x1b]0;title\x07", "\x9b2J"), pod="web\x1b[2J")
    typed = Entry(1, ChannelData(Channel.STDIN, b"\x1b]52;c;eA==\x07ls\r"))
    recorded.record("dddd", [typed, Entry(2, Ended("\x1b[31mred"))], of)
    for command in ("show", "list"):
        _, out, _ = recorded.sessions(command, *(["dddd"] if command == "show" else []))
        assert not {"\x1b", "\x07", "\x9b"} & set(out)
