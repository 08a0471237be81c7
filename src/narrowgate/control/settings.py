"""What every part of the control port needs to know of the gate it belongs to."""

from __future__ import annotations

import msgspec

from narrowgate.core.delegated_task import USUAL_CHAIN


class ControlSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One gate, as its control port sees it."""

    url: str
    """The control port as people and programs reach it: `https://gate.corp:8444`, nothing behind it."""
    kubernetes_url: str
    """The data port as clients reach it."""
    ca_pem: str
    """PEM of the CA for kubeconfigs; empty where clients' systems trust the certificate."""
    clusters: tuple[str, ...]
    sign_in_seconds: float
    """Longest that a person stays signed in."""
    access_seconds: float
    """Longest life of one access credential."""
    remembered: frozenset[str] = frozenset()
    """Clusters of which it is remembered who has workloads made: elsewhere none are deleted when a task ends."""
    longest_chain: int = USUAL_CHAIN
    """Members of a chain at most: whoever asked first, its delegates, theirs."""
