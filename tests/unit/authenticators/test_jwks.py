"""Key sets and signatures: which keys are used, and that no token chooses how it is verified."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from tests.oidc_issuer import Key, base64url, ec_key, ed25519_key, key_set, rsa_key, signed, with_signature

from narrowgate.authenticators.jwks import (
    LARGEST_EXPONENT,
    MAX_DOCUMENT_BYTES,
    MAX_KEYS,
    MAX_TOKEN_CHARACTERS,
    MOST_TRIED,
    KeySet,
    KeySetInvalid,
    TokenRefused,
    UnknownKey,
    unverified_claims,
    verified,
)
from narrowgate.authenticators.jwt_issuer import KNOWN_ALGORITHMS

RSA = rsa_key("r")
P256 = ec_key("e")
ED25519 = ed25519_key("o")
ALL = KeySet.of(key_set(RSA, P256, ED25519, ec_key("e384", "P-384"), ec_key("e521", "P-521")))
CLAIMS = {"iss": "https://issuer.example", "sub": "alice"}


def public(key: Key, **changed: Any) -> dict[str, Any]:
    """A key as it is published; None takes a member away."""
    members = {**key.as_dict(private=False), **changed}
    return {name: value for name, value in members.items() if value is not None}


def refusal(token: str, keys: KeySet = ALL, algorithms: tuple[str, ...] = KNOWN_ALGORITHMS) -> str:
    with pytest.raises(TokenRefused) as caught:
        verified(token, keys, algorithms)
    assert ";" in caught.value.reason, "what is wrong; what to do"
    return caught.value.reason


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        *((name, RSA) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        ("ES256", P256),
        ("ES384", ec_key("x", "P-384")),
        ("ES512", ec_key("x", "P-521")),
        ("Ed25519", ED25519),
    ],
)
def test_a_signature_by_a_published_key_gives_the_claims(algorithm: str, key: Key) -> None:
    token = signed(CLAIMS, key, algorithm)
    assert verified(token, KeySet.of(key_set(key)), KNOWN_ALGORITHMS) == CLAIMS


@pytest.mark.parametrize("name", ["EdDSA", "Ed25519"])
def test_ed25519_goes_by_both_of_its_names(name: str) -> None:
    token = with_signature({"alg": name, "kid": "o"}, json.dumps(CLAIMS).encode(), ED25519, "Ed25519")
    for of_key in (None, "EdDSA", "Ed25519"):
        keys = KeySet.of(json.dumps({"keys": [public(ED25519, alg=of_key)]}).encode())
        assert verified(token, keys, ("EdDSA",)) == CLAIMS


class TestConfusion:
    """What a token says of itself never chooses how it is verified."""

    @pytest.mark.parametrize("name", ["none", "None", "nOnE", "", "HS256", "HS512", "ES256K", "RSA-OAEP", "dir"])
    def test_no_algorithm_without_a_key_pair_is_taken(self, name: str) -> None:
        unsigned = f"{base64url(json.dumps({'alg': name}).encode())}.{base64url(json.dumps(CLAIMS).encode())}"
        for signature in ("", "AA", base64url(b"x" * 64)):
            assert "algorithm" in refusal(f"{unsigned}.{signature}")
            # Not even where somebody allowed it by mistake.
            assert "algorithm" in refusal(f"{unsigned}.{signature}", algorithms=(name, "RS256"))

    @pytest.mark.parametrize(
        "secret",
        [
            *(
                RSA.public_key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
                for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
            ),
            json.dumps(public(RSA)).encode(),
        ],
        ids=["PEM", "DER", "JWK"],
    )
    def test_the_public_key_is_no_hmac_secret(self, secret: bytes) -> None:
        head = base64url(json.dumps({"alg": "HS256", "kid": "r"}).encode())
        unsigned = f"{head}.{base64url(json.dumps(CLAIMS).encode())}"
        signature = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
        assert "algorithm" in refusal(f"{unsigned}.{base64url(signature)}", algorithms=("RS256", "HS256"))

    @pytest.mark.parametrize(
        ("claimed", "key", "algorithm"),
        [("ES256", RSA, "RS256"), ("RS256", P256, "ES256"), ("PS256", RSA, "RS256"), ("RS512", RSA, "RS256")],
    )
    def test_a_signature_counts_only_by_the_algorithm_it_was_made_with(
        self, claimed: str, key: Key, algorithm: str
    ) -> None:
        token = with_signature({"alg": claimed, "kid": key.kid}, json.dumps(CLAIMS).encode(), key, algorithm)
        assert "not signed by a key" in refusal(token)

    def test_an_algorithm_that_is_not_allowed_here_is_refused_though_it_verifies(self) -> None:
        assert "allowed are: ES256" in refusal(signed(CLAIMS, RSA, "RS256"), algorithms=("ES256",))
        assert "algorithm" in refusal(signed(CLAIMS, RSA, "RS256"), algorithms=())

    def test_a_key_that_is_for_one_algorithm_verifies_no_other(self) -> None:
        keys = KeySet.of(json.dumps({"keys": [public(RSA, alg="RS256")]}).encode())
        assert verified(signed(CLAIMS, RSA, "RS256"), keys, KNOWN_ALGORITHMS) == CLAIMS
        assert "not signed" in refusal(signed(CLAIMS, RSA, "PS256"), keys)

    @pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
    def test_a_key_that_the_token_brings_along_is_not_looked_at(self, member: str) -> None:
        own = ec_key("e")
        brought = {
            "jwk": public(own),
            "jku": "https://attacker.example/keys",
            "x5u": "https://attacker.example/certificate",
            "x5c": ["MIIB"],
        }[member]
        assert "not signed" in refusal(signed(CLAIMS, own, header={member: brought}))
        assert "not signed" in refusal(signed(CLAIMS, own, header={member: brought, "kid": None}))
        # A published key's signature is as good with it as without.
        assert verified(signed(CLAIMS, P256, header={member: brought}), ALL, KNOWN_ALGORITHMS) == CLAIMS

    @pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False}, {"b64": True}])
    def test_what_the_gate_does_not_know_may_not_be_demanded(self, header: dict[str, Any]) -> None:
        assert "crit" in refusal(signed(CLAIMS, P256, header=header))

    @pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", "application/logout+jwt", "", 1, None])
    def test_a_token_of_another_type_proves_nobody(self, kind: object) -> None:
        assert "typ" in refusal(signed(CLAIMS, P256, header={"typ": kind}))

    @pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", "JOSE"])
    def test_an_id_token_and_an_access_token_do(self, kind: str) -> None:
        assert verified(signed(CLAIMS, P256, header={"typ": kind}), ALL, KNOWN_ALGORITHMS) == CLAIMS

    @pytest.mark.parametrize("kid", [1, ["e"], {"e": 1}, True])
    def test_a_key_id_is_text(self, kid: object) -> None:
        assert "kid" in refusal(signed(CLAIMS, P256, header={"kid": kid}))


class TestTheRightKey:
    def test_another_key_of_the_same_name_does_not_verify(self) -> None:
        with pytest.raises(UnknownKey):
            verified(signed(CLAIMS, ec_key("e")), ALL, KNOWN_ALGORITHMS)

    def test_a_name_that_is_not_published_is_not_tried_with_the_other_keys(self) -> None:
        token = signed(CLAIMS, P256, header={"kid": "later"})
        with pytest.raises(UnknownKey):
            verified(token, ALL, KNOWN_ALGORITHMS)

    def test_a_token_that_names_no_key_is_tried_with_a_few(self) -> None:
        head = {"alg": "ES256"}
        token = with_signature(head, json.dumps(CLAIMS).encode(), P256, "ES256")
        others = [ec_key(f"k{number}") for number in range(MOST_TRIED)]
        assert verified(token, KeySet.of(key_set(*others[1:], P256)), KNOWN_ALGORITHMS) == CLAIMS
        with pytest.raises(UnknownKey):
            verified(token, KeySet.of(key_set(*others, P256)), KNOWN_ALGORITHMS)

    def test_a_set_without_keys_verifies_nothing(self) -> None:
        with pytest.raises(UnknownKey):
            verified(signed(CLAIMS, P256), KeySet.of(b'{"keys": []}'), KNOWN_ALGORITHMS)

    @pytest.mark.parametrize("length", [0, 1, 63, 65, 72])
    def test_a_signature_of_another_length_is_none(self, length: int) -> None:
        unsigned = signed(CLAIMS, P256).rpartition(".")[0]
        assert refusal(f"{unsigned}.{base64url(b'0' * length)}")


class TestForm:
    @pytest.mark.parametrize(
        "content",
        [
            b'{"sub": "alice", "sub": "bob"}',
            b'{"sub": "alice", "a": {"x": 1, "x": 2}}',
            b'{"exp": NaN}',
            b'{"exp": -Infinity}',
            b"[]",
            b'"alice"',
            b"",
            b"{",
            b"\xff",
            b"{}{}",
            b"[" * 5000 + b"]" * 5000,
        ],
    )
    def test_claims_that_could_be_read_in_two_ways_are_refused_though_signed(self, content: bytes) -> None:
        assert "part that" in refusal(signed(content, P256))

    def test_a_header_with_a_member_twice_is_refused(self) -> None:
        head = b'{"alg": "none", "kid": "e", "alg": "ES256"}'
        assert "twice" in refusal(with_signature(head, json.dumps(CLAIMS).encode(), P256, "ES256"))

    @pytest.mark.parametrize("spoil", [lambda t: t + "=", lambda t: t.replace(".", " .", 1), lambda t: t + "\n"])
    def test_a_token_has_one_spelling(self, spoil: Any) -> None:
        assert "base64url" in refusal(spoil(signed(CLAIMS, P256)))

    def test_left_over_bits_of_the_last_letter_are_no_second_spelling(self) -> None:
        token = signed({"sub": "al"}, P256)
        unsigned, _, signature = token.rpartition(".")
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        # 64 bytes leave four bits of the last letter unused.
        same = letters[letters.index(signature[-1]) ^ 1]
        assert "base64url" in refusal(f"{unsigned}.{signature[:-1]}{same}")

    @pytest.mark.parametrize("parts", ["", "a", "a.b", "a.b.c.d", "a.b.c.d.e", ".."])
    def test_what_is_no_token_is_refused(self, parts: str) -> None:
        assert refusal(parts)

    def test_a_token_without_end_is_not_read(self) -> None:
        token = signed({"sub": "x" * MAX_TOKEN_CHARACTERS}, P256)
        assert "longer" in refusal(token)
        assert "longer" in refusal("e" * 10_000_000)

    def test_letters_that_no_header_holds_are_refused(self) -> None:
        assert refusal("ey\ud800.e30.x")
        assert refusal("ｅyJhbGciOiJFUzI1NiJ9.e30.AA")


class TestKeySets:
    @pytest.mark.parametrize(
        "document", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": null}', b"\xff", b'{"keys": [], "keys": []}']
    )
    def test_what_is_no_key_set_is_refused(self, document: bytes) -> None:
        with pytest.raises(KeySetInvalid):
            KeySet.of(document)

    def test_a_set_has_bounds(self) -> None:
        with pytest.raises(KeySetInvalid, match="bytes"):
            KeySet.of(b'{"keys": [' + b" " * MAX_DOCUMENT_BYTES + b"]}")
        with pytest.raises(KeySetInvalid, match="more than"):
            KeySet.of(json.dumps({"keys": [{}] * (MAX_KEYS + 1)}).encode())

    @pytest.mark.parametrize(
        ("written", "why"),
        [
            (3, "no object"),
            ({}, "type"),
            ({"kty": "oct", "k": "c2VjcmV0"}, "secret"),
            (P256.as_dict(private=True), "secret"),
            (public(P256, use="enc"), "signatures"),
            (public(P256, key_ops=["sign"]), "signatures"),
            (public(P256, key_ops="verify"), "signatures"),
            (public(P256, kid=1), "not text"),
            (public(P256, alg=["ES256"]), "not text"),
            (public(P256, alg="RS256"), "algorithm"),
            (public(P256, alg="HS256"), "algorithm"),
            (public(P256, crv="secp256k1"), "curve"),
            (public(P256, crv=["P-256"]), "curve"),
            (public(P256, crv="P-384"), "broken"),
            (public(P256, x="AAAA"), "broken"),
            (public(P256, x=1), "broken"),
            (public(P256, y=None), "broken"),
            (public(ED25519, crv="X25519"), "curve"),
            (public(ED25519, x="AAAA"), "broken"),
            (public(RSA, e="AQ"), "exponent"),
            (public(RSA, e="AQAA"), "exponent"),
            (public(RSA, e=base64url((LARGEST_EXPONENT + 1).to_bytes(8, "big"))), "exponent"),
            (public(RSA, n="AQAB"), "17 bits"),
            (public(RSA, n=base64url(b"\xff" * 1025)), "8200 bits"),
            (public(RSA, n=None), "0 bits"),
            (public(RSA, n="!!"), "broken"),
        ],
    )
    def test_a_key_that_is_of_no_use_is_left_out_with_the_reason(self, written: object, why: str) -> None:
        keys = KeySet.of(json.dumps({"keys": [written, public(P256, kid="good")]}).encode())
        assert [key.id for key in keys.keys] == ["good"]
        (reason,) = keys.ignored
        assert why.replace("no object", "not an object") in reason

    def test_a_small_rsa_key_verifies_nothing(self) -> None:
        # Made from its numbers: the library that makes keys warns about such.
        keys = KeySet.of(json.dumps({"keys": [public(RSA, n=base64url(b"\xc3" * 128))]}).encode())
        assert len(keys) == 0
        assert "1024 bits" in keys.ignored[0]

    def test_two_different_keys_of_one_name_are_both_left_out(self) -> None:
        one, other = ec_key("same"), ec_key("same")
        keys = KeySet.of(key_set(one, other, P256))
        assert [key.id for key in keys.keys] == ["e"]
        assert "2 times" in keys.ignored[0]

    def test_the_same_key_twice_and_keys_of_two_types_with_one_name_are_no_doubt(self) -> None:
        rsa, ec = public(RSA, kid="same"), public(P256, kid="same")
        keys = KeySet.of(json.dumps({"keys": [rsa, ec, ec]}).encode())
        assert verified(signed(CLAIMS, P256, header={"kid": "same"}), keys, KNOWN_ALGORITHMS) == CLAIMS
        assert verified(signed(CLAIMS, RSA, "RS256", {"kid": "same"}), keys, KNOWN_ALGORITHMS) == CLAIMS

    def test_sets_with_the_same_keys_are_known_to_be_the_same(self) -> None:
        assert KeySet.of(key_set(RSA, P256)).fingerprint == KeySet.of(key_set(P256, RSA)).fingerprint
        assert KeySet.of(key_set(RSA)).fingerprint != KeySet.of(key_set(P256)).fingerprint
        assert KeySet.of(key_set(ec_key("e"))).fingerprint != KeySet.of(key_set(P256)).fingerprint


def test_claims_can_be_looked_at_before_anything_is_believed() -> None:
    token = signed(CLAIMS, ec_key("nobody"))
    assert unverified_claims(token) == CLAIMS
