"""`narrowgate.yaml`: its shape as people write it, and how it becomes a `Config`. The format is a contract."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from narrowgate.config.audit_bodies import BodyRuleEntry, read_body_rules
from narrowgate.config.document import Document, Path_, read_text, suggestion
from narrowgate.config.errors import ConfigError
from narrowgate.config.jwt import JWTEntry, read_jwt_issuers
from narrowgate.config.notifications import NotificationsEntry, read_receivers
from narrowgate.config.recordings import (
    MOST_FORMER_KEYS,
    KeptEntry,
    ObjectStorageEntry,
    read_bucket,
    read_kept,
    read_recordings,
)
from narrowgate.config.saml import SAMLEntry, read_saml_providers
from narrowgate.config.values import (
    Address,
    Audit,
    Authentication,
    ClusterConfig,
    Config,
    Limits,
    Listen,
    ReadLevel,
    SearchedText,
    SessionLevel,
    SignInRules,
)
from narrowgate.config.workloads import (
    ClientCertificatesEntry,
    ServiceAccountsEntry,
    read_client_certificates,
    read_service_accounts,
)
from narrowgate.core.cluster import UpstreamMode
from narrowgate.core.delegated_task import LONGEST_CHAIN, USUAL_CHAIN
from narrowgate.core.duration import seconds_of
from narrowgate.core.names import name_problem
from narrowgate.core.roles import Role, RoleBinding
from narrowgate.keys import TLSFiles

API_VERSION = "narrowgate.dev/v1alpha1"
CONFIG_VARIABLE = "NARROWGATE_CONFIG"
CONFIG_NAME = "narrowgate.yaml"
DEFAULT_DATA_DIR = "narrowgate-data"
"""Beside the configuration file, when it does not say where."""

MOST_WORKERS = 256
"""Twice the cores of the largest machines commonly sold; more is a slip of the finger."""

_CLUSTER_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", re.ASCII)
"""It becomes a path segment of the data port and a word in policies."""

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}$)(\*\.)?{_LABEL}(\.{_LABEL})*", re.IGNORECASE | re.ASCII)
"""RFC 1123, section 2.1, and RFC 6125's wildcard in the leftmost label."""

_Choice = TypeVar("_Choice", UpstreamMode, ReadLevel, SearchedText, SessionLevel, Role)

LONGEST_HOLD = 600
"""Seconds. No client waits longer for an answer without a sign of life."""

SHORTEST_KEPT = 2 * 86_400
"""Seconds. What people denied a moment ago, and the emergencies of a day, are looked up among what is over."""

