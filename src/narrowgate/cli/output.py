"""What commands print: tables for people, JSON for programs. Results go to stdout, everything about them to stderr."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec

GAP = "  "
"""Between two columns; the width of kubectl's tables is three, which wastes a narrow terminal."""


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-o table|json` (contract: every command that shows something has `-o json`)."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="Form of the output.",
    )(function)


def config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config FILE`, as every command has it that needs a gate's configuration."""
    return click.option(
        "--config", metavar="FILE", help="The gate's configuration file (default: as `narrowgate serve`)."
    )(function)


def write_json(value: object) -> None:
    """Print one JSON document, indented: it is read by people as often as by programs."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def write_table(heads: Sequence[str], rows: Sequence[Sequence[object]], empty: str, below: Sequence[str] = ()) -> None:
    """Print rows under their heads, or on stderr the sentence `empty` where there are none. `below`: a line more for
    each row, or an empty one for none.

    Plain text on purpose: columns that survive `grep`, `awk` and a log file, the same on a terminal and in a pipe.
    """
    if not rows:
        click.echo(empty, err=True)
        return
    cells = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for row, more in itertools.zip_longest(cells, ("", *below)):
        click.echo(GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if more:
            click.echo(more)


def note(text: str) -> None:
    """Say something about the result, on stderr, so that the result itself can be piped."""
    click.echo(text, err=True)
