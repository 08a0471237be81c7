"""Programs that are talked to: a terminal as a person has it, a conversation by pipe, patience, and noise."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from contextlib import suppress

from tests.e2e.kubectl import Kubectl

# A program that says nothing for that long is broken.
SILENCE_SECONDS = 120.0
MEBIBYTE = 1 << 20
TERMINAL_ROWS, TERMINAL_COLUMNS = 33, 101


class Terminal:
    """A program on a terminal of a known size, typed at and read as a person would."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.seen = ""
        self.controller, side = pty.openpty()
        self.resize(TERMINAL_ROWS, TERMINAL_COLUMNS)
        self.process = subprocess.Popen(
            command,
            stdin=side,
            stdout=side,
            stderr=side,
            env={**environment, "TERM": "xterm"},
            start_new_session=True,
            # A terminal is somebody's only when a session leader takes it: kubectl then gets its signals. One system
            # call between fork and exec, which no lock of another thread can hold up.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(side)
        os.set_blocking(self.controller, False)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.controller)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.controller, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Type it all, or as much as there is a program to type to: nobody reads what a terminal takes after that."""
        left = text.encode()
        deadline = time.monotonic() + SILENCE_SECONDS
        while left and self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"the terminal takes no more; {len(left)} bytes are left")
            if select.select([], [self.controller], [], 1.0)[1]:
                with suppress(BlockingIOError):
                    left = left[os.write(self.controller, left) :]

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + SILENCE_SECONDS
        while text not in self.seen:
            if time.monotonic() > deadline or (not self._read(1.0) and self.process.poll() is not None):
                raise AssertionError(f"the terminal never said {text!r}; it said {self.seen!r}")

    def exit_code(self) -> int:
        code = self.process.wait(SILENCE_SECONDS)
        while self._read(0.1):
            pass
        return code

    def _read(self, seconds: float) -> bool:
        if not select.select([self.controller], [], [], seconds)[0]:
            return False
        # Linux answers EIO when the other side of a terminal is closed.
        with suppress(OSError):
            data = os.read(self.controller, 65536)
            self.seen += data.decode(errors="replace")
            return bool(data)
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether something that takes its time comes true."""
    deadline = time.monotonic() + SILENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def conversation(here: Kubectl, *arguments: str, say: str, until: str) -> str:
    """Says something to a program until its answer is heard, and returns all that was heard."""
    process = here.start(*arguments, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    heard = ""
    deadline = time.monotonic() + SILENCE_SECONDS
    try:
        # What is said before the stream stands is lost by nature, hence again and again.
        while until not in heard and time.monotonic() < deadline and process.poll() is None:
            process.stdin.write(say.encode())
            process.stdin.flush()
            if select.select([process.stdout], [], [], 1.0)[0]:
                heard += os.read(process.stdout.fileno(), 65536).decode(errors="replace")
    finally:
        process.kill()
        process.communicate()
    return heard


def noise(count: int, seed: int) -> bytes:
    """Bytes of every value, the same each time."""
    return random.Random(seed).randbytes(count)
