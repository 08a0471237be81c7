"""The processes of a gate: one, or several that share the data port (SO_REUSEPORT), each with a journal of its own."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys

import uvloop

from narrowgate.config import Config, gate_keys
from narrowgate.keys import Keys
from narrowgate.main.worker import Worker

log = logging.getLogger("narrowgate")


class PortTaken(Exception):
    """The data port cannot be listened on; the text says which, why, and what to do."""


def serve(config: Config) -> int:
    """Serve until told to stop; the exit code. Raises the known errors of starting."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    keys = gate_keys(config)
    if config.workers == 1:
        return _run(config, keys, 0)
    return _supervise(config, keys)


def _run(config: Config, keys: Keys, number: int) -> int:
    bound = _bind(config)

    async def work() -> None:
        await Worker(config, keys, bound, number).run()

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


def _bind(config: Config) -> socket.socket:
    host, port = config.listen.kubernetes
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if config.workers > 1:
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
    children = {_fork(config, keys, number) for number in range(config.workers)}

    def pass_on(number: int, _: object) -> None:
        for child in children:
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    worst = 0
    while children:
        child, status = os.wait()
        children.discard(child)
        code = os.waitstatus_to_exitcode(status)
        worst = worst or abs(code)
        if code:
            log.error("worker process %d ended with %d: stopping the others", child, code)
            pass_on(signal.SIGTERM, None)
    return 1 if worst else 0


def _fork(config: Config, keys: Keys, number: int) -> int:
    child = os.fork()
    if child:
        return child
    # The child never returns into the caller's stack: it serves, says what was wrong if it cannot, and ends.
    try:
        code = _run(config, keys, number)
    except Exception as error:  # noqa: BLE001 the last border of this process
        log.error("worker %d cannot serve: %s", number, error)
        code = 1
    os._exit(code)
