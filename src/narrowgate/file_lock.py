"""Locks of files, by which the processes of one machine keep out of each other's way (flock(2)).

A lock belongs to an open file: it ends with its process, however that ends, and nobody finds one that nobody holds. The
file itself stays, because two processes must not hold two files of one name. What a lock stands for, and what is said
to whoever does not get it, is its holder's affair. Standard library only: the credential plugin holds one, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import time
from collections.abc import Iterator
from typing import Final

LOOK_SECONDS: Final = 0.02
"""Between two looks whether a lock is free."""

ENDING_SECONDS: Final = 5.0
"""How long a gate that starts waits for a process that is only just ending. One that was killed keeps its files until
the kernel has taken its memory back; the others of its gate see that it is gone, end what they serve, and seal.
"""

FOR_EVER: Final = math.inf
"""For locks that nobody holds for longer than some writes to the disk take."""


def take(path: str | os.PathLike[str], wait: float = 0.0) -> int | None:
    """The open file that holds the lock, made where it is not there; closing it lets go.

    None where another process still holds it after `wait` seconds. Raises OSError.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if _has(file, fcntl.LOCK_EX, wait):
            return file
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


@contextlib.contextmanager
def held(path: str | os.PathLike[str], wait: float = 0.0) -> Iterator[bool]:
    """Hold the lock meanwhile; False where another process still does after `wait` seconds. Raises OSError."""
    file = take(path, wait)
    try:
        yield file is not None
    finally:
        if file is not None:
            os.close(file)


@contextlib.contextmanager
def shared(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep whoever takes the lock waiting, but not others who only read: for as long as it takes to read a file.

    Nothing is kept where nobody ever took it. Raises OSError.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        _has(file, fcntl.LOCK_SH, FOR_EVER)
        yield
    finally:
        os.close(file)


def is_taken(path: str | os.PathLike[str]) -> bool:
    """Whether a process holds the lock now. Whoever asks shares it for some microseconds. Raises OSError."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _has(file, fcntl.LOCK_SH, 0.0)
    finally:
        os.close(file)


def _has(file: int, kind: int, wait: float) -> bool:
    if wait == FOR_EVER:
        fcntl.flock(file, kind)
        return True
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_SECONDS)
        else:
            return True
