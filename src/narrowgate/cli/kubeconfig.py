"""`narrowgate kubeconfig`: how clients find and trust the gate, without a credential in it.

The credential stays where it is: kubectl asks the plugin for it on each call, which reads it from a file or from
NARROWGATE_CREDENTIAL. What is printed here is no secret, and can be kept in a repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from narrowgate.cli.failure import Failed
from narrowgate.cli.kubeconfig_file import CredentialPlugin, kubeconfig_document
from narrowgate.cli.output import config_option, note

if TYPE_CHECKING:
    from narrowgate.config import Config


@click.command()
@click.option("--agent", default="", metavar="NAME", help="For this agent, and the cluster its credential opens.")
@click.option("--cluster", default="", metavar="NAME", help="For this cluster; needed where an agent is not named.")
@click.option(
    "--credential-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File (mode 0600) that the plugin reads the credential from (default: NARROWGATE_CREDENTIAL).",
)
@click.option("--server", default="", metavar="URL", help="Address of the gate (default: where it listens).")
@config_option
def kubeconfig(agent: str, cluster: str, credential_file: Path | None, server: str, config: str | None) -> None:
    """Print a kubeconfig with the gate's CA and the credential plugin; redirect it to a file.

    It never says insecure-skip-tls-verify, and holds no secret. A credential comes from `narrowgate agents add`.
    """
    from narrowgate.config import find_config, gate_keys

    found = find_config(config)
    opened = _cluster_of(found, agent, cluster)
    if credential_file is not None and not credential_file.exists():
        note(f"{credential_file} is not there yet: write the agent's credential into it, mode 0600")
    plugin = CredentialPlugin(credential_file=str(credential_file.absolute()) if credential_file else "")
    document = kubeconfig_document(server or _address(found), gate_keys(found).ca_pem, opened, agent or "me", plugin)
    click.echo(document, nl=False)


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


def _address(config: Config) -> str:
    """Where clients reach the gate. Raises Failed where the configuration alone does not tell."""
    host, port = config.listen.kubernetes
    if host in ("0.0.0.0", "::"):
        if not config.server_names:
            place = f"listen.kubernetes in {config.path}"
            raise Failed(f"{host} is no address to call", place, "give --server, or add the gate's name to tls.names")
        host = config.server_names[0]
    if port == 0:
        raise Failed("port 0 is another one at each start", f"listen.kubernetes in {config.path}", "give --server")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
