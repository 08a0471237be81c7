"""A road to the API server on which sessions are read by the gate's codecs, as the gate would between its two ends.

Kubectl is given a kubeconfig with a plain HTTP address; the relay behind it speaks TLS to the API server, with the
administrator's certificate. Whatever is no upgrade passes unread.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from dev.cluster.processes import free_ports
from tests.e2e.gate import Cluster

from narrowgate.core.target import parse_target
from narrowgate.wire.http1 import END_OF_HEAD, read_request_head, read_response_head
from narrowgate.wire.session_codec import asked_of, session_codec
from narrowgate.wire.stream_events import Channel, Direction, Passed, Rewrite, SessionCodec, StreamEvent
from narrowgate.wire.unreadable import Unreadable

CHUNK = 64 * 1024
CLOSING_SECONDS = 1.0


class Tapped:
    """One session that was read: what it said, whether its bytes were changed, and why it was broken off."""

    def __init__(self, codec: SessionCodec) -> None:
        self.codec = codec
        self.events: list[StreamEvent] = []
        self.changed = False
        self.failed: Unreadable | None = None
        self.ended = False

    def passed(self, direction: Direction, data: bytes) -> bytes:
        """What to send on of what has come."""
        read = self.codec.from_client if direction is Direction.TO_POD else self.codec.from_upstream
        return self._noted(read(data), data)

    def rest(self) -> bytes:
        """What is still held when the API server has ended."""
        return b"".join(self._noted(self.codec.flush(channel), b"") for channel in Channel)

    def finish(self) -> None:
        self.events += self.codec.finish()
        self.ended = True

    def _noted(self, passed: Passed, data: bytes) -> bytes:
        self.events += passed.events
        self.changed |= passed.data != data
        return passed.data


class Tap:
    """The relay, on a thread with a loop of its own; `sessions` are those that were switched to, in their order."""

    def __init__(self, cluster: Cluster, folder: Path, rewrite: Callable[[], Rewrite] | None) -> None:
        self.sessions: list[Tapped] = []
        self.port = free_ports(1)[0]
        self._rewrite = rewrite
        self._address = urlsplit(cluster.server)
        self._context = _administrator(cluster, folder)
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        self._listening.wait()

    def close(self) -> None:
        """Ends everything that is under way."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        tasks: set[asyncio.Task[None]] = set()

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with suppress(OSError, asyncio.CancelledError):
                await self._serve(reader, writer)
            tasks.discard(task)

        server = await asyncio.start_server(served, "127.0.0.1", self.port, limit=CHUNK)
        self._listening.set()
        await self._ended.wait()
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        upstream, to_upstream = await asyncio.open_connection(
            self._address.hostname, self._address.port, ssl=self._context, limit=CHUNK
        )
        tapped = None
        try:
            request = await client.readuntil(END_OF_HEAD)
            to_upstream.write(request)
            if b"upgrade:" in request.lower():
                answer = await upstream.readuntil(END_OF_HEAD)
                if answer.startswith(b"HTTP/1.1 101"):
                    tapped = self._switched(request, answer)
                to_client.write(answer)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_pump(client, to_upstream, Direction.TO_POD, tapped))
                ways.create_task(_pump(upstream, to_client, Direction.FROM_POD, tapped))
        except asyncio.IncompleteReadError:
            pass
        finally:
            if tapped is not None:
                tapped.finish()
            await _closed(to_client)
            await _closed(to_upstream)

    def _switched(self, request: bytes, answer: bytes) -> Tapped:
        head = read_request_head(request)
        target = parse_target(head.target)
        asked = asked_of(head, target.segments[-1], target)
        rewrite = self._rewrite() if self._rewrite is not None else None
        codec = session_codec(asked, read_response_head(answer, head.method), rewrite)
        self.sessions.append(Tapped(codec))
        return self.sessions[-1]


async def _pump(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, direction: Direction, tapped: Tapped | None
) -> None:
    """Until its source ends; then nothing more is sent to its target."""
    with suppress(OSError):
        await _pumped(source, target, direction, tapped)
    target.close()


async def _pumped(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, direction: Direction, tapped: Tapped | None
) -> None:
    try:
        while data := await source.read(CHUNK):
            target.write(data if tapped is None else tapped.passed(direction, data))
            await target.drain()
        if tapped is not None and direction is Direction.FROM_POD:
            target.write(tapped.rest())
    except Unreadable as refusal:
        assert tapped is not None
        tapped.failed = refusal


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Closed for good: TLS waits for the other end to say so, and that one may have gone."""
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSING_SECONDS):
            await writer.wait_closed()
    writer.transport.abort()
    await asyncio.sleep(0)


def _administrator(cluster: Cluster, folder: Path) -> ssl.SSLContext:
    """What the administrator's kubeconfig proves itself with."""
    user = yaml.safe_load(cluster.kubeconfig.read_text())["users"][0]["user"]
    context = ssl.create_default_context(cafile=str(cluster.ca))
    context.set_alpn_protocols(["http/1.1"])
    for name in ("client-certificate", "client-key"):
        (folder / name).write_bytes(base64.b64decode(user[f"{name}-data"]))
    context.load_cert_chain(folder / "client-certificate", folder / "client-key")
    return context


@contextmanager
def tapping(cluster: Cluster, folder: Path, rewrite: Callable[[], Rewrite] | None = None) -> Iterator[Tap]:
    """A relay for the time of a test; `kubeconfig` in the folder leads to it."""
    tap = Tap(cluster, folder, rewrite)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tapped", "cluster": {"server": f"http://127.0.0.1:{tap.port}"}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "tapped", "context": {"cluster": "tapped", "user": "nobody"}}],
        "current-context": "tapped",
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(document))
    try:
        yield tap
    finally:
        tap.close()
