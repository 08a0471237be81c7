"""`narrowgate agents`: who may come at all, who answers for them, and the credential each of them gets once."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
import msgspec

from narrowgate.authenticators.credential import NewCredential, new_credential
from narrowgate.cli.failure import Failed
from narrowgate.cli.kubeconfig_file import HEADING, PLUGIN, CredentialPlugin, InlineToken, kubeconfig_document
from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.output import config_option, note, output_option, write_json, write_table
from narrowgate.cli.private_file import written_together
from narrowgate.config import Config, find_config, gate_keys
from narrowgate.core.agent import AgentRecord
from narrowgate.core.duration import duration_text, seconds_of
from narrowgate.core.names import agent_name_problem, groups_problem, owner_problem
from narrowgate.store.open import open_store
from narrowgate.store.port import Store

DEFAULT_LIFETIME = "30d"
"""A credential nobody renews is one nobody misses: a month, so that forgotten agents end by themselves."""

LONGEST_LIFETIME = 365 * 86_400
"""Seconds. A year, as the gate's own certificate; what shall last longer is rotated."""

LONGEST_PURPOSE = 500
"""Characters: a sentence or two for people, not a place for data."""


class Destination(NamedTuple):
    """Where a new credential goes: to the screen, or into a kubeconfig."""

    kubeconfig: Path | None
    plugin: bool
    server: str


@click.group()
def agents() -> None:
    """Agents and their credentials.

    An agent has an owner who answers for it, and one credential that opens one cluster, expires, and is worth nothing
    until a policy allows the agent something.
    """


def _destination_options(function: Callable[..., Any]) -> Callable[..., Any]:
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


@agents.command()
@click.argument("name")
@click.option("--owner", required=True, metavar="WHO", help="Who answers for it: person:NAME or group:NAME.")
@click.option("--purpose", required=True, metavar="TEXT", help="What it is for, in a sentence.")
@click.option("--cluster", metavar="NAME", help="The cluster its credential opens (default: the only one).")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="A group it belongs to; may be repeated.")
@_destination_options
@config_option
@output_option
def add(name: str, owner: str, purpose: str, cluster: str | None, groups: tuple[str, ...], **options: Any) -> None:
    """Register an agent and make its credential, which is shown this once."""
    _check_words(name, owner, purpose, groups)
    seconds = _lifetime(options["lifetime"])
    to = Destination(options["kubeconfig"], options["plugin"], options["server"])
    config = find_config(options["config"])
    made, now = new_credential(), time.time()
    agent = AgentRecord(
        name=name,
        owner=owner,
        purpose=purpose,
        cluster=_chosen_cluster(config, cluster),
        credential_id=made.id,
        credential_hash=made.hash,
        created_at=now,
        expires_at=now + seconds,
        groups=tuple(dict.fromkeys(groups)),
    )
    files = _files(config, agent, made, to)
    with _store(config) as store, written_together(files):
        store.add_agent(agent, by=local_operator(), at=now)
    _hand_over(agent, made, to, options["output"])


@agents.command()
@click.argument("name")
@_destination_options
@config_option
@output_option
def rotate(name: str, **options: Any) -> None:
    """Give an agent a new credential; the old one is worth nothing from now on."""
    seconds = _lifetime(options["lifetime"])
    to = Destination(options["kubeconfig"], options["plugin"], options["server"])
    config = find_config(options["config"])
    made, now = new_credential(), time.time()
    with _store(config) as store:
        agent = msgspec.structs.replace(
            store.agent(name), credential_id=made.id, credential_hash=made.hash, expires_at=now + seconds
        )
        with written_together(_files(config, agent, made, to)):
            store.change_agent(agent, by=local_operator(), at=now)
    _hand_over(agent, made, to, options["output"])


@agents.command("list")
@config_option
@output_option
def list_agents(config: str | None, output: str) -> None:
    """List the agents and when their credentials end."""
    found_config = find_config(config)
    with _store(found_config) as store:
        found = store.agents()
    now = time.time()
    if output == "json":
        write_json([_document(agent, now) for agent in found])
        return
    heads = ("NAME", "OWNER", "CLUSTER", "STATE", "EXPIRES", "GROUPS", "PURPOSE")
    rows = [
        (
            agent.name,
            agent.owner,
            agent.cluster,
            _state(agent, now),
            _expiry_text(agent, now),
            ",".join(agent.groups) or "-",
            agent.purpose,
        )
        for agent in found
    ]
    write_table(heads, rows, "there are no agents yet: add one with `narrowgate agents add`")


@agents.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
@output_option
def remove(name: str, yes: bool, config: str | None, output: str) -> None:
    """Remove an agent; its credential is worth nothing from now on."""
    found_config = find_config(config)
    with _store(found_config) as store:
        agent = store.agent(name)
        if not yes and sys.stdin.isatty():
            click.confirm(f"remove agent {name} ({agent.purpose}; owner {agent.owner})?", abort=True, err=True)
        now = time.time()
        store.remove_agent(name, by=local_operator(), at=now)
    if output == "json":
        write_json(_document(agent, now) | {"state": "removed"})
    else:
        note(f"agent {name} is removed; its credential {agent.credential_id} opens nothing any more")


@contextmanager
def _store(config: Config) -> Iterator[Store]:
    store = open_store(config.store, config.data_dir)
    try:
        yield store
    finally:
        store.close()


