"""The gate's keys as its configuration wants them: one call for the gate and every command that needs its CA."""

from __future__ import annotations

from narrowgate.config.values import Config
from narrowgate.keys import Keys


def gate_keys(config: Config) -> Keys:
    """The keys of this gate, made where they are missing. Raises `narrowgate.keys.KeysUnusable`.

    Gate and commands must ask for the same names, or they would renew the serving certificate in turns.
    """
    hosts = (config.listen.kubernetes[0], config.listen.control[0])
    return Keys.load_or_make(config.data_dir, (*hosts, *config.server_names), config.tls)
