"""From claims to a user: whom they stand for, and every reason for which they stand for nobody."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from narrowgate.authenticators.claims import MAX_VALUE_CHARACTERS, MOST_EXTRA_VALUES, ClaimReader, User
from narrowgate.authenticators.jwks import TokenRefused
from narrowgate.authenticators.jwt_issuer import ClaimMapping, ClaimRule, ExtraMapping, JWTIssuer, UserRule
from narrowgate.core.conditions import ConditionInvalid
from narrowgate.core.identity import Kind
from narrowgate.core.names import MOST_GROUPS

ISSUER = JWTIssuer(
    url="https://issuer.example",
    audiences=("narrowgate",),
    username=ClaimMapping(claim="sub", prefix="corp:"),
    groups=ClaimMapping(claim="groups", prefix="corp:"),
)


def issuer(**changed: Any) -> JWTIssuer:
    return msgspec.structs.replace(ISSUER, **changed)


def user(claims: dict[str, Any], **changed: Any) -> User:
    return ClaimReader(issuer(**changed)).user(claims)


def refusal(claims: dict[str, Any], **changed: Any) -> str:
    with pytest.raises(TokenRefused) as caught:
        user(claims, **changed)
    assert ";" in caught.value.reason, "what is wrong; what to do"
    assert caught.value.reason.isprintable()
    return caught.value.reason


def test_claims_are_mapped_with_their_prefixes() -> None:
    assert user({"sub": "alice", "groups": ["sre", "dev"]}) == User(name="corp:alice", groups=("corp:sre", "corp:dev"))


def test_one_group_may_be_written_without_a_list_and_none_at_all() -> None:
    assert user({"sub": "alice", "groups": "sre"}).groups == ("corp:sre",)
    assert user({"sub": "alice"}).groups == user({"sub": "alice", "groups": None}).groups == ()
    assert user({"sub": "alice", "groups": ["sre", "sre"]}).groups == ("corp:sre",)


def test_expressions_map_too_and_put_their_own_prefix() -> None:
    mapped = user(
        {"preferred": "alice", "roles": "a,b", "id": "7", "team": ["red", ""], "site": ""},
        username=ClaimMapping(expression="'p:' + claims.preferred"),
        groups=ClaimMapping(expression="claims.roles.split(',')"),
        uid=ClaimMapping(claim="id"),
        extra=(
            ExtraMapping(key="corp.example/team", value_expression="claims.team"),
            ExtraMapping(key="corp.example/site", value_expression="claims.site"),
        ),
    )
    assert mapped == User(name="p:alice", groups=("a", "b"), uid="7", extra=(("corp.example/team", ("red",)),))


@pytest.mark.parametrize("sub", [None, "", 1, True, ["alice"], {"a": 1}])
def test_a_user_name_is_text(sub: object) -> None:
    assert refusal({"sub": sub})
    assert refusal({"sub": sub}, username=ClaimMapping(expression="claims.sub"))


def test_a_user_name_that_is_missing_is_refused() -> None:
    assert 'claim "sub" is not there' in refusal({})
    assert refusal({}, username=ClaimMapping(expression="claims.sub"))


@pytest.mark.parametrize("groups", [1, True, {"a": 1}, ["a", 1], ["a", None], [["a"]], ["a", ""]])
def test_groups_are_texts(groups: object) -> None:
    assert refusal({"sub": "alice", "groups": groups})


@pytest.mark.parametrize("name", ["system:masters", "System:Masters", "ｓystem:masters", "SYSTEM:node:x", " system:x"])
@pytest.mark.parametrize("by", [ClaimMapping(claim="sub"), ClaimMapping(expression="claims.sub")])
def test_no_claim_makes_anybody_kubernetes_own(name: str, by: ClaimMapping) -> None:
    assert "system:" in refusal({"sub": name}, username=by)
    groups = ClaimMapping(claim="groups") if by.claim else ClaimMapping(expression="claims.groups")
    assert "system:" in refusal({"sub": "alice", "groups": ["fine", name]}, groups=groups)


@pytest.mark.parametrize(
    "name", ["a\nb", "a\0b", "a\rImpersonate-Group: x", "a\u200bb", "\u202ealice", "a ", "x" * 300, "\ud800"]
)
@pytest.mark.parametrize("prefix", ["", "corp:"])
def test_names_hold_nothing_that_cannot_be_seen_or_sent(name: str, prefix: str) -> None:
    assert refusal({"sub": name}, username=ClaimMapping(claim="sub", prefix=prefix))
    assert refusal({"sub": "alice", "groups": [name]}, groups=ClaimMapping(claim="groups", prefix=prefix))


def test_look_alikes_stay_the_different_names_that_they_are() -> None:
    names = {user({"sub": name}).name for name in ("alice", "аlice", "ａlice", "Alice", "alicé", "alice\u0301")}
    assert len(names) == 6


def test_an_agents_name_is_one_that_can_be_registered() -> None:
    agents = {"subject": Kind.AGENT, "groups": None, "username": ClaimMapping(claim="sub", prefix="ci-")}
    assert user({"sub": "deploy"}, **agents).name == "ci-deploy"
    for name in ("Deploy", "repo:corp/x:ref", "a_b", "x" * 63, ""):
        assert refusal({"sub": name}, **agents)


def test_a_name_that_looks_like_another_issuers_is_not_taken() -> None:
    ours = {"username": ClaimMapping(claim="sub"), "groups": ClaimMapping(claim="groups")}
    kept = {"foreign_prefixes": ("corp:",), "foreign_group_prefixes": ("corp:", "x:")}
    assert user({"sub": "alice", "groups": ["sre"]}, **ours, **kept).name == "alice"
    assert "another issuer" in refusal({"sub": "corp:alice"}, **ours, **kept)
    assert "another issuer" in refusal({"sub": "alice", "groups": ["x:sre"]}, **ours, **kept)


class TestEmail:
    BY_EMAIL = ClaimMapping(claim="email")

    @pytest.mark.parametrize("verified", [False, "true", "false", 1, None, []])
    def test_an_address_that_nobody_verified_names_nobody(self, verified: object) -> None:
        claims = {"email": "alice@corp.example", "email_verified": verified}
        assert "email_verified" in refusal(claims, username=self.BY_EMAIL)

    def test_a_verified_one_does_and_so_does_one_whose_issuer_does_not_say(self) -> None:
        for claims in ({"email_verified": True}, {}):
            assert user({"email": "alice@corp.example", **claims}, username=self.BY_EMAIL).name == "alice@corp.example"

    def test_other_names_do_not_depend_on_it(self) -> None:
        assert user({"sub": "alice", "email_verified": False}).name == "corp:alice"


class TestOverage:
    """Entra ID puts more than 200 groups elsewhere, and says where."""

    @pytest.mark.parametrize(
        "claims",
        [
            {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}},
            {"hasgroups": True},
            {"hasgroups": "true"},
        ],
    )
    @pytest.mark.parametrize(
        "by", [ClaimMapping(claim="groups"), ClaimMapping(expression="claims.?groups.orValue([])")]
    )
    def test_groups_that_are_elsewhere_are_not_no_groups(self, claims: dict[str, Any], by: ClaimMapping) -> None:
        reason = refusal({"sub": "alice", **claims}, groups=by)
        assert "too many" in reason
        assert "application" in reason

    def test_whoever_maps_other_claims_does_not_mind(self) -> None:
        claims = {"sub": "alice", "_claim_names": {"groups": "src1"}, "hasgroups": True, "roles": ["sre"]}
        assert user(claims, groups=ClaimMapping(claim="roles")).groups == ("sre",)
        assert user(claims, groups=ClaimMapping(expression="claims.roles")).groups == ("sre",)
        assert user(claims, groups=None).groups == ()

    def test_more_groups_than_can_be_sent_are_refused_with_what_to_change(self) -> None:
        groups = [f"g{number}" for number in range(MOST_GROUPS + 1)]
        assert f"more than {MOST_GROUPS}" in refusal({"sub": "alice", "groups": groups})
        assert len(user({"sub": "alice", "groups": groups[1:]}).groups) == MOST_GROUPS


class TestRules:
    def test_a_claim_must_be_what_is_required(self) -> None:
        rules = {"claim_rules": (ClaimRule(claim="hd", required_value="corp.example"),)}
        assert user({"sub": "alice", "hd": "corp.example"}, **rules).name == "corp:alice"
        for hd in (None, "corp.example ", "CORP.EXAMPLE", ["corp.example"], 1):
            assert '"hd" must be "corp.example"' in refusal({"sub": "alice", "hd": hd}, **rules)
        assert refusal({"sub": "alice"}, **rules)
        # A claim that is not there is not the empty one.
        assert refusal({"sub": "alice"}, claim_rules=(ClaimRule(claim="hd", required_value=""),))

    def test_an_expression_must_be_true_and_its_message_is_told(self) -> None:
        rules = {"claim_rules": (ClaimRule(expression="claims.level > 2", message="ask for level 3"),)}
        assert user({"sub": "alice", "level": 3}, **rules)
        assert "ask for level 3" in refusal({"sub": "alice", "level": 2}, **rules)
        for level in ("3", None, True, [3]):
            assert "cannot be judged" in refusal({"sub": "alice", "level": level}, **rules)

    def test_every_rule_counts(self) -> None:
        rules = tuple(ClaimRule(expression=f"claims.{claim} == 1") for claim in "abc")
        assert user({"sub": "alice", "a": 1, "b": 1, "c": 1}, claim_rules=rules)
        for claim in "abc":
            assert refusal({"sub": "alice", "a": 1, "b": 1, "c": 1, claim: 2}, claim_rules=rules)

    def test_a_rule_about_the_user_sees_the_mapped_names(self) -> None:
        rules = {"user_rules": (UserRule(expression="user.username != 'corp:root'", message="not you"),)}
        assert user({"sub": "alice"}, **rules)
        assert "not you" in refusal({"sub": "root"}, **rules)
        assert "cannot be judged" in refusal(
            {"sub": "alice"}, user_rules=(UserRule(expression="user.extra['a.b/c'].size() == 0"),)
        )


class TestRecorded:
    TEAM = (ExtraMapping(key="corp.example/team", value_expression="claims.team"),)

    @pytest.mark.parametrize("team", ["x" * (MAX_VALUE_CHARACTERS + 1), "a\nb", "\x1b[2J", "\u202e"])
    def test_what_goes_into_the_record_is_short_and_printable(self, team: str) -> None:
        assert refusal({"sub": "alice", "team": team}, extra=self.TEAM)
        assert refusal({"sub": "alice", "uid": team}, uid=ClaimMapping(claim="uid"))

    def test_and_not_without_end(self) -> None:
        team = ["x"] * MOST_EXTRA_VALUES
        assert user({"sub": "alice", "team": team}, extra=self.TEAM).extra == (("corp.example/team", tuple(team)),)
        assert "extra" in refusal({"sub": "alice", "team": [*team, "x"]}, extra=self.TEAM)

    @pytest.mark.parametrize("uid", [None, "", 7, ["7"]])
    def test_a_uid_that_is_mapped_must_be_there(self, uid: object) -> None:
        assert "uid" in refusal({"sub": "alice", "uid": uid}, uid=ClaimMapping(claim="uid"))


def test_an_expression_that_does_not_compile_is_refused_at_once() -> None:
    for changed in (
        {"username": ClaimMapping(expression="claims.")},
        {"groups": ClaimMapping(expression="1")},
        {"claim_rules": (ClaimRule(expression="claims"),)},
        {"user_rules": (UserRule(expression="user"),)},
        {"extra": (ExtraMapping(key="a.b/c", value_expression="x"),)},
    ):
        with pytest.raises(ConditionInvalid):
            ClaimReader(issuer(**changed))
