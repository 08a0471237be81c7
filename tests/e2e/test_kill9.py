"""What the record is worth when everything goes wrong: `kill -9`, a full disk, a read-only folder, a forger.

The API server's own audit log is the witness: whatever it has of the gate's requests must be in the gate's journal,
because an entry is written before anything is forwarded.
"""

from __future__ import annotations

import itertools
import random
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Cluster, Finished, Gate, GateFailure, environment, narrowgate
from tests.e2e.kubectl import Kubectl
from tests.e2e.wire import ConnectionEnded

ROUNDS = 20
READERS, WRITERS, WATCHERS = 3, 2, 2
# How much load a round has before the gate is killed: by requests, not by time, so that every round has some.
LEAST_REQUESTS, MOST_REQUESTS = 20, 200
LOAD_SECONDS = 180.0
# A data folder of this size holds the store, the keys and a few thousand entries.
DISK_MEGABYTES = 6
UNTIL_FULL = 3000
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def namespace(new_namespace: Callable[[str], str]) -> str:
    return new_namespace("kill9")


@pytest.fixture
def own_gate(cluster: Cluster, tmp_path: Path) -> Iterator[Gate]:
    """A gate that a test may kill, in front of the real cluster."""
    with gate_in(tmp_path / "gate", cluster) as gate:
        yield gate


@contextmanager
def gate_in(folder: Path, cluster: Cluster, data: Path | None = None) -> Iterator[Gate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(folder, [entry], data=data)
    gate.agent("all", ALLOW_ALL_RULES)
    gate.start()
    try:
        yield gate
    finally:
        gate.kill()


# --- kill -9 under load ---


class Load:
    """Requests from several threads until the gate is gone; each carries a word of its own in its target."""

    def __init__(self, agent: Agent, namespace: str, user_agent: str) -> None:
        self.agent = agent
        self.namespace = namespace
        self.user_agent = user_agent
        self.answered = itertools.count()
        self.counted = 0
        kinds = [self._read] * READERS + [self._write] * WRITERS + [self._watch] * WATCHERS
        self.threads = [
            threading.Thread(target=self._run, args=(kind, number), daemon=True) for number, kind in enumerate(kinds)
        ]
        for thread in self.threads:
            thread.start()

    def wait_for(self, requests: int) -> None:
        deadline = time.monotonic() + LOAD_SECONDS
        while self.counted < requests:
            if time.monotonic() > deadline:
                raise AssertionError(f"only {self.counted} of {requests} requests were answered")
            time.sleep(0.01)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(LOAD_SECONDS)
        assert not any(thread.is_alive() for thread in self.threads)

    def _run(self, kind: Callable[[str], tuple[str, str, dict[str, str], bytes]], thread: int) -> None:
        # The gate may die at any byte: that ends the load and is no failure.
        try:
            with self.agent.connect() as connection:
                for number in itertools.count():
                    word = f"{self.user_agent}-{thread}-{number}-end"
                    method, target, headers, body = kind(word)
                    connection.send(
                        self.agent.bytes_of(method, target, {**headers, "User-Agent": self.user_agent}, body)
                    )
                    connection.response(method)
                    self.counted = next(self.answered)
        except (ConnectionEnded, OSError, ValueError):
            return

    def _maps(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"

    def _read(self, word: str) -> tuple[str, str, dict[str, str], bytes]:
        return "GET", f"{self._maps()}/{word}", {}, b""

    def _write(self, word: str) -> tuple[str, str, dict[str, str], bytes]:
        body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"kill9-"}}'
        return "POST", f"{self._maps()}?fieldManager={word}", JSON, body

    def _watch(self, word: str) -> tuple[str, str, dict[str, str], bytes]:
        return "GET", f"{self._maps()}?watch=1&timeoutSeconds=1&labelSelector={word}", {}, b""


def words(text: str, prefix: str) -> set[str]:
    return set(re.findall(rf"{prefix}-\d+-\d+-\d+-end", text))


