"""Intents of writes, as `understand` makes them, for the tests of bodies and uses."""

from __future__ import annotations

from typing import Any

from narrowgate.core.intent import Intent
from narrowgate.core.request_info import RequestInfo

RBAC = "rbac.authorization.k8s.io"


def info_of(verb: str, resource: str, name: str = "", namespace: str = "ci", version: str = "v1") -> RequestInfo:
    """Request info of a write: `deployments.apps`, `pods/status`, `roles.rbac.authorization.k8s.io`."""
    whole, _, subresource = resource.partition("/")
    plural, _, group = whole.partition(".")
    return RequestInfo(
        is_resource_request=True,
        path="/",
        verb=verb,
        api_prefix="apis" if group else "api",
        api_group=group,
        api_version=version,
        namespace=namespace,
        resource=plural,
        subresource=subresource,
        name=name,
    )


def intent_of(verb: str, resource: str, name: str = "", namespace: str = "ci", version: str = "v1") -> Intent:
    info = info_of(verb, resource, name, namespace, version)
    return Intent(cluster="prod", info=info, namespaced=bool(namespace))


def facts(uses: Any) -> set[str]:
    """Uses in one word each: `use|get secrets/deploy-key -n ci`, without the place where they are named."""
    return {
        f"{'|'.join(use.verbs)} {use.resource}{'.' + use.api_group if use.api_group else ''}/{use.name}"
        + (f" -n {use.namespace}" if use.namespace else "")
        for use in uses
    }
