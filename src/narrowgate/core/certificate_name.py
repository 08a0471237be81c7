"""Names that a client certificate can prove: a SPIFFE ID (`spiffe://prod/ns/ci/sa/bot`) or a common name (`cn:bot`).

An agent's record lists those that stand for it. They are compared letter by letter, so that there must be one spelling
of each: what has more than one is refused, here and where a certificate is read.
"""

from __future__ import annotations

import re

from narrowgate.core.names import name_problem

SPIFFE = "spiffe://"
COMMON_NAME = "cn:"

LONGEST_SPIFFE_ID = 2048
"""Bytes (SPIFFE-ID specification, section 2.3)."""
LONGEST_TRUST_DOMAIN = 255
"""Bytes (SPIFFE-ID specification, section 2.3)."""

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+", re.ASCII)
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


def certificate_name_problem(name: str) -> str:
    """Why `name` cannot stand in an agent's record; empty when it can. Worded to follow the name."""
    if name.startswith(SPIFFE):
        return spiffe_id_problem(name)
    if name.startswith(COMMON_NAME):
        return name_problem(name.removeprefix(COMMON_NAME))
    return f"is written neither {SPIFFE}TRUST-DOMAIN/PATH nor {COMMON_NAME}COMMON-NAME"


def spiffe_id_problem(uri: str) -> str:
    """Why `uri` is no SPIFFE ID of a workload; empty when it is one. Worded to follow it.

    SPIFFE-ID specification, section 2: no port, user, query, fragment or percent-encoding; no empty, `.` or `..`
    segment. An ID without a path names the trust domain itself, which no workload is.
    """
    if not uri.startswith(SPIFFE):
        return f"does not begin with {SPIFFE}"
    if len(uri) > LONGEST_SPIFFE_ID:
        return f"is longer than {LONGEST_SPIFFE_ID} characters"
    trust_domain, slash, path = uri.removeprefix(SPIFFE).partition("/")
    if problem := trust_domain_problem(trust_domain):
        return f"has a trust domain that {problem}"
    if not slash:
        return "names a trust domain and no workload in it"
    segments = path.split("/")
    if not all(_SEGMENT.fullmatch(segment) and segment not in (".", "..") for segment in segments):
        return 'has a path with other than letters, digits, ".", "-" and "_" between single slashes'
    return ""


def trust_domain_problem(name: str) -> str:
    """Why `name` is no SPIFFE trust domain; empty when it is. Worded to follow it."""
    if not name or len(name) > LONGEST_TRUST_DOMAIN:
        return "is empty" if not name else f"is longer than {LONGEST_TRUST_DOMAIN} characters"
    if not _TRUST_DOMAIN.fullmatch(name):
        return 'has other characters than lower case letters, digits, ".", "-" and "_"'
    return ""


def trust_domain_of(spiffe_id: str) -> str:
    """The trust domain of a SPIFFE ID without a problem."""
    return spiffe_id.removeprefix(SPIFFE).partition("/")[0]
