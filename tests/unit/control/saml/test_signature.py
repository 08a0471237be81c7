"""Signatures: whose and which are taken, what is read under them, and everything that is not."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import xmlsec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from lxml import etree
from tests.saml_messages import (
    NAMES,
    SIGNATURE,
    Message,
    Signing,
    certificate_of,
    changed,
    ec_key,
    message,
    metadata_of,
    rsa_key,
    signed_assertion,
    signed_response,
)

from narrowgate.control.saml.signature import LONGEST_BASE64, MOST_PREFIXES, signature_of, signed
from narrowgate.control.saml.xml import SAML, Element, SAMLRefused, canonical, read_xml

Method = xmlsec.Transform

UNKNOWN = "is not accepted; sign with RSA or ECDSA and SHA-256, SHA-384 or SHA-512"


def vouched(response: bytes, *keys: Any) -> Element:
    """What the signature of the assertion (or else of the response) vouches for."""
    root = read_xml(response)
    for element in (*root.named(SAML, "Assertion"), root):
        signature = signature_of(element)
        if signature is not None:
            return signed(element, signature, metadata_of(*keys).keys)
    raise AssertionError("the message has no signature")


def refusal(response: bytes, *keys: Any) -> str:
    with pytest.raises(SAMLRefused) as refused:
        vouched(response, *keys)
    return str(refused.value)


def tampered(path: str, change: Any, response: bytes | None = None) -> bytes:
    """A signed response, with one part of its signature changed."""

    def apply(root: Any) -> None:
        (found,) = root.xpath(f"//ds:Signature//{path}", namespaces=NAMES)
        change(found)

    return changed(response or signed_assertion(), apply)


# --- what passes ---


@pytest.mark.parametrize(
    ("method", "digest"),
    [
        (Method.RSA_SHA256, Method.SHA256),
        (Method.RSA_SHA384, Method.SHA384),
        (Method.RSA_SHA512, Method.SHA512),
        (Method.RSA_SHA256, Method.SHA512),
    ],
)
def test_rsa_with_sha_2_is_taken(method: Any, digest: Any) -> None:
    response = signed_assertion(how=Signing(method=method, digest=digest))
    assert vouched(response).attribute("ID") == "_assertion-1"


@pytest.mark.parametrize(
    ("curve", "method"),
    [
        (ec.SECP256R1, Method.ECDSA_SHA256),
        (ec.SECP384R1, Method.ECDSA_SHA384),
        (ec.SECP521R1, Method.ECDSA_SHA512),
        (ec.SECP256R1, Method.ECDSA_SHA512),
    ],
)
def test_ecdsa_with_sha_2_is_taken(curve: type[ec.EllipticCurve], method: Any) -> None:
    response = signed_assertion(how=Signing(key=ec_key(curve), method=method))
    assert vouched(response, ec_key(curve)).attribute("ID") == "_assertion-1"


def test_any_key_of_the_metadata_will_do() -> None:
    keys = (rsa_key("next"), ec_key(), rsa_key())
    assert vouched(signed_assertion(), *keys).attribute("ID") == "_assertion-1"


def test_namespaces_that_a_signature_lists_are_signed_where_they_stand() -> None:
    what = message(
        namespaces=' xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:unused="urn:unused"',
        attributes={"groups": ["sre"]},
    )
    for prefixes in ("xs", "xs unused", "xs saml unknown"):
        response = signed_assertion(what, Signing(prefixes=prefixes))
        assert b'PrefixList="' in response
        assert vouched(response).attribute("ID") == "_assertion-1"
    listed = signed_assertion(what, Signing(prefixes="unused"))
    assert refusal(listed.replace(b"urn:unused", b"urn:forged")) == "it was changed after it was signed"


def test_what_is_returned_is_read_from_the_signed_bytes_alone() -> None:
    response = signed_assertion(message(namespaces=' xmlns:extra="urn:extra"'))
    told = vouched(response)
    assert told.named(SIGNATURE, "Signature") == ()
    # What the digest was taken over is all that is there: no namespace from around it, no signature in it.
    assert read_xml(canonical(told)) == told
    assert "extra" not in told.scope


def test_base64_may_be_wrapped_but_nothing_else() -> None:
    def wrap(value: Any) -> None:
        value.text = "\n  ".join([value.text[:20], value.text[20:]]) + "\n"

    assert vouched(tampered("ds:SignatureValue", wrap)).attribute("ID") == "_assertion-1"


# --- keys ---


def test_another_key_is_refused_even_when_its_certificate_comes_along() -> None:
    def bring(signature: Any) -> None:
        info = signature.makeelement(f"{{{SIGNATURE}}}KeyInfo")
        data = info.makeelement(f"{{{SIGNATURE}}}X509Data")
        held = data.makeelement(f"{{{SIGNATURE}}}X509Certificate")
        held.text = certificate_of(rsa_key("mallory"))
        data.append(held)
        info.append(data)
        signature.append(info)

    forged = signed_assertion(how=Signing(key=rsa_key("mallory")))
    assert refusal(forged) == "no signing key in the identity provider's metadata made its signature"
    brought = changed(forged, lambda root: bring(root.xpath("//ds:Signature", namespaces=NAMES)[0]))
    assert refusal(brought) == "no signing key in the identity provider's metadata made its signature"


def test_a_public_key_used_as_a_secret_is_refused() -> None:
    public = rsa_key().public_key()
    for secret in (
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        certificate_of(rsa_key()).encode(),
    ):
        forged = signed_assertion(how=Signing(method=Method.HMAC_SHA256, secret=secret))
        assert refusal(forged).endswith(UNKNOWN)


def test_the_kind_of_key_must_be_that_of_the_algorithm() -> None:
    def claim(method: Any) -> None:
        method.set("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256")

    assert refusal(tampered("ds:SignatureMethod", claim)) == (
        "no signing key in the identity provider's metadata made its signature"
    )


def test_an_ecdsa_signature_of_another_length_is_refused() -> None:
    response = signed_assertion(how=Signing(key=ec_key(), method=Method.ECDSA_SHA256))

    def lengthen(value: Any) -> None:
        value.text = "AAAA" + value.text

    assert refusal(tampered("ds:SignatureValue", lengthen, response), ec_key()) == (
        "no signing key in the identity provider's metadata made its signature"
    )


# --- algorithms ---


@pytest.mark.parametrize("method", [Method.RSA_SHA1, Method.RSA_SHA224])
def test_other_signature_algorithms_are_refused(method: Any) -> None:
    try:
        response = signed_assertion(how=Signing(method=method))
    except xmlsec.Error:
        # libxmlsec can be built without SHA-1: then the name alone is put in.
        response = tampered("ds:SignatureMethod", lambda one: one.set("Algorithm", method.href))
    assert refusal(response).endswith(UNKNOWN)


@pytest.mark.parametrize(
    "algorithm",
    [
        "",
        "none",
        "http://www.w3.org/2000/09/xmldsig#dsa-sha1",
        "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1",
        "x" * 5000,
    ],
)
def test_unknown_signature_algorithms_are_refused_in_few_words(algorithm: str) -> None:
    told = refusal(tampered("ds:SignatureMethod", lambda one: one.set("Algorithm", algorithm)))
    assert told.endswith(UNKNOWN)
    assert len(told) < 300


def test_a_parameter_of_the_signature_algorithm_is_refused() -> None:
    def truncate(method: Any) -> None:
        length = method.makeelement(f"{{{SIGNATURE}}}HMACOutputLength")
        length.text = "0"
        method.append(length)

    assert refusal(tampered("ds:SignatureMethod", truncate)).endswith(UNKNOWN)


def test_sha_1_as_digest_is_refused() -> None:
    response = signed_assertion(how=Signing(digest=Method.SHA1))
    assert refusal(response) == (
        'its digest algorithm "http://www.w3.org/2000/09/xmldsig#sha1" is not accepted; use SHA-256, SHA-384 or SHA-512'
    )


@pytest.mark.parametrize("form", [Method.C14N, Method.C14N11, Method.EXCL_C14N_COMMENTS])
def test_another_canonical_form_is_refused(form: Any) -> None:
    assert refusal(signed_assertion(how=Signing(canonicalization=form))) == (
        "its signature is over another form of XML than exclusive canonical XML without comments"
    )


@pytest.mark.parametrize(
    "transforms",
    [
        (),
        (Method.ENVELOPED,),
        (Method.EXCL_C14N,),
        (Method.ENVELOPED, Method.C14N),
        (Method.ENVELOPED, Method.EXCL_C14N_COMMENTS),
        (Method.EXCL_C14N, Method.ENVELOPED),
        (Method.ENVELOPED, Method.EXCL_C14N, Method.EXCL_C14N),
        (Method.ENVELOPED, Method.ENVELOPED, Method.EXCL_C14N),
    ],
)
def test_other_transforms_are_refused(transforms: tuple[Any, ...]) -> None:
    usual = signed_assertion()
    if len(transforms) == 2 and Method.ENVELOPED in transforms and transforms[0] is Method.ENVELOPED:
        usual = signed_assertion(how=Signing(transforms=transforms))
    else:
        # libxmlsec will not sign with every list; a validly signed one is made by hand.
        usual = resigned(usual, lambda info: set_transforms(info, [transform.href for transform in transforms]))
    assert "transforms" in refusal(usual)


@pytest.mark.parametrize(
    "algorithm",
    [
        "http://www.w3.org/TR/1999/REC-xslt-19991116",
        "http://www.w3.org/TR/1999/REC-xpath-19991116",
        "http://www.w3.org/2002/06/xmldsig-filter2",
        "http://www.w3.org/2000/09/xmldsig#base64",
    ],
)
def test_transforms_that_compute_are_refused_even_when_the_provider_signed_them(algorithm: str) -> None:
    def smuggle(info: Any) -> None:
        set_transforms(info, [Method.ENVELOPED.href, algorithm, Method.EXCL_C14N.href])

    assert refusal(resigned(signed_assertion(), smuggle)) == (
        "its signature uses other transforms than enveloped signature and exclusive canonical XML"
    )


# --- references ---


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("", "its signature does not name the element that it is over"),
        ("#", "its signature does not name the element that it is over"),
        ("#xpointer(/)", 'the signature in "Assertion" is not over the element that it stands in'),
        ("#_response-1", 'the signature in "Assertion" is not over the element that it stands in'),
        ("http://evil.example/a.xml", "its signature does not name the element that it is over"),
        ("file:///etc/passwd", "its signature does not name the element that it is over"),
    ],
)
def test_a_reference_to_anything_but_its_element_is_refused(uri: str, why: str) -> None:
    assert refusal(resigned(signed_assertion(), lambda info: reference_of(info).set("URI", uri))) == why


def test_a_second_reference_is_refused() -> None:
    def double(info: Any) -> None:
        info.append(info.makeelement(f"{{{SIGNATURE}}}Reference"))

    assert refusal(resigned(signed_assertion(), double)) == 'expected one "Reference" in its signature, found 2'


def test_more_prefixes_than_anybody_needs_are_refused() -> None:
    many = " ".join(f"p{number}" for number in range(MOST_PREFIXES + 1))
    assert refusal(signed_assertion(how=Signing(prefixes=many))) == (
        f"its signature lists more than {MOST_PREFIXES} namespace prefixes"
    )


def test_things_beside_the_parts_of_a_signature_are_refused() -> None:
    def hide(root: Any) -> None:
        (signature,) = root.xpath("//ds:Signature", namespaces=NAMES)
        signature.append(signature.makeelement(f"{{{SIGNATURE}}}Object"))

    assert refusal(changed(signed_assertion(), hide)) == (
        "a signature in it holds other things than SAML signatures do"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no signing key in the identity provider's metadata made its signature"),
        ("%%%%", '"SignatureValue" is not base64'),
        ("A" * (LONGEST_BASE64 + 1), f'"SignatureValue" is longer than {LONGEST_BASE64} characters'),
    ],
)
def test_a_signature_value_that_is_none_is_refused(text: str, why: str) -> None:
    assert refusal(tampered("ds:SignatureValue", lambda one: setattr(one, "text", text))) == why


@pytest.mark.parametrize("path", ["ds:DigestValue", "ds:DigestMethod", "ds:Reference", "ds:CanonicalizationMethod"])
def test_nothing_that_was_signed_about_a_signature_can_be_changed(path: str) -> None:
    def touch(found: Any) -> None:
        found.set("Id", "_touched")

    assert refusal(tampered(path, touch)) == "no signing key in the identity provider's metadata made its signature"


def test_every_byte_of_the_signed_part_counts() -> None:
    response = signed_response(Message())
    at = response.index(b"alice@corp")
    assert vouched(response).attribute("ID") == "_response-1"
    for place in (at, response.index(b"InResponseTo"), response.index(b"NotOnOrAfter") + 20):
        letter = b"b" if response[place : place + 1] != b"b" else b"c"
        forged = response[:place] + letter + response[place + 1 :]
        with pytest.raises(SAMLRefused):
            vouched(forged)


# --- by hand ---


def resigned(response: bytes, change: Any) -> bytes:
    """The provider signs a SignedInfo that was changed first: only what it says can be wrong with it now."""

    def apply(root: Any) -> None:
        (info,) = root.xpath("//ds:SignedInfo", namespaces=NAMES)
        change(info)
        (value,) = root.xpath("//ds:SignatureValue", namespaces=NAMES)
        value.text = value_over(info)

    return changed(response, apply)


def value_over(info: Any) -> str:
    written = etree.tostring(info, method="c14n", exclusive=True)
    return base64.b64encode(rsa_key().sign(written, padding.PKCS1v15(), hashes.SHA256())).decode()


def reference_of(info: Any) -> Any:
    return info.find("ds:Reference", NAMES)


def set_transforms(info: Any, algorithms: list[str]) -> None:
    transforms = info.find("ds:Reference/ds:Transforms", NAMES)
    for child in list(transforms):
        transforms.remove(child)
    for algorithm in algorithms:
        made = transforms.makeelement(f"{{{SIGNATURE}}}Transform", Algorithm=algorithm)
        transforms.append(made)
