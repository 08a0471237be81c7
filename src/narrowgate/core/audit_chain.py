"""The chain that makes the trail tamper-evident, as values: journal lines, heads, checkpoints.

Here belongs the format of what is on disk (docs/trail.md draws it) and what each piece must agree with. No file is
opened here and no key is held: `trail/journal.py` writes, `trail/signing.py` signs, `trail/verify.py` reads back.

A journal line is one JSON object:

    {"seq":12,"prev":"<SHA-256 of line 11, hex>","event":{...}}

The hash covers the whole line with its line break, so that `sed -n 11p FILE | sha256sum` shows it. `seq` counts through
all segments of a writer. Besides `event` a line may carry `segment` (the first of each file), `recovered`, `dropped`,
`interrupted`, or `recording` (how far a session's recording has come: `core/recording.py`, RecordingHead). Lines that
begin a file or permit a gap are signed.
"""

from __future__ import annotations

import enum
from hashlib import sha256
from typing import TypeVar

import msgspec
import orjson

FORMAT = 1
"""Of journals and checkpoints. It only grows; whoever changes it writes the step that reads the format before."""

GENESIS = "0" * 64
"""What the very first line of a writer, and the very first checkpoint, carry in place of a hash."""

LINE_LIMIT = 4 * 1024 * 1024
"""Bytes of a line that are read back. Events are far smaller (core/audit.py cuts them); a longer line is damage."""

SIGNATURE_CHARACTERS = 88
"""An Ed25519 signature has 64 bytes (RFC 8032), in base64 88 characters."""


class Payload(enum.Enum):
    """What a journal line carries: the name of its third member."""

    EVENT = "event"
    SEGMENT = "segment"
    RECOVERED = "recovered"
    DROPPED = "dropped"
    INTERRUPTED = "interrupted"
    RECORDING = "recording"


SIGNED = frozenset({Payload.SEGMENT, Payload.DROPPED})
"""Lines that only the gate may write: where a file begins, and that older files are gone on purpose."""


class BrokenLine(Exception):
    """A line is not one that the journal writes; the message says what is wrong with it."""


class NewerFormat(Exception):
    """Written by a newer version. The message names both formats and what to do."""

    def __init__(self, where: str, found: int) -> None:
        super().__init__(
            f"{where} has format {found}, this version of narrowgate reads up to {FORMAT}: "
            "use the version that wrote it"
        )


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line of a writer's journal."""

    writer: str
    segment: int
    """Number of the file, from 1."""
    seq: int
    """Number of the line, from 1 through all segments; 0 where there is none yet."""
    hash: str


class SegmentStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """First line of every segment. Its `prev` is the head of the segment before."""

    format: int
    writer: str
    segment: int
    at: str


