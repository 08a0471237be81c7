"""Ids of requests: no two are the same, in whichever of a gate's processes they are made."""

from __future__ import annotations

import os
import re

from narrowgate.proxy.exchange import new_audit_id


def _ids_of_a_fork() -> list[str]:
    """Made as a worker makes them, which is a fork of the gate."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, " ".join(new_audit_id() for _ in range(5)).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        return told.read().split()


def test_ids_differ_within_a_process_and_between_forks_of_it() -> None:
    found = [*_ids_of_a_fork(), *_ids_of_a_fork(), *(new_audit_id() for _ in range(5))]
    assert len(set(found)) == 15


def test_an_id_is_shaped_like_the_api_servers_own() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", new_audit_id())
