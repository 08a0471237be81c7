"""How a request ends that is not answered by the cluster: why, what its caller is told, and what the record says.

Everything that can end a request early is an exception; `refusal_for` turns each into an answer in one place.
"""

from __future__ import annotations

import logging
import re

from narrowgate.core import status
from narrowgate.core.audit import Failed, Verdict
from narrowgate.core.decision import Deny, NeedsApproval
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.status import Status
from narrowgate.proxy.cluster import ClusterNotReady
from narrowgate.proxy.exchange import Exchange, Response
from narrowgate.proxy.forward import NoLongerAllowed
from narrowgate.proxy.reduction import InPieces
from narrowgate.proxy.state import StateStale
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable
from narrowgate.proxy.write_back import MaskedWrite
from narrowgate.store.port import StoreUnavailable
from narrowgate.trail.segment_file import TrailUnwritable
from narrowgate.wire.http1 import END_OF_HEAD, RequestHead, write_answer

AGGREGATED_DISCOVERY = b"as=APIGroupDiscoveryList"
"""In the Accept of client-go's discovery (KEP-3352), the first request of every kubectl command."""
VERSION = re.compile(rb"(?:/clusters/[^/?]+)?/version/?(?:\?.*)?")

REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}

log = logging.getLogger("narrowgate.pipeline")


class Unauthenticated(Exception):
    """Nobody proved who sends this; the message says what was wrong with the credential, or that there was none."""


class NobodyVouches(Exception):
    """Who sends this cannot be told now: whoever could vouch for the credential does not answer."""


class Misdirected(Exception):
    """The request names no cluster, or not the one its credential opens, or another sender; `code` is 400 or 403."""

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code


class Withheld(Exception):
    """What was allowed is not forwarded after all: `decision` says why."""

    def __init__(self, decision: Deny | NeedsApproval, intent: Intent) -> None:
        super().__init__(decision.message)
        self.decision = decision
        self.intent = intent


def refusal_for(error: Exception) -> tuple[Verdict, Status]:
    """What an exception means for the record and for the caller."""
    match error:
        case Malformed():
            return error, status.of_malformed(error)
        case MaskedWrite(message=message):
            return Malformed(message, 422), error.status
        case Unauthenticated():
            return Deny(message=str(error), code=401), status.unauthorized(str(error))
        case Misdirected(code=code):
            return Malformed(str(error), code), status.failure(code, str(error))
        case NoLongerAllowed() | InPieces():
            return Deny(message=str(error)), status.failure(403, str(error))
        case Withheld(decision=decision, intent=intent):
            return decision, status.refusal(decision, intent)
        case UpstreamBroken():
            return Failed(message=str(error)), status.gateway(str(error))
        case UpstreamUnreachable() | ClusterNotReady() | StateStale() | NobodyVouches() | StoreUnavailable():
            return Failed(message=str(error)), status.unavailable(str(error))
        case TrailUnwritable():
            log.error("the trail cannot be written: %s", error)
            return Failed(message=str(error)), status.internal(f"nothing is forwarded that cannot be recorded: {error}")
        case _:
            log.error("a request broke the gate", exc_info=error)
            return Failed(message=f"internal error: {error}"), status.internal("the gate failed on this request")


def answer_with(exchange: Exchange, refusal: Status) -> Response:
    """Answer with a Status of the gate's own. After a broken answer there is nothing left to say."""
    client = exchange.client
    if client.sent:
        client.abort()
        return Response(code=0, bytes_out=client.sent)
    text = reads_text_only(exchange.head)
    whole = whole_answer(refusal, close=client.must_close, text=text, audit_id=exchange.audit_id)
    if exchange.head.method == "HEAD":
        # The head of that answer and no more (RFC 9110 9.3.2): a body would be read as the next answer.
        whole = whole[: whole.index(END_OF_HEAD) + len(END_OF_HEAD)]
    client.write(whole)
    return Response(code=refusal.code)


def left_by_client(exchange: Exchange, response: Response) -> Response:
    """How a request ended whose client left: a stream has come to its end, anything else has failed."""
    left, sent = "the client closed the connection", exchange.client.sent
    if exchange.streaming_code:
        streaming, recording = exchange.streaming_code, exchange.recording
        return Response(code=streaming, bytes_out=sent, ended_because=left, recording=recording)
    return Response(code=response.code, bytes_out=sent, failed=left)


def reads_text_only(head: RequestHead) -> bool:
    """Whether this is a request whose refusal client-go never reads as a Status: it shows text, or prints "unknown".

    Discovery and the version are fetched with `Do().Raw()` (rest/request.go, newUnstructuredResponseError).
    """
    return AGGREGATED_DISCOVERY in head.fields.get(b"accept", b"") or VERSION.fullmatch(head.target) is not None


def whole_answer(answer: Status, *, close: bool, text: bool = False, audit_id: str = "") -> bytes:
    """A Status as a complete HTTP answer; `text` leaves only its message, `audit_id` names it in the record."""
    # As the API server does in every answer of its own (k8s.io/apiserver/pkg/endpoints/filters/with_auditid.go).
    headers: tuple[tuple[str, str], ...] = (("audit-id", audit_id),) if audit_id else ()
    if answer.code == 401:
        headers = (*headers, ("www-authenticate", 'Bearer realm="narrowgate"'))
    if answer.retry_after:
        headers = (*headers, ("retry-after", str(answer.retry_after)))
    body = answer.message.encode() if text else status.to_json(answer)
    return write_answer(answer.code, REASONS.get(answer.code, "Error"), body, close=close, headers=headers, text=text)
