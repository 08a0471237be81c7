"""Refusals of the gate's own API: problem documents (RFC 9457), one closed list of what can be wrong.

A program reads `type`, a person `detail`: what was wrong, where, what to do. `instance` names the entry in the trail,
so that whoever complains and whoever searches the record speak of the same call.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from narrowgate.core.valid_text import with_valid_text

CONTENT_TYPE = "application/problem+json"

TYPE_PREFIX = "tag:narrowgate.dev,2026:problem:"
"""Begins every `type`: a tag (RFC 4151) names without promising a page behind it."""

INSTANCE_PREFIX = "tag:narrowgate.dev,2026:audit:"
"""Begins every `instance`; behind it stands the `auditID` of the call in the trail."""

DETAIL_LIMIT = 2000
"""Characters of a detail: more than any sentence of ours needs, few enough that an echoed name cannot flood a log."""


class Trouble(enum.Enum):
    """What can be wrong with a call: its word, its status, its title (the same for a word always, RFC 9457, 3.1)."""

    UNREADABLE = ("unreadable", 400, "the request cannot be read")
    NOT_SIGNED_IN = ("not-signed-in", 401, "you have not proven who you are")
    FORBIDDEN = ("forbidden", 403, "you may not do this")
    CROSS_SITE = ("cross-site", 403, "this was not sent by a page of the gate's")
    NOT_FOUND = ("not-found", 404, "there is no such thing")
    METHOD = ("method-not-allowed", 405, "this cannot be done here")
    SLOW = ("slow", 408, "the request did not come in time")
    CONFLICT = ("conflict", 409, "this stands against what is there")
    PENDING = ("authorization-pending", 409, "people have not answered yet")
    CHANGED = ("changed", 412, "it was changed in the meantime")
    TOO_LARGE = ("too-large", 413, "the request is too large")
    MEDIA_TYPE = ("media-type", 415, "the body is of another kind than JSON")
    INVALID = ("invalid", 422, "a value cannot be accepted")
    KEY_REUSED = ("idempotency-key-reused", 422, "this idempotency key belongs to another request")
    SLOW_DOWN = ("slow-down", 429, "this is asked too often")
    FAULT = ("fault", 500, "a fault inside the gate")
    BUSY = ("busy", 503, "the gate is busy with the same for somebody else")
    UNRECORDED = ("unrecorded", 503, "the record cannot be written")
    UNAVAILABLE = ("unavailable", 503, "the gate cannot tell now")

    def __init__(self, word: str, status: int, title: str) -> None:
        self.word = word
        self.status = status
        self.title = title


class Problem(Exception):
    """A call is refused. `detail` is one sentence for whoever called; never a secret."""

    def __init__(self, trouble: Trouble, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.trouble = trouble
        self.detail = detail
        self.headers = dict(headers or {})


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`application/problem+json`, RFC 9457 section 3.1."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = ""


def problem_document(problem: Problem, audit_id: str) -> ProblemDocument:
    """The document; `audit_id` is the call's in the trail, empty where there is none."""
    return ProblemDocument(
        type=TYPE_PREFIX + problem.trouble.word,
        title=problem.trouble.title,
        status=problem.trouble.status,
        detail=_one_line(problem.detail),
        instance=INSTANCE_PREFIX + audit_id if audit_id else "",
    )


def problem_response(problem: Problem, audit_id: str = "") -> Response:
    """The refusal as an answer."""
    document = problem_document(problem, audit_id)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **problem.headers}
    return Response(encode(document), document.status, headers, media_type=CONTENT_TYPE)


def encode(value: Any) -> bytes:
    """JSON of a value that may hold text a caller brought along: what is no valid text is replaced."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(with_valid_text(msgspec.to_builtins(value)))


def _one_line(text: str) -> str:
    """Printable and bounded: details end in terminals, whatever a path or a name brought along."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= DETAIL_LIMIT else f"{line[:DETAIL_LIMIT]}..."
