"""From a registered cluster to the credential for it: kubeconfigs, token files, and the pod's own account.

A kubeconfig is read as client-go reads it (k8s.io/client-go/tools/clientcmd), except that what the gate will not do is
refused in words instead of being done or passed over: no connection without verification, no plugins, no proxies.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from narrowgate.config.document import Document, read_bytes, read_text, suggestion
from narrowgate.config.errors import ConfigError
from narrowgate.config.values import ClusterConfig
from narrowgate.core.cluster import ClusterAccess
from narrowgate.keys import KeysUnusable, check_certificates, check_pair

SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts a pod's token and CA (`rest.InClusterConfig` in k8s.io/client-go/rest/config.go)."""


class _Kube(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Keys as kubectl writes them; unknown ones are kubectl's business."""


class _KubeCluster(_Kube, frozen=True):
    server: str = ""
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None
    insecure_skip_tls_verify: bool | None = None


class _KubeUser(_Kube, frozen=True):
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    username: str | None = None
    password: str | None = None
    act_as: str | None = msgspec.field(default=None, name="as")
    exec: dict[str, Any] | None = None
    auth_provider: dict[str, Any] | None = None


class _KubeContext(_Kube, frozen=True):
    cluster: str = ""
    user: str = ""


class _Named(_Kube, frozen=True):
    name: str = ""
    cluster: _KubeCluster | None = None
    user: _KubeUser | None = None
    context: _KubeContext | None = None


class _KubeConfig(_Kube, frozen=True):
    clusters: list[_Named] | None = None
    users: list[_Named] | None = None
    contexts: list[_Named] | None = None
    current_context: str | None = None


class _Server(NamedTuple):
    host: str
    port: int
    path_prefix: str


def cluster_access(
    cluster: ClusterConfig,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT_FOLDER,
) -> ClusterAccess:
    """Read what `cluster` points to. Raises ConfigError: which cluster and file, what is wrong, what to do."""
    try:
        if cluster.kubeconfig is not None:
            return _from_kubeconfig(cluster, cluster.kubeconfig)
        if cluster.in_cluster:
            return _from_pod(cluster, environ, service_account)
        return _from_server(cluster)
    except KeysUnusable as error:
        raise ConfigError(str(error)) from error
    except ConfigError as error:
        raise ConfigError(f'cluster "{cluster.name}": {error}') from error


def _from_server(cluster: ClusterConfig) -> ClusterAccess:
    assert cluster.certificate_authority is not None
    assert cluster.token_file is not None
    server = _server(cluster.server, cluster.where)
    authority = read_bytes(cluster.certificate_authority, "the certificate authority")
    check_certificates(authority, f'cluster "{cluster.name}": {cluster.certificate_authority}')
    return _access(cluster, server, authority, token_file=_checked_token_file(cluster.token_file))


def _from_pod(cluster: ClusterConfig, environ: Mapping[str, str], folder: Path) -> ClusterAccess:
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not (port.isascii() and port.isdigit()):
        raise ConfigError(
            f"{cluster.where}: inCluster works in a pod only, and KUBERNETES_SERVICE_HOST and _PORT are not set here; "
            "use kubeconfig or server instead"
        )
    authority = read_bytes(folder / "ca.crt", "the pod's certificate authority")
    check_certificates(authority, f'cluster "{cluster.name}": {folder / "ca.crt"}')
    return _access(cluster, _Server(host, int(port), ""), authority, token_file=_checked_token_file(folder / "token"))


def _from_kubeconfig(cluster: ClusterConfig, path: Path) -> ClusterAccess:
    document = Document(read_text(path, "the kubeconfig"), str(path))
    if not isinstance(document.value, dict):
        raise ConfigError(f"{path}: this is no kubeconfig; write one with `kubectl config view --raw --flatten`")
    found = document.as_shape(_KubeConfig)
    wanted = cluster.context or found.current_context or ""
    if not wanted:
        raise ConfigError(f"{path}: the kubeconfig has no current-context; name one with `context`")
    context = _entry(found.contexts, wanted, "context", path).context or _KubeContext()
    kube_cluster = _entry(found.clusters, context.cluster, "cluster", path).cluster or _KubeCluster()
    user = _entry(found.users, context.user, "user", path).user or _KubeUser()
    _refuse_unsupported(kube_cluster, user, f"{path}: context {wanted}")
    server = _server(kube_cluster.server, f'{path}: cluster "{context.cluster}"')
    authority = _authority(kube_cluster, path, context.cluster)
    check_certificates(authority, f'cluster "{cluster.name}": {path}: certificate-authority of "{context.cluster}"')
    server_name = cluster.tls_server_name or kube_cluster.tls_server_name or ""
    cluster = msgspec.structs.replace(cluster, tls_server_name=server_name)
    return _access(cluster, server, authority, **_credential(user, path, context.user, cluster.name))


def _access(cluster: ClusterConfig, server: _Server, authority: bytes, **credential: Any) -> ClusterAccess:
    return ClusterAccess(
        name=cluster.name,
        host=server.host,
        port=server.port,
        path_prefix=server.path_prefix,
        tls_server_name=cluster.tls_server_name,
        certificate_authority=authority,
        mode=cluster.mode,
        account_namespace=cluster.account_namespace,
        renews=cluster.renews,
        masks_known_values=cluster.masks_known_values,
        **credential,
    )


def _entry(entries: list[_Named] | None, name: str, kind: str, path: Path) -> _Named:
    for entry in entries or []:
        if entry.name == name:
            return entry
    hint = suggestion(name, [entry.name for entry in entries or []]) if entries else "; it has none at all"
    raise ConfigError(f'{path}: the kubeconfig has no {kind} "{name}"{hint}')


def _refuse_unsupported(cluster: _KubeCluster, user: _KubeUser, where: str) -> None:
    """Refuse what kubectl would do and the gate will not."""
    refused = (
        (
            cluster.insecure_skip_tls_verify,
            "insecure-skip-tls-verify is set, and the gate never connects without verification; put the CA into "
            "certificate-authority-data (and tls-server-name, if the certificate is for another name)",
        ),
        (cluster.proxy_url, "proxy-url is set, and the gate only connects directly; remove it"),
        (
            user.exec,
            "the user runs a credential plugin (exec), which the gate does not start; make a ServiceAccount for the "
            "gate and use its token",
        ),
        (
            user.auth_provider,
            "the user has an auth-provider, which kubectl itself gave up in 1.26; make a ServiceAccount for the gate "
            "and use its token",
        ),
        (
            user.username or user.password,
            "the user has a name and password, which Kubernetes gave up in 1.19; use a client certificate or a token",
        ),
        (user.act_as, "the user impersonates (as), which the gate does itself; use the account without `as`"),
    )
    for present, complaint in refused:
        if present:
            raise ConfigError(f"{where}: {complaint}")


def _authority(cluster: _KubeCluster, path: Path, name: str) -> bytes:
    where = f'{path}: cluster "{name}"'
    authority = _data_or_file(
        cluster.certificate_authority_data, cluster.certificate_authority, path, f"{where}: certificate-authority"
    )
    if not authority:
        raise ConfigError(f"{where}: nothing to verify the server with; add certificate-authority-data")
    return authority


def _credential(user: _KubeUser, path: Path, name: str, cluster: str) -> dict[str, Any]:
    where = f'{path}: user "{name}"'
    certificate = _data_or_file(
        user.client_certificate_data, user.client_certificate, path, f"{where}: client-certificate"
    )
    key = _data_or_file(user.client_key_data, user.client_key, path, f"{where}: client-key")
    token = (user.token or "").strip()
    if (certificate or key) and (token or user.token_file):
        raise ConfigError(f"{where}: has a client certificate and a token; keep the one the gate should use")
    if certificate and key:
        check_pair(certificate, key, f'cluster "{cluster}": {where}')
        return {"client_certificate": certificate, "client_key": key}
    if certificate or key:
        raise ConfigError(f"{where}: client-certificate and client-key go together, and one is missing; add it")
    # As in client-go: of a token and a token file the file counts, because it is the one that is renewed.
    if user.token_file:
        return {"token_file": _checked_token_file(path.parent / user.token_file)}
    if token:
        _check_token(token, f"{where}: token")
        return {"token": token}
    raise ConfigError(f"{where}: has no credential; add client-certificate-data and client-key-data, or token")


def _data_or_file(data: str | None, file: str | None, kubeconfig: Path, what: str) -> bytes:
    """Inline data wins over the file, as in client-go; a file is relative to the kubeconfig's folder."""
    if data:
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except ValueError:
            raise ConfigError(f"{what}-data is not base64; write it again with `kubectl config view --raw`") from None
    return read_bytes(kubeconfig.parent / file, what.rpartition(": ")[2]) if file else b""


def _checked_token_file(path: Path) -> str:
    """The path of a token file that can be read now; it is read again whenever it changes."""
    _check_token(read_text(path, "the token file").strip(), str(path))
    return str(path.absolute())


def _check_token(token: str, where: str) -> None:
    # RFC 6750, section 2.1: b64token. Anything else would also break the header it is sent in.
    if not re.fullmatch(r"[-A-Za-z0-9._~+/]+=*", token):
        what = "holds characters that no token has" if token else "is empty"
        raise ConfigError(f"{where}: the token {what}; write the bare token into it")


def _server(url: str, where: str) -> _Server:
    """Host, port and path of an API server's URL. Raises ConfigError unless it is a plain https URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f'{where}: server "{url}" is not a URL: {error}; write https://host:port') from None
    if parts.scheme == "http":
        raise ConfigError(f'{where}: server "{url}" is not encrypted, and the gate sends a credential there; use https')
    if parts.scheme != "https" or not host:
        raise ConfigError(f'{where}: server "{url}" is not an https URL; write https://host:port')
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"{where}: server has more than host, port and path; write https://host:port")
    return _Server(host, 443 if port is None else port, parts.path.rstrip("/"))
