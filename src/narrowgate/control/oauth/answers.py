"""Answers of the authorization server to programs: JSON that nobody keeps a copy of, one shape for every refusal."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from narrowgate.core.audit import ActsOn
from narrowgate.core.identity import Identity

NEVER_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}
"""RFC 6749, section 5.1."""


class Refused(Exception):
    """Not what was asked for: an error code of RFC 6749, section 5.2, or of the RFC at hand, and a sentence for people.

    The text says what was wrong and what to do.
    """

    def __init__(
        self, error: str, description: str, *, code: int = 400, wait: float = 0.0, quiet: bool = False
    ) -> None:
        """`quiet`: what everybody hears who asks in vain for a while; neither counted against them nor recorded."""
        super().__init__(description)
        self.error = error
        self.code = code
        self.wait = wait
        """Seconds after which asking again may help; 0: it will not."""
        self.quiet = quiet
        self.who: Identity | None = None
        self.acts_on: ActsOn | None = None

    def of(self, who: Identity | None, acts_on: ActsOn | None = None) -> Refused:
        """The same, with what the record should say about it."""
        self.who = who
        self.acts_on = acts_on
        return self


def granted(answer: Mapping[str, object]) -> Response:
    """What was asked for."""
    return JSONResponse(dict(answer), headers=NEVER_STORED)


def refusal(refused: Refused) -> Response:
    """An error answer (RFC 6749, section 5.2)."""
    headers = dict(NEVER_STORED)
    if refused.wait > 0:
        headers["Retry-After"] = str(int(refused.wait) + 1)
    if refused.code == 401:
        # RFC 9110, section 15.5.2, wants one with every 401; whoever signs with a key has no scheme of its own.
        headers["WWW-Authenticate"] = 'Bearer realm="narrowgate"'
    document = {"error": refused.error, "error_description": described(str(refused))}
    return JSONResponse(document, refused.code, headers)


def described(text: str) -> str:
    """`text` in the characters that `error_description` may have: ASCII without quotation mark and backslash."""
    plain = text.replace('"', "'").replace("\\", "/")
    return "".join(character if " " <= character <= "~" else "?" for character in plain)


def store_silent() -> Refused:
    """The store does not answer."""
    return Refused("temporarily_unavailable", "the gate's store does not answer now; try again soon", code=503, wait=5)


def trail_silent() -> Refused:
    """The record cannot be written."""
    sentence = "the gate cannot write its record now, so it issues nothing; try again soon, or ask who runs it"
    return Refused("temporarily_unavailable", sentence, code=503, wait=5)
