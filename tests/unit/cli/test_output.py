"""Tables for people, JSON for programs."""

from __future__ import annotations

import json

import pytest

from narrowgate.cli.output import write_json, write_table


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("NAME", "N"), [("a", 1), ("longer", 22)], "nothing")
    assert capsys.readouterr().out == "NAME    N\na       1\nlonger  22\n"


def test_an_empty_table_is_a_sentence_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("NAME",), [], "nothing yet")
    assert capsys.readouterr() == ("", "nothing yet\n")


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"b": [1, None], "ä": "ü"})
    assert json.loads(capsys.readouterr().out) == {"b": [1, None], "ä": "ü"}
