"""How a new credential reaches the agent: on the screen, or in a kubeconfig, this once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
import msgspec

from narrowgate.authenticators.credential import NewCredential
from narrowgate.cli.kubeconfig_file import (
    PLUGIN,
    CredentialPlugin,
    InlineToken,
    kubeconfig_document,
    plugin_command,
    refuse_foreign,
)
from narrowgate.cli.output import note, write_json
from narrowgate.config import Config, gate_keys, kubeconfig_server
from narrowgate.core.agent import AgentRecord
from narrowgate.core.agent_credential import DEFAULT_LIFETIME
from narrowgate.core.agent_document import agent_document
from narrowgate.core.moment import moment_text


class Destination(NamedTuple):
    """Where a new credential goes: to the screen, or into a kubeconfig."""

    kubeconfig: Path | None
    plugin: bool
    server: str


def destination_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how long a credential lives and where it goes."""
    for option in reversed(
        (
            click.option(
                "--for",
                "lifetime",
                default=DEFAULT_LIFETIME,
                show_default=True,
                metavar="TIME",
                help="How long the credential lives, like 12h or 30d; 365d at most.",
            ),
            click.option(
                "--kubeconfig",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="Write the credential into this kubeconfig (mode 0600) instead of showing it.",
            ),
            click.option(
                "--plugin",
                is_flag=True,
                help=f"Keep it out of the kubeconfig: in FILE.credential, read by the kubectl plugin {PLUGIN}.",
            ),
            click.option(
                "--server",
                default="",
                metavar="URL",
                help="Address of the gate in the kubeconfig (default: where it listens).",
            ),
        )
    ):
        function = option(function)
    return function


def files_for(config: Config, agent: AgentRecord, made: NewCredential, to: Destination) -> dict[Path, str]:
    """The files that hand the credential over; none when it is shown instead. Raises click.UsageError, Failed."""
    if to.kubeconfig is None:
        if to.plugin or to.server:
            raise click.UsageError("--plugin and --server go with --kubeconfig FILE")
        return {}
    refuse_foreign(to.kubeconfig)
    server = _server(config, to.server)
    ca_pem = gate_keys(config).ca_pem
    if not to.plugin:
        credential = InlineToken(made.text)
        return {to.kubeconfig: kubeconfig_document(server, ca_pem, agent.cluster, agent.name, credential)}
    beside = to.kubeconfig.with_name(f"{to.kubeconfig.name}.credential").absolute()
    plugin = CredentialPlugin(plugin_command(), str(beside))
    return {
        beside: f"{made.text}\nexpires: {moment_text(agent.expires_at)}\n",
        to.kubeconfig: kubeconfig_document(server, ca_pem, agent.cluster, agent.name, plugin),
    }


def hand_over(agent: AgentRecord, made: NewCredential, to: Destination, output: str) -> None:
    """Say where the credential is, or what it is."""
    if output == "json":
        where = {"credential": made.text} if to.kubeconfig is None else {"kubeconfig": str(to.kubeconfig.absolute())}
        write_json(msgspec.to_builtins(agent_document(agent, time.time())) | where)
        return
    ended = moment_text(agent.expires_at)
    if to.kubeconfig is not None:
        note(f"agent {agent.name}: {to.kubeconfig} opens {agent.cluster} until {ended}; try:")
        click.echo(f"kubectl --kubeconfig {to.kubeconfig} get --raw /version")
        return
    note(f"agent {agent.name}: this credential opens {agent.cluster} until {ended}, and is shown only now")
    click.echo(made.text)


def _server(config: Config, wanted: str) -> str:
    """The gate's address for a kubeconfig. Raises click.BadParameter, or ConfigError when no address can be told."""
    if wanted:
        parts = urlsplit(wanted)
        if parts.scheme != "https" or not parts.hostname:
            raise click.BadParameter(f'"{wanted}" is not https://host:port', param_hint="--server")
        return wanted.rstrip("/")
    return kubeconfig_server(config)
