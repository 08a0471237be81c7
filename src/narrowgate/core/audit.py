"""The audit events of one request, in the words of the API server: `audit.k8s.io/v1` Events.

Here belongs what an event says and how it is encoded. Field meanings follow
k8s.io/apiserver/pkg/apis/audit/v1/types.go, field order what the API server's log backend writes. How entries are
chained is `core/audit_chain.py`, how they reach the disk `trail/journal.py`.

Two rules hold for every field. Nothing a caller sends can keep an event from being encoded (long values are cut,
invalid text is replaced), because a request that cannot be recorded would have to be refused. And no secret enters:
headers are not looked at, and credentials in query strings are taken out.
"""

from __future__ import annotations

import enum
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, assert_never
from urllib.parse import unquote_plus

import msgspec
import orjson

from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval, RuleRef
from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.status import REASONS
from narrowgate.core.valid_text import with_valid_text

TARGET_LIMIT = 8192
"""Characters of a request target that are kept: the longest a client sends is an exec with a long command."""

USER_AGENT_LIMIT = 512
"""Characters of a user agent that are kept; kubectl's has about 70."""

TEXT_LIMIT = 1024
"""Characters of a message or reason that are kept: they are sentences for people."""

OBJECT_LIMIT = 64 * 1024
"""Bytes of a request's or an answer's object in an event: nearly all single objects. Larger ones are recordings."""

CACHED_TARGET_LIMIT = 1024
"""Characters up to which a cleaned target is remembered, so that the memory behind the cache stays under some 8 MB."""

AUDIT_ID_LIMIT = 128
"""Characters of an audit id that are kept; a UUID has 36."""

METHOD_LIMIT = 32
"""Characters of an HTTP method that are kept; the longest known one has 17."""

OWN_API = {"apiGroup": "narrowgate.dev", "apiVersion": "v1alpha1"}
"""How entries about the gate's own objects name their group and version."""

_EMERGENCY = "narrowgate.dev/emergency"
"""The annotation of everything that is done in an emergency, and of taking it."""

_ASKED_BECAUSE = "narrowgate.dev/asked-because"
"""The annotation of a reason that came with a call to the gate's own API."""

BECAUSE_LIMIT = 500
"""Characters of it that are kept: more than any call takes."""

REDACTED = "[redacted]"
GATE = {"username": "gate"}
"""Who is named where the gate itself did something that nobody asked it for; no identity is called so."""

ANONYMOUS = {"username": "system:anonymous", "groups": ["system:unauthenticated"]}
"""How Kubernetes writes a user that proved nothing (k8s.io/apiserver/pkg/authentication/user)."""


class Level(enum.Enum):
    """How much of a request is kept, as in Kubernetes' audit policy."""

    NONE = "None"
    """Of a read that was allowed, no event at all; of everything else what METADATA says."""
    METADATA = "Metadata"
    REQUEST = "Request"
    REQUEST_RESPONSE = "RequestResponse"


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """The gate could not do its work for this request (upstream unreachable, stream ended, ...); never a permission."""

    message: str


class Permitted(msgspec.Struct, frozen=True, kw_only=True):
    """A call to the gate's own API that was let through: by this role, or by whatever else `because` names."""

    because: str
    """`role admin`, `signed in`, `device code`: in a word or two."""


class ActsOn(msgspec.Struct, frozen=True, kw_only=True):
    """What a call to the gate's own API does, in Kubernetes' words, where no request info stands for it."""

    verb: str
    resource: str
    """`agents`, `signins`, `roles`, ..., of the API group `narrowgate.dev`."""
    name: str = ""
    emergency: bool = False
    """Whether an emergency is taken by it."""
    because: str = ""
    """Why, in the words of whoever asks for it."""


Verdict = Decision | Malformed | Failed | Permitted
"""What became of a request: one of the three decisions, not understood, failed, or let through by the gate's own API.
An `Allow` that fails later ends in an event with `Failed`; its first event keeps the decision."""


