"""Recordings as the event loop sees them: begun, written to before anything passes, put on disk, finished, sent.

`write` puts entries into a file with one system call, on the loop, as the trail does: some microseconds, and what it
returned from survives a killed gate. Once a second everything new is put on the disk by threads, and the trail is told
which blocks there are. Finished recordings go to their store from the spool, however often that takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from narrowgate.core.recording import Ended, Entry, Header, RecordingHead, What
from narrowgate.recordings.errors import RecordingDamaged, RecordingUnwritable
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.port import OtherRecording, RecordingStore, RecordingsUnavailable
from narrowgate.recordings.sealing import SALT_BYTES
from narrowgate.recordings.spool import Finished, Spool

SYNC_SECONDS = 1.0
"""What a dead machine may lose."""

SEAL_SECONDS = 10.0
"""Of silence, after which the open block is closed so that the trail vouches for it."""

UNSYNCED_LIMIT = 32 * 1024 * 1024
"""Bytes of one recording that wait to be put on the disk; `wrote` waits when there are more."""

SPOOL_LIMIT = 16 * 1024 * 1024 * 1024
"""Bytes in the spool, of recordings that are written or wait for their store. Nothing begins when there are more."""

FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
"""Seconds until a store that was away is asked again: twice as long each time."""

_DISK_THREADS = 4
"""A sync waits for the disk and for nothing else; more at a time share what the disk does in one go."""

log = logging.getLogger("narrowgate.recordings")

Told = Callable[[RecordingHead], None]
"""Takes what the trail is to say of a recording. Called on the event loop, for blocks that are on the disk."""


class LiveRecording:
    """One session's recording. All calls belong to the event loop."""

    def __init__(self, recorder: Recorder, file: LiveFile, began: float) -> None:
        """Not for callers: `Recorder.begin` makes them."""
        self._recorder = recorder
        self._began = began
        self.file = file
        self.touched = began
        """When something was written last."""
        self.told_blocks = 1
        """How many blocks the trail knows of; the first holds the header, which it knows already."""
        self.is_dirty = True
        """Whether something is not on the disk."""

    @property
    def name(self) -> str:
        """Under which the recording will be kept."""
        return self.file.name

    def now(self) -> int:
        """Microseconds since the recording began."""
        return max(self.file.last, round((self._recorder.clock() - self._began) * 1_000_000))

    def write(self, *what: What) -> None:
        """Record what happens now. When this returns it may pass; RecordingUnwritable: nothing may, end the session."""
        at = self.now()
        self.file.write([Entry(at, each) for each in what])
        self.is_dirty = True
        self.touched = self._recorder.clock()

    async def wrote(self, *what: What) -> None:
        """As `write`, and wait while the disk is too far behind: so a session is as fast as its recorder."""
        self.write(*what)
        while self.file.waiting > UNSYNCED_LIMIT:
            await self._recorder.sync(self)
            self.file.seal()

    def catch_up(self, limit: int, then: Callable[[str], None]) -> None:
        """Put it on the disk until no more than `limit` bytes wait for that, for whoever cannot wait here. `then` is
        called from the event loop, with what went wrong, empty where nothing did.
        """

        def synced(problem: str) -> None:
            if not problem:
                try:
                    self.file.seal()
                except RecordingUnwritable as error:
                    problem = str(error)
            if problem or self.file.waiting <= limit:
                then(problem)
            else:
                self._recorder.sync_soon(self, synced)

        self._recorder.sync_soon(self, synced)

    async def end(self, reason: str, *what: What) -> RecordingHead:
        """Record the end, finish the file and have it sent. Whoever began must come here, however the session ended.

        Raises RecordingUnwritable: then it is finished once that can be done again, with what it holds.
        """
        return await self._recorder.finish(self, (*what, Ended(reason)))


