"""Changed bytes where recordings are read back: a documented error or what was recorded comes out, nothing else.

    python tests/fuzz/fuzz_recording.py --seconds 60 [--seed 7]

Finished recordings and ones that a killed gate left, plain and encrypted, are cut, changed, lengthened and mixed, their
hashes made right again now and then, and go through reading, seeking, checking and recovery; lines of JSON through
`entry_of`. What is read of a changed recording must be the beginning of what was recorded, where no hash was forged.
Prints the seed, so that a failure can be had again. Exit status 1 on a finding.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzz.driver import fuzz
from tests.recorded_sessions import KEY, PACKING, a_session, begin, header, read

from narrowgate.core.asciicast import Version, asciicast
from narrowgate.core.recording import Entry
from narrowgate.core.recording_lines import NoEntry, entry_of, line_of
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.recordings.blocks import HASH_BYTES, HEAD_BYTES, PREAMBLE_BYTES, chain_start
from narrowgate.recordings.errors import NewerRecording, RecordingDamaged, RecordingKeyMissing
from narrowgate.recordings.reading import BytesSource, Recording
from narrowgate.recordings.recovery import recover
from narrowgate.recordings.sealing import RecordingKey

REFUSED = (RecordingDamaged, RecordingKeyMissing, NewerRecording)
TRIES_PER_FOLDER = 50
"""Recordings read for each whole folder that is recovered, which costs many times as much."""

FORGED = 0.3
"""How often the hashes of a changed recording are made right again."""

PIECES = (b"", b"\0", b"\xff" * 8, b"B", b"I", b"narrowgate ended", b"\0\0\0\5", bytes(32))


def session() -> list[Entry]:
    noise = random.Random(1).randbytes(40_000)
    bulk = [Entry(2_000_000 + at, ChannelData(Channel.STDOUT, noise[at:])) for at in range(5)]
    late = [Entry(60_000_000 + at * 8_000_000, ChannelData(Channel.STDIN, b"%d" % at)) for at in range(9)]
    return [*a_session()[:-1], *bulk, *late]


class Sample:
    """A recording as it was left, and what is in it."""

    def __init__(self, folder: Path, key: RecordingKey | None, *, finished: bool) -> None:
        live = begin(folder, key)
        for entry in session():
            live.write([entry])
        if finished:
            live.finish()
        live.close()
        self.files = {each.name: each.read_bytes() for each in sorted(folder.iterdir())}
        (self.name,) = (name for name in self.files if name.endswith((".live", ".recording")))
        self.tails = [content for name, content in self.files.items() if name != self.name]
        self.entries = [Entry(0, header()), *session()]


def changed(source: random.Random, content: bytes, other: bytes) -> bytes:
    raw = bytearray(content)
    for _ in range(source.randint(1, 3)):
        # Heads and ends are small: most changes would fall into the noise between them.
        near = source.choice((0, PREAMBLE_BYTES, PREAMBLE_BYTES + HEAD_BYTES, len(raw), source.randint(0, len(raw))))
        at = max(0, min(len(raw), near + source.randint(-60, 60)))
        match source.randint(0, 5):
            case 0:
                raw[at : at + 1] = bytes([source.randint(0, 255)])
            case 1:
                del raw[at : at + source.choice((1, 8, 500, 50_000))]
            case 2:
                raw[at:at] = source.choice(PIECES)
            case 3:
                raw[at:] = other[at:]
            case 4:
                raw[at:at] = raw[source.randint(0, len(raw)) :][: source.randint(1, 2000)]
            case _:
                del raw[at:]
    return bytes(raw)


def forged(source: random.Random, content: bytes) -> bytes:
    """Changes somewhere, and the hashes made right again: what holds then is what is checked besides them."""
    raw = bytearray(content)
    at = source.randrange(PREAMBLE_BYTES, len(raw))
    raw[at] ^= 1 << source.randrange(8)
    before, offset = chain_start(bytes(raw[:PREAMBLE_BYTES])), PREAMBLE_BYTES
    while offset + HEAD_BYTES + HASH_BYTES < len(raw):
        end = offset + HEAD_BYTES + int.from_bytes(raw[offset + 1 : offset + 5], "big")
        if end + HASH_BYTES > len(raw):
            break
        before = sha256(before + raw[offset:end]).digest()
        raw[end : end + HASH_BYTES] = before
        offset = end + HASH_BYTES
    return bytes(raw)


def try_reading(source: random.Random, sample: Sample, content: bytes, *, is_forged: bool) -> str:
    found: list[Entry] = []
    outcome = "read to its end"
    since = source.choice((0, 0, 1, 2_000_001, 90_000_000, 1 << 61))
    try:
        recording = Recording(BytesSource(content, "changed"), (KEY,), packing=PACKING, tails=sample.tails)
        for entry in recording.entries(since):
            found.append(entry)  # noqa: PERF402 what came before an error counts
        report = recording.check()
        outcome += ", whole" if report.finished else ", cut"
    except REFUSED as refused:
        outcome = type(refused).__name__
    expected = [entry for entry in sample.entries if entry.at >= since]
    if not is_forged and found != expected[: len(found)]:
        raise AssertionError(f"{len(found)} entries, and they are not those that were recorded")
    if found and since == 0:
        for version in Version:
            list(asciicast(found, version, shows_input=True))
    return f"{outcome}{' (forged)' if is_forged else ''}"


def try_recovery(source: random.Random, sample: Sample, scratch: Path) -> str:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for name, content in sample.files.items():
        bad = source.random() < 0.5
        (scratch / name).write_bytes(changed(source, content, content[::-1]) if bad else content)
    found = recover(scratch, (KEY,), PACKING)
    for path in scratch.glob("*.recording"):
        if sample.name.endswith(".recording"):
            break
        entries = read(path, KEY)
        known = [entry for entry in entries if entry in sample.entries]
        if known != sample.entries[: len(known)] or len(entries) - len(known) > 2:
            raise AssertionError("a recovered recording holds what was not recorded")
    return "recovered" if found.finished else "put aside" if found.problems else "nothing to recover"


def try_line(source: random.Random, sample: Sample) -> str:
    line = changed(source, line_of(source.choice(sample.entries)), b"{}")
    try:
        entry = entry_of(line)
    except NoEntry:
        return "lines refused"
    if entry_of(line_of(entry)) != entry:
        raise AssertionError(f"{entry} is another one when it is read again")
    return "lines read"


def main() -> int:
    """Run for a time; 1 when something was found."""
    with tempfile.TemporaryDirectory() as name:
        scratch, samples = Path(name) / "scratch", []
        for number, (key, finished) in enumerate(((None, True), (KEY, True), (None, False), (KEY, False))):
            folder = Path(name) / str(number)
            folder.mkdir()
            samples.append(Sample(folder, key, finished=finished))

        def make(source: random.Random) -> tuple[Sample, bytes, bool]:
            sample, other = source.choice(samples), source.choice(samples)
            is_forged = source.random() < FORGED
            content = sample.files[sample.name]
            content = forged(source, content) if is_forged else changed(source, content, other.files[other.name])
            return sample, content, is_forged

        def check(source: random.Random, made: tuple[Sample, bytes, bool]) -> tuple[str, ...]:
            sample, content, is_forged = made
            outcomes = (try_reading(source, sample, content, is_forged=is_forged), try_line(source, sample))
            if source.randrange(TRIES_PER_FOLDER):
                return outcomes
            return (*outcomes, try_recovery(source, source.choice(samples), scratch))

        return fuzz(__doc__, "recordings", make, check)


if __name__ == "__main__":
    sys.exit(main())
