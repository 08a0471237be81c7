"""`narrowgate agents`: who may come at all, who answers for them, and the credential each of them gets once."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from narrowgate.authenticators.credential import new_credential
from narrowgate.cli.agent_changes import change, checked, pause, resume
from narrowgate.cli.agent_handover import Destination, destination_options, files_for, hand_over
from narrowgate.cli.agent_keys import keys, public_key, with_key
from narrowgate.cli.agent_options import (
    certificate_names_in,
    check_name,
    check_owner,
    check_purpose,
    chosen_cluster,
    end_in,
    groups_in,
    labels_in,
    lifetime_in,
    opened_store,
    overlap_in,
)
from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.output import config_option, note, output_option, write_json, write_table
from narrowgate.cli.private_file import written_together
from narrowgate.config import find_config
from narrowgate.core.agent import AgentRecord
from narrowgate.core.agent_credential import DEFAULT_LIFETIME, NextCredential, with_credential
from narrowgate.core.agent_document import agent_document, agent_state
from narrowgate.core.duration import duration_text
from narrowgate.core.moment import moment_text


@click.group()
def agents() -> None:
    """Agents and how they prove themselves.

    An agent has an owner who answers for it, opens one cluster, and may do nothing until a policy allows it. It has a
    credential that expires, or proves itself by a key, a client certificate, or a token of a CI system.
    """


for command in (change, keys, pause, resume):
    agents.add_command(command)


@agents.command()
@click.argument("name")
@click.option("--owner", required=True, metavar="WHO", help="Who answers for it: person:NAME or group:NAME.")
@click.option("--purpose", required=True, metavar="TEXT", help="What it is for, in a sentence.")
@click.option("--cluster", metavar="NAME", help="The cluster it opens (default: the only one).")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="A group it belongs to; may be repeated.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; may be repeated.")
@click.option("--until", metavar="DATE", help="Its end: a day (its last) or a moment, like 2026-12-31T18:00:00Z.")
@click.option("--end-in", "after", metavar="TIME", help="Its end, counted from now, like 90d.")
@click.option(
    "--key",
    "key_files",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A public key it signs with (Ed25519: PEM, OpenSSH or JWK); may be repeated.",
)
@click.option(
    "--certificate-name",
    "certificates",
    multiple=True,
    metavar="NAME",
    help="A client certificate that stands for it: spiffe://DOMAIN/PATH or cn:NAME; may be repeated.",
)
@click.option("--no-credential", is_flag=True, help="Make no credential: it proves itself in another way.")
@destination_options
@config_option
@output_option
def add(name: str, **options: Any) -> None:
    """Register an agent and make its credential, which is shown this once."""
    now = time.time()
    agent = _described(name, options, now)
    to = Destination(options["kubeconfig"], options["plugin"], options["server"])
    seconds = lifetime_in(options["lifetime"])
    _refuse_idle_options(options)
    config = find_config(options["config"])
    agent = msgspec.structs.replace(agent, cluster=chosen_cluster(config, options["cluster"]))
    for file in options["key_files"]:
        agent = with_key(agent, public_key(file, now))
    if options["no_credential"]:
        with opened_store(config) as store:
            store.add_agent(agent, by=local_operator(), at=now)
        _tell_bare(agent, options["output"])
        return
    made = new_credential()
    given = NextCredential(id=made.id, hash=made.hash, to=local_operator(), until=now + seconds)
    agent = with_credential(agent, given, now)
    files = files_for(config, agent, made, to)
    with opened_store(config) as store, written_together(files):
        store.add_agent(agent, by=local_operator(), at=now)
    hand_over(agent, made, to, options["output"])


@agents.command()
@click.argument("name")
@click.option(
    "--keep-old-for", "overlap", metavar="TIME", help="How long the old one stays good, like 10m; 1d at most."
)
@destination_options
@config_option
@output_option
def rotate(name: str, **options: Any) -> None:
    """Give an agent a new credential; the old one is worth nothing from now on, unless it is kept for a while."""
    seconds = lifetime_in(options["lifetime"])
    overlap = 0 if options["overlap"] is None else overlap_in(options["overlap"])
    to = Destination(options["kubeconfig"], options["plugin"], options["server"])
    config = find_config(options["config"])
    made, now = new_credential(), time.time()
    with opened_store(config) as store:
        was = store.agent(name)
        given = NextCredential(
            id=made.id, hash=made.hash, to=local_operator(), until=now + seconds, old_until=now + overlap
        )
        agent = checked(with_credential(was, given, now))
        with written_together(files_for(config, agent, made, to)):
            store.change_agent(agent, by=local_operator(), at=now, was=was)
    hand_over(agent, made, to, options["output"])


@agents.command("list")
@click.option("--owner", metavar="WHO", help="Only those that WHO answers for.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only those with this label.")
@config_option
@output_option
def list_agents(owner: str | None, labels: tuple[str, ...], config: str | None, output: str) -> None:
    """List the agents and when their credentials end."""
    wanted = set(labels_in(labels))
    with opened_store(find_config(config)) as store:
        found = [agent for agent in store.agents() if owner in (None, agent.owner) and wanted <= set(agent.labels)]
    now = time.time()
    if output == "json":
        write_json([agent_document(agent, now) for agent in found])
        return
    heads = ("NAME", "OWNER", "CLUSTER", "STATE", "EXPIRES", "GROUPS", "PURPOSE")
    rows = [
        (
            agent.name,
            agent.owner,
            agent.cluster,
            agent_state(agent, now).value,
            _expiry_text(agent, now),
            ",".join(agent.groups) or "-",
            agent.purpose,
        )
        for agent in found
    ]
    empty = (
        "there are no such agents"
        if owner or wanted
        else "there are no agents yet: add one with `narrowgate agents add`"
    )
    write_table(heads, rows, empty)


@agents.command()
@click.argument("name")
@config_option
@output_option
def show(name: str, config: str | None, output: str) -> None:
    """Show everything about one agent; its credential is never shown again."""
    with opened_store(find_config(config)) as store:
        agent = store.agent(name)
    now = time.time()
    if output == "json":
        write_json(agent_document(agent, now))
        return
    width = max(len(head) for head, _ in _lines(agent, now))
    for head, text in _lines(agent, now):
        click.echo(f"{head.ljust(width)}  {text}")


@agents.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
@output_option
def remove(name: str, yes: bool, config: str | None, output: str) -> None:
    """Remove an agent; nothing that proved it is worth anything from now on."""
    found_config = find_config(config)
    with opened_store(found_config) as store:
        agent = store.agent(name)
        if not yes and sys.stdin.isatty():
            click.confirm(f"remove agent {name} ({agent.purpose}; owner {agent.owner})?", abort=True, err=True)
        now = time.time()
        store.remove_agent(name, by=local_operator(), at=now)
    if output == "json":
        write_json(msgspec.to_builtins(agent_document(agent, now)) | {"state": "removed"})
    else:
        opened = f"; its credential {agent.credential_id} opens nothing any more" if agent.credential_id else ""
        note(f"agent {name} is removed{opened}")


def _described(name: str, options: dict[str, Any], now: float) -> AgentRecord:
    """The record of a new agent, without cluster, keys and credential. Raises click.UsageError."""
    check_name(name)
    check_owner(options["owner"])
    check_purpose(options["purpose"])
    return AgentRecord(
        name=name,
        owner=options["owner"],
        purpose=options["purpose"],
        cluster="",
        credential_id="",
        credential_hash=b"",
        created_at=now,
        expires_at=now,
        groups=groups_in(options["groups"]),
        labels=labels_in(options["labels"]),
        ends_at=end_in(options["until"], options["after"], now),
        certificate_names=certificate_names_in(options["certificates"]),
        handed_to=(local_operator(),) if options["certificates"] else (),
    )


def _refuse_idle_options(options: dict[str, Any]) -> None:
    """Refuse options about a credential where none is made: somebody expects one."""
    about = ("kubeconfig", "plugin", "server")
    named = [f"--{option}" for option in about if options[option]]
    if options["lifetime"] != DEFAULT_LIFETIME:
        named.append("--for")
    if options["no_credential"] and named:
        raise click.UsageError(f"{named[0]} is about a credential, and --no-credential makes none; leave one out")


def _tell_bare(agent: AgentRecord, output: str) -> None:
    if output == "json":
        write_json(agent_document(agent, time.time()))
        return
    proofs = [*(f"key {key.id}" for key in agent.keys), *agent.certificate_names]
    way = f"proves itself by {', '.join(proofs)}" if proofs else "proves itself by a token of a configured issuer"
    note(f"agent {agent.name} has no credential; it {way}")


def _lines(agent: AgentRecord, now: float) -> Iterator[tuple[str, str]]:
    """What is shown to people about one agent."""
    reason = f" ({agent.paused_because})" if agent.paused_because else ""
    yield "name", agent.name
    yield "state", f"{agent_state(agent, now).value}{reason}"
    yield "owner", agent.owner
    yield "purpose", agent.purpose
    yield "cluster", agent.cluster
    yield "groups", ", ".join(agent.groups) or "-"
    yield "labels", ", ".join(f"{key}={value}" for key, value in agent.labels) or "-"
    yield "added", moment_text(agent.created_at)
    yield "ends", "-" if agent.ends_at is None else moment_text(agent.ends_at)
    yield "credential", f"{agent.credential_id}, until {moment_text(agent.expires_at)}" if agent.credential_id else "-"
    if (old := agent.old_credential) is not None and now < old.expires_at:
        yield "old credential", f"{old.id}, until {moment_text(old.expires_at)}"
    for key in agent.keys:
        yield "key", f"{key.id}, added {moment_text(key.added_at)}"
    for name in agent.certificate_names:
        yield "certificate", name
    yield "handed to", ", ".join(agent.handed_to) or "-"


def _expiry_text(agent: AgentRecord, now: float) -> str:
    """When the credential ends, or the agent where that comes first or there is no credential."""
    ends = [at for at in (agent.expires_at if agent.credential_id else None, agent.ends_at) if at is not None]
    if not ends:
        return "-"
    left = min(ends) - now
    return f"in {_rough(left)}" if left > 0 else f"{_rough(-left)} ago"


def _rough(seconds: float) -> str:
    """A length of time to its largest unit, rounded to nearest: `30d`, `12h`, `5m`."""
    for size in (86_400, 3_600, 60):
        if seconds >= size:
            return duration_text(round(seconds / size) * size)
    return duration_text(seconds)
