"""Forged SAML responses: nothing but SAMLRefused may come out, and nobody but whom the provider signed for.

    python tests/fuzz/fuzz_saml.py --seconds 60 [--seed 7]

Elements of genuine responses are moved, copied, dropped, renamed and rewritten, bytes are changed; metadata too. Prints
the seed, so that a failure can be had again, and how much was read and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import copy
import random
import sys
from pathlib import Path
from typing import Any

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lxml import etree
from tests.fuzz.driver import fuzz
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


def tried(source: random.Random) -> tuple[bool, bytes]:
    """Mostly a response; now and then the metadata, which comes first."""
    is_metadata = source.random() < 0.1
    return is_metadata, with_bytes_changed(source, METADATA) if is_metadata else forged(source)


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "messages", tried, lambda _, made: (check_metadata if made[0] else check)(made[1])))