class Recorder:
    """All recordings of one process."""

    def __init__(
        self,
        spool: Spool,
        store: RecordingStore,
        told: Told,
        *,
        clock: Callable[[], float] = time.monotonic,
        spool_limit: int = SPOOL_LIMIT,
    ) -> None:
        """`spool` is recovered by now. `run` must run, or nothing gets to the disk or to the store."""
        self._spool = spool
        self._store = store
        self._told = told
        self._spool_limit = spool_limit
        self.clock = clock
        """Monotonic seconds: all times within recordings come from it."""
        self._live: set[LiveRecording] = set()
        self._abandoned: set[str] = set()
        """Recordings that are over and could not be finished."""
        self._disk = ThreadPoolExecutor(_DISK_THREADS, "recordings-disk")
        self._sender = ThreadPoolExecutor(1, "recordings-store")
        self._finished = asyncio.Event()
        """Something waits to be sent."""
        self._waiting_bytes = 0
        self._waiting_count = 0
        self._store_failure = ""
        self._failure = ""

    def begin(self, header: Header) -> LiveRecording:
        """Begin a recording; its header is in a file by then. Raises RecordingUnwritable: forward nothing then."""
        if too_much := self._too_much():
            raise RecordingUnwritable(too_much)
        try:
            file = self._spool.begin(header, os.urandom(SALT_BYTES))
        except RecordingUnwritable as error:
            self._failure = str(error)
            raise
        self._failure = ""
        live = LiveRecording(self, file, self.clock())
        self._live.add(live)
        return live

    def require_room(self) -> None:
        """Raise RecordingUnwritable where nothing could begin now. To be asked before anything is forwarded."""
        if problem := self.problem():
            raise RecordingUnwritable(problem)
        try:
            self._spool.require_room()
        except RecordingUnwritable as error:
            self._failure = str(error)
            raise

    def problem(self) -> str:
        """Why nothing can be recorded, for the readiness check; empty when something can."""
        return self._too_much() or self._failure

    def store_problem(self) -> str:
        """Why finished recordings do not get to their store; they wait in the spool meanwhile."""
        return self._store_failure

    def waiting(self) -> tuple[int, int]:
        """Recordings that wait for their store, and their bytes."""
        return self._waiting_count, self._waiting_bytes

    async def run(self) -> None:
        """Put on the disk and send, until cancelled. Run it in a TaskGroup."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sync_again_and_again())
            tasks.create_task(self._send_again_and_again())

    async def close(self) -> None:
        """Let go, after `run` was cancelled. Sessions that are still open end as a killed gate leaves them."""
        for live in list(self._live):
            # They are finished at the next start, with what they hold by now.
            with contextlib.suppress(RecordingUnwritable):
                await self.sync(live)
            live.file.close()
        self._live.clear()
        await asyncio.get_running_loop().run_in_executor(None, self._stop_threads)
        self._spool.close()

    async def sync(self, live: LiveRecording) -> None:
        """Put one recording on the disk and tell the trail of its new blocks. Raises RecordingUnwritable."""
        live.is_dirty = False
        self._synced(live, await asyncio.get_running_loop().run_in_executor(self._disk, live.file.sync))

    def sync_soon(self, live: LiveRecording, then: Callable[[str], None]) -> None:
        """As `sync`, and `then` is called with what went wrong, empty where nothing did."""
        live.is_dirty = False
        syncing = asyncio.wrap_future(self._disk.submit(live.file.sync))

        def done(syncing: asyncio.Future[RecordingHead]) -> None:
            if syncing.cancelled():
                return
            error = syncing.exception()
            if error is None:
                self._synced(live, syncing.result())
            then("" if error is None else str(error))

        syncing.add_done_callback(done)

    def _synced(self, live: LiveRecording, head: RecordingHead) -> None:
        if head.blocks > live.told_blocks:
            live.told_blocks = head.blocks
            self._told(head)

    async def finish(self, live: LiveRecording, last: tuple[What, ...]) -> RecordingHead:
        """See `LiveRecording.end`."""
        self._live.discard(live)
        try:
            live.write(*last)
        except RecordingUnwritable as error:
            live.file.close()
            self._abandoned.add(live.name)
            self._failure = str(error)
            raise
        # Whoever waits here may be cancelled; the file is finished all the same.
        finishing = asyncio.wrap_future(self._disk.submit(live.file.finish))
        finishing.add_done_callback(functools.partial(self._settle, live))
        return await asyncio.shield(finishing)

    def _settle(self, live: LiveRecording, finishing: asyncio.Future[RecordingHead]) -> None:
        if finishing.cancelled():
            return
        error = finishing.exception()
        if error is not None:
            self._abandoned.add(live.name)
            self._failure = str(error)
            return
        self._waiting_bytes += live.file.length
        self._waiting_count += 1
        self._told(finishing.result())
        self._finished.set()

    def _too_much(self) -> str:
        """Why there is no room in the spool; empty where there is."""
        if self._waiting_bytes + sum(live.file.length for live in self._live) <= self._spool_limit:
            return ""
        because = f": {self._store_failure}" if self._store_failure else ""
        return f"{self._spool_limit} bytes of recordings or more wait for {self._store.where}{because}"

    async def _sync_again_and_again(self) -> None:
        await self._make_up()
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            self._seal_what_is_silent()
            async with asyncio.TaskGroup() as tasks:
                for live in self._live:
                    if live.is_dirty and not live.file.is_broken:
                        tasks.create_task(self._sync_or_say(live))
            if self._failure or self._abandoned:
                await self._make_up()

    def _seal_what_is_silent(self) -> None:
        now = self.clock()
        for live in self._live:
            if live.file.has_open_block and now - live.touched > SEAL_SECONDS and not live.file.is_broken:
                live.is_dirty = True
                # A recording that failed refuses every further entry, and so ends its session.
                with contextlib.suppress(RecordingUnwritable):
                    live.file.seal()

    async def _sync_or_say(self, live: LiveRecording) -> None:
        try:
            await self.sync(live)
        except RecordingUnwritable as error:
            # As above; that it was finished meanwhile is no failure.
            if live in self._live:
                log.warning("%s", error)

    async def _make_up(self) -> None:
        """Find out whether something can be recorded again, though nobody asks, and finish what could not be."""
        loop = asyncio.get_running_loop()
        try:
            for name in list(self._abandoned):
                head = await loop.run_in_executor(self._disk, self._spool.finish_cut, name)
                self._abandoned.discard(name)
                if head is not None:
                    self._told(head)
                    self._finished.set()
            await loop.run_in_executor(self._disk, self._spool.probe)
        except RecordingUnwritable as error:
            self._failure = str(error)
        except RecordingDamaged as error:
            # It stays for the next start, which puts it aside.
            self._abandoned.discard(name)
            log.warning("%s", error)
        else:
            self._failure = ""

    async def _send_again_and_again(self) -> None:
        retry = FIRST_RETRY
        while True:
            if await self._send_all():
                retry = FIRST_RETRY
                await self._finished.wait()
            else:
                await asyncio.sleep(retry)
                retry = min(2 * retry, LONGEST_RETRY)

    async def _send_all(self) -> bool:
        """Send what waits; whether all of it is gone."""
        self._finished.clear()
        loop = asyncio.get_running_loop()
        failures: list[str] = []
        try:
            waiting = await loop.run_in_executor(self._sender, self._spool.finished)
            self._count(waiting)
            for each in waiting:
                failure = await loop.run_in_executor(self._sender, self._send, each)
                if failure:
                    failures.append(failure)
                else:
                    self._waiting_bytes -= each.size
                    self._waiting_count -= 1
        except OSError as error:
            failures.append(str(error))
        if failures and not self._store_failure:
            log.warning("recordings wait in the spool: %s", failures[0])
        self._store_failure = failures[0] if failures else ""
        return not failures

    def _count(self, waiting: list[Finished]) -> None:
        self._waiting_bytes, self._waiting_count = sum(each.size for each in waiting), len(waiting)

    def _send(self, finished: Finished) -> str:
        """Runs in a thread. Why it could not be sent; empty where it was."""
        try:
            self._spool.send(finished, self._store)
        except (RecordingsUnavailable, OtherRecording, OSError) as error:
            return str(error)
        return ""

    def _stop_threads(self) -> None:
        self._disk.shutdown()
        self._sender.shutdown(cancel_futures=True)
