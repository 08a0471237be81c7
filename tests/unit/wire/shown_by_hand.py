"""The simplest thing that shows some objects and masks some, for tests of how that is carried through bytes."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.wire.masking_by_hand import PLAN, mask

from narrowgate.core.masking.choosing import Where
from narrowgate.core.masking.plan import Plan
from narrowgate.wire.json_mask import JsonMasker


class Showing:
    """Objects of which `shows` says so leave, masked where that is wanted."""

    varies = False

    def __init__(self, shows: Callable[[Where], bool], *, masked: bool = False) -> None:
        self.shows = shows
        self._masker = JsonMasker(mask, {})
        self._plan = PLAN if masked else None

    def plan(self, _where: Where) -> Plan | None:
        return self._plan

    def masker(self, _plan: Plan) -> JsonMasker:
        return self._masker
