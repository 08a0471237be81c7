"""Single keys of whoever sits at the terminal, read while something else goes on."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager

_KEY_BYTES = 16
"""Of what is read at a time: an arrow has three, and keys that are held down come one after the other."""


class Keys:
    """Waits for a time or for a key."""

    def __init__(self, file: int | None) -> None:
        """`file` is a terminal in single-key mode; None: nobody presses any."""
        self._file = file

    def wait(self, seconds: float | None) -> str:
        """Return the key that was pressed, as what it sends; empty when `seconds` are over. None: wait for a key."""
        if self._file is None:
            time.sleep(seconds or 0)
            return ""
        ready, _, _ = select.select([self._file], [], [], seconds)
        return os.read(self._file, _KEY_BYTES).decode("latin-1") if ready else ""

    @property
    def are_read(self) -> bool:
        """Whether somebody can press any."""
        return self._file is not None


@contextmanager
def pressed_keys() -> Iterator[Keys]:
    """Keys of the terminal at stdin, which is as before afterwards; without one there are none."""
    if not sys.stdin.isatty():
        yield Keys(None)
        return
    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    try:
        # Characters as they come and not shown; Ctrl-C still interrupts.
        tty.setcbreak(file)
        yield Keys(file)
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)
