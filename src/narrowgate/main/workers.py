"""The processes of a gate: one, or several that share the data port (SO_REUSEPORT), each with a journal of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import sys

import uvloop

from narrowgate.config import Config, gate_keys
from narrowgate.keys import Keys
from narrowgate.main.worker import Worker
from narrowgate.proxy.upstream import KEEPALIVE_SECONDS

log = logging.getLogger("narrowgate")


class PortTaken(Exception):
    """The data port cannot be listened on; the text says which, why, and what to do."""


def serve(config: Config) -> int:
    """Serve until told to stop; the exit code. Raises the known errors of starting."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    keys = gate_keys(config)
    _allow_many_files()
    if config.workers == 1:
        return _run(config, keys, 0)
    return _supervise(config, keys)


def _allow_many_files() -> None:
    """Use as many open files as the system lets us: each request under way takes two (`ulimit -n` is often 1024)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _run(config: Config, keys: Keys, number: int, parent_lives: int | None = None) -> int:
    bound = _bind(config, shared=config.workers > 1)

    async def work() -> None:
        await Worker(config, keys, bound, number).run(parent_lives)

    try:
        uvloop.run(work())
    except BaseExceptionGroup as group:
        # A task group wraps what ended it; the operator is told the first cause, not its wrapping.
        raise _first(group) from None
    return 0


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _bind(config: Config, *, shared: bool) -> socket.socket:
    host, port = config.listen.kubernetes
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by every accepted connection: a watch may be silent for minutes, and a client that is gone without a
    # word must not hold it for ever.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        reason = (error.strerror or str(error)).lower()
        raise PortTaken(
            f"cannot listen on {host}:{port} ({reason}), listen.kubernetes of the configuration: "
            "stop what listens there or name another port"
        ) from error
    return bound


def _supervise(config: Config, keys: Keys) -> int:
    """Fork the workers and wait. When one ends by itself all end: a gate with a part missing is for its supervisor."""
    # Said once and by the parent. Alone, because SO_REUSEPORT would share the port with another gate, too.
    _bind(config, shared=False).close()
    flock = _Flock()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, flock.stop)
    signal.signal(signal.SIGHUP, flock.pass_on)
    parent_lives, parent = os.pipe()
    for index in range(config.workers):
        flock.children.add(_fork(config, keys, index, (parent_lives, parent)))
    if flock.stopping:
        # It was asked to stop before all of them were there.
        flock.stop(signal.SIGTERM, None)
    return flock.wait()


class _Flock:
    """The worker processes, as their parent sees them."""

    def __init__(self) -> None:
        self.children: set[int] = set()
        self.stopping = False

    def pass_on(self, number: int, _: object) -> None:
        """Send a signal to all of them."""
        for child in tuple(self.children):
            # One that has just ended is about to be missed by `wait`.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    def stop(self, number: int, frame: object) -> None:
        """End all of them; what they end with then is no failure of theirs unless they say so."""
        self.stopping = True
        self.pass_on(number, frame)

    def wait(self) -> int:
        """Wait for all of them; the exit code for the whole gate."""
        failed = False
        while self.children:
            child, status = os.wait()
            self.children.discard(child)
            code = os.waitstatus_to_exitcode(status)
            if self.stopping and code in (0, -signal.SIGTERM, -signal.SIGINT):
                continue
            failed = True
            log.error("worker process %d ended with %d: stopping the others", child, code)
            self.stop(signal.SIGTERM, None)
        return 1 if failed else 0


def _fork(config: Config, keys: Keys, number: int, pipe: tuple[int, int]) -> int:
    child = os.fork()
    if child:
        return child
    # The child never returns into the caller's stack: it serves, says what was wrong if it cannot, and ends.
    try:
        # Until the worker takes signals itself: end on these, and there is nothing to read again yet.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        parent_lives, parent = pipe
        os.close(parent)
        code = _run(config, keys, number, parent_lives)
    except Exception as error:  # noqa: BLE001 the last border of this process
        log.error("worker %d cannot serve: %s", number, error)
        code = 1
    os._exit(code)
