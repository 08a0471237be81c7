"""The configuration: the one place that reads the operator's files and the environment.

`gate_file.py` reads `narrowgate.yaml` into the values of `values.py`; `clusters.py` reads the credentials that the
clusters in it point to; `policies.py` reads the policy folder; `document.py` turns YAML into typed values with good
complaints; `gate_keys.py` hands the gate's own keys over. Whatever is wrong is a `ConfigError`, one line for the
operator.
"""

from narrowgate.config.addresses import control_url, kubeconfig_server, kubernetes_url
from narrowgate.config.clusters import cluster_access
from narrowgate.config.errors import ConfigError
from narrowgate.config.gate_file import (
    API_VERSION,
    CONFIG_NAME,
    CONFIG_VARIABLE,
    DEFAULT_DATA_DIR,
    find_config,
    load_config,
    parse_config,
)
from narrowgate.config.gate_keys import gate_keys, saml_key
from narrowgate.config.policies import load_policy_files
from narrowgate.config.recordings import recording_keys, recording_store
from narrowgate.config.values import (
    Audit,
    Authentication,
    ClusterConfig,
    Config,
    Limits,
    Listen,
    ReadLevel,
    SearchedText,
    SessionLevel,
)
from narrowgate.keys import TLSFiles

__all__ = [
    "API_VERSION",
    "CONFIG_NAME",
    "CONFIG_VARIABLE",
    "DEFAULT_DATA_DIR",
    "Audit",
    "Authentication",
    "ClusterConfig",
    "Config",
    "ConfigError",
    "Limits",
    "Listen",
    "ReadLevel",
    "SearchedText",
    "SessionLevel",
    "TLSFiles",
    "cluster_access",
    "control_url",
    "find_config",
    "gate_keys",
    "kubeconfig_server",
    "kubernetes_url",
    "load_config",
    "load_policy_files",
    "parse_config",
    "recording_keys",
    "recording_store",
    "saml_key",
]
