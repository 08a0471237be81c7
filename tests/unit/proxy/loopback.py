"""A gate within one event loop, between an API server that plays a script and a client that sends what it is told.

Here belongs what tests of the data plane share: real sockets, real TLS, the gate's own parts put together as
`main/worker.py` does. Nothing waits longer than `PATIENCE`, and reaching it is a failure.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.credential import new_credential
from narrowgate.authenticators.port import Authenticator
from narrowgate.core.agent import AgentRecord
from narrowgate.core.approvals import ApprovalState
from narrowgate.core.body_levels import BodyLevels
from narrowgate.core.cluster import ClusterAccess
from narrowgate.core.discovery import Discovery, ResourceType
from narrowgate.core.grants import Grant
from narrowgate.core.policy_file import parse_policies
from narrowgate.core.rulebook import Rulebook, compile_policies
from narrowgate.proxy.accounts import account_for
from narrowgate.proxy.client import ClientConnection, ClientLimits
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.forward import Forwarder
from narrowgate.proxy.kept_bodies import KeptBodies
from narrowgate.proxy.lineage_writes import LineageWrites
from narrowgate.proxy.listener import Listener, ask_for_certificates, server_context
from narrowgate.proxy.masking import Masking
from narrowgate.proxy.pipeline import Keeps, Pipeline
from narrowgate.proxy.recordings import Recorder
from narrowgate.proxy.running import RunningRequests
from narrowgate.proxy.sessions import Sessions
from narrowgate.proxy.state import Loaded, ServedCluster, State
from narrowgate.proxy.task_limits import Counting
from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.proxy.waiting import HOLD_SECONDS, Waiting
from narrowgate.store.sqlite import SQLiteStore
from narrowgate.wire.http1 import RequestHead

PATIENCE = 10.0
"""Seconds after which something that should happen counts as never happening."""
UPSTREAM_TOKEN = "the-credential-no-agent-may-see"
PODS = "/api/v1/namespaces/ci/pods"
SECRETS = "/api/v1/namespaces/ci/secrets"
MADE = new_credential()

POLICY = """
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: test}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [dev]
  rules:
    - {id: pods, effect: allow, verbs: ["*"], apiGroups: [""], resources: [pods, pods/log, pods/exec, pods/proxy],
       namespaces: [ci], mountedSecrets: mask, pods: {strongerAccounts: allow}}
    - {id: as-it-is, effect: reveal, apiGroups: ["*"], resources: ["*"], approval: none}
"""

_Value = TypeVar("_Value")


def run(main: Coroutine[Any, Any, _Value]) -> _Value:
    """Run a test's coroutine on the loop that the gate runs on."""

    async def patiently() -> _Value:
        async with asyncio.timeout(6 * PATIENCE):
            return await main

    return uvloop.run(patiently())


@cache
def certificate() -> tuple[bytes, bytes]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), secret


@cache
def signing_key() -> bytes:
    """A key for the trail."""
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def tls_files(folder: Path) -> tuple[str, str]:
    """The certificate and key as files."""
    for name, content in zip(("tls.crt", "tls.key"), certificate(), strict=True):
        (folder / name).write_bytes(content)
    return str(folder / "tls.crt"), str(folder / "tls.key")


class Message(msgspec.Struct, frozen=True):
    """A request or an answer as it was read."""

    start: tuple[str, str, str]
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        return dict(self.headers)

    @property
    def status(self) -> int:
        return int(self.start[1])

    @property
    def method(self) -> str:
        return self.start[0]

    @property
    def target(self) -> str:
        return self.start[1]


