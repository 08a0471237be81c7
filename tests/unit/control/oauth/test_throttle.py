"""How often somebody may try."""

from __future__ import annotations

import pytest

from narrowgate.control.oauth.throttle import MOST_KEYS, Throttle, source_key


def tried(throttle: Throttle, key: str, now: float) -> bool:
    if throttle.wait(key, now):
        return False
    throttle.count(key, now)
    return True


def test_a_burst_passes_and_no_more() -> None:
    throttle = Throttle(3, 10.0)
    assert [tried(throttle, "a", 0.0) for _ in range(5)] == [True, True, True, False, False]


def test_after_each_interval_one_more_passes() -> None:
    throttle = Throttle(2, 10.0)
    for _ in range(2):
        tried(throttle, "a", 0.0)
    assert throttle.wait("a", 4.0) == pytest.approx(6.0)
    assert [tried(throttle, "a", at) for at in (9.9, 10.1, 10.2, 20.1)] == [False, True, False, True]


def test_whoever_rests_gets_the_whole_burst_again() -> None:
    throttle = Throttle(3, 10.0)
    for _ in range(3):
        tried(throttle, "a", 0.0)
    assert [tried(throttle, "a", 30.0) for _ in range(4)] == [True, True, True, False]


def test_an_empty_bucket_does_not_grow_emptier() -> None:
    throttle = Throttle(1, 10.0)
    for _ in range(100):
        throttle.count("a", 0.0)
    assert throttle.wait("a", 0.0) == pytest.approx(10.0)


def test_one_key_does_not_pay_for_another() -> None:
    throttle = Throttle(1, 10.0)
    assert tried(throttle, "a", 0.0)
    assert tried(throttle, "b", 0.0)


def test_what_is_remembered_is_bounded() -> None:
    throttle = Throttle(1, 10.0)
    for number in range(MOST_KEYS + 50):
        throttle.count(str(number), 0.0)
    assert len(throttle) == MOST_KEYS
    assert throttle.wait("0", 0.0) == 0
    assert throttle.wait(str(MOST_KEYS + 49), 0.0) > 0


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_addresses_of_one_network_count_together(address: str, key: str) -> None:
    assert source_key(address) == key
