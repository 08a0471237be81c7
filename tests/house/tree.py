"""The tree as the house tests read it: files, their text and their syntax, each read once."""

from __future__ import annotations

import ast
import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "narrowgate"


@functools.cache
def tracked() -> tuple[str, ...]:
    """Every file that git knows or would add, as a path from the root: what a commit could hold."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return tuple(sorted(name for name in set(listed) if name and (ROOT / name).is_file()))


def python_files(*folders: str) -> tuple[str, ...]:
    """The Python files under these folders."""
    return tuple(
        name for name in tracked() if name.endswith(".py") and name.startswith(tuple(f"{one}/" for one in folders))
    )


@functools.cache
def text_of(name: str) -> str:
    """The text of a file."""
    return (ROOT / name).read_text(encoding="utf-8")


@functools.cache
def syntax_of(name: str) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(text_of(name), filename=name)


def called_name(call: ast.Call) -> str:
    """`Allow` for `Allow(...)` and for `decision.Allow(...)`; the last part of what is called."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def calls_in(name: str) -> list[ast.Call]:
    """Every call in a file."""
    return [node for node in ast.walk(syntax_of(name)) if isinstance(node, ast.Call)]
