"""Keys are read one by one from a terminal, and nothing is changed where there is none."""

from __future__ import annotations

import os

from narrowgate.cli.terminal_keys import Keys, pressed_keys


def test_a_key_ends_the_waiting() -> None:
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"f\n")
        assert Keys(theirs).wait(30).startswith("f")
        assert Keys(theirs).wait(0) == ""
        assert Keys(theirs).are_read
    finally:
        os.close(ours)
        os.close(theirs)


def test_without_a_terminal_nobody_presses_any() -> None:
    with pressed_keys() as keys:
        assert not keys.are_read
        assert keys.wait(0) == ""
