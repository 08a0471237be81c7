"""A whole gate that is killed, that cannot write, whose store is away: what a session carried is recorded, or it ends.

The API server is a stub, so that every byte is known; the disks are real: small tmpfs mounts. Needs root.
"""

from __future__ import annotations

import asyncio
import random
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.contract.object_server import ACCESS_KEY, SECRET_KEY, ObjectServer
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Gate
from tests.e2e.recorded import Shelf
from tests.fault.pods import ERROR, MUCH, PATIENCE, PING, STDIN, STDOUT, SUCCESS, Client, Pods, payload, said_by, typed
from tests.fault.test_trail_disk import fill, mounted

from narrowgate.core.recording import Ended, Entry, Header
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.recordings.object_storage import store_of
from narrowgate.recordings.reading import Recording, open_file
from narrowgate.recordings.recovery import CUT

KILLS = 4
AT_ONCE = 200
MEMORY_LIMIT = 150 * 1024 * 1024
"""What two hundred sessions may add: each has its buffers, two TLS connections and a packed block."""
SPOOL_MEGABYTES = 24


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    pods = Pods(tmp_path_factory.mktemp("pods"))
    yield pods
    pods.stop()


@pytest.fixture
def gate(pods: Pods, tmp_path: Path) -> Iterator[Gate]:
    """One that a test may kill."""
    gate = Gate(tmp_path / "gate", [pods.cluster("dev")])
    gate.agent("all", ALLOW_ALL_RULES)
    gate.start()
    yield gate
    gate.kill()


def agent_of(gate: Gate) -> Agent:
    return gate.agent("all", ALLOW_ALL_RULES)


def bytes_of(entries: list[Entry], channel: Channel) -> bytes:
    data = (entry.what for entry in entries if isinstance(entry.what, ChannelData))
    return b"".join(each.data for each in data if each.channel is channel)


def kept(gate: Gate) -> dict[str, list[Entry]]:
    """The recordings in the store, by their pods."""
    found: dict[str, list[Entry]] = {}
    for path in (gate.data_dir / "recordings").rglob("*.recording"):
        with open_file(path, ()) as recording:
            recording.check(Shelf(gate).vouched(f"{path.parent.name}/{path.name}"))
            found[recording.header.pod] = list(recording.entries())
    return found


def readiness(gate: Gate) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{gate.health_port}/readyz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


# --- kill -9 ---


def test_what_a_client_saw_before_the_gate_was_killed_is_recorded(gate: Gate, pods: Pods) -> None:
    chance = random.Random(7)
    seen: dict[str, bytes] = {}
    for turn in range(KILLS):
        agent = agent_of(gate)

        async def watched(turn: int = turn, agent: Agent = agent) -> None:
            names = [f"flood-{turn}-a", f"flood-{turn}-b"]
            clients = [await Client.of(agent, pod, "flood") for pod in names]
            await clients[0].read_to(chance.randint(1, 4_000_000))
            await clients[1].read_to(1)
            gate.kill()
            for pod, client in zip(names, clients, strict=True):
                await client.read_on()
                await client.close()
                seen[pod] = payload(bytes(client.seen), STDOUT)

        asyncio.run(watched())
        gate.start()
    gate.wait_until(lambda: len(kept(gate)) == 2 * KILLS, "what the killed gates left is kept")
    for pod, entries in kept(gate).items():
        assert bytes_of(entries, Channel.STDOUT).startswith(seen[pod]), pod
        assert seen[pod]
        assert entries[-1].what == Ended(CUT)
    assert (verified := gate.command("audit", "verify")).code == 0, verified.text


def test_what_reached_a_pod_before_the_gate_was_killed_is_recorded(gate: Gate, pods: Pods) -> None:
    for turn in range(KILLS):
        agent = agent_of(gate)

        async def typing(pod: str = f"swallow-{turn}", agent: Agent = agent) -> None:
            chance = random.Random(pod)
            client = await Client.of(agent, pod, "swallow")
            with suppress(OSError):
                while len(pods.heard[pod]) < 2_000_000:
                    client.writer.write(typed(chance.randbytes(chance.randint(1, 9000))))
                    await client.writer.drain()
            gate.kill()
            await client.close()

        asyncio.run(typing())
        gate.start()
    gate.wait_until(lambda: len(kept(gate)) == KILLS, "what the killed gates left is kept")
    for pod, entries in kept(gate).items():
        heard = payload(bytes(pods.heard[pod]), STDIN)
        assert len(heard) > 1_000_000
        assert bytes_of(entries, Channel.STDIN).startswith(heard), pod


