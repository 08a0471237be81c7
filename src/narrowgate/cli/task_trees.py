"""Trees of tasks as the commands show them: as text, in colours on a terminal, and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from narrowgate.cli.oauth_client import GateUnreachable
from narrowgate.cli.output import note, write_json
from narrowgate.cli.private_file import written_together
from narrowgate.cli.task_handover import line_of
from narrowgate.core.task_tree import Node, Tone, tree_lines
from narrowgate.core.tree_picture import tree_svg

_STYLES: Final[Mapping[Tone, Mapping[str, Any]]] = {
    Tone.PLAIN: {},
    Tone.NAMED: {"bold": True},
    Tone.REFUSED: {"fg": "red"},
    Tone.RUNNING: {"fg": "green"},
    Tone.OVER: {"dim": True},
}


def tree_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--tree` and `--svg FILE`."""
    with_text = click.option(
        "--tree", is_flag=True, help="With what came of it: delegates, pods, what each did, what is still alive."
    )
    path = click.Path(path_type=Path)
    with_picture = click.option("--svg", type=path, metavar="FILE", help="Draw that tree into a file (SVG).")
    return with_text(with_picture(function))


def read_tree(document: Mapping[str, Any]) -> Node:
    """The tree that a gate told of. Raises GateUnreachable."""
    try:
        return msgspec.convert(document, Node)
    except msgspec.ValidationError as error:
        raise GateUnreachable(f"the answer is no tree of tasks ({error}): is it a gate of this version?") from None


def show_tree(root: Node, svg: Path | None, output: str) -> None:
    """Print a tree, and draw it where a file is named. Raises Failed."""
    if svg is not None:
        with written_together({svg: tree_svg(root)}):
            # Commands stand in it: it is for its owner alone, like all else that tells of sessions.
            pass
    if output == "json":
        write_json(root)
        return
    for line in tree_lines(root):
        click.echo("".join(click.style(line_of(text), **_STYLES[tone]) for tone, text in line))
    if svg is not None:
        note(f"{svg} has it as a picture")
