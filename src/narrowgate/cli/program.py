"""The program `narrowgate`: its table of commands, and the one place where errors become a line and an exit code.

Commands are imported when they are called, never to print the list of them: `narrowgate --help` costs what click costs.
"""

from __future__ import annotations

import importlib
import os
import sys

import click
import msgspec

from narrowgate import __version__
from narrowgate.cli import failure


class Entry(msgspec.Struct, frozen=True):
    """One command: where its click object is (`module:attribute`), and the line that `--help` shows for it."""

    place: str
    help: str


COMMANDS = {
    "up": Entry("narrowgate.cli.up:up", "Start a gate here and now: keys, store, sample policies, your cluster."),
    "down": Entry("narrowgate.cli.up:down", "Stop the gate that `up --detach` started."),
    "serve": Entry("narrowgate.cli.serve:serve", "Serve with a configuration file, in the foreground."),
    "login": Entry("narrowgate.cli.login:login", "Sign in at a gate, as a person."),
    "logout": Entry("narrowgate.cli.logout:logout", "Sign out at a gate."),
    "whoami": Entry("narrowgate.cli.whoami:whoami", "Say who you are at a gate."),
    "agents": Entry(
        "narrowgate.cli.agents:agents", "Agents and how they prove themselves: add, change, pause, rotate, keys, ..."
    ),
    "roles": Entry("narrowgate.cli.roles:roles", "Roles in the gate: list, give, take, the first administrator."),
    "clusters": Entry(
        "narrowgate.cli.clusters:clusters", "Clusters behind the gate: add, list, check, manifests, bundle, remove."
    ),
    "tasks": Entry("narrowgate.cli.tasks:tasks", "Access for one piece of work: request, list, show, narrow, end."),
    "policy": Entry("narrowgate.cli.policy:policy", "Policies: check, apply, explain, revisions."),
    "mask": Entry("narrowgate.cli.mask:mask", "Masks: try them on an object of yours."),
    "approvals": Entry(
        "narrowgate.cli.approvals:approvals", "Questions that wait for people: list, show, approve, deny."
    ),
    "notifications": Entry(
        "narrowgate.cli.notifications:notifications", "Who is told of what happens: list, and try one."
    ),
    "sessions": Entry(
        "narrowgate.cli.sessions:sessions", "Recorded sessions: list, show, replay, export, follow, end."
    ),
    "audit": Entry("narrowgate.cli.audit:audit", "The record: search, verify, export."),
    "doctor": Entry(
        "narrowgate.cli.doctor:doctor",
        "Try whether anybody holds access between tasks, and find roads around the gate.",
    ),
    "kubeconfig": Entry(
        "narrowgate.cli.kubeconfig:kubeconfig", "A kubeconfig with the gate's CA and the credential plugin."
    ),
}
"""Every command of this version, in the order in which a newcomer meets them."""


class Program(click.Group):
    """A click group that knows its commands by name and imports them when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Name the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command, or answer None, so that click words the refusal with its suggestion."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.place.partition(":")
        found: object = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, click.Command):
            raise TypeError(f"{entry.place} is not a command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list from the table, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.command(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, "--version", prog_name="narrowgate", message="%(prog)s %(version)s")
def narrowgate() -> None:
    """The narrow gate in front of a Kubernetes API server.

    Agents and people reach the cluster through it with the clients they have; it holds the cluster's credential, judges
    every request by policy, and keeps the record. Begin with `narrowgate up`.
    """


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 done, 1 refused or failed, 2 misuse."""
    try:
        answer = narrowgate.main(args=arguments, prog_name="narrowgate", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away (`narrowgate audit search | head`), as it may: nothing to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return failure.REFUSED
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else failure.DONE if stop.code is None else failure.REFUSED
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (the border: everything known becomes one line here)
        return failure.report(error)
    return answer if isinstance(answer, int) and not isinstance(answer, bool) else failure.DONE
