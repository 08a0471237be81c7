"""Whatever is in an operator's file: it is a configuration, or one line that names the file. Nothing else comes out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from narrowgate.config import ClusterConfig, Config, ConfigError, cluster_access, parse_config
from narrowgate.core.cluster import ClusterAccess

PLACE = Path("/srv/narrowgate.yaml")
HEAD = {"apiVersion": "narrowgate.dev/v1alpha1", "kind": "Config"}
CONFIG_KEYS = [
    "dataDir",
    "listen",
    "tls",
    "store",
    "recordings",
    "policies",
    "clusters",
    "authentication",
    "workers",
    "audit",
    "limits",
    "kubernetes",
    "certificate",
    "key",
    "names",
    "name",
    "kubeconfig",
    "server",
    "upstream",
    "mode",
    "inCluster",
    "retention",
    "reads",
    "segmentBytes",
    "connections",
    "idleTimeout",
    "jwt",
]
KUBE_KEYS = [
    "clusters",
    "users",
    "contexts",
    "current-context",
    "name",
    "cluster",
    "user",
    "context",
    "server",
    "token",
    "tokenFile",
    "certificate-authority-data",
    "client-key-data",
    "client-certificate",
    "exec",
    "as",
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["", "127.0.0.1:1", "https://a", "sqlite:x", "10m", "0s", "[::1]:1", "\0", "~root/x", "~nobody-here/x"]
    ),
)


def documents(keys: list[str]) -> st.SearchStrategy[Any]:
    key = st.sampled_from(keys) | st.text(max_size=5)
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(key, inner, max_size=5), max_leaves=15
    )


def outcome(text: str) -> Config | str:
    try:
        return parse_config(text, PLACE)
    except ConfigError as error:
        return str(error)


def holds(seen: Config | str) -> None:
    if isinstance(seen, str):
        assert seen.startswith(str(PLACE))
        assert len(seen.splitlines()) == 1
    else:
        assert all(path.is_absolute() for path in (seen.data_dir, seen.policies))
        assert all(0 <= port <= 65535 for _, port in (seen.listen.kubernetes, seen.listen.control, seen.listen.health))
        assert all(cluster.kubeconfig or cluster.server or cluster.in_cluster for cluster in seen.clusters)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=80))
@example("a: !!python/object/apply:os.system [id]")
@example("? {a: b}\n: c")
@example("&a [*a]")
@example("a: 2026-99-99")
@example("a: 1:99:99999999999999")
@example("a: !!float x")
@example("\x85")
@example('"a\\nb": 1')
@example('limits: {"\\e[2J": 1}')
@example('store: "x\\n\\u2028y"')
def test_any_text_is_a_configuration_or_one_line(text: str) -> None:
    holds(outcome(text))
    holds(outcome("apiVersion: narrowgate.dev/v1alpha1\nkind: Config\n" + text))


@settings(max_examples=500, deadline=None)
@given(body=st.dictionaries(st.sampled_from(CONFIG_KEYS), documents(CONFIG_KEYS), max_size=4))
def test_any_values_in_any_places_are_a_configuration_or_one_line(body: dict[str, Any]) -> None:
    holds(outcome(yaml.safe_dump(HEAD | body, allow_unicode=True)))


@settings(max_examples=300, deadline=None)
@given(body=st.dictionaries(st.sampled_from(KUBE_KEYS), documents(KUBE_KEYS), max_size=5))
def test_any_kubeconfig_is_access_or_one_line_that_names_the_cluster(body: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "k"
        path.write_text(yaml.safe_dump(body, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
        try:
            seen: ClusterAccess | str = cluster_access(ClusterConfig(name="prod", kubeconfig=path))
        except ConfigError as error:
            seen = str(error)
    if isinstance(seen, str):
        assert seen.startswith('cluster "prod": ')
        assert len(seen.splitlines()) == 1
    else:
        assert seen.certificate_authority
