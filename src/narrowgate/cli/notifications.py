"""`narrowgate notifications`: who is told of what happens, how telling goes, and a try; on the gate's host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

import click

from narrowgate.cli.failure import Failed
from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.output import config_option, note, output_option, write_json, write_table
from narrowgate.config import Config, find_config
from narrowgate.control.notifications.receivers import AnyReceiver, MailReceiver, SlackReceiver, WebhookReceiver
from narrowgate.core.duration import duration_text
from narrowgate.store.open import open_store
from narrowgate.store.port import NotificationCursor, Store

LONGEST_WAIT_SECONDS = 60.0
"""That `test` waits for a running gate to tell; one that does not answer in this time is not hearing."""

LOOK_SECONDS = 0.2


@click.group()
def notifications() -> None:
    """Who is told of what happens: webhooks, Slack, e-mail. They stand under `notifications` in the configuration."""


@notifications.command("list")
@config_option
@output_option
def list_receivers(config: str | None, output: str) -> None:
    """List who is told of which events, and what is wrong where telling fails."""
    found = find_config(config)
    with _store(found) as store:
        cursors = {cursor.receiver: cursor for cursor in store.notifications.cursors()}
    if output == "json":
        write_json([_document(receiver, cursors.get(receiver.name)) for receiver in found.receivers])
        return
    rows = [(one.name, _sort(one), ",".join(one.events), _state(cursors.get(one.name))) for one in found.receivers]
    write_table(
        ("NAME", "SORT", "EVENTS", "STATE"), rows, "nobody is told: write `notifications` into the configuration"
    )


@notifications.command("test")
@click.argument("name")
@config_option
@output_option
def try_receiver(name: str, config: str | None, output: str) -> None:
    """Have the running gate tell NAME something, behind all that it has not been told yet, and wait for it."""
    found = find_config(config)
    known = [receiver.name for receiver in found.receivers]
    if name not in known:
        what = f"there is {', '.join(known)}" if known else "write one under `notifications`"
        raise Failed(f'there is no receiver "{name}"', f"{found.path}: notifications", what)
    with _store(found) as store:
        number = store.notifications.ask_test(name, by=local_operator(), at=time.time())
        cursor = _told(store, name, number)
    if cursor.change < number:
        why = cursor.trouble or f"nothing was tried within {duration_text(LONGEST_WAIT_SECONDS)}"
        raise Failed(
            f'receiver "{name}" was not told: {why}',
            f"{found.path}: notifications",
            "see that the gate runs with this configuration, and mend what its log says; it goes on trying",
        )
    if output == "json":
        write_json({"name": name, "state": "told"})
    else:
        note(f'receiver "{name}" was told')


def _told(store: Store, name: str, number: int) -> NotificationCursor:
    """Where the receiver is once it was told that change, or when the time for it is over."""
    ends = time.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        cursors = [cursor for cursor in store.notifications.cursors() if cursor.receiver == name]
        cursor = cursors[0] if cursors else NotificationCursor(receiver=name, change=0)
        if cursor.change >= number or time.monotonic() > ends or cursor.attempts:
            return cursor
        time.sleep(LOOK_SECONDS)


def _document(receiver: AnyReceiver, cursor: NotificationCursor | None) -> dict[str, object]:
    return {
        "name": receiver.name,
        "sort": _sort(receiver),
        "events": list(receiver.events),
        "attempts": cursor.attempts if cursor else 0,
        "trouble": cursor.trouble if cursor else "",
    }


def _sort(receiver: AnyReceiver) -> str:
    match receiver:
        case WebhookReceiver():
            return "webhook"
        case SlackReceiver():
            return "slack"
        case MailReceiver():
            return "email"
        case _:
            assert_never(receiver)


def _state(cursor: NotificationCursor | None) -> str:
    if cursor is None:
        return "not begun: start the gate again"
    return f"{cursor.attempts} attempts failed: {cursor.trouble}" if cursor.attempts else "well"


@contextmanager
def _store(config: Config) -> Iterator[Store]:
    store = open_store(config.store, config.data_dir)
    try:
        yield store
    finally:
        store.close()
