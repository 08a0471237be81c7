"""A secret named by the configuration: where it is looked for, and that no complaint quotes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.config import ConfigError
from narrowgate.config.document import Document
from narrowgate.config.secret_source import SecretSources


def sources(folder: Path, **environ: str) -> SecretSources:
    return SecretSources(Document("{}", "narrowgate.yaml"), folder, environ)


def test_a_secret_is_read_from_a_file_or_a_variable_without_line_ends(tmp_path: Path) -> None:
    (tmp_path / "pager.secret").write_text("hush\n")
    assert sources(tmp_path).read(("at",), "secret", "pager.secret", "") == "hush"
    assert sources(tmp_path, PAGER=" hush\n").read(("at",), "secret", "", "PAGER") == "hush"


def test_neither_is_nothing_and_refused_where_it_is_needed(tmp_path: Path) -> None:
    assert sources(tmp_path).read(("at",), "secret", "", "") == ""
    with pytest.raises(ConfigError, match="needs secretFile or secretVariable"):
        sources(tmp_path).must_read(("at",), "secret", "", "")


def test_both_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is tokenFile already"):
        sources(tmp_path, A="x").read(("at",), "token", "a", "A")


@pytest.mark.parametrize("text", ["", "\n", "hush\x1b[2J", "hüsh"])
def test_what_is_no_secret_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "s").write_text(text)
    with pytest.raises(ConfigError, match="holds no secret") as refused:
        sources(tmp_path).read(("at",), "secret", "s", "")
    assert "sh" not in str(refused.value).replace("stands", "")


def test_a_missing_variable_and_a_path_that_is_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\$NOWHERE holds no secret"):
        sources(tmp_path).read(("at",), "secret", "", "NOWHERE")
    with pytest.raises(ConfigError, match="expected a path"):
        sources(tmp_path).read(("at",), "secret", "a\0b", "")