MOST_ACCESS_SECONDS = 86_400
"""The data plane believes no access credential for longer (`authenticators.access_credentials.LONGEST_LIFE`)."""


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Keys as written in YAML: camelCase, unknown ones refused."""


class _Listen(_Shape, frozen=True):
    kubernetes: str = "127.0.0.1:8443"
    control: str = "127.0.0.1:8444"
    health: str = "127.0.0.1:8445"


class _TLS(_Shape, frozen=True):
    certificate: str = ""
    key: str = ""
    certificate_authority: str = ""
    names: list[str] = []


class _Upstream(_Shape, frozen=True):
    mode: str = "credential"
    account_namespace: str = "narrowgate"
    renew: bool = False


class _Cluster(_Shape, frozen=True):
    name: str
    kubeconfig: str = ""
    context: str = ""
    server: str = ""
    certificate_authority: str = ""
    token_file: str = ""
    tls_server_name: str = ""
    in_cluster: bool = False
    mask_known_values: bool = False
    upstream: _Upstream = _Upstream()


class _SignIn(_Shape, frozen=True):
    lifetime: str = "12h"
    access_lifetime: str = "1h"


class _Authentication(_Shape, frozen=True):
    jwt: list[JWTEntry] = []
    saml: list[SAMLEntry] = []
    service_accounts: ServiceAccountsEntry | None = None
    client_certificates: list[ClientCertificatesEntry] = []
    sign_in: _SignIn = _SignIn()


class _Encryption(_Shape, frozen=True):
    key_file: str = ""
    recording_key_file: str = ""
    former_recording_key_files: list[str] = []


class _Control(_Shape, frozen=True):
    url: str = ""


class _Role(_Shape, frozen=True):
    role: str
    groups: list[str] = []
    people: list[str] = []


class _Approvals(_Shape, frozen=True):
    hold: str = "50s"


class _Tasks(_Shape, frozen=True):
    max_depth: int = USUAL_CHAIN


class _Retention(_Shape, frozen=True):
    tasks: str = "30d"
    recordings: str | KeptEntry = ""


class _Search(_Shape, frozen=True):
    text: str = "Plain"


class _Audit(_Shape, frozen=True):
    segment_bytes: int = Audit().segment_bytes
    retention: str = ""
    reads: str = "Metadata"
    sessions: str = "RequestResponse"
    port_forwards: str = "Metadata"
    logs: str = "None"
    watches: str = "None"
    bodies: list[BodyRuleEntry] = []
    checkpoints: str = ""


class _Limits(_Shape, frozen=True):
    connections: int = Limits().connections
    header_bytes: int = Limits().header_bytes
    header_count: int = Limits().header_count
    body_bytes: int = Limits().body_bytes
    header_timeout: str = "10s"
    body_timeout: str = "30s"
    idle_timeout: str = "2m"
    connect_timeout: str = "10s"
    drain_timeout: str = "30s"


class _Config(_Shape, frozen=True):
    api_version: str
    kind: str
    data_dir: str = DEFAULT_DATA_DIR
    listen: _Listen = _Listen()
    tls: _TLS = _TLS()
    encryption: _Encryption = _Encryption()
    store: str = ""
    recordings: str = ""
    object_storage: ObjectStorageEntry = ObjectStorageEntry()
    policies: str = "policies"
    clusters: list[_Cluster] = []
    authentication: _Authentication = _Authentication()
    control: _Control = _Control()
    roles: list[_Role] = []
    workers: int = 1
    approvals: _Approvals = _Approvals()
    tasks: _Tasks = _Tasks()
    retention: _Retention = _Retention()
    notifications: NotificationsEntry = NotificationsEntry()
    search: _Search = _Search()
    audit: _Audit = _Audit()
    limits: _Limits = _Limits()


def find_config(path: str | None, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration at `path`, else `$NARROWGATE_CONFIG`, else `./narrowgate.yaml`, else the default data folder's.

    Raises ConfigError when there is none or it cannot be used.
    """
    if path:
        return load_config(Path(path))
    if named := environ.get(CONFIG_VARIABLE):
        return load_config(Path(named))
    usual = (Path(CONFIG_NAME), Path(DEFAULT_DATA_DIR, CONFIG_NAME))
    for candidate in usual:
        if candidate.exists():
            return load_config(candidate)
    raise ConfigError(
        f"no configuration: neither {usual[0]} nor {usual[1]} exists; name one with --config or ${CONFIG_VARIABLE}, "
        "or make one with `narrowgate up`"
    )


def load_config(path: Path) -> Config:
    """Read one configuration file. Raises ConfigError. Files that it names are read later, by those who need them."""
    return parse_config(read_text(path, "the configuration"), path)


def parse_config(text: str, path: Path) -> Config:
    """The configuration in `text`, paths made absolute against the folder of `path`. Raises ConfigError."""
    document = Document(text, str(path))
    if not isinstance(document.value, dict):
        document.refuse((), f"a configuration is a mapping that begins with `apiVersion: {API_VERSION}`")
    written = document.as_shape(_Config)
    if written.api_version != API_VERSION:
        document.refuse(("apiVersion",), f'this version reads "{API_VERSION}"; write that, or use a newer narrowgate')
    if written.kind != "Config":
        document.refuse(("kind",), 'expected "Config"; is this another kind of file?')
    return _Reader(document, path.absolute().parent).config(written, path.absolute())


