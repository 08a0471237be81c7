"""Answers that are held until they are kept: nothing leaves before, and then exactly what came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from narrowgate.proxy.client import Source
from narrowgate.proxy.held_answer import HeldAnswer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: 10\r\n\r\n0123456789"
CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\n\r\n"


class Client:
    """Takes what is sent to it."""

    def __init__(self) -> None:
        self.must_close = False
        self.got = b""
        self.source: Source | None = None
        self.is_aborted = False

    @property
    def sent(self) -> int:
        return len(self.got)

    def write(self, data: bytes) -> None:
        self.got += data

    async def flushed(self) -> None:
        await asyncio.sleep(0)

    def bind(self, source: Source | None) -> None:
        self.source = source

    def abort(self) -> None:
        self.is_aborted = True


class Slowed:
    """A source."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


def never(held: HeldAnswer) -> str:
    raise AssertionError(held.body)


def holding(limit: int = 100, beyond: Callable[[HeldAnswer], str] = never) -> tuple[HeldAnswer, Client]:
    client = Client()
    return HeldAnswer(client, "GET", limit, beyond), client


@pytest.mark.parametrize("raw", [WHOLE, CHUNKS], ids=["length", "chunks"])
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_nothing_leaves_before_it_may_and_then_all_as_it_came(raw: bytes, step: int) -> None:
    held, client = holding()
    end = raw.index(b"\r\n\r\n") + 4
    held.write(raw[:end])
    for at in range(end, len(raw), step):
        held.write(raw[at : at + step])
    assert (client.got, held.body, held.is_passing) == (b"", b"0123456789", False)
    assert held.head is not None
    assert held.head.status == 200
    held.let_go()
    assert client.got == raw
    held.write(b"more")
    assert client.got == raw + b"more"


def test_head_and_body_may_come_at_once() -> None:
    held, client = holding()
    held.write(WHOLE)
    assert (held.body, client.got) == (b"0123456789", b"")


def test_a_body_until_the_end_is_held_too() -> None:
    held, _ = holding()
    held.write(HEAD + b"\r\nabc")
    held.write(b"def")
    assert held.body == b"abcdef"


def test_beyond_the_limit_all_leaves_once_somebody_has_looked() -> None:
    looked: list[bytes] = []

    def beyond(held: HeldAnswer) -> str:
        looked.append(held.body)
        return ""

    held, client = holding(5, beyond)
    source = Slowed()
    held.bind(source)
    end = CHUNKS.index(b"0123")
    held.write(CHUNKS[: end + 4])
    assert (looked, client.got, client.source) == ([], b"", None)
    held.write(CHUNKS[end + 4 :])
    assert looked == [b"0123456789"]
    assert client.got == CHUNKS
    assert client.source is source
    held.bind(None)
    assert client.source is None


def test_what_may_not_leave_never_does() -> None:
    held, client = holding(5, lambda _: "the disk is full")
    held.write(WHOLE)
    held.write(b"more")
    assert (client.got, held.failed, held.body) == (b"", "the disk is full", b"")


def test_an_answer_that_breaks_while_it_is_held_is_not_seen_by_the_client() -> None:
    held, client = holding()
    held.write(WHOLE[:-3])
    held.abort()
    assert (held.is_broken, client.is_aborted, client.got) == (True, False, b"")
    passing, other = holding()
    passing.write(WHOLE[:-3])
    passing.let_go()
    passing.abort()
    assert (passing.is_broken, other.is_aborted) == (False, True)


def test_the_client_is_waited_for_only_where_it_is_sent_something() -> None:
    async def main() -> int:
        held, client = holding()
        await held.flushed()
        held.write(WHOLE)
        held.must_close = True
        assert client.must_close
        assert held.must_close
        held.let_go()
        await held.flushed()
        return held.sent

    assert asyncio.run(main()) == len(WHOLE)
