"""Where people and programs reach the gate, as its configuration tells."""

from __future__ import annotations

from narrowgate.config.errors import ConfigError
from narrowgate.config.values import Address, Config


def control_url(config: Config) -> str:
    """The control port: what `control.url` says, else where it listens. For who listens everywhere, its first name."""
    if config.control_url:
        return config.control_url
    return _url((_own_name(config) or "localhost", config.listen.control[1]), config.listen.control)


def kubernetes_url(config: Config) -> str:
    """The data port: where it listens, by its first name for who listens everywhere."""
    return _url((_own_name(config) or "localhost", config.listen.kubernetes[1]), config.listen.kubernetes)


def kubeconfig_server(config: Config) -> str:
    """The data port for a file that goes elsewhere. Raises ConfigError where the configuration does not tell it."""
    host, port = config.listen.kubernetes
    place = f"{config.path}: listen.kubernetes"
    if _is_everywhere(host) and not _own_name(config):
        raise ConfigError(f"{host} is no address to call, {place}: give --server, or add the gate's name to tls.names")
    if port == 0:
        raise ConfigError(f"port 0 is chosen at each start, {place}: give --server")
    return kubernetes_url(config)


def _own_name(config: Config) -> str:
    """The first name that a certificate of ours is for; a wildcard is none to call."""
    return next((name for name in config.server_names if not name.startswith("*")), "")


def _is_everywhere(host: str) -> bool:
    return host in ("0.0.0.0", "::")


def _url(named: Address, listening: Address) -> str:
    host, port = named if _is_everywhere(listening[0]) else listening
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
