"""What goes to Slack: texts in which nothing acts, buttons where they can be used, and what its answers mean."""

from __future__ import annotations

import json

import pytest
from tests.unit.control.notifications.samples import NOW

from narrowgate.control.notifications.messages import Message
from narrowgate.control.notifications.outcomes import Gone, NotNow, Outcome, Told
from narrowgate.control.notifications.signing import button_value
from narrowgate.control.notifications.slack import APPROVE, DENY, slack_message, slack_outcome

MESSAGE = Message(
    id="msg_1",
    kind="approval.asked",
    at=NOW,
    title="agent:bot asks <!channel> & more",
    lines=(("purpose", "see <https://evil.example|here> @here *now*"),),
    commands=("narrowgate approvals approve q1",),
    approval="q1",
)


def test_nothing_that_was_written_acts_in_slack() -> None:
    made = slack_message(MESSAGE, "C1", secret=b"secret")
    assert made["text"] == "agent:bot asks &lt;!channel&gt; &amp; more"
    assert "mrkdwn" not in json.dumps(made)
    texts = [block["text"]["type"] for block in made["blocks"] if "text" in block]
    assert set(texts) == {"plain_text"}
    assert (made["unfurl_links"], made["unfurl_media"], made["link_names"]) == (False, False, False)


def test_buttons_name_the_question_and_ask_once_more() -> None:
    (actions,) = [
        block for block in slack_message(MESSAGE, "C1", secret=b"secret")["blocks"] if block["type"] == "actions"
    ]
    value = button_value(b"secret", "q1")
    assert [(one["action_id"], one["value"]) for one in actions["elements"]] == [(APPROVE, value), (DENY, value)]
    assert all("confirm" in one for one in actions["elements"])


def test_there_are_no_buttons_where_nobody_could_use_them() -> None:
    over = Message(id="msg_1", kind="approval.denied", at=NOW, title="over")
    for made in (slack_message(MESSAGE, "C1", secret=b""), slack_message(over, "C1", secret=b"secret")):
        assert [block for block in made["blocks"] if block["type"] == "actions"] == []


def test_long_texts_stay_within_slacks_limits() -> None:
    long = Message(id="m", kind="k", at=NOW, title="t" * 900, lines=(("purpose", "x" * 9000),), approval="q1")
    made = slack_message(long, "C1", secret=b"secret")
    assert len(made["blocks"][0]["text"]["text"]) == 150
    assert max(len(block["text"]["text"]) for block in made["blocks"] if "text" in block) <= 3000
    assert all(len(one["confirm"]["text"]["text"]) <= 300 for one in made["blocks"][-1]["elements"])


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"ok": true, "ts": "1"}', Told()),
        (b'{"ok": false, "error": "channel_not_found"}', NotNow(trouble="Slack says channel_not_found")),
        (b'{"ok": false, "error": "invalid_blocks"}', NotNow(trouble="Slack says invalid_blocks", refused=True)),
        (b'{"ok": "true"}', NotNow(trouble="Slack says no reason")),
        (b"<html>", NotNow(trouble="it did not answer as Slack does")),
        (b"\xff", NotNow(trouble="it did not answer as Slack does")),
        (b"[]", NotNow(trouble="it did not answer as Slack does")),
    ],
)
def test_only_ok_is_told(body: bytes, outcome: Outcome) -> None:
    assert slack_outcome(body) == outcome


def test_a_token_that_is_no_more_ends_the_telling() -> None:
    assert isinstance(slack_outcome(b'{"ok": false, "error": "token_revoked"}'), Gone)
