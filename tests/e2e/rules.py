"""Rules of policies, briefly: verbs and resources as words."""

from __future__ import annotations

from typing import Any


def allow(identifier: str, verbs: str, resources: str, namespace: str, **more: Any) -> dict[str, Any]:
    """An allow rule for one namespace, or for all with `*`."""
    return {
        "id": identifier,
        "effect": "allow",
        "verbs": verbs.split(),
        "apiGroups": more.pop("groups", [""]),
        "resources": resources.split(),
        "namespaces": [namespace],
        **more,
    }


def deny(identifier: str, verbs: str, resources: str, **more: Any) -> dict[str, Any]:
    """A deny rule; without `namespaces` it holds everywhere."""
    return {
        "id": identifier,
        "effect": "deny",
        "verbs": verbs.split(),
        "apiGroups": more.pop("groups", [""]),
        "resources": resources.split(),
        **more,
    }
