"""Ways to an API server as files on this machine offer them: contexts of kubeconfigs, and a pod's own account.

They are read for looking, as kubectl would read them; nothing of a credential is ever printed, and a file that cannot
be understood is told as such instead of being passed over.
"""

from __future__ import annotations

import base64
import errno
import os
import ssl
import stat
import subprocess
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from narrowgate.cli.api_server import held_in_file
from narrowgate.cli.doctor_report import plain
from narrowgate.core.documents import parse_yaml
from narrowgate.core.malformed import Malformed

LARGEST = 256 << 10
"""Bytes of a kubeconfig: a hundred clusters with their certificates."""

LONGEST_TOKEN = 32 << 10
"""Characters; tokens of identity providers have a few thousand."""

MOST_WAYS = 50
"""Of one file: each is tried with several requests."""

PLUGIN_SECONDS = 15
"""For a credential plugin, which may have to ask an identity provider."""

OWN_PLUGIN = "narrowgate-credential"


class CannotUse(Exception):
    """A way cannot be tried; the text says why, and nothing about the credential itself."""


class Certificate(msgspec.Struct, frozen=True):
    """A client certificate and its key, PEM."""

    certificate: bytes
    key: bytes


class Plugin(msgspec.Struct, frozen=True):
    """A command that hands a credential out, as kubectl runs it (KEP-541)."""

    command: str
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    version: str
    folder: str

    @property
    def is_ours(self) -> bool:
        """Whether it is the gate's own, run in our surroundings: a file may call anything by its name."""
        beside = Path(sys.executable).with_name(OWN_PLUGIN)
        return not self.environment and self.command in (OWN_PLUGIN, str(beside))


class Nothing(msgspec.Struct, frozen=True):
    """What cannot be shown to the server, or a server that cannot be asked; `why` says which."""

    why: str


Proof = str | Certificate | Plugin | Nothing
"""What is shown to the server; a string is a bearer token, an empty one shows nothing."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One server, and what would be shown to it."""

    file: str
    context: str
    server: str
    """As written."""
    host: str
    port: int
    prefix: str = ""
    server_name: str = ""
    authority: bytes = b""
    """PEM; empty: what the system trusts."""
    namespace: str = "default"
    proof: Proof

    @property
    def name(self) -> str:
        """Where it was found, for people."""
        return plain(f"{self.file} ({self.context})" if self.context else self.file)

    @property
    def kind(self) -> str:
        """What sort of credential it is."""
        match self.proof:
            case "":
                return "no credential"
            case str():
                return "a token"
            case Certificate():
                return "a client certificate"
            case Plugin(command=command):
                return f"the plugin {plain(Path(command).name)}"
            case Nothing(why=why):
                return why


def ways_in(path: Path) -> list[Way]:
    """All that a kubeconfig can be used for. Raises CannotUse, FileNotFoundError.

    Each context, and whoever is in no context at each cluster; where somebody has several credentials, each by itself.
    """
    try:
        content = _content(path)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(path)) from None
    except OSError as error:
        raise CannotUse(f"cannot be read ({(error.strerror or str(error)).lower()})") from None
    if len(content) > LARGEST:
        raise CannotUse("is too large for a kubeconfig")
    try:
        document = parse_yaml(content)
    except Malformed as error:
        raise CannotUse(f"is no kubeconfig that can be read ({plain(error.message)})") from None
    if not isinstance(document, dict) or not isinstance(document.get("clusters") or [], list):
        raise CannotUse("is no kubeconfig")
    if "clusters" not in document and document.get("kind") != "Config":
        raise CannotUse("is no kubeconfig")
    clusters, users = _by_name(document, "clusters", "cluster"), _by_name(document, "users", "user")
    contexts = _by_name(document, "contexts", "context")
    in_some = {str(context.get("user")) for context in contexts.values()}
    for user_name, cluster_name in product(sorted(set(users) - in_some), clusters):
        contexts[f"user {user_name} at {cluster_name}"] = {"user": user_name, "cluster": cluster_name}
    ways = []
    for name, context in contexts.items():
        cluster, user = clusters.get(str(context.get("cluster")), {}), users.get(str(context.get("user")), {})
        ways += [_way(path, name, context, cluster, proof) for proof in _proofs(user, path)]
        if len(ways) > MOST_WAYS:
            raise CannotUse(f"has more than {MOST_WAYS} contexts and credentials")
    return ways


def way_of_pod(folder: Path, environ: Mapping[str, str]) -> Way | None:
    """The account that the kubelet put into this pod; None where there is none."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = folder / "token"
    if not token.is_file():
        return None
    try:
        return Way(
            file=str(token),
            context="",
            server=f"https://{host or 'kubernetes.default.svc'}:{port}",
            host=host or "kubernetes.default.svc",
            port=int(port) if port.isascii() and port.isdigit() else 443,
            authority=_bytes_of(folder / "ca.crt"),
            namespace=_text_of(folder / "namespace") if (folder / "namespace").is_file() else "default",
            proof=_text_of(token),
        )
    except CannotUse as error:
        return Way(file=str(token), context="", server="", host="", port=0, proof=Nothing(str(error)))


def shown_by(way: Way, *, runs_plugins: bool) -> str | Certificate:
    """The credential itself; plugins that are not the gate's run only where that is wanted. Raises CannotUse."""
    match way.proof:
        case str() | Certificate():
            return way.proof
        case Nothing(why=why):
            raise CannotUse(why)
        case Plugin():
            if not runs_plugins and not way.proof.is_ours:
                raise CannotUse(f"{way.kind} was not run; with --try it is")
            return _handed_out(way.proof)


