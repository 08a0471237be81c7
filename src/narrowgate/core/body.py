"""The body of a request: which ones must be read, what they hold, and what they add to an intent.

The object in the body counts as much as the path: `with_body` judges its name and namespace against the path's as
k8s.io/apiserver/pkg/endpoints/handlers does (create.go, update.go, rest.go), adds the object for conditions, and all
that the object uses (`core/uses.py`). What the gate must read and cannot is Malformed; nothing is passed on unread.

Conditions see the object as it was sent: defaults and admission webhooks come later, in the API server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from narrowgate.core.documents import parse_json, parse_yaml
from narrowgate.core.intent import Intent, Use
from narrowgate.core.malformed import Malformed
from narrowgate.core.patches import laid, written
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.understand import is_proxied, is_streaming
from narrowgate.core.uses import JSON_PATCH, is_unseen, may_use, uses_of, uses_of_patch

BODY_LIMIT = 3 * 1024 * 1024
"""Bytes: the API server's own (`MaxRequestBodyBytes` in k8s.io/apiserver/pkg/server/config.go)."""

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

BODY_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})
"""Verbs whose requests may have a body."""

MAY_CREATE = "the API server creates the object where it does not exist"
"""`because` of the use that stands for this: an apply, or an update of some kinds, is a create where nothing is yet."""

_RBAC = "rbac.authorization.k8s.io"
_CREATED_BY_UPDATE = frozenset(
    {
        ("", "endpoints"),
        ("", "events"),
        ("", "limitranges"),
        ("", "services"),
        ("coordination.k8s.io", "leasecandidates"),
        ("coordination.k8s.io", "leases"),
        ("events.k8s.io", "events"),
        ("node.k8s.io", "runtimeclasses"),
        (_RBAC, "clusterrolebindings"),
        (_RBAC, "clusterroles"),
        (_RBAC, "rolebindings"),
        (_RBAC, "roles"),
    }
)
"""Resources whose strategy in k8s.io/kubernetes/pkg/registry says `AllowCreateOnUpdate`."""

_EXACT_KEYS = {key.lower(): key for key in ("kind", "apiVersion", "metadata")}


class ObjectNames(msgspec.Struct, frozen=True):
    """What the envelope and the metadata of an object say; all that is read of a protobuf body."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""


ReadProtobuf = Callable[[bytes], ObjectNames]
"""Reads a body with the Kubernetes protobuf envelope, or raises Malformed (`wire.protobuf.read_names`)."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body that was read: a whole object, a patch, or names alone."""

    names: ObjectNames
    object: Any = None
    """The object as sent; None for patches, options and protobuf."""
    patch: Any = None
    """The patch as sent: a partial object, or a list of operations."""
    patch_type: str = ""
    """Content type of the patch."""
    missing: str = ""
    """Why there is no object, where the request writes one."""


def must_read_body(info: RequestInfo) -> bool:
    """Whether the gate reads the whole body before it decides; False for what streams or is not about a resource."""
    return info.is_resource_request and info.verb in BODY_VERBS and not is_streaming(info) and not is_proxied(info)


def with_body(intent: Intent, content_type: str, body: bytes, read_protobuf: ReadProtobuf | None = None) -> Intent:
    """Add to an intent what its body says: name, object, uses.

    A create takes its name from the body, so that rules with `names` see it; one that leaves the name to the API
    server (`generateName`) keeps the empty name, which no such rule covers. A patch has no object yet: `object_missing`
    says so until `with_patched` brings it. Where `unseen` is set, the request must not be decided before that.

    Raises Malformed: 400, 413 beyond BODY_LIMIT, 415 for a form that is not read here. Protobuf is 415 without
    `read_protobuf`, and for every kind that may use something.
    """
    read = read_body(content_type, body, intent, read_protobuf)
    info = intent.info
    if info.verb == "create" and not info.name and not info.subresource and read.names.name:
        info = _named(info, read.names.name)
    uses: tuple[Use, ...] = ()
    if read.patch is not None:
        uses = uses_of_patch(info, read.patch_type, read.patch)
    elif read.object is not None:
        uses = uses_of(info, read.object)
    if _may_create(info, read):
        uses += (_creation(info),)
    unseen = next((use.because for use in uses if is_unseen(use)), "")
    return msgspec.structs.replace(
        intent,
        info=info,
        object=read.object,
        object_missing=read.missing,
        uses=uses,
        unseen=f"the request does not show the {unseen} of the object" if unseen else "",
    )