def _check_words(name: str, owner: str, purpose: str, groups: tuple[str, ...]) -> None:
    """Refuse, as misuse, what cannot be registered. Raises click.BadParameter."""
    if problem := agent_name_problem(name):
        raise click.BadParameter(f'"{name}" {problem}', param_hint="NAME")
    if problem := owner_problem(owner):
        raise click.BadParameter(f'"{owner}" {problem}', param_hint="--owner")
    if problem := groups_problem(groups):
        raise click.BadParameter(problem, param_hint="--group")
    if not purpose.strip() or len(purpose) > LONGEST_PURPOSE or not purpose.isprintable():
        raise click.BadParameter(f"write one line of 1 to {LONGEST_PURPOSE} characters", param_hint="--purpose")


def _lifetime(text: str) -> int:
    try:
        seconds = seconds_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--for") from error
    if not 0 < seconds <= LONGEST_LIFETIME:
        longest = duration_text(LONGEST_LIFETIME)
        raise click.BadParameter(f"{text} is not between 1s and {longest}; rotate it in time", param_hint="--for")
    return seconds


def _chosen_cluster(config: Config, wanted: str | None) -> str:
    names = [cluster.name for cluster in config.clusters]
    if not names:
        raise Failed("no cluster is registered", str(config.path), "add one with `narrowgate clusters add`")
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is None:
        raise click.UsageError(f"--cluster is needed, because several are registered: {', '.join(names)}")
    if wanted not in names:
        raise Failed(f'there is no cluster "{wanted}"', str(config.path), f"registered are: {', '.join(names)}")
    return wanted


def _files(config: Config, agent: AgentRecord, made: NewCredential, to: Destination) -> dict[Path, str]:
    """The files that hand the credential over; none when it is shown instead."""
    if to.kubeconfig is None:
        if to.plugin or to.server:
            raise click.UsageError("--plugin and --server go with --kubeconfig FILE")
        return {}
    _refuse_foreign(to.kubeconfig)
    server = _server(config, to.server)
    ca_pem = gate_keys(config).ca_pem
    if not to.plugin:
        credential = InlineToken(made.text)
        return {to.kubeconfig: kubeconfig_document(server, ca_pem, agent.cluster, agent.name, credential)}
    beside = to.kubeconfig.with_name(f"{to.kubeconfig.name}.credential").absolute()
    plugin = CredentialPlugin(_plugin_command(), str(beside))
    return {
        beside: f"{made.text}\nexpires: {_moment(agent.expires_at)}\n",
        to.kubeconfig: kubeconfig_document(server, ca_pem, agent.cluster, agent.name, plugin),
    }


def _refuse_foreign(path: Path) -> None:
    """Refuse to overwrite what narrowgate did not write: somebody's ~/.kube/config, say."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            foreign = file.readline() != HEADING
    except (FileNotFoundError, NotADirectoryError):
        return
    if foreign:
        raise Failed("this file is there and is not one that narrowgate wrote", str(path), "name a new file")


def _server(config: Config, wanted: str) -> str:
    """The gate's address for a kubeconfig. Raises click.BadParameter, or Failed when no address can be told."""
    if wanted:
        parts = urlsplit(wanted)
        if parts.scheme != "https" or not parts.hostname:
            raise click.BadParameter(f'"{wanted}" is not https://host:port', param_hint="--server")
        return wanted.rstrip("/")
    host, port = config.listen.kubernetes
    if host in {"0.0.0.0", "::"}:
        named = [name for name in config.server_names if not name.startswith("*")]
        if not named:
            place = f"{config.path}: listen.kubernetes"
            raise Failed(f"{host} is no address to call", place, "give --server, or add the gate's name to tls.names")
        host = named[0]
    if port == 0:
        raise Failed("port 0 is chosen at each start", f"{config.path}: listen.kubernetes", "give --server")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _plugin_command() -> str:
    """The plugin by its bare name where kubectl will find it, so that the kubeconfig can travel; else by its path."""
    beside = Path(sys.executable).with_name(PLUGIN)
    return PLUGIN if shutil.which(PLUGIN) or not beside.exists() else str(beside)


def _hand_over(agent: AgentRecord, made: NewCredential, to: Destination, output: str) -> None:
    if output == "json":
        where = {"credential": made.text} if to.kubeconfig is None else {"kubeconfig": str(to.kubeconfig.absolute())}
        write_json(_document(agent, time.time()) | where)
        return
    ended = _moment(agent.expires_at)
    if to.kubeconfig is not None:
        note(f"agent {agent.name}: {to.kubeconfig} opens {agent.cluster} until {ended}; try:")
        click.echo(f"kubectl --kubeconfig {to.kubeconfig} get --raw /version")
        return
    note(f"agent {agent.name}: this credential opens {agent.cluster} until {ended}, and is shown only now")
    click.echo(made.text)


def _document(agent: AgentRecord, now: float) -> dict[str, Any]:
    """An agent as programs read it."""
    return {
        "name": agent.name,
        "owner": agent.owner,
        "purpose": agent.purpose,
        "cluster": agent.cluster,
        "groups": list(agent.groups),
        "labels": dict(agent.labels),
        "state": _state(agent, now),
        "credentialId": agent.credential_id,
        "createdAt": _moment(agent.created_at),
        "expiresAt": _moment(agent.expires_at),
    }


def _state(agent: AgentRecord, now: float) -> str:
    if agent.expires_at <= now:
        return "expired"
    return "paused" if agent.paused else "active"


def _expiry_text(agent: AgentRecord, now: float) -> str:
    left = agent.expires_at - now
    if left <= 0:
        return f"{_rough(-left)} ago"
    return f"in {_rough(left)}"


def _rough(seconds: float) -> str:
    """A length of time to its largest unit, rounded to nearest: `30d`, `12h`, `5m`."""
    for size in (86_400, 3_600, 60):
        if seconds >= size:
            return duration_text(round(seconds / size) * size)
    return duration_text(seconds)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
