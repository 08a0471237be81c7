"""The trail that tests change and read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.trail.sealed import Trail


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path)
    assert [len(made.lines(number)) for number in (1, 2, 3)] == [6, 6, 5]
    return made
