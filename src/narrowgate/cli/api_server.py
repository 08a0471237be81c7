"""A handful of requests to a registered API server, as `clusters check` and `up` make them: standard library, one
connection, verified TLS, and every failure worded for whoever registered the cluster.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import ssl
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from narrowgate.cli.failure import Failed
from narrowgate.core.cluster import ClusterAccess

TIMEOUT = 10.0
"""Seconds for connecting and for each answer; the calls made here are answered in milliseconds."""

LARGEST_ANSWER = 64 << 20
"""Bytes of one answer. Discovery of a cluster with a thousand custom resources takes some 5 MB."""


class Answer(msgspec.Struct, frozen=True):
    """What the API server said: HTTP status, the bytes, and the server's clock as its Date header tells it."""

    status: int
    content: bytes
    date: str
    audit_id: str = ""
    """The id under which the server says its audit log knows this request."""

    @property
    def document(self) -> Any:
        """The JSON document; None where the bytes are none."""
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, ValueError):
            return None

    @property
    def message(self) -> str:
        """The message of a Status, or the bare status code."""
        document = self.document
        said = document.get("message") if isinstance(document, dict) else None
        return str(said) if said else f"HTTP {self.status}"


class ApiServer:
    """One connection to an API server. Use as a context manager."""

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access
        self._where = f'cluster "{access.name}" at {access.host}:{access.port}'
        self._connection: http.client.HTTPSConnection | None = None
        self.audit_id = str(uuid.uuid4())
        """What requests here ask to be known by in the server's audit log, as the gate does with each of its own."""

    def __enter__(self) -> ApiServer:
        """Connect. Raises Failed, saying which part did not work: name, port, TLS."""
        name = self._access.tls_server_name
        connection = _Connection(self._access.host, self._access.port, name, timeout=TIMEOUT, context=self._tls())
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message
            to_do = (
                "register the CA that signed its certificate, or tls-server-name if the certificate is for another name"
            )
            raise Failed(f"its certificate is not trusted ({why})", self._where, to_do) from error
        except ssl.SSLError as error:
            why = (error.reason or str(error)).lower().replace("_", " ")
            raise Failed(f"TLS failed ({why})", self._where, "see that this is the API server's https port") from error
        except TimeoutError as error:
            raise Failed(
                f"no answer within {TIMEOUT:g} s", self._where, "see that the network lets you there"
            ) from error
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise Failed(
                f"cannot connect ({why})", self._where, "see that the cluster runs and the address is right"
            ) from error
        self._connection = connection
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def get(self, path: str, accept: str = "application/json") -> Answer:
        """GET `path`. Raises Failed when no answer comes."""
        return self._send("GET", path, None, accept)

    def create(self, path: str, document: object) -> Answer:
        """POST a document. Raises Failed when no answer comes."""
        return self._send("POST", path, msgspec.json.encode(document), "application/json")

    def _send(self, method: str, path: str, body: bytes | None, accept: str) -> Answer:
        assert self._connection is not None, "used outside of `with`"
        headers = {"Accept": accept, "User-Agent": "narrowgate-cli", "Audit-ID": self.audit_id, **self._credential()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            self._connection.request(method, self._access.path_prefix + path, body, headers)
            response = self._connection.getresponse()
            content = response.read(LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            why = (str(error) or type(error).__name__).lower()
            raise Failed(
                f"{method} {path} was not answered ({why})", self._where, "see the API server's log"
            ) from error
        told = response.headers
        return Answer(response.status, content, told.get("Date", ""), told.get("Audit-Id", ""))

    def _credential(self) -> dict[str, str]:
        access = self._access
        token = access.token
        if access.token_file:
            token = Path(access.token_file).read_text(encoding="utf-8").strip()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _tls(self) -> ssl.SSLContext:
        access = self._access
        context = ssl.create_default_context(cadata=access.certificate_authority.decode())
        if access.client_certificate:
            with held_in_file(access.client_certificate) as certificate, held_in_file(access.client_key) as key:
                context.load_cert_chain(certificate, key)
        return context


class _Connection(http.client.HTTPSConnection):
    """HTTPS under the name that the certificate must carry, where that is not the host connected to."""

    def __init__(self, host: str, port: int, server_name: str, *, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._server_name = server_name or host
        self._tls_context = context

    def connect(self) -> None:
        """Connect and shake hands."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls_context.wrap_socket(self.sock, server_hostname=self._server_name)


@contextlib.contextmanager
def held_in_file(content: bytes) -> Iterator[str]:
    """A file that only we can read, for as long as OpenSSL needs one: it takes certificates from nowhere else."""
    descriptor, name = tempfile.mkstemp(prefix="narrowgate-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        yield name
    finally:
        Path(name).unlink()


def clock_ahead(answer: Answer, now: float | None = None) -> float | None:
    """Seconds by which the server's clock is ahead of ours (its Date has whole seconds); None where it tells none."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(answer.date).timestamp() - (time.time() if now is None else now)
    except (TypeError, ValueError):
        return None
