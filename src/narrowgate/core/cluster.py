"""A registered cluster as a value: where its API server is, and how the gate proves itself there."""

from __future__ import annotations

import enum

import msgspec


class UpstreamMode(enum.Enum):
    """In whose name requests reach the API server (the `upstream.mode` of a cluster in the configuration)."""

    CREDENTIAL = "credential"
    """The registered credential as it is."""
    IMPERSONATE = "impersonate"
    """An account with no right but to impersonate, and the caller's name in Impersonate-User."""
    SERVICE_ACCOUNT = "serviceAccount"
    """A scoped ServiceAccount for each policy, its token minted by TokenRequest."""


class ClusterAccess(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster and the credential for it. Exactly one of certificate+key, token, token_file is set."""

    name: str
    host: str
    port: int
    path_prefix: str = ""
    """What the server's URL has behind the port (`/k8s/clusters/c-1`), without a trailing slash."""
    tls_server_name: str = ""
    """Name the serving certificate must carry; empty means `host`."""
    certificate_authority: bytes
    """PEM. Never empty: the gate always verifies."""
    client_certificate: bytes = b""
    client_key: bytes = b""
    token: str = ""
    token_file: str = ""
    """Read again when it changes (projected tokens are renewed in place)."""
    mode: UpstreamMode = UpstreamMode.CREDENTIAL
    account_namespace: str = "narrowgate"
    """Namespace of the gate's own ServiceAccounts (modes impersonate and serviceAccount)."""
    renews: bool = False
    """Whether the gate renews its own token by TokenRequest (the registered one must be a ServiceAccount's)."""
    masks_known_values: bool = False
    """Whether the gate's own account reads all Secrets, so that their values are masked in every text."""
