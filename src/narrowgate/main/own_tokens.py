"""The gate's own tokens: read from files that others renew, or renewed by the gate and kept in the data folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from narrowgate.config import Config
from narrowgate.keys import Keys
from narrowgate.keys.sealed_file import SealedFile
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.own_token import Keep, OwnToken


def read_token(path: str) -> str:
    """The token in a file. Raises OSError, ValueError."""
    return Path(path).read_text("ascii").strip()


def own_tokens(clusters: Iterable[Cluster], config: Config, keys: Keys) -> dict[str, OwnToken]:
    """A renewed token for each cluster that is configured so, by the cluster's name."""
    found: dict[str, OwnToken] = {}
    for cluster in clusters:
        if cluster.access.renews:
            file = SealedFile(config.data_dir / "tokens" / f"{cluster.name}.token", keys.passphrase)
            found[cluster.name] = OwnToken(cluster, read_token, Keep(file.read, file.write))
    return found
