"""Metrics of how telling people goes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import prometheus_client

from narrowgate.main.told_receivers import ToldReceivers
from narrowgate.store.port import NotificationCursor
from narrowgate.store.sqlite import SQLiteStore


def exposed(told: ToldReceivers) -> str:
    registry = prometheus_client.CollectorRegistry()
    registry.register(told)
    return prometheus_client.generate_latest(registry).decode()


def test_failed_attempts_are_told_by_receiver_and_removed_receivers_are_not(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "gate.db")
    told = ToldReceivers(store, ("pager", "mail"))
    well = NotificationCursor(receiver="mail", change=3)
    told.take(
        [
            well,
            msgspec.structs.replace(well, receiver="pager", attempts=4),
            NotificationCursor(receiver="old", change=1),
        ]
    )
    shown = exposed(told)
    store.close()
    assert 'narrowgate_notification_attempts{receiver="pager"} 4.0' in shown
    assert 'narrowgate_notification_attempts{receiver="mail"} 0.0' in shown
    assert "old" not in shown


def test_without_receivers_there_is_no_such_metric(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "gate.db")
    assert "notification" not in exposed(ToldReceivers(store, ()))
    store.close()