class Peer:
    """One end of a connection, reading and writing HTTP/1.1 as plainly as possible."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def head(self) -> Message:
        """A head; raises asyncio.IncompleteReadError at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            block = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = block[:-4].decode("latin-1").split("\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        a, b, *c = first.split(" ", 2)
        return Message((a, b, c[0] if c else ""), headers, b"")

    async def message(self, *, bodiless: bool = False) -> Message:
        """A head with its body."""
        head = await self.head()
        fields = head.fields
        body = b""
        async with asyncio.timeout(PATIENCE):
            if bodiless or (head.start[0].startswith("HTTP/") and head.status in (101, 204, 304)):
                pass
            elif "chunked" in fields.get("transfer-encoding", ""):
                body = await self._chunks()
            elif "content-length" in fields:
                body = await self.reader.readexactly(int(fields["content-length"]))
            elif head.start[0].startswith("HTTP/"):
                body = await self.reader.read()
        return msgspec.structs.replace(head, body=body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readline()).split(b";")[0], 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        while (await self.reader.readline()).strip():
            pass
        return body

    async def ended(self) -> bool:
        """Whether the other side ends the connection without a further byte."""
        try:
            async with asyncio.timeout(PATIENCE):
                return not await self.reader.read(1)
        except (ConnectionError, ssl.SSLError):
            return True

    def cut(self) -> None:
        """End the connection at once."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()
        except (OSError, ssl.SSLError):
            return


class Script(msgspec.Struct):
    """The API server: `play` serves each connection, which is numbered from 0."""

    port: int = 0
    connections: int = 0
    received: list[Message] = []
    """Requests that `play` read with `take`."""

    async def take(self, peer: Peer) -> Message:
        request = await peer.message()
        self.received.append(request)
        return request


Serve = Callable[[ClientConnection, RequestHead], Awaitable[None]]
Play = Callable[[Script, Peer, int], Awaitable[None]]


def ok(body: bytes = b"{}", *, headers: bytes = b"") -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b" % (
        headers,
        len(body),
        body,
    )


async def always_ok(script: Script, peer: Peer, _: int) -> None:
    """Answer every request with an empty object."""
    while True:
        await script.take(peer)
        await peer.send(ok())


@asynccontextmanager
async def api_server(folder: Path, play: Play, context: ssl.SSLContext | None = None) -> AsyncIterator[Script]:
    script = Script()
    peers: set[Peer] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        peers.add(peer)
        number, script.connections = script.connections, script.connections + 1
        try:
            await play(script, peer, number)
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            peer.cut()
            return
        await peer.close()

    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls_files(folder))
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        for peer in peers:
            peer.cut()
        await asyncio.sleep(0)


def _resource(name: str, subresources: tuple[str, ...] = ()) -> ResourceType:
    every = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
    return ResourceType(
        group="",
        version="v1",
        resource=name,
        kind="",
        namespaced=True,
        verbs=every,
        subresources=dict.fromkeys(subresources, ("create", "get")),
    )


DISCOVERY = Discovery(
    (
        _resource("pods", ("log", "exec", "attach", "proxy", "portforward", "ephemeralcontainers")),
        _resource("secrets"),
        _resource("serviceaccounts", ("token",)),
        msgspec.structs.replace(_resource("certificatesigningrequests"), group="certificates.k8s.io", namespaced=False),
    )
)
AGENT = AgentRecord(
    name="ci",
    owner="person:alice",
    purpose="test",
    cluster="dev",
    credential_id=MADE.id,
    credential_hash=MADE.hash,
    created_at=0.0,
    expires_at=4_000_000_000.0,
)


def access_to(script: Script, **more: Any) -> ClusterAccess:
    """How the gate reaches the scripted API server."""
    return ClusterAccess(
        **{
            "name": "dev",
            "host": "127.0.0.1",
            "port": script.port,
            "certificate_authority": certificate()[0],
            "token": UPSTREAM_TOKEN,
            **more,
        }
    )


def rulebook(policy: str = POLICY) -> Rulebook:
    return compile_policies(parse_policies(policy, "test.yaml"), 1)


class Kept(msgspec.Struct, frozen=True):
    """How much of what is kept, and by whom."""

    levels: BodyLevels
    recorder: Recorder | None = None

    def bodies(self, masking: Masking, trail: TrailWriter) -> KeptBodies:
        return KeptBodies(self.levels, masking, trail, self.recorder)


class InProcess:
    """The running gate and what tests look at."""

    def __init__(
        self,
        folder: Path,
        script: Script,
        limits: ClientLimits,
        connections: int,
        serve: Serve | None,
        hold_seconds: float,
        sessions: Sessions,
        kept: Kept | None,
        *,
        places_pods: bool = False,
    ) -> None:
        self.folder = folder
        self.cluster = Cluster(access_to(script))
        self.cluster.discovery = DISCOVERY
        served = ServedCluster(self.cluster, account_for(self.cluster, lambda path: Path(path).read_text()))
        self.state = State({"dev": served})
        self.stamp = 0
        self.rulebook = rulebook()
        self.trail = TrailWriter.open(folder / "trail", "gate-0", signing_key())
        self.running = RunningRequests(self.state)
        self.store = SQLiteStore(folder / "gate.db")
        self.waiting = Waiting(self.state, self.store, hold_seconds)
        self.counting = Counting(self.store.task_limits, "gate-0-test")
        masking = Masking(bytes(32))
        lineage = LineageWrites(self.store.lineage, ["dev"]) if places_pods else None
        forwarder = Forwarder(self.running, masking, sessions, lineage)
        keeps = Keeps(bodies=kept.bodies(masking, self.trail)) if kept is not None else None
        self.pipeline = Pipeline(self.state, self.trail, forwarder, self.waiting, self.counting, keeps=keeps)
        self.listener = Listener(serve or self.pipeline.serve, self.pipeline.refuse_head, limits, connections)
        self.port = 0
        self.agent = AGENT
        self.authenticator: Callable[[AgentRecord], Authenticator] = lambda agent: AgentCredentials.of([agent])
        """Who is believed, made anew with each snapshot."""
        self.grants: dict[str, Grant] = {}
        """Of each task, by its id; taken over with the next snapshot."""
        self.store_hangs = False
        self.hanging = asyncio.Event()

    async def client(self, source: str = "127.0.0.1") -> Peer:
        """A connection from that address of this machine."""
        context = ssl.create_default_context(cadata=certificate()[0].decode())
        async with asyncio.timeout(PATIENCE):
            return Peer(
                *await asyncio.open_connection(
                    "127.0.0.1", self.port, ssl=context, limit=1 << 20, local_addr=(source, 0)
                )
            )

    async def change_policy(self, policy: str) -> None:
        """Put another policy in force, and wait until it is."""
        before = self.state.number
        self.rulebook = rulebook(policy)
        self.stamp += 1
        await until(lambda: self.state.number > before)

    def events(self, containing: str = "") -> list[dict[str, Any]]:
        """Audit events in the journal's files whose lines contain the text."""
        files = sorted((self.folder / "trail").rglob("*.jsonl"))
        lines = [line for file in files for line in file.read_text().splitlines()]
        documents = [json.loads(line) for line in lines if containing in line]
        return [each["event"] for each in documents if isinstance(each.get("event"), dict)]

    async def finished(self, containing: str = "") -> dict[str, Any]:
        """The last ResponseComplete event with the text, once it is in the journal."""

        def complete() -> list[dict[str, Any]]:
            return [event for event in self.events(containing) if event["stage"] == "ResponseComplete"]

        await until(lambda: bool(complete()))
        return complete()[-1]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens by itself."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 what is waited for is on disk or in another object's state
            await asyncio.sleep(0.005)


@asynccontextmanager
async def gate(
    folder: Path,
    script: Script,
    *,
    limits: ClientLimits | None = None,
    connections: int = 100,
    serve: Serve | None = None,
    authorities: str = "",
    hold_seconds: float = HOLD_SECONDS,
    sessions: Sessions | None = None,
    kept: Kept | None = None,
    places_pods: bool = False,
) -> AsyncIterator[InProcess]:
    records = sessions or Sessions(None)
    limits = limits or ClientLimits()
    made = InProcess(folder, script, limits, connections, serve, hold_seconds, records, kept, places_pods=places_pods)
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    made.port = bound.getsockname()[1]

    async def stamp() -> object:
        if made.store_hangs:
            made.hanging.set()
            await asyncio.sleep(6 * PATIENCE)
        return made.stamp, made.store.change_stamp()

    async def load() -> Loaded:
        pending = (one.id for one in made.store.approvals.open() if one.state is ApprovalState.PENDING)
        ended = made.store.session_ends.since(0)
        return Loaded(made.authenticator(made.agent), made.rulebook, made.grants, frozenset(pending), ended)

    async with asyncio.TaskGroup() as tasks:
        followers = [
            tasks.create_task(made.state.follow(stamp, load)),
            tasks.create_task(made.running.watch_over()),
            tasks.create_task(made.counting.follow()),
            tasks.create_task(made.listener.sweep()),
        ]
        await until(lambda: made.state.number > 0)
        tls = server_context(*tls_files(folder))
        if authorities:
            ask_for_certificates(tls, authorities)
        await made.listener.start(bound, tls, tasks)
        try:
            yield made
        finally:
            made.listener.stop_accepting()
            await made.listener.drain(0.0)
            made.cluster.close()
            for task in followers:
                task.cancel()
    await made.trail.close()
    made.store.close()


def request(method: str, target: str, body: bytes = b"", *headers: str, token: str = MADE.text) -> bytes:
    """A well-formed request of the agent."""
    lines = [f"{method} {target} HTTP/1.1", "Host: gate", f"Authorization: Bearer {token}", *headers]
    framed = any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers)
    if body and not framed:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


POD = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"ci"},"spec":{"containers":[]}}'
JSON = "Content-Type: application/json"