class KeptObject(msgspec.Struct, frozen=True):
    """What an event holds of a body, masked: the object, or where it is, or why it is nowhere."""

    object: bytes = b""
    """JSON on one line, at most `OBJECT_LIMIT` bytes."""
    said: str = ""
    """`in the recording, 81234 bytes`, `left out: ...`; empty where the object is here and whole."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came, with what is known before it is decided."""

    audit_id: str
    method: str
    target: bytes
    """As the client sent it, cluster prefix included; credentials in it are taken out when it is recorded."""
    received_at: float
    """Unix seconds."""
    source_ip: str
    user_agent: str = ""
    cluster: str = ""
    chain: Chain | None = None
    """None where nobody proved who they are."""
    intent: Intent | None = None
    """None where the request could not be understood: then method and target are recorded as they are."""
    acts_on: ActsOn | None = None
    """For calls to the gate's own API, in the place of an intent."""
    level: Level = Level.METADATA
    ended_task: str = ""
    """The task because of whose end the gate does this by itself; empty for every request that somebody sent."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a request ended."""

    code: int
    """HTTP status the caller was answered with; 0 where the connection ended before one was sent."""
    at: float
    """Unix seconds."""
    bytes_out: int = 0
    """Body bytes sent to the caller, streams included."""
    masked: tuple[str, ...] = ()
    """What was hidden: `policy/mask=count`, sorted."""
    filtered: tuple[str, ...] = ()
    """Of a list or watch that was reduced to what its sender may see: `shown=count`, `hidden=count`."""
    recording: str = ""
    """The name of the recording of a session."""
    task: str = ""
    ended_because: str = ""
    """Why a stream ended that could have gone on, in a sentence; empty where it simply finished."""
    noticed: str = ""
    """What this request revealed about its credential, in a sentence; no reason for the decision."""
    sent: KeptObject | None = None
    """The body of a request that was refused; of one that went on, `received` has it."""


class RequestEvents:
    """The events of one request: made once per request, so that what its events share is encoded once.

    All methods return one JSON object without a line break and never raise for anything that a caller sent.
    """

    __slots__ = ("_annotations", "_common", "_head", "_lead", "_received")

    def __init__(self, asked: Asked) -> None:
        intent = asked.intent
        cluster = asked.cluster or ("" if intent is None else intent.cluster)
        user, self._annotations = _gate(asked.ended_task, cluster) if asked.ended_task else _who(asked.chain, cluster)
        self._lead = _HEAD[asked.level]
        self._head = self._lead % _encode(asked.audit_id[:AUDIT_ID_LIMIT])
        if asked.acts_on is not None and asked.acts_on.emergency:
            self._annotations += _members({_EMERGENCY: "true"})
        if asked.acts_on is not None and asked.acts_on.because:
            self._annotations += _members({_ASKED_BECAUSE: redact(asked.acts_on.because)[:BECAUSE_LIMIT]})
        verb, reference = _what(asked)
        self._common = b'"requestURI":%b,"verb":%b,"user":%b,"sourceIPs":[%b]%b%b' % (
            request_uri(asked.target),
            verb,
            user,
            _encode(asked.source_ip) if asked.source_ip else b"",
            _user_agent(asked.user_agent) if asked.user_agent else b"",
            reference,
        )
        self._received = timestamp(asked.received_at)

    def again(self, audit_id: str, received_at: float) -> RequestEvents:
        """The events of another request that differs from this one in its id and time alone."""
        other = RequestEvents.__new__(RequestEvents)
        other._lead = self._lead
        other._head = self._lead % _encode(audit_id[:AUDIT_ID_LIMIT])
        other._annotations = self._annotations
        other._common = self._common
        other._received = timestamp(received_at)
        return other

    def received(
        self, verdict: Verdict | None = None, noticed: str = "", sent: KeptObject | None = None, recording: str = ""
    ) -> bytes:
        """The entry that must be in the journal before anything is forwarded; with the decision once it is known, and
        the body once it has come (in `recording`, where that is said).

        `noticed` is that of `Outcome`, and told with every stage: a stream may end long after it began.
        """
        decided = b"" if verdict is None else _decided(verdict)
        middle, said = _object(b"request", sent)
        return self._event(
            b"RequestReceived", middle, self._received, decided + _noticed(noticed) + said + _recorded(recording)
        )

    def started(self, verdict: Verdict, code: int, at: float, noticed: str = "") -> bytes:
        """The answer's headers are sent; only for long-running requests (watch, exec, logs -f), as in Kubernetes."""
        decided = _decided(verdict) + _noticed(noticed)
        return self._event(b"ResponseStarted", _response_status(code, verdict), timestamp(at), decided)

    def answered(
        self, verdict: Verdict, code: int, at: float, answer: KeptObject, noticed: str = "", recording: str = ""
    ) -> bytes:
        """The answer is here and goes to the client next: what must be in the journal before, where it is kept."""
        middle, said = _object(b"response", answer)
        annotations = _decided(verdict) + _noticed(noticed) + said + _recorded(recording)
        return self._event(b"ResponseStarted", _response_status(code, verdict) + middle, timestamp(at), annotations)

    def finished(self, verdict: Verdict, outcome: Outcome) -> bytes:
        """The last byte is sent, or the request was refused."""
        return self._end(b"ResponseComplete", verdict, outcome)

    def panicked(self, verdict: Verdict, outcome: Outcome) -> bytes:
        """The gate itself broke while it served this request."""
        return self._end(b"Panic", verdict, outcome)

    def _end(self, stage: bytes, verdict: Verdict, outcome: Outcome) -> bytes:
        middle = _response_status(outcome.code, verdict)
        sent, said = _object(b"request", outcome.sent)
        annotations = _decided(verdict) + _ended(outcome) + said
        return self._event(stage, middle + sent, timestamp(outcome.at), annotations)

    def _event(self, stage: bytes, middle: bytes, at: bytes, annotations: bytes) -> bytes:
        return b'%b%b",%b%b,"requestReceivedTimestamp":"%b","stageTimestamp":"%b","annotations":{%b}}' % (
            self._head,
            stage,
            self._common,
            middle,
            self._received,
            at,
            (self._annotations + annotations)[1:],
        )


