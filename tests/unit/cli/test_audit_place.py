"""Where the commands of `narrowgate audit` find the record, and how what is wrong with it is said."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from narrowgate.cli.audit_place import progress_of, trail_folder, worded
from narrowgate.trail.index_file import IndexUnusable
from narrowgate.trail.text_index import TextUnusable


def test_a_data_folder_has_its_record_in_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "trail").mkdir()
    assert trail_folder(None, tmp_path) == tmp_path / "trail"


def test_a_folder_without_a_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="no record here; start the gate once"):
        trail_folder(None, tmp_path)


def test_two_places_are_misuse(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="give one of them"):
        trail_folder("gate.yaml", tmp_path)


@pytest.mark.parametrize("error", [IndexUnusable("no room"), TextUnusable("no room")])
def test_what_the_record_says_is_worded_already(error: Exception) -> None:
    with pytest.raises(click.ClickException, match=r"^no room$"), worded():
        raise error


def test_nobody_is_told_of_progress_who_does_not_look(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_of("indexing") as progress:
        assert progress is None
    assert capsys.readouterr().err == ""
