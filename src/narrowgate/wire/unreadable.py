"""The one error of what reads bytes in passing: answers under a mask, and the frames of sessions."""

from __future__ import annotations


class Unreadable(Exception):
    """Bytes that are not what they claim to be, or that two readers could read differently; the text says which."""
