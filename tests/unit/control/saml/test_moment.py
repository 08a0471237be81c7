"""SAML's points in time."""

from __future__ import annotations

import pytest

from narrowgate.control.saml.moment import instant_of
from narrowgate.control.saml.xml import SAMLRefused


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2027-01-15T08:00:00Z", 1_800_000_000),
        ("2027-01-15T08:00:00+00:00", 1_800_000_000),
        ("2027-01-15T08:00:00.5Z", 1_800_000_000.5),
        ("2027-01-15T08:00:00.1250000Z", 1_800_000_000.125),
        ("2027-01-15T08:00:00.123456789Z", 1_800_000_000.123456),
    ],
)
def test_a_time_in_utc_is_read(text: str, seconds: float) -> None:
    assert instant_of(text, "NotBefore") == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2027-01-15T08:00:00",
        "2027-01-15T08:00:00+01:00",
        "2027-01-15 08:00:00Z",
        "2027-01-15T08:00Z",
        "2027-02-30T08:00:00Z",
        "2027-01-15T25:00:00Z",
        "2027-01-15T08:00:00z",
        " 2027-01-15T08:00:00Z",
        "2027-01-15T08:00:00Z\n",
        "２027-01-15T08:00:00Z",
        "-2027-01-15T08:00:00Z",
        "2027-01-15T08:00:00." + "1" * 30 + "Z",
        "PT1H",
    ],
)
def test_anything_else_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(SAMLRefused, match="NotBefore is not a time in UTC, like 2026-01-31T12:00:00Z"):
        instant_of(text, "NotBefore")
