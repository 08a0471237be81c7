"""Files that hold a credential: readable by their owner alone, there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from narrowgate.cli.failure import Failed
from narrowgate.cli.private_text import prepare_private


@contextlib.contextmanager
def written_together(texts: Mapping[Path, str]) -> Iterator[None]:
    """Write these files, mode 0600, when the block ends well; leave nothing behind when it does not.

    All that may fail (folder, rights, room on the disk) is done before the block: what the block makes, and the file
    alone would hold, is not lost to a full disk. Raises Failed.
    """
    prepared: dict[Path, str] = {}
    try:
        for path, text in texts.items():
            prepared[path] = _prepared(path, text)
        yield
        for path in list(prepared):
            os.replace(prepared[path], path)
            del prepared[path]
    except OSError as error:
        named = error.filename2 or error.filename or next(iter(texts), "")
        raise Failed(
            f"cannot write: {(error.strerror or str(error)).lower()}", str(named), "name another file"
        ) from error
    finally:
        for temporary in prepared.values():
            os.unlink(temporary)


def _prepared(path: Path, text: str) -> str:
    if path.is_dir():
        raise Failed("this is a folder", str(path), "name a file in it")
    try:
        return prepare_private(str(path), text)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        reason = (error.strerror or str(error)).lower()
        raise Failed(f"cannot write: {reason}", str(path.parent), "make the folder, or name another file") from error