def test_a_gate_that_is_stopped_finishes_what_it_records(gate: Gate) -> None:
    async def stopped() -> None:
        client = await Client.of(agent_of(gate), "stopped", "wait")
        await client.read_to(1)
        assert await asyncio.to_thread(gate.stop) == 0
        await client.read_on()
        await client.close()

    asyncio.run(stopped())
    assert list((gate.data_dir / "spool").rglob("*.live")) == []
    gate.start()
    gate.wait_until(lambda: "stopped" in kept(gate), "the recording is kept")
    assert bytes_of(kept(gate)["stopped"], Channel.STDOUT) == b"here\n"


def test_a_session_whose_permission_ends_says_why_in_recording_and_record(gate: Gate) -> None:
    agent = gate.agent("brief", ALLOW_ALL_RULES)

    async def ended() -> None:
        client = await Client.of(agent, "brief", "wait")
        await client.read_to(1)
        gate.allow("brief", ALLOW_ALL_RULES[1:])
        await client.read_on()
        await client.close()

    asyncio.run(ended())
    event = gate.wait_for_event("/pods/brief/exec")
    gate.wait_until(lambda: "brief" in kept(gate), "the recording is kept")
    last = kept(gate)["brief"][-1].what
    assert isinstance(last, Ended)
    assert last.reason == event["annotations"]["narrowgate.dev/ended"]


# --- full disks ---


@pytest.fixture
def cramped(pods: Pods, tmp_path: Path) -> Iterator[Gate]:
    """A gate whose spool is a disk of its own, and small."""
    gate = Gate(tmp_path / "gate", [pods.cluster("dev")])
    gate.data_dir.mkdir()
    with mounted(gate.data_dir / "spool", "-t", "tmpfs", "-o", f"size={SPOOL_MEGABYTES}m", "tmpfs"):
        gate.agent("all", ALLOW_ALL_RULES)
        gate.start()
        yield gate
        gate.kill()


async def exec_status(agent: Agent, pod: str, program: str = "say") -> tuple[int, str]:
    client = await Client.of(agent, pod, program)
    if client.status == 101:
        await client.read_on()
    await client.close()
    return client.status, client.body.decode()


def test_a_full_disk_ends_sessions_refuses_new_ones_says_so_and_is_got_over(cramped: Gate) -> None:
    agent, spool = agent_of(cramped), cramped.data_dir / "spool"

    async def flooded() -> Client:
        client = await Client.of(agent, "flood", "flood")
        await client.read_to(1_000_000)
        ballast.append(await asyncio.to_thread(fill, spool))
        await client.read_on()
        await client.close()
        return client

    ballast: list[Path] = []
    client = asyncio.run(flooded())
    seen = payload(bytes(client.seen), STDOUT)
    status, answer = asyncio.run(exec_status(agent, "refused"))
    assert status == 500
    assert "free some space" in answer
    code, conditions = readiness(cramped)
    assert code == 503
    assert re.search("recordings.*free some space", conditions)
    # What needs no recording still goes.
    assert agent.request("GET", "/api/v1/namespaces/ci/pods/p").status == 200
    event = cramped.wait_for_event("/pods/flood/exec")
    assert "recorded" in str(event["annotations"])
    ballast[0].unlink()
    cramped.wait_until(lambda: readiness(cramped)[0] == 200, "the gate is ready again by itself")
    assert asyncio.run(exec_status(agent, "after"))[0] == 101
    cramped.wait_until(lambda: {"flood", "after"} <= kept(cramped).keys(), "both recordings are kept")
    recordings = kept(cramped)
    assert "refused" not in recordings
    assert bytes_of(recordings["flood"], Channel.STDOUT).startswith(seen)
    assert bytes_of(recordings["after"], Channel.STDOUT) == said_by("after")


def test_a_session_that_fills_the_disk_itself_ends_and_gives_it_back(cramped: Gate) -> None:
    agent = agent_of(cramped)

    async def flooded() -> Client:
        client = await Client.of(agent, "greedy", "flood")
        await client.read_on()
        await client.close()
        return client

    client = asyncio.run(flooded())
    seen = payload(bytes(client.seen), STDOUT)
    assert len(seen) > SPOOL_MEGABYTES * 1_000_000 // 2
    cramped.wait_until(lambda: readiness(cramped)[0] == 200, "the gate is ready again by itself")
    cramped.wait_until(lambda: "greedy" in kept(cramped), "the recording is kept")
    assert bytes_of(kept(cramped)["greedy"], Channel.STDOUT).startswith(seen)
    assert asyncio.run(exec_status(agent, "after"))[0] == 101


# --- the store ---


