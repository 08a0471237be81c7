"""The format of a recording, as bytes: how it begins, its blocks and how they hang together, its index and its end.

    preamble   "narrowgate recording 1\n", salt (16), key id (8, zeros where it is not encrypted)
    block 0    the header entry alone
    block 1…   entries, at most about 64 KiB before compression
    index      when and where each block begins
    trailer    offset of the index (8), "narrowgate ended"

A block is a head, the entries (each with its length before it, compressed, then encrypted), and a hash over the hash
before it, the head and what is stored: the first block takes the hash of the preamble. So the hash before a block is
always the 32 bytes before it, and the last hash stands for the whole recording. The index is framed like a block. While
a recording is being written it has neither index nor trailer, and entries that are in no block yet are in a tail
(`recordings/tails.py`). Numbers are big-endian. No file is opened here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import overload

import msgspec

from narrowgate.core.recording import ENTRY_LIMIT, Entry
from narrowgate.recordings.errors import NewerRecording, RecordingDamaged
from narrowgate.recordings.sealing import KEY_ID_BYTES, NONCE_BYTES, SALT_BYTES, Packing, Sealing

FORMAT = 1
"""It only grows; whoever changes it writes the step that reads the format before."""

_FAMILY = b"narrowgate recording "
MARK = _FAMILY + b"%d\n" % FORMAT
PREAMBLE_BYTES = len(MARK) + SALT_BYTES + KEY_ID_BYTES
HASH_BYTES = 32

BLOCK_BYTES = 64 * 1024
"""Of entries, before compression: the block is closed with the entry that reaches it. A seek reads one block."""

BLOCK_SPAN = 10_000_000
"""Microseconds from a block's first entry to its last: what is slow is sealed as well."""

BLOCK_LIMIT = BLOCK_BYTES + ENTRY_LIMIT + 4
"""Bytes of entries in a block that are read back."""

MOST_BLOCKS = 4 << 20
"""In one recording: some 250 GB before compression, and an index of 64 MiB that is held in memory to seek."""

TRAILER = struct.Struct(">Q16s")
END_MARK = b"narrowgate ended"

_HEAD = struct.Struct(f">cIIIQQQ{NONCE_BYTES}s")
HEAD_BYTES = _HEAD.size
FRAME_BYTES = HEAD_BYTES + HASH_BYTES
"""Around what is stored of a block."""

_ENTRIES = b"B"
_INDEX = b"I"
_LENGTH = struct.Struct(">I")
_PLACE = struct.Struct(">QQ")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


class Preamble(msgspec.Struct, frozen=True):
    """What stands before the first block."""

    salt: bytes
    key_id: bytes


class Head(msgspec.Struct, frozen=True):
    """What stands before the entries of a block."""

    kind: bytes
    stored: int
    """Bytes between head and hash."""
    raw: int
    """Bytes of entries, before compression."""
    entries: int
    """How many; of an index: how many blocks."""
    number: int
    first: int
    """Time of the first entry, microseconds."""
    last: int
    nonce: bytes

    @property
    def is_index(self) -> bool:
        """Whether it is the index, behind the last block."""
        return self.kind == _INDEX

    @property
    def length(self) -> int:
        """Bytes of the whole block."""
        return FRAME_BYTES + self.stored


class Place(msgspec.Struct, frozen=True):
    """Where a block begins, and the time of its first entry."""

    first: int
    offset: int


class Places(Sequence[Place]):
    """The places of all blocks, in 16 bytes each: a long recording has millions."""

    def __init__(self, raw: bytes = b"") -> None:
        self._raw = bytearray(raw)

    def add(self, place: Place) -> None:
        """One more, behind the others."""
        self._raw += _PLACE.pack(place.first, place.offset)

    def __bytes__(self) -> bytes:
        return bytes(self._raw)

    def __len__(self) -> int:
        return len(self._raw) // _PLACE.size

    @overload
    def __getitem__(self, index: int) -> Place: ...

    @overload
    def __getitem__(self, index: slice) -> list[Place]: ...

    def __getitem__(self, index: int | slice) -> Place | list[Place]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return Place(*_PLACE.unpack_from(self._raw, index * _PLACE.size))


def preamble(sealing: Sealing) -> bytes:
    """How a recording begins."""
    return MARK + sealing.salt + sealing.key_id


def read_preamble(content: bytes, where: str) -> Preamble:
    """The first `PREAMBLE_BYTES` of a recording. Raises RecordingDamaged, NewerRecording."""
    if not content.startswith(MARK):
        version, line_end, _ = content.removeprefix(_FAMILY).partition(b"\n")
        if content.startswith(_FAMILY) and line_end and version.isdigit() and int(version) > FORMAT:
            raise NewerRecording(
                f"{where} has format {int(version)}, this version of narrowgate reads up to {FORMAT}: "
                "use the version that wrote it"
            )
        raise RecordingDamaged(f"{where}: does not begin like a recording")
    if len(content) < PREAMBLE_BYTES:
        raise RecordingDamaged(f"{where}: ends before its first block")
    salt = content[len(MARK) : len(MARK) + SALT_BYTES]
    return Preamble(salt, content[len(MARK) + SALT_BYTES : PREAMBLE_BYTES])


