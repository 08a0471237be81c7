"""Numbers, hashes and the lock of the search index."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from narrowgate.core.audit import timestamp
from narrowgate.trail.index_file import (
    INDEX,
    SCHEMA_VERSION,
    audit_key,
    filling_lock,
    first_number,
    microseconds_of,
    opened,
    token,
)


def test_later_requests_have_higher_numbers() -> None:
    moments = [0.0, 0.000001, 1_700_000_000.5, 4_000_000_000.999999]
    numbers = [first_number(microseconds_of(timestamp(moment).decode())) for moment in moments]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0


@pytest.mark.parametrize(
    "text", ["", "1", "2026-01-01T00:00:00Z", "2026-13-01T00:00:00.000000Z", "２026-01-01T00:00:00.000000Z"]
)
def test_a_time_that_the_trail_does_not_write_has_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"not how the trail writes|month must be"):
        microseconds_of(text)


@pytest.mark.parametrize("moment", ["1969-12-31T23:59:59.999999Z", "2113-01-01T00:00:00.000000Z"])
def test_a_time_beyond_what_a_number_holds_is_refused(moment: str) -> None:
    with pytest.raises(ValueError, match="no number"):
        first_number(microseconds_of(moment))


def test_facts_are_told_apart_by_letter_and_value_and_written_in_what_lists_take() -> None:
    tokens = {token(fact) for fact in ("nprod", "mprod", "nPROD", "nprod ", 'n" OR "', "n\udc80")}
    assert len(tokens) == 6
    assert all(one.isascii() and one.isalnum() and one == one.lower() for one in tokens)


def test_an_audit_id_in_the_form_of_a_uuid_is_kept_short_and_others_as_they_are() -> None:
    assert audit_key("5f0e1d2c-3b4a-4958-0001-000000000001") == bytes.fromhex("5f0e1d2c3b4a49580001000000000001")
    for other in ("", "r1", "5F0E1D2C-3b4a-4958-0001-000000000001", "5f0e1d2c-3b4a-4958-0001-00000000000g"):
        assert audit_key(other) == other


def test_one_process_fills_at_a_time(tmp_path: Path) -> None:
    with filling_lock(tmp_path, 0.0) as first, filling_lock(tmp_path, 0.0) as second:
        assert (first, second) == (True, False)
    with filling_lock(tmp_path, 0.0) as again:
        assert again


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_damaged_file_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / INDEX).write_bytes(content)
    database = opened(tmp_path)
    assert database.execute("SELECT count(*) FROM requests").fetchone() == (0,)
    database.close()


def test_an_index_of_another_version_is_made_anew(tmp_path: Path) -> None:
    before = sqlite3.connect(tmp_path / INDEX)
    before.execute("CREATE TABLE requests (what)")
    before.execute("PRAGMA user_version = 2")
    before.commit()
    before.close()
    database = opened(tmp_path)
    assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert database.execute("SELECT count(*) FROM requests").fetchone() == (0,)
    database.close()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    database = opened(tmp_path)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    database.close()


def test_where_nothing_can_be_written_the_index_is_in_memory(tmp_path: Path) -> None:
    database = opened(tmp_path / "nowhere")
    assert database.execute("PRAGMA database_list").fetchone()[2] == ""
    database.close()
