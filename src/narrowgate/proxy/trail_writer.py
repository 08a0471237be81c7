"""The trail as the event loop sees it: record an entry before a request is forwarded, note one after.

Here belongs when things are written: what shares a write, what waits for the disk, when the heads are signed. What is
written, and how it stays whole, is `narrowgate.trail`.

The loop itself writes (pwrite into the page cache, 2 µs an entry, measured) and never syncs. Handing entries to a
thread and waiting for it would cost ten times as much; even collecting the entries of one loop iteration for a common
write costs more (a future and a second wake-up, 1 to 3 µs) than it saves (0.2 µs an entry). What the loop accepts with
this: when the disk cannot keep up for long the kernel slows writers down, and then this loop with them. That is
back-pressure in the right place, since nothing may be forwarded that is not recorded.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from narrowgate.core.audit_chain import Head, NewerFormat
from narrowgate.core.recording import RecordingHead
from narrowgate.trail.checkpoints import Checkpoints
from narrowgate.trail.journal import Bounds, Journal, TrailDamaged
from narrowgate.trail.segment_file import TrailUnwritable
from narrowgate.trail.signing import Signer

NOTE_DELAY = 0.005
"""Seconds after which a note is written at the latest, when no other entry takes it along before."""

NOTE_LIMIT = 16 * 1024 * 1024
"""Bytes of notes kept while the journal cannot be written: the ends of some 16,000 requests that were on their way.
Beyond it they are counted, and the count is written as soon as anything can be."""

SEAL_EVERY = 5.0
"""Seconds between checkpoints while there are new entries: the most that could be cut off a killed gate's journal
without showing."""

SEAL_ENTRIES = 20_000
"""Entries after which a checkpoint is made without waiting for the time: a second or two of full load."""

SEAL_GRACE = 60.0
"""Seconds for which checkpoints (or their copy, perhaps on another machine) may fail before requests are refused."""


class TrailWriter:
    """One journal, written from one event loop: make it with `open` inside the loop, let `run` run in a TaskGroup."""

    def __init__(self, journal: Journal, checkpoints: Checkpoints, clock: Callable[[], float] = time.time) -> None:
        self._journal = journal
        self._checkpoints = checkpoints
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._notes: list[bytes | RecordingHead] = []
        """Noted and not yet in the file; the journal has them in its next write."""
        self._note_bytes = 0
        self._lost = 0
        self._note_timer_runs = False
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        """Who waits for the disk: the number of their line, ascending, and where they wait."""
        self._syncing = False
        # One thread each, because a checkpoint's copy may be on a slow disk: durable entries never wait for that.
        self._disk = ThreadPoolExecutor(1, "trail-disk")
        self._seals = ThreadPoolExecutor(1, "trail-seal")
        self._sealed_seq = 0
        self._sealed_segment = journal.head.segment
        self._enough = asyncio.Event()
        self._write_failure = ""
        self._seal_failure = ""
        self._seal_failed_at = 0.0
        self._retention_failure = ""
        self._is_closed = False

    @classmethod
    def open(
        cls,
        folder: Path,
        writer: str,
        signing_key_pem: bytes,
        *,
        bounds: Bounds | None = None,
        copy_to: Path | None = None,
        wait: float = 0.0,
    ) -> Self:
        """Open the journal of `writer` in the trail's folder (`<dataDir>/trail`) and sign where it begins.

        `wait`: as `Journal.open`. Blocks for as long, and on the disk: at start only. Raises NoSuchKey, JournalInUse,
        TrailDamaged, NewerFormat, TrailUnwritable.
        """
        signer = Signer.from_pem(signing_key_pem)
        journal = Journal.open(folder, writer, signer, bounds=bounds, wait=wait)
        try:
            checkpoints = Checkpoints(folder, signer, copy_to=copy_to)
            checkpoints.add(journal.sync())
            return cls(journal, checkpoints)
        except BaseException:
            journal.close()
            raise

    async def record(self, entry: bytes, durable: bool) -> None:
        """Return once the entry is in the journal (`durable`: on the disk). Raises TrailUnwritable: refuse then.

        After an error the next call tries again, so that one success is all it takes to go on. An error of a durable
        entry can mean that it is in the journal all the same.
        """
        if self._seal_failure:
            self._refuse_when_long_unsealed()
        self._write(entry)
        if durable:
            await self._on_disk()

    def note(self, entry: bytes) -> None:
        """Take an entry about something that already happened: it is written with the next one, or in 5 ms.

        Never fails for the disk's sake: it is kept and tried again first, and what does not fit is counted.
        """
        if self._is_closed or self._note_bytes + len(entry) > NOTE_LIMIT:
            self._lost += 1
            return
        self._journal.append(entry)
        self._note_bytes += len(entry)
        self._noted(entry)

    def _noted(self, note: bytes | RecordingHead) -> None:
        self._notes.append(note)
        if not self._note_timer_runs:
            self._note_timer_runs = True
            self._loop.call_later(NOTE_DELAY, self._write_notes)

    def note_recording(self, head: RecordingHead) -> None:
        """Vouch for a recording as far as it has come, with the next entry or in 5 ms. A later one says no less."""
        if self._is_closed:
            # It is vouched for when the next start takes it up.
            return
        self._journal.append_recording(head)
        self._noted(head)

    def problem(self) -> str:
        """What keeps entries from being recorded right now, for the readiness check; empty when nothing does."""
        return self._write_failure or self._seal_failure or self._retention_failure

    async def run(self) -> None:
        """Sign the head again and again and let go of old segments, until cancelled. Run it in a TaskGroup."""
        while True:
            try:
                async with asyncio.timeout(SEAL_EVERY):
                    await self._enough.wait()
            except TimeoutError:
                # Also how a gate that nobody asks any more, because it says it is not ready, finds out that it is.
                self._write_notes_again()
            self._enough.clear()
            await self.seal()
            await self._let_go()

    async def seal(self, *, closed: bool = False) -> None:
        """Sync and add a checkpoint, if there is anything new. A failure is kept for `record` and `problem`."""
        if self._journal.head.seq == self._sealed_seq and not closed:
            return
        try:
            head = await self._loop.run_in_executor(self._disk, self._journal.sync)
            await self._loop.run_in_executor(self._seals, lambda: self._checkpoints.add(head, closed=closed))
        except (TrailUnwritable, TrailDamaged, NewerFormat) as error:
            if not self._seal_failure:
                self._seal_failed_at = self._clock()
            self._seal_failure = f"the trail cannot be sealed: {error}"
        else:
            self._sealed_seq = head.seq
            self._sealed_segment = head.segment
            self._seal_failure = ""

    async def close(self) -> None:
        """Write what is noted, sync, sign the last head, let go. Raises TrailUnwritable when that could not be done."""
        if self._is_closed:
            return
        try:
            self._write(None)
            await self.seal(closed=True)
            if self._seal_failure:
                raise TrailUnwritable(self._seal_failure)
        finally:
            self._is_closed = True
            await self._loop.run_in_executor(None, self._stop_threads)
            self._journal.close()

    def _stop_threads(self) -> None:
        self._disk.shutdown()
        self._seals.shutdown()

    # Writing.

    def _write(self, entry: bytes | None) -> None:
        """Write what was noted and this entry. Raises TrailUnwritable; then the notes wait for the next write."""
        if self._is_closed:
            raise TrailUnwritable("the trail is closed")
        journal = self._journal
        if entry is not None:
            journal.append(entry)
        if self._lost or self._write_failure:
            # The first write that succeeds says that there was a time without, even where nothing got lost.
            journal.append_interrupted(self._lost, self._write_failure)
        try:
            head = journal.write()
        except TrailUnwritable as error:
            self._write_failure = str(error)
            # The journal forgot all of it. The entry belongs to its request, which is refused now; the notes are ours.
            for note in self._notes:
                if isinstance(note, RecordingHead):
                    journal.append_recording(note)
                else:
                    journal.append(note)
            if journal.in_doubt:
                # Only a sync that succeeds ends the doubt, and nobody gets as far as asking for one.
                self._ask_for_sync()
            raise
        if self._notes:
            self._notes.clear()
            self._note_bytes = 0
        self._lost = 0
        self._write_failure = ""
        if head.seq - self._sealed_seq >= SEAL_ENTRIES or head.segment != self._sealed_segment:
            # A segment that just ended is synced soon: power that fails before would leave a gap between two files.
            self._enough.set()

    def _write_notes(self) -> None:
        self._note_timer_runs = False
        self._write_notes_again()

    def _write_notes_again(self) -> None:
        if not (self._notes or self._lost or self._write_failure) or self._is_closed:
            return
        try:
            self._write(None)
        except TrailUnwritable:
            # Not survived, only kept: `record` fails on its own until a write succeeds, and takes the notes along.
            return

    def _refuse_when_long_unsealed(self) -> None:
        if self._clock() - self._seal_failed_at > SEAL_GRACE:
            raise TrailUnwritable(self._seal_failure)

    # Waiting for the disk.

    async def _on_disk(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((self._journal.head.seq, waiter))
        self._ask_for_sync()
        await waiter

    def _ask_for_sync(self) -> None:
        if not self._syncing:
            self._syncing = True
            # Not at once: whatever this iteration of the loop still records goes along. Everything that arrives while
            # the disk is busy shares the next sync; a longer wait would only delay the first.
            self._loop.call_soon(self._start_sync)

    def _start_sync(self) -> None:
        self._disk.submit(self._sync_and_tell)

    def _sync_and_tell(self) -> None:
        """Runs in the disk's thread. It tells the loop itself: a future of the loop's would be one wake-up more."""
        try:
            head = self._journal.sync()
        except BaseException as error:  # noqa: BLE001 whatever it is, those who wait are told
            self._loop.call_soon_threadsafe(self._synced, None, error)
        else:
            self._loop.call_soon_threadsafe(self._synced, head, None)

    def _synced(self, head: Head | None, error: BaseException | None) -> None:
        self._syncing = False
        if head is None:
            waiting, self._waiting = self._waiting, deque()
            for _, waiter in waiting:
                if not waiter.done():
                    waiter.set_exception(TrailUnwritable(str(error)))
            return
        while self._waiting and self._waiting[0][0] <= head.seq:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
        if self._waiting:
            self._syncing = True
            self._start_sync()

    # Letting go.

    async def _let_go(self) -> None:
        """Remove what retention no longer keeps: say so in the journal, sync that, then remove."""
        journal = self._journal
        try:
            expired = await self._loop.run_in_executor(self._disk, journal.expired)
            if expired is not None:
                journal.append_dropped(expired)
                self._write(None)
                await self._loop.run_in_executor(self._disk, journal.sync)
                await self._loop.run_in_executor(self._disk, journal.drop, expired)
        except (TrailUnwritable, TrailDamaged, OSError) as error:
            # Old segments stay until the next round; nothing is lost by that but space, and the reason shows.
            self._retention_failure = f"old segments cannot be removed: {error}"
        else:
            self._retention_failure = ""
