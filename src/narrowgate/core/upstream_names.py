"""The names under which identities appear in the cluster when the gate impersonates them.

Every name is prefixed, so that no claim of anybody's can become a cluster identity that means something already: not
`system:masters`, not a person whom the cluster's own authenticators know. RBAC for impersonation is fenced to these.
"""

from __future__ import annotations

from urllib.parse import quote

from narrowgate.core.identity import Chain, Identity, Kind

PREFIX = "narrowgate:"
EXTRA_PREFIX = "narrowgate.dev/"
"""Begins the keys of the impersonated extra values."""
WORKLOAD_KEYS = ("pod", "pod-uid", "node")
"""Claims of a workload that go along: where it runs, as its cluster vouched for it."""
EXTRA_KEYS = ("chain", "request", "task", *WORKLOAD_KEYS)
"""All that may go along, `narrowgate.dev/chain` and so on: RBAC can fence the keys, and not the values."""
MAX_GROUPS = 64
"""More groups than this are refused: each is a header of its own and a check of its own in the API server."""

_KIND_WORD = {Kind.AGENT: "agent", Kind.PERSON: "person", Kind.WORKLOAD: "serviceaccount"}


def upstream_user(identity: Identity) -> str:
    """The user name in the cluster: `narrowgate:agent:ci-reviewer`. A delegate goes by that of its root, the only one
    that the gate's account may impersonate; that it was the delegate is in the extra values.
    """
    return f"{PREFIX}{_KIND_WORD[identity.kind]}:{identity.known_as}"


def upstream_groups(identity: Identity) -> tuple[str, ...]:
    """The groups in the cluster: one for the kind (`narrowgate:agents`), and each of the identity's own, prefixed."""
    return (f"{PREFIX}{_KIND_WORD[identity.kind]}s", *(f"{PREFIX}group:{group}" for group in identity.groups))


def upstream_extra(chain: Chain, request_id: str) -> tuple[tuple[str, str], ...]:
    """What goes along into the cluster's own audit log: (key, value) pairs; a key may repeat."""
    sender = chain[-1]
    # An issuer's mapping may call a claim of its own `pod`; a workload's were vouched for by its cluster.
    claims = sender.claims if sender.kind is Kind.WORKLOAD else ()
    return (
        *((EXTRA_PREFIX + "chain", str(member)) for member in chain),
        (EXTRA_PREFIX + "request", request_id),
        *(((EXTRA_PREFIX + "task", sender.task),) if sender.task else ()),
        *((EXTRA_PREFIX + key, value) for key, value in claims if key in WORKLOAD_KEYS),
    )


def impersonation_headers(chain: Chain, request_id: str) -> list[tuple[bytes, bytes]]:
    """The Impersonate-* headers for a chain (k8s.io/api/authentication/v1/types.go; extra keys are percent-encoded).

    Raises ValueError for a name that may not be sent: an absent or odd user would run the request as the gate itself.
    """
    sender = chain[-1]
    groups = upstream_groups(sender)
    if len(groups) > MAX_GROUPS:
        raise ValueError(f"{sender} is in more than {MAX_GROUPS - 1} groups")
    pairs = [("impersonate-user", upstream_user(sender))]
    pairs += [("impersonate-group", group) for group in groups]
    pairs += [
        (f"impersonate-extra-{quote(key, safe='').lower()}", value) for key, value in upstream_extra(chain, request_id)
    ]
    return [(name.encode("ascii"), _header_value(value)) for name, value in pairs]


def _header_value(value: str) -> bytes:
    if not value or not value.isprintable() or value != value.strip():
        raise ValueError(f"the name {value!r} cannot be sent to a cluster")
    return value.encode("utf-8")
