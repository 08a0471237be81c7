"""What TLS proves of a client at the data port, and for which requests it counts."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from pathlib import Path

import msgspec
import pytest
from tests.signed_certificates import Authority, Made
from tests.unit.proxy.loopback import (
    AGENT,
    MADE,
    PATIENCE,
    PODS,
    POLICY,
    InProcess,
    Peer,
    Script,
    always_ok,
    api_server,
    certificate,
    gate,
    run,
    until,
)

from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.bearer_and_certificate import BearerAndCertificate
from narrowgate.authenticators.certificate_names import CertificateNames
from narrowgate.authenticators.certificate_rule import CertificateRule, NameFrom
from narrowgate.authenticators.client_certificates import ClientCertificates
from narrowgate.core.agent import AgentRecord

CA = Authority("prod")
BOT, OTHER = "spiffe://prod/bot", "spiffe://prod/other"
RULES = CertificateNames(
    [CertificateRule(certificate_authority=CA.pem, name_from=NameFrom.SPIFFE, trust_domain="prod")]
)
PLAIN = f"GET {PODS} HTTP/1.1\r\nHost: gate\r\n\r\n".encode()
BEARING = PLAIN.replace(b"Host: gate\r\n", f"Host: gate\r\nAuthorization: Bearer {MADE.text}\r\n".encode())


def believed(agent: AgentRecord) -> BearerAndCertificate:
    return BearerAndCertificate(AgentCredentials.of([agent]), ClientCertificates(RULES, [agent]))


def client_of(uri: str = BOT, *, lasts: float = 3600.0) -> Made:
    now = int(time.time())
    return CA.client(uri, not_before=now - 60, not_after=now + lasts)


class Client:
    """A blocking client, because only those can resume a TLS session."""

    def __init__(self, port: int, folder: Path, made: Made | None, version: ssl.TLSVersion) -> None:
        self._port = port
        self.session: ssl.SSLSession | None = None
        """Of the last connection, to be resumed."""
        self.reused = False
        self._context = ssl.create_default_context(cadata=certificate()[0].decode())
        self._context.maximum_version = version
        if made is not None:
            (folder / "client.pem").write_text(made.pair)
            self._context.load_cert_chain(folder / "client.pem")

    async def ask(self, sent: bytes = PLAIN, session: ssl.SSLSession | None = None) -> tuple[int, str]:
        """Status and message of one request on a connection of its own."""
        return await asyncio.to_thread(self._ask, sent, session)

    def _ask(self, sent: bytes, session: ssl.SSLSession | None) -> tuple[int, str]:
        raw = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)
        with self._context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as tls:
            tls.sendall(sent)
            answer = b""
            while b"\r\n\r\n" not in answer or not answer.rstrip().endswith(b"}"):
                more = tls.recv(65536)
                if not more:
                    break
                answer += more
            if not answer:
                raise ConnectionResetError("no answer")
            self.session, self.reused = tls.session, bool(tls.session_reused)
        body = json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}")
        return int(answer.split(b" ")[1]), str(body.get("message", ""))


async def believing(made: InProcess, *names: str) -> None:
    """Put an authenticator in force for the agent with these certificate names."""
    made.agent = msgspec.structs.replace(AGENT, certificate_names=names)
    made.authenticator = believed
    await made.change_policy(POLICY)


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_a_client_certificate_is_the_agent_that_it_stands_for(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async def main() -> tuple[int, str]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server, authorities=CA.pem) as made:
            await believing(made, BOT)
            status, _ = await Client(made.port, tmp_path, client_of(), version).ask()
            return status, (await made.finished("pods"))["user"]["username"]

    assert run(main()) == (200, "agent:ci")


def test_who_brings_none_is_served_by_the_bearer_credential_as_before(tmp_path: Path) -> None:
    async def main() -> list[int]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server, authorities=CA.pem) as made:
            await believing(made, BOT)
            client = Client(made.port, tmp_path, None, ssl.TLSVersion.TLSv1_3)
            return [(await client.ask(sent))[0] for sent in (BEARING, PLAIN)]

    assert run(main()) == [200, 401]


def test_a_certificate_of_another_ca_ends_the_handshake(tmp_path: Path) -> None:
    async def main() -> int:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server, authorities=CA.pem) as made:
            await believing(made, BOT)
            foreign = Authority("prod").client(BOT, not_before=0, not_after=4e9)
            # Whether the alert or the end of the connection is seen first is the network's business.
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await Client(made.port, tmp_path, foreign, ssl.TLSVersion.TLSv1_3).ask()
            return len(server.received)

    assert run(main()) == 0


def test_without_rules_no_certificate_is_asked_for(tmp_path: Path) -> None:
    async def main() -> int:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            await believing(made, BOT)
            return (await Client(made.port, tmp_path, client_of(), ssl.TLSVersion.TLSv1_3).ask())[0]

    assert run(main()) == 401


def test_the_same_bytes_on_another_connection_are_whoever_that_one_is(tmp_path: Path) -> None:
    async def main() -> list[int]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server, authorities=CA.pem) as made:
            await believing(made, BOT)
            clients = [Client(made.port, tmp_path, client_of(uri), ssl.TLSVersion.TLSv1_3) for uri in (BOT, OTHER)]
            nobody = Client(made.port, tmp_path, None, ssl.TLSVersion.TLSv1_3)
            asked = [clients[0], clients[1], nobody, clients[0], clients[1], nobody]
            return [(await each.ask())[0] for each in asked]

    assert run(main()) == [200, 401, 401, 200, 401, 401]


@VERSIONS
def test_a_resumed_session_is_still_who_it_was_and_ends_with_its_agent(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async def main() -> list[tuple[int, bool]]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server, authorities=CA.pem) as made:
            await believing(made, BOT)
            client = Client(made.port, tmp_path, client_of(), version)
            found = []
            for names in ((BOT,), (BOT,), ()):
                await believing(made, *names)
                status, message = await client.ask(session=client.session)
                found.append((status, client.reused))
            assert "--certificate-name" in message
            return found

    assert run(main()) == [(200, False), (200, True), (401, True)]


def test_a_watch_ends_when_its_certificate_does(tmp_path: Path) -> None:
    async def watched(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.ended()

    async def main() -> bytes:
        async with api_server(tmp_path, watched) as server, gate(tmp_path, server, authorities=CA.pem) as made:
            await believing(made, BOT)
            context = ssl.create_default_context(cadata=certificate()[0].decode())
            (tmp_path / "client.pem").write_text(client_of(lasts=3).pair)
            context.load_cert_chain(tmp_path / "client.pem")
            client = Peer(*await asyncio.open_connection("127.0.0.1", made.port, ssl=context))
            await client.send(PLAIN.replace(b"pods", b"pods?watch=1"))
            await until(lambda: len(made.running) == 1)
            answer = await client.message()
            await client.close()
            return answer.body

    # On one line: there are clients that read a watch line by line.
    (line,) = run(main()).splitlines()
    body = json.loads(line)
    assert body["type"] == "ERROR"
    assert "expired" in body["object"]["message"]


def test_it_says_whether_connections_are_taken(tmp_path: Path) -> None:
    async def scenario() -> list[bool]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            said = [made.listener.is_serving]
            made.listener.stop_accepting()
            return [*said, made.listener.is_serving]

    assert run(scenario()) == [True, False]
