"""`metav1.Status`: the one document in which Kubernetes, and so the gate, says no.

Here are the values, one constructor for each way to fail, and their JSON. Reasons, codes and the shape of `details`
follow k8s.io/apimachinery/pkg/api/errors and k8s.io/apimachinery/pkg/apis/meta/v1/types.go, so that client-go's
`errors.IsForbidden` and its kin answer as they would for the API server's own. Answer them with the content type
`application/json`: kubectl shows the message of a refused exec only then.

Messages are made of one line of printable characters, whatever a path or a name brought along: they end in terminals.
Nothing that came from the upstream side (credentials, headers, addresses) is ever put into one.
"""

from __future__ import annotations

import msgspec
import orjson

from narrowgate.core.decision import Deny, NeedsApproval, RuleRef
from narrowgate.core.intent import Intent
from narrowgate.core.list_query import ListExpired
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo

CONTENT_TYPE = "application/json"
"""What a Status is sent as."""

MESSAGE_LIMIT = 2000
"""Characters of a message: more than any sentence of ours needs, few enough that an echoed name cannot flood a log."""

CAUSE_RULE = "NarrowgateRule"
"""`reason` of the cause whose message is the rule that refused, as `policy/rule`."""
CAUSE_REVISION = "NarrowgateRevision"
"""`reason` of the cause whose message is the revision of the policy set that was in force."""
CAUSE_HINT = "NarrowgateHint"
"""`reason` of the cause whose message says what to do."""
CAUSE_APPROVAL = "NarrowgateNeedsApproval"
"""`reason` of the cause that says that people could let this request pass; its message is the rule that asks them."""
CAUSE_QUESTION = "NarrowgateApproval"
"""`reason` of the cause whose message is the id of the approval that asks for this very request."""
CAUSE_INVALID = "FieldValueInvalid"
"""`reason` of the cause that names a field (metav1.CauseTypeFieldValueInvalid)."""
CAUSE_REQUEST = "NarrowgateRequest"
"""`reason` of the cause whose message is the id of the refused request: what `--from-denied` asks for by it."""

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    408: "Timeout",
    409: "Conflict",
    410: "Gone",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    502: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
