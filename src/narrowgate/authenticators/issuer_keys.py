"""An issuer's metadata and keys: fetched over verified HTTPS, kept fresh, and worth nothing when they are old.

OpenID Connect Discovery 1.0 says where they are. They are fetched every minute, so that a key which its issuer removed
is not believed for longer, and once more when a token names a key that is not there yet, so that a rotation needs no
restart. While the issuer cannot be reached the keys in memory verify for MAX_KEY_AGE, counted from the last successful
fetch; then nothing new is verified, because nobody knows which keys the issuer still stands by.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from narrowgate.authenticators.jwks import KeySet, KeySetInvalid
from narrowgate.authenticators.jwt_issuer import JWTIssuer
from narrowgate.authenticators.strict_json import NotStrict, read_object

MAX_KEY_AGE = 300.0
"""Seconds after the last successful fetch for which keys go on verifying tokens that were not seen before. Long enough
for an issuer's restart, short enough that nobody comes in for long by a key that was withdrawn meanwhile."""

REFRESH_SECONDS = 60.0
"""Between two fetches while all is well: so long may a key that its issuer removed be believed."""

RETRY_SECONDS = 10.0
"""Shortest time between two fetches for any other reason: tokens with unknown keys cost nothing to send, and must not
become a flood on the issuer. An issuer that failed is not asked again sooner, and whoever waits is told at once."""

FETCH_SECONDS = 10.0
"""For one fetch, metadata and keys together; a request with a new token may wait for it."""

MAX_METADATA_BYTES = 128 << 10
"""The largest providers answer some 8 KB."""

MAX_KEYS_BYTES = 256 << 10
"""See `jwks.MAX_DOCUMENT_BYTES`."""

DISCOVERY_PATH = "/.well-known/openid-configuration"
"""OpenID Connect Discovery 1.0, section 4."""

log = logging.getLogger("narrowgate.issuers")


class IssuerUnreachable(Exception):
    """Nobody can say now whether this issuer's tokens are good; the reason says who does not answer, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProviderMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What an issuer says of itself (OpenID Connect Discovery 1.0, section 3). Addresses are https, or empty."""

    issuer: str
    """The configured URL exactly."""
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    end_session_endpoint: str = ""
    """OpenID Connect RP-Initiated Logout 1.0; empty where signing out there is not offered."""
    names_itself_in_answers: bool = False
    """`authorization_response_iss_parameter_supported` (RFC 9207): an answer without `iss` is then to be refused."""
    token_endpoint_auth_methods: tuple[str, ...] = ("client_secret_basic",)
    """The default is the specification's."""
    code_challenge_methods: tuple[str, ...] = ()
    """Empty where it does not say; PKCE is used all the same."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often an issuer is asked, and how long its answer counts. Seconds."""

    max_age: float = MAX_KEY_AGE
    refresh: float = REFRESH_SECONDS
    retry: float = RETRY_SECONDS
    fetch: float = FETCH_SECONDS


USUAL_PACE = Pace()


class _Held(msgspec.Struct, frozen=True):
    """What the last successful fetch brought."""

    metadata: ProviderMetadata
    keys: KeySet
    at: float
    """On the clock."""


