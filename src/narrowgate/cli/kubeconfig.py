"""`narrowgate kubeconfig`: how clients find and trust the gate, without a credential in it.

What proves the caller stays where it is: kubectl asks the plugin on each call, which has a person's sign-in, a
workload's token, an agent's key, or an agent's credential from a file or NARROWGATE_CREDENTIAL. What is printed here is
no secret, and can be kept in a repository.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from narrowgate.cli.access_cache import Asked, cached_access, gate_url
from narrowgate.cli.failure import Failed
from narrowgate.cli.gate_address import (
    authority_of,
    control_address,
    facts_of,
    gate_in_use,
    local_config,
    read_metadata,
)
from narrowgate.cli.kubeconfig_file import CredentialPlugin, ExchangingPlugin, kubeconfig_document, plugin_command
from narrowgate.cli.oauth_client import GatePort, GateUnreachable
from narrowgate.cli.output import config_option, note
from narrowgate.cli.sign_in_files import GateFacts, last_gate, read_facts, read_sign_in

if TYPE_CHECKING:
    from narrowgate.config import Config


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said; empty means: find it out."""

    agent: str = ""
    cluster: str = ""
    credential_file: Path | None = None
    token_file: str = ""
    key_file: str = ""
    gate: str = ""
    server: str = ""
    config: str | None = None

    @property
    def for_a_workload(self) -> bool:
        """Whether somebody else than a person exchanges a proof of their own."""
        return bool(self.token_file or self.key_file)


@click.command()
@click.option("--cluster", default="", metavar="NAME", help="The cluster it is for.")
@click.option("--gate", default="", metavar="URL", help="For you, signed in at this gate (default: the one used last).")
@click.option("--agent", default="", metavar="NAME", help="For this agent, and the cluster its credential opens.")
@click.option(
    "--credential-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File (mode 0600) that the plugin reads the agent's credential from (default: NARROWGATE_CREDENTIAL).",
)
@click.option("--key-file", default="", metavar="FILE", help="The agent's private key, where it has a registered one.")
@click.option(
    "--token-file", default="", metavar="FILE", help="For a workload: where its token for the gate is mounted."
)
@click.option("--server", default="", metavar="URL", help="Address of the clusters' port (default: as the gate says).")
@config_option
def kubeconfig(**options: Any) -> None:
    """Print a kubeconfig with the gate's CA and the credential plugin; redirect it to a file.

    It never says insecure-skip-tls-verify, and holds no secret. For whom: you, after `narrowgate login`; a workload
    with --token-file; an agent with --agent, and --key-file or the credential from `narrowgate agents add`.
    """
    wishes = Wishes(**options)
    _refuse_what_does_not_fit(wishes)
    if wishes.for_a_workload:
        document = _of_workload(wishes)
    elif _is_for_a_person(wishes):
        document = _of_person(wishes)
    else:
        document = _of_credential(wishes)
    click.echo(document, nl=False)


def _refuse_what_does_not_fit(wishes: Wishes) -> None:
    if wishes.token_file and (wishes.agent or wishes.key_file or wishes.credential_file):
        raise click.UsageError("--token-file is a workload's: leave --agent, --key-file and --credential-file out")
    if wishes.key_file and (not wishes.agent or wishes.credential_file):
        raise click.UsageError("--key-file goes with --agent, and without --credential-file")
    if wishes.gate and not wishes.for_a_workload and (wishes.agent or wishes.credential_file or wishes.config):
        raise click.UsageError("--gate is for people, --token-file and --key-file; leave the rest out")


def _is_for_a_person(wishes: Wishes) -> bool:
    """Whether it is for whoever is signed in: said by --gate, or by nothing else being said."""
    if wishes.gate:
        return True
    if wishes.agent or wishes.credential_file or wishes.config or os.environ.get("NARROWGATE_CONFIG"):
        return False
    last = last_gate()
    return bool(last) and read_sign_in(gate_url(last)) is not None


