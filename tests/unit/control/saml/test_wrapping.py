"""Signature wrapping: a message with a genuine signature in it, moved to where it vouches for something else.

XSW1 to XSW8 are those of "On Breaking SAML: Be Whoever You Want to Be" (Somorovsky et al., USENIX Security 2012).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import xmlsec
from lxml import etree
from tests.saml_messages import (
    ASSERTION,
    NAMES,
    NOW,
    PROTOCOL,
    SIGNATURE,
    changed,
    expected,
    message,
    pem_of,
    rsa_key,
    signed_assertion,
    signed_both,
    signed_response,
)

from narrowgate.control.saml.response import proven
from narrowgate.control.saml.xml import SAMLRefused

Node = Any


def only(root: Node, path: str) -> Node:
    (found,) = root.xpath(path, namespaces=NAMES)
    return found


def evil(node: Node, new_id: str = "_evil") -> Node:
    """A copy of an assertion or response that says `mallory`, without the signature."""
    made = copy.deepcopy(node)
    made.set("ID", new_id)
    for signature in made.xpath("ds:Signature", namespaces=NAMES):
        made.remove(signature)
    for name in made.xpath(".//saml:NameID", namespaces=NAMES):
        name.text = "mallory@corp.example"
    return made


def without_signature(node: Node) -> Node:
    made = copy.deepcopy(node)
    for signature in made.xpath("ds:Signature", namespaces=NAMES):
        made.remove(signature)
    return made


def xsw1(root: Node) -> None:
    signature, original = only(root, "ds:Signature"), without_signature(root)
    forged = evil(root, "_evil")
    root.set("ID", "_evil")
    root[:] = forged[:]
    root.insert(1, signature)
    signature.append(original)


def xsw2(root: Node) -> None:
    signature, original = only(root, "ds:Signature"), without_signature(root)
    forged = evil(root, "_evil")
    root.set("ID", "_evil")
    root[:] = forged[:]
    root.insert(1, original)
    root.insert(2, signature)


def xsw3(root: Node) -> None:
    original = only(root, "saml:Assertion")
    original.addprevious(evil(original))


def xsw4(root: Node) -> None:
    original = only(root, "saml:Assertion")
    forged = evil(original)
    root.replace(original, forged)
    forged.append(original)


def xsw5(root: Node) -> None:
    original = only(root, "saml:Assertion")
    stripped, forged = without_signature(original), evil(original)
    forged.insert(1, only(original, "ds:Signature"))
    root.replace(original, forged)
    root.append(stripped)


def xsw6(root: Node) -> None:
    original = only(root, "saml:Assertion")
    stripped, forged, signature = without_signature(original), evil(original), only(original, "ds:Signature")
    forged.insert(1, signature)
    signature.append(stripped)
    root.replace(original, forged)


def xsw7(root: Node) -> None:
    original = only(root, "saml:Assertion")
    extensions = etree.SubElement(root, f"{{{PROTOCOL}}}Extensions")
    original.addprevious(extensions)
    extensions.append(evil(original))


def xsw8(root: Node) -> None:
    original = only(root, "saml:Assertion")
    stripped, forged, signature = without_signature(original), evil(original), only(original, "ds:Signature")
    forged.insert(1, signature)
    etree.SubElement(signature, f"{{{SIGNATURE}}}Object").append(stripped)
    root.replace(original, forged)


FORGERIES: dict[str, tuple[Callable[[], bytes], Callable[[Node], None]]] = {
    "XSW1": (signed_response, xsw1),
    "XSW2": (signed_response, xsw2),
    "XSW3": (signed_assertion, xsw3),
    "XSW4": (signed_assertion, xsw4),
    "XSW5": (signed_assertion, xsw5),
    "XSW6": (signed_assertion, xsw6),
    "XSW7": (signed_assertion, xsw7),
    "XSW8": (signed_assertion, xsw8),
}


def libxmlsec_accepts(response: bytes) -> bool:
    """What a reader does who looks for a signature, follows its reference by id, and is content."""
    root = etree.fromstring(response)
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(pem_of(rsa_key()), xmlsec.KeyFormat.PEM)
    try:
        context.verify(root.xpath("//ds:Signature", namespaces=NAMES)[0])
    except xmlsec.Error:
        return False
    return True


@pytest.mark.parametrize("name", FORGERIES)
def test_a_wrapped_signature_signs_nobody_in(name: str) -> None:
    genuine, forge = FORGERIES[name]
    forged = changed(genuine(), forge)
    assert b"mallory" in forged
    with pytest.raises(SAMLRefused):
        proven(forged, expected(), NOW)


@pytest.mark.parametrize("name", ["XSW2", "XSW3", "XSW4", "XSW5", "XSW7"])
def test_the_forgeries_are_good_enough_for_a_reader_that_follows_ids(name: str) -> None:
    genuine, forge = FORGERIES[name]
    assert libxmlsec_accepts(changed(genuine(), forge))


@pytest.mark.parametrize("name", FORGERIES)
def test_wrapping_fails_on_responses_that_are_signed_twice(name: str) -> None:
    def forge(root: Node) -> None:
        if name in ("XSW1", "XSW2"):
            FORGERIES[name][1](root)
            return
        # The outer signature has to go: it would show any change.
        root.remove(only(root, "ds:Signature"))
        FORGERIES[name][1](root)

    with pytest.raises(SAMLRefused):
        proven(changed(signed_both(), forge), expected(), NOW)


def test_a_forged_assertion_under_the_signed_ones_id_is_refused() -> None:
    def forge(root: Node) -> None:
        original = only(root, "saml:Assertion")
        original.addprevious(evil(original, "_assertion-1"))

    with pytest.raises(SAMLRefused):
        proven(changed(signed_assertion(), forge), expected(), NOW)


def test_a_signature_of_an_earlier_message_vouches_for_nothing_else() -> None:
    def forge(root: Node) -> None:
        signature = only(root, "saml:Assertion/ds:Signature")
        forged = evil(only(root, "saml:Assertion"), "_assertion-1")
        forged.insert(1, signature)
        root.replace(only(root, "saml:Assertion"), forged)

    with pytest.raises(SAMLRefused, match="changed after it was signed"):
        proven(changed(signed_assertion(), forge), expected(), NOW)


def test_moving_the_signature_to_the_response_does_not_sign_the_response() -> None:
    def forge(root: Node) -> None:
        root.insert(1, only(root, "saml:Assertion/ds:Signature"))

    with pytest.raises(SAMLRefused, match="not over the element that it stands in"):
        proven(changed(signed_assertion(), forge), expected(), NOW)


def test_an_assertion_within_advice_is_refused() -> None:
    def forge(root: Node) -> None:
        original = only(root, "saml:Assertion")
        forged = evil(original)
        etree.SubElement(forged, f"{{{ASSERTION}}}Advice").append(original)
        root.append(forged)

    with pytest.raises(SAMLRefused, match="more than one response or assertion"):
        proven(changed(signed_assertion(), forge), expected(), NOW)


def test_a_second_signature_in_one_place_is_refused() -> None:
    def forge(root: Node) -> None:
        signature = only(root, "saml:Assertion/ds:Signature")
        signature.addnext(copy.deepcopy(signature))

    with pytest.raises(SAMLRefused, match="more than one signature"):
        proven(changed(signed_assertion(), forge), expected(), NOW)


def test_what_surrounds_a_signed_assertion_changes_nothing_about_who_it_names() -> None:
    what = message(after_assertion="<x xmlns='urn:x'>mallory@corp.example</x>")
    assert proven(signed_assertion(what), expected(), NOW).who.name == "alice@corp.example"
