"""Which gate's record the commands of `narrowgate audit` read, and what all of them say while they do."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from narrowgate.cli.output import config_option
from narrowgate.config import Config, find_config
from narrowgate.core.audit_chain import NewerFormat
from narrowgate.trail.index_file import IndexUnusable
from narrowgate.trail.signing import NoSuchKey
from narrowgate.trail.text_index import TextUnusable
from narrowgate.trail.verify import NoTrail

PROGRESS_EVERY = 0.2
"""Seconds between two lines of progress on a terminal."""


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config FILE` and `--data-dir DIR`: which gate's record."""
    return config_option(
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="A gate's data folder, or a copy of it; instead of --config.",
        )(function)
    )


def trail_folder(config: str | None, data_dir: Path | None) -> Path:
    """The folder of the record that the options name."""
    return record_of(config, data_dir)[0]


def record_of(config: str | None, data_dir: Path | None) -> tuple[Path, Config | None]:
    """The folder of the record, and the configuration of its gate where that is what the options name."""
    if config is not None and data_dir is not None:
        raise click.UsageError("--config and --data-dir both say where the record is; give one of them")
    known = None
    if data_dir is None:
        known = find_config(config)
        data_dir = known.data_dir
    folder = data_dir / "trail"
    if not folder.is_dir():
        raise click.ClickException(f"{folder}: no record here; start the gate once, or name its data folder")
    return folder, known


@contextmanager
def worded() -> Iterator[None]:
    """The trail's own errors are worded for the reader already."""
    try:
        yield
    except (NoTrail, NewerFormat, NoSuchKey, IndexUnusable, TextUnusable) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def progress_of(doing: str, *, of: str = "MB", size: float = 1e6) -> Iterator[Callable[[int, int], None] | None]:
    """Progress on one line of a terminal, counted in `of`, each of which has this size; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= PROGRESS_EVERY:
            shown = now
            click.echo(f"\r{doing}: {done / size:.0f} of {total / size:.0f} {of}", nl=False, err=True)

    try:
        yield show
    finally:
        click.echo("\r" + " " * 60 + "\r", nl=False, err=True)