def _of_person(wishes: Wishes) -> str:
    gate = gate_in_use(wishes.gate)
    facts, kept = read_facts(gate), read_sign_in(gate)
    if facts is None or kept is None:
        raise Failed("nobody is signed in", gate, f"run: narrowgate login {gate}")
    cluster = _needed(wishes.cluster)
    _check_that_it_opens(gate, cluster)
    plugin = ExchangingPlugin(command=plugin_command(), gate=gate, cluster=cluster)
    return kubeconfig_document(
        wishes.server or facts.kubernetes_url, facts.authority.encode(), cluster, kept.person or "me", plugin
    )


def _check_that_it_opens(gate: str, cluster: str) -> None:
    """Get the first access credential for the cluster: a name that is misspelt shows now. Raises Unusable."""
    from narrowgate.cli.renewal import renewed

    asked = Asked(gate, cluster)
    had = cached_access(asked, asked.path())
    if had is not None and had.fresh(time.time()):
        return
    try:
        renewed(asked, had, refused=False)
    except GateUnreachable as error:
        note(f"{error}; whether it knows cluster {cluster} was not asked")


def _of_workload(wishes: Wishes) -> str:
    facts = _facts(wishes)
    cluster = _needed(wishes.cluster)
    plugin = ExchangingPlugin(
        command=plugin_command(),
        gate=facts.url,
        cluster=cluster,
        token_file=_absolute(wishes.token_file),
        agent=wishes.agent,
        key_file=_absolute(wishes.key_file),
        authority=facts.authority,
    )
    server = wishes.server or facts.kubernetes_url
    return kubeconfig_document(server, facts.authority.encode(), cluster, wishes.agent or "workload", plugin)


def _absolute(path: str) -> str:
    """The path for a kubeconfig that is used from any folder."""
    return str(Path(path).absolute()) if path else ""


def _facts(wishes: Wishes) -> GateFacts:
    """The gate that a workload goes to: named, configured here, or used last. Raises Failed, Unusable."""
    found = None if wishes.gate else local_config(wishes.config)
    if found is not None:
        from narrowgate.config import gate_keys, kubeconfig_server

        authority = gate_keys(found).ca_pem.decode("ascii")
        return GateFacts(gate_url(control_address(found)), authority, wishes.server or kubeconfig_server(found))
    gate = gate_in_use(wishes.gate)
    kept = read_facts(gate)
    if kept is not None:
        return kept
    authority = authority_of(gate, file=None, fingerprint="", config=None)
    port = GatePort(gate, authority)
    return facts_of(port, read_metadata(port), authority)


def _needed(cluster: str) -> str:
    if not cluster:
        raise Failed("which cluster is meant is not clear", "", "add --cluster; `narrowgate whoami` lists yours")
    return cluster


def _of_credential(wishes: Wishes) -> str:
    """For an agent's own credential, from the configuration of the gate on this machine."""
    from narrowgate.config import find_config, gate_keys, kubeconfig_server

    found = find_config(wishes.config)
    opened = _cluster_of(found, wishes.agent, wishes.cluster)
    file = wishes.credential_file
    if file is not None and not file.exists():
        note(f"{file} is not there yet: write the agent's credential into it, mode 0600")
    plugin = CredentialPlugin(credential_file=str(file.absolute()) if file else "")
    server = wishes.server or kubeconfig_server(found)
    return kubeconfig_document(server, gate_keys(found).ca_pem, opened, wishes.agent or "me", plugin)


def _cluster_of(config: Config, agent: str, cluster: str) -> str:
    """The cluster that the kubeconfig is for. Raises Failed where it cannot be told, or the two do not agree."""
    names = [one.name for one in config.clusters]
    opened = _opened_by(config, agent) if agent else ""
    if cluster and opened and cluster != opened:
        raise Failed(f'the credential of agent {agent} opens "{opened}"', "--cluster", "leave --cluster out")
    chosen = cluster or opened or (names[0] if len(names) == 1 else "")
    if not chosen:
        raise Failed(
            "which cluster is meant is not clear", str(config.path), f"add --cluster, one of: {', '.join(names)}"
        )
    if chosen not in names:
        raise Failed(f'no cluster "{chosen}"', str(config.path), f"registered are: {', '.join(names) or 'none'}")
    return chosen


def _opened_by(config: Config, agent: str) -> str:
    from narrowgate.store.open import open_store

    store = open_store(config.store, config.data_dir)
    try:
        return store.agent(agent).cluster
    finally:
        store.close()
