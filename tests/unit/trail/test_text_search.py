"""A search for a text tells of each request where its recording holds it, and of nothing that does not."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.trail.recorded import a_record
from tests.unit.trail.texts import put_text

from narrowgate.core.audit_query import AuditQuery, SeesAll
from narrowgate.core.found_text import FoundText
from narrowgate.trail.index import Index
from narrowgate.trail.text_index import TextCounts
from narrowgate.trail.text_search import text_search, with_places


def found(folder: Path, text: str) -> dict[str, object]:
    with closing(Index.open(folder / "trail")) as index, text_search(folder / "trail", text) as search:
        index.update()
        answers = index.search(AuditQuery(text=text), SeesAll(), texts=search.sessions)
        return {one.entry.audit_id: one.entry.recorded for one in with_places(answers, search)}


def test_each_answer_has_its_place(tmp_path: Path) -> None:
    a_record(tmp_path)
    put_text(tmp_path / "trail", "r4", "first\n", "a kernel panic\n")
    put_text(tmp_path / "trail", "r1", "kernel\n", "panic\n")
    put_text(tmp_path / "trail", "nobody", "a kernel panic\n")
    assert found(tmp_path, "kernel panic") == {"r4": FoundText(seconds=1.0, stream="output", line="a kernel panic")}


def test_where_no_text_is_kept_nothing_is_found_and_no_file_made(tmp_path: Path) -> None:
    a_record(tmp_path)
    assert found(tmp_path, "kernel panic") == {}
    assert not (tmp_path / "trail" / "text.db").exists()
    with text_search(tmp_path / "trail", "kernel panic") as search:
        assert (search.sessions, search.counts(), search.is_full) == ((), None, False)


def test_what_was_searched_is_counted(tmp_path: Path) -> None:
    put_text(tmp_path, "r1", "kernel\n")
    with text_search(tmp_path, "kernel") as search:
        assert search.counts() == TextCounts(searched=1)


def test_a_search_ends_where_it_may_read_no_more_and_says_so(tmp_path: Path) -> None:
    a_record(tmp_path)
    for session in ("r1", "r2", "r3"):
        put_text(tmp_path / "trail", session, "abcd bcde\n")
    put_text(tmp_path / "trail", "r4", "abcde\n")
    cut_off = {}
    for most in (0, 3, 9):
        with closing(Index.open(tmp_path / "trail")) as index, text_search(tmp_path / "trail", "abcde", most) as search:
            index.update()
            answers = index.search(AuditQuery(text="abcde"), SeesAll(), texts=search.sessions)
            cut_off[most] = ([one.entry.audit_id for one in with_places(answers, search)], search.is_full)
    assert cut_off == {0: ([], True), 3: (["r4"], True), 9: (["r4"], False)}


def test_a_text_that_cannot_be_looked_for_is_refused(tmp_path: Path) -> None:
    put_text(tmp_path, "r1", "kernel\n")
    with pytest.raises(ValueError, match="3 to 256"), text_search(tmp_path, "ab"):
        pytest.fail("it was searched")