def test_a_store_that_is_away_or_slow_is_waited_for(pods: Pods, tmp_path: Path) -> None:
    server = ObjectServer(tmp_path / "s3")
    (tmp_path / "secret").write_text(SECRET_KEY)
    (tmp_path / "secret").chmod(0o600)
    settings: dict[str, Any] = {
        "recordings": "s3://recordings/kept/here",
        "objectStorage": {
            "endpoint": f"http://127.0.0.1:{server.port}",
            "region": "us-east-1",
            "accessKeyId": ACCESS_KEY,
            "secretKeyFile": str(tmp_path / "secret"),
        },
    }
    gate = Gate(tmp_path / "gate", [pods.cluster("dev")], settings=settings)
    gate.agent("all", ALLOW_ALL_RULES)
    gate.start()
    try:
        agent, store = agent_of(gate), store_of(server.bucket())
        assert asyncio.run(exec_status(agent, "away"))[0] == 101
        gate.wait_until(lambda: len(waiting(gate)) == 1, "the recording waits")
        assert readiness(gate)[0] == 200
        server.start()
        gate.wait_until(lambda: waiting(gate) == [], "the recording is sent")
        server.hold_up()
        assert asyncio.run(exec_status(agent, "slow"))[0] == 101
        gate.wait_until(lambda: len(waiting(gate)) == 1, "the recording waits")
        server.go_on()
        gate.wait_until(lambda: waiting(gate) == [], "the recording is sent")
        sessions = [gate.wait_for_event(f"/pods/{pod}/exec") for pod in ("away", "slow")]
        for pod, event in zip(("away", "slow"), sessions, strict=True):
            recording = Recording(store.open(event["annotations"]["narrowgate.dev/recording"]), ())
            assert recording.check().finished
            assert isinstance(recording.header, Header)
            assert bytes_of(list(recording.entries()), Channel.STDOUT) == said_by(pod)
    finally:
        gate.kill()
        server.stop()


def waiting(gate: Gate) -> list[Path]:
    return list((gate.data_dir / "spool").rglob("*.recording"))


# --- many ---


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def test_two_hundred_sessions_at_once_are_all_recorded_in_bounded_memory(gate: Gate) -> None:
    agent = agent_of(gate)
    asyncio.run(exec_status(agent, "first"))
    before = memory(gate.pid)
    most: list[int] = []

    async def all_of_them() -> None:
        waiting = await asyncio.gather(*(Client.of(agent, f"wait-{number}", "wait") for number in range(AT_ONCE)))
        assert [client.status for client in waiting] == [101] * AT_ONCE
        assert len(list((gate.data_dir / "spool").rglob("*.live"))) == AT_ONCE
        for client in waiting:
            client.writer.write(typed(b"z" * 9000) * 20)
        answers = await asyncio.gather(*(exec_status(agent, f"say-{number}") for number in range(AT_ONCE // 4)))
        assert {status for status, _ in answers} == {101}
        most.append(memory(gate.pid))
        for client in waiting:
            await client.writer.drain()
        for client in waiting:
            await client.close()

    asyncio.run(all_of_them())
    assert max(most) - before < MEMORY_LIMIT
    gate.wait_until(lambda: len(recordings_of(gate)) == AT_ONCE + AT_ONCE // 4 + 1, "all of them are kept")
    for path in recordings_of(gate):
        with open_file(path, ()) as recording:
            assert recording.check().finished
            pod, entries = recording.header.pod, list(recording.entries())
        if pod.startswith("say"):
            assert bytes_of(entries, Channel.STDOUT) == said_by(pod)


# --- the end of a large output ---


def test_a_slow_reader_that_gives_signs_of_life_gets_all_that_was_written(gate: Gate) -> None:
    async def read_slowly(client: Client) -> None:
        while data := await client.reader.read(65536):
            client.seen += data
            # As kubectl does, only more often: behind the end of the program, and before that of its output.
            client.writer.write(PING)
            await asyncio.sleep(0.002)

    async def scenario() -> Client:
        client = await Client.of(agent_of(gate), "much", "pour")
        async with asyncio.timeout(PATIENCE):
            with suppress(OSError):
                await read_slowly(client)
        await client.close()
        return client

    client = asyncio.run(scenario())
    gate.wait_until(lambda: bool(recordings_of(gate)), "it is kept")
    assert len(bytes_of(kept(gate)["much"], Channel.STDOUT)) == MUCH
    assert len(payload(bytes(client.seen), STDOUT)) == MUCH
    assert payload(bytes(client.seen), ERROR) == SUCCESS


def recordings_of(gate: Gate) -> list[Path]:
    return list((gate.data_dir / "recordings").rglob("*.recording"))
