"""The index keeps up with journals that are written, one bite at a time, and gives way to others."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from tests.unit.trail.recorded import a_record

from narrowgate.core.audit_query import AuditQuery, SeesAll
from narrowgate.main.search_index import SearchIndex
from narrowgate.trail.index import Index
from narrowgate.trail.index_file import IndexUnusable, filling_lock


def known(folder: Path) -> int:
    index = Index.open(folder)
    found = len(list(index.search(AuditQuery(), SeesAll())))
    index.close()
    return found


def later(folder: Path) -> int:
    time.sleep(0.05)
    return known(folder)


def test_it_takes_in_what_was_written_since(tmp_path: Path) -> None:
    folder = tmp_path / "trail"
    keeping = SearchIndex(folder)
    for number in (1, 2):
        a_record(tmp_path, prefix=f"{number}-")
        assert keeping.take_in()
        assert known(folder) == 5 * number


def test_it_gives_way_to_whoever_is_at_it(tmp_path: Path) -> None:
    a_record(tmp_path)
    assert known(tmp_path / "trail") == 0
    with filling_lock(tmp_path / "trail", 0.0):
        assert not SearchIndex(tmp_path / "trail").take_in()


def test_a_folder_that_cannot_be_written_is_told_of_and_not_taken_for_empty(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable, match="cannot be written"):
        SearchIndex(tmp_path / "nowhere").take_in()


def test_it_follows_until_it_is_cancelled_and_a_record_that_is_away_does_not_end_it(tmp_path: Path) -> None:
    async def follow() -> None:
        folder = tmp_path / "trail"
        missing = asyncio.create_task(SearchIndex(tmp_path / "nowhere").follow())
        following = asyncio.create_task(SearchIndex(folder).follow())
        async with asyncio.timeout(10):
            while await asyncio.to_thread(later, folder) < 5:
                pass
        assert not missing.done()
        for task in (missing, following):
            task.cancel()
        await asyncio.wait([missing, following], timeout=10)
        assert missing.cancelled()
        assert following.cancelled()

    a_record(tmp_path)
    asyncio.run(follow())
