"""What agents were refused is kept until it is written down: bounded, and nobody loses it by what others ask."""

from __future__ import annotations

import asyncio

import msgspec

from narrowgate.core.denied_request import DeniedRequest
from narrowgate.proxy.denied_requests import MOST_IDENTITIES, MOST_OF_ONE, DeniedRequests

DENIED = DeniedRequest(audit_id="a", holder="agent:bot", cluster="dev", at=1.0, wanted=("get pods -n ci",))


def taken(*noted: DeniedRequest) -> list[DeniedRequest]:
    async def main() -> list[DeniedRequest]:
        denied = DeniedRequests()
        for one in noted:
            denied.note(one)
        return await denied.taken()

    return asyncio.run(main())


def changed(**fields: str) -> DeniedRequest:
    return msgspec.structs.replace(DENIED, **fields)


def test_everything_is_taken_once() -> None:
    async def main() -> None:
        denied = DeniedRequests()
        waiting = asyncio.create_task(denied.taken())
        await asyncio.sleep(0)
        assert not waiting.done()
        denied.note(DENIED)
        denied.note(changed(audit_id="b"))
        assert [one.audit_id for one in await waiting] == ["a", "b"]
        again = asyncio.create_task(denied.taken())
        await asyncio.sleep(0)
        assert not again.done()
        denied.note(changed(audit_id="c"))
        assert [one.audit_id for one in await again] == ["c"]

    asyncio.run(main())


def test_a_flood_costs_its_sender_its_oldest_and_nobody_else_anything() -> None:
    flood = [changed(audit_id=str(number)) for number in range(MOST_OF_ONE + 10)]
    kept = taken(changed(holder="agent:other"), *flood)
    assert [one.audit_id for one in kept if one.holder == "agent:bot"] == [one.audit_id for one in flood[10:]]
    assert [one.audit_id for one in kept if one.holder == "agent:other"] == ["a"]


def test_so_many_identities_are_kept_and_no_more() -> None:
    kept = taken(*(changed(holder=f"agent:{number}") for number in range(MOST_IDENTITIES + 10)))
    assert len(kept) == MOST_IDENTITIES