def test_after_kill_9_every_request_the_cluster_saw_is_in_the_journal(
    own_gate: Gate, cluster: Cluster, namespace: str, run_id: str
) -> None:
    prefix = f"kill9-{run_id}"
    begun = cluster.audit_position()
    dice = random.Random(9)

    for number in range(ROUNDS):
        load = Load(own_gate.agent("all"), namespace, f"{prefix}-{number}")
        load.wait_for(dice.randint(LEAST_REQUESTS, MOST_REQUESTS))
        own_gate.kill()
        load.join()
        own_gate.start()

    # The API server finishes what it had begun when the gate died; then its log is complete.
    sentinel = f"{prefix}-{ROUNDS}-0-0-end"
    own_gate.agent("all").request(
        "GET", f"/api/v1/namespaces/{namespace}/configmaps/{sentinel}", {"User-Agent": f"{prefix}-{ROUNDS}"}
    )
    own_gate.wait_until(lambda: bool(cluster.audited(sentinel, begun)), "the last request in the API server's log")
    seen = [event for event in cluster.audited(prefix, begun) if event.get("userAgent", "").startswith(prefix)]
    witnessed = words("\n".join(event["requestURI"] for event in seen), prefix)
    recorded = words(own_gate.journal_text(), prefix)

    assert len(witnessed) > ROUNDS * LEAST_REQUESTS
    assert {event["verb"] for event in seen} == {"get", "create", "watch"}
    assert witnessed - recorded == set()
    verdict = own_gate.command("audit", "verify")
    assert verdict.code == 0, verdict.text


# --- forgery ---


@pytest.fixture(scope="module")
def record(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a gate that has served a while and ended."""
    folder = tmp_path_factory.mktemp("record")
    with gate_in(folder / "gate", cluster) as gate:
        agent = gate.agent("all")
        for number in range(50):
            agent.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/entry-{number}")
        gate.stop()
        assert verified(gate.data_dir).code == 0
        return gate.data_dir


def verified(data: Path) -> Finished:
    """`narrowgate audit verify` on a data folder; it needs no configuration."""
    done = subprocess.run(
        [narrowgate(), "audit", "verify", "--data-dir", str(data)],
        capture_output=True,
        env=environment(),
        timeout=LOAD_SECONDS,
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


def segment_of(data: Path, containing: str) -> tuple[Path, list[bytes], int]:
    """The journal's file with the text in it, its lines, and the number of the line, counted from zero."""
    for path in sorted((data / "trail").rglob("*.jsonl")):
        lines = path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines):
            if containing.encode() in line and b'"event"' in line:
                return path, lines, number
    raise AssertionError(f"no entry with {containing}")


def edit_a_byte(lines: list[bytes], number: int) -> list[bytes]:
    return [*lines[:number], lines[number].replace(b"entry-25", b"entry-52"), *lines[number + 1 :]]


def delete_an_entry(lines: list[bytes], number: int) -> list[bytes]:
    return [*lines[:number], *lines[number + 1 :]]


def swap_two_entries(lines: list[bytes], number: int) -> list[bytes]:
    return [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]


def repeat_an_entry(lines: list[bytes], number: int) -> list[bytes]:
    return [*lines[: number + 1], lines[number], *lines[number + 1 :]]


def cut_the_tail(lines: list[bytes], number: int) -> list[bytes]:
    return lines[:number]


def cut_within_the_last_line(lines: list[bytes], _number: int) -> list[bytes]:
    return [*lines[:-1], lines[-1][:20]]


FORGERIES = (edit_a_byte, delete_an_entry, swap_two_entries, repeat_an_entry, cut_the_tail, cut_within_the_last_line)


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_verify_names_the_place_of_a_forgery(
    forge: Callable[[list[bytes], int], list[bytes]], record: Path, tmp_path: Path
) -> None:
    forged = tmp_path / "data"
    shutil.copytree(record, forged)
    segment, lines, number = segment_of(forged, "entry-25")
    segment.write_bytes(b"".join(forge(lines, number)))

    verdict = verified(forged)

    assert verdict.code == 1
    assert segment.name in verdict.text
    # People count lines from one; a cut shows behind the last line that is left.
    left = len(segment.read_bytes().splitlines())
    near = {number, number + 1, number + 2, left, left + 1}
    assert near & {int(found) for found in re.findall(r"\d+", verdict.text)}


def test_verify_misses_a_journal_that_is_gone(record: Path, tmp_path: Path) -> None:
    forged = tmp_path / "data"
    shutil.copytree(record, forged)
    segment, _, _ = segment_of(forged, "entry-25")
    segment.unlink()

    verdict = verified(forged)

    assert verdict.code == 1
    assert segment.parent.name in verdict.text


