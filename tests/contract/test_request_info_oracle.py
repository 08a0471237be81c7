"""The API server's audit log grades the gate's reading of requests.

Thousands of request lines go to a real API server as raw bytes. It writes down what it took each for; the gate's
`request_info` must say the same or refuse. What `rebuild` makes of a target goes there as well and must be taken for
the same. All are sent as an identity without any right, so nothing is read, changed or destroyed; reading comes before
authorization, and the audit log shows it.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from tests.contract.request_targets import Case, generate

from narrowgate.core.discovery import Discovery, parse_aggregated
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo, request_info
from narrowgate.core.target import Target, parse_target, rebuild
from narrowgate.core.understand import understand

REPOSITORY = Path(__file__).parents[2]
CASES = 6000
SEED = 20261121
CONNECTIONS = 6
CLUSTER_SECONDS = 1200.0
ANSWER_SECONDS = 90.0
AUDIT_SECONDS = 60.0
# Less would mean that the agreement was bought by refusing.
LEAST_UNDERSTOOD = 0.6
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Facts(NamedTuple):
    """What both sides say about a request."""

    verb: str
    resource: str = ""
    namespace: str = ""
    name: str = ""
    api_group: str = ""
    api_version: str = ""
    subresource: str = ""


class Reading(NamedTuple):
    """What the gate makes of a case: the target and facts, or its refusal (status and words)."""

    target: Target | None
    facts: Facts | None
    refusal: str


class Server(NamedTuple):
    """A real API server, the administrator's certificate, and its audit log."""

    host: str
    port: int
    tls: ssl.SSLContext
    audit_log: Path


class Connection:
    """Raw request bytes out, status codes in; connects again when the server has hung up."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket: ssl.SSLSocket | None = None
        self._buffer = b""

    def status(self, request: bytes, *, bodyless: bool) -> int:
        return self.exchange(request, bodyless=bodyless)[0]

    def exchange(self, request: bytes, *, bodyless: bool = False) -> tuple[int, bytes]:
        fresh = self._socket is None
        try:
            return self._exchange(request, bodyless)
        except (ConnectionError, EOFError):
            self.close()
            if fresh:
                raise
        return self._exchange(request, bodyless)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def _exchange(self, request: bytes, bodyless: bool) -> tuple[int, bytes]:
        if self._socket is None:
            plain = socket.create_connection((self._server.host, self._server.port), timeout=ANSWER_SECONDS)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = self._server.tls.wrap_socket(plain, server_hostname=self._server.host)
        self._socket.sendall(request)
        head = self._until(b"\r\n\r\n").lower()
        status = int(head.split(b" ", 2)[1])
        body = b""
        if not bodyless and status >= 200 and status not in (204, 304):
            body = self._body(head)
        if b"\nconnection: close" in head:
            self.close()
        return status, body

    def _body(self, head: bytes) -> bytes:
        if b"\ncontent-length:" in head:
            return self._exactly(int(head.split(b"\ncontent-length:", 1)[1].split(b"\r", 1)[0]))
        if b"\ntransfer-encoding: chunked" not in head:
            return self._rest()
        body = b""
        while (size := int(self._until(b"\r\n"), 16)) > 0:
            body += self._exactly(size + 2)[:-2]
        self._until(b"\r\n")
        return body

    def _rest(self) -> bytes:
        body = b""
        try:
            while True:
                body += self._exactly(len(self._buffer) or 1)
        except EOFError:
            self.close()
        return body

    def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            self._receive()
        found, _, self._buffer = self._buffer.partition(end)
        return found + end

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _receive(self) -> None:
        assert self._socket is not None
        received = self._socket.recv(65536)
        if not received:
            raise EOFError
        self._buffer += received


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    description = REPOSITORY / ".cluster" / "cluster.json"
    if not description.is_file():
        command = [sys.executable, str(REPOSITORY / "dev" / "cluster" / "cluster.py"), "up"]
        subprocess.run(command, check=True, cwd=REPOSITORY, timeout=CLUSTER_SECONDS)
    document = json.loads(description.read_text())
    if not document["auditLog"]:
        pytest.skip("this cluster's audit log cannot be read: unset KUBECONFIG to test against a cluster of our own")
    kubeconfig = yaml.safe_load(Path(document["kubeconfig"]).read_text())
    user = kubeconfig["users"][0]["user"]
    folder = tmp_path_factory.mktemp("oracle")
    for file, key in (("tls.crt", "client-certificate-data"), ("tls.key", "client-key-data")):
        (folder / file).write_bytes(base64.b64decode(user[key]))
    tls = ssl.create_default_context(cafile=document["ca"])
    tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    host, port = document["server"].removeprefix("https://").rsplit(":", 1)
    return Server(host, int(port), tls, Path(document["auditLog"]))


@pytest.fixture(scope="module")
def discovery(server: Server) -> Discovery:
    connection = Connection(server)
    documents = []
    for path in ("/api", "/apis"):
        request = f"GET {path} HTTP/1.1\r\nHost: oracle\r\nAccept: {AGGREGATED}\r\n\r\n"
        status, body = connection.exchange(request.encode())
        assert status == 200
        documents.append(body)
    connection.close()
    return parse_aggregated(*documents)


def test_request_info_equals_the_audit_log_of_the_api_server(
    server: Server, discovery: Discovery, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = generate(CASES, SEED, discovery)
    readings = [read(case) for case in cases]
    rebuilt = [Case(c.method, rebuild(r.target)) for c, r in zip(cases, readings, strict=True) if r.target is not None]
    of_rebuilt = [reading for reading in readings if reading.target is not None]

    statuses, audited = ask(server, cases + rebuilt)
    differences = [
        f"{case.method} {case.raw!r}: the gate says {reading.facts or reading.refusal}, "
        f"the API server {audited.get(number)} (status {statuses[number]})"
        for number, (case, reading) in enumerate(zip(cases + rebuilt, readings + of_rebuilt, strict=True))
        if not agree(reading, audited.get(number), statuses[number])
    ]

    understood = Counter(outcome(case, discovery) for case in cases)
    share = understood["understood"] / len(cases)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(cases)} cases, {share:.0%} understood {dict(understood)}; {len(rebuilt)} sent rebuilt as well; "
            f"{len(audited)} audit entries, answers {dict(Counter(statuses.values()))}\n"
        )
    assert not differences, "\n".join([f"{len(differences)} differences:", *differences[:20]])
    assert share > LEAST_UNDERSTOOD
    assert len(cases) >= 5000


def read(case: Case) -> Reading:
    """The gate's reading, without discovery: what it takes the request for, wherever it does at all."""
    try:
        target = parse_target(case.raw)
        return Reading(target, facts_of(request_info(case.method, target)), "")
    except Malformed as refusal:
        return Reading(None, None, f"{refusal.code} {refusal.message}")


