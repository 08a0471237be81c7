"""What an account that should only impersonate may do besides, read from a SelfSubjectRulesReview's status."""

from __future__ import annotations

from typing import Any

_EVERYBODYS_RESOURCES = frozenset({"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"})
"""What the ClusterRole system:basic-user gives to every authenticated identity."""
_EVERYBODYS_URLS = frozenset(
    {
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    }
)
"""What system:discovery and system:public-info-viewer give to everyone."""


def excess_of(status: dict[str, Any]) -> list[str]:
    """Each rule that is more than impersonating, in words; empty when there is none.

    An incomplete answer counts as excess: what is not known to be narrow is not.
    """
    found = [_words(rule) for rule in status.get("resourceRules") or [] if not _is_narrow(rule)]
    found += [
        f"{' and '.join(rule['verbs'])} {' '.join(rule.get('nonResourceURLs') or ['?'])}"
        for rule in status.get("nonResourceRules") or []
        if not set(rule.get("nonResourceURLs") or ["?"]) <= _EVERYBODYS_URLS or not set(rule["verbs"]) <= {"get"}
    ]
    if status.get("incomplete"):
        found.append(f"the API server could not tell everything ({status.get('evaluationError') or 'no reason given'})")
    return found


def _is_narrow(rule: dict[str, Any]) -> bool:
    if all(verb == "impersonate" or (verb.startswith("impersonate") and ":" in verb) for verb in rule["verbs"]):
        return True
    return set(rule.get("resources") or ["?"]) <= _EVERYBODYS_RESOURCES and set(rule["verbs"]) <= {"create"}


def _words(rule: dict[str, Any]) -> str:
    names = f" {', '.join(rule['resourceNames'])}" if rule.get("resourceNames") else ""
    groups = [group for group in rule.get("apiGroups") or [] if group]
    suffix = f" in {', '.join(groups)}" if groups else ""
    return f"{', '.join(rule['verbs'])} {', '.join(rule.get('resources') or ['?'])}{names}{suffix}"
