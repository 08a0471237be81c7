"""The implementations of the store that every suite about it runs on: another one joins by one more entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from narrowgate.store.open import open_store
from narrowgate.store.port import Store

OPENERS: dict[str, Callable[[Path], Store]] = {"sqlite": lambda folder: open_store("sqlite:gate.db", folder)}
"""A store of each kind; called again with the same folder it opens the same store."""

Opener = Callable[[], Store]
