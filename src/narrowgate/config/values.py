"""The configuration as frozen values: what the rest of the gate takes slices of. Reading files is next door."""

from __future__ import annotations

import enum
from pathlib import Path

import msgspec

from narrowgate.authenticators.certificate_rule import CertificateRule
from narrowgate.authenticators.jwt_issuer import JWTIssuer
from narrowgate.authenticators.service_account_rules import ServiceAccountRules
from narrowgate.control.notifications.receivers import AnyReceiver
from narrowgate.control.saml.provider import SAMLProvider
from narrowgate.core.body_levels import BodyRule
from narrowgate.core.cluster import UpstreamMode
from narrowgate.core.delegated_task import USUAL_CHAIN
from narrowgate.core.roles import RoleBinding
from narrowgate.keys import TLSFiles
from narrowgate.recordings.bucket import Bucket
from narrowgate.recordings.retention import Kept

Address = tuple[str, int]
"""Host and port as `socket.bind` takes them; IPv6 hosts without brackets."""


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """Where the three ports listen. Health carries metrics too and stays on loopback unless told otherwise."""

    kubernetes: Address = ("127.0.0.1", 8443)
    control: Address = ("127.0.0.1", 8444)
    health: Address = ("127.0.0.1", 8445)


class ClusterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One registered cluster as it was written, paths made absolute; `cluster_access` reads what it points to.

    Exactly one of `kubeconfig`, `server` and `in_cluster` is set.
    """

    name: str
    kubeconfig: Path | None = None
    context: str = ""
    """Context in the kubeconfig; empty means its `current-context`."""
    server: str = ""
    certificate_authority: Path | None = None
    token_file: Path | None = None
    tls_server_name: str = ""
    in_cluster: bool = False
    mode: UpstreamMode = UpstreamMode.CREDENTIAL
    account_namespace: str = "narrowgate"
    renews: bool = False
    masks_known_values: bool = False
    """Whether the gate reads the cluster's Secrets, to mask their values wherever they appear in text."""
    where: str = ""
    """File and line of the entry, for complaints about what it points to."""


class ReadLevel(enum.Enum):
    """How much of an allowed read is recorded; writes and refusals always are."""

    METADATA = "Metadata"
    NONE = "None"


class SessionLevel(enum.Enum):
    """What is recorded of an exec, attach or port-forward, in the words of Kubernetes' audit levels."""

    NONE = "None"
    """Nothing but the entry of its request."""
    METADATA = "Metadata"
    """That it was there: when what was opened and closed, and how many bytes passed."""
    REQUEST_RESPONSE = "RequestResponse"
    """All that passed, both ways."""


class SearchedText(enum.Enum):
    """Of which recordings the text is kept for searches, readable beside the record."""

    PLAIN = "Plain"
    """Those that are not encrypted: whoever reads the index could read them as well."""
    ALL = "All"
    NONE = "None"


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """How the trail is kept."""

    segment_bytes: int = 64 << 20
    """A segment is closed at this size: 64 MiB are some 60,000 requests, and quick to copy, verify or delete."""
    retention: float | None = None
    """Seconds that a closed segment is kept; None, the default, keeps everything: only people throw a record away."""
    reads: ReadLevel = ReadLevel.METADATA
    sessions: SessionLevel = SessionLevel.REQUEST_RESPONSE
    """Of exec and attach; never METADATA."""
    port_forwards: SessionLevel = SessionLevel.METADATA
    logs: SessionLevel = SessionLevel.NONE
    """Of answers to reads of logs; never METADATA. What logs say is on the cluster's nodes already, and much."""
    watches: SessionLevel = SessionLevel.NONE
    """The same for watches."""
    bodies: tuple[BodyRule, ...] = ()
    """Of which API calls bodies are kept; the first that fits counts, and none keeps nothing."""
    checkpoints: Path | None = None
    """A second file for checkpoints, best on another machine's disk, so that a cut tail shows."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one gate process takes on. Times are seconds, sizes bytes."""

    connections: int = 10_000
    """Open client connections of one process; at some 80 KB an idle watch this is 800 MB at worst."""
    header_bytes: int = 64 << 10
    """Request line and headers together; Go's server takes 1 MiB, kubectl sends under 4 KiB with the longest tokens."""
    header_count: int = 128
    """Header lines of one request; kubectl sends under 20."""
    body_bytes: int = 3 << 20
    """Request body; the API server's own limit (`MaxRequestBodyBytes` in k8s.io/apiserver/pkg/server/config.go)."""
    header_timeout: float = 10
    """From the first byte of a request, or from accept, until its headers are complete."""
    body_timeout: float = 30
    """Longest silence in the middle of a request body."""
    idle_timeout: float = 120
    """A kept-alive connection without a request is closed after this; client-go closes its own after 90."""
    connect_timeout: float = 10
    """To reach the API server, TLS included."""
    drain_timeout: float = 30
    """From SIGTERM until the requests still running are cut; the default grace period of a pod is 30."""


class SignInRules(msgspec.Struct, frozen=True, kw_only=True):
    """How long a person stays signed in. Seconds."""

    lifetime: float = 43_200
    """Absolute; then the identity provider is asked again. A working day."""
    access_lifetime: float = 3_600
    """Of the access credentials that a sign-in is exchanged for; a stream ends with the one it began with."""


class Authentication(msgspec.Struct, frozen=True, kw_only=True):
    """Who is believed besides the gate's own agents."""

    jwt: tuple[JWTIssuer, ...] = ()
    saml: tuple[SAMLProvider, ...] = ()
    service_accounts: ServiceAccountRules | None = None
    """None: ServiceAccount tokens of the clusters open nothing."""
    client_certificates: tuple[CertificateRule, ...] = ()
    sign_in: SignInRules = SignInRules()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration file, checked and with every path absolute."""

    path: Path
    """The file it came from."""
    data_dir: Path
    listen: Listen = Listen()
    tls: TLSFiles | None = None
    """None: a CA and a serving certificate are made in `data_dir`."""
    encryption_key: Path | None = None
    """File with the key that encrypts private keys at rest; None: the environment's, or none."""
    server_names: tuple[str, ...] = ()
    """Further DNS names and addresses that clients call the gate by, for the certificate that the gate makes."""
    store: str
    recordings: str
    """`file:<folder>`, `s3://<bucket>/<prefix>` or `az://<container>/<prefix>`."""
    bucket: Bucket | None = None
    """Where that is, with credentials, when it is object storage."""
    recording_key: Path | None = None
    """File with the key that recordings are encrypted with; None: they are not."""
    former_recording_keys: tuple[Path, ...] = ()
    """Files with keys that older recordings were encrypted with."""
    recordings_kept: Kept = Kept()
    """For how long recordings are kept."""
    searched_text: SearchedText = SearchedText.PLAIN
    policies: Path
    clusters: tuple[ClusterConfig, ...] = ()
    authentication: Authentication = Authentication()
    control_url: str = ""
    """Where people and programs reach the control port (`https://gate.corp:8444`); empty: where it listens."""
    roles: tuple[RoleBinding, ...] = ()
    workers: int = 1
    """Processes that share the data port."""
    hold: float = 50
    """Seconds that a request is held for people's answer; below the minute after which common clients give up."""
    longest_chain: int = USUAL_CHAIN
    """Members of a chain at most: whoever asked first, its delegates, theirs."""
    tasks_kept: float = 30 * 86_400
    """Seconds for which tasks and questions are kept once they are over."""
    receivers: tuple[AnyReceiver, ...] = ()
    """Who is told of what happens."""
    audit: Audit = Audit()
    limits: Limits = Limits()
