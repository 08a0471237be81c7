"""Random bytes where the trail is read back: a documented error or a report comes out, nothing else.

    python tests/fuzz/fuzz_journal.py --seconds 60 [--seed 7]

Lines are made from good ones by small changes and go through `frame`, `payload_of` and `read_checkpoint`; now and then
a whole folder of them goes through `verify`, search and export, and the gate's own `Journal.open` must either continue
it or say why not. Prints the seed, so that a failure can be had again. Exit status 1 on a finding.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
import tempfile
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.fuzz.driver import fuzz

from narrowgate.core.audit_chain import (
    BrokenLine,
    Dropped,
    Interrupted,
    NewerFormat,
    Recovered,
    SegmentStart,
    frame,
    payload_of,
    read_checkpoint,
)
from narrowgate.core.audit_query import AuditQuery, SeesAll
from narrowgate.trail.checkpoints import Checkpoints
from narrowgate.trail.index import Index
from narrowgate.trail.journal import Bounds, Journal, TrailDamaged
from narrowgate.trail.read import events
from narrowgate.trail.segments import segments_of
from narrowgate.trail.signing import Signer
from narrowgate.trail.verify import verify

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
PIECES = (
    b"",
    b"\n",
    b"\0",
    b"\xff",
    b'"',
    b"}",
    b"{",
    b"}\n",
    b'"}\n',
    b'{"seq":',
    b'"prev":"',
    b',"signature":"',
    b"9" * 25,
)
LINES_PER_FOLDER = 400
"""Lines tried for each whole folder, which costs a thousand times as much."""


def good_trail(folder: Path) -> list[bytes]:
    checkpoints = Checkpoints(folder, SIGNER)
    journal = Journal.open(folder, "w0", SIGNER, bounds=Bounds(segment_bytes=1500, retain_bytes=4000))
    for number in range(30):
        journal.append(
            b'{"auditID":"%d","stage":"ResponseComplete","verb":"get","stageTimestamp":"2026",' % number + REST
        )
        journal.append_interrupted(number, "no reason")
        journal.write()
    checkpoints.add(journal.sync())
    expired = journal.expired()
    assert expired is not None
    journal.append_dropped(expired)
    journal.write()
    checkpoints.add(journal.sync(), closed=True)
    journal.drop(expired)
    journal.close()
    paths = [*folder.glob("*.jsonl"), *(each.path for each in segments_of(folder / "w0"))]
    return [line for path in paths for line in path.read_bytes().splitlines(keepends=True)]


REST = b'"requestReceivedTimestamp":"2026","user":{"username":"u"},"annotations":{"narrowgate.dev/chain":"[]"}}'


def changed(source: random.Random, content: bytes) -> bytes:
    raw = bytearray(content)
    for _ in range(source.randint(1, 4)):
        at = source.randint(0, len(raw))
        match source.randint(0, 3):
            case 0:
                raw[at : at + 1] = bytes([source.randint(0, 255)])
            case 1:
                del raw[at : at + source.randint(1, 80)]
            case 2:
                raw[at:at] = source.choice(PIECES)
            case _:
                raw[at:at] = raw[source.randint(0, len(raw)) :][: source.randint(1, 300)]
    return bytes(raw)


def try_line(line: bytes) -> str:
    with contextlib.suppress(BrokenLine, NewerFormat):
        read_checkpoint(line, "here")
    try:
        framed = frame(line)
        for kind in (SegmentStart, Recovered, Dropped, Interrupted):
            with contextlib.suppress(BrokenLine, NewerFormat):
                payload_of(framed, kind, "here")
    except BrokenLine:
        return "broken lines"
    return "lines"


def try_folder(source: random.Random, good: Path, scratch: Path) -> str:
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(good, scratch)
    path = source.choice(sorted(scratch.rglob("*.jsonl")))
    before = path.read_bytes()
    path.write_bytes(changed(source, before))
    outcome = "folders found changed"
    try:
        # A change may take away what follows the last head, or change nothing.
        if verify(scratch, SIGNER.verifier).content:
            outcome = "folders content"
    except NewerFormat:
        outcome = "folders of a newer format"
    index = Index.open(scratch)
    index.update()
    list(index.search(AuditQuery(), SeesAll()))
    index.close()
    list(events(scratch))
    try:
        Journal.open(scratch, "w0", SIGNER).close()
    except (TrailDamaged, NewerFormat):
        outcome += ", not continued"
    return outcome


def main() -> int:
    """Run for a time; 1 when something was found."""
    with tempfile.TemporaryDirectory() as name:
        good, scratch = Path(name) / "good", Path(name) / "scratch"
        lines = good_trail(good)

        def make(source: random.Random) -> bytes | None:
            return None if source.randrange(LINES_PER_FOLDER) == 0 else changed(source, source.choice(lines))

        def check(source: random.Random, line: bytes | None) -> str:
            return try_folder(source, good, scratch) if line is None else try_line(line)

        return fuzz(__doc__, "lines and folders", make, check)


if __name__ == "__main__":
    sys.exit(main())
