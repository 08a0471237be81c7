"""`narrowgate tasks show --tree`: a task with what came of it, as text or as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from narrowgate.cli.failure import Failed
from narrowgate.cli.oauth_client import GateUnreachable
from narrowgate.cli.output import note, write_json
from narrowgate.cli.task_handover import line_of
from narrowgate.core.task_tree import Node, tree_lines
from narrowgate.core.tree_picture import tree_svg


def show_tree(document: Mapping[str, Any], svg: Path | None, output: str) -> None:
    """Print the tree that a gate told of, and draw it where a file is named. Raises Failed, GateUnreachable."""
    try:
        root = msgspec.convert(document, Node)
    except msgspec.ValidationError as error:
        raise GateUnreachable(f"the answer is no tree of tasks ({error}): is it a gate of this version?") from None
    if svg is not None:
        try:
            svg.write_text(tree_svg(root), encoding="utf-8")
        except OSError as error:
            raise Failed((error.strerror or "unusable").lower(), str(svg), "name a file that can be written") from None
    if output == "json":
        write_json(document)
        return
    for line in tree_lines(root):
        click.echo(line_of(line))
    if svg is not None:
        note(f"{svg} has it as a picture")
