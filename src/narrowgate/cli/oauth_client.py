"""The gate's control port, as the command line and the kubectl plugin call it.

TLS is always verified, answers are bounded, redirects are not followed. Standard library only: the plugin renews
credentials with it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from narrowgate import __version__
from narrowgate.cli.private_text import Unusable

CLIENT_ID = "narrowgate-cli"
"""The one public client of every gate (RFC 8252: it can keep no secret)."""

TOKEN_PATH = "/oauth/token"
METADATA_PATH = "/.well-known/oauth-authorization-server"

GRANT_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
GRANT_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
TOKEN_IS_JWT = "urn:ietf:params:oauth:token-type:jwt"
ASSERTION_IS_JWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

CALL_SECONDS = 10
"""Longest silence of the gate; a person waits for it."""

ANSWER_SECONDS = 30
"""For a whole answer, however many pieces it comes in."""

LARGEST_ANSWER = 256 << 10
"""Bytes. The largest answer names every cluster and every group of somebody, some 40 KB."""

LONGEST_NAME = 64
"""Characters of a machine's name that a gate is told (HOST_NAME_MAX of Linux)."""

LEAST_LIFE = 1
"""Seconds that an access credential has to be worth anything at all."""

LONGEST_LIFE = 1 << 31
"""Seconds; what is longer is no length of time."""

_FOR_A_MOMENT = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
"""Errors of OAuth that say: later (RFC 6749, section 4.1.2.1; RFC 8628, section 3.5)."""


class GateUnreachable(Unusable):
    """The gate gave no answer that counts; the text says which, why, and what to do."""


