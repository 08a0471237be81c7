"""Text that is its owner's alone: read only from files that nobody else may read or has made, and written as such.

The kubectl plugin reads through this on every call: it imports nothing that a bare Python has not loaded already.
"""

import os

_GROUP_AND_OTHERS = 0o077
_MOUNTED_FOR_A_GROUP = 0o037
"""What a file of root's may not allow: Kubernetes mounts Secrets as root's, for the pod's group to read (`fsGroup`)."""

_FILE, _TYPE = 0o100000, 0o170000
"""Bits of a mode that say what sort of thing it is (`S_IFREG`, `S_IFMT` of sys/stat.h)."""


class Unusable(Exception):
    """Something that is needed (a file, a value, the gate) cannot be used; the text says which, why, and what to do."""


class NoPlace(Unusable):
    """A folder cannot be entered, made or written to (a pod with another user's home, a read-only disk)."""


def read_private(path: str, most: int, to_do: str) -> str:
    """The text (ASCII) of a file that nobody but its owner may read, of `most` bytes at most.

    `to_do` ends the sentences. Raises FileNotFoundError where it is not there, NoPlace where it is out of reach, and
    Unusable.
    """
    try:
        # Not blocking: a named pipe that nobody writes would hold up kubectl for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # Asked of the open file, not of the path: it is the file that is read.
            status = os.fstat(descriptor)
            _refuse_shared(path, status.st_mode, status.st_uid)
            content = os.read(descriptor, most + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except NotADirectoryError:
        raise FileNotFoundError(path) from None
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", "") or str(error)).lower()
        kind = NoPlace if isinstance(error, PermissionError) else Unusable
        raise kind(f"{path}: {reason}; {to_do}") from None
    if len(content) > most or not content.isascii():
        raise Unusable(f"{path}: holds something else; {to_do}")
    return content.decode("ascii")


def _refuse_shared(path: str, mode: int, owner: int) -> None:
    """Raise Unusable for what is no file, or one that somebody else may read, or has made and could change."""
    if mode & _TYPE != _FILE:
        raise Unusable(f"{path}: not a file; name the file itself")
    me = os.geteuid()
    if owner not in (me, 0):
        raise Unusable(
            f"{path}: belongs to another user (uid {owner}), who can change it; name a file of your own, "
            f"or run: chown {me} {path}"
        )
    shared = _GROUP_AND_OTHERS if owner == me else _MOUNTED_FOR_A_GROUP
    if mode & shared:
        raise Unusable(f"{path}: other users may read it (mode {mode & 0o777:04o}); run: chmod 600 {path}")


def write_private(path: str, text: str) -> None:
    """Write a file whole or not at all, mode 0600, and have it on the disk. Raises OSError."""
    temporary = prepare_private(path, text)
    try:
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def prepare_private(path: str, text: str) -> str:
    """Write `text` into a new file beside `path`, mode 0600, for the caller to rename; its name. Raises OSError."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}")
    # O_EXCL: whatever somebody put there first, a link say, is not written through.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            content = text.encode()
            while content:
                content = content[os.write(descriptor, content) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        os.unlink(temporary)
        raise
    return temporary


def private_folder(path: str) -> None:
    """Have a folder that only its owner may enter; made, with those above it, where it is missing.

    Raises NoPlace where that cannot be, Unusable where somebody else may enter it.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise NoPlace(f"{path}: {reason}; name another folder with NARROWGATE_HOME") from None
    if status.st_uid != os.geteuid():
        raise Unusable(f"{path}: belongs to another user (uid {status.st_uid}); name your own with NARROWGATE_HOME")
    if status.st_mode & _GROUP_AND_OTHERS:
        mode = status.st_mode & 0o777
        raise Unusable(f"{path}: other users may look into it (mode {mode:04o}); run: chmod 700 {path}")