def with_old(intent: Intent, old_object: Any) -> Intent:
    """Add to an intent what its object is now, None for nothing: where there is one, the request creates none.

    That stays true only if the request is bound to this version of the object (`metadata.resourceVersion`).
    """
    uses = intent.uses
    if old_object is not None:
        uses = tuple(use for use in uses if use.because != MAY_CREATE)
    return msgspec.structs.replace(intent, old_object=old_object, uses=uses)


def may_create(intent: Intent) -> bool:
    """Whether the request would be a create if its object did not exist, so that it matters whether it does."""
    return any(use.because == MAY_CREATE for use in intent.uses)


def with_patched(intent: Intent, result: Any, old_object: Any) -> Intent:
    """Add to the intent of a patch what it makes of the object: `result` by dry run, `old_object` as it is now.

    `old_object` is None where there is none yet. The uses are those that the patch shows, and those of the result that
    the old object does not have.
    """
    intent = with_old(intent, old_object)
    before = {_what(use) for use in uses_of(intent.info, old_object)} if old_object is not None else set()
    uses = {_what(use): use for use in intent.uses if not is_unseen(use)}
    for use in uses_of(intent.info, result):
        # A binding grants its role anew to whoever is written into it.
        if _what(use) not in before or use.verbs == ("bind",):
            uses.setdefault(_what(use), use)
    return msgspec.structs.replace(intent, object=result, object_missing="", unseen="", uses=tuple(uses.values()))


def read_body(content_type: str, body: bytes, intent: Intent, read_protobuf: ReadProtobuf | None = None) -> Body:
    """Read the body of a request for which `must_read_body` holds, and check it against the path.

    Raises Malformed as `with_body` does.
    """
    if len(body) > BODY_LIMIT:
        raise Malformed(f"Request entity too large: limit is {BODY_LIMIT}", 413)
    info = intent.info
    form = content_type.partition(";")[0].strip().lower()
    if info.verb == "patch":
        return _read_patch(form, body, info)
    if info.verb in ("delete", "deletecollection"):
        return _read_options(form, body, read_protobuf)
    if not body:
        if not info.subresource:
            raise Malformed("the request has no body: send the object")
        return Body(names=ObjectNames(), missing="the request has no body")
    if form == PROTOBUF:
        return _read_names(body, info, read_protobuf)
    written_object = _parse(form, body)
    names = _names(written_object)
    _refuse_list(names.kind, written_object)
    _check_against_path(names, info)
    return Body(names=names, object=written_object)


def _parse(form: str, body: bytes) -> Any:
    """Read the bytes of one object by content type; none given means JSON, as it does to the API server."""
    if form in ("", JSON):
        return parse_json(body)
    if form == YAML:
        return parse_yaml(body)
    raise Malformed(f"the body is {form[:100]}, which the gate does not read: send {JSON}", 415)


def _read_names(body: bytes, info: RequestInfo, read_protobuf: ReadProtobuf | None) -> Body:
    """Read a protobuf object as far as that goes: whom it is about, nothing of what it holds."""
    if read_protobuf is None or may_use(info):
        raise Malformed(f"what {info.resource} use cannot be judged in protobuf: send {JSON}", 415)
    names = read_protobuf(body)
    _check_against_path(names, info)
    return Body(names=names, missing="the body is protobuf, and conditions read JSON: send it as JSON")


def _read_options(form: str, body: bytes, read_protobuf: ReadProtobuf | None) -> Body:
    """Read the DeleteOptions of a delete; nothing in them changes what it is allowed to do."""
    if not body:
        return Body(names=ObjectNames())
    names = read_protobuf(body) if form == PROTOBUF and read_protobuf is not None else _names(_parse(form, body))
    if names.kind not in ("", "DeleteOptions"):
        raise Malformed(f"the body of a delete is DeleteOptions, not {names.kind[:100]}")
    return Body(names=names)


