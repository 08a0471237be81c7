"""Files in a tar stream, as `kubectl cp` sends them: their names, sizes and hashes, while the bytes go by.

Written for what cannot be trusted: nothing is unpacked, nothing but one header is held, and what is no tar ends the
reading with a sentence. Formats: POSIX ustar and pax (IEEE Std 1003.1, pax), GNU long names and base-256 numbers
(gnu.org/software/tar/manual, "Basic Tar Format"); those are what tar, busybox and Go's archive/tar write.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

BLOCK: Final = 512

LONGEST_HEADER: Final = 64 * 1024
"""Bytes of a long name or of pax records; paths have at most 4096."""

MOST_FILES: Final = 10_000
"""Files that are told of one by one."""

_REGULAR: Final = frozenset({b"0", b"\0", b"7"})
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"
_KINDS: Final = {
    b"1": "hard link", b"2": "symbolic link", b"3": "device", b"4": "device", b"5": "folder", b"6": "pipe",
    b"S": "sparse file",
}  # fmt: skip


class TarFile(msgspec.Struct, frozen=True):
    """One member of the archive."""

    name: str
    kind: str
    """`file`, `folder`, `symbolic link`, ..."""
    size: int
    """Bytes that are in the stream."""
    sha256: str
    """Hex, of a file's content; empty for all else, and where the stream ended before it did."""


class TarStream:
    """Takes the stream in any pieces. What is found is in `files`, what went wrong in `problem`."""

    def __init__(self) -> None:
        self.files: list[TarFile] = []
        self.unlisted = 0
        """Members after the first `MOST_FILES`."""
        self.problem = ""
        """Why nothing more is read; empty while all is well."""
        self._header = bytearray()
        self._left = 0
        """Bytes of the current member's content that are still to come."""
        self._padding = 0
        self._file: TarFile | None = None
        self._digest = hashlib.sha256()
        self._extended: bytearray | None = None
        self._extended_kind = b""
        self._name = ""
        """Of the next member, where a header of its own says it."""
        self._size: int | None = None
        self._is_over = False

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        at = 0
        while at < len(data) and not self._is_over and not self.problem:
            if self._left:
                part = data[at : at + self._left]
                self._content(part)
                at += len(part)
            elif self._padding:
                skipped = min(self._padding, len(data) - at)
                self._padding -= skipped
                at += skipped
            else:
                part = data[at : at + BLOCK - len(self._header)]
                self._header += part
                at += len(part)
                if len(self._header) == BLOCK:
                    header, self._header = bytes(self._header), bytearray()
                    self._begin(header)

    def finish(self) -> None:
        """No more comes."""
        if self._file is not None and self._left:
            self._list(msgspec.structs.replace(self._file, sha256=""))
            self._file = None
        if not self.problem and not self._is_over and (self._left or self._header or not self.files):
            self.problem = "the archive was cut"

    def _begin(self, header: bytes) -> None:
        if not any(header):
            # Two empty blocks are the end; what follows is filling.
            self._is_over = True
            return
        size = _number(header[124:136])
        checksum = _number(header[148:156])
        if size is None or checksum != sum(header) - sum(header[148:156]) + 8 * ord(" "):
            self.problem = "this is no tar archive" if not self.files else "the archive is damaged"
            return
        kind = header[156:157]
        if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
            if size > LONGEST_HEADER:
                self.problem = "the archive holds a header that is too long"
                return
            self._extended, self._extended_kind = bytearray(), kind
        else:
            size = self._begin_member(header, kind, size)
        self._left, self._padding = size, -size % BLOCK
        if not size:
            self._end()

    def _begin_member(self, header: bytes, kind: bytes, size: int) -> int:
        name = self._name or _name(header)
        size = size if self._size is None else self._size
        self._name, self._size = "", None
        # Links and folders have no content, whatever their header says; GNU tar reads them so, too.
        size = 0 if kind in (b"1", b"2", b"3", b"4", b"5", b"6") else size
        self._digest = hashlib.sha256()
        self._file = TarFile(name, "file" if kind in _REGULAR else _KINDS.get(kind, "other"), size, "")
        return size

    def _content(self, part: bytes) -> None:
        self._left -= len(part)
        if self._extended is not None:
            self._extended += part
        else:
            self._digest.update(part)
        if not self._left:
            self._end()

    def _end(self) -> None:
        if self._extended is not None:
            content, self._extended = bytes(self._extended), None
            self._read_extended(content)
        elif self._file is not None:
            is_file = self._file.kind == "file"
            self._list(msgspec.structs.replace(self._file, sha256=self._digest.hexdigest() if is_file else ""))
            self._file = None

    def _read_extended(self, content: bytes) -> None:
        if self._extended_kind == _LONG_NAME:
            self._name = content.rstrip(b"\0").decode("utf-8", "replace")
        elif self._extended_kind == _PAX:
            records = _pax_records(content)
            if records is None:
                self.problem = "the archive holds a header that cannot be read"
                return
            self._name = records.get(b"path", b"").decode("utf-8", "replace") or self._name
            size = records.get(b"size")
            if size is not None:
                self._size = int(size) if size.isdigit() and len(size) < 20 else None

    def _list(self, file: TarFile) -> None:
        if len(self.files) < MOST_FILES:
            self.files.append(file)
        else:
            self.unlisted += 1


def _number(field: bytes) -> int | None:
    """Octal digits, or base 256 where the first bit is set; None for what is neither, and below zero."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        return value if value < 1 << 62 else None
    digits = field.strip(b" \0")
    if not digits:
        return 0
    return int(digits, 8) if all(digit in b"01234567" for digit in digits) else None


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    # The prefix is POSIX's; GNU's own format keeps other things there.
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")


def _pax_records(content: bytes) -> dict[bytes, bytes] | None:
    """`<length> <key>=<value>\\n`, one after the other; None where they are not that."""
    found: dict[bytes, bytes] = {}
    while content.strip(b"\0"):
        digits, _, _ = content[:8].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = content[:length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not record.endswith(b"\n") or not equals or length > len(content):
            return None
        found[key] = value
        content = content[length:]
    return found
