"""Several authenticators as one: the first that knows the sort of credential answers."""

from __future__ import annotations

from collections.abc import Sequence

from narrowgate.authenticators.port import Answer, Authenticator, NotMine, Presented

_NOT_MINE = NotMine()


class FirstMatch:
    """Asks each authenticator in turn until one says anything but NotMine. With none it knows nobody."""

    def __init__(self, authenticators: Sequence[Authenticator]) -> None:
        """`authenticators`, most used first: each one that has to say NotMine costs a little."""
        self._authenticators = tuple(authenticators)

    async def authenticate(self, presented: Presented, now: float) -> Answer:
        """See the port."""
        for authenticator in self._authenticators:
            answer = await authenticator.authenticate(presented, now)
            if not isinstance(answer, NotMine):
                return answer
        return _NOT_MINE
