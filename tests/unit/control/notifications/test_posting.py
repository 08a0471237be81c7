"""What a receiver's answer means for the next attempt."""

from __future__ import annotations

import pytest

from narrowgate.control.notifications.posting import Posted, refusal, retry_after


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Wed, 18 Nov 2026 10:07:40 GMT", 60.0),
        ("Wed, 18 Nov 2026 10:00:00 GMT", 0.0),
        ("9" * 40, 999_999_999.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("Wed, 99 Nov 2026 10:07:40 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(text: str, seconds: float | None) -> None:
    # 2026-11-18T10:06:40Z
    assert retry_after(text, 1_794_996_400.0) == seconds


@pytest.mark.parametrize(
    ("status", "refused"), [(400, True), (413, True), (422, True), (401, False), (404, False), (503, False)]
)
def test_some_answers_are_about_the_message_and_others_about_all(status: int, refused: bool) -> None:
    told = refusal(Posted(status=status, wait=7.0, body=b""))
    assert (told.refused, told.wait) == (refused, 7.0)
    assert str(status) in told.trouble


def test_a_redirect_is_a_trouble_that_is_named() -> None:
    assert "redirects are not followed" in refusal(Posted(status=302, wait=None, body=b"")).trouble
