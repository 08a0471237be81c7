"""`narrowgate up` and `narrowgate down`: a gate here and now, from nothing, and its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from narrowgate.cli.failure import Failed
from narrowgate.cli.output import note

if TYPE_CHECKING:
    from narrowgate.cli.first_run import Prepared

DATA_DIR = "narrowgate-data"
HIGHEST_PORT = 65_533
"""Two more follow it: control and health."""

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(DATA_DIR),
    show_default=f"./{DATA_DIR}",
    help="Folder for everything the gate keeps.",
)


@click.command()
@data_dir_option
@click.option("--kubeconfig", default="", metavar="FILE", help="Cluster to register (default: as kubectl chooses).")
@click.option("--context", default="", metavar="NAME", help="Its context (default: the current one).")
@click.option(
    "--cluster-name", default="", metavar="NAME", help="What the gate calls it (default: from the kubeconfig)."
)
@click.option("--agent", default="demo", show_default=True, metavar="NAME", help="Name of the first agent.")
@click.option(
    "--port",
    type=click.IntRange(1, HIGHEST_PORT),
    default=8443,
    show_default=True,
    help="Where clients come in; control and health listen on the next two.",
)
@click.option("--detach", is_flag=True, help="Start in the background, and return when the gate answers.")
def up(data_dir: Path, detach: bool, **wishes: str) -> int:
    """Start a gate in front of your cluster: one command, nothing to prepare.

    The first run makes a folder with keys, certificate, store and sample policies, registers the cluster of the current
    kubeconfig context, and an agent with a kubeconfig of its own. The next runs use what is there.
    """
    import msgspec

    from narrowgate.cli import background
    from narrowgate.cli.first_run import Wishes, prepare, refuse_taken_ports

    prepared = prepare(msgspec.convert({"data_dir": data_dir, **wishes}, Wishes))
    _say_what_is_not_used(prepared.first_run)
    running = background.running_pid(data_dir)
    if running is not None and not detach:
        raise Failed(f"a gate runs from here already, process {running}", str(data_dir), "use it, or `narrowgate down`")
    if running is None:
        refuse_taken_ports(prepared.config)
    if detach:
        pid = background.start(prepared.config, data_dir) if running is None else running
        _introduce(prepared, data_dir)
        click.echo(
            f"\nrunning as process {pid}, log in {data_dir / background.LOG_FILE}; stop it with {_down(data_dir)}"
        )
        return 0
    from narrowgate.main import serve as serve_gate

    _introduce(prepared, data_dir)
    click.echo("\nserving until you press Ctrl-C")
    return serve_gate(prepared.config)


@click.command()
@data_dir_option
def down(data_dir: Path) -> None:
    """Stop the gate that `narrowgate up --detach` started from this folder. Requests under way are finished first."""
    from narrowgate.cli import background
    from narrowgate.config import CONFIG_NAME, Limits, load_config

    path = data_dir / CONFIG_NAME
    limits = load_config(path).limits if path.exists() else Limits()
    stopped = background.stop(data_dir, limits.drain_timeout)
    note(f"the gate of {data_dir} is stopped" if stopped else f"no gate runs from {data_dir}")


def _say_what_is_not_used(first_run: bool) -> None:
    """Options that shape a first run do nothing on the next; better said than wondered about."""
    context = click.get_current_context()
    shaping = ("kubeconfig", "context", "cluster_name", "port")
    given = [one for one in shaping if context.get_parameter_source(one) is click.core.ParameterSource.COMMANDLINE]
    if given and not first_run:
        flags = ", ".join(f"--{one.replace('_', '-')}" for one in given)
        note(f"{flags}: not used, the configuration is there already (see `narrowgate clusters add`)")


def _introduce(prepared: Prepared, data_dir: Path) -> None:
    """Say what was made, where the gate listens, and the three commands to try."""
    config = prepared.config
    for one in prepared.made:
        click.echo(f"made     {one}")
    for cluster in config.clusters:
        source = f"context {cluster.context} of {cluster.kubeconfig}" if cluster.kubeconfig else cluster.server
        click.echo(f"cluster  {cluster.name}, {source}")
    for name, scheme, what in (
        ("kubernetes", "https", "kubernetes"),
        ("control", "https", "control: sign-in, API, console"),
        ("health", "http", "health"),
    ):
        host, port = getattr(config.listen, name)
        click.echo(f"listens  {scheme}://{host}:{port} ({what})")
    click.echo("\ntry")
    where = "" if data_dir == Path(DATA_DIR) else f" --config {config.path}"
    kubectl = f"kubectl --kubeconfig {prepared.agent_kubeconfig}"
    click.echo(f"  {kubectl} get pods --all-namespaces")
    click.echo(f"  {kubectl} get secrets --all-namespaces")
    click.echo(f"  narrowgate audit search{where}")
    click.echo(f"  narrowgate roles first-admin{where}    # a link that makes you the console's administrator, once")


def _down(data_dir: Path) -> str:
    return "`narrowgate down`" if data_dir == Path(DATA_DIR) else f"`narrowgate down --data-dir {data_dir}`"
