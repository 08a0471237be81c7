"""What remotecommand's side channels mean: the sizes of a terminal, and how a process ended.

Both are read from bytes that go by, so nothing here can refuse anything: what cannot be read means nothing, and the
bytes themselves are kept.
"""

from __future__ import annotations

import json

import msgspec

from narrowgate.core.recording import Exited, Resized

UNREAD_LIMIT = 4096
"""Bytes of a size that is not complete yet. Go's encoder writes 27."""

LARGEST_SIDE = 65_535
"""Columns or rows; both are `uint16` in TerminalSize (k8s.io/client-go/tools/remotecommand/resize.go)."""


class TerminalSizes:
    """Reads the resize channel: JSON objects one after the other, however they are cut. Remotecommand, v3 and later."""

    def __init__(self) -> None:
        self._unread = ""
        self._is_lost = False
        """Whether something stood there that is no size: what follows cannot be told apart any more."""
        self._decoder = json.JSONDecoder()

    def feed(self, data: bytes) -> list[Resized]:
        """The sizes that are complete now."""
        if self._is_lost:
            return []
        self._unread = (self._unread + data.decode("latin-1")).lstrip()
        found: list[Resized] = []
        while self._unread and not self._is_lost:
            try:
                value, end = self._decoder.raw_decode(self._unread)
            except (ValueError, RecursionError):
                self._is_lost = len(self._unread) > UNREAD_LIMIT or not self._unread.startswith("{")
                break
            self._unread = self._unread[end:].lstrip()
            size = _size(value)
            self._is_lost = size is None
            if size is not None:
                found.append(size)
        if self._is_lost:
            self._unread = ""
        return found


def _size(value: object) -> Resized | None:
    if not isinstance(value, dict):
        return None
    width, height = value.get("Width"), value.get("Height")
    if type(width) is not int or type(height) is not int:
        return None
    return Resized(width, height) if 0 <= width <= LARGEST_SIDE and 0 <= height <= LARGEST_SIDE else None


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct, frozen=True):
    causes: list[_Cause] = []


class _Status(msgspec.Struct, frozen=True):
    status: str = ""
    message: str = ""
    details: _Details | None = None


_status = msgspec.json.Decoder(_Status)


def exit_of(error: bytes) -> Exited:
    """What all of the error channel says.

    Since v4 that is a `metav1.Status`, whose cause `ExitCode` names the code of a process that did not end with 0
    (k8s.io/apimachinery/pkg/util/remotecommand, StreamProtocolV4Name); before that a line of text, or nothing.
    """
    if not error:
        return Exited(0)
    try:
        status = _status.decode(error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Exited(None, error.decode("utf-8", "replace"))
    if status.status == "Success":
        return Exited(0)
    for cause in status.details.causes if status.details else ():
        if cause.reason == "ExitCode" and cause.message.isascii() and cause.message.isdigit():
            return Exited(int(cause.message[:10]), status.message)
    return Exited(None, status.message)
