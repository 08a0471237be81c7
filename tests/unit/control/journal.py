"""A journal that keeps what it is given, as `Recorder` wants one; it can refuse, as a full disk does."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from narrowgate.trail.segment_file import TrailUnwritable


@dataclass
class Journal:
    """The entries, in their order, each with whether it had to be on the disk."""

    entries: list[tuple[dict[str, Any], bool]] = field(default_factory=list)
    full: bool = False

    async def record(self, entry: bytes, durable: bool) -> None:
        if self.full:
            raise TrailUnwritable("the disk is full")
        self.entries.append((json.loads(entry), durable))

    def stages(self) -> list[tuple[str, str]]:
        """Stage and decision of each entry."""
        return [(entry["stage"], entry["annotations"].get("narrowgate.dev/decision", "")) for entry, _ in self.entries]

    @property
    def last(self) -> dict[str, Any]:
        return self.entries[-1][0]