def timestamp(at: float) -> bytes:
    """Unix seconds as Kubernetes writes a MicroTime: RFC 3339, UTC, always six decimals."""
    micros = int(at * 1_000_000)
    return b"%b%06dZ" % (_to_the_second(micros // 1_000_000), micros % 1_000_000)


def request_uri(target: bytes) -> bytes:
    """The target as recorded, a JSON string: valid text, at most `TARGET_LIMIT` characters, credentials taken out."""
    if len(target) <= CACHED_TARGET_LIMIT:
        return _cached_request_uri(target)
    return _request_uri(target)


def redact(text: str) -> str:
    """Take credentials out of `text`: values of query parameters that carry one, and anything shaped like one."""
    if "=" in text:
        text = _PARAMETER.sub(_without_secret, text)
    return _SHAPED_LIKE_CREDENTIAL.sub(REDACTED, text)


_HEAD = {
    level: b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"'
    + (Level.METADATA if level is Level.NONE else level).value.encode()
    + b'","auditID":%b,"stage":"'
    for level in Level
}

_PARAMETER = re.compile(r"([?&;#])([^=&;#?]{1,256})=([^&;#]*)")

_SECRET_NAME = re.compile(
    r".*(token|secret|password|passwd|passphrase|authorization|credential|credentials|signature|assertion"
    r"|api[-_.]?key|private[-_.]?key|access[-_.]?key|bearer|jwt)|auth|sig|pwd|pass|sessionid|session_id",
    re.DOTALL,
)
"""Parameter names whose value is a credential: OAuth's (RFC 6750 section 2.3, RFC 6749), signed URLs', and what
dashboards behind `services/proxy` use. Compared after percent-decoding, in lower case."""

_SHAPED_LIKE_CREDENTIAL = re.compile(
    # Our own credentials, JSON web tokens (RFC 7519: two dots, the header begins with `{"`), and a password in an
    # absolute-form target. A `continue` token also begins with eyJ but has no dots.
    r"ng[a-z]?\d_[A-Za-z0-9_~.=-]{8,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|(?<=://)[^/@\s]{1,512}@"
)


def _without_secret(match: re.Match[str]) -> str:
    name = unquote_plus(match[2], errors="replace").strip().casefold()
    return f"{match[1]}{match[2]}={REDACTED}" if _SECRET_NAME.fullmatch(name) else match[0]


def _request_uri(target: bytes) -> bytes:
    # Redact first: a cut might go through the name of a parameter and leave a value nobody recognises.
    return _encode(_cut(redact(target.decode("utf-8", "replace")), TARGET_LIMIT))


_cached_request_uri = lru_cache(maxsize=4096)(_request_uri)


@lru_cache(maxsize=1024)
def _user_agent(text: str) -> bytes:
    return b',"userAgent":' + _encode(_cut(redact(text), USER_AGENT_LIMIT))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}...[cut, {len(text)} characters]"


@lru_cache(maxsize=64)
def _to_the_second(second: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode()


@lru_cache(maxsize=4096)
def _who(chain: Chain | None, cluster: str) -> tuple[bytes, bytes]:
    """The sender as UserInfo and the annotations about cluster and chain, encoded: the same for all its requests."""
    annotations = {"narrowgate.dev/cluster": cluster} if cluster else {}
    if chain is None:
        return _encode(ANONYMOUS), _members(annotations)
    sender = chain[-1]
    user: dict[str, Any] = {"username": str(sender)}
    if sender.groups:
        user["groups"] = sender.groups
    user["extra"] = {"narrowgate.dev/proven-by": [sender.proven_by]}
    # For what a pod does, whoever answers for the agent that had it made does.
    if owner := sender.owner or next((member.owner for member in chain if member.owner), ""):
        user["extra"]["narrowgate.dev/owner"] = [owner]
    for name, value in sender.claims:
        user["extra"].setdefault(f"narrowgate.dev/{name}", []).append(_text(value))
    annotations["narrowgate.dev/chain"] = _encode([str(member) for member in chain]).decode()
    if sender.credential:
        annotations["narrowgate.dev/credential"] = sender.credential
    if sender.task:
        annotations["narrowgate.dev/task"] = sender.task
    if sender.delegated_by:
        annotations["narrowgate.dev/delegated-from"] = sender.delegated_by
    if any(member.emergency for member in chain):
        annotations[_EMERGENCY] = "true"
    return _encode(user), _members(annotations)


def _gate(task: str, cluster: str) -> tuple[bytes, bytes]:
    """The same where it is the gate itself, because a task has ended."""
    return _encode(GATE), _members({"narrowgate.dev/cluster": cluster, "narrowgate.dev/task": task})


def _what(asked: Asked) -> tuple[bytes, bytes]:
    """The verb and the `objectRef` member, encoded."""
    if asked.intent is not None:
        return _encode(asked.intent.info.verb), _object_ref(asked.intent.info)
    if asked.acts_on is not None:
        acts_on = asked.acts_on
        reference = {"resource": acts_on.resource, "name": acts_on.name, **OWN_API}
        return _encode(acts_on.verb), b',"objectRef":' + _encode({key: of for key, of in reference.items() if of})
    return _encode(asked.method[:METHOD_LIMIT].lower()), b""


@lru_cache(maxsize=4096)
def _object_ref(info: RequestInfo) -> bytes:
    if not info.is_resource_request:
        return b""
    reference = {"resource": info.resource}
    if info.namespace:
        reference["namespace"] = info.namespace
    if info.name:
        reference["name"] = info.name
    if info.api_group:
        reference["apiGroup"] = info.api_group
    reference["apiVersion"] = info.api_version
    if info.subresource:
        reference["subresource"] = info.subresource
    return b',"objectRef":' + _encode(reference)


def _members(annotations: dict[str, str]) -> bytes:
    """Members of a JSON object, each with a comma before it, so that pieces can be put together without a parser."""
    return b"," + _encode(annotations)[1:-1] if annotations else b""


def _decided(verdict: Verdict) -> bytes:
    """The annotations that say what was decided, and by which rule."""
    match verdict:
        case Allow():
            return _allowed(verdict.rule) + _approval(verdict.approval) + _mended(verdict.mends)
        case Deny():
            return _refused("deny", verdict.message, verdict.rule)
        case NeedsApproval():
            return _refused("needs-approval", verdict.message, verdict.rule) + _approval(verdict.approval)
        case Malformed():
            return _refused("malformed", verdict.message, None)
        case Failed():
            return _refused("error", verdict.message, None)
        case Permitted():
            return _members({"narrowgate.dev/decision": "allow", "narrowgate.dev/because": verdict.because})
        case _:
            assert_never(verdict)


@lru_cache(maxsize=4096)
def _allowed(rule: RuleRef) -> bytes:
    return _members({"narrowgate.dev/decision": "allow", **_rule(rule)})


def _approval(approval: str) -> bytes:
    return _members({"narrowgate.dev/approval": approval}) if approval else b""


def _mended(mends: tuple[tuple[str, ...], ...]) -> bytes:
    """Where the body that was sent on is not as it came."""
    if not mends:
        return b""
    places = ", ".join(".".join((*steps, "automountServiceAccountToken")).replace(".[", "[") for steps in mends)
    return _members({"narrowgate.dev/mended": _text(places)})


def _refused(decision: str, message: str, rule: RuleRef | None) -> bytes:
    annotations = {"narrowgate.dev/decision": decision, "narrowgate.dev/reason": _text(message)}
    if rule is not None:
        annotations |= _rule(rule)
    return _members(annotations)


def _rule(rule: RuleRef) -> dict[str, str]:
    annotations = {"narrowgate.dev/rule": str(rule)}
    if rule.revision:
        annotations["narrowgate.dev/revision"] = str(rule.revision)
    return annotations


def _ended(outcome: Outcome) -> bytes:
    """The annotations that say how a request ended."""
    annotations = {}
    if outcome.bytes_out:
        annotations["narrowgate.dev/bytes"] = str(outcome.bytes_out)
    if outcome.task:
        annotations["narrowgate.dev/task"] = outcome.task
    if outcome.masked:
        annotations["narrowgate.dev/masked"] = ",".join(outcome.masked)
    if outcome.filtered:
        annotations["narrowgate.dev/filtered"] = ",".join(outcome.filtered)
    if outcome.recording:
        annotations["narrowgate.dev/recording"] = outcome.recording
    if outcome.ended_because:
        annotations["narrowgate.dev/ended"] = _text(outcome.ended_because)
    return _members(annotations) + _noticed(outcome.noticed)


def _noticed(sentence: str) -> bytes:
    return _members({"narrowgate.dev/noticed": _text(sentence)}) if sentence else b""


def _text(message: str) -> str:
    return _cut(redact(message), TEXT_LIMIT)


def _response_status(code: int, verdict: Verdict) -> bytes:
    """`responseStatus`: code alone where the answer came from the API server, message and reason where it is ours."""
    if isinstance(verdict, Allow | Permitted):
        if code < 400:
            return b',"responseStatus":{"metadata":{},"code":%d}' % code
        return b',"responseStatus":{"metadata":{},"status":"Failure","code":%d}' % code
    reason = REASONS.get(code, "")
    return b',"responseStatus":{"metadata":{},"status":"Failure","message":%b%b,"code":%d}' % (
        _encode(_text(verdict.message)),
        b',"reason":"%b"' % reason.encode() if reason else b"",
        code,
    )


def _object(whose: bytes, kept: KeptObject | None) -> tuple[bytes, bytes]:
    """The member `requestObject` or `responseObject`, and the annotation about it."""
    if kept is None:
        return b"", b""
    middle = b',"%bObject":%b' % (whose, kept.object) if kept.object else b""
    return middle, _members({f"narrowgate.dev/{whose.decode()}-object": kept.said}) if kept.said else b""


def _recorded(recording: str) -> bytes:
    return _members({"narrowgate.dev/recording": recording}) if recording else b""


def _encode(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        # Lone surrogates are what a caller can bring about; they are replaced rather than the request refused.
        return orjson.dumps(with_valid_text(value))
