"""What may be written into an agent's record, and what not: asked wherever a record is made or changed.

Each function says why something cannot be written, in words that the command line and the API show as they are; empty
when it can. Names, owners and groups are in `core/names.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from narrowgate.core.agent import AgentKey, AgentRecord
from narrowgate.core.certificate_name import certificate_name_problem
from narrowgate.core.names import agent_name_problem, groups_problem, owner_problem

LONGEST_PURPOSE = 500
"""Characters: a sentence or two for people, not a place for data."""

LONGEST_LABEL = 63
"""Characters of a label's value and of its name, as in Kubernetes (k8s.io/apimachinery/pkg/util/validation)."""

MOST_LABELS = 32
"""Of one agent: they are for people and lists."""

MOST_KEYS = 8
"""Of one agent: one in use and one to change to, for a few places; more are a shared identity."""

MOST_CERTIFICATE_NAMES = 8
"""Of one agent, for the same reason."""

MOST_HANDED_TO = 64
"""People of whom it is kept that they can ask as the agent; more know a secret only where it is none."""

KEY_BYTES = 32
"""Of an Ed25519 public key (RFC 8032, section 5.1.5)."""

LATEST_TIME = 253_402_300_799.0
"""Seconds; the end of the year 9999, beyond which no date can be written."""

_LABEL_WORD = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*", re.ASCII)
_LONGEST_LABEL_PREFIX = 253

SMALL_ORDER_KEYS = frozenset(
    bytes.fromhex(point)
    for point in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
)
"""Every spelling of the eight points of small order: under such a "key" signatures verify that nobody made."""


def record_problem(agent: AgentRecord) -> str:
    """Why a record cannot be kept as it is, with the field that is at fault."""
    named = ((agent_name_problem(agent.name), f'name "{agent.name}"'), (owner_problem(agent.owner), "owner"))
    for problem, field in named:
        if problem:
            return f"{field} {problem}"
    return (
        purpose_problem(agent.purpose)
        or groups_problem(agent.groups)
        or labels_problem(agent.labels)
        or end_problem(agent.ends_at)
        or keys_problem(agent.keys)
        or certificate_names_problem(agent.certificate_names)
        or handed_to_problem(agent.handed_to)
    )


def purpose_problem(purpose: str) -> str:
    """Why this does not say what an agent is for."""
    if not purpose.strip() or len(purpose) > LONGEST_PURPOSE or not purpose.isprintable():
        return f"purpose: write one line of 1 to {LONGEST_PURPOSE} characters"
    return ""


def labels_problem(labels: Sequence[tuple[str, str]]) -> str:
    """Why these cannot be labels: they follow Kubernetes' own, so that the same selectors and tools serve."""
    if len(labels) > MOST_LABELS:
        return f"{len(labels)} labels are more than {MOST_LABELS}"
    if len({key for key, _ in labels}) != len(labels):
        return "a label is there twice"
    for key, value in labels:
        if problem := _label_problem(key, value):
            return problem
    return ""


def _label_problem(key: str, value: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > _LONGEST_LABEL_PREFIX or not _LABEL_PREFIX.fullmatch(prefix)):
        return f'label "{key}": what stands before "/" is not a DNS name in lower case'
    if not _LABEL_WORD.fullmatch(name):
        return f'label "{key}": a key has 1 to {LONGEST_LABEL} letters, digits, "-", "_" or "." between them'
    if value and not _LABEL_WORD.fullmatch(value):
        return f'label "{key}": a value has up to {LONGEST_LABEL} letters, digits, "-", "_" or "." between them'
    return ""


def end_problem(ends_at: float | None) -> str:
    """Why this (Unix seconds) cannot be an end date. Whether it is ahead is for the caller to tell."""
    if ends_at is None or 0 < ends_at <= LATEST_TIME:
        return ""
    return "the end date is not between the years 1970 and 9999"


def keys_problem(keys: Sequence[AgentKey]) -> str:
    """Why these cannot be an agent's keys."""
    if len(keys) > MOST_KEYS:
        return f"{len(keys)} keys are more than {MOST_KEYS}: remove those not in use"
    if len({key.public for key in keys}) != len(keys):
        return "a key is there twice"
    for key in keys:
        if problem := key_problem(key.public):
            return problem
    return ""


def key_problem(public: bytes) -> str:
    """Why these bytes cannot be an Ed25519 public key that anything may rest on."""
    if len(public) != KEY_BYTES:
        return f"an Ed25519 public key has {KEY_BYTES} bytes, this one {len(public)}"
    if public in SMALL_ORDER_KEYS:
        return "this is not a public key but a point of small order, under which anybody can sign; make a real one"
    return ""


def certificate_names_problem(names: Iterable[str]) -> str:
    """Why these cannot be an agent's certificate names."""
    listed = tuple(names)
    if len(listed) > MOST_CERTIFICATE_NAMES:
        return f"{len(listed)} certificate names are more than {MOST_CERTIFICATE_NAMES}"
    if len(set(listed)) != len(listed):
        return "a certificate name is there twice"
    for name in listed:
        if problem := certificate_name_problem(name):
            return f'certificate name "{name}" {problem}'
    return ""


def handed_to_problem(handed_to: Sequence[str]) -> str:
    """Why a credential, key or certificate name cannot be handed to one more person."""
    if len(handed_to) > MOST_HANDED_TO:
        return (
            f"{MOST_HANDED_TO} people were handed a credential, key or certificate name of this agent already; remove "
            "its keys and certificate names, then rotate its credential without keeping the old one"
        )
    return ""
