"""A chain as claims of a token (RFC 8693, section 4.1): who it is about, and who acts, nested, the one who acts last
outermost.

    {"sub": "agent:bot", "act": {"sub": "agent:bot/helper/second", "act": {"sub": "agent:bot/helper"}}}
"""

from __future__ import annotations

from typing import Any

from narrowgate.core.identity import Chain


def actor_claims(chain: Chain) -> dict[str, Any]:
    """`sub`, the root of the chain, and `act` where somebody acts for it: nobody but the outermost decides anything
    there (section 4.1), while here each of them is judged.
    """
    act: dict[str, Any] | None = None
    for member in chain[1:]:
        act = {"sub": str(member)} if act is None else {"sub": str(member), "act": act}
    return {"sub": str(chain[0])} if act is None else {"sub": str(chain[0]), "act": act}
