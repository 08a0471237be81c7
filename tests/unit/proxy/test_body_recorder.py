"""Bodies of logs and watches: kept before they leave, without the lines of their chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.recorded_sessions import header, read

from narrowgate.core.recording import BodyData, Ended, Entry
from narrowgate.proxy.body_recorder import BodyRecorder, Brake
from narrowgate.proxy.recordings import LiveRecording, Recorder
from narrowgate.proxy.session_relay import Unrecorded
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.spool import Spool
from narrowgate.wire.http1 import CHUNKED, Framing


class Client:
    """Takes what is sent on."""

    def __init__(self) -> None:
        self.must_close = False
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data


def recorded(folder: Path, say: Callable[[BodyRecorder, Client, LiveRecording], None]) -> list[Entry]:
    """What is in the recording behind its header."""

    async def main() -> None:
        recorder = Recorder(Spool.open(folder / "spool", "w0", ()), FolderStore(folder / "kept"), lambda _: None)
        live = recorder.begin(header())
        body = BodyRecorder(live)
        say(body, Client(), live)
        await body.end("over")
        await recorder.close()

    asyncio.run(main())
    (path,) = (folder / "spool").rglob("*.recording")
    rest = read(path)[1:]
    assert rest.pop().what == Ended("over")
    return rest


def payload(entries: list[Entry]) -> bytes:
    return b"".join(entry.what.data for entry in entries if isinstance(entry.what, BodyData))


def fail(reason: str) -> None:
    raise AssertionError(reason)


@pytest.mark.parametrize("step", [1, 3, 100])
def test_chunks_are_sent_on_as_they_came_and_kept_without_their_lines(tmp_path: Path, step: int) -> None:
    raw = b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n"

    def say(body: BodyRecorder, client: Client, _: LiveRecording) -> None:
        through = body.through(client, CHUNKED, fail)
        for at in range(0, len(raw), step):
            through.write(raw[at : at + step])
        assert client.sent == raw

    assert payload(recorded(tmp_path, say)) == b"abcdefg"


@pytest.mark.parametrize("framing", [Framing(5), Framing(until_close=True)])
def test_other_bodies_are_kept_as_they_are(tmp_path: Path, framing: Framing) -> None:
    def say(body: BodyRecorder, client: Client, _: LiveRecording) -> None:
        through = body.through(client, framing, fail)
        through.write(b"ab")
        through.write(b"cde")
        assert client.sent == b"abcde"

    assert payload(recorded(tmp_path, say)) == b"abcde"


def test_a_head_that_goes_first_is_not_kept(tmp_path: Path) -> None:
    def say(body: BodyRecorder, client: Client, _: LiveRecording) -> None:
        through = body.through(client, CHUNKED, fail, head_first=True)
        through.must_close = True
        through.write(b"HTTP/1.1 200 OK\r\n\r\n")
        through.write(b"1\r\nx\r\n")
        assert client.must_close
        assert client.sent == b"HTTP/1.1 200 OK\r\n\r\n1\r\nx\r\n"

    assert payload(recorded(tmp_path, say)) == b"x"


def test_what_cannot_be_kept_breaks_the_answer_off_and_does_not_pass(tmp_path: Path) -> None:
    async def main() -> None:
        recorder = Recorder(Spool.open(tmp_path / "spool", "w0", ()), FolderStore(tmp_path / "kept"), lambda _: None)
        live = recorder.begin(header())
        body, client, failed = BodyRecorder(live), Client(), list[str]()
        through = body.through(client, Framing(until_close=True), failed.append)
        through.write(b"kept")
        live.file.close()
        through.write(b"lost")
        through.write(b"lost too")
        assert client.sent == b"kept"
        assert len(failed) == 1
        assert "cannot be recorded" in failed[0]
        with pytest.raises(Unrecorded):
            await body.end("over")
        await recorder.close()

    asyncio.run(main())


class Source:
    """What can be slowed down."""

    def __init__(self) -> None:
        self.is_read = True
        self.turns = 0

    def pause(self) -> None:
        assert self.is_read
        self.is_read = False
        self.turns += 1

    def resume(self) -> None:
        assert not self.is_read
        self.is_read = True


def test_nothing_is_read_while_too_much_waits_for_the_disk_and_all_of_it_is_kept(tmp_path: Path) -> None:
    sent = bytes(range(256)) * 4096

    async def main() -> None:
        recorder = Recorder(Spool.open(tmp_path / "spool", "w0", ()), FolderStore(tmp_path / "kept"), lambda _: None)
        body = BodyRecorder(recorder.begin(header()), limit=100_000)
        source, client = Source(), Client()
        through = body.through(client, Framing(until_close=True), fail)
        brake = body.slowing(source)
        for at in range(0, len(sent), 32_768):
            through.write(sent[at : at + 32_768])
            if not source.is_read:
                await body.caught_up()
            assert source.is_read
        assert source.turns > 1
        assert client.sent == sent
        brake.come_off()
        await body.end("over")
        await recorder.close()

    asyncio.run(main())
    (path,) = (tmp_path / "spool").rglob("*.recording")
    assert payload(read(path)[1:]) == sent


def test_what_could_not_be_put_on_the_disk_lets_nothing_more_pass(tmp_path: Path) -> None:
    failed: list[str] = []

    async def main() -> Client:
        recorder = Recorder(Spool.open(tmp_path / "spool", "w0", ()), FolderStore(tmp_path / "kept"), lambda _: None)
        live = recorder.begin(header())
        body = BodyRecorder(live, limit=1_000)
        client = Client()
        through = body.through(client, Framing(until_close=True), failed.append)
        body.slowing(Source())
        through.write(b"a" * 2_000)
        # As a disk does that has gone: the file is closed under whoever syncs it.
        live.file.close()
        with pytest.raises(Unrecorded):
            await body.caught_up()
        through.write(b"b")
        assert client.sent == b"a" * 2_000
        await recorder.close()
        return client

    asyncio.run(main())
    assert failed
    assert "cannot be recorded" in failed[0]


def test_a_source_is_read_again_when_neither_client_nor_recorder_hold_it() -> None:
    source = Source()
    brake = Brake(source)
    brake.pause()
    brake.hold()
    brake.resume()
    assert not source.is_read
    brake.let_go()
    assert source.is_read
    brake.hold()
    brake.come_off()
    brake.let_go()
    assert not source.is_read