"""metav1.StatusReason by code. 502 has none of its own: `NewGenericServerResponse` calls it InternalError, too."""


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One machine readable fact about a refusal (`metav1.StatusCause`)."""

    reason: str
    message: str
    field: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """One failure, flat; `to_json` gives it the shape that clients read."""

    code: int
    reason: str
    message: str
    kind: str = ""
    """`details.kind`: the resource, not the kind, as the API server has it."""
    group: str = ""
    name: str = ""
    causes: tuple[Cause, ...] = ()
    retry_after: int = 0
    """Whole seconds; 0 says nothing. Send it as a `Retry-After` header, too: client-go reads that one."""


def to_json(status: Status) -> bytes:
    """Write the document, ending in a newline as the API server's do."""
    document: dict[str, object] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": status.message,
        "reason": status.reason,
    }
    details: dict[str, object] = {
        key: value for key in ("name", "group", "kind") if (value := getattr(status, key)) != ""
    }
    if status.causes:
        details["causes"] = [
            {"reason": cause.reason, "message": cause.message} | ({"field": cause.field} if cause.field else {})
            for cause in status.causes
        ]
    if status.retry_after:
        details["retryAfterSeconds"] = status.retry_after
    if details:
        document["details"] = details
    document["code"] = status.code
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def one_line(text: str) -> str:
    """Make `text` fit for a terminal: control and other unprintable characters escaped, cut at MESSAGE_LIMIT."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 3] + "..."


def with_rule(message: str, rule: RuleRef | None) -> str:
    """The message with the rule behind it, unless it names the rule itself."""
    told = rule is None or (rule.policy in message and rule.rule in message)
    return message if told else f"{message} (rule {rule})"


def failure(code: int, message: str) -> Status:
    """A failure with `code`, and the reason that Kubernetes gives it; a code it has no word for is InternalError."""
    return Status(code=code, reason=REASONS.get(code, "InternalError"), message=one_line(message))


def of_malformed(error: Malformed) -> Status:
    """What the sender of a request that could not be understood is told."""
    return expired(error.message) if isinstance(error, ListExpired) else failure(error.code, error.message)


def expired(message: str) -> Status:
    """410: the list cannot go on there. client-go lists anew where this is the reason (`errors.IsResourceExpired`)."""
    return Status(code=410, reason="Expired", message=one_line(message))


def bad_request(message: str) -> Status:
    """400: the request is wrong in itself; sending it again as it is cannot help."""
    return failure(400, message)


def unauthorized(message: str = "Unauthorized") -> Status:
    """401: nobody the gate knows asked this. Say what is wrong with the credential, never what it was."""
    return failure(401, message)


def forbidden(info: RequestInfo, message: str, hint: str = "", rule: RuleRef | None = None) -> Status:
    """403: `message` says what was asked and why not, `hint` what to do, `rule` which rule refused it.

    The line begins like the API server's own (`pods "web" is forbidden: ...`; `forbidden: ...` outside of resources).
    """
    return _refused(403, info, message, hint, rule)


def not_found(info: RequestInfo, message: str = "the server could not find the requested resource") -> Status:
    """404: what the target names is not there, or is not known to the gate."""
    return _about(404, info, message)


def method_not_allowed(info: RequestInfo, method: str) -> Status:
    """405: this method means nothing at this place."""
    where = _resource(info) or info.path
    return _about(405, info, f"{method} is not supported on {where}")


def request_too_large(limit: int) -> Status:
    """413: the body is longer than `limit` bytes."""
    return failure(413, f"Request entity too large: limit is {limit}")


def unsupported_media_type(message: str) -> Status:
    """415: the body is in a form that the gate, or the resource, does not read."""
    return failure(415, message)


def not_acceptable(message: str) -> Status:
    """406: the answer cannot be had in a form that the caller accepts."""
    return failure(406, message)


def invalid(info: RequestInfo, message: str, causes: tuple[Cause, ...]) -> Status:
    """422: the object in the body cannot be taken as it is; `causes` name its fields (`errors.NewInvalid`)."""
    subject = f'{_resource(info)} "{info.name}" is invalid: ' if info.name else f"{_resource(info)} is invalid: "
    return msgspec.structs.replace(_about(422, info, subject + message), causes=causes)


def internal(message: str) -> Status:
    """500: the gate could not do its own part; nothing was forwarded."""
    return failure(500, f"Internal error occurred: {message}")


def too_many(message: str, retry_after: int = 1) -> Status:
    """429: a limit is reached; client-go waits `retry_after` seconds and asks again by itself."""
    return msgspec.structs.replace(failure(429, message), retry_after=retry_after)


def unavailable(message: str, retry_after: int = 1) -> Status:
    """503: the cluster, or the gate, cannot answer now; worth asking again after `retry_after` seconds."""
    return msgspec.structs.replace(failure(503, message), retry_after=retry_after)


def gateway(message: str) -> Status:
    """502: the API server could not be reached, or its answer could not be understood."""
    return failure(502, message)


def refusal(decision: Deny | NeedsApproval, what: Intent, audit_id: str = "") -> Status:
    """What the sender of `what` is told about a decision that is not Allow; by `audit_id` it asks for what it lacked.

    One line for people: what was asked, the rule, what to do; and the same as causes, for programs.
    """
    match decision:
        case Deny(message=message, hint=hint, rule=rule, code=code, missing=missing):
            status = _refused(code, what.info, message, hint, rule)
            if not missing or not audit_id:
                return status
            return msgspec.structs.replace(
                status, causes=(*status.causes, Cause(reason=CAUSE_REQUEST, message=audit_id))
            )
        case NeedsApproval(message=message, hint=hint, rule=rule, approval=approval):
            status = _refused(403, what.info, message, hint, rule)
            causes = (*status.causes, Cause(reason=CAUSE_APPROVAL, message=str(rule)))
            if approval:
                causes = (*causes, Cause(reason=CAUSE_QUESTION, message=approval))
            return msgspec.structs.replace(status, causes=causes)


def _refused(code: int, info: RequestInfo, message: str, hint: str, rule: RuleRef | None) -> Status:
    """Put a refusal together: subject, message, rule and hint on one line, rule and hint once more as causes."""
    line = with_rule(message, rule)
    if hint:
        line = f"{line}; {hint}"
    causes: tuple[Cause, ...] = ()
    if rule is not None:
        causes += (Cause(reason=CAUSE_RULE, message=one_line(str(rule))),)
        if rule.revision:
            causes += (Cause(reason=CAUSE_REVISION, message=str(rule.revision)),)
    if hint:
        causes += (Cause(reason=CAUSE_HINT, message=one_line(hint)),)
    return msgspec.structs.replace(_about(code, info, _subject(code, info) + line), causes=causes)


def _subject(code: int, info: RequestInfo) -> str:
    """How the API server begins the message of a 403 (`errors.NewForbidden`); other codes have no such beginning."""
    if code != 403:
        return ""
    if not info.is_resource_request:
        return "forbidden: "
    return f'{_resource(info)} "{info.name}" is forbidden: ' if info.name else f"{_resource(info)} is forbidden: "


def _resource(info: RequestInfo) -> str:
    """`deployments.apps`, as `schema.GroupResource` writes itself; empty outside of resources."""
    return f"{info.resource}.{info.api_group}" if info.api_group and info.resource else info.resource


def _about(code: int, info: RequestInfo, message: str) -> Status:
    """A failure with the details that say which object it is about."""
    return msgspec.structs.replace(
        failure(code, message),
        kind=one_line(info.resource),
        group=one_line(info.api_group),
        name=one_line(info.name),
    )
