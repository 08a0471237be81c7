"""The terminal that tests of commands type into."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.terminal import Terminal


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, capsys)