def trusting(way: Way, shown: str | Certificate | None) -> ssl.SSLContext:
    """TLS to the server, always verified; with the client certificate where that is what is shown. Raises CannotUse."""
    try:
        context = ssl.create_default_context(cadata=way.authority.decode("ascii", "replace") or None)
        if isinstance(shown, Certificate):
            with held_in_file(shown.certificate) as certificate, held_in_file(shown.key) as key:
                context.load_cert_chain(certificate, key, lambda: "")
    except (ssl.SSLError, ValueError, OSError):
        raise CannotUse("its certificates cannot be used") from None
    return context


def _way(path: Path, name: str, context: Mapping[str, Any], cluster: Mapping[str, Any], proof: Proof) -> Way:
    server, namespace = str(cluster.get("server") or ""), str(context.get("namespace") or "default")
    host, port, prefix, authority = "", 0, "", b""
    try:
        parts = urlsplit(server)
        host, port, prefix = parts.hostname or "", parts.port or 443, parts.path.rstrip("/")
        authority = _data_or_file(cluster, "certificate-authority", path)
        if parts.scheme != "https" or not host:
            proof = Nothing("no https server")
        elif cluster.get("proxy-url"):
            proof = Nothing("a server behind a proxy (proxy-url), which is not used here")
    except (CannotUse, ValueError) as error:
        proof = Nothing(plain(error))
    return Way(
        file=str(path),
        context=name,
        server=server,
        host=host,
        port=port,
        prefix=prefix,
        server_name=str(cluster.get("tls-server-name") or ""),
        authority=authority,
        namespace=namespace if namespace.replace("-", "").isalnum() and namespace.isascii() else "default",
        proof=proof,
    )


def _proofs(user: Mapping[str, Any], path: Path) -> list[Proof]:
    """Everything that is there: client-go would send a certificate and a token together, and either may open it."""
    found: list[Proof] = []
    try:
        if isinstance(plugin := user.get("exec"), dict):
            found.append(_plugin(plugin, path))
        if file := user.get("tokenFile"):
            found.append(_text_of(path.parent / str(file)))
        if token := user.get("token"):
            found.append(str(token).strip()[:LONGEST_TOKEN])
        certificate, key = _data_or_file(user, "client-certificate", path), _data_or_file(user, "client-key", path)
        if certificate and key:
            found.append(Certificate(certificate, key))
    except CannotUse as error:
        found.append(Nothing(str(error)))
    given_up = [name for name in ("auth-provider", "username", "password") if user.get(name)]
    if given_up and not found:
        return [Nothing(f"{given_up[0]}, which kubectl has given up")]
    return found or [""]


def _plugin(written: Mapping[str, Any], path: Path) -> Plugin:
    pairs = [one for one in written.get("env") or () if isinstance(one, dict)]
    return Plugin(
        command=str(written.get("command") or ""),
        arguments=tuple(str(word) for word in written.get("args") or ()),
        environment=tuple((str(one.get("name")), str(one.get("value"))) for one in pairs),
        version=str(written.get("apiVersion") or ""),
        folder=str(path.parent),
    )


def _handed_out(plugin: Plugin) -> str | Certificate:
    command = plugin.command
    if "/" in command:
        # As client-go: a path is relative to the kubeconfig, a name is looked for in PATH.
        command = os.path.join(plugin.folder, command)
    about = {"apiVersion": plugin.version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = {**os.environ, **dict(plugin.environment)}
    environment["KUBERNETES_EXEC_INFO"] = msgspec.json.encode(about).decode()
    try:
        done = subprocess.run(
            [command, *plugin.arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PLUGIN_SECONDS,
            check=False,
        )
        status = msgspec.json.decode(done.stdout[:LARGEST]).get("status") or {}
    except (OSError, subprocess.SubprocessError, ValueError, AttributeError):
        raise CannotUse(f"the plugin {plain(Path(command).name)} gave no credential") from None
    if token := status.get("token"):
        return str(token)
    certificate, key = str(status.get("clientCertificateData") or ""), str(status.get("clientKeyData") or "")
    if certificate and key:
        return Certificate(certificate.encode(), key.encode())
    raise CannotUse(f"the plugin {plain(Path(command).name)} gave no credential")


def _by_name(document: Mapping[str, Any], lists: str, inside: str) -> dict[str, dict[str, Any]]:
    listed = document.get(lists)
    found: dict[str, dict[str, Any]] = {}
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and isinstance(one.get(inside), dict):
            found.setdefault(str(one.get("name")), one[inside])
    return found


def _data_or_file(entry: Mapping[str, Any], name: str, path: Path) -> bytes:
    """Inline data wins over the file, as in client-go. Raises CannotUse."""
    if data := entry.get(f"{name}-data"):
        try:
            return base64.b64decode("".join(str(data).split()), validate=True)
        except ValueError:
            raise CannotUse(f"a {name}-data that is not base64") from None
    return _bytes_of(path.parent / str(entry[name])) if entry.get(name) else b""


def _bytes_of(path: Path) -> bytes:
    try:
        return _content(path)
    except (OSError, ValueError) as error:
        raise CannotUse(
            f"{plain(path)}: cannot be read ({plain(getattr(error, 'strerror', '') or error).lower()})"
        ) from None


def _content(path: Path) -> bytes:
    """One byte more than the largest at most. Raises OSError, ValueError for a path that is none."""
    # Not blocking: a named pipe that nobody writes would hold this up for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a file")
        return os.read(descriptor, LARGEST + 1)
    finally:
        os.close(descriptor)


def _text_of(path: Path) -> str:
    return _bytes_of(path).decode("ascii", "replace")[:LONGEST_TOKEN].strip()
