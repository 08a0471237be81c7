"""`narrowgate agents pause|resume|change`: an agent stays who it is; what holds for it becomes another."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click
import msgspec

from narrowgate.cli.agent_options import (
    certificate_names_in,
    check_owner,
    check_purpose,
    check_reason,
    chosen_cluster,
    end_in,
    groups_in,
    labels_in,
    opened_store,
)
from narrowgate.cli.failure import Failed
from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.output import config_option, note, output_option, write_json
from narrowgate.config import Config, find_config
from narrowgate.core.agent import AgentRecord
from narrowgate.core.agent_credential import handed_over
from narrowgate.core.agent_document import agent_document
from narrowgate.core.agent_fields import handed_to_problem
from narrowgate.store.task_trees import end_paused

Change = Callable[[AgentRecord], AgentRecord]


def change_agent(config: Config, name: str, change: Change) -> tuple[AgentRecord, bool]:
    """The agent after `change`, and whether that changed anything; if so it is kept, signed by who typed the command.

    Raises NotThere, AlreadyThere, ChangedMeanwhile, StoreUnavailable, Failed.
    """
    with opened_store(config) as store:
        was = store.agent(name)
        agent = checked(change(was))
        if agent != was:
            store.change_agent(agent, by=local_operator(), at=time.time(), was=was)
    return agent, agent != was


def checked(agent: AgentRecord) -> AgentRecord:
    """The agent, where one more person may be handed something of it. Raises Failed."""
    if problem := handed_to_problem(agent.handed_to):
        what, _, to_do = problem.partition("; ")
        raise Failed(what, f"agent {agent.name}", to_do)
    return agent


def tell(agent: AgentRecord, output: str, text: str) -> None:
    """Show the agent to a program, or `text` to a person."""
    if output == "json":
        write_json(agent_document(agent, time.time()))
    else:
        note(text)


@click.command()
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Why, for people; the agent is not told.")
@config_option
@output_option
def pause(name: str, reason: str, config: str | None, output: str) -> None:
    """Let an agent do nothing until it is resumed, however it proves itself.

    Its running requests end within a second. It keeps its credential, keys and everything else.
    """
    check_reason(reason)

    def paused(agent: AgentRecord) -> AgentRecord:
        return msgspec.structs.replace(agent, paused=True, paused_because=reason or agent.paused_because)

    agent, changed = change_agent(find_config(config), name, paused)
    tell(agent, output, f"agent {name} is paused{'' if changed else ' already'}; `agents resume {name}` ends that")


@click.command()
@click.argument("name")
@config_option
@output_option
def resume(name: str, config: str | None, output: str) -> None:
    """Let a paused agent go on. What it had under way before is over."""

    def resumed(agent: AgentRecord) -> AgentRecord:
        return msgspec.structs.replace(agent, paused=False, paused_because="")

    found = find_config(config)
    with opened_store(found) as store:
        if store.agent(name).paused:
            end_paused(store.tasks, name, by=local_operator(), at=time.time())
    agent, changed = change_agent(found, name, resumed)
    tell(agent, output, f"agent {name} may go on" if changed else f"agent {name} was not paused")


@click.command()
@click.argument("name")
@click.option("--owner", metavar="WHO", help="Who answers for it from now on: person:NAME or group:NAME.")
@click.option("--purpose", metavar="TEXT", help="What it is for, in a sentence.")
@click.option("--cluster", metavar="NAME", help="The cluster it opens.")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Its groups: all of them, in place of the old.")
@click.option("--no-groups", is_flag=True, help="It belongs to no group.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Set a label; KEY- takes one away.")
@click.option("--until", metavar="DATE", help="Its end: a day (its last) or a moment, like 2026-12-31T18:00:00Z.")
@click.option("--end-in", "after", metavar="TIME", help="Its end, counted from now, like 90d.")
@click.option("--no-end", is_flag=True, help="It has no end of its own; only its proofs end.")
@click.option("--certificate-name", "certificates", multiple=True, metavar="NAME", help="Add spiffe://... or cn:NAME.")
@click.option("--drop-certificate-name", "dropped", multiple=True, metavar="NAME", help="Take one away.")
@click.option("--no-credential", is_flag=True, help="Take its simple credential away; `agents rotate` makes a new one.")
@config_option
@output_option
def change(name: str, config: str | None, output: str, **options: Any) -> None:
    """Change what an agent's record says; it holds from within a second on, for running requests too."""
    asked = {option: value for option, value in options.items() if value not in (None, (), False)}
    if not asked:
        raise click.UsageError("nothing to change is named; give at least one option")
    for one, other in (("groups", "no_groups"), ("until", "no_end"), ("after", "no_end")):
        if {one, other} <= set(asked):
            raise click.UsageError(f"{_typed(one)} and {_typed(other)} say different things; give one of them")
    _check(asked)
    found = find_config(config)
    agent, changed = change_agent(found, name, lambda agent: _changed(agent, asked, found))
    tell(agent, output, f"agent {name} is changed" if changed else f"agent {name} was so already")


def _typed(option: str) -> str:
    return {"groups": "--group", "after": "--end-in"}.get(option, f"--{option.replace('_', '-')}")


def _check(asked: dict[str, Any]) -> None:
    """Refuse, as misuse, what can be seen to be wrong without the record."""
    if "owner" in asked:
        check_owner(asked["owner"])
    if "purpose" in asked:
        check_purpose(asked["purpose"])
    groups_in(asked.get("groups", ()))
    certificate_names_in(asked.get("certificates", ()))


def _changed(agent: AgentRecord, asked: dict[str, Any], config: Config) -> AgentRecord:
    """The record with what was asked for. Raises click.UsageError, Failed."""
    new: dict[str, Any] = {field: asked[field] for field in ("owner", "purpose") if field in asked}
    if "cluster" in asked:
        new["cluster"] = chosen_cluster(config, asked["cluster"])
    if asked.keys() & {"groups", "no_groups"}:
        new["groups"] = groups_in(asked.get("groups", ()))
    if "labels" in asked:
        new["labels"] = labels_in(asked["labels"], dict(agent.labels))
    if asked.keys() & {"until", "after", "no_end"}:
        new["ends_at"] = end_in(asked.get("until"), asked.get("after"), time.time())
    if asked.keys() & {"certificates", "dropped"}:
        new["certificate_names"] = _certificate_names(agent, asked)
    if "certificates" in asked:
        agent = handed_over(agent, local_operator())
    if "no_credential" in asked:
        new |= {"credential_id": "", "credential_hash": b"", "old_credential": None}
    return msgspec.structs.replace(agent, **new)


def _certificate_names(agent: AgentRecord, asked: dict[str, Any]) -> tuple[str, ...]:
    dropped = asked.get("dropped", ())
    if unknown := sorted(set(dropped) - set(agent.certificate_names)):
        known = ", ".join(agent.certificate_names) or "none"
        raise Failed(f'agent {agent.name} has no certificate name "{unknown[0]}"', "", f"it has: {known}")
    kept = [name for name in agent.certificate_names if name not in dropped]
    return certificate_names_in([*kept, *asked.get("certificates", ())])
