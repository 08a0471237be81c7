"""`python -m bench.search`: how long a search of the record takes, and how that grows with the record.

A record is made as the gate makes it (its own events, its own journals, chained and signed), of two gates' requests at
the pace of a busy day: agents in tasks, three in a hundred refused, some that waited for people, watches that end long
after they began. It grows to each of the sizes in turn; at each the index is brought up to date and questions are asked
that people ask, each of a file opened anew, of which the first page is read. No gate runs, and no cluster.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from narrowgate.core.audit import Asked, Failed, Outcome, RequestEvents, Verdict, timestamp
from narrowgate.core.audit_query import SeesAll, query_of
from narrowgate.core.decision import Allow, Deny, NeedsApproval, RuleRef
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.recorded_text import Passage, Stream
from narrowgate.core.request_info import RequestInfo
from narrowgate.trail.index import Index
from narrowgate.trail.journal import Journal
from narrowgate.trail.signing import Signer
from narrowgate.trail.text_file import State
from narrowgate.trail.text_search import text_search, with_places
from narrowgate.trail.text_writer import TextWriter

SIZES: Final = (1_000_000, 3_000_000, 10_000_000)
"""Requests; each has two events or more."""

WRITERS: Final = ("gate-0", "gate-1")
BEGAN: Final = 1_760_000_000.0
PACE: Final = 0.26
"""Seconds between two requests on average: ten million in thirty days."""

EPOCH: Final = 10_000
"""Requests between two changes of the tasks that are at work: three quarters of an hour."""
TASKS: Final = 40
"""Tasks at work at one time."""
AGENTS: Final = 400
OBJECTS: Final = 20_000
"""Objects that requests are about, the first far more often than the last."""
WRITE_EVERY: Final = 256
"""Events between two writes to a journal."""

RECORDED: Final = 0.005
"""The share of requests whose output is recorded, 400 characters each."""
RARE: Final = "kernel panic in the third rack"
RARE_EVERY: Final = 4_000
"""Recordings between two that hold the rare text."""

ROUNDS: Final = 7
PAGE: Final = 100
"""Answers that are read of each question, as the command shows."""

WORDS: Final = (
    "ready",
    "restarted",
    "error",
    "warning",
    "connection",
    "refused",
    "listening",
    "timeout",
    "worker",
    "ok",
)
RESOURCES: Final = (
    ("", "pods", ""), ("", "pods", ""), ("", "pods", "log"), ("apps", "deployments", ""), ("", "configmaps", ""),
    ("", "events", ""), ("apps", "replicasets", ""), ("batch", "jobs", ""), ("", "secrets", ""), ("", "pods", "exec"),
)  # fmt: skip
VERBS: Final = ("get", "get", "get", "list", "list", "watch", "patch", "create", "delete")


class Thing(NamedTuple):
    """An object that requests are about."""

    group: str
    resource: str
    subresource: str
    namespace: str
    name: str


class Worker(NamedTuple):
    """An agent in a task of its own, with what is remembered of its requests."""

    identity: Identity
    events: dict[tuple[int, str], RequestEvents]


class Record:
    """A record that grows: the journals of two gates, and the text of what they recorded."""

    def __init__(self, folder: Path, seed: int = 5) -> None:
        self.folder = folder
        self.requests = 0
        self.lines = 0
        self.at = BEGAN
        self.some_task = self.some_agent = ""
        """Of the latest epoch, to ask about."""
        self._random = random.Random(seed)
        signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
        self._journals = [Journal.open(folder, writer, signer) for writer in WRITERS]
        self._things = [self._thing(number) for number in range(OBJECTS)]
        self._workers: list[Worker] = []
        self._ends: list[tuple[float, int, int, bytes]] = []
        self._texts = TextWriter.open(folder, "bench")
        self._recorded = 0

    def grow(self, requests: int) -> None:
        """Add requests until there are so many. Those that run on end later, or never."""
        while self.requests < requests:
            if self.requests % EPOCH == 0:
                self._workers = [self._worker(self.requests // EPOCH, number) for number in range(TASKS)]
            self._add_request()
        for journal in self._journals:
            journal.write()

    def close(self) -> None:
        """Let go of the files."""
        for journal in self._journals:
            journal.close()
        self._texts.close()

    def size(self) -> int:
        """Of all journals."""
        return sum(path.stat().st_size for path in self.folder.glob("*/*.jsonl"))

    def _add_request(self) -> None:
        chance, number = self._random, self.requests
        self.requests += 1
        self.at += chance.expovariate(1 / PACE)
        while self._ends and self._ends[0][0] <= self.at:
            _, _, writer, event = heapq.heappop(self._ends)
            self._note(writer, event)
        writer = number % len(WRITERS)
        worker = self._workers[min(int(chance.paretovariate(0.8)) - 1, TASKS - 1)]
        thing = min(int(chance.paretovariate(0.5)) - 1, OBJECTS - 1)
        verb = "create" if self._things[thing].subresource == "exec" else chance.choice(VERBS)
        events = self._events(worker, thing, verb).again(audit_id(number), self.at)
        verdict = self._verdict(worker)
        self._note(writer, events.received(verdict))
        lasts = chance.uniform(1, 1800) if verb == "watch" else chance.expovariate(20)
        code = 200 if isinstance(verdict, Allow) else 502 if isinstance(verdict, Failed) else 403
        ended = events.finished(verdict, Outcome(code=code, at=self.at + lasts, bytes_out=chance.randrange(20_000)))
        heapq.heappush(self._ends, (self.at + lasts, number, writer, ended))
        if chance.random() < RECORDED:
            self._add_text(audit_id(number))

    def _events(self, worker: Worker, thing: int, verb: str) -> RequestEvents:
        found = worker.events.get((thing, verb))
        if found is None:
            group, resource, subresource, namespace, name = self._things[thing]
            named = "" if verb in ("list", "watch") else name
            info = RequestInfo(
                is_resource_request=True, path="/", verb=verb, api_group=group, api_version="v1", resource=resource,
                subresource=subresource, namespace=namespace, name=named,
            )  # fmt: skip
            target = f"/{'apis/' + group if group else 'api'}/v1/namespaces/{namespace}/{resource}/{named}"
            asked = Asked(
                audit_id="", method="GET", target=target.encode(), received_at=0.0, source_ip=f"10.0.{thing % 200}.7",
                user_agent="kubectl/v1.33.0 (linux/amd64) kubernetes/0123456", cluster="prod",
                chain=chain_of(worker.identity), intent=Intent(cluster="prod", info=info, namespaced=True),
            )  # fmt: skip
            found = worker.events[thing, verb] = RequestEvents(asked)
        return found

    def _verdict(self, worker: Worker) -> Verdict:
        chance = self._random.random()
        policy = worker.identity.name[:8]
        if chance < 0.03:
            return Deny(message=f"agent:{worker.identity.name} may not do this in cluster prod: no rule allows it")
        if chance < 0.033:
            approval = f"{chance:.16f}"[2:]
            return NeedsApproval(message="this waits for two people", rule=RuleRef(policy, "ask", 7), approval=approval)
        if chance < 0.035:
            return Failed(message="the API server of cluster prod did not answer within 10 s")
        return Allow(rule=RuleRef(policy, "work", 7), covers=())

    def _worker(self, epoch: int, number: int) -> Worker:
        agent = min(int(self._random.paretovariate(0.7)) - 1, AGENTS - 1)
        task = f"t{epoch:06d}{number:03d}"
        self.some_task, self.some_agent = task, f"bot-{agent:04d}"
        identity = Identity(
            kind=Kind.AGENT, name=self.some_agent, owner=f"person:p{agent % 37}", proven_by="task-credential",
            credential=task, task=task,
        )  # fmt: skip
        return Worker(identity, {})

    def _thing(self, number: int) -> Thing:
        group, resource, subresource = RESOURCES[number % len(RESOURCES)]
        return Thing(group, resource, subresource, f"team-{number % 120}", f"{resource}-{number:05d}")

    def _note(self, writer: int, event: bytes) -> None:
        journal = self._journals[writer]
        journal.append(event)
        self.lines += 1
        if self.lines % WRITE_EVERY < len(WRITERS):
            journal.write()

    def _add_text(self, recording: str) -> None:
        self._recorded += 1
        words = self._random.choices(WORDS, k=50)
        if self._recorded % RARE_EVERY == 0:
            words[25] = RARE
        name = f"{timestamp(self.at).decode()[:10]}/{recording}.recording"
        self._texts.expect([name])
        growing = self._texts.begin(name, round(self.at * 1_000_000), is_encrypted=False)
        growing.add([Passage(0, Stream.OUTPUT, " ".join(words) + f" {self._random.getrandbits(64):x}\n")])
        self._texts.settle(growing, State.WHOLE)


def audit_id(number: int) -> str:
    """As the gate makes them: one beginning for each process, and a number."""
    return f"5f0e1d2c-3b4a-4958-{number % len(WRITERS):04x}-{number:012x}"


def questions(record: Record) -> dict[str, dict[str, str]]:
    """What is asked of the record as it is now."""
    hour, day = (timestamp(record.at - seconds).decode() for seconds in (3600, 86_400))
    return {
        "the newest of all": {},
        "one agent, the last hour": {"who": f"agent:{record.some_agent}", "since": hour},
        "an object's history": {"object": "deployments.apps/deployments-00013"},
        "an object touched rarely": {"object": "jobs.batch/jobs-17777"},
        "what a task was refused": {"task": record.some_task, "decision": "denied"},
        "refused in a namespace, a day": {"namespace": "team-3", "decision": "denied", "since": day},
        "common things that meet rarely": {"verb": "delete", "decision": "failed", "namespace": "team-77"},
        "an agent's failures, ever": {"who": "bot-0007", "code": "5xx"},
        "by audit id": {"id": audit_id(record.requests // 2)},
        "nobody of that name": {"who": "mallory"},
        "a rare text": {"text": RARE},
        "a text in all recordings": {"text": "connection"},
    }


class Answer(NamedTuple):
    """One question, asked several times."""

    found: int
    median: float
    """Seconds."""
    processor: float
    """Seconds, median."""


def asked(folder: Path, words: dict[str, str], rounds: int = ROUNDS) -> Answer:
    """Ask one question as the command does: open, search, read a page."""
    took, used = [], []
    found = 0
    for _ in range(rounds):
        began, worked = time.perf_counter(), time.process_time()
        query = query_of(words, time.time())
        with ExitStack() as opened:
            index = opened.enter_context(closing(Index.open(folder)))
            texts = opened.enter_context(text_search(folder, query.text)) if query.text else None
            answers = index.search(query, SeesAll(), texts=None if texts is None else texts.sessions)
            found = sum(1 for _ in zip(range(PAGE), with_places(answers, texts), strict=False))
        took.append(time.perf_counter() - began)
        used.append(time.process_time() - worked)
    return Answer(found, statistics.median(took), statistics.median(used))


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; the figures are for people to judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.search", description=__doc__)
    parser.add_argument(
        "--sizes", type=_sizes, default=SIZES, metavar="N,N", help="requests (default: 1, 3, 10 million)"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the record is made (18 GB for ten million); removed afterwards"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="narrowgate-bench-", dir=options.folder) as folder:
        _run(Record(Path(folder)), options.sizes)
    return 0


def _run(record: Record, sizes: Sequence[int]) -> None:
    answers: dict[str, list[Answer]] = {}
    try:
        for size in sizes:
            _print_growth(record, size)
            for question, words in questions(record).items():
                answers.setdefault(question, []).append(asked(record.folder, words))
            _print_answers(sizes, answers)
    finally:
        record.close()


def _print_answers(sizes: Sequence[int], answers: dict[str, list[Answer]]) -> None:
    print(f"\nmilliseconds for the first {PAGE} answers (of processor), median of {ROUNDS}; how many there were")
    print(f"  {'':32}" + "".join(f"{size:>24,}" for size in sizes))
    for question, row in answers.items():
        cells = (f"{one.median * 1e3:,.1f} ({one.processor * 1e3:,.1f}) {one.found:>4}" for one in row)
        print(f"  {question:32}" + "".join(f"{cell:>24}" for cell in cells), flush=True)


def _print_growth(record: Record, size: int) -> None:
    lines, began = record.lines, time.perf_counter()
    record.grow(size)
    made = time.perf_counter() - began
    lines = record.lines - lines
    index = Index.open(record.folder)
    began, used = time.perf_counter(), time.process_time()
    index.update()
    took, used = time.perf_counter() - began, time.process_time() - used
    index.close()
    file = os.path.getsize(record.folder / "index.db")
    text = os.path.getsize(record.folder / "text.db")
    print(
        f"{size:>11,} requests: journals {record.size() / 1e6:,.0f} MB (made in {made:,.0f} s), "
        f"{lines:,} lines taken in within {took:,.1f} s ({lines / took:,.0f} a second, {used:,.1f} s of processor), "
        f"index {file / 1e6:,.0f} MB ({file / size:,.0f} bytes a request), text {text / 1e6:,.0f} MB, "
        f"a thousand requests more {_kept_up(record) * 1e3:,.0f} ms",
        flush=True,
    )


def _kept_up(record: Record) -> float:
    """Seconds until a thousand further requests can be found."""
    record.grow(record.requests + 1000)
    began = time.perf_counter()
    index = Index.open(record.folder)
    index.update()
    index.close()
    return time.perf_counter() - began


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in text.split(","))
    if not all(before < after for before, after in zip((0, *sizes), sizes, strict=False)):
        raise argparse.ArgumentTypeError("each size must be larger than the one before")
    return sizes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
