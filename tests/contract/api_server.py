"""The real API server, spoken to directly as its admin: for tests that take it as the oracle for bodies."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import ssl
import subprocess
import sys
import urllib.parse
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import yaml

REPOSITORY = Path(__file__).parents[2]
CLUSTER_SECONDS = 1200.0
"""The first start builds Kubernetes."""
ANSWER_SECONDS = 90.0
JSON = "application/json"


class Answer(NamedTuple):
    code: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def kubeconfig() -> Path:
    """The kubeconfig of the development cluster, which is started where there is none."""
    description = REPOSITORY / ".cluster" / "cluster.json"
    if not description.is_file():
        command = [sys.executable, str(REPOSITORY / "dev" / "cluster" / "cluster.py"), "up"]
        subprocess.run(command, check=True, cwd=REPOSITORY, timeout=CLUSTER_SECONDS)
    return Path(json.loads(description.read_text())["kubeconfig"])


class ApiServer:
    """One connection to the API server and one namespace of its own, gone with it."""

    def __init__(self, folder: Path) -> None:
        document = yaml.safe_load(kubeconfig().read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        pem = folder / "admin.pem"
        pem.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        context.load_cert_chain(pem)
        url = urllib.parse.urlsplit(cluster["server"])
        assert url.hostname
        self._connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=ANSWER_SECONDS, context=context)
        self.namespace = f"bodies-{secrets.token_hex(4)}"

    def __enter__(self) -> ApiServer:
        created = self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        assert created.code == 201, created
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ask("DELETE", f"/api/v1/namespaces/{self.namespace}")
        self._connection.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Answer:
        """Send one request; a body that is not bytes is written as JSON."""
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Accept": accept} | ({} if raw is None else {"Content-Type": content_type})
        self._connection.request(method, path, raw, headers)
        response = self._connection.getresponse()
        return Answer(response.status, response.read())