# --- disks ---


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "narrowgate-test", str(folder)], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Fills the disk to its last byte, and returns the file that does."""
    filling = disk / "filling"
    with filling.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filling


def write_request(agent: Agent, namespace: str, word: str) -> int:
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"disk-"}}'
    answer = agent.request("POST", f"/api/v1/namespaces/{namespace}/configmaps?fieldManager={word}", JSON, body)
    if answer.status >= 400:
        assert answer.kube_status()["message"]
    return answer.status


def test_a_full_disk_refuses_requests_loses_none_and_frees_itself(
    cluster: Cluster, namespace: str, tmp_path: Path, run_id: str
) -> None:
    prefix = f"disk-{run_id}"
    begun = cluster.audit_position()
    with small_disk(tmp_path / "disk") as disk, gate_in(tmp_path / "gate", cluster, disk / "data") as gate:
        agent = gate.agent("all")
        statuses: dict[str, int] = {}

        def send() -> int:
            word = f"{prefix}-0-0-{len(statuses)}-end"
            statuses[word] = write_request(agent, namespace, word)
            return statuses[word]

        assert send() == 201
        filling = fill(disk)
        # What the journal's last page still takes is taken; then nothing passes.
        while send() != 500:
            assert len(statuses) < UNTIL_FULL
        assert [send() for _ in range(5)] == [500] * 5
        assert agent.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/{prefix}-0-1-0-end").status == 500

        filling.unlink()
        gate.wait_until(lambda: send() == 201, "requests pass again when there is space")
        passed = {word for word, status in statuses.items() if status == 201}
        last = max(passed, key=lambda word: int(word.split("-")[-2]))
        gate.wait_until(lambda: bool(cluster.audited(last, begun)), "the last request in the API server's log")
        witnessed = words("\n".join(event["requestURI"] for event in cluster.audited(prefix, begun)), prefix)

        assert witnessed == passed
        assert passed <= words(gate.journal_text(), prefix)
        verdict = gate.command("audit", "verify")
        assert verdict.code == 0, verdict.text


@contextmanager
def immutable(folder: Path) -> Iterator[None]:
    """Everything in the folder cannot be written, not even by root through a file that is open already."""
    paths = [str(folder), *(str(path) for path in folder.rglob("*"))]
    subprocess.run(["chattr", "+i", *paths], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *paths], check=True)


def test_a_data_folder_that_becomes_read_only_refuses_requests_and_recovers(
    own_gate: Gate, cluster: Cluster, namespace: str, run_id: str
) -> None:
    prefix = f"readonly-{run_id}"
    begun = cluster.audit_position()
    agent = own_gate.agent("all")
    numbers = itertools.count()

    def send() -> int:
        return write_request(agent, namespace, f"{prefix}-0-0-{next(numbers)}-end")

    assert send() == 201
    with immutable(own_gate.data_dir / "trail"):
        assert [send() for _ in range(5)] == [500] * 5
    own_gate.wait_until(lambda: send() == 201, "requests pass again when the folder can be written")

    # The first, and the ones after the folder could be written again: nothing of the five in between.
    refused = {f"{prefix}-0-0-{number}-end" for number in range(1, 6)}
    witnessed = words("\n".join(event["requestURI"] for event in cluster.audited(prefix, begun)), prefix)
    assert f"{prefix}-0-0-0-end" in witnessed
    assert witnessed & refused == set()
    verdict = own_gate.command("audit", "verify")
    assert verdict.code == 0, verdict.text


def test_a_gate_whose_data_folder_is_read_only_serves_nothing(
    own_gate: Gate, cluster: Cluster, direct: Kubectl, namespace: str, run_id: str
) -> None:
    begun = cluster.audit_position()
    word = f"started-{run_id}-0-0-0-end"
    agent = own_gate.agent("all")
    own_gate.stop()
    with immutable(own_gate.data_dir):
        own_gate.start(ready=False)
        try:
            # Either it does not start, in words, or what it is asked it refuses.
            code = own_gate.wait_for_end()
        except GateFailure:
            assert write_request(agent, namespace, word) == 500
        else:
            assert code == 1
            assert "narrowgate:" in own_gate.last_words()
        finally:
            own_gate.kill()

    assert cluster.audited(word, begun) == []
    own_gate.start()
    assert write_request(agent, namespace, word) == 201
