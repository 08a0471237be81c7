"""What a request means to Kubernetes, as k8s.io/apiserver/pkg/endpoints/request/requestinfo.go (v0.36) reads it.

A port, rule by rule and in the order of the original, so that the two can be read side by side. Whether such a resource
exists, and whether the gate wants to serve the request, is for `understand`.
"""

from __future__ import annotations

import re

import msgspec

from narrowgate.core.malformed import Malformed
from narrowgate.core.target import Target


class RequestInfo(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """The API server's own reading of method and target. Field meanings follow `request.RequestInfo` in Go."""

    is_resource_request: bool
    path: str
    verb: str
    api_prefix: str = ""
    api_group: str = ""
    api_version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()
    field_selector: str = ""
    label_selector: str = ""


METHOD_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
"""HTTP methods the gate serves, with the verb of a resource request. Others are 405: Kubernetes gives them no verb."""

SPECIAL_VERBS = frozenset({"proxy", "watch"})
"""Legacy prefixes, /api/v1/watch/...: the verb stands in the path, whatever the method."""

NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
"""What tells /namespaces/x/status (of the namespace) from /namespaces/x/pods (in the namespace)."""

VERBS_WITH_SELECTORS = frozenset({"list", "watch", "deletecollection"})

MAX_CHECKED_SELECTOR = 4096
"""Characters of a label selector that are checked when a field selector beside it names an object."""

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_PREFIX_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_KEY = rf"(?!(?:in|notin)\b)(?:(?=[a-z0-9.-]{{1,253}}/){_PREFIX_LABEL}(?:\.{_PREFIX_LABEL})*/)?{_NAME}"
_SET = rf"\( *{_NAME}(?: *, *{_NAME})* *\)"
_REQUIREMENT = rf" *(?:! *{_KEY}|{_KEY}(?: *(?:==?|!=)(?: *{_NAME})?| +(?:in|notin) *{_SET})?) *"
_LABEL_SELECTOR = re.compile(rf"{_REQUIREMENT}(?:,{_REQUIREMENT})*")
_INT64 = re.compile(r"[+-]?[0-9]{1,18}")


def request_info(method: str, target: Target) -> RequestInfo:
    """Say what method and target mean to the API server.

    Raises Malformed: 405 for a method Kubernetes has no verb for; 400 where the API server itself errs, or where its
    reading would hang on list options that do not parse.
    """
    if method not in METHOD_VERBS:
        served = ", ".join(METHOD_VERBS)
        raise Malformed(f"method {method[:20]!r} is not served: use one of {served}", code=405)
    segments = target.segments
    prefix = segments[0] if len(segments) >= 3 else ""
    if prefix == "api":
        return _resource_info(method, target, prefix, "", segments[1:])
    if prefix == "apis" and len(segments) >= 4:
        return _resource_info(method, target, prefix, segments[1], segments[2:])
    api_prefix = prefix if prefix == "apis" else ""
    return RequestInfo(is_resource_request=False, path=target.path, verb=method.lower(), api_prefix=api_prefix)


def _resource_info(method: str, target: Target, prefix: str, group: str, rest: tuple[str, ...]) -> RequestInfo:
    """Read a resource request; `rest` is version and everything behind it, two segments at least."""
    version, parts = rest[0], rest[1:]
    verb = METHOD_VERBS[method]
    verb_in_path = parts[0] in SPECIAL_VERBS
    if verb_in_path:
        if len(parts) < 2:
            raise Malformed(f"the path ends after /{parts[0]}: a resource has to follow, .../{parts[0]}/pods")
        verb, parts = parts[0], parts[1:]

    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in NAMESPACE_SUBRESOURCES:
            parts = parts[2:]

    name = parts[1] if len(parts) >= 2 else ""
    if not name and verb == "get":
        verb, name = _list_or_watch(target)
    if not name and verb == "delete":
        verb = "deletecollection"
    with_selectors = bool(target.query) and not verb_in_path and verb in VERBS_WITH_SELECTORS
    return RequestInfo(
        is_resource_request=True,
        path=target.path,
        verb=verb,
        api_prefix=prefix,
        api_group=group,
        api_version=version,
        namespace=namespace,
        resource=parts[0],
        subresource=parts[2] if len(parts) >= 3 and verb != "proxy" else "",
        name=name,
        parts=parts,
        field_selector=(target.first("fieldSelector") or "") if with_selectors else "",
        label_selector=(target.first("labelSelector") or "") if with_selectors else "",
    )


def _list_or_watch(target: Target) -> tuple[str, str]:
    """The verb of a GET without a name, and the name that its field selector may give it."""
    if not target.query:
        return "list", ""
    watch = target.first("watch")
    if watch is not None and not watch.isascii():  # Go compares with Unicode case folding, where s and ſ are one letter
        raise Malformed("the parameter watch holds characters beyond ASCII: write watch=true or watch=false")
    verb = "watch" if watch is not None and watch.lower() not in ("0", "false") else "list"
    selector = target.first("fieldSelector")
    name = exact_name(selector) if selector else ""
    if name:
        _require_parsable_options(target)
    return verb, name


def exact_name(field_selector: str) -> str:
    """The object name that a field selector requires, or "" (fields.ParseSelector and RequiresExactMatch).

    A selector that does not parse names nothing, and neither does a name that could be no path segment.
    """
    names = []
    for term in sorted(_split_terms(field_selector)):
        if not term:
            continue
        split = _split_term(term)
        if split is None:
            return ""
        field, operator, raw_value = split
        value = _unescape(raw_value)
        if value is None:
            return ""
        if field == "metadata.name" and operator != "!=":
            names.append(value)
    if not names or names[0] in (".", "..") or "/" in names[0] or "%" in names[0]:
        return ""
    return names[0]


def field_requirements(field_selector: str) -> tuple[tuple[str, str], ...]:
    """The fields that a field selector asks about, each with the value it compares, whatever the comparison. What does
    not parse is given as it is written: the API server refuses it.
    """
    found = []
    for term in _split_terms(field_selector):
        field, _, value = _split_term(term) or (term, "", "")
        unescaped = _unescape(value)
        if term:
            found.append((field, value if unescaped is None else unescaped))
    return tuple(found)


def _split_terms(selector: str) -> list[str]:
    """Cut at commas that no backslash protects (fields.splitTerms)."""
    if "\\" not in selector:
        return selector.split(",")
    terms, start, escaped = [], 0, False
    for position, character in enumerate(selector):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            terms.append(selector[start:position])
            start = position + 1
    terms.append(selector[start:])
    return terms


def _split_term(term: str) -> tuple[str, str, str] | None:
    """Left side, operator, right side, cut at the first operator; a lone `!` belongs to the left (fields.splitTerm)."""
    equals = term.find("=")
    if equals < 0:
        return None
    if equals > 0 and term[equals - 1] == "!":
        return term[: equals - 1], "!=", term[equals + 1 :]
    if term.startswith("==", equals):
        return term[:equals], "==", term[equals + 2 :]
    return term[:equals], "=", term[equals + 1 :]


def _unescape(value: str) -> str | None:
    """Undo backslashes; None where one is amiss, or a comma or equals sign stands bare (fields.UnescapeValue)."""
    characters, escaped = [], False
    for character in value:
        if escaped:
            if character not in "\\,=":
                return None
            characters.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in ",=":
            return None
        else:
            characters.append(character)
    return None if escaped else "".join(characters)


def _require_parsable_options(target: Target) -> None:
    """Refuse list options that might not parse.

    The API server decodes all list options at once, and when one fails it forgets the name in the field selector. The
    grammar here is narrower than its own; a request in between is refused, since its meaning could not be told.
    """
    for option in ("limit", "timeoutSeconds"):
        value = target.first(option)
        if value is not None and _INT64.fullmatch(value) is None:
            raise Malformed(f"the parameter {option} is not a number: {value[:40]!r}")
    labels = target.first("labelSelector")
    if labels and (len(labels) > MAX_CHECKED_SELECTOR or _LABEL_SELECTOR.fullmatch(labels) is None):
        raise Malformed(
            "the parameter labelSelector beside a field selector for metadata.name is not one the gate can read: "
            "leave one of the two out"
        )
