"""How often somebody may do something: a bucket of tries for each key, pure and bounded. Time is an argument.

What is counted is what went wrong, or what costs the gate something that nobody has proven a right to. It protects the
record and the store from floods, and the short user codes from guessing; secrets of 256 bits need no such help. Held in
memory: after a restart everybody begins anew, and each gate counts for itself.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

MOST_KEYS = 10_000
"""Keys that are remembered, some 200 bytes each; the one that was quiet longest is forgotten first."""

IPV6_PREFIX = 64
"""Bits of an IPv6 address that count: whoever has one address usually has all that share these (RFC 4291, 2.5.4)."""


class Throttle:
    """`burst` tries at once, and one more every `seconds`."""

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = burst
        self._seconds = seconds
        self._free_at: OrderedDict[str, float] = OrderedDict()
        # One number a key, as in the generic cell rate algorithm (ITU-T I.371): when its bucket will be full again.

    def __len__(self) -> int:
        return len(self._free_at)

    def wait(self, key: str, now: float) -> float:
        """Seconds until `key` may try again; 0 where it may now."""
        full_at = self._free_at.get(key, now)
        return max(0.0, full_at - now - (self._burst - 1) * self._seconds)

    def count(self, key: str, now: float) -> None:
        """Take one try out of the bucket of `key`; an empty one stays empty."""
        full_at = max(now, self._free_at.pop(key, now)) + self._seconds
        self._free_at[key] = min(full_at, now + self._burst * self._seconds)
        if len(self._free_at) > MOST_KEYS:
            self._free_at.popitem(last=False)


def source_key(address: str) -> str:
    """What is counted together: an IPv4 address, the network of an IPv6 address, else the text itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), IPV6_PREFIX), strict=False))
