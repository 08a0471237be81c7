"""One registered cluster at run time: its connections, what its API server serves, and the gate's own calls to it."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import tempfile
from collections.abc import Callable, Sequence

import orjson

from narrowgate.core.cluster import ClusterAccess
from narrowgate.core.discovery import Discovery, parse_aggregated, parse_legacy
from narrowgate.proxy.upstream import (
    CONNECT_TIMEOUT,
    ConnectionStale,
    Pool,
    UpstreamBroken,
    UpstreamConnection,
    UpstreamUnreachable,
)
from narrowgate.wire.http1 import Framing, ResponseHead, write_request_head

DISCOVERY_SECONDS = 30.0
"""How often discovery is read again when nobody asks for something unknown."""
DISCOVERY_MIN_SECONDS = 1.0
"""Least time between two readings, however many unknown resources are asked for."""
OWN_ANSWER_LIMIT = 32 * 1024 * 1024
"""Largest answer the gate reads for itself; discovery of a cluster with a thousand CRDs is under 8 MiB."""
OWN_CALL_SECONDS = 15.0
"""For one call of the gate's own, answer included."""
ASKED_CALL_SECONDS = 60.0
"""For a call made on the way to judging a request: webhooks have a say in a dry run, and the API server's own limit for
one request is a minute (`--request-timeout`)."""
_AGGREGATED = b"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

log = logging.getLogger("narrowgate.cluster")


class ClusterNotReady(Exception):
    """The cluster cannot be served now; the message says why and is for the caller."""


def client_context(access: ClusterAccess, *, with_certificate: bool) -> ssl.SSLContext:
    """TLS towards the API server: always verified, TLS 1.2 or later, http/1.1 only.

    `with_certificate` says whether the registered client certificate is presented: beside a bearer token it must not
    be, because the API server would take the certificate's identity. Raises ssl.SSLError, OSError, ValueError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=access.certificate_authority.decode("ascii"))
    context.set_alpn_protocols(["http/1.1"])
    if with_certificate and access.client_certificate:
        _load_pair(context, access.client_certificate, access.client_key)
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a pair held in memory; the ssl module reads files only, so it gets one that exists just long enough."""
    descriptor, path = tempfile.mkstemp(prefix="narrowgate-")
    try:
        os.write(descriptor, certificate.rstrip() + b"\n" + key)
        context.load_cert_chain(path)
    finally:
        os.close(descriptor)
        os.unlink(path)


