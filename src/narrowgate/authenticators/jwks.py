"""Published keys (JWK Set, RFC 7517), and whether a signed token (JWS, RFC 7515) was signed by one of them.

Which key verifies a token, and how, is never chosen by the token: its `alg` must be among those that the caller allows
and fit the key, and what it brings along (`jwk`, `jku`, `x5c`, `x5u`) is never looked at. Keys are public ones for
signatures only, so that no HMAC can be made with what everybody knows. What the claims mean is for others to say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Self

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from narrowgate.authenticators.base64url import from_base64url
from narrowgate.authenticators.strict_json import NotStrict, read_object

MAX_DOCUMENT_BYTES = 256 << 10
"""Of a key set. The largest providers publish some 10 KB; a certificate chain with every key makes it 100 KB."""

MAX_KEYS = 64
"""In one set; providers publish two to ten, Entra ID some twenty."""

MAX_TOKEN_CHARACTERS = 16_384
"""Of one token. With two hundred groups (Entra ID's limit before overage) it has some 12,000."""

MOST_TRIED = 8
"""Keys tried for a token that names none: each costs some 100 µs, and whoever sends it needs no right to do so."""

SMALLEST_RSA, LARGEST_RSA = 2048, 8192
"""Bits. Below, keys are weak (RFC 7518, section 3.3); above, each verification takes milliseconds."""

LARGEST_EXPONENT = 2**32
"""The usual one is 65,537; a huge one makes a verification slow."""

TOKEN_TYPES = frozenset({"jwt", "at+jwt", "jose"})
"""What `typ` may say, in lower case, `application/` taken off: RFC 7519, section 5.1; RFC 9068; the JWT-SVID of SPIFFE.
A logout token or a DPoP proof of the same issuer is no proof of identity (RFC 8725, section 3.11)."""

_KEY_TYPES: Mapping[str, tuple[str, str]] = {
    "RS256": ("RSA", ""),
    "RS384": ("RSA", ""),
    "RS512": ("RSA", ""),
    "PS256": ("RSA", ""),
    "PS384": ("RSA", ""),
    "PS512": ("RSA", ""),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
"""Key type and curve that each algorithm needs (RFC 7518, section 3.1; RFC 8037; RFC 9864). There is no `none` in it
and no HMAC."""


class KeySetInvalid(ValueError):
    """Not a JWK Set; the text follows "the keys that it publishes"."""


class TokenRefused(ValueError):
    """A token that proves nobody; the text follows "this token" and says what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownKey(TokenRefused):
    """No key that is known verifies it; its issuer may have published a new one since."""


class VerifyingKey(NamedTuple):
    """One public key."""

    id: str
    """`kid`; empty where the set gives none."""
    type: str
    curve: str
    """Empty for RSA."""
    algorithm: str
    """The one algorithm it is for; empty where the set does not say."""
    key: RSAKey | ECKey | OKPKey

    def fits(self, algorithm: str) -> bool:
        """Whether a signature by `algorithm` can be by this key."""
        if (self.type, self.curve) != _KEY_TYPES[algorithm]:
            return False
        return self.algorithm in ("", algorithm) or {self.algorithm, algorithm} == {"EdDSA", "Ed25519"}


class KeySet:
    """The usable keys of one issuer; immutable."""

    def __init__(self, keys: Collection[VerifyingKey], ignored: Collection[str] = ()) -> None:
        """Use `of`."""
        self.keys = tuple(keys)
        self.ignored = tuple(ignored)
        """Why other keys of the document are not used, each as one sentence for the log."""
        self.fingerprint = tuple(sorted((key.id, key.algorithm, key.key.thumbprint()) for key in self.keys))
        """Two sets with the same one verify the same tokens."""

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, document: bytes) -> Self:
        """Read a JWK Set. Keys that are of no use here are left out, the reason is in `ignored` (RFC 7517, section 5).

        A set without any usable key is a set: nothing verifies by it. Raises KeySetInvalid for what is no set at all.
        """
        if len(document) > MAX_DOCUMENT_BYTES:
            raise KeySetInvalid(f"are a document of more than {MAX_DOCUMENT_BYTES} bytes")
        try:
            listed = read_object(document).get("keys")
        except NotStrict as error:
            raise KeySetInvalid(f"are a document that {error}") from None
        if not isinstance(listed, list):
            raise KeySetInvalid('are a document without a list called "keys"')
        if len(listed) > MAX_KEYS:
            raise KeySetInvalid(f"are more than {MAX_KEYS}")
        found: list[VerifyingKey] = []
        ignored: list[str] = []
        for index, written in enumerate(listed):
            try:
                found.append(_verifying_key(written))
            except _Unusable as error:
                ignored.append(f"key {_named(written, index)} {error}")
        return cls(_without_doubt(found, ignored), ignored)

    def candidates(self, key_id: str | None, algorithm: str) -> tuple[VerifyingKey, ...]:
        """The keys that may have signed a token with this `kid` (None: it names none) and `alg`."""
        fitting = (key for key in self.keys if (key_id is None or key.id == key_id) and key.fits(algorithm))
        return tuple(fitting)[:MOST_TRIED]


def verified(token: str, keys: KeySet, algorithms: Collection[str]) -> dict[str, Any]:
    """The claims of a token in compact form whose signature is by one of `keys` and one of `algorithms`.

    Nothing is said about what the claims say: not who issued it, for whom, or until when. Raises UnknownKey where none
    of the keys verifies it, TokenRefused for everything else.
    """
    header, claims, signed, signature = _parts(token)
    algorithm = _algorithm(header, algorithms)
    key_id = header.get("kid")
    if key_id is not None and not isinstance(key_id, str):
        raise TokenRefused("has a kid that is not text; get another one")
    model = JWSRegistry.algorithms["Ed25519" if algorithm == "EdDSA" else algorithm]
    for candidate in keys.candidates(key_id, algorithm):
        try:
            if model.verify(signed, signature, candidate.key):
                return claims
        except (JoseError, ValueError):
            # A signature of the wrong length, for one; whatever it is, it verifies nothing.
            continue
    raise UnknownKey("is not signed by a key that its issuer publishes; get a new one from the issuer")


def unverified_claims(token: str) -> dict[str, Any]:
    """What a token says of itself, believed by nobody: good for finding out whom to ask. Raises TokenRefused."""
    return _parts(token)[1]


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Header, claims, what is signed, signature (RFC 7515, section 7.1)."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise TokenRefused(
            f"is longer than {MAX_TOKEN_CHARACTERS} characters; have its issuer put fewer claims into it"
        )
    pieces = token.split(".")
    if len(pieces) != 3:
        raise TokenRefused("is not a signed JWT (three parts with dots between them); copy it again")
    try:
        header, claims, signature = (from_base64url(piece) for piece in pieces)
        return read_object(header), read_object(claims), token.rpartition(".")[0].encode("ascii"), signature
    except NotStrict as error:
        raise TokenRefused(f"has a part that {error}; get another one") from None
    except ValueError:
        raise TokenRefused("has a part that is not base64url without padding; copy it again") from None


def _algorithm(header: Mapping[str, Any], allowed: Collection[str]) -> str:
    algorithm = header.get("alg")
    # RFC 9864 gave the algorithm its second name; whoever allows the one means the other.
    known = {*allowed, "Ed25519"} if "EdDSA" in allowed else set(allowed)
    if not isinstance(algorithm, str) or algorithm not in _KEY_TYPES or algorithm not in known:
        listed = ", ".join(allowed) or "none"
        raise TokenRefused(f"is signed by an algorithm that is not allowed here; allowed are: {listed}")
    if "crit" in header or "b64" in header:
        raise TokenRefused("demands what this gate does not know (crit); get a plain one")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in TOKEN_TYPES:
        raise TokenRefused("is of a type that proves no identity (typ); send an ID token or an access token")
    return algorithm


class _Unusable(ValueError):
    """Such a key is of no use here; the text follows the key."""


def _verifying_key(written: object) -> VerifyingKey:
    """One key of a set. Only its public numbers are taken: what else is in it has no say."""
    if not isinstance(written, dict):
        raise _Unusable("is not an object")
    if "d" in written or "k" in written:
        raise _Unusable("is not public: its issuer publishes a secret")
    if written.get("use", "sig") != "sig" or "verify" not in _operations(written):
        raise _Unusable("is not for signatures")
    key_id, algorithm = written.get("kid", ""), written.get("alg", "")
    if not isinstance(key_id, str) or not isinstance(algorithm, str):
        raise _Unusable("has a kid or alg that is not text")
    try:
        kind, curve, key = _public_key(written)
    except _Unusable:
        raise
    except (JoseError, ValueError, TypeError):
        raise _Unusable("is broken") from None
    found = VerifyingKey(key_id, kind, curve, algorithm, key)
    if algorithm and (algorithm not in _KEY_TYPES or not found.fits(algorithm)):
        raise _Unusable("is for an algorithm that is not used here, or not one of such a key")
    return found


def _public_key(written: Mapping[str, Any]) -> tuple[str, str, RSAKey | ECKey | OKPKey]:
    """Its type, its curve, and the key."""
    kind, curve = written.get("kty"), written.get("crv", "")
    match kind:
        case "RSA":
            return kind, "", _rsa(written)
        case "EC" if curve in ("P-256", "P-384", "P-521"):
            # Whether the point is on the curve is checked by the library.
            numbers = {"x": written.get("x", ""), "y": written.get("y", "")}
            return kind, curve, ECKey.import_key({"kty": kind, "crv": curve, **numbers})
        case "OKP" if curve == "Ed25519":
            return kind, curve, OKPKey.import_key({"kty": kind, "crv": curve, "x": written.get("x", "")})
        case _:
            raise _Unusable("is of a type, or on a curve, that is not used here")


def _operations(written: Mapping[str, Any]) -> Collection[Any]:
    operations = written.get("key_ops", ("verify",))
    return operations if isinstance(operations, list | tuple) else ()


def _rsa(written: Mapping[str, Any]) -> RSAKey:
    modulus = int.from_bytes(from_base64url(written["n"]) if isinstance(written.get("n"), str) else b"", "big")
    exponent = int.from_bytes(from_base64url(written["e"]) if isinstance(written.get("e"), str) else b"", "big")
    if not SMALLEST_RSA <= modulus.bit_length() <= LARGEST_RSA:
        raise _Unusable(f"is RSA of {modulus.bit_length()} bits: {SMALLEST_RSA} to {LARGEST_RSA} are used here")
    if not 3 <= exponent <= LARGEST_EXPONENT or exponent % 2 == 0:
        raise _Unusable("is RSA with an exponent that is not used here")
    return RSAKey.import_key({"kty": "RSA", "n": written["n"], "e": written["e"]})


def _without_doubt(keys: Collection[VerifyingKey], ignored: list[str]) -> list[VerifyingKey]:
    """The keys, without those that share a name and a type with a different one: nobody knows which is meant."""
    by_name: dict[tuple[str, str, str], list[VerifyingKey]] = {}
    for key in keys:
        by_name.setdefault((key.id, key.type, key.curve), []).append(key)
    kept = []
    for (key_id, _, _), same in by_name.items():
        if not key_id or len({key.key.thumbprint() for key in same}) == 1:
            kept += same
        else:
            ignored.append(f'key "{key_id[:64]}" is there {len(same)} times, each time another')
    return kept


def _named(written: object, index: int) -> str:
    key_id = written.get("kid") if isinstance(written, dict) else None
    return f'"{key_id[:64]}"' if isinstance(key_id, str) and key_id else f"{index + 1} of the set"
