"""Whether anything listens where people are to be sent; only a plain "no" counts."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

from dev.cluster.processes import free_ports

from narrowgate.control.saml.reach import MOST_PROBES, Reach


def refuses(url: str) -> bool:
    async def ask() -> bool:
        return await Reach().refuses(url)

    return asyncio.run(ask())


def test_a_port_where_nobody_listens_refuses() -> None:
    (port,) = free_ports(1)
    assert refuses(f"https://127.0.0.1:{port}/sso?x=1")


def test_whoever_listens_does_not_refuse_even_when_nothing_is_answered() -> None:
    (port,) = free_ports(1)
    with closing(socket.create_server(("127.0.0.1", port))):
        assert not refuses(f"https://127.0.0.1:{port}/sso")


def test_one_address_that_answers_is_enough() -> None:
    (port,) = free_ports(1)
    with closing(socket.create_server(("127.0.0.1", port))):
        # localhost is ::1 as well where there is IPv6, and nobody listens there.
        assert not refuses(f"https://localhost:{port}/sso")


def test_a_name_that_the_gate_cannot_find_is_left_to_the_browser() -> None:
    assert not refuses("https://nowhere.invalid/sso")
    assert not refuses("https:///sso")


def test_no_more_than_so_many_are_asked_at_one_time() -> None:
    (port,) = free_ports(1)

    async def ask() -> list[bool]:
        reach = Reach()
        url = f"https://127.0.0.1:{port}/"
        return await asyncio.gather(*(reach.refuses(url) for _ in range(MOST_PROBES + 3)))

    answers = asyncio.run(ask())
    assert answers == [True] * MOST_PROBES + [False] * 3
