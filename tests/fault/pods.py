"""Pods that speak remotecommand over WebSocket, and clients that do: for sessions whose every byte a test knows.

The API server is a stub; what a command does is said by its name (`PROGRAMS`). A client counts what reached it to the
last byte, also of a message that was cut.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from tests.e2e.echo import Received, Stream
from tests.e2e.gate import Agent
from tests.e2e.stub import ANSWERS, Stub

NAMESPACE = "/api/v1/namespaces/ci"
PROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, ERROR = 0, 1, 3
BINARY, CLOSE = 2, 8
SUCCESS = b'{"metadata":{},"status":"Success"}'
PIECE = 16 * 1024
MUCH = 1024 * PIECE
"""Bytes that `pour` writes: more than all buffers on the way hold."""
PING = bytes((0x89, 0x80)) + bytes(4)
"""A client's sign of life, masked with a key that changes nothing."""
PATIENCE = 180.0
"""Seconds after which something that should happen counts as never happening."""


def message(channel: int, data: bytes) -> bytes:
    """As the API server sends it: not masked."""
    size = len(data) + 1
    length = bytes((size,)) if size < 126 else struct.pack(">BH", 126, size)
    return bytes((0x80 | BINARY,)) + length + bytes((channel,)) + data


def typed(data: bytes) -> bytes:
    """As a client sends it on stdin: masked, with a key that changes nothing."""
    size = len(data) + 1
    length = bytes((0x80 | size,)) if size < 126 else struct.pack(">BH", 0x80 | 126, size)
    return bytes((0x80 | BINARY,)) + length + bytes(4) + bytes((STDIN,)) + data


def payload(stream: bytes, channel: int) -> bytes:
    """All data of a channel in unmasked or plainly masked messages; of the last, what is there of it."""
    found, at = bytearray(), 0
    while at + 2 <= len(stream):
        opcode, size = stream[at] & 15, stream[at + 1] & 127
        masked, at = stream[at + 1] & 128, at + 2
        if size == 126:
            size = int.from_bytes(stream[at : at + 2], "big")
            at += 2
        at += 4 if masked else 0
        if opcode == BINARY and stream[at : at + 1] == bytes((channel,)):
            found += stream[at + 1 : at + size]
        at += size
    return bytes(found)


class Pods(Stub):
    """An API server whose pods run `PROGRAMS`."""

    def __init__(self, folder: os.PathLike[str]) -> None:
        self.heard: dict[str, bytearray] = {}
        """What arrived after the 101, by the name of the pod."""
        super().__init__(folder)  # type: ignore[arg-type]

    @property
    def answers(self) -> Mapping[str, Callable[[Stub, Stream, Received], bool]]:
        return {"/exec?": _exec, **ANSWERS}


def _exec(stub: Stub, stream: Stream, request: Received) -> bool:
    assert isinstance(stub, Pods)
    where = urlsplit(request.target)
    pod, program = where.path.split("/")[-2], parse_qs(where.query)["command"][0]
    heard = stub.heard[pod] = bytearray()
    stream.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: %b\r\n\r\n" % PROTOCOL.encode()
    )
    PROGRAMS[program](stream, heard, pod)
    return False


def _flood(stream: Stream, _: bytearray, pod: str) -> None:
    """Write without end, nothing twice."""
    chance = random.Random(pod)
    while True:
        stream.send(message(STDOUT, chance.randbytes(chance.randint(1, PIECE))))


def _swallow(stream: Stream, heard: bytearray, _: str) -> None:
    """Read without end."""
    while True:
        heard += stream.buffer
        stream.buffer = b""
        stream.more()


def _say(stream: Stream, _: bytearray, pod: str) -> None:
    """Write some lines, and end."""
    for number in range(40):
        stream.send(message(STDOUT, b"%b says line %d %b\n" % (pod.encode(), number, b"x" * 1000)))
    stream.send(message(ERROR, SUCCESS) + bytes((0x80 | CLOSE, 2)) + struct.pack(">H", 1000))


def _pour(stream: Stream, _: bytearray, pod: str) -> None:
    """Write `MUCH` bytes, then the exit code, and be gone at once: whatever comes then meets nobody."""
    chance = random.Random(pod)
    for _ in range(MUCH // PIECE):
        stream.send(message(STDOUT, chance.randbytes(PIECE)))
    stream.send(message(ERROR, SUCCESS) + bytes((0x80 | CLOSE, 2)) + struct.pack(">H", 1000))


def _wait(stream: Stream, heard: bytearray, _: str) -> None:
    """Say that it is there, and wait for the other side."""
    stream.send(message(STDOUT, b"here\n"))
    _swallow(stream, heard, "")


PROGRAMS: Mapping[str, Callable[[Stream, bytearray, str], None]] = {
    "flood": _flood,
    "swallow": _swallow,
    "say": _say,
    "pour": _pour,
    "wait": _wait,
}


def said_by(pod: str) -> bytes:
    """All that `say` writes."""
    return b"".join(b"%b says line %d %b\n" % (pod.encode(), number, b"x" * 1000) for number in range(40))


class Client:
    """One exec; `seen` is all that has reached it after the 101."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        self.reader, self.writer, self.status, self.body = reader, writer, status, body
        self.seen = bytearray()

    @classmethod
    async def of(cls, agent: Agent, pod: str, program: str) -> Client:
        """Ask for it, and read the head of the answer; the body as well where nothing was switched."""
        context = ssl.create_default_context(cadata=agent.ca)
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(agent.host, agent.port, ssl=context)
            headers = {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "YWFhYWFhYWFhYWFhYWFhYQ==",
                "Sec-WebSocket-Protocol": PROTOCOL,
            }
            target = f"{NAMESPACE}/pods/{pod}/exec?command={program}&stdin=true&stdout=true"
            writer.write(agent.bytes_of("GET", target, headers))
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
        return cls(reader, writer, status, body)

    async def read_to(self, count: int) -> None:
        """Read until so many bytes have come, or the end."""
        async with asyncio.timeout(PATIENCE):
            with suppress(OSError):
                while len(self.seen) < count and (data := await self.reader.read(65536)):
                    self.seen += data

    async def read_on(self) -> None:
        """Read to the end, however that comes."""
        async with asyncio.timeout(PATIENCE):
            with suppress(OSError):
                while data := await self.reader.read(65536):
                    self.seen += data

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()
