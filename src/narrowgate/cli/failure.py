"""How a command ends when it cannot do what it was asked: one line on stderr, and an exit code.

Here is the error that commands raise themselves, and the translation of everything else that is known to be raised
below them. Nothing but `program.run` calls the translation: errors are worded once, at this border.
"""

from __future__ import annotations

import os
import sys
import traceback

import click

DONE = 0
REFUSED = 1
"""Refused or failed: the request was understood and did not come true."""
MISUSE = 2
"""The command line itself was wrong."""

WORDED = (
    "narrowgate.cli.private_text:Unusable",
    "narrowgate.config.errors:ConfigError",
    "narrowgate.control.first_admin:AdminThere",
    "narrowgate.control.serving:AddressTaken",
    "narrowgate.core.yaml_reader:PolicyErrors",
    "narrowgate.keys.secret_files:KeysUnusable",
    "narrowgate.main.boot_check:AccountTooWide",
    "narrowgate.main.workers:PortTaken",
    "narrowgate.recordings.errors:NewerRecording",
    "narrowgate.recordings.errors:RecordingDamaged",
    "narrowgate.recordings.errors:RecordingKeyMissing",
    "narrowgate.recordings.port:NoSuchRecording",
    "narrowgate.recordings.port:RecordingsUnavailable",
    "narrowgate.store.port:AlreadyThere",
    "narrowgate.store.port:ChangedMeanwhile",
    "narrowgate.store.port:NotThere",
    "narrowgate.store.port:StoreUnavailable",
    "narrowgate.trail.index_file:IndexUnusable",
    "narrowgate.trail.text_file:TextUnusable",
    "narrowgate.trail.journal:JournalInUse",
    "narrowgate.trail.journal:TrailDamaged",
    "narrowgate.trail.segment_file:TrailUnwritable",
    "narrowgate.trail.signing:NoSuchKey",
    "narrowgate.trail.verify:NoTrail",
)
"""Errors from below whose text is already written for the reader, as `module:name`.

They are looked up in the modules that are loaded: an error whose module was never imported cannot have been raised, and
importing it here would make every command pay for it.
"""


class Failed(Exception):
    """A command could not do its work: what was wrong, where, and what to do."""

    def __init__(self, what: str, where: str, to_do: str) -> None:
        super().__init__(f"{what}, {where}: {to_do}" if where else f"{what}: {to_do}")


def is_worded(error: BaseException) -> bool:
    """Tell whether the text of `error` is meant to be shown as it is."""
    if isinstance(error, Failed):
        return True
    for place in WORDED:
        module, _, name = place.partition(":")
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and isinstance(error, kind):
            return True
    return False


def sentence(error: BaseException) -> str:
    """Say in one line what an error means to whoever typed the command; several lines only for several faults."""
    if is_worded(error):
        return str(error)
    match error:
        case click.Abort() | KeyboardInterrupt():
            return "stopped before it was done: nothing more was changed"
        case click.UsageError():
            where = f", in `{error.ctx.command_path}`" if error.ctx else ""
            see = f"{error.ctx.command_path} --help" if error.ctx else "narrowgate --help"
            text = error.format_message().rstrip(".").replace("\n", " ")
            return f"{text[:1].lower()}{text[1:]}{where}: see `{see}`"
        case click.ClickException():
            return error.format_message()
        case PermissionError():
            return f"permission denied, {_place(error)}: run as the user who owns it, or change its mode"
        case OSError():
            return f"{(error.strerror or str(error)).lower()}, {_place(error)}: see that it is there and can be used"
        case _:
            again = "run it again with NARROWGATE_DEBUG=1 and report what it prints"
            return f"{type(error).__name__} ({error}), inside narrowgate: this is a fault of ours, {again}"


def exit_code(error: BaseException) -> int:
    """Tell misuse from everything else."""
    return MISUSE if isinstance(error, click.UsageError) else REFUSED


def report(error: BaseException) -> int:
    """Write what `error` means to stderr and return the exit code; NARROWGATE_DEBUG=1 adds the traceback."""
    if os.environ.get("NARROWGATE_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return MISUSE
    click.echo(f"narrowgate: {sentence(error)}", err=True)
    return exit_code(error)


def _place(error: OSError) -> str:
    return str(error.filename) if error.filename else "no file named"