class _Reader:
    """One file on its way to a Config: where it stands, and how its complaints are placed."""

    def __init__(self, document: Document, folder: Path) -> None:
        self._document = document
        self._folder = folder

    def config(self, written: _Config, path: Path) -> Config:
        if not 1 <= written.workers <= MOST_WORKERS:
            self._document.refuse(("workers",), f"expected 1 to {MOST_WORKERS} processes, found {written.workers}")
        data_dir = self._path(written.data_dir, ("dataDir",))
        return Config(
            path=path,
            data_dir=data_dir,
            listen=self._listen(written.listen),
            tls=self._tls(written.tls),
            encryption_key=self._optional(written.encryption.key_file, ("encryption", "keyFile")),
            recording_key=self._optional(written.encryption.recording_key_file, ("encryption", "recordingKeyFile")),
            former_recording_keys=self._former_keys(written.encryption),
            server_names=self._server_names(written.tls),
            store=self._store(written.store, data_dir),
            recordings=self._recordings(written.recordings, data_dir),
            bucket=read_bucket(self._document, written.recordings, written.object_storage, self._folder),
            policies=self._path(written.policies, ("policies",)),
            clusters=self._clusters(written.clusters),
            authentication=self._authentication(
                written.authentication,
                [cluster.name for cluster in written.clusters],
                self._depth(written.tasks.max_depth),
            ),
            control_url=self._control_url(written.control.url),
            roles=tuple(self._role(role, index) for index, role in enumerate(written.roles)),
            workers=written.workers,
            hold=self._hold(written.approvals.hold),
            longest_chain=self._depth(written.tasks.max_depth),
            tasks_kept=self._kept(written.retention.tasks),
            recordings_kept=read_kept(written.retention.recordings, self._seconds),
            searched_text=self._choice(SearchedText, written.search.text, ("search", "text")),
            receivers=read_receivers(self._document, written.notifications, self._folder),
            audit=self._audit(written.audit, [each.name for each in written.clusters]),
            limits=self._limits(written.limits),
        )

    def _authentication(self, written: _Authentication, clusters: Sequence[str], longest_chain: int) -> Authentication:
        here = ("authentication",)
        of = written.service_accounts
        sign_in = SignInRules(
            lifetime=self._seconds(written.sign_in.lifetime, (*here, "signIn", "lifetime")),
            access_lifetime=self._seconds(written.sign_in.access_lifetime, (*here, "signIn", "accessLifetime")),
        )
        if sign_in.access_lifetime > sign_in.lifetime:
            self._document.refuse((*here, "signIn", "accessLifetime"), "longer than a sign-in; make it shorter")
        if sign_in.access_lifetime > MOST_ACCESS_SECONDS:
            self._document.refuse((*here, "signIn", "accessLifetime"), "expected 24h at most; it is renewed by itself")
        saml_users = [provider.username_prefix for provider in written.saml]
        saml_groups = [provider.groups_prefix for provider in written.saml if provider.groups]
        found = read_jwt_issuers(self._document, (*here, "jwt"), written.jwt, self._folder, saml_users, saml_groups)
        issuers = tuple(msgspec.structs.replace(issuer, longest_chain=longest_chain) for issuer in found)
        return Authentication(
            jwt=issuers,
            saml=read_saml_providers(self._document, (*here, "saml"), written.saml, self._folder, issuers),
            service_accounts=read_service_accounts(self._document, (*here, "serviceAccounts"), of, clusters)
            if of
            else None,
            client_certificates=read_client_certificates(
                self._document, (*here, "clientCertificates"), written.client_certificates, self._folder
            ),
            sign_in=sign_in,
        )

    def _control_url(self, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or parts.query):
            self._document.refuse(("control", "url"), f'"{url}" is not https://host[:port] with nothing behind it')
        return url.rstrip("/")

    def _role(self, written: _Role, index: int) -> RoleBinding:
        here = ("roles", index)
        role = self._choice(Role, written.role, (*here, "role"))
        if not written.groups and not written.people:
            self._document.refuse(here, "names nobody; add groups or people")
        for key, names in (("groups", written.groups), ("people", written.people)):
            for at, name in enumerate(names):
                if problem := name_problem(name):
                    self._document.refuse((*here, key, at), f'"{name}" {problem}')
        return RoleBinding(role=role, groups=tuple(written.groups), people=tuple(written.people))

    def _path(self, text: str, key: Path_) -> Path:
        if not text or "\0" in text:
            self._document.refuse(key, "expected a path, found nothing usable; write one or leave the key out")
        return Path(os.path.normpath(self._folder / Path(text).expanduser()))

    def _optional(self, text: str, key: Path_) -> Path | None:
        return self._path(text, key) if text else None

    def _listen(self, written: _Listen) -> Listen:
        addresses = {name: self._address(getattr(written, name), name) for name in ("kubernetes", "control", "health")}
        for name, other in (("control", "kubernetes"), ("health", "kubernetes"), ("health", "control")):
            if addresses[name] == addresses[other] and addresses[name][1] != 0:
                self._document.refuse(("listen", name), f"the same address as listen.{other}; give each its own port")
        return Listen(**addresses)

    def _address(self, text: str, key: str) -> Address:
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            self._document.refuse(("listen", key), f'an IPv6 address needs brackets: "[{host}]:{port}"')
        if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            self._document.refuse(("listen", key), f'"{text}" is not host:port; write it like "127.0.0.1:8443"')
        return host, int(port)

    def _tls(self, written: _TLS) -> TLSFiles | None:
        if not written.certificate and not written.key:
            if written.certificate_authority:
                self._document.refuse(("tls",), "certificateAuthority goes with certificate and key; add them")
            return None
        if not written.certificate or not written.key:
            missing = "key" if written.certificate else "certificate"
            self._document.refuse(("tls",), f'"{missing}" is missing; give both files, or neither to have them made')
        authority = written.certificate_authority
        return TLSFiles(
            certificate=self._path(written.certificate, ("tls", "certificate")),
            key=self._path(written.key, ("tls", "key")),
            certificate_authority=self._path(authority, ("tls", "certificateAuthority")) if authority else None,
        )

    def _server_names(self, written: _TLS) -> tuple[str, ...]:
        for index, name in enumerate(written.names):
            if not _DNS_NAME.fullmatch(name) and not _is_address(name):
                self._document.refuse(("tls", "names", index), f'"{name}" is neither a DNS name nor an address')
        return tuple(written.names)

    def _store(self, url: str, data_dir: Path) -> str:
        if url.startswith(("postgresql:", "postgres:")):
            self._document.refuse(("store",), "PostgreSQL is not in this version yet; use sqlite:<file>")
        if url and not url.startswith("sqlite:"):
            self._document.refuse(("store",), f'cannot tell what "{url}" is; write sqlite:<file>')
        path = self._path(url.removeprefix("sqlite:"), ("store",)) if url else data_dir / "gate.db"
        return f"sqlite:{path}"

    def _recordings(self, url: str, data_dir: Path) -> str:
        if read_recordings(self._document, url) != "file":
            return url
        path = self._path(url.removeprefix("file:"), ("recordings",)) if url else data_dir / "recordings"
        return f"file:{path}"

    def _clusters(self, written: list[_Cluster]) -> tuple[ClusterConfig, ...]:
        first: dict[str, int] = {}
        for index, cluster in enumerate(written):
            if not _CLUSTER_NAME.fullmatch(cluster.name):
                self._document.refuse(
                    ("clusters", index, "name"),
                    f'"{cluster.name}" is no cluster name; use up to 63 lower case letters, digits, "-" and "."',
                )
            if cluster.name in first:
                self._document.refuse(
                    ("clusters", index, "name"),
                    f'"{cluster.name}" is already clusters[{first[cluster.name]}]; give each cluster its own name',
                )
            first[cluster.name] = index
        return tuple(self._cluster(cluster, index) for index, cluster in enumerate(written))

    def _cluster(self, written: _Cluster, index: int) -> ClusterConfig:
        here: Path_ = ("clusters", index)
        self._one_way(written, here)
        mode = self._choice(UpstreamMode, written.upstream.mode, (*here, "upstream", "mode"))

        def optional(text: str, key: str) -> Path | None:
            return self._path(text, (*here, key)) if text else None

        return ClusterConfig(
            name=written.name,
            kubeconfig=optional(written.kubeconfig, "kubeconfig"),
            context=written.context,
            server=written.server,
            certificate_authority=optional(written.certificate_authority, "certificateAuthority"),
            token_file=optional(written.token_file, "tokenFile"),
            tls_server_name=written.tls_server_name,
            in_cluster=written.in_cluster,
            mode=mode,
            account_namespace=written.upstream.account_namespace,
            renews=written.upstream.renew,
            masks_known_values=written.mask_known_values,
            where=self._document.place(here),
        )

    def _one_way(self, written: _Cluster, here: Path_) -> None:
        """Refuse an entry that says in no way, or in two, where the cluster is."""
        ways = [
            key
            for key, given in (
                ("kubeconfig", written.kubeconfig),
                ("server", written.server),
                ("inCluster", written.in_cluster),
            )
            if given
        ]
        if len(ways) != 1:
            found = " and ".join(ways) or "none of them"
            self._document.refuse(here, f"needs exactly one of kubeconfig, server, inCluster: true; found {found}")
        if written.context and ways != ["kubeconfig"]:
            self._document.refuse((*here, "context"), "goes with kubeconfig only; remove it")
        for key, text in (("certificateAuthority", written.certificate_authority), ("tokenFile", written.token_file)):
            if ways == ["server"] and not text:
                self._document.refuse(here, f"a cluster given by server also needs {key}; add it")
            if ways != ["server"] and text:
                self._document.refuse((*here, key), "goes with server only; remove it")

    def _hold(self, text: str) -> float:
        seconds = self._seconds(text, ("approvals", "hold"))
        if seconds > LONGEST_HOLD:
            self._document.refuse(("approvals", "hold"), "expected 10m at most; clients and proxies give up before")
        return seconds

    def _depth(self, members: int) -> int:
        if not 1 <= members <= LONGEST_CHAIN:
            told = (
                f"expected a number from 1 (nothing is delegated) to {LONGEST_CHAIN}; each member is judged every time"
            )
            self._document.refuse(("tasks", "maxDepth"), told)
        return members

    def _kept(self, text: str) -> float:
        seconds = self._seconds(text, ("retention", "tasks"))
        if seconds < SHORTEST_KEPT:
            self._document.refuse(("retention", "tasks"), "expected 2d or more; emergencies are counted over a day")
        return seconds

    def _former_keys(self, written: _Encryption) -> tuple[Path, ...]:
        here = ("encryption", "formerRecordingKeyFiles")
        if written.former_recording_key_files and not written.recording_key_file:
            self._document.refuse(here, "goes with recordingKeyFile; give the key that is used now as well")
        if len(written.former_recording_key_files) > MOST_FORMER_KEYS:
            self._document.refuse(here, f"expected {MOST_FORMER_KEYS} keys at most")
        return tuple(self._path(text, (*here, index)) for index, text in enumerate(written.former_recording_key_files))

    def _audit(self, written: _Audit, clusters: Sequence[str]) -> Audit:
        if written.segment_bytes < 1 << 20:
            self._document.refuse(("audit", "segmentBytes"), "a segment holds at least 1048576 bytes; write more")
        retention = self._seconds(written.retention, ("audit", "retention")) if written.retention else None
        checkpoints = self._path(written.checkpoints, ("audit", "checkpoints")) if written.checkpoints else None
        return Audit(
            segment_bytes=written.segment_bytes,
            retention=retention,
            reads=self._choice(ReadLevel, written.reads, ("audit", "reads")),
            sessions=self._all_or_none(written.sessions, "sessions"),
            logs=self._all_or_none(written.logs, "logs"),
            watches=self._all_or_none(written.watches, "watches"),
            port_forwards=self._choice(SessionLevel, written.port_forwards, ("audit", "portForwards")),
            bodies=read_body_rules(self._document, written.bodies, clusters),
            checkpoints=checkpoints,
        )

    def _all_or_none(self, text: str, key: str) -> SessionLevel:
        level = self._choice(SessionLevel, text, ("audit", key))
        if level is SessionLevel.METADATA:
            self._document.refuse(("audit", key), "all of it is recorded, or nothing: write RequestResponse, or None")
        return level

    def _limits(self, written: _Limits) -> Limits:
        lowest = {"connections": 1, "header_bytes": 4096, "header_count": 16, "body_bytes": 1}
        counts: dict[str, Any] = {}
        for name, least in lowest.items():
            counts[name] = getattr(written, name)
            if counts[name] < least:
                self._document.refuse(("limits", _camel(name)), f"expected {least} or more, found {counts[name]}")
        times: dict[str, Any] = {
            name: self._seconds(getattr(written, name), ("limits", _camel(name)))
            for name in ("header_timeout", "body_timeout", "idle_timeout", "connect_timeout", "drain_timeout")
        }
        return Limits(**counts, **times)

    def _seconds(self, text: str, key: Path_) -> float:
        try:
            seconds = seconds_of(text)
        except ValueError as error:
            self._document.refuse(key, str(error))
        if seconds == 0:
            self._document.refuse(key, "expected more than no time at all; write a length like 10s")
        return float(seconds)

    def _choice(self, kind: type[_Choice], text: str, key: Path_) -> _Choice:
        try:
            return kind(text)
        except ValueError:
            self._document.refuse(key, f'unknown value "{text}"{suggestion(text, [str(one.value) for one in kind])}')


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)
