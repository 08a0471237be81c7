"""What can go wrong with recordings, worded for whoever reads it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Self


class RecordingUnwritable(Exception):
    """What was to be recorded is not, or nobody knows: nothing of it may reach anyone."""

    @classmethod
    def by(cls, path: Path, error: OSError) -> Self:
        """Say what the system refused, where, and what to do."""
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        advice = _ADVICE.get(error.errno or 0, "check the disk")
        return cls(f"{path}: the recording cannot be written: {reason}; {advice}")


class RecordingDamaged(Exception):
    """What is there is not what a recorder writes: it was changed, or the disk lost some of it."""


class RecordingShortened(RecordingDamaged):
    """It fits together, and ends before what the trail has seen of it."""


class OtherThanVouched(RecordingDamaged):
    """It fits together, and is not the recording that the trail speaks of under this name."""


class RecordingKeyMissing(Exception):
    """A recording is encrypted, and the key it was encrypted with is not among those that are known."""


class NewerRecording(Exception):
    """Written by a newer version. The message names both formats and what to do."""


_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EROFS: "make the folder writable",
    errno.EACCES: "make the folder writable",
    errno.EPERM: "make the folder writable",
    errno.EFBIG: "raise the file size limit",
    errno.EMFILE: "raise the limit of open files",
    errno.ENFILE: "raise the limit of open files",
}
