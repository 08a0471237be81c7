"""`narrowgate serve`: the gate in the foreground, from a configuration file."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--config",
    metavar="FILE",
    help="Configuration file. Without it: $NARROWGATE_CONFIG, ./narrowgate.yaml, ./narrowgate-data/narrowgate.yaml.",
)
def serve(config: str | None) -> int:
    """Serve until told to stop.

    SIGTERM and SIGINT finish what is running, SIGHUP reads the serving certificate again. Policies and agents are
    followed as they change.
    """
    from narrowgate.config import find_config
    from narrowgate.main import serve as serve_gate

    return serve_gate(find_config(config))
