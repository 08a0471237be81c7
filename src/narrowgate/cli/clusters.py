"""`narrowgate clusters`: which API servers are behind the gate, with which account, and how wide that is."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from narrowgate.cli.agent_namespace import bundle
from narrowgate.cli.cluster_entries import Entry, entry_names, with_entry, without_entry
from narrowgate.cli.failure import DONE, REFUSED, Failed
from narrowgate.cli.output import config_option, note, output_option, write_json, write_table

if TYPE_CHECKING:
    from narrowgate.cli.cluster_check import Line, Surroundings
    from narrowgate.config import ClusterConfig, Config

BACKUP = ".before"
"""Ending of the copy of the configuration as it was before the last change."""

MOST_PEOPLE = 10_000
"""Sign-ins that are looked at for the names of people; as many as a gate of a large company has at one time."""

MODES = ("credential", "impersonate", "serviceAccount")


@click.group()
def clusters() -> None:
    """Clusters behind the gate.

    Each is registered by name, with an account of the gate's own. `check` proves that it can be reached and says how
    much wider its account is than the policies need; `manifests` prints the narrow account to make instead. `bundle`
    prints a namespace whose pods find the gate in the place of the API server.
    """


@clusters.command()
@click.argument("name")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="A kubeconfig with address, CA and credential.")
@click.option("--context", default="", help="Context in that kubeconfig (default: its current one).")
@click.option("--server", default="", help="Instead of a kubeconfig: the API server's https address,")
@click.option("--certificate-authority", type=click.Path(path_type=Path), help="its CA (PEM),")
@click.option("--token-file", type=click.Path(path_type=Path), help="and a file with a token, read again when renewed.")
@click.option("--in-cluster", is_flag=True, help="Instead of both: the ServiceAccount of the pod the gate runs in.")
@click.option("--tls-server-name", default="", help="Name the API server's certificate is for, if not its address.")
@click.option("--mode", type=click.Choice(MODES), default="credential", show_default=True, help="Upstream mode.")
@config_option
@output_option
def add(name: str, config: str | None, output: str, **given: Any) -> None:
    """Register a cluster in the configuration file, whose comments stay; the file as it was is kept beside it."""
    from narrowgate.config import cluster_access, find_config

    found = find_config(config)
    text = found.path.read_text(encoding="utf-8")
    if name in entry_names(text, str(found.path)):
        raise Failed(f'cluster "{name}" is there already', str(found.path), "remove it first, or choose another name")
    _one_way(given)
    after = _checked(with_entry(text, _entry(name, given, found.path.parent), str(found.path)), found)
    # The credential is read now, so that a mistake shows here and not when the gate is started again.
    access = cluster_access(next(one for one in after.clusters if one.name == name))
    _replace(found.path, with_entry(text, _entry(name, given, found.path.parent), str(found.path)))
    if output == "json":
        write_json({"name": name, "server": f"https://{access.host}:{access.port}", "mode": access.mode.value})
    else:
        note(f"cluster {name} at https://{access.host}:{access.port} is registered in {found.path}; next:")
        click.echo(f"narrowgate clusters check {name}")


@clusters.command("list")
@config_option
@output_option
def list_clusters(config: str | None, output: str) -> None:
    """List the clusters of the configuration, with the account that the gate has there."""
    from narrowgate.config import find_config

    rows = [_described(cluster) for cluster in find_config(config).clusters]
    if output == "json":
        write_json(rows)
        return
    heads = ("NAME", "SERVER", "MODE", "CREDENTIAL", "PROBLEM")
    cells = [[row["name"], row["server"], row["mode"], row["credential"], row["problem"]] for row in rows]
    write_table(heads, cells, "no cluster is registered: add one with `narrowgate clusters add`")


clusters.add_command(bundle)


@clusters.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@config_option
@output_option
def check(names: tuple[str, ...], config: str | None, output: str) -> int:
    """Connect to clusters (all, if none is named) and say what is wrong with them, and what to run to mend it.

    Looks at TLS, version, clock, the account, discovery, and how much wider the account's rights are than the policies
    need. Exit code 1 where something would keep the gate from working; warnings do not count.
    """
    from narrowgate.cli.cluster_check import Outcome, check_cluster
    from narrowgate.config import cluster_access, find_config

    found = find_config(config)
    wanted = [_named(found, name) for name in names] or list(found.clusters)
    if not wanted:
        raise Failed("no cluster is registered", str(found.path), "add one with `narrowgate clusters add`")
    around = _surroundings(found)
    reports = {cluster.name: check_cluster(cluster_access(cluster), around) for cluster in wanted}
    if output == "json":
        write_json(reports)
    else:
        for name, lines in reports.items():
            _write_report(name, lines)
    failed = any(line.outcome is Outcome.FAILED for lines in reports.values() for line in lines)
    return REFUSED if failed else DONE


@clusters.command()
@click.argument("name")
@click.option(
    "--mode", type=click.Choice(MODES[1:]), help="Default: the registered mode; impersonate for `credential`."
)
@click.option("--constrained", is_flag=True, help="Fence impersonation by KEP-5284 (beta in Kubernetes 1.36).")
@config_option
@output_option
def manifests(name: str, mode: str | None, constrained: bool, config: str | None, output: str) -> None:
    """Print the gate's accounts for a cluster and the RBAC that its policies need there, for `kubectl apply -f -`.

    No wider than the policies. What RBAC cannot say is left out, and told in the comments on top. Make them anew and
    apply them again when policies or agents change, or when people come who were not signed in before.
    """
    from narrowgate.config import find_config
    from narrowgate.core.manifests import (
        impersonation_manifests,
        manifests_yaml,
        service_account_manifests,
        with_lineage,
        with_rbac_reading,
        with_secret_reading,
        with_token_renewal,
        with_token_reviews,
        with_workload_deletion,
    )

    found = find_config(config)
    cluster = _named(found, name)
    around = _surroundings(found)
    chosen = mode or (cluster.mode.value if cluster.mode.value in MODES[1:] else "impersonate")
    if chosen == "impersonate":
        made = impersonation_manifests(
            name, around.policies, around.identities, cluster.account_namespace, constrained=constrained
        )
    elif constrained:
        raise click.UsageError("--constrained goes with --mode impersonate", click.get_current_context())
    else:
        made = service_account_manifests(name, around.policies, cluster.account_namespace)
    if around.reviews_tokens_of(name):
        made = with_token_reviews(made, cluster.account_namespace)
    made = with_rbac_reading(made, cluster.account_namespace)
    if around.places_pods_of(name):
        made = with_lineage(made, cluster.account_namespace, around.lineage_owners)
        made = with_workload_deletion(made, name, around.policies, cluster.account_namespace)
    if cluster.masks_known_values:
        made = with_secret_reading(made, cluster.account_namespace)
    if cluster.renews:
        made = with_token_renewal(made, cluster.account_namespace)
    if output == "json":
        write_json({"apiVersion": "v1", "kind": "List", "items": made.objects})
        for remark in made.remarks:
            note(f"# {remark}")
    else:
        click.echo(manifests_yaml(made), nl=False)


@clusters.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
@output_option
def remove(name: str, yes: bool, config: str | None, output: str) -> None:
    """Take a cluster out of the configuration file; nothing in the cluster itself is touched."""
    from narrowgate.config import find_config

    found = find_config(config)
    text = found.path.read_text(encoding="utf-8")
    after = without_entry(text, name, str(found.path))
    _checked(after, found)
    if not yes and sys.stdin.isatty():
        click.confirm(f"take cluster {name} out of {found.path}?", abort=True, err=True)
    _replace(found.path, after)
    orphans = [identity.name for identity in _surroundings(found).identities if identity.cluster == name]
    if output == "json":
        write_json({"name": name, "removed": True, "agents": orphans})
        return
    note(f"cluster {name} is out of {found.path}; a running gate lets go of it when it is started again")
    if orphans:
        note(f"the credentials of these agents open nothing any more: {', '.join(orphans)}")


def _one_way(given: dict[str, Any]) -> None:
    """Refuse, as misuse, a cluster given in no way or in two."""
    context = click.get_current_context()
    ways = [option for option in ("kubeconfig", "server", "in_cluster") if given[option]]
    if len(ways) != 1:
        raise click.UsageError("give exactly one of --kubeconfig, --server and --in-cluster", context)
    if given["context"] and ways != ["kubeconfig"]:
        raise click.UsageError("--context goes with --kubeconfig", context)
    beside = [bool(given[option]) for option in ("certificate_authority", "token_file")]
    if beside != [ways == ["server"]] * len(beside):
        raise click.UsageError("--server, --certificate-authority and --token-file go together", context)


def _entry(name: str, given: dict[str, Any], folder: Path) -> Entry:
    entry: Entry = {"name": name}
    if given["kubeconfig"]:
        entry["kubeconfig"] = _path(given["kubeconfig"], folder)
    if given["context"]:
        entry["context"] = given["context"]
    if given["server"]:
        entry["server"] = given["server"]
        entry["certificateAuthority"] = _path(given["certificate_authority"], folder)
        entry["tokenFile"] = _path(given["token_file"], folder)
    if given["in_cluster"]:
        entry["inCluster"] = True
    if given["tls_server_name"]:
        entry["tlsServerName"] = given["tls_server_name"]
    entry["upstream"] = {"mode": given["mode"]}
    return entry


def _path(path: Path, folder: Path) -> str:
    """A path as the configuration reads it: relative to its folder where it lies inside, absolute elsewhere."""
    absolute = path.expanduser().absolute()
    return f"./{absolute.relative_to(folder)}" if absolute.is_relative_to(folder) else str(absolute)


def _checked(text: str, config: Config) -> Config:
    """The configuration that `text` would be. Raises ConfigError before anything is written."""
    from narrowgate.config import parse_config

    return parse_config(text, config.path)


def _replace(path: Path, text: str) -> None:
    """Put the new text in place of the file, in one step, and keep the old one beside it."""
    shutil.copy2(path, path.with_name(path.name + BACKUP))
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, temporary)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _named(config: Config, name: str) -> ClusterConfig:
    for cluster in config.clusters:
        if cluster.name == name:
            return cluster
    known = ", ".join(cluster.name for cluster in config.clusters) or "none"
    raise Failed(f'no cluster "{name}"', str(config.path), f"registered are: {known}")


def _described(cluster: ClusterConfig) -> dict[str, str]:
    """One row of the list; a cluster whose credential cannot be read is shown, with what is wrong."""
    from narrowgate.config import ConfigError, cluster_access

    source = "in cluster" if cluster.in_cluster else str(cluster.kubeconfig or cluster.token_file)
    row = {"name": cluster.name, "server": "-", "mode": cluster.mode.value, "credential": source, "problem": ""}
    try:
        access = cluster_access(cluster)
    except ConfigError as error:
        return {**row, "problem": str(error)}
    return {**row, "server": f"https://{access.host}:{access.port}{access.path_prefix}"}


def _surroundings(config: Config) -> Surroundings:
    """The policies in the folder, the agents and people in the store, to measure accounts by. Raises PolicyErrors."""
    from narrowgate.cli.cluster_check import Surroundings
    from narrowgate.cli.policy_check import SourceFile, parse_all
    from narrowgate.config import load_policy_files
    from narrowgate.core.identity import Identity, Kind
    from narrowgate.store.open import open_store

    sources = [SourceFile(name, text) for name, text in load_policy_files(config.policies)]
    store = open_store(config.store, config.data_dir)
    try:
        agents, people = store.agents(), store.sign_ins.listed(running_at=time.time(), limit=MOST_PEOPLE)
    finally:
        store.close()
    identities = [
        Identity(
            kind=Kind.AGENT,
            name=agent.name,
            groups=agent.groups,
            cluster=agent.cluster,
            proven_by="store",
            credential=agent.credential_id,
        )
        for agent in agents
    ]
    # Whoever is signed in may come; which of their groups go to the cluster is for policies to say.
    identities += [
        Identity(kind=Kind.PERSON, name=name, proven_by="store", credential="")
        for name in sorted({sign_in.person for sign_in in people})
    ]
    return Surroundings(parse_all(sources), identities, config.authentication.service_accounts)


def _write_report(name: str, lines: list[Line]) -> None:
    click.echo(f"cluster {name}")
    for line in lines:
        click.echo(f"  {line.outcome.value:<8} {line.check:<10} {line.found}")
        if line.to_do:
            click.echo(f"  {'':<8} {'':<10} -> {line.to_do}")
