"""The cluster that stands behind all contenders, and as much of a client as it takes to furnish it."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from bench.failure import BenchFailure

REPOSITORY = Path(__file__).resolve().parents[1]
# Nothing that furnishes the cluster takes longer.
ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Cluster:
    """An API server and the administrator's certificate for it."""

    kubeconfig: Path
    server: str
    authority: Path
    certificate: Path
    key: Path
    audit_log: Path | None
    image: str | None
    pids: dict[str, int]

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """One request with a JSON answer; None when there is no such object."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.certificate, self.key)
        address = urlsplit(self.server)
        connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, timeout=ANSWER_SECONDS, context=context
        )
        try:
            content = None if body is None else json.dumps(body)
            headers = {"Content-Type": content_type, "Accept": "application/json"}
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            document = json.loads(response.read() or b"null")
        finally:
            connection.close()
        if response.status == http.client.NOT_FOUND:
            return None
        if response.status >= http.client.BAD_REQUEST:
            raise BenchFailure(f"{method} {path}: the API server answered {response.status}: {document.get('message')}")
        return document


def read_cluster(folder: Path) -> Cluster:
    """The cluster that `make cluster` started; its administrator's certificate is put into the folder as files."""
    description = REPOSITORY / ".cluster" / "cluster.json"
    if not description.is_file():
        raise BenchFailure(f"no cluster: {description} is missing; run `make cluster` first")
    document = json.loads(description.read_text())
    kubeconfig = Path(document["kubeconfig"])
    user = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]
    certificate, key = folder / "admin.crt", folder / "admin.key"
    certificate.write_bytes(_content(user, "client-certificate", kubeconfig))
    key.touch(mode=0o600)
    key.write_bytes(_content(user, "client-key", kubeconfig))
    return Cluster(
        kubeconfig=kubeconfig,
        server=document["server"],
        authority=Path(document["ca"]),
        certificate=certificate,
        key=key,
        audit_log=Path(document["auditLog"]) if document.get("auditLog") else None,
        image=document.get("image"),
        pids=document.get("pids") or {},
    )


def _content(user: dict[str, str], name: str, kubeconfig: Path) -> bytes:
    if f"{name}-data" in user:
        return base64.b64decode(user[f"{name}-data"])
    if name in user:
        return (kubeconfig.parent / user[name]).read_bytes()
    raise BenchFailure(f"{kubeconfig}: its user has no {name}; the bench wants an administrator with a certificate")
