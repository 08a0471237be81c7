"""Many requests that wait and many streams that run, of several agents and tasks at once: each ends by itself alone.

What it takes in time and memory is logged; `docs/benchmark.md` says how to see it, and what was measured.
"""

from __future__ import annotations

import logging
import resource
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from tests.e2e.api_caller import by_token
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.many_streams import Client, crowd
from tests.e2e.rules import allow
from tests.e2e.tasks import grantable
from tests.e2e.team import Team, approve, task_of, team_at

AGENTS = 10
HELD_OF_ONE = 50
"""As many as one identity may have: 500 in all."""
TASKS_OF_ONE = 2
STREAMS_OF_ONE = 50
"""Of one task: 1,000 in all."""
END_SECONDS = 30.0
"""What is promised is one second; on a machine on which others work this much is waited before it counts as late."""
STAY_SECONDS = 2.0
"""For whatever is not to end: twice what an end takes."""
SETTLE_SECONDS = 120.0

log = logging.getLogger("scale")


@pytest.fixture(scope="module")
def team(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Both ends of the clients' connections and the gate's to the cluster: more than many a shell allows.
    assert files >= 4096, "raise the limit of open files: ulimit -n 4096"
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    settings = {"workers": 1, "approvals": {"hold": "4m"}}
    with team_at(tmp_path_factory.mktemp("scale"), [entry], settings) as team:
        yield team


def memory_of(gate: Gate) -> int:
    """Bytes that the gate's processes hold in memory (PSS: what they share is counted once)."""
    total = 0
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and int((process / "stat").read_text().rpartition(")")[2].split()[2]) == gate.pid:
                lines = (process / "smaps_rollup").read_text().splitlines()
                total += 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            # It ended while it was looked at.
            continue
    return total


def questions(gate: Gate) -> int:
    """How many wait, read from the store as a backup would."""
    with closing(sqlite3.connect(f"file:{next(gate.data_dir.glob('*.db'))}?mode=ro", uri=True)) as database:
        (count,) = database.execute("select count(*) from approvals where state = 'pending'").fetchone()
        return int(count)


def last_end(gate: Gate, clients: Sequence[Client], since: float) -> float:
    """Seconds from then until the last of them had ended."""
    gate.wait_until(lambda: all(each.ended_at for each in clients), "they end", END_SECONDS)
    return max(each.ended_at for each in clients) - since


def rules(namespace: str) -> list[dict[str, object]]:
    return [
        allow("see", "get", "configmaps", namespace),
        grantable("maps", "get watch", "configmaps", namespace),
        approve("keys", "get", "secrets", namespace, within="10m"),
    ]


def test_of_500_that_wait_and_1000_that_run_the_right_ones_end_and_no_others(team: Team, namespace: str) -> None:
    gate, where = team.gate, f"/api/v1/namespaces/{namespace}"
    names = [f"scale-{number}" for number in range(AGENTS)]
    agents = [gate.agent(name) for name in names]
    subjects = [{"kind": "Agent", "name": name} for name in names]
    gate.write_policy("scale", subjects, rules(namespace))
    gate.wait_until(lambda: agents[-1].request("GET", f"{where}/configmaps/cm-1").status == 200, "the rules")
    tasks = [
        task_of(gate, agent, f"watch,get configmaps -n {namespace}") for agent in agents for _ in range(TASKS_OF_ONE)
    ]
    with crowd() as clients:
        empty = memory_of(gate)
        held = clients.open(
            [(agent, f"{where}/secrets/k-{number}") for agent in agents for number in range(HELD_OF_ONE)]
        )
        gate.wait_until(lambda: questions(gate) == AGENTS * HELD_OF_ONE, "all are asked about", SETTLE_SECONDS)
        time.sleep(STAY_SECONDS)
        waiting = memory_of(gate)
        streams = clients.open(
            [
                (working, f"{where}/configmaps?watch=1&resourceVersion=0")
                for _, working in tasks
                for _ in range(STREAMS_OF_ONE)
            ]
        )
        gate.wait_until(lambda: all(each.status == 200 for each in streams), "all of them run", SETTLE_SECONDS)
        time.sleep(STAY_SECONDS)
        running = memory_of(gate)
        log.info("%.1f KiB a held request", (waiting - empty) / 1024 / len(held))
        log.info("%.1f KiB a stream", (running - waiting) / 1024 / len(streams))

        assert [each for each in (*streams, *held) if each.ended_at] == []

        # One task of the first agent.
        ending, going = streams[:STREAMS_OF_ONE], streams[STREAMS_OF_ONE:]
        _revoke(gate, agents[0], tasks[0][0])
        took = last_end(gate, ending, since=time.monotonic())
        log.info("%d streams ended %.2f s after the answer to the revocation", len(ending), took)
        time.sleep(STAY_SECONDS)
        assert [each for each in (*going, *held) if each.ended_at] == []

        # One request of the second agent.
        team.approve(team.waiting(names[1])[0]["id"])
        gate.wait_until(lambda: any(each.ended_at for each in held), "it passes")
        time.sleep(STAY_SECONDS)
        # There is no such Secret: the cluster itself says so.
        assert [each.status for each in held if each.ended_at] == [404]

        # All of the third agent, and nothing of anybody else.
        paused = gate.command("agents", "pause", names[2], "--reason", "odd")
        since = time.monotonic()
        assert paused.code == 0, paused.text
        first = 2 * TASKS_OF_ONE * STREAMS_OF_ONE - STREAMS_OF_ONE
        its = [*going[first : first + TASKS_OF_ONE * STREAMS_OF_ONE], *held[2 * HELD_OF_ONE : 3 * HELD_OF_ONE]]
        log.info("%d of one agent ended %.2f s after the command that paused it", len(its), last_end(gate, its, since))
        time.sleep(STAY_SECONDS)
        others = [each for each in (*going, *held) if each not in its and each.ended_at]
        assert [each.status for each in others] == [404]
        assert {each.status for each in its} == {200, 401}
        clients.close([*held, *streams])


def _revoke(gate: Gate, agent: Agent, task: str) -> None:
    revoked = by_token(gate, agent.token)("POST", f"/tasks/{task}/revoke", {"because": "enough"})
    assert revoked.status == 200, revoked.document
