"""An OpenID provider, as the gate speaks with it when a person signs in: the gate is its relying party.

Authorization code flow with PKCE (OpenID Connect Core 1.0, section 3.1; RFC 7636, RFC 9700). Of what the provider
answers the ID token alone is looked at; its access token is for other servers, and is thrown away.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import aiohttp
import msgspec

from narrowgate.authenticators.issuer_keys import (
    DISCOVERY_PATH,
    RETRY_SECONDS,
    IssuerUnreachable,
    ProviderMetadata,
)
from narrowgate.authenticators.jwks import TokenRefused, UnknownKey
from narrowgate.authenticators.strict_json import NotStrict, read_object
from narrowgate.authenticators.token_verifier import TokenVerifier
from narrowgate.control.oidc_pending import OIDCPending
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.sign_in import SignIn

PROBED_SECONDS = 5.0
"""So long a provider that answered is believed to answer, so that many sign-ins ask it little."""

MOST_ANSWER_BYTES = 256 << 10
"""Of a token answer; one with 64 groups has some 20 KB."""

MOST_AT_ONCE = 16
"""Codes under exchange at one time: whoever invents codes makes the gate ask the provider, which must have a limit."""

LONGEST_HINT = 4000
"""Characters of an ID token that goes into the address of the provider's sign-out page; servers take 8 KB of those."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a person is made to wait for a provider. Seconds."""

    probe: float = 5.0
    """For the look whether it answers at all."""
    answer: float = 10.0
    """For the exchange of a code."""
    keys: float = RETRY_SECONDS
    """Until its keys may be asked for once more, when a token names one that is not there yet."""


USUAL_PATIENCE = Patience()


