"""Which files of the policy folder are policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.config import ConfigError, load_policy_files


def test_policies_are_read_by_name_and_nothing_else_is(tmp_path: Path) -> None:
    for name in (
        "b.yml",
        "a.yaml",
        "a.yaml~",
        ".a.yaml.swp",
        ".#a.yaml",
        "#a.yaml#",
        ".hidden.yaml",
        "a.json",
        "a.yaml.bak",
    ):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.yaml").mkdir()
    assert load_policy_files(tmp_path) == [("a.yaml", "a.yaml"), ("b.yml", "b.yml")]


def test_a_mounted_config_map_is_read_through_its_links(tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "a.yaml").write_text("a")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert load_policy_files(tmp_path) == [("a.yaml", "a")]


def test_an_empty_folder_is_an_empty_list(tmp_path: Path) -> None:
    assert load_policy_files(tmp_path) == []


def test_a_missing_folder_and_a_file_in_its_place_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; make it"):
        load_policy_files(tmp_path / "policies")
    (tmp_path / "policies").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        load_policy_files(tmp_path / "policies")


def test_one_policy_that_cannot_be_read_fails_the_whole_folder(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a")
    (tmp_path / "b.yaml").symlink_to("gone")
    with pytest.raises(ConfigError, match=r"b\.yaml: the policy file does not exist"):
        load_policy_files(tmp_path)
