"""XML signatures as SAML has them: enveloped, over the element that they stand in, by a key known beforehand.

What `signed` returns was read from the very bytes that the digest was taken over, and everything about the signature
from the very bytes that the key has signed. Nothing is looked up by id, so that it does not matter what else is in the
document or where it was moved (signature wrapping): what was not signed is not in what is returned.

XML Signature Syntax and Processing 1.1 (https://www.w3.org/TR/xmldsig-core1/) within the bounds that SAML sets
(saml-core-2.0-os, section 5.4): one reference, two transforms, no key but the provider's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from narrowgate.control.saml.xml import EXCLUSIVE, SIGNATURE, Element, SAMLRefused, canonical, read_xml

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
"""What an identity provider may sign with."""

MOST_PREFIXES = 16
"""Prefixes of one InclusiveNamespaces list; providers name one or two."""

LONGEST_BASE64 = 4096
"""Characters of a signature or digest: RSA with 16,384 bits makes 2,732."""

ENVELOPED = SIGNATURE + "enveloped-signature"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"

_DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "http://www.w3.org/2001/04/xmlenc#sha256": lambda data: hashlib.sha256(data).digest(),
    "http://www.w3.org/2001/04/xmldsig-more#sha384": lambda data: hashlib.sha384(data).digest(),
    "http://www.w3.org/2001/04/xmlenc#sha512": lambda data: hashlib.sha512(data).digest(),
}
"""RFC 9231, section 2.1, without MD5 and SHA-1."""

_RSA: dict[str, hashes.HashAlgorithm] = {
    RSA_SHA256: hashes.SHA256(),
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384": hashes.SHA384(),
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512": hashes.SHA512(),
}
_ECDSA: dict[str, hashes.HashAlgorithm] = {
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256": hashes.SHA256(),
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384": hashes.SHA384(),
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512": hashes.SHA512(),
}
"""RFC 9231, section 2.3, without SHA-1, and without HMAC (2.2), whose key would be a public one."""

_KNOWN = "sign with RSA or ECDSA and SHA-256, SHA-384 or SHA-512"


class _Reference(msgspec.Struct, frozen=True):
    """What a signature says that it covers, and how."""

    target: str
    """The ID of the element."""
    prefixes: tuple[str, ...]
    digest: Callable[[bytes], bytes]
    expected: bytes


def signature_of(element: Element) -> Element | None:
    """The signature that stands in `element`; None where there is none. Raises SAMLRefused where there are several."""
    found = element.named(SIGNATURE, "Signature")
    if len(found) > 1:
        raise SAMLRefused(f'"{element.name}" has more than one signature')
    return found[0] if found else None


def signed(element: Element, signature: Element, keys: Sequence[PublicKey]) -> Element:
    """What `signature`, a child of `element`, vouches for: `element` without it, read anew. Raises SAMLRefused."""
    signed_info, value = _parts_of(signature)
    written = canonical(signed_info, _prefixes(_only(signed_info, SIGNATURE, "CanonicalizationMethod")))
    told = read_xml(written)
    _check_value(told, _decoded(value), written, keys)
    reference = _reference(told)
    if reference.target != element.attribute("ID"):
        raise SAMLRefused(f'the signature in "{element.name}" is not over the element that it stands in')
    covered = canonical(element, reference.prefixes, without=signature)
    if not hmac.compare_digest(reference.digest(covered), reference.expected):
        raise SAMLRefused("it was changed after it was signed")
    return read_xml(covered)


def _parts_of(signature: Element) -> tuple[Element, Element]:
    """SignedInfo and SignatureValue. A KeyInfo may follow, and is not looked at: keys come from the metadata."""
    children = signature.children()
    expected = ["SignedInfo", "SignatureValue"] + ["KeyInfo"] * (len(children) == 3)
    if [child.name for child in children] != expected or any(child.namespace != SIGNATURE for child in children):
        raise SAMLRefused("a signature in it holds other things than SAML signatures do")
    return children[0], children[1]


def _check_value(told: Element, value: bytes, written: bytes, keys: Sequence[PublicKey]) -> None:
    if _algorithm(_only(told, SIGNATURE, "CanonicalizationMethod")) != EXCLUSIVE:
        raise SAMLRefused("its signature is over another form of XML than exclusive canonical XML without comments")
    method = _only(told, SIGNATURE, "SignatureMethod")
    algorithm = _algorithm(method)
    if method.children() or algorithm not in _RSA | _ECDSA:
        raise SAMLRefused(f'its signature algorithm "{_brief(algorithm)}" is not accepted; {_KNOWN}')
    if not any(_verifies(key, algorithm, value, written) for key in keys):
        raise SAMLRefused("no signing key in the identity provider's metadata made its signature")


def _verifies(key: PublicKey, algorithm: str, value: bytes, written: bytes) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm in _RSA:
            key.verify(value, written, padding.PKCS1v15(), _RSA[algorithm])
            return True
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm in _ECDSA:
            # r and s one after the other, each as long as the field (XML Signature 1.1, section 6.4.3).
            size = (key.curve.key_size + 7) // 8
            if len(value) != 2 * size:
                return False
            pair = int.from_bytes(value[:size], "big"), int.from_bytes(value[size:], "big")
            key.verify(encode_dss_signature(*pair), written, ec.ECDSA(_ECDSA[algorithm]))
            return True
    except InvalidSignature:
        return False
    return False


def _reference(told: Element) -> _Reference:
    reference = _only(told, SIGNATURE, "Reference")
    uri = reference.attribute("URI") or ""
    if not uri.startswith("#") or len(uri) < 2:
        raise SAMLRefused("its signature does not name the element that it is over")
    transforms = _only(reference, SIGNATURE, "Transforms").children()
    if [_algorithm(one) for one in transforms] != [ENVELOPED, EXCLUSIVE]:
        raise SAMLRefused("its signature uses other transforms than enveloped signature and exclusive canonical XML")
    if any(not one.is_named(SIGNATURE, "Transform") for one in transforms) or transforms[0].children():
        raise SAMLRefused("a transform in its signature holds other things than SAML's do")
    method = _algorithm(_only(reference, SIGNATURE, "DigestMethod"))
    if method not in _DIGESTS:
        raise SAMLRefused(f'its digest algorithm "{_brief(method)}" is not accepted; use SHA-256, SHA-384 or SHA-512')
    return _Reference(
        target=uri[1:],
        prefixes=_prefixes(transforms[1]),
        digest=_DIGESTS[method],
        expected=_decoded(_only(reference, SIGNATURE, "DigestValue")),
    )


def _prefixes(method: Element) -> tuple[str, ...]:
    """The prefixes of the InclusiveNamespaces list in a transform (Exclusive XML Canonicalization 1.0, section 3)."""
    children = method.children()
    if not children:
        return ()
    if len(children) > 1 or not children[0].is_named(EXCLUSIVE, "InclusiveNamespaces"):
        raise SAMLRefused("a transform in its signature holds other things than SAML's do")
    prefixes = (children[0].attribute("PrefixList") or "").split()
    if len(prefixes) > MOST_PREFIXES:
        raise SAMLRefused(f"its signature lists more than {MOST_PREFIXES} namespace prefixes")
    return tuple("" if prefix == "#default" else prefix for prefix in prefixes)


def _only(element: Element, namespace: str, name: str) -> Element:
    found = element.named(namespace, name)
    if len(found) != 1:
        raise SAMLRefused(f'expected one "{name}" in its signature, found {len(found)}')
    return found[0]


def _algorithm(element: Element) -> str:
    return element.attribute("Algorithm") or ""


def _decoded(element: Element) -> bytes:
    text = "".join(element.text().split())
    if len(text) > LONGEST_BASE64:
        raise SAMLRefused(f'"{element.name}" is longer than {LONGEST_BASE64} characters')
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SAMLRefused(f'"{element.name}" is not base64') from None


def _brief(algorithm: str) -> str:
    return algorithm[:100]