class GateRefused(Unusable):
    """The gate said no. The text is the gate's own, which says what to do; `error` its code (RFC 6749, section 5.2).

    `status` is the answer's, so that whoever called can tell a credential that is over (401) from everything else.
    """

    def __init__(self, error: str, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.error = error
        self.status = status


class Granted(NamedTuple):
    """An answer of the token endpoint (RFC 6749, section 5.1)."""

    access: str
    seconds: float
    """How long `access` lives, from when it was asked for."""
    secret: str
    """What the sign-in is renewed with next time; empty where there is no sign-in."""


class GatePort:
    """One gate's control port at `url`, trusted by `authority` (PEM), or where that is empty by the system's."""

    def __init__(self, url: str, authority: str, context: ssl.SSLContext | None = None) -> None:
        """Raises GateUnreachable for an authority that is no certificate. A `context` given is used instead of it."""
        self.url = url
        try:
            context = context or ssl.create_default_context(cadata=authority or None)
        except (ssl.SSLError, ValueError):
            raise GateUnreachable(
                f"{url}: its CA certificate is none; run: narrowgate login {url} --certificate-authority FILE"
            ) from None
        self._opener = opener(url, context)

    def granted(self, fields: Mapping[str, str]) -> Granted:
        """What the token endpoint gives for `fields`. Raises GateUnreachable, GateRefused."""
        answer = self.post(TOKEN_PATH, fields)
        access, seconds, secret = answer.get("access_token"), answer.get("expires_in"), answer.get("refresh_token", "")
        fits = isinstance(access, str) and isinstance(secret, str) and str(answer.get("token_type")).lower() == "bearer"
        if not fits or not isinstance(seconds, int | float) or not 0 <= seconds < LONGEST_LIFE:
            raise GateUnreachable(f"{self.url} gave an answer without a credential in it: is it a gate's control port?")
        if seconds < LEAST_LIFE:
            raise GateUnreachable(f"{self.url}: what you have proven yourself with ends this moment; sign in again")
        return Granted(str(access), float(seconds), str(secret))

    def post(self, path: str, fields: Mapping[str, str]) -> dict[str, Any]:
        """The answer to a form. Raises GateUnreachable, GateRefused."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._called(urllib.request.Request(self.url + path, urlencode(fields).encode(), headers, method="POST"))

    def get(self, path: str, access: str = "") -> dict[str, Any]:
        """The document at `path`. Raises GateUnreachable, GateRefused."""
        headers = {"Authorization": f"Bearer {access}"} if access else {}
        return self._called(urllib.request.Request(self.url + path, headers=headers))

    def call(self, method: str, path: str, access: str, document: object = None) -> dict[str, Any]:
        """The answer of the gate's API to a call with that access credential; `document` goes as JSON, None as nothing.

        Raises GateUnreachable, GateRefused.
        """
        headers = {"Authorization": f"Bearer {access}"}
        content = None if document is None else json.dumps(document).encode()
        if content is not None:
            headers["Content-Type"] = "application/json"
        return self._called(urllib.request.Request(self.url + path, content, headers, method=method))

    def _called(self, request: urllib.request.Request) -> dict[str, Any]:
        request.add_header("User-Agent", user_agent())
        request.add_header("Accept", "application/json")
        with _worded(self.url):
            try:
                with self._opener.open(request, timeout=CALL_SECONDS) as answer:
                    return _document(self.url, _content(answer))
            except urllib.error.HTTPError as error:
                with error:
                    raise _refusal(self.url, error.code, _content(error)) from None


def _content(answer: Any) -> bytes:
    """The body of an answer, as far as one byte beyond what is taken. Raises TimeoutError."""
    deadline = time.monotonic() + ANSWER_SECONDS
    content = bytearray()
    while len(content) <= LARGEST_ANSWER and (piece := answer.read1(LARGEST_ANSWER)):
        content += piece
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(content)


def user_agent() -> str:
    """What this program calls itself: with the name of the machine, by which a person knows their own sign-ins."""
    name = "".join(
        letter for letter in os.uname().nodename if letter.isascii() and (letter.isalnum() or letter in "-.")
    )
    return f"narrowgate/{__version__} ({name[:LONGEST_NAME] or 'unnamed'})"


def opener(url: str, context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """Opens https addresses of one host, by the proxy of the environment (never for loopback), without redirects."""
    host = urlsplit(url).hostname or ""
    # As Go does it for kubectl (golang.org/x/net/http/httpproxy): what is on this machine is never asked of a proxy.
    here = host == "localhost" or host == "::1" or host.startswith("127.")
    proxies = urllib.request.ProxyHandler({} if here else None)
    made = urllib.request.OpenerDirector()
    for handler in (
        proxies,
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        made.add_handler(handler)
    return made


@contextlib.contextmanager
def _worded(url: str) -> Iterator[None]:
    """Turn the ways in which there is no answer into words."""
    try:
        yield
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            why = reason.verify_message or "it cannot be verified"
            raise GateUnreachable(
                f"the certificate of {url} is not trusted ({why}): get the gate's CA from whoever runs it "
                f"(keys/ca.pem in its data folder), then `narrowgate login {url} --certificate-authority FILE`, "
                "or --fingerprint SHA256 of it"
            ) from None
        raise GateUnreachable(
            f"{url} cannot be reached ({_reason(reason)}): see that it runs, or name another"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise GateUnreachable(f"{url} gave no answer ({_reason(error)}): see that it runs, then try again") from None


def _reason(error: object) -> str:
    match error:
        case TimeoutError():
            return f"nothing within {CALL_SECONDS} seconds, or not all within {ANSWER_SECONDS}"
        case socket.gaierror():
            return "no such host name"
        case ssl.SSLError():
            return f"no TLS with it: {error.reason or error}".lower()
        case OSError() if error.strerror:
            return error.strerror.lower()
        case _:
            return str(error).lower() or "the connection was closed"


def _document(url: str, content: bytes) -> dict[str, Any]:
    """The JSON object in an answer; an empty answer is an empty one (RFC 7009, section 2.2). Raises GateUnreachable."""
    found = _json(content) if content.strip() else {}
    if not isinstance(found, dict):
        raise GateUnreachable(f"{url} does not answer as a gate does: name the address of a gate's control port")
    return found


def _json(content: bytes) -> object:
    try:
        return json.loads(content) if len(content) <= LARGEST_ANSWER else None
    except (ValueError, RecursionError):
        return None


def _refusal(url: str, code: int, content: bytes) -> GateRefused | GateUnreachable:
    """What an answer of 3xx, 4xx or 5xx means: OAuth's error documents, or problem documents (RFC 9457)."""
    found = _json(content)
    told = found if isinstance(found, dict) else {}
    error = told.get("error") if isinstance(told.get("error"), str) else ""
    text = next((told[key] for key in ("error_description", "detail", "title", "error") if _is_text(told.get(key))), "")
    if not text:
        return GateUnreachable(f"{url} answered {code}: see that it is the address of a gate's control port")
    if code >= 500 or code == 429 or error in _FOR_A_MOMENT - {"slow_down"}:
        return GateUnreachable(f"{url} cannot answer now ({text}): try again soon")
    return GateRefused(str(error), text, code)


def _is_text(value: object) -> bool:
    """Whether it can be shown on a terminal: no control characters that move its cursor."""
    return isinstance(value, str) and bool(value) and value.isprintable()
