"""How files with a credential come to be: whole, for their owner alone, and only if everything else went well."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from narrowgate.cli.failure import Failed
from narrowgate.cli.private_file import written_together


def test_files_appear_together_for_their_owner_alone(tmp_path: Path) -> None:
    with written_together({tmp_path / "a": "one", tmp_path / "b": "two"}):
        assert not (tmp_path / "a").exists()
    assert {path.name: (path.read_text(), stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir()} == {
        "a": ("one", 0o600),
        "b": ("two", 0o600),
    }


def test_a_file_that_was_readable_by_others_is_not_any_more(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o644)
    with written_together({tmp_path / "a": "new"}):
        pass
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_block_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError), written_together({tmp_path / "a": "new", tmp_path / "b": "new"}):
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_what_cannot_be_written_is_known_before_the_block_begins(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    begun = []
    for path, says in ((tmp_path / "gone" / "a", "make the folder"), (tmp_path / "folder", "name a file in it")):
        with pytest.raises(Failed, match=says), written_together({tmp_path / "first": "x", path: "y"}):
            begun.append(path)
    assert begun == []
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