class ProviderFailed(Exception):
    """Nobody was signed in. The text is a sentence for the person; `code` the status of the page it stands on."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


class Redeemed(msgspec.Struct, frozen=True):
    """What a code was worth."""

    who: Identity
    hint: str
    """The ID token, for the provider's sign-out page; it proves nothing here any more. Empty where it is not to be used
    so: no such page, or too long for an address."""


class OIDCProvider:
    """One configured issuer that people sign in with; lives as long as the process."""

    def __init__(self, verifier: TokenVerifier, url: str, patience: Patience = USUAL_PATIENCE) -> None:
        """`url` is the control port's.

        Raises ValueError for an issuer without a login, ssl.SSLError where the configured CA is no certificate.
        """
        if verifier.issuer.login is None:
            raise ValueError(f"nobody signs in with {verifier.issuer.called}: it has no login")
        self._issuer = verifier.issuer
        self._login = verifier.issuer.login
        self._keys = verifier.keys
        self._verifier = verifier
        self._patience = patience
        self._url = url.rstrip("/")
        self._context = ssl.create_default_context(cadata=self._issuer.certificate_authority or None)
        self._exchanges = asyncio.Semaphore(MOST_AT_ONCE)
        self._answered_at = float("-inf")

    @property
    def name(self) -> str:
        """A path segment."""
        return self._login.name

    @property
    def title(self) -> str:
        """What people call it."""
        return self._login.title

    @property
    def source(self) -> str:
        """Who vouches, as the record says it."""
        return f"oidc:{self._login.name}"

    @property
    def gate_url(self) -> str:
        """Where the sign-in must have been begun, for its cookie to come back."""
        return self._url

    @property
    def callback_url(self) -> str:
        """Where its answers come to; to be registered with the provider. One for each: RFC 9700, section 4.4.2.2."""
        return f"{self._url}/sign-in/oidc/{quote(self._login.name, safe='')}/callback"

    async def authorization_url(self, pending: OIDCPending) -> str:
        """Where the browser goes. Raises ProviderFailed, also where nobody answers there: the page says so then."""
        await self._probe()
        metadata = await self._metadata()
        if not metadata.authorization_endpoint or not metadata.token_endpoint:
            raise ProviderFailed(
                f"{self.title} signs nobody in: its metadata has no authorization or token endpoint", 502
            )
        parameters = {
            "response_type": "code",
            "client_id": self._login.client_id,
            "redirect_uri": self.callback_url,
            "scope": " ".join(self._login.scopes),
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": pending.challenge,
            "code_challenge_method": "S256",
        }
        return _with_parameters(metadata.authorization_endpoint, parameters)

    async def check_named(self, named: str | None) -> None:
        """Hold the `iss` of an answer against who was asked (RFC 9207, section 2.4). Raises ProviderFailed."""
        if named is None and not (await self._metadata()).names_itself_in_answers:
            return
        if named != self._issuer.url:
            raise ProviderFailed(f"this answer does not come from {self.title}, where this sign-in was begun", 400)

    async def redeem(self, code: str, pending: OIDCPending) -> Redeemed:
        """The person whom `code` stands for. Raises ProviderFailed."""
        metadata = await self._metadata()
        if self._exchanges.locked():
            raise ProviderFailed(
                f"too many people sign in with {self.title} at this moment; try again in a minute", 503
            )
        async with self._exchanges:
            id_token = await self._exchanged(metadata, code, pending)
        who = await self._verified(id_token, pending)
        if who.kind is not Kind.PERSON:
            raise ProviderFailed(f"{self.title} vouches for programs here, and only people sign in", 403)
        hint = id_token if metadata.end_session_endpoint and len(id_token) <= LONGEST_HINT else ""
        # The token's own end says how long it may be presented, not how long somebody stays signed in.
        return Redeemed(msgspec.structs.replace(who, proven_by=self.source, expires_at=None), hint)

    async def farewell(self, sign_in: SignIn, hint: str) -> str:
        """Its page for signing out (OpenID Connect RP-Initiated Logout 1.0); empty where it has none, or is away."""
        try:
            await self._probe()
            endpoint = (await self._metadata()).end_session_endpoint
        except ProviderFailed:
            return ""
        if not endpoint:
            return ""
        parameters = {"client_id": self._login.client_id, "logout_hint": sign_in.person}
        if hint:
            parameters["id_token_hint"] = hint
            parameters["post_logout_redirect_uri"] = f"{self._url}/signed-out"
        return _with_parameters(endpoint, parameters)

    async def _metadata(self) -> ProviderMetadata:
        try:
            return await self._keys.metadata()
        except IssuerUnreachable as error:
            raise ProviderFailed(error.reason, 503) from None

    async def _probe(self) -> None:
        """Raise ProviderFailed where it does not answer now: a browser sent there would show a page of its own."""
        if time.monotonic() - self._answered_at < PROBED_SECONDS:
            return
        address = self._issuer.discovery_url or self._issuer.url.rstrip("/") + DISCOVERY_PATH
        status, _ = await self._call("GET", address, self._patience.probe)
        if status >= 500:
            raise self._away(f"{address} answers {status}")
        self._answered_at = time.monotonic()

    async def _exchanged(self, metadata: ProviderMetadata, code: str, pending: OIDCPending) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.callback_url,
            "code_verifier": pending.verifier,
        }
        headers = self._authenticate(metadata, form)
        status, content = await self._call("POST", metadata.token_endpoint, self._patience.answer, form, headers)
        answer = _object(content)
        if status != 200:
            raise self._refusal(status, answer)
        id_token = answer.get("id_token")
        if not isinstance(id_token, str) or not id_token:
            raise ProviderFailed(f"{self.title} answered without an ID token; is `openid` among the scopes?", 502)
        return id_token

    def _authenticate(self, metadata: ProviderMetadata, form: dict[str, str]) -> dict[str, str]:
        """Prove that the gate is the client: Basic where the provider takes it (RFC 6749, section 2.3.1)."""
        client_id, secret = self._login.client_id, self._login.client_secret
        methods = metadata.token_endpoint_auth_methods
        if not secret:
            form["client_id"] = client_id
            return {}
        if "client_secret_basic" not in methods and "client_secret_post" in methods:
            form |= {"client_id": client_id, "client_secret": secret}
            return {}
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    async def _verified(self, id_token: str, pending: OIDCPending) -> Identity:
        try:
            try:
                return await self._verify(id_token, pending)
            except UnknownKey:
                # Just rotated: the token came from the provider itself, and keys are not asked for more often.
                await asyncio.sleep(self._patience.keys)
                return await self._verify(id_token, pending)
        except TokenRefused as error:
            raise ProviderFailed(f"the token that {self.title} gave {error.reason}", 403) from None
        except IssuerUnreachable as error:
            raise ProviderFailed(error.reason, 503) from None

    async def _verify(self, id_token: str, pending: OIDCPending) -> Identity:
        return await self._verifier.verify(id_token, time.time(), audience=self._login.client_id, nonce=pending.nonce)

    async def _call(
        self,
        method: str,
        url: str,
        seconds: float,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body. A redirect is an answer like any other. Raises ProviderFailed where there is none."""
        try:
            async with asyncio.timeout(seconds):
                return await self._called(method, url, form, headers or {})
        except TimeoutError:
            raise self._away(f"no answer within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._away(_why(error)) from None

    async def _called(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        common = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "narrowgate"}
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context, limit=1),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers=common,
            ) as session,
            session.request(method, url, data=form, headers=headers, allow_redirects=False) as answer,
        ):
            content = bytearray()
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) > MOST_ANSWER_BYTES:
                    raise ValueError(f"it answers more than {MOST_ANSWER_BYTES} bytes")
            return answer.status, bytes(content)

    def _away(self, why: str) -> ProviderFailed:
        return ProviderFailed(
            f"{self.title} cannot be reached ({why}): who is signed in stays so until that expires, "
            "nobody new comes in; try again when it is back",
            503,
        )

    def _refusal(self, status: int, answer: Mapping[str, Any]) -> ProviderFailed:
        if status >= 500:
            return self._away(f"its token endpoint answers {status}")
        if status == 401 or answer.get("error") == "invalid_client":
            return ProviderFailed(
                f"{self.title} does not accept this gate as its client; whoever runs the gate looks at clientID "
                f'and the client secret of the login "{self.name}"',
                502,
            )
        said = shown(str(answer.get("error") or status))
        return ProviderFailed(f"{self.title} did not take back the code that it gave ({said}); begin again", 403)


def shown(text: str, limit: int = 200) -> str:
    """Foreign text in a sentence of ours: printable and short."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:limit]


def _with_parameters(endpoint: str, parameters: Mapping[str, str]) -> str:
    # RFC 6749, section 3.1: an endpoint may have a query of its own, which must stay.
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters, quote_via=quote)}"


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        return read_object(content)
    except NotStrict:
        return {}


def _why(error: Exception) -> str:
    """Why a call failed, without the addresses of objects that aiohttp puts into its messages."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not to be trusted: {shown(str(error.certificate_error))}"
        case aiohttp.ClientConnectorError():
            return _why_unconnected(error.os_error)
        case aiohttp.ClientError():
            return "the connection broke"
        case _:
            return shown(str(error)) or "the connection broke"


def _why_unconnected(error: OSError) -> str:
    # asyncio puts its own text into a refused connection's error; a name's error has numbers of its own.
    number = 0 if isinstance(error, socket.gaierror) else error.errno or 0
    return (os.strerror(number) if number > 0 else error.strerror or "no connection").lower()
