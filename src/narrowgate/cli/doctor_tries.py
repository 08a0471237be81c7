"""What `narrowgate doctor` asks of a server to see what a credential opens: a few reads, which change nothing."""

from __future__ import annotations

import contextlib
import enum
import http.client
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from narrowgate import __version__
from narrowgate.cli.doctor_report import plain
from narrowgate.cli.kubeconfig_contexts import CannotUse, Certificate, Way, trusting

TRY_SECONDS = 5.0
"""For connecting, and for each answer. A request that waits for people (an approve rule) takes longer: it is not
waited for."""

WHOLE_SECONDS = 10.0
"""For a whole answer, however slowly it comes."""

ALL_SECONDS = 30.0
"""After which no more is tried with one credential: each of its requests had to be waited for."""

LARGEST_ANSWER = 256 << 10
"""Bytes of an answer that are read."""

METADATA_ONLY = (
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json;as=PartialObjectMetadata;"
    "v=v1;g=meta.k8s.io"
)
"""Names and labels alone: whether secrets may be listed is shown without any of them being sent."""

RULES_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"

MOST_RULES = 3
"""Of a rules review, in a line of the report."""


class Came(enum.Enum):
    """What came of a try."""

    OPENED = "opened"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Request(msgspec.Struct, frozen=True):
    """One request, and its name in the report."""

    name: str
    method: str
    path: str
    body: bytes = b""


class Tried(msgspec.Struct, frozen=True):
    """A request, and what came of it."""

    request: Request
    came: Came
    said: str
    """`403`, `nothing within 5 s`, ...; for a rules review the rules."""


class Tries(msgspec.Struct, frozen=True):
    """Everything that one credential was tried with at one server."""

    tried: tuple[Tried, ...]
    user_agent: str
    """By which these requests, and no others, are found in a record."""
    began_at: float

    def those(self, came: Came) -> list[Tried]:
        """Those that came out so."""
        return [one for one in self.tried if one.came is came]


def requests_in(namespace: str) -> tuple[Request, ...]:
    """What is tried: what clients ask first, and what agents are most after. `/version` comes first."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    return (
        Request("get /version", "GET", "/version"),
        Request("ask for its rules", "POST", RULES_REVIEW, msgspec.json.encode(review)),
        Request("list namespaces", "GET", "/api/v1/namespaces?limit=1"),
        Request("list pods -A", "GET", "/api/v1/pods?limit=1"),
        Request("list secrets -A", "GET", "/api/v1/secrets?limit=1"),
        Request(f"list pods -n {namespace}", "GET", f"/api/v1/namespaces/{namespace}/pods?limit=1"),
        Request(f"list secrets -n {namespace}", "GET", f"/api/v1/namespaces/{namespace}/secrets?limit=1"),
    )


def tries_of(way: Way, shown: str | Certificate) -> Tries:
    """Try everything, one request after the other. Raises CannotUse where there is no connection to begin with."""
    user_agent = f"narrowgate-doctor/{__version__} ({secrets.token_hex(8)})"
    began_at = time.time()
    return Tries(tuple(_all_tried(way, shown, user_agent)), user_agent, began_at)


def _all_tried(way: Way, shown: str | Certificate, user_agent: str) -> Iterator[Tried]:
    context = trusting(way, shown)
    give_up_at = time.monotonic() + ALL_SECONDS
    for number, request in enumerate(requests_in(way.namespace)):
        if time.monotonic() > give_up_at:
            yield Tried(request, Came.UNKNOWN, f"given up after {ALL_SECONDS:g} s")
            continue
        try:
            status, content = _answered(way, context, request, shown, user_agent)
        except _NoAnswer as error:
            if number == 0 and error.is_unreachable:
                raise CannotUse(str(error)) from None
            yield Tried(request, Came.UNKNOWN, str(error))
            continue
        if request.path == "/version" and 200 <= status < 300 and _is_public(way, request, user_agent):
            # Kubernetes tells its version to everybody (ClusterRole system:public-info-viewer).
            continue
        yield _judged(request, status, content)


def _is_public(way: Way, request: Request, user_agent: str) -> bool:
    """Whether it is answered to whoever shows nothing at all, so that nothing is learned from it."""
    try:
        status, _ = _answered(way, trusting(way, None), request, "", user_agent)
    except (_NoAnswer, CannotUse):
        return False
    return 200 <= status < 300


def _judged(request: Request, status: int, content: bytes) -> Tried:
    if status in (401, 403):
        return Tried(request, Came.REFUSED, str(status))
    if not 200 <= status < 300:
        return Tried(request, Came.UNKNOWN, f"answered {status}")
    return Tried(request, Came.OPENED, _rules_in(content) if request.path == RULES_REVIEW else str(status))


class _NoAnswer(Exception):
    def __init__(self, text: str, *, is_unreachable: bool = False) -> None:
        super().__init__(text)
        self.is_unreachable = is_unreachable


class _Connection(http.client.HTTPSConnection):
    """HTTPS under the name that the certificate must carry, where that is not the host connected to."""

    def __init__(self, way: Way, context: ssl.SSLContext) -> None:
        super().__init__(way.host, way.port, timeout=TRY_SECONDS, context=context)
        self._way, self._tls = way, context

    def connect(self) -> None:
        """Connect and shake hands."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._way.server_name or self._way.host)


