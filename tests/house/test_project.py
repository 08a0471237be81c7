"""What a newcomer meets first: make, the README, the map of the tree."""

from __future__ import annotations

import re
import subprocess

import pytest
from tests.house.tree import PACKAGE, ROOT, text_of, tracked

MAKEFILE = text_of("Makefile")
TARGETS = tuple(
    target
    for line in re.findall(r"^\.PHONY: (.+)$", MAKEFILE, flags=re.MULTILINE)
    for target in line.split()
    if target != "static"
)
FIRST_SCREEN = 40
"""Lines that are seen without scrolling."""


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_of_make_has_help(target: str) -> None:
    assert re.search(rf"^{target}:.*## \S", MAKEFILE, flags=re.MULTILINE)


def test_make_alone_lists_the_targets() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"make {target} " in shown for target in TARGETS)


@pytest.mark.parametrize("target", ["help", "up", "down", "test", "check", "e2e", "contract", "fault", "bench", "fuzz"])
def test_the_promised_targets_are_there(target: str) -> None:
    assert target in TARGETS


def test_ci_runs_what_a_developer_runs() -> None:
    script = text_of(".ci/run")
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in script
    assert "\nmake test\n" in script


def test_the_readme_begins_with_the_two_commands() -> None:
    first_screen = "\n".join(text_of("README.md").splitlines()[:FIRST_SCREEN])
    assert "make up" in first_screen
    assert "kubectl" in first_screen


def test_the_map_shows_the_tree_as_it_is() -> None:
    shown = text_of("docs/architecture.md")
    folders = sorted(folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists())
    missing = [folder for folder in folders if f"{folder}/" not in shown]
    assert missing == []
    named = set(
        re.findall(r"`((?:core|wire|proxy|control|authenticators|store|trail|cli|main|config)/\w+\.py)`", shown)
    )
    gone = [name for name in sorted(named) if f"src/narrowgate/{name}" not in tracked()]
    assert gone == []
