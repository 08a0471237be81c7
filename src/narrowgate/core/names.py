"""Which names an identity may have. Every authenticator asks here before it vouches for one.

An identity's name and groups travel to the API server in impersonation headers, so a name must never mean something to
Kubernetes by itself, and must never be able to end a header line.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

LONGEST_NAME = 253
"""Characters; the longest DNS-1123 subdomain, as Kubernetes' object names."""

LONGEST_AGENT_NAME = 63
"""Characters; a DNS-1123 label, so that an agent's name also fits into a label value."""

MOST_GROUPS = 64
"""Groups of one identity. Each is a header upstream, and the API server reads 1 MiB of headers at most."""

RESERVED_PREFIX = "system:"
"""Kubernetes' own identities (`system:masters`, `system:serviceaccount:...`) begin like this."""

_AGENT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_OWNER = re.compile(r"(?:person|group):.+")


def name_problem(name: str) -> str:
    """Why `name` cannot be a person's, workload's or group's name; empty when it can. Worded to follow the name."""
    if not name:
        return "is empty"
    if len(name) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} characters"
    # NFKC folds look-alikes such as full-width letters, so that no spelling of the prefix slips through where somebody
    # downstream folds them too.
    if unicodedata.normalize("NFKC", name).strip().casefold().startswith(RESERVED_PREFIX):
        return f'begins with "{RESERVED_PREFIX}", which is reserved for Kubernetes itself'
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for character in name):
        return "holds a control or invisible character"
    if name != name.strip():
        return "begins or ends with a space"
    return ""


def valid_name(name: str) -> bool:
    """Whether `name` may be an identity's or a group's name at all."""
    return not name_problem(name)


def agent_name_problem(name: str) -> str:
    """Why `name` cannot be an agent's name; empty when it can. Worded to follow the name."""
    if problem := name_problem(name):
        return problem
    if len(name) > LONGEST_AGENT_NAME:
        return f"is longer than {LONGEST_AGENT_NAME} characters"
    if not _AGENT_NAME.fullmatch(name):
        return 'has other characters than lower case letters, digits and "-" between them'
    return ""


def owner_problem(owner: str) -> str:
    """Why `owner` does not name who answers for an agent; empty when it does. Worded to follow the owner."""
    if not _OWNER.fullmatch(owner):
        return "is not written person:NAME or group:NAME"
    return name_problem(owner.partition(":")[2])


def groups_problem(groups: Iterable[str]) -> str:
    """Why these cannot be an identity's groups, with the group that is at fault; empty when they can."""
    listed = tuple(groups)
    if len(listed) > MOST_GROUPS:
        return f"{len(listed)} groups are more than {MOST_GROUPS}"
    for group in listed:
        if problem := name_problem(group):
            return f'group "{group}" {problem}'
    return ""
