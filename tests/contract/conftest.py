"""A store of each kind, for every suite about stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.stores import OPENERS, Opener

from narrowgate.store.port import Store


@pytest.fixture(params=list(OPENERS))
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the test's store, the same one each time; all are closed in the end."""
    opened: list[Store] = []

    def opener() -> Store:
        opened.append(OPENERS[request.param](tmp_path))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


@pytest.fixture
def store(opener: Opener) -> Store:
    """The test's store."""
    return opener()
