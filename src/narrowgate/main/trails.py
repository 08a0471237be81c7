"""The trail of one process, opened as the configuration wants it."""

from __future__ import annotations

from narrowgate.config import Config
from narrowgate.file_lock import ENDING_SECONDS
from narrowgate.keys import Keys
from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.trail.journal import Bounds


def open_trail(config: Config, keys: Keys, writer: str, wait: float = ENDING_SECONDS) -> TrailWriter:
    """A journal of its own for the process called `writer`; who has it is given `wait` seconds to end.

    Blocks for as long: at start only. Raises TrailUnwritable, TrailDamaged, JournalInUse.
    """
    audit = config.audit
    bounds = Bounds(segment_bytes=audit.segment_bytes, retain_age=audit.retention)
    folder = config.data_dir / "trail"
    return TrailWriter.open(folder, writer, keys.signing_key_pem, bounds=bounds, copy_to=audit.checkpoints, wait=wait)