def _read_patch(form: str, body: bytes, info: RequestInfo) -> Body:
    """Read a patch, and see that it does not rename or move the object."""
    match form:
        case "application/json-patch+json":
            patch = parse_json(body)
            shown = [laid(write) for write in written(patch) if write.path[:1] in ((), ("metadata",))]
        case "application/merge-patch+json" | "application/strategic-merge-patch+json":
            patch = parse_json(body)
            shown = [patch]
        case "application/apply-patch+yaml":
            patch = parse_yaml(body)
            shown = [patch]
        case _:
            raise Malformed(
                f'the patch is "{form[:100]}", which the gate does not read: '
                f"send {JSON_PATCH}, {MERGE_PATCH}, {STRATEGIC_PATCH} or {APPLY}",
                415,
            )
    names = ObjectNames()
    for fragment in shown:
        names = _names(fragment)
        _check_patched(names, info)
    return Body(names=names, patch=patch, patch_type=form, missing="the result of the patch is not known")


def _names(document: Any) -> ObjectNames:
    """Read kind and metadata, strictly: text is text, and no key has another spelling that Go would also find."""
    if not isinstance(document, dict):
        raise Malformed("the body is not an object")
    for key in document:
        if _EXACT_KEYS.get(key.lower(), key) != key:
            raise Malformed(f'the body has the key "{key}": write {_EXACT_KEYS[key.lower()]}')
    metadata = document.get("metadata")
    if metadata is None:
        metadata = {}
    elif not isinstance(metadata, dict):
        raise Malformed("metadata in the body is not an object")
    return ObjectNames(
        api_version=_text(document, "apiVersion", ""),
        kind=_text(document, "kind", ""),
        name=_text(metadata, "name", "metadata."),
        generate_name=_text(metadata, "generateName", "metadata."),
        namespace=_text(metadata, "namespace", "metadata."),
        uid=_text(metadata, "uid", "metadata."),
    )


def _text(mapping: dict[str, Any], key: str, where: str) -> str:
    value = mapping.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{where}{key} in the body is not a string")
    return value


def _refuse_list(kind: str, document: dict[str, Any]) -> None:
    """Refuse several objects at once: the API server writes one, and the gate would judge none of them."""
    if kind == "List" or (kind.endswith("List") and isinstance(document.get("items"), list)):
        raise Malformed(f"the body is a {kind[:100]}: write its items one by one")


def _check_against_path(names: ObjectNames, info: RequestInfo) -> None:
    """Hold an object to be created or updated against the path, in the API server's words."""
    expected = f"{info.api_group}/{info.api_version}" if info.api_group else info.api_version
    # Bodies of subresources (Scale, Eviction, TokenRequest) belong to groups of their own.
    if names.api_version and names.api_version != expected and not info.subresource:
        raise Malformed(
            f"the API version in the data ({names.api_version[:200]}) "
            f"does not match the expected API version ({expected})"
        )
    if info.verb == "update" and not names.name and not info.subresource:
        raise Malformed(f"the name of the object ({info.name} based on URL) was undeterminable: name must be provided")
    _check_patched(names, info)


def _check_patched(names: ObjectNames, info: RequestInfo) -> None:
    """Refuse a name or a namespace that is not the path's; none is as good as the same."""
    if names.name and info.name and names.name != info.name:
        raise Malformed(f"the name of the object ({names.name[:300]}) does not match the name on the URL ({info.name})")
    if info.resource == "namespaces":
        return  # the path's namespace is the object's own name there
    if names.namespace and info.namespace and names.namespace != info.namespace:
        raise Malformed("the namespace of the provided object does not match the namespace sent on the request")


def _may_create(info: RequestInfo, read: Body) -> bool:
    """Whether the request is a create where its object does not exist.

    An update that carries a uid is not: it becomes a precondition (rest/update.go), which nothing cannot meet.
    """
    if info.subresource:
        return False
    if info.verb == "patch":
        return read.patch_type == APPLY
    created = info.verb == "update" and (info.api_group, info.resource) in _CREATED_BY_UPDATE
    return created and not read.names.uid


def _named(info: RequestInfo, name: str) -> RequestInfo:
    """A create of the object with this name; a Namespace counts as being in itself (create.go, `namespaceGVR`)."""
    namespace = name if (info.resource, info.api_group) == ("namespaces", "") else info.namespace
    return msgspec.structs.replace(info, name=name, namespace=namespace)


def _creation(info: RequestInfo) -> Use:
    return Use(
        verbs=("create",),
        api_group=info.api_group,
        resource=info.resource,
        namespace=info.namespace,
        name=info.name,
        because=MAY_CREATE,
    )


def _what(use: Use) -> tuple[object, ...]:
    return (use.verbs, use.api_group, use.resource, use.namespace, use.name)
