"""Admission for a namespace of agents, in the API server itself: no webhook, and nothing that has to run.

* **refuse**: pods with a token for anybody but the gate, and Secrets that Kubernetes would write a token into, are
  refused, whoever makes them (ValidatingAdmissionPolicy, stable since Kubernetes 1.30).
* **inject**: every pod gets the gate's files and variables besides, as `agent_bundle` has them for the template
  (MutatingAdmissionPolicy, stable since 1.36).

Both are evaluated after the ServiceAccount plugin, so that a token that it has mounted is seen. They hold in the one
namespace that their bindings choose, by a label that the API server holds to be its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from narrowgate.core.agent_bundle import LABELS, NAME, NAMESPACE_NAME, Bundle, container_fields, volume
from narrowgate.core.manifests import Document

API: Final = "admissionregistration.k8s.io/v1"


def refusing(bundle: Bundle) -> tuple[Document, ...]:
    """What refuses tokens for the API server in the namespace. A policy for each kind: so each can be type-checked."""
    of_gate = "has(s.serviceAccountToken.audience) && s.serviceAccountToken.audience == " + _text(bundle.audience)
    in_pods = {
        "expression": "!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.projected) || "
        f"!has(v.projected.sources) || v.projected.sources.all(s, !has(s.serviceAccountToken) || ({of_gate})))",
        "message": f"pods of this namespace have tokens for {bundle.audience} alone: write "
        "automountServiceAccountToken: false, and project no other",
    }
    in_secrets = {
        "expression": "!has(object.type) || object.type != 'kubernetes.io/service-account-token'",
        "message": "this namespace keeps no tokens for the API server in Secrets",
    }
    found: list[Document] = []
    for kind, validation in (("pods", in_pods), ("secrets", in_secrets)):
        spec = _about(kind, validations=[validation])
        found += _policy("Validating", f"narrowgate-{kind}", bundle.namespace, spec, {"validationActions": ["Deny"]})
    return tuple(found)


def injecting(bundle: Bundle) -> tuple[Document, ...]:
    """What gives every pod of the namespace the way to the gate; one that has a volume of that name has it."""
    has_it_not = f"!has(object.spec.volumes) || !object.spec.volumes.exists(v, v.name == {_text(NAME)})"
    spec = _about(
        "pods",
        # What is mutated again after other plugins has it by then.
        reinvocationPolicy="IfNeeded",
        matchConditions=[{"name": "has-it-not", "expression": has_it_not}],
        mutations=[
            {"patchType": "JSONPatch", "jsonPatch": {"expression": _volume_patch(bundle)}},
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": _containers(bundle)}},
        ],
    )
    return _policy("Mutating", "narrowgate-inject", bundle.namespace, spec, {})


def _volume_patch(bundle: Bundle) -> str:
    """A list of projections is atomic, which apply configurations may not touch: the volume is added by a patch.

    Where there is no list yet, an empty one comes first: as a value by itself, a list of objects makes API servers of
    1.36 fail.
    """
    added = _typed(volume(bundle.audience), "Object.spec.volumes")
    patch = f'[JSONPatch{{op: "add", path: "/spec/volumes/-", value: {added}}}]'
    return f'(has(object.spec.volumes) ? [] : [JSONPatch{{op: "add", path: "/spec/volumes", value: []}}]) + {patch}'


def _containers(bundle: Bundle) -> str:
    """Containers are merged by name, variables by theirs, mounts by their path: what is the pods' own stays."""
    lists = []
    for field in ("containers", "initContainers"):
        item = f"Object.spec.{field}"
        fields = [
            f"{key}: [{', '.join(_typed(one, f'{item}.{key}') for one in listed)}]"
            for key, listed in container_fields(bundle.way).items()
        ]
        made = f"object.spec.{field}.map(c, {item}{{name: c.name, {', '.join(fields)}}})"
        lists.append(f"{field}: has(object.spec.{field}) ? {made} : []")
    return f"Object{{spec: Object.spec{{automountServiceAccountToken: false, {', '.join(lists)}}}}}"


def _typed(value: Any, path: str) -> str:
    """A JSON value as CEL that Kubernetes can type: mappings are constructed by the path at which they stand."""
    match value:
        case Mapping():
            inside = ", ".join(f"{key}: {_typed(below, f'{path}.{key}')}" for key, below in value.items())
            return f"{path}{{{inside}}}"
        case list():
            return f"[{', '.join(_typed(below, path) for below in value)}]"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            return _text(str(value))


def _text(value: str) -> str:
    """A string of CEL: JSON's escapes are among its own."""
    return msgspec.json.encode(value).decode()


def _about(resource: str, **fields: Any) -> Document:
    """The part that all have: about new objects of one kind, and refusing where it cannot be evaluated."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    return {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]}, **fields}


def _policy(kind: str, name: str, namespace: str, spec: Document, binding: Document) -> tuple[Document, ...]:
    metadata = {"name": f"{name}-{namespace}", "labels": dict(LABELS)}
    here = {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}}}
    bound = {"policyName": metadata["name"], **binding, "matchResources": here}
    return (
        {"apiVersion": API, "kind": f"{kind}AdmissionPolicy", "metadata": metadata, "spec": spec},
        {"apiVersion": API, "kind": f"{kind}AdmissionPolicyBinding", "metadata": metadata, "spec": bound},
    )
