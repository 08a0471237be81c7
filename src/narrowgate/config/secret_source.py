"""A secret that the configuration names and never holds: alone in a file, or in a variable of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from narrowgate.config.document import Document, Path_, read_text


class SecretSources:
    """Where one file's secrets are looked for."""

    def __init__(self, document: Document, folder: Path, environ: Mapping[str, str] = os.environ) -> None:
        """Paths are relative to `folder`."""
        self._document = document
        self._folder = folder
        self._environ = environ

    def read(self, here: Path_, key: str, file: str, variable: str) -> str:
        """The secret of `<key>File` or `<key>Variable`, without line ends around it; empty where neither is written.

        Raises ConfigError, which never quotes it: for both at once, and where nothing printable is found.
        """
        if file and variable:
            self._document.refuse((*here, f"{key}Variable"), f"there is {key}File already; keep one of them")
        if not file and not variable:
            return ""
        written = (*here, f"{key}File" if file else f"{key}Variable")
        if "\0" in file:
            self._document.refuse(written, "expected a path, found nothing usable; write one")
        if file:
            text = read_text(Path(os.path.normpath(self._folder / Path(file).expanduser())), "the secret")
        else:
            text = self._environ.get(variable, "")
        secret = text.strip()
        if not secret or not secret.isascii() or not all(line.isprintable() for line in secret.splitlines()):
            where = file or f"${variable}"
            self._document.refuse(written, f"{where} holds no secret; put it there, alone on one line")
        return secret

    def must_read(self, here: Path_, key: str, file: str, variable: str) -> str:
        """The same, refusing its absence."""
        secret = self.read(here, key, file, variable)
        if not secret:
            self._document.refuse(here, f"needs {key}File or {key}Variable; the secret itself is not written here")
        return secret