def outcome(case: Case, discovery: Discovery) -> str:
    """What the gate would do with the case, discovery asked: a word to count by."""
    try:
        intent = understand(case.method, parse_target(case.raw), discovery, "oracle")
    except Malformed as refusal:
        return str(refusal.code)
    assert intent.info.verb
    return "understood"


def facts_of(info: RequestInfo) -> Facts:
    if not info.is_resource_request:
        return Facts(info.verb)
    return Facts(
        info.verb, info.resource, info.namespace, info.name, info.api_group, info.api_version, info.subresource
    )


def agree(reading: Reading, audited: Facts | None, status: int) -> bool:
    """A refusal agrees with anything. What the API server did not audit it has to have refused as malformed."""
    if reading.facts is None:
        return True
    if audited is None:
        return status == 400
    return reading.facts == audited


def ask(server: Server, cases: list[Case]) -> tuple[dict[int, int], dict[int, Facts]]:
    """Send all cases; status codes and what the audit log says, both by number of the case."""
    run = f"oracle-{secrets.token_hex(8)}"
    started = time.time()
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(cases)):
        left.put(number)
    statuses: dict[int, int] = {}
    failures: list[Exception] = []

    def work() -> None:
        connection = Connection(server)
        try:
            while not failures:
                number = left.get_nowait()
                case = cases[number]
                statuses[number] = connection.status(
                    request_bytes(case, f"{run}-{number}"), bodyless=case.method == "HEAD"
                )
        except queue.Empty:
            pass
        except (OSError, EOFError, ValueError) as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    assert len(statuses) == len(cases)
    return statuses, audit_entries(server.audit_log, run, started, f"{run}-{len(cases) - 1}")


def request_bytes(case: Case, audit_id: str) -> bytes:
    """One request of somebody who may do nothing, marked so that its audit entry can be found."""
    headers = (
        f" HTTP/1.1\r\nHost: oracle\r\nAudit-ID: {audit_id}\r\nImpersonate-User: system:anonymous\r\n"
        "Accept: application/json\r\nContent-Length: 0\r\n\r\n"
    )
    return case.method.encode() + b" " + case.raw + headers.encode()


def audit_entries(audit_log: Path, run: str, started: float, last: str) -> dict[int, Facts]:
    """All entries of this run, from the log and from what was rotated away meanwhile."""
    deadline = time.monotonic() + AUDIT_SECONDS
    while True:
        lines = [line for file in logs_since(audit_log, started) for line in marked_lines(file, run.encode())]
        complete = any(last.encode() in line for line in lines)
        if complete or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    entries: dict[int, Facts] = {}
    for line in lines:
        event: dict[str, Any] = json.loads(line)
        if event["stage"] == "RequestReceived":
            entries[int(event["auditID"].rsplit("-", 1)[1])] = facts_of_event(event)
    return entries


def logs_since(audit_log: Path, started: float) -> list[Path]:
    """The log, and rotated ones (`audit-<time>.log`) written to after `started`."""
    files = [audit_log, *audit_log.parent.glob(f"{audit_log.stem}-*{audit_log.suffix}")]
    return [file for file in files if file.exists() and os.stat(file).st_mtime >= started - 1]


def marked_lines(file: Path, mark: bytes) -> list[bytes]:
    with file.open("rb") as lines:
        return [line for line in lines if mark in line and line.endswith(b"\n")]


def facts_of_event(event: dict[str, Any]) -> Facts:
    reference = event.get("objectRef")
    if reference is None:
        return Facts(event["verb"])
    return Facts(
        event["verb"],
        reference.get("resource", ""),
        reference.get("namespace", ""),
        reference.get("name", ""),
        reference.get("apiGroup", ""),
        reference.get("apiVersion", ""),
        reference.get("subresource", ""),
    )
