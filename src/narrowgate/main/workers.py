"""The processes of a gate: data planes that share the data port (SO_REUSEPORT), and the control plane.

Each has a journal of its own. With one data plane it is the process that was started, else that one only watches over
the others. When any of them ends by itself all end: a gate with a part missing is for its supervisor.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import uvloop

from narrowgate.config import Config, gate_keys
from narrowgate.control.serving import listening
from narrowgate.keys import Keys
from narrowgate.main.control import ControlProcess
from narrowgate.main.worker import Worker
from narrowgate.proxy.upstream import KEEPALIVE_SECONDS
from narrowgate.store.open import open_store

log = logging.getLogger("narrowgate")


class PortTaken(Exception):
    """The data port cannot be listened on; the text says which, why, and what to do."""


def serve(config: Config) -> int:
    """Serve until told to stop; the exit code. Raises the known errors of starting."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    keys = gate_keys(config)
    _allow_many_files()
    # Made and brought to this version by one process: several that do it at once could keep each other from it.
    open_store(config.store, config.data_dir).close()
    with listening(*config.listen.control, "listen.control") as control:
        gate = _Gate(config, keys, control)
        return gate.serve_alone() if config.workers == 1 else gate.supervise()


def _allow_many_files() -> None:
    """Use as many open files as the system lets us: each request under way takes two (`ulimit -n` is often 1024)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


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


class _Gate:
    """One gate on its way into its processes."""

    def __init__(self, config: Config, keys: Keys, control: socket.socket) -> None:
        self._config = config
        self._keys = keys
        self._control = control

    def serve_alone(self) -> int:
        """Be the data plane, with the control plane beside it; the exit code. Raises the known errors of starting."""
        bound = _bind(self._config, shared=False)
        lives, parent = os.pipe()
        child_lives, child_end = os.pipe()

        def work() -> int:
            os.close(parent)
            os.close(child_lives)
            bound.close()
            # `child_end` stays open for as long as this process lives: that is what the data plane looks at.
            return self._run_control(lives)

        child = _fork(work, "control plane")
        os.close(child_end)
        os.close(lives)
        try:
            code = self._run_worker(0, bound, child_lives, [child])
        finally:
            control = _end(child)
            os.close(parent)
        if control != 0:
            log.error("the control plane ended with %d: stopping", control)
        return code or (1 if control else 0)

    def supervise(self) -> int:
        """Fork data planes and control plane, and wait for them; the exit code."""
        # Said once and by the parent. Alone, because SO_REUSEPORT would share the port with another gate, too.
        _bind(self._config, shared=False).close()
        flock = _Flock()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, flock.stop)
        signal.signal(signal.SIGHUP, flock.pass_on)
        lives, parent = os.pipe()

        def control() -> int:
            os.close(parent)
            return self._run_control(lives)

        def worker(number: int) -> int:
            os.close(parent)
            self._control.close()
            return self._run_worker(number, _bind(self._config, shared=True), lives, ())

        for index in range(self._config.workers):
            flock.children.add(_fork(functools.partial(worker, index), f"worker {index}"))
        flock.children.add(_fork(control, "control plane"))
        if flock.stopping:
            # It was asked to stop before all of them were there.
            flock.stop(signal.SIGTERM, None)
        return flock.wait()

    def _run_worker(self, number: int, bound: socket.socket, others_live: int, children: Sequence[int]) -> int:
        def pass_on() -> None:
            for child in children:
                _tell(child, signal.SIGHUP)

        async def work() -> None:
            worker = Worker(self._config, self._keys, bound, number)
            worker.on_reload.append(pass_on)
            await worker.run(others_live)

        return _until_done(work())

    def _run_control(self, others_live: int) -> int:
        async def work() -> None:
            await ControlProcess(self._config, self._keys, self._control).run(others_live)

        return _until_done(work())


def _until_done(work: Coroutine[Any, Any, None]) -> int:
    try:
        uvloop.run(work)
    except BaseExceptionGroup as group:
        # A task group wraps what ended it; the operator is told the first cause, not its wrapping.
        raise _first(group) from None
    return 0


def _tell(child: int, number: int) -> None:
    """Send a signal to a child that may have ended just now."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _end(child: int) -> int:
    """Have a child end, and how it did: its exit code, negative for a signal; 0 where it ended by ours."""
    ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        _tell(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return 0 if not ended and code == -signal.SIGTERM else code


class _Flock:
    """The worker processes, as their parent sees them."""

    def __init__(self) -> None:
        self.children: set[int] = set()
        self.stopping = False

    def pass_on(self, number: int, _: object) -> None:
        """Send a signal to all of them."""
        for child in tuple(self.children):
            # One that has just ended is about to be missed by `wait`.
            _tell(child, number)

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
            log.error("process %d of the gate ended with %d: stopping the others", child, code)
            self.stop(signal.SIGTERM, None)
        return 1 if failed else 0


def _fork(work: Callable[[], int], called: str) -> int:
    child = os.fork()
    if child:
        return child
    # The child never returns into the caller's stack: it serves, says what was wrong if it cannot, and ends.
    try:
        # Until it takes signals itself: end on these, and there is nothing to read again yet.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        code = work()
    except Exception as error:  # noqa: BLE001 the last border of this process
        log.error("the %s cannot serve: %s", called, error)
        code = 1
    os._exit(code)