class Cluster:
    """A cluster behind the gate."""

    def __init__(self, access: ClusterAccess, *, connect_seconds: float = CONNECT_TIMEOUT) -> None:
        self.access = access
        self._connect_seconds = connect_seconds
        self.pool = self._pool(with_certificate=True)
        self.bare_pool = self._pool(with_certificate=False) if access.client_certificate else self.pool
        """Connections that present no client certificate, for requests that carry a ServiceAccount's token."""
        self.discovery: Discovery | None = None
        self.problem = "its API has not been read yet"
        self._read_at = -DISCOVERY_SECONDS
        self._reading = asyncio.Lock()
        self.own_headers: Callable[[], list[tuple[bytes, bytes]]] = list
        """What authenticates the gate's own calls; `accounts.account_for` sets it. May raise ClusterNotReady."""

    def _pool(self, *, with_certificate: bool) -> Pool:
        access = self.access
        context = client_context(access, with_certificate=with_certificate)
        server_name = access.tls_server_name or access.host
        return Pool(access.host, access.port, context, server_name, connect_seconds=self._connect_seconds)

    @property
    def name(self) -> str:
        """The registered name."""
        return self.access.name

    @property
    def host_header(self) -> bytes:
        """What the Host header upstream says."""
        host = f"[{self.access.host}]" if ":" in self.access.host else self.access.host
        return f"{host}:{self.access.port}".encode("ascii")

    # --- discovery

    def known(self) -> Discovery:
        """What the API server serves. Raises ClusterNotReady while nothing is known."""
        if self.discovery is None:
            raise ClusterNotReady(f"cluster {self.name!r} cannot be served: {self.problem}")
        return self.discovery

    async def refresh_discovery(self, *, at_most_every: float = DISCOVERY_MIN_SECONDS) -> None:
        """Read discovery again unless that was done just now. Failure keeps what is known and notes the problem."""
        loop = asyncio.get_running_loop()
        async with self._reading:
            if loop.time() - self._read_at < at_most_every:
                return
            try:
                async with asyncio.timeout(OWN_CALL_SECONDS):
                    discovery = await self._read_discovery()
            except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady, TimeoutError, ValueError) as error:
                self.problem = str(error) or "its API server did not answer in time"
                log.warning("cluster %s: discovery failed: %s", self.name, self.problem)
            else:
                self.problem = ""
                if discovery != self.discovery:
                    self.discovery = discovery
            self._read_at = loop.time()

    async def follow_discovery(self) -> None:
        """Keep discovery fresh for as long as the gate runs."""
        while True:
            await self.refresh_discovery(at_most_every=DISCOVERY_SECONDS / 2)
            await asyncio.sleep(DISCOVERY_SECONDS if self.discovery is not None else DISCOVERY_MIN_SECONDS)

    async def _read_discovery(self) -> Discovery:
        head, api = await self._get("/api", _AGGREGATED)
        if b"as=APIGroupDiscoveryList" in head.field(b"content-type"):
            _, apis = await self._get("/apis", _AGGREGATED)
            return parse_aggregated(api, apis)
        return await self._read_legacy_discovery(api)

    async def _read_legacy_discovery(self, api: bytes) -> Discovery:
        _, apis = await self._get("/apis", b"application/json")
        paths = [f"/api/{version}" for version in orjson.loads(api).get("versions", [])]
        for group in orjson.loads(apis).get("groups", []):
            paths += [f"/apis/{version['groupVersion']}" for version in group.get("versions", [])]
        documents: list[bytes] = []
        for path in paths:
            status, _, body = await self.call("GET", path, accept=b"application/json")
            if status == 200:
                documents.append(body)
            # An aggregated API that is down answers 503 here; its resources stay unknown until it is back.
        return parse_legacy(documents)

    async def _get(self, path: str, accept: bytes) -> tuple[ResponseHead, bytes]:
        status, head, body = await self.call("GET", path, accept=accept)
        if status != 200:
            raise ClusterNotReady(f"the API server answers {status} to GET {path} with the registered credential")
        return head, body

    # --- the gate's own calls

    async def call(
        self,
        method: str,
        path: str,
        *,
        accept: bytes = b"application/json",
        body: bytes = b"",
        content_type: bytes = b"application/json",
        headers: Sequence[tuple[bytes, bytes]] | None = None,
    ) -> tuple[int, ResponseHead, bytes]:
        """Make one call, authorised by `headers` (a caller's request needs it), or as the gate.

        Raises UpstreamUnreachable, UpstreamBroken, also when no answer comes in time.
        """
        authorisation = self.own_headers() if headers is None else list(headers)
        lines = [(b"host", self.host_header), (b"accept", accept), (b"user-agent", b"narrowgate"), *authorisation]
        if body:
            lines.append((b"content-type", content_type))
        target = (self.access.path_prefix + path).encode("ascii")
        request = write_request_head(method, target, lines, Framing(len(body)))
        bears_token = any(name == b"authorization" for name, _ in authorisation)
        seconds = OWN_CALL_SECONDS if headers is None else ASKED_CALL_SECONDS
        try:
            async with asyncio.timeout(seconds):
                return await self._whole_answer(self.pool_for(bears_token=bears_token), method, request, body)
        except TimeoutError:
            raise UpstreamBroken(f"the API server did not answer {method} {path} within {seconds:.0f} s") from None

    async def opened(
        self, path: str, *, accept: bytes = b"application/json"
    ) -> tuple[UpstreamConnection, ResponseHead]:
        """GET `path` as the gate, for an answer that is read as it comes; the connection is the caller's to release or
        abort. Raises UpstreamUnreachable, UpstreamBroken, ClusterNotReady.
        """
        authorisation = self.own_headers()
        lines = [(b"host", self.host_header), (b"accept", accept), (b"user-agent", b"narrowgate")]
        target = (self.access.path_prefix + path).encode("ascii")
        request = write_request_head("GET", target, [*lines, *authorisation], Framing(0))
        bears_token = any(name == b"authorization" for name, _ in authorisation)
        return await self.exchange(self.pool_for(bears_token=bears_token), "GET", request, b"")

    async def _whole_answer(
        self, pool: Pool, method: str, request: bytes, body: bytes
    ) -> tuple[int, ResponseHead, bytes]:
        connection, head = await self.exchange(pool, method, request, body)
        try:
            answer = await connection.read_whole(OWN_ANSWER_LIMIT)
        except BaseException:
            connection.abort()
            raise
        connection.release()
        return head.status, head, answer

    def pool_for(self, *, bears_token: bool) -> Pool:
        """The connections to use: without the client certificate when the request has a token of its own."""
        return self.bare_pool if bears_token else self.pool

    async def exchange(
        self, pool: Pool, method: str, request: bytes, body: bytes, *, once: bool = False
    ) -> tuple[UpstreamConnection, ResponseHead]:
        """Send a request and return with the answer's head; the connection is the caller's to release or abort.

        A GET whose kept connection turns out closed is sent once more on a new one; nothing else is ever repeated, and
        not that where it may go only `once`: it gets a new connection from the beginning.
        """
        connection = None if once else pool.kept()
        while True:
            kept = connection is not None
            if connection is None:
                connection = await pool.connect()
            try:
                connection.send(method, request, body)
                return connection, await connection.response_head()
            except ConnectionStale:
                connection.abort()
                if not kept or method not in ("GET", "HEAD"):
                    raise
                connection = None
            except BaseException:
                connection.abort()
                raise

    def close(self) -> None:
        """Close every connection."""
        self.pool.close()
        self.bare_pool.close()
