"""Real databases by forwarded ports: what their clients said and heard is in the recording, byte for byte.

PostgreSQL and Redis serve in pods; psql, pgbench and redis-cli ask them through the gate. A witness between the client
and kubectl keeps what it saw.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dev.databases import program
from tests.e2e.databases import (
    PASSWORD,
    POSTGRESQL_PORT,
    REDIS_PORT,
    USER,
    Conversation,
    Witness,
    postgresql,
    redis,
    witnessed,
)
from tests.e2e.gate import ALLOW_ALL_RULES, Cluster, Gate
from tests.e2e.kubectl import TRANSPORTS, Kubectl
from tests.e2e.recorded import Recorded, Shelf
from tests.e2e.terminal import MEBIBYTE, noise
from tests.e2e.workloads import yaml_of

from narrowgate.core.recording import Kind
from narrowgate.core.stream_events import Direction, PortClosed, PortOpened

READY_SECONDS = 180
CLIENT_SECONDS = 300.0
COPIED = 50 * MEBIBYTE
CLIENTS = 8
TRANSACTIONS = 25
"""Of each client."""
PIPED = 20_000
"""Commands of each client that waits for no answer before the next."""


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    name = new_namespace("databases")
    here = direct.within(name)
    here.must("apply", "-f", "-", stdin=yaml_of(postgresql(cluster), redis(cluster)))
    here.must(
        "wait", "--for=condition=Ready", "pod/postgresql", "pod/redis", f"--timeout={READY_SECONDS}s",
        seconds=READY_SECONDS + 30,
    )  # fmt: skip
    return name


@pytest.fixture(scope="module")
def gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig)}
    settings = {"audit": {"portForwards": "RequestResponse"}}
    gate = Gate(tmp_path_factory.mktemp("databases-gate"), [entry], settings=settings)
    gate.agent("all", ALLOW_ALL_RULES)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture
def shelf(gate: Gate) -> Shelf:
    shelf = Shelf(gate)
    shelf.pass_over()
    return shelf


@pytest.fixture(params=list(TRANSPORTS))
def here(gate: Gate, cluster: Cluster, namespace: str, request: pytest.FixtureRequest, tmp_path: Path) -> Kubectl:
    agent = gate.agent("all", ALLOW_ALL_RULES)
    return Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path).within(namespace).using(TRANSPORTS[request.param])


def ran(witness: Witness, tool: str, *arguments: str, stdin: bytes = b"") -> bytes:
    """What a client prints that goes to the witness; its failure is said at once."""
    at = ["-h", "127.0.0.1", "-p", str(witness.port)]
    if tool != "redis-cli":
        at += ["-U", USER]
    done = subprocess.run(
        [str(program(tool)), *at, *arguments],
        input=stdin,
        capture_output=True,
        timeout=CLIENT_SECONDS,
        env={"PGPASSWORD": PASSWORD, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
    )
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def psql(witness: Witness, *commands: str, stdin: bytes = b"") -> bytes:
    each = [part for command in commands for part in ("-c", command)]
    return ran(witness, "psql", "-X", "-q", "-A", "-t", "-d", "postgres", *each, stdin=stdin)


def digests(conversations: list[Conversation]) -> Counter[tuple[int, str, int, str]]:
    """What tells conversations apart, in whatever order they were."""
    return Counter(
        (len(said), hashlib.sha256(said).hexdigest(), len(heard), hashlib.sha256(heard).hexdigest())
        for said, heard in conversations
    )


def recorded_conversations(found: Recorded) -> list[Conversation]:
    return [
        Conversation(found.carried(Direction.TO_POD, number), found.carried(Direction.FROM_POD, number))
        for number in (opened.connection for opened in found.all_of(PortOpened))
    ]


def compared(found: Recorded, witness: Witness, port: int) -> list[Conversation]:
    """The conversations, which are the same in the recording and for the witness."""
    seen = witness.conversations()
    assert found.header.kind is Kind.PORT_FORWARD
    assert {opened.port for opened in found.all_of(PortOpened)} == {port}
    assert digests(recorded_conversations(found)) == digests(seen)
    assert {closed.connection for closed in found.all_of(PortClosed)} == {
        opened.connection for opened in found.all_of(PortOpened)
    }
    return seen


def test_what_psql_asked_and_was_answered_is_there(here: Kubectl, shelf: Shelf) -> None:
    with witnessed(here, "postgresql", POSTGRESQL_PORT) as witness:
        answer = psql(
            witness,
            "create temporary table kept (number int, said text, raw bytea)",
            "insert into kept select n, 'row ' || n, decode(md5(n::text), 'hex') from generate_series(1, 500) n",
            "select count(*), sum(number), min(said) from kept",
            "select said, raw from kept order by number",
        )
        assert answer.splitlines()[0] == b"500|125250|row 1"
        # A connection that fails is a conversation like others.
        with pytest.raises(AssertionError, match="does not exist"):
            psql(witness, "select * from no_such_thing")
    said = compared(shelf.ports(), witness, POSTGRESQL_PORT)
    assert any(b"generate_series(1, 500)" in each.said and b"row 499" in each.heard for each in said)
    assert any(b"no_such_thing" in each.heard for each in said)
    assert all(PASSWORD.encode() not in each.said for each in said)


def test_fifty_megabytes_that_were_copied_are_there_both_ways(here: Kubectl, shelf: Shelf, tmp_path: Path) -> None:
    # Lines that differ, and are nothing that any end could pack or mistake.
    text = noise(COPIED // 2, seed=11).hex()
    content = "".join(f"{text[at : at + 96]}\n" for at in range(0, len(text), 96)).encode()
    (tmp_path / "rows").write_bytes(content)
    with witnessed(here, "postgresql", POSTGRESQL_PORT) as witness:
        psql(witness, "drop table if exists copied", "create unlogged table copied (line text)")
        psql(witness, f"\\copy copied from '{tmp_path}/rows'")
        psql(witness, f"\\copy copied to '{tmp_path}/back'")
        psql(witness, "drop table copied")
    assert hashlib.sha256((tmp_path / "back").read_bytes()).digest() == hashlib.sha256(content).digest()
    said = compared(shelf.ports(), witness, POSTGRESQL_PORT)
    assert max(len(each.said) for each in said) >= COPIED
    assert max(len(each.heard) for each in said) >= COPIED


def test_connections_at_the_same_time_are_there_each_for_itself(here: Kubectl, shelf: Shelf) -> None:
    with witnessed(here, "postgresql", POSTGRESQL_PORT) as witness:
        ran(witness, "pgbench", "-i", "-q", "-s", "1", "postgres")
        printed = ran(
            witness, "pgbench", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-t", str(TRANSACTIONS), "postgres"
        )
        whole = CLIENTS * TRANSACTIONS
        assert f"number of transactions actually processed: {whole}/{whole}".encode() in printed
    said = compared(shelf.ports(), witness, POSTGRESQL_PORT)
    assert sum(b"UPDATE pgbench_tellers" in each.said for each in said) == CLIENTS


def test_what_redis_was_told_and_answered_is_there(here: Kubectl, shelf: Shelf) -> None:
    value = noise(8 * MEBIBYTE, seed=12)
    piped = [
        b"".join(b"SET key-%d-%d %d\r\n" % (client, number, number * client) for number in range(PIPED))
        for client in range(4)
    ]
    with witnessed(here, "redis", REDIS_PORT) as witness:
        assert ran(witness, "redis-cli", "-x", "SET", "large", stdin=value) == b"OK\n"
        assert ran(witness, "redis-cli", "--raw", "GET", "large") == value + b"\n"
        clients = [
            subprocess.Popen(
                [program("redis-cli"), "-h", "127.0.0.1", "-p", str(witness.port), "--pipe"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in piped
        ]
        for client, commands in zip(clients, piped, strict=True):
            assert client.stdin is not None
            client.stdin.write(commands)
            client.stdin.close()
            client.stdin = None
        for client in clients:
            printed, _ = client.communicate(timeout=CLIENT_SECONDS)
            assert b"errors: 0, replies: %d" % PIPED in printed
        assert int(ran(witness, "redis-cli", "DBSIZE")) == 4 * PIPED + 1
        ran(witness, "redis-cli", "FLUSHALL")
    said = compared(shelf.ports(), witness, REDIS_PORT)
    assert any(value in each.said for each in said)
    assert any(value in each.heard for each in said)
    assert all(any(commands in each.said for each in said) for commands in piped)
