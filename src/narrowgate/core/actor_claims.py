"""A chain as claims of a token (RFC 8693): who it is about, who acts, nested, the one who acts last outermost (section
4.1), and who alone may (section 4.4).

    {"sub": "agent:bot", "act": {"sub": "agent:bot/helper/second", "act": {"sub": "agent:bot/helper"}}}
    {"sub": "alice", "may_act": {"sub": "helper", "iss": "https://issuer.example"}}

Here every actor is judged, while by the RFC the outermost alone decides anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from narrowgate.core.identity import Chain

ACT: Final = "act"
MAY_ACT: Final = "may_act"

_LONGEST_SUBJECT: Final = 255
"""Characters of `sub` (OpenID Connect Core 1.0, section 2)."""


class ActorsMalformed(ValueError):
    """A claim that does not say who acts, or more of them than there may be; the text follows "this token"."""


def actor_claims(chain: Chain) -> dict[str, Any]:
    """`sub`, the root of the chain, and `act` where somebody acts for it."""
    act: dict[str, Any] | None = None
    for member in chain[1:]:
        act = {"sub": str(member)} if act is None else {"sub": str(member), "act": act}
    return {"sub": str(chain[0])} if act is None else {"sub": str(chain[0]), "act": act}


def read_actors(claims: Mapping[str, Any], issuer: str, most: int) -> tuple[Mapping[str, Any], ...]:
    """What `act` tells of each actor, the first to act first; none where there is no such claim. At most `most` are
    taken, each of the same `issuer` as the token. Raises ActorsMalformed.
    """
    found: list[Mapping[str, Any]] = []
    about: Mapping[str, Any] = claims
    while ACT in about:
        if len(found) == most:
            raise ActorsMalformed(f"names more actors than the {most} that may act one for another here (act)")
        about = _party(about[ACT], ACT)
        if about.get("iss", issuer) != issuer:
            raise ActorsMalformed("says that somebody of another issuer acts, for whom its own cannot speak (act)")
        found.insert(0, about)
    return tuple(found)


def read_may_act(claims: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Who alone may act for the token's subject; None where it does not say. Raises ActorsMalformed."""
    return _party(claims[MAY_ACT], MAY_ACT) if MAY_ACT in claims else None


def is_named(party: Mapping[str, Any], actor: Mapping[str, Any], issuer: str) -> bool:
    """Whether the claims of an actor's own token are those of whoever `may_act` names: every one that it has, and its
    issuer; of an issuer that is not named, the token's own `issuer` is meant.
    """
    wanted = {"iss": issuer, **party}
    return all(name in actor and _same(value, actor[name]) for name, value in wanted.items())


def _same(one: Any, other: Any) -> bool:
    # To Python True is 1, and 1 is 1.0, also within lists and objects.
    try:
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    except RecursionError:
        return False


def _party(claim: Any, name: str) -> Mapping[str, Any]:
    """A JSON object that names somebody."""
    if not isinstance(claim, dict):
        raise ActorsMalformed(f"has a claim {name} that is no object")
    subject, issuer = claim.get("sub"), claim.get("iss", "")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not isinstance(issuer, str):
        raise ActorsMalformed(f"has a claim {name} that names nobody (sub, and iss where it is there, are text)")
    return claim
