"""`python -m bench.sessions`: what it costs to record sessions, in throughput, in keystrokes, and on the disk.

100 MiB out of an exec (random bytes, and lines of text) and single keys on a terminal, each directly, through Go's bare
reverse proxy, and through the gate with recordings and masks on and off, taking turns. Then what recordings of sessions
take that nobody uses, that a person types in, and whose whole screen changes every second: written by the gate's own
recorder, an hour of each told in a moment.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import ssl
import statistics
import string
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from dev.build import build

from bench import footprint
from bench.__main__ import certificate_for_loopback
from bench.cluster import REPOSITORY, read_cluster
from bench.contenders import gate
from bench.contenders.contender import Running, Stage
from bench.contenders.direct import DIRECT
from bench.contenders.reverse_proxy import REVERSE_PROXY
from bench.failure import BenchFailure
from bench.furniture import MEBIBYTES, NAMESPACE, RUNNER, Need, furnish, say
from bench.load import Address, Load
from narrowgate.core.recording import Ended, Entry, Header, Kind, Resized
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.sealing import SALT_BYTES, Packing, Sealing

ROUNDS: Final = 5
"""An odd number, so that a median is one of the measured figures."""
LEAST: Final = 0.9
"""The share of an output that must have come. To a reader that is slower than the process, the node drops some of the
end when that has ended (seen without any proxy, with containerd).
"""
KEYS: Final = 400
"""Keys in one round; each waits for the echo of the one before."""
PAUSE: Final = 0.01
"""Seconds between two keys: a person's are ten times as far apart, a held key's three times."""
DATA: Final = "/bench-sessions-data"
TYPED: Final = b"ls -l /var/log | grep web; ps aux | head -n 20; "
"""Keys as people type them: of words that are long enough for a secret, masks hold back the last key for some time."""
LINE: Final = "line-" * 19 + "last"
BINARY: Final = 0x82
"""A whole message of bytes (RFC 6455, 5.2)."""
HOUR: Final = 3600
MICROSECONDS: Final = 1_000_000
SCREEN: Final = 80 * 24
PROTOCOL: Final = "v5.channel.k8s.io"

NOTHING_RECORDED: Final = {"audit": {"sessions": "None"}}

Start = Callable[[Stage], AbstractContextManager[Running]]
WAYS: Final[dict[str, Start]] = {
    "direct": DIRECT.start,
    "reverseproxy": REVERSE_PROXY.start,
    "gate, nothing read": partial(gate.started, reveals=True, settings=NOTHING_RECORDED),
    "gate, recorded": partial(gate.started, reveals=True),
    "gate, masked": partial(gate.started, reveals=False, settings=NOTHING_RECORDED),
    "gate, recorded and masked": partial(gate.started, reveals=False),
}
"""Those who are measured, in the order of the table. The last is the gate as installed."""


class Measured(NamedTuple):
    """One way in one round."""

    random_seconds: float
    text_seconds: float
    cpu: float
    """Seconds of processor time of the way itself, for both; 0 where there is no process in between."""
    keys: list[float]
    """Seconds from each key to its echo."""


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when everything was measured, 1 when something is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.sessions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default: {ROUNDS}")
    parser.add_argument("--keys", type=int, default=KEYS, metavar="N", help=f"keys in a round (default: {KEYS})")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="narrowgate-bench-") as folder:
            _print_ways(_measure(Path(folder), options.rounds, options.keys))
            _print_stored(Path(folder))
    except BenchFailure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


def _measure(folder: Path, rounds: int, keys: int) -> dict[str, list[Measured]]:
    cluster = read_cluster(folder)
    generator = build(REPOSITORY / "bench" / "loadgen", {"load": "."}) / "load"
    direct = Address(cluster.server, cluster.authority, cluster.certificate, cluster.key)
    furnish(cluster, Load(generator, direct), frozenset({Need.RUNNER}))
    made = f"dd if=/dev/urandom of={DATA} bs=1M count={MEBIBYTES}"
    Load(generator, direct).exec(_path(["sh", "-c", made], "&stderr=1"))
    stage = Stage(cluster, folder, *certificate_for_loopback(folder))
    found: dict[str, list[Measured]] = {name: [] for name in WAYS}
    names = list(WAYS)
    for number in range(rounds):
        # Each round begins with another: what is beside it on the machine should meet all of them.
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            say(f"round {number + 1}: {name}")
            with WAYS[name](stage) as running:
                found[name].append(_measured(Load(generator, running.address), running, keys))
    return found


def _measured(load: Load, running: Running, keys: int) -> Measured:
    before = _cpu(running)
    random_seconds = _exec(load, "cat", DATA)
    text_seconds = _exec(load, "sh", "-c", f"yes {LINE} | head -c {MEBIBYTES << 20}")
    cpu = _cpu(running) - before
    with _Terminal.to(running.address) as terminal:
        return Measured(random_seconds, text_seconds, cpu, terminal.echoes(keys))


def _cpu(running: Running) -> float:
    return footprint.cpu_seconds(running.pids())


def _path(command: Sequence[str], options: str) -> str:
    written = "&".join(f"command={quote(part, safe='')}" for part in command)
    return f"/api/v1/namespaces/{NAMESPACE}/pods/{RUNNER}/exec?{written}&container={RUNNER}&stdout=1{options}"


def _exec(load: Load, *command: str) -> float:
    """Seconds for all of it."""
    done = load.exec(_path(command, ""))
    share = done["bytes"] / (MEBIBYTES << 20)
    if share < LEAST:
        raise BenchFailure(f"exec through {load.address.url} gave {done['bytes']} bytes: {done['status']}")
    return float(done["seconds"]) / share


class _Terminal:
    """A terminal in the pod that shows what is typed: the kernel's own echo, with `cat` behind it."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._unread = b""

    @classmethod
    @contextmanager
    def to(cls, address: Address) -> Iterator[_Terminal]:
        """Opens one."""
        context = ssl.create_default_context(cafile=str(address.authority))
        if address.certificate is not None and address.key is not None:
            context.load_cert_chain(address.certificate, address.key)
        where = urlsplit(address.url)
        lines = [
            f"GET {_path(['cat'], '&stdin=1&tty=1')} HTTP/1.1", f"Host: {where.netloc}", "Connection: Upgrade",
            "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: YWFhYWFhYWFhYWFhYWFhYQ==",
            f"Sec-WebSocket-Protocol: {PROTOCOL}",
        ]  # fmt: skip
        if address.token_file is not None:
            lines.append(f"Authorization: Bearer {address.token_file.read_text().strip()}")
        plain = socket.create_connection((where.hostname or "", where.port or 443), timeout=60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_hostname=where.hostname) as connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            terminal = cls(connection)
            if b" 101 " not in terminal._until(b"\r\n\r\n").partition(b"\r\n")[0]:
                raise BenchFailure(f"{address.url}: no exec")
            yield terminal

    def echoes(self, count: int) -> list[float]:
        """Seconds from each key to its echo."""
        found = []
        for number in range(count + 10):
            key = TYPED[number % len(TYPED) :][:1]
            begun = time.perf_counter()
            # Masked with a key that changes nothing (RFC 6455, 5.3).
            self._connection.sendall(bytes((BINARY, 0x80 | 2)) + bytes(4) + b"\0" + key)
            while self._message()[1:] != key:
                pass
            if number >= 10:
                # The first few wait for the process to start.
                found.append(time.perf_counter() - begun)
            time.sleep(PAUSE)
        return found

    def _message(self) -> bytes:
        head = self._take(2)
        size = head[1] & 127
        if size == 126:
            (size,) = struct.unpack(">H", self._take(2))
        return self._take(size)

    def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._more()
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._unread:
            self._more()
        found, _, self._unread = self._unread.partition(mark)
        return found

    def _more(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            raise BenchFailure("the exec ended")
        self._unread += data


def _print_ways(found: dict[str, list[Measured]]) -> None:
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; medians of {len(found['direct'])} rounds\n")
    print("| | random, MiB/s | text, MiB/s | CPU, ms/MiB | key to echo, ms: median | 99 % |")
    print("|---|---|---|---|---|---|")
    for name, rounds in found.items():
        speeds = [statistics.median(MEBIBYTES / seconds for seconds in column) for column in (
            [one.random_seconds for one in rounds], [one.text_seconds for one in rounds])]  # fmt: skip
        cpu = statistics.median(one.cpu for one in rounds) / (2 * MEBIBYTES) * 1000
        middle = statistics.median(statistics.median(one.keys) for one in rounds) * 1000
        slow = statistics.median(statistics.quantiles(one.keys, n=100)[98] for one in rounds) * 1000
        cells = [name, *(f"{speed:.0f}" for speed in speeds), f"{cpu:.1f}", f"{middle:.2f}", f"{slow:.2f}"]
        print(f"| {' | '.join(cells)} |")


# --- on the disk ---


def _idle() -> Iterator[Entry]:
    yield Entry(0, ChannelData(Channel.STDOUT, b"/ # "))


def _typed() -> Iterator[Entry]:
    """A person: two keys a second, each echoed, and a page of output every half minute."""
    chance = random.Random(2)
    for half in range(2 * HOUR):
        at = half * MICROSECONDS // 2
        key = chance.choice(string.ascii_lowercase + " ").encode()
        yield Entry(at, ChannelData(Channel.STDIN, key))
        yield Entry(at + 3000, ChannelData(Channel.STDOUT, key))
        if half % 60 == 59:
            yield Entry(at + 5000, ChannelData(Channel.STDOUT, _listing(chance)))


def _listing(chance: random.Random) -> bytes:
    lines = (
        f"web-{chance.randrange(16**9):x}-{chance.randrange(16**4):x}   1/1   Running   0   {chance.randrange(90)}m\r\n"
        for _ in range(24)
    )
    return "".join(lines).encode()


def _redrawn() -> Iterator[Entry]:
    """A screen as `top` has it, drawn anew every second."""
    chance = random.Random(3)
    for second in range(HOUR):
        rows = (
            f"{chance.randrange(90000):6} root      20   0 {chance.randrange(10**6):8} {chance.randrange(10**5):7}"
            f" S {chance.random() * 9:5.1f} {chance.random() * 5:5.1f}   0:{chance.randrange(60):02} worker\x1b[K\r\n"
            for _ in range(24)
        )
        yield Entry(second * MICROSECONDS, ChannelData(Channel.STDOUT, b"\x1b[H" + "".join(rows).encode()[:SCREEN]))


HOURS: Final = {
    "nobody uses it": _idle,
    "a person types": _typed,
    "its screen is drawn anew each second": _redrawn,
}


def _print_stored(folder: Path) -> None:
    print("\n| an hour of a session | bytes that passed | recording | blocks, each told to the record |")
    print("|---|---|---|---|")
    for number, (name, entries) in enumerate(HOURS.items()):
        passed, stored, blocks = _stored(folder, f"hour-{number}", entries())
        print(f"| {name} | {passed:,} | {stored:,} | {blocks} |")


def _stored(folder: Path, session: str, entries: Iterator[Entry]) -> tuple[int, int, int]:
    header = Header(
        session=session, began=0, kind=Kind.EXEC, chain=("agent:bench",), cluster="bench", namespace=NAMESPACE,
        pod=RUNNER, command=("sh",), tty=True, protocol=PROTOCOL,
    )  # fmt: skip
    live = LiveFile.begin(folder, header, Sealing(bytes(SALT_BYTES), None), Packing())
    live.write([Entry(0, Resized(80, 24))])
    passed = 0
    for entry in entries:
        if isinstance(entry.what, ChannelData):
            passed += len(entry.what.data)
        live.write([entry])
    live.write([Entry(HOUR * MICROSECONDS, Ended("over"))])
    head = live.finish()
    (path,) = folder.glob(f"*{session}*.recording")
    return passed, path.stat().st_size, head.blocks


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
