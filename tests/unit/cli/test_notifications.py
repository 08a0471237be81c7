"""`narrowgate notifications`, as it is typed on the gate's host."""

from __future__ import annotations

import base64
import threading
import time
from contextlib import closing

import msgspec
import pytest
from tests.unit.cli.terminal import Terminal

from narrowgate.config import load_config
from narrowgate.store.open import open_store
from narrowgate.store.port import Store

WITH_ONE = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Config
clusters: [{name: prod, inCluster: true}]
notifications:
  webhooks:
    - {name: pager, url: "https://hooks.corp/narrowgate", secretFile: pager.secret, events: ["task.*"]}
"""


@pytest.fixture
def told(shell: Terminal) -> Terminal:
    shell.write("pager.secret", "whsec_" + base64.b64encode(b"k" * 32).decode())
    shell.write("narrowgate.yaml", WITH_ONE)
    return shell


def opened(shell: Terminal) -> Store:
    config = load_config(shell.config)
    return open_store(config.store, config.data_dir)


def test_nobody_is_told_at_first(shell: Terminal) -> None:
    done = shell("notifications", "list")
    assert (done.code, done.out) == (0, "")
    assert "nobody is told" in done.err
    assert shell("notifications", "list", "-o", "json").json == []


def test_receivers_are_listed_with_what_is_wrong_and_without_their_secrets(told: Terminal) -> None:
    assert "not begun" in told("notifications", "list").out
    with closing(opened(told)) as store:
        begun = store.notifications.cursor("pager")
        failed = msgspec.structs.replace(begun, attempts=3, trouble="it answered 503")
        store.notifications.move(failed, was=begun)
    assert "3 attempts failed: it answered 503" in told("notifications", "list").out
    (listed,) = told("notifications", "list", "-o", "json").json
    assert listed == {
        "name": "pager",
        "sort": "webhook",
        "events": ["task.*"],
        "attempts": 3,
        "trouble": "it answered 503",
    }


def test_a_receiver_that_is_not_there_is_not_tried(told: Terminal) -> None:
    done = told("notifications", "test", "chat")
    assert done.code == 1
    assert 'there is no receiver "chat"' in done.err
    assert "pager" in done.err


def test_a_try_waits_until_the_gate_has_told(told: Terminal) -> None:
    with closing(opened(told)) as store:
        begun = store.notifications.cursor("pager")

        def gate() -> None:
            """What a running gate does, seen from the store."""
            while store.notifications.newest() == begun.change:
                time.sleep(0.02)
            moved = msgspec.structs.replace(begun, change=store.notifications.newest())
            store.notifications.move(moved, was=begun)

        running = threading.Thread(target=gate)
        running.start()
        done = told("notifications", "test", "pager")
        running.join()
    assert done.code == 0, done.err
    assert 'receiver "pager" was told' in done.err


def test_a_try_that_fails_says_what_is_wrong(told: Terminal) -> None:
    with closing(opened(told)) as store:
        begun = store.notifications.cursor("pager")
        store.notifications.move(msgspec.structs.replace(begun, attempts=1, trouble="it answered 401"), was=begun)
    done = told("notifications", "test", "pager")
    assert done.code == 1
    assert "it answered 401" in done.err
