"""Console sessions: a browser holds a cookie, the cookie is the secret of a sign-in in the store.

The rules, after OWASP's session management and RFC 6265bis: the cookie has the `__Host-` prefix (only this host, only
https, set by nobody else), is out of reach of scripts, and does not travel with what other sites send. Every sign-in
makes a new secret, whatever cookie came along, so that nobody can be signed in to a session that somebody else knows.
A session ends at an absolute time, and what was ended is never valid again: the store says so at every request.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from starlette.requests import Request
from starlette.responses import Response

from narrowgate.control.issuing import new_id
from narrowgate.control.settings import ControlSettings
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.port import NotThere, Store

COOKIE = "__Host-narrowgate-session"

SECRET_PREFIX = "ngs1_"
"""Begins every session secret; the digit is the version of the format."""

SECRET_BYTES = 32
"""256 bits: guessing is hopeless for ever, so that a plain SHA-256 of it may be stored."""

SECRET_CHARACTERS = len(SECRET_PREFIX) + 43
"""43 letters of base64url hold 32 bytes. Whatever is longer is not looked up."""

CSRF_FIELD = "csrf_token"
"""The field of a form that holds the token."""

_CSRF_CONTEXT = b"narrowgate csrf 1\n"
_KEEPSAKES = "console keepsake"
_KEEPSAKE_CONTEXT = b"narrowgate console keepsake 1\n"
_NONCE_BYTES = 12
"""RFC 8439; random ones are safe here: each key seals one text."""

_SOURCE_LIMIT = 64
_AGENT_LIMIT = 512
"""Characters of an address and of a user agent that are kept with a sign-in."""


class CrossSite(Exception):
    """A form that did not come from our own page; the text says why. Answer 403 and change nothing."""


class ConsoleSessions:
    """Starts, finds and ends them. All may raise StoreUnavailable."""

    def __init__(self, store: Store, settings: ControlSettings) -> None:
        self._store = store
        self._settings = settings
        self._origin = origin_of(settings.url)

    async def current(self, request: Request) -> SignIn | None:
        """The sign-in of the browser that asks; None where there is none, or not any more."""
        secret = session_secret(request)
        if not secret:
            return None
        try:
            sign_in = await asyncio.to_thread(self._store.sign_ins.by_secret, hash_of(secret))
        except NotThere:
            return None
        return sign_in if _is_good(sign_in, hash_of(secret), time.time()) else None

    async def start(
        self, request: Request, who: Identity, response: Response, *, sign_in_id: str = "", keepsake: str = ""
    ) -> SignIn:
        """Sign `who` in: a new sign-in, its cookie in `response`, and an end to the one that the browser had.

        It ends after the configured time, or at `who.expires_at` where that is sooner. `sign_in_id` is one that
        `new_id` has just made, for callers who must write it down before. `keepsake`: see there. Raises ValueError for
        anybody but a person.
        """
        if who.kind is not Kind.PERSON:
            raise ValueError("only people sign in to the console")
        now = time.time()
        longest = now + self._settings.sign_in_seconds
        secret = new_session_secret()
        sign_in = SignIn(
            id=sign_in_id or new_id(),
            person=who.name,
            groups=who.groups,
            source=who.proven_by,
            claims=who.claims,
            client=Client.CONSOLE,
            secret_hash=hash_of(secret),
            renewed_at=now,
            created_at=now,
            expires_at=longest if who.expires_at is None else min(longest, who.expires_at),
            source_ip=request.client.host[:_SOURCE_LIMIT] if request.client else "",
            user_agent=request.headers.get("user-agent", "")[:_AGENT_LIMIT],
        )
        await self._end_cookie(request, f"signed in anew as {who}", by=str(who))
        await asyncio.to_thread(self._store.sign_ins.add, sign_in, by=str(who), at=now)
        if keepsake:
            sealed = _seal(keepsake, secret, sign_in.id)
            put = self._store.once.put
            await asyncio.to_thread(put, _KEEPSAKES, sign_in.id, sealed, expires_at=sign_in.expires_at, now=now)
        response.set_cookie(
            COOKIE, secret, max_age=int(sign_in.expires_at - now), path="/", secure=True, httponly=True, samesite="lax"
        )
        return sign_in

    async def keepsake(self, request: Request, sign_in: SignIn) -> str:
        """What was given to `start` to be kept for the end of this session; empty where nothing was.

        It lies in the store encrypted with a key that only the browser's cookie gives: whoever reads the store, or a
        copy of it, has nothing.
        """
        sealed = await asyncio.to_thread(self._store.once.look, _KEEPSAKES, sign_in.id, now=time.time())
        return _unseal(sealed, session_secret(request), sign_in.id) if sealed else ""

    async def end(self, request: Request, response: Response, because: str) -> None:
        """End the session of the browser that asks, where it has one, and take its cookie away."""
        await self._end_cookie(request, because)
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")

    def csrf_token(self, sign_in: SignIn) -> str:
        """What a form of this session carries, and what no other site can know; another one for every session."""
        return hmac.digest(sign_in.secret_hash, _CSRF_CONTEXT + sign_in.id.encode(), "sha256").hex()

    def check_csrf(self, request: Request, form: Mapping[str, str], sign_in: SignIn) -> None:
        """Raise CrossSite unless the form was sent by a page of ours, in this session."""
        self.check_origin(request)
        given = form.get(CSRF_FIELD, "").encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(given, self.csrf_token(sign_in).encode()):
            raise CrossSite("this form belongs to another session, or to none; load the page again and repeat it")

    def check_origin(self, request: Request) -> None:
        """Raise CrossSite unless the browser says that a page of ours sent this. Whoever says nothing is refused.

        Browsers send Origin with every POST (Fetch, "serializing a request origin"); Sec-Fetch-Site is held against
        what they say where they say both.
        """
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if origin is None and site is None:
            raise CrossSite("the browser does not say which page sent this form; use one from the last few years")
        if (origin is not None and origin != self._origin) or (site is not None and site != "same-origin"):
            raise CrossSite(f"this form was sent from another page; begin again at {self._origin}/")

    async def _end_cookie(self, request: Request, because: str, *, by: str = "") -> None:
        secret = session_secret(request)
        if not secret:
            return
        with contextlib.suppress(NotThere):
            sign_in = await asyncio.to_thread(self._store.sign_ins.by_secret, hash_of(secret))
            if sign_in.client is Client.CONSOLE:
                by = by or f"person:{sign_in.person}"
                await asyncio.to_thread(self._store.sign_ins.end, sign_in.id, because, by=by, at=time.time())
                await asyncio.to_thread(self._store.once.take, _KEEPSAKES, sign_in.id, now=time.time())


def session_secret(request: Request) -> str:
    """The secret in the request's cookie; empty where there is none that could be one.

    A browser never sends the cookie twice (`__Host-`); where it comes twice, neither is believed.
    """
    found = [value for name, value in cookies_of(request) if name == COOKIE]
    if len(found) != 1 or len(found[0]) != SECRET_CHARACTERS or not found[0].startswith(SECRET_PREFIX):
        return ""
    return found[0] if found[0].isascii() else ""


def cookies_of(request: Request) -> list[tuple[str, str]]:
    """Name and value of every cookie that came along, doubles included (RFC 6265, section 4.2.1)."""
    pairs = [pair.partition("=") for header in request.headers.getlist("cookie") for pair in header.split(";")]
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def new_session_secret() -> str:
    """256 random bits, as a cookie holds them."""
    return SECRET_PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")


def hash_of(secret: str) -> bytes:
    """What the store keeps of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def origin_of(url: str) -> str:
    """The origin of an address, as browsers write it: lower case, without the port that the scheme implies."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    implied = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, implied) else "")


def _is_good(sign_in: SignIn, hashed: bytes, now: float) -> bool:
    """Whether a sign-in found by this secret is a console session that runs."""
    return (
        sign_in.client is Client.CONSOLE
        and hmac.compare_digest(sign_in.secret_hash, hashed)
        and sign_in.ended_at is None
        and now < sign_in.expires_at
    )


def _seal(text: str, secret: str, sign_in_id: str) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = ChaCha20Poly1305(_keepsake_key(secret)).encrypt(nonce, text.encode(), sign_in_id.encode())
    return base64.b64encode(nonce + sealed).decode()


def _unseal(sealed: str, secret: str, sign_in_id: str) -> str:
    content = base64.b64decode(sealed)
    key = ChaCha20Poly1305(_keepsake_key(secret))
    try:
        return key.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], sign_in_id.encode()).decode()
    except InvalidTag:
        return ""


def _keepsake_key(secret: str) -> bytes:
    # The secret has 256 random bits of its own: one keyed hash makes a key that is good for this alone.
    return hmac.digest(secret.encode(), _KEEPSAKE_CONTEXT, "sha256")