def chain_start(content: bytes) -> bytes:
    """The hash before the first block: that of the preamble."""
    return sha256(content).digest()


def encoded(entry: Entry) -> bytes:
    """An entry with its length before it. Raises ValueError for one that would not be read back."""
    written = _encoder.encode(entry)
    if len(written) > ENTRY_LIMIT:
        raise ValueError(f"an entry of {len(written)} bytes is too long to be recorded")
    return _LENGTH.pack(len(written)) + written


def decoded(raw: bytes, where: str) -> Iterator[Entry]:
    """The entries that were put together. Raises RecordingDamaged."""
    at = 0
    while at < len(raw):
        if at + _LENGTH.size > len(raw):
            raise RecordingDamaged(f"{where}: ends within an entry")
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if length > ENTRY_LIMIT or at + length > len(raw):
            raise RecordingDamaged(f"{where}: ends within an entry")
        try:
            yield _decoder.decode(memoryview(raw)[at : at + length])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordingDamaged(f"{where}: holds an entry that this version does not know: {error}") from None
        at += length


class Blocks:
    """Makes and reads the blocks of one recording."""

    def __init__(self, sealing: Sealing, packing: Packing) -> None:
        self._sealing = sealing
        self._packing = packing

    def block(self, number: int, raw: bytes, times: tuple[int, int], count: int, before: bytes) -> bytes:
        """A block of `count` entries in `raw`; `before` is the hash before it, the block's own are its last bytes."""
        packed = self._packing.pack(raw)
        stored = len(packed) + self._sealing.overhead
        nonce = self._sealing.nonce()
        head = _HEAD.pack(_ENTRIES, stored, len(raw), count, number, *times, nonce)
        return _framed(head, self._sealing.close(nonce, packed, before + head), before)

    def index(self, places: Places, last: int, before: bytes) -> bytes:
        """The index: when and where each block begins. Never encrypted: the blocks' heads say the same."""
        raw = bytes(places)
        packed = self._packing.pack(raw)
        head = _HEAD.pack(_INDEX, len(packed), len(raw), len(places), len(places), 0, last, bytes(NONCE_BYTES))
        return _framed(head, packed, before)

    def entries(self, head: Head, block: bytes, before: bytes, where: str) -> list[Entry]:
        """The entries of a block, as it is stored from head to hash. Raises RecordingDamaged."""
        check_hash(block, before, where)
        packed = self._sealing.open(head.nonce, block[HEAD_BYTES:-HASH_BYTES], before + block[:HEAD_BYTES], where)
        found = list(decoded(self._packing.unpack(packed, head.raw, where), where))
        if not found or len(found) != head.entries or (found[0].at, found[-1].at) != (head.first, head.last):
            raise RecordingDamaged(f"{where}: its head speaks of other entries than it holds")
        return found

    def places(self, head: Head, block: bytes, before: bytes, where: str) -> Places:
        """What the index says. Raises RecordingDamaged."""
        check_hash(block, before, where)
        raw = self._packing.unpack(block[HEAD_BYTES:-HASH_BYTES], head.raw, where)
        if len(raw) != head.entries * _PLACE.size:
            raise RecordingDamaged(f"{where}: its head speaks of other blocks than it lists")
        return Places(raw)


def _framed(head: bytes, stored: bytes, before: bytes) -> bytes:
    return head + stored + sha256(before + head + stored).digest()


def check_hash(block: bytes, before: bytes, where: str) -> None:
    """Whether a block hangs together with what is before it. Raises RecordingDamaged."""
    if sha256(before + block[:-HASH_BYTES]).digest() != block[-HASH_BYTES:]:
        raise RecordingDamaged(f"{where}: changed since it was written")


def read_head(content: bytes, number: int | None, where: str) -> Head:
    """The head of block `number` (None: of any), from its first `HEAD_BYTES`. Raises RecordingDamaged."""
    if len(content) < HEAD_BYTES:
        raise RecordingDamaged(f"{where}: ends within a block")
    head = Head(*_HEAD.unpack_from(content))
    limit = MOST_BLOCKS * _PLACE.size if head.is_index else BLOCK_LIMIT
    # What does not compress grows by a few bytes: zstd's own bound is a 256th and less than a kilobyte.
    fits = head.raw <= limit and head.stored <= head.raw + head.raw // 128 + 1024
    is_it = number is None or head.number == number
    if head.kind not in (_ENTRIES, _INDEX) or not is_it or not fits or head.first > head.last:
        raise RecordingDamaged(f"{where}: is no block, or not the one that belongs here")
    return head


def trailer(index_at: int) -> bytes:
    """The end of a finished recording, whose index begins there."""
    return TRAILER.pack(index_at, END_MARK)


def read_trailer(content: bytes) -> int | None:
    """Where the index begins, by the last `TRAILER.size` bytes; None where the recording was not finished."""
    if len(content) != TRAILER.size:
        return None
    offset, mark = TRAILER.unpack(content)
    return int(offset) if mark == END_MARK else None
