"""What a process's agents were refused is in the store soon after, and a store that is away holds nothing up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from narrowgate.core.denied_request import DeniedRequest
from narrowgate.main.shared_denied_requests import WRITE_SECONDS, write_down
from narrowgate.proxy.denied_requests import DeniedRequests
from narrowgate.store.open import open_store
from narrowgate.store.port import NotThere, Store

DENIED = DeniedRequest(audit_id="a", holder="agent:bot", cluster="dev", at=4_000_000_000.0, wanted=("get pods -n ci",))
GIVE_UP_SECONDS = 20.0


def is_kept(store: Store, audit_id: str) -> bool:
    try:
        return store.denied_requests.get(audit_id, now=DENIED.at) is not None
    except NotThere:
        return False


def test_what_is_refused_is_written_down(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        denied = DeniedRequests()
        writing = asyncio.create_task(write_down(denied, store))
        async with asyncio.timeout(GIVE_UP_SECONDS):
            for audit_id in ("a", "b"):
                denied.note(msgspec.structs.replace(DENIED, audit_id=audit_id))
                while not is_kept(store, audit_id):  # noqa: ASYNC110 (what is waited for is in the store)
                    await asyncio.sleep(WRITE_SECONDS / 10)
        writing.cancel()

    store = open_store("", tmp_path)
    asyncio.run(main(store))
    store.close()


def test_a_store_that_is_away_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store("", tmp_path)
    store.close()

    async def main() -> bool:
        denied = DeniedRequests()
        writing = asyncio.create_task(write_down(denied, store))
        denied.note(DENIED)
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while not caplog.records:  # noqa: ASYNC110 (what is waited for is in the log)
                await asyncio.sleep(WRITE_SECONDS / 10)
        ended = writing.done()
        writing.cancel()
        return ended

    assert asyncio.run(main()) is False
