"""Forged SAML responses: nothing but SAMLRefused may come out, and nobody but whom the provider signed for.

    python tests/fuzz/fuzz_saml.py --seconds 60 [--seed 7]

Elements of genuine responses are moved, copied, dropped, renamed and rewritten, bytes are changed; metadata too. Prints
the seed, so that a failure can be had again, and how much was read and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lxml import etree
from tests.saml_messages import (
    ASSERTION,
    NOW,
    PROTOCOL,
    SIGNATURE,
    Signing,
    expected,
    message,
    metadata_text,
    signed_assertion,
    signed_both,
    signed_response,
)

from narrowgate.control.saml.metadata import read_metadata
from narrowgate.control.saml.response import proven
from narrowgate.control.saml.xml import SAMLRefused

BATCH = 50
"""Messages between two looks at the clock."""

NAMESPACES = (PROTOCOL, ASSERTION, SIGNATURE, "")
NAMES = ("Response", "Assertion", "Signature", "SignedInfo", "Object", "Extensions", "Advice", "NameID", "Subject", "x")
VALUES = ("", "_assertion-1", "_response-1", "#_assertion-1", "#_response-1", "#", "mallory@corp.example", "2.0")
# fmt: off
BYTES = (
    b"", b"<!---->", b"<?x?>", b"<!DOCTYPE x>", b"&x;", b"&#0;", b"&amp;", b"<![CDATA[", b"]]>", b"<", b">", b'"',
    b"\x00", b"\xff", b"\xef\xbb\xbf", b" ", b"<x/>", b"xmlns=''", b"xmlns:saml='u'", b"mallory", b"ID='_assertion-1'",
)
# fmt: on

AGAINST = expected(groups="groups")
WHAT = message(attributes={"groups": ("sre", "developers")}, namespaces=' xmlns:xs="http://www.w3.org/2001/XMLSchema"')
GENUINE = (
    signed_assertion(WHAT),
    signed_response(WHAT),
    signed_both(WHAT),
    signed_assertion(WHAT, Signing(prefixes="xs")),
)
WHO = proven(GENUINE[0], AGAINST, NOW).who
METADATA = metadata_text().encode()


def forged(source: random.Random) -> bytes:
    """A genuine response with a few of its elements, attributes and bytes changed."""
    root: Any = etree.fromstring(source.choice(GENUINE))
    for _ in range(source.randint(0, 4)):
        mutate(source, root)
    return with_bytes_changed(source, bytes(etree.tostring(root)))


def mutate(source: random.Random, root: Any) -> None:
    """Move, copy, drop, rename or rewrite one element."""
    nodes = list(root.iter(etree.Element))
    node, place = source.choice(nodes), source.choice(nodes)
    match source.randrange(7):
        case 0 if node is not root and node not in place.iterancestors() and node is not place:
            place.insert(source.randint(0, len(place)), node)
        case 1:
            place.insert(source.randint(0, len(place)), copy.deepcopy(node))
        case 2 if node is not root:
            node.getparent().remove(node)
        case 3:
            node.text = source.choice(VALUES)
        case 4:
            node.set(source.choice(("ID", "Id", "URI", "Algorithm", "Version", "x")), source.choice(VALUES))
        case 5:
            made = place.makeelement(f"{{{source.choice(NAMESPACES)}}}{source.choice(NAMES)}")
            place.insert(source.randint(0, len(place)), made)
            if source.random() < 0.5 and node is not root and node not in made.iterancestors():
                made.append(node)
        case _:
            for key in list(node.attrib)[:1]:
                del node.attrib[key]


def with_bytes_changed(source: random.Random, text: bytes) -> bytes:
    raw = bytearray(text)
    for _ in range(source.choice((0, 0, 0, 1, 1, 3))):
        at = source.randint(0, len(raw))
        raw[at : at + source.choice((0, 0, 1, 7))] = source.choice((*BYTES, bytes([source.randrange(256)])))
    return bytes(raw)


def check(response: bytes) -> str:
    """Hold one response against the request; what became of it, for the count."""
    try:
        who = proven(response, AGAINST, NOW).who
    except SAMLRefused as refused:
        if not str(refused) or "\n" in str(refused) or len(str(refused)) > 1500:
            raise AssertionError(f"a refusal that nobody can read: {refused!r}") from None
        return "refused"
    if who != WHO:
        raise AssertionError(f"it signs {who} in")
    return "still proves the same"


def check_metadata(text: bytes) -> str:
    try:
        read_metadata(text.decode("utf-8", "replace"))
    except SAMLRefused:
        return "metadata refused"
    return "metadata read"


def main() -> int:
    """Run for a time; 1 when something was found."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=20.0)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = arguments.parse_args()
    source = random.Random(chosen.seed)
    seen: Counter[str] = Counter()
    deadline = time.monotonic() + chosen.seconds
    while time.monotonic() < deadline:
        for _ in range(BATCH):
            one = source.random() < 0.1
            text = with_bytes_changed(source, METADATA) if one else forged(source)
            try:
                seen[(check_metadata if one else check)(text)] += 1
            except Exception as finding:  # noqa: BLE001 - anything but SAMLRefused is what we look for
                sys.stderr.write(f"seed {chosen.seed}: {text!r}\n  {type(finding).__name__}: {finding}\n")
                return 1
    counts = ", ".join(f"{count} {what}" for what, count in seen.most_common())
    sys.stdout.write(f"seed {chosen.seed}: {seen.total()} messages, {counts}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