class Recovered(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After a crash an unfinished last line was cut off: its bytes are kept beside the journal."""

    segment: int
    offset: int
    bytes: int
    sha256: str
    kept_as: str
    at: str


class Dropped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Retention removed all segments up to and including `segment`, whose last line was `seq` with `hash`."""

    segment: int
    seq: int
    hash: str
    because: str
    at: str


class Interrupted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The journal could not be written for a while. Requests were refused; of those under way some ends got lost."""

    lost: int
    """Entries that were to be noted and had to be given up; mostly 0."""
    because: str
    at: str


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One signed line of `checkpoints.jsonl`: the heads of all writers at one moment."""

    format: int
    number: int
    """From 1, without gaps."""
    prev: str
    """SHA-256 of the checkpoint line before, or `GENESIS`."""
    at: str
    by: str
    """The writer that made it: of its own head it is sure, the others it takes from the checkpoint before."""
    closed: bool
    """The writer stopped in order here: nothing but a signed segment start may follow its head."""
    key: str
    """First 16 hex digits of the SHA-256 of the raw public key."""
    heads: tuple[Head, ...]


class Frame(msgspec.Struct, frozen=True):
    """A journal line taken apart. `payload` is its JSON as it stands in the line; `signature` is base64 or empty."""

    seq: int
    prev: str
    kind: Payload
    payload: bytes
    signature: str = ""


def digest(line: bytes) -> str:
    """SHA-256 of a line, line break included, in hex."""
    return sha256(line).hexdigest()


def event_line(seq: int, prev: str, event: bytes) -> bytes:
    """The journal line for one audit event. `event` is one JSON object without a line break."""
    return b'{"seq":%d,"prev":"%b","event":%b}\n' % (seq, prev.encode(), event)


def unsigned_line(seq: int, prev: str, kind: Payload, value: msgspec.Struct) -> bytes:
    """A line with one of the journal's own payloads, without a signature."""
    return b'{"seq":%d,"prev":"%b","%b":%b}\n' % (
        seq,
        prev.encode(),
        kind.value.encode(),
        orjson.dumps(msgspec.to_builtins(value)),
    )


def with_signature(line: bytes, signature: str) -> bytes:
    """Add the signature as last member of an unsigned line (of a journal or of the checkpoints)."""
    return line[:-2] + b',"signature":"%b"}\n' % signature.encode()


def split_signature(line: bytes) -> tuple[bytes, str]:
    """The line as it was signed, and its signature; the signature is empty where the line carries none."""
    start = len(line) - SIGNATURE_CHARACTERS - len(_SIGNATURE) - len(_END_OF_SIGNED)
    if start < 0 or not line.endswith(_END_OF_SIGNED) or line[start : start + len(_SIGNATURE)] != _SIGNATURE:
        return line, ""
    signature = line[start + len(_SIGNATURE) : -len(_END_OF_SIGNED)]
    return line[:start] + b"}\n", signature.decode("ascii", "replace")


def frame(line: bytes) -> Frame:
    """Take a journal line apart. Raises BrokenLine where it is not exactly as the journal writes lines."""
    if not line.endswith(b"}\n"):
        raise BrokenLine("the line does not end as one")
    signature = ""
    unsigned = line
    if _SIGNATURE in line[-SIGNATURE_CHARACTERS - 20 :]:
        unsigned, signature = split_signature(line)
    digits, comma, rest = unsigned[len(_SEQ) :].partition(b",")
    if not (line.startswith(_SEQ) and comma and digits.isdigit() and len(digits) < 19):
        raise BrokenLine("it does not begin with a sequence number")
    prev = rest[len(_PREV) : len(_PREV) + 64]
    if not rest.startswith(_PREV) or rest[len(_PREV) + 64 : len(_PREV) + 67] != b'","':
        raise BrokenLine("it does not carry the hash of the line before")
    name, colon, payload = rest[len(_PREV) + 67 : -2].partition(b'":')
    kind = _PAYLOADS.get(name)
    if kind is None or not colon:
        raise BrokenLine(f"it carries {name[:20].decode('utf-8', 'replace')!r}, which this version does not know")
    return Frame(int(digits), prev.decode("ascii", "replace"), kind, payload, signature)


T = TypeVar("T", bound=msgspec.Struct)


def payload_of(line: Frame, kind: type[T], where: str) -> T:
    """Read a payload of the journal's own. Raises BrokenLine, or NewerFormat where a later version wrote it."""
    return _read(line.payload, kind, where)


def checkpoint_line(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as a line, still unsigned."""
    return orjson.dumps(msgspec.to_builtins(checkpoint)) + b"\n"


def read_checkpoint(line: bytes, where: str) -> tuple[Checkpoint, bytes, str]:
    """A checkpoint, the bytes that were signed, and the signature. Raises BrokenLine or NewerFormat."""
    unsigned, signature = split_signature(line)
    return _read(unsigned, Checkpoint, where), unsigned, signature


_SEQ = b'{"seq":'
_PREV = b'"prev":"'
_SIGNATURE = b',"signature":"'
_END_OF_SIGNED = b'"}\n'
_PAYLOADS = {kind.value.encode(): kind for kind in Payload}


class _Numbered(msgspec.Struct):
    format: int = FORMAT


def _read(document: bytes, kind: type[T], where: str) -> T:
    try:
        # The number first: a newer format may have members that this version would only call unknown.
        found = msgspec.json.decode(document, type=_Numbered).format
        if found > FORMAT:
            raise NewerFormat(where, found)
        return msgspec.json.decode(document, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenLine(f"it cannot be read: {error}") from error
