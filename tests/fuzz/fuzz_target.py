"""Random request targets: nothing but Malformed may come out, and what is read is read again when it was rebuilt.

    python tests/fuzz/fuzz_target.py --seconds 60 [--seed 7]

Prints the seed, so that a failure can be had again, and how much was read and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzz.driver import fuzz

from narrowgate.core.discovery import Discovery, ResourceType
from narrowgate.core.malformed import Malformed
from narrowgate.core.target import parse_target, rebuild, split_cluster
from narrowgate.core.understand import understand

# fmt: off
WORDS = (
    b"api", b"apis", b"v1", b"apps", b"namespaces", b"x", b"pods", b"p", b"exec", b"proxy", b"watch", b"status",
    b"nodes", b"clusters", b"https:p:1", b"%61", b"a%20b", b"~", b"%C3%BC",
)
PARAMETERS = (
    b"watch=1", b"watch=0", b"fieldSelector=metadata.name%3Dx", b"labelSelector=a+in+(b)", b"limit=5", b"command=ls",
    b"", b"a=b=c", b"=", b"a%3B=%0A",
)
ODD = (
    b"/", b"//", b"/./", b"/..", b".", b"?", b"&", b"=", b";", b"#", b"%", b"+", b"*", b"\\", b"|", b"%2e", b"%2F",
    b"%5c", b"%00", b"%0a", b"%25", b"%2525", b"%25%32%65", b"%zz", b"%ff", b"%C0%AF", b"%ED%A0%80", b"\xc3\xbc",
    b"\x00", b"\n", b"\r\n", b" ", b"\x7f", b"\xff", b"x" * 1100,
)
# fmt: on
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "")

DISCOVERY = Discovery(
    ResourceType(
        group=group,
        version="v1",
        resource=resource,
        kind="",
        namespaced=namespaced,
        verbs=(),
        subresources={"exec": (), "proxy": (), "status": ()},
    )
    for group, resource, namespaced in (("", "pods", True), ("", "nodes", False), ("apps", "x", True))
)


def make(source: random.Random) -> bytes:
    """A target: words and parameters; half of the time something odd in it, now and then a few bytes changed."""
    start = source.choice((b"", b"/api/v1", b"/api/v1/namespaces/x/pods/p", b"/apis/apps/v1", b"/clusters/c/api/v1"))
    raw = bytearray(start + b"".join(b"/" + source.choice(WORDS) for _ in range(source.randint(0, 4))))
    if source.random() < 0.5:
        raw += b"?" + b"&".join(source.choice(PARAMETERS) for _ in range(source.randint(1, 4)))
    for _ in range(source.choice((0, 0, 0, 0, 1, 1, 2))):
        at = source.randint(0, len(raw))
        raw[at:at] = source.choice(ODD)
    for _ in range(source.choice((0, 0, 0, 0, 1, 4))):
        if raw:
            raw[source.randrange(len(raw))] = source.randrange(256)
    return bytes(raw)


def check(method: str, raw: bytes) -> str:
    """Put one target through everything; what became of it, for the count."""
    try:
        target = parse_target(raw)
    except Malformed as refusal:
        return f"not read ({refusal.code})"
    written = rebuild(target)
    if parse_target(written) != target:
        raise AssertionError(f"{target} was rebuilt as {written!r}, which is read as {parse_target(written)}")
    try:
        cluster, rest = split_cluster(target)
        intent = understand(method, rest, DISCOVERY, cluster)
    except Malformed as refusal:
        return f"not understood ({refusal.code})"
    if understand(method, parse_target(rebuild(rest)), DISCOVERY, cluster) != intent:
        raise AssertionError(f"{rest} is understood in another way after it was rebuilt")
    return "understood"


if __name__ == "__main__":
    sys.exit(
        fuzz(__doc__, "targets", lambda source: (source.choice(METHODS), make(source)), lambda _, made: check(*made))
    )
