"""One POST to a receiver, over TLS that is verified, never redirected, never longer than a few seconds."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import partial

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from narrowgate import __version__
from narrowgate.control.notifications.outcomes import NotNow
from narrowgate.control.notifications.printable_text import printable

ANSWER_SECONDS = 15.0
"""From connecting to the end of the answer (Standard Webhooks 1.0.0 advises 15 to 30)."""

MOST_ANSWER_BYTES = 64 << 10
"""Of an answer's body; the rest is not read."""


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver answered."""

    status: int
    wait: float | None
    """What Retry-After asks for, in seconds; None where nothing does."""
    body: bytes


class _Resolver(AbstractResolver):
    """Names looked up in a thread of its own: a name server that does not answer must take none of the threads that
    people's calls are answered by.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="receiver-name")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See aiohttp. Raises OSError."""
        look = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._thread, look)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """See aiohttp."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class Posting:
    """Connections to one receiver. Made within the event loop."""

    def __init__(self, certificate_authority: str) -> None:
        """Raises ssl.SSLError where the CA (PEM) is none; empty means whom the system trusts."""
        self._resolver = _Resolver()
        # No cookies, and nothing of the environment's proxies and .netrc: the configuration alone says what is sent.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=ssl.create_default_context(cadata=certificate_authority or None),
                limit=2,
                force_close=True,
                resolver=self._resolver,
            ),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            # A small answer that unpacks into a large one is none that anybody needs here.
            headers={"User-Agent": f"Narrowgate/{__version__}", "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], now: float) -> Posted | NotNow:
        """Post once: what was answered, or why nothing was. `now` (Unix seconds) is what a date in the answer is
        held against.
        """
        try:
            async with self._session.post(
                URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as answer:
                content = await _first_bytes(answer.content, MOST_ANSWER_BYTES)
                wait = retry_after(answer.headers.get("Retry-After", ""), now)
                return Posted(status=answer.status, wait=wait, body=content)
        except TimeoutError:
            return NotNow(trouble=f"it did not answer within {ANSWER_SECONDS:.0f} s")
        except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            # Not the address itself: a path may hold a secret.
            return NotNow(trouble=printable(f"it cannot be reached: {_reason(error)}", 300))

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()
        await self._resolver.close()


def refusal(posted: Posted) -> NotNow:
    """What an answer that is no success means for what is tried next."""
    if 300 <= posted.status < 400:
        return NotNow(trouble=f"it answered {posted.status}: redirects are not followed; configure where it is")
    # 400, 413, 415 and 422 are about this one message; 401, 403 and 404 are about whatever is sent.
    return NotNow(
        trouble=f"it answered {posted.status}", wait=posted.wait, refused=posted.status in (400, 413, 415, 422)
    )


def retry_after(text: str, now: float) -> float | None:
    """Seconds that `Retry-After` asks for (RFC 9110, section 10.2.3), none below 0; None where it asks for nothing."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if not text:
        return None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def _reason(error: Exception) -> str:
    # aiohttp's texts repeat the address; what is beneath says what happened.
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or type(error.os_error).__name__
    if isinstance(error, OSError):
        return error.strerror or "the connection failed"
    return "the connection ended before there was an answer"


async def _first_bytes(stream: aiohttp.StreamReader, most: int) -> bytes:
    read = bytearray()
    while len(read) < most and (piece := await stream.read(most - len(read))):
        read += piece
    return bytes(read)