class IssuerKeys:
    """The keys of one issuer, for one process and one event loop. It outlives every snapshot."""

    def __init__(self, issuer: JWTIssuer, pace: Pace = USUAL_PACE, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that only grow. Raises ssl.SSLError where the configured CA is no certificate."""
        self._issuer = issuer
        self._pace = pace
        self._clock = clock
        self._context = ssl.create_default_context(cadata=issuer.certificate_authority or None)
        self._held: _Held | None = None
        self._asked_at = float("-inf")
        self._lock = asyncio.Lock()
        self.generation = 0
        """Grows whenever the keys become others: what was verified by earlier ones must be verified again."""
        self.trouble = ""
        """Why the last fetch failed; empty while all is well."""

    async def metadata(self) -> ProviderMetadata:
        """What the issuer says of itself, at most MAX_KEY_AGE old. Raises IssuerUnreachable."""
        return (await self._fresh()).metadata

    async def current(self) -> KeySet:
        """The keys to verify by, at most MAX_KEY_AGE old. Raises IssuerUnreachable."""
        return (await self._fresh()).keys

    async def newer(self, than: KeySet) -> KeySet | None:
        """Keys fetched because `than` did not suffice; None where there are no others, or it is too early to ask again.

        Raises IssuerUnreachable where the issuer, asked last, did not answer: it may have keys that nobody here knows.
        """
        await self._ask(lambda: self._may_ask() and self._keys_are(than))
        held = self._young()
        if held is None or self.trouble:
            raise self._unreachable()
        return None if self._keys_are(than) else held.keys

    async def follow(self) -> None:
        """Keep the keys fresh for as long as the process runs."""
        while True:
            await self._ask(lambda: True)
            await asyncio.sleep(self._pace.retry if self.trouble else self._pace.refresh)

    def hold(self, metadata: ProviderMetadata, keys: KeySet) -> None:
        """Take these as fetched just now."""
        if self._held is None or self._held.keys.fingerprint != keys.fingerprint:
            self.generation += 1
            for reason in keys.ignored:
                log.warning("%s: %s", self._issuer.called, reason)
        self._asked_at = self._clock()
        self._held = _Held(metadata, keys, self._asked_at)
        if self.trouble:
            log.info("issuer %s answers again", self._issuer.called)
        self.trouble = ""

    async def _fresh(self) -> _Held:
        """What is held, fetched again where it is too old. Raises IssuerUnreachable."""
        if (held := self._young()) is None:
            await self._ask(lambda: self._young() is None and self._may_ask())
            held = self._young()
        if held is None:
            raise self._unreachable()
        return held

    def _young(self) -> _Held | None:
        held = self._held
        return held if held is not None and self._clock() - held.at <= self._pace.max_age else None

    def _may_ask(self) -> bool:
        return self._clock() - self._asked_at >= self._pace.retry

    def _keys_are(self, keys: KeySet) -> bool:
        return self._held is not None and self._held.keys.fingerprint == keys.fingerprint

    def _unreachable(self) -> IssuerUnreachable:
        why = self.trouble or "it was not asked yet"
        return IssuerUnreachable(
            f'the identity provider "{self._issuer.called}" does not answer as it should ({why}): who is signed in '
            "stays so until that expires, nobody new comes in; try again when it is back"
        )

    async def _ask(self, still_needed: Callable[[], bool]) -> None:
        """Fetch once, unless somebody else did while this one waited. What goes wrong is in `trouble` afterwards."""
        async with self._lock:
            if not still_needed():
                return
            try:
                async with asyncio.timeout(self._pace.fetch):
                    self.hold(*await self._fetched())
            except TimeoutError:
                self._failed(f"no answer within {self._pace.fetch:g} s")
            except Exception as error:  # noqa: BLE001 - whatever a foreign server provokes, this process goes on without it
                self._failed(_shown(str(error)) or type(error).__name__)
            finally:
                # From the end on, not from the beginning: whoever waited for a slow one must not ask it again at once.
                self._asked_at = self._clock()

    def _failed(self, why: str) -> None:
        if why != self.trouble:
            log.warning("issuer %s cannot be asked for its keys: %s", self._issuer.called, why)
        self.trouble = why

    async def _fetched(self) -> tuple[ProviderMetadata, KeySet]:
        discovery = self._issuer.discovery_url or self._issuer.url.rstrip("/") + DISCOVERY_PATH
        # One connection for both, closed afterwards: between two fetches lies a minute. No proxy, cookie or credential
        # of the environment takes part.
        connector = aiohttp.TCPConnector(ssl=self._context, limit=1)
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "narrowgate"},
        ) as session:
            metadata = read_metadata(await _document(session, discovery, MAX_METADATA_BYTES), self._issuer.url)
            published = await _document(session, metadata.jwks_uri, MAX_KEYS_BYTES)
        try:
            return metadata, KeySet.of(published)
        except KeySetInvalid as error:
            raise _Unusable(f"the keys that it publishes {error}") from None


class _Unusable(ValueError):
    """An answer that nothing can be made of; the text says which and why."""


def read_metadata(document: bytes, url: str) -> ProviderMetadata:
    """The metadata of the issuer at `url`. Raises ValueError, worded for whoever configured it."""
    try:
        written = read_object(document)
    except NotStrict as error:
        raise _Unusable(f"its metadata {error}") from None
    if written.get("issuer") != url:
        raise _Unusable(f'its metadata says that the issuer is "{_shown(written.get("issuer"))}", expected "{url}"')
    jwks_uri = _address(written, "jwks_uri")
    if not jwks_uri:
        raise _Unusable("its metadata has no jwks_uri")
    return ProviderMetadata(
        issuer=url,
        jwks_uri=jwks_uri,
        authorization_endpoint=_address(written, "authorization_endpoint"),
        token_endpoint=_address(written, "token_endpoint"),
        end_session_endpoint=_address(written, "end_session_endpoint"),
        names_itself_in_answers=written.get("authorization_response_iss_parameter_supported") is True,
        token_endpoint_auth_methods=_words(written, "token_endpoint_auth_methods_supported", ("client_secret_basic",)),
        code_challenge_methods=_words(written, "code_challenge_methods_supported", ()),
    )


def _address(written: Mapping[str, Any], member: str) -> str:
    address = written.get(member, "")
    if address == "":
        return ""
    try:
        parts = urlsplit(address) if isinstance(address, str) and address.isprintable() else None
    except ValueError:
        parts = None
    if parts is None or parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.fragment:
        raise _Unusable(f'its metadata has a {member} that is no https address: "{_shown(address)}"')
    return str(address)


def _words(written: Mapping[str, Any], member: str, default: tuple[str, ...]) -> tuple[str, ...]:
    words = written.get(member)
    return tuple(word for word in words if isinstance(word, str)) if isinstance(words, list) else default


def _shown(value: object) -> str:
    """A foreign value in a message of ours: short, and nothing in it that acts on a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))[:200]


async def _document(session: aiohttp.ClientSession, url: str, most: int) -> bytes:
    """What is at `url`, at most `most` bytes of it. A redirect is an error: addresses are where metadata says."""
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise _Unusable(f"{url} answers {answer.status}")
        content = bytearray()
        async for chunk in answer.content.iter_any():
            content += chunk
            if len(content) > most:
                raise _Unusable(f"{url} answers more than {most} bytes")
        return bytes(content)
