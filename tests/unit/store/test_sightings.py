"""The table of sightings has bounds; what every store does with them is in tests/contract/test_store_sightings.py."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from narrowgate.core.sighting import Sighting
from narrowgate.store.sightings import MOST_HEARD
from narrowgate.store.sqlite import SQLiteStore


def test_no_more_is_heard_than_a_process_remembers_and_of_that_the_latest(tmp_path: Path) -> None:
    seen = [
        Sighting(proof=str(number), agent="ci", network="10.0.0.1", user_agent="", at=float(number))
        for number in range(MOST_HEARD + 10)
    ]
    with closing(SQLiteStore(tmp_path / "gate.db")) as store:
        store.sightings.tell(seen, by="one", forget_before=0.0)
        heard = store.sightings.others(by="two", since=0.0)
    assert len(heard) == MOST_HEARD
    assert (heard[0].at, heard[-1].at) == (MOST_HEARD + 9.0, 10.0)