def _answered(
    way: Way, context: ssl.SSLContext, request: Request, shown: str | Certificate, user_agent: str
) -> tuple[int, bytes]:
    """Status and body of an answer, on a connection of its own. Raises _NoAnswer."""
    headers = {"User-Agent": user_agent, "Accept": "application/json" if request.body else METADATA_ONLY}
    if request.path == "/version":
        headers["Accept"] = "application/json"
    if isinstance(shown, str) and shown:
        headers["Authorization"] = f"Bearer {shown}"
    if request.body:
        headers["Content-Type"] = "application/json"
    connection = _Connection(way, context)
    try:
        _connect(connection)
        with _broken_off_in_time(connection):
            connection.request(request.method, way.prefix + request.path, request.body or None, headers)
            response = connection.getresponse()
            return response.status, _body(response)
    except TimeoutError:
        raise _NoAnswer(f"nothing within {TRY_SECONDS:g} s; it may be waiting for people") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _NoAnswer(f"no answer ({plain(str(error) or type(error).__name__).lower()})") from None
    finally:
        connection.close()


def _connect(connection: _Connection) -> None:
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        text = f"its certificate is not trusted ({plain(error.verify_message)})"
        raise _NoAnswer(text, is_unreachable=True) from None
    except TimeoutError:
        raise _NoAnswer(f"cannot be reached within {TRY_SECONDS:g} s", is_unreachable=True) from None
    except (OSError, ValueError) as error:
        why = "no such host name" if isinstance(error, socket.gaierror) else getattr(error, "strerror", "") or error
        raise _NoAnswer(f"cannot be reached ({plain(why).lower()})", is_unreachable=True) from None


@contextlib.contextmanager
def _broken_off_in_time(connection: http.client.HTTPSConnection) -> Iterator[None]:
    """Let no server keep us, a byte now and a byte then."""
    taken: Any = connection.sock

    def break_off() -> None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(taken, socket.SHUT_RDWR)

    timer = threading.Timer(WHOLE_SECONDS, break_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _body(response: http.client.HTTPResponse) -> bytes:
    content = bytearray()
    while len(content) < LARGEST_ANSWER and (piece := response.read1(LARGEST_ANSWER)):
        content += piece
    return bytes(content)


def _rules_in(content: bytes) -> str:
    """The rules of a SelfSubjectRulesReview in words, without those that let everybody ask about themselves."""
    try:
        status: Any = msgspec.json.decode(content).get("status")
        found = [_rule(one) for one in status.get("resourceRules") or () if isinstance(one, dict)]
    except (ValueError, AttributeError, TypeError):
        return "an answer that is none"
    told = [text for text in found if "selfsubject" not in text]
    more = f" and {len(told) - MOST_RULES} more" if len(told) > MOST_RULES else ""
    return "; ".join(told[:MOST_RULES]) + more if told else "nothing but asking about itself"


def _rule(rule: dict[str, Any]) -> str:
    verbs, resources = (",".join(map(str, rule.get(name) or ())) for name in ("verbs", "resources"))
    return plain(f"{verbs} {resources}")[:120]
