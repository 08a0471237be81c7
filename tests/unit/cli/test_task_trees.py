"""`narrowgate tasks show --tree` and `--svg`: what a gate told of, as text, and as a picture in a file."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from tests.unit.core.test_tree_picture import ROOT

from narrowgate.cli.failure import Failed
from narrowgate.cli.oauth_client import GateUnreachable
from narrowgate.cli.task_trees import read_tree, show_tree

DOCUMENT = msgspec.to_builtins(ROOT)


def test_the_tree_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show_tree(read_tree(DOCUMENT), None, "text")
    assert capsys.readouterr().out.splitlines()[1].startswith("├─ bot/helper  task t2  active until")


def test_nothing_in_it_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    show_tree(read_tree(DOCUMENT | {"purpose": "\x1b[2Jgone"}), None, "text")
    assert "\x1b" not in capsys.readouterr().out


def test_it_is_drawn_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tree.svg"
    show_tree(read_tree(DOCUMENT), path, "json")
    assert path.read_text().startswith("<svg ")
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "taken").write_text("")
    for wrong in (tmp_path, tmp_path / "taken" / "tree.svg"):
        with pytest.raises(Failed):
            show_tree(read_tree(DOCUMENT), wrong, "json")


def test_what_is_no_tree_is_not_shown() -> None:
    with pytest.raises(GateUnreachable, match="no tree of tasks"):
        read_tree({"id": 1})


def test_the_document_for_programs_is_the_one_that_the_gate_gave(capsys: pytest.CaptureFixture[str]) -> None:
    show_tree(read_tree(DOCUMENT), None, "json")
    assert json.loads(capsys.readouterr().out) == json.loads(msgspec.json.encode(DOCUMENT))
