"""What a newcomer meets first: make, the README, the map of the tree."""

from __future__ import annotations

import re
import subprocess

import click
import pytest
from tests.house.tree import PACKAGE, ROOT, text_of, tracked

from narrowgate.cli.program import narrowgate

MAKEFILE = text_of("Makefile")
TARGETS = tuple(
    target for line in re.findall(r"^\.PHONY: (.+)$", MAKEFILE, flags=re.MULTILINE) for target in line.split()
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


def _typed_commands() -> list[tuple[str, list[str]]]:
    """Every `narrowgate ...` in the README and the documentation that is a command line, with the file it is in."""
    found = []
    for name in (one for one in tracked() if one == "README.md" or (one.startswith("docs/") and one.endswith(".md"))):
        for line in text_of(name).splitlines():
            match = re.match(r" {4,}(?:\$ )?(narrowgate [a-z].*)$", line)
            if match:
                found.append((name, match[1].split(" #")[0].rstrip("\\` ").split()[1:]))
    return found


def test_the_documentation_types_commands_that_exist() -> None:
    wrong = []
    for name, words in _typed_commands():
        context = click.Context(narrowgate)
        command: click.Command = narrowgate
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            below = command.get_command(context, words[0])
            if below is None:
                break
            command, words = below, words[1:]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = [
            word for word in words if word.startswith("--") and word.partition("=")[0] not in {*options, "--help"}
        ]
        if isinstance(command, click.Group) or unknown:
            wrong.append(f"{name}: narrowgate ... {' '.join(words)}")
    assert wrong == []


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


def test_every_key_of_the_configuration_is_documented() -> None:
    keys = re.findall(r"^    (\w+): [\w\[]", _shapes(), flags=re.MULTILINE)
    camel = {re.sub(r"_(\w)", lambda match: match[1].upper(), key) for key in keys}
    words = set(re.findall(r"\w+", text_of("docs/configuration.md")))
    assert camel > {"dataDir", "kubeconfig", "drainTimeout"}
    assert camel - words == set()


def _shapes() -> str:
    """The part of `gate_file.py` that says what may be written in the file."""
    source = text_of("src/narrowgate/config/gate_file.py")
    return source[source.index("class _Listen(") : source.index("def find_config(")]
