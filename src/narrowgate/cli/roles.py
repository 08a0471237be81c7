"""`narrowgate roles`: who is what in the gate, from its host; and the one-time link that makes the first admin."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from narrowgate.cli.failure import Failed
from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.output import config_option, note, output_option, write_json, write_table
from narrowgate.config import Config, control_url, find_config
from narrowgate.core.duration import duration_text
from narrowgate.core.moment import moment_text
from narrowgate.core.roles import Role, grant_problem, has_admin
from narrowgate.store.open import open_store
from narrowgate.store.port import RoleGrant, Store

GIVEN_ROLES = [role.value for role in Role if role is not Role.MEMBER]
"""Everybody is a member."""


@click.group()
def roles() -> None:
    """Roles in the gate: admin, policy-author, approver, auditor.

    They are bound to groups in the configuration; here they are given to people by name. What anybody may do in a
    cluster is for policies, not for roles.
    """


@roles.command("list")
@config_option
@output_option
def list_roles(config: str | None, output: str) -> None:
    """List who is what, by the configuration and by name."""
    found = find_config(config)
    with _store(found) as store:
        given = store.roles.listed()
    rows = [
        (binding.role.value, kind, name, "", "configuration")
        for binding in found.roles
        for kind, names in (("Group", binding.groups), ("Person", binding.people))
        for name in names
    ]
    rows += [(grant.role, "Person", grant.person, moment_text(grant.given_at), grant.given_by) for grant in given]
    rows.sort()
    if output == "json":
        # The shape of the API's list (`GET /api/v1/roles`).
        write_json(
            [
                {
                    "role": role,
                    "kind": kind,
                    "name": name,
                    "givenBy": by if at else "",
                    "givenAt": at or None,
                }
                for role, kind, name, at, by in rows
            ]
        )
        return
    empty = "nobody has a role yet: bind one to a group under `roles` of the configuration, or `narrowgate roles give`"
    write_table(("ROLE", "KIND", "NAME", "SINCE", "BY"), [(*row[:3], row[3] or "-", row[4]) for row in rows], empty)


@roles.command()
@click.argument("person")
@click.argument("role", type=click.Choice(GIVEN_ROLES))
@config_option
@output_option
def give(person: str, role: str, config: str | None, output: str) -> None:
    """Give PERSON a ROLE, by the name that `narrowgate whoami` shows them."""
    with _store(find_config(config)) as store:
        problem = grant_problem(person, Role(role), [agent.name for agent in store.agents()])
        if problem:
            raise click.BadParameter(problem, param_hint="PERSON")
        store.roles.give(RoleGrant(person=person, role=role, given_by=local_operator(), given_at=time.time()))
    _tell(person, role, "given", f"{person} is {role} from now on", output)


@roles.command()
@click.argument("person")
@click.argument("role", type=click.Choice(GIVEN_ROLES))
@config_option
@output_option
def take(person: str, role: str, config: str | None, output: str) -> None:
    """Take a ROLE from PERSON that was given by name; what the configuration gives is taken there."""
    with _store(find_config(config)) as store:
        store.roles.take(person, role, by=local_operator(), at=time.time())
    _tell(person, role, "taken", f"{person} is not {role} by name any more", output)


@roles.command("first-admin")
@config_option
@output_option
def first_admin(config: str | None, output: str) -> None:
    """Print a link that makes whoever opens it the first administrator: once, within the hour.

    It works while nobody is an admin yet. The person signs in as usual and confirms; at a gate without an identity
    provider the link itself signs in, for an hour.
    """
    from narrowgate.control.first_admin import LINK_SECONDS

    link = first_admin_link(find_config(config))
    if output == "json":
        write_json({"url": link, "expiresAt": moment_text(time.time() + LINK_SECONDS)})
        return
    left = duration_text(LINK_SECONDS)
    note(f"open this in a browser within {left}; it works once, and voids any link printed before")
    if sys.stdout.isatty():
        note("it makes an administrator: show it to nobody else")
    click.echo(link)


def first_admin_link(config: Config) -> str:
    """A new link for the gate of this configuration. Raises AdminThere, StoreUnavailable, Failed."""
    from narrowgate.control.first_admin import new_first_admin_link

    if config.listen.control[1] == 0 and not config.control_url:
        place = f"{config.path}: listen.control"
        raise Failed("port 0 is chosen at each start", place, "give it a port, or write control.url")
    bound = has_admin(config.roles, ())
    with _store(config) as store:
        return new_first_admin_link(
            store, control_url(config), admins_bound=bound, by=local_operator(), now=time.time()
        )


@contextmanager
def _store(config: Config) -> Iterator[Store]:
    store = open_store(config.store, config.data_dir)
    try:
        yield store
    finally:
        store.close()


def _tell(person: str, role: str, done: str, sentence: str, output: str) -> None:
    if output == "json":
        write_json({"person": person, "role": role, "state": done})
    else:
        note(sentence)
