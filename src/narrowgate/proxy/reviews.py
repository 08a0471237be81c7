"""Self-subject reviews, answered for gate and cluster together."""

from __future__ import annotations

from narrowgate.core.decision import Allow
from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.proxy.exchange import Exchange, Response, Understood


class Reviews:
    """Answers what an identity asks about itself."""

    def answers(self, what: Intent) -> bool:
        """Whether this request is such a question."""
        return False

    async def answer(self, exchange: Exchange, who: Chain, what: Understood, body: bytes, allowed: Allow) -> Response:
        """Answer it."""
        raise AssertionError((exchange, who, what, body, allowed))
