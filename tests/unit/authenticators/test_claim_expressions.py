"""CEL over claims and users: what is refused when it is written, and what counts as no when it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.authenticators.claim_expressions import ClaimExpression, NoValue, UserExpression, Wanted
from narrowgate.core.conditions import MAX_CONDITION_CHARS, ConditionInvalid

CLAIMS = {
    "sub": "alice",
    "email": "alice@corp.example",
    "email_verified": True,
    "groups": ["sre", "dev"],
    "level": 3,
    "roles": "admin,dev",
    "nothing": None,
    "address": {"country": "DE", "tags": ["a", 1]},
}


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("claims.sub", ("alice",)),
        ("'corp:' + claims.sub", ("corp:alice",)),
        ("claims.groups", ("sre", "dev")),
        ("claims.groups.map(g, 'corp:' + g)", ("corp:sre", "corp:dev")),
        ("claims.roles.split(',')", ("admin", "dev")),
        ("claims.groups.filter(g, g != 'dev')", ("sre",)),
        ("claims.?team.orValue('none')", ("none",)),
        ("claims.?groups.orValue([])", ("sre", "dev")),
        ("claims.nothing", ()),
        ("[]", ()),
        ("claims.address.country", ("DE",)),
        ("claims.email_verified ? claims.email : ''", ("alice@corp.example",)),
    ],
)
def test_an_expression_gives_texts(text: str, texts: tuple[str, ...]) -> None:
    assert ClaimExpression(text, Wanted.TEXTS).texts(CLAIMS) == texts


@pytest.mark.parametrize(
    "text",
    [
        "claims.level",
        "claims.missing",
        "claims.address",
        "claims.address.tags",
        "claims.email_verified",
        "claims.sub.x",
    ],
)
def test_what_is_no_text_is_no_value(text: str) -> None:
    with pytest.raises(NoValue):
        ClaimExpression(text, Wanted.TEXTS).texts(CLAIMS)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("claims.email_verified == true", True),
        ("claims.level >= 3 && 'sre' in claims.groups", True),
        ("has(claims.missing)", False),
        ("claims.email.endsWith('@corp.example')", True),
        ("claims.email.matches('^[^@]+@corp[.]example$')", True),
        ("claims.?missing.orValue(true) == true", True),
        ("claims.email_verified", True),
        ("claims.sub == 'bob'", False),
    ],
)
def test_a_rule_is_true_or_false(text: str, holds: bool) -> None:
    assert ClaimExpression(text, Wanted.YES_OR_NO).holds(CLAIMS) is holds


@pytest.mark.parametrize(
    "text", ["claims.sub", "claims.level", "claims.missing == 1", "claims.groups", "claims.nothing"]
)
def test_what_is_neither_is_no_value_and_never_true(text: str) -> None:
    with pytest.raises(NoValue):
        ClaimExpression(text, Wanted.YES_OR_NO).holds(CLAIMS)


@pytest.mark.parametrize(
    ("text", "wanted", "says"),
    [
        ("", Wanted.TEXT, "empty"),
        ("  ", Wanted.YES_OR_NO, "empty"),
        ("claims.sub ==", Wanted.YES_OR_NO, "syntax error"),
        ("claim.sub == 'x'", Wanted.YES_OR_NO, "unknown name"),
        ("user.username == 'x'", Wanted.YES_OR_NO, "unknown name"),
        ("'x' + 1", Wanted.TEXT, "overload"),
        ("claims.sub == 'x'", Wanted.TEXT, "has to be text"),
        ("['x']", Wanted.TEXT, "has to be text"),
        ("[1]", Wanted.TEXTS, "list of texts"),
        ("'x'", Wanted.YES_OR_NO, "true or false"),
        ("claims.?sub", Wanted.TEXT, "has to be text"),
        ("x" * (MAX_CONDITION_CHARS + 1), Wanted.TEXT, "at most"),
    ],
)
def test_what_can_never_be_right_is_refused_when_it_is_written(text: str, wanted: Wanted, says: str) -> None:
    with pytest.raises(ConditionInvalid, match=says):
        ClaimExpression(text, wanted)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "admin\0of nothing"},
        {"sub": "x", "a\0b": 1},
        {"sub": 2**70},
        {"sub": "x", "other": 2**70},
        {"sub": "x", "deep": [[[[]]]] * 1},
        {"sub": "\ud800"},
    ],
    ids=["a NUL", "a NUL in a name", "a huge number", "a huge number elsewhere", "fine", "half a letter"],
)
def test_claims_that_the_evaluator_would_misread_are_not_evaluated(claims: dict[str, Any]) -> None:
    expression = ClaimExpression("claims.sub", Wanted.TEXTS)
    if "deep" in claims:
        assert expression.texts(claims) == ("x",)
        return
    with pytest.raises(NoValue):
        expression.texts(claims)


def test_claims_nested_without_end_do_not_end_the_process() -> None:
    deep: Any = []
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(NoValue, match="nested"):
        ClaimExpression("claims.sub", Wanted.TEXTS).texts({"sub": "x", "deep": deep})


def test_an_evaluation_comes_to_an_end() -> None:
    claims = {"groups": [f"g{number}" for number in range(1000)]}
    nested = "claims.groups.all(a, claims.groups.all(b, claims.groups.all(c, a + b + c != '')))"
    with pytest.raises(NoValue, match="budget"):
        ClaimExpression(nested, Wanted.YES_OR_NO).holds(claims)


def test_a_user_is_judged_by_name_groups_uid_and_extra() -> None:
    rule = UserExpression(
        "!user.username.startsWith('x') && user.groups.all(g, g != 'root') && user.uid == '7' "
        "&& 'red' in user.extra['corp.example/team']"
    )
    extra = {"corp.example/team": ("red", "blue")}
    assert rule.holds("alice", "7", ("sre",), extra) is True
    assert rule.holds("xenia", "7", ("sre",), extra) is False
    assert rule.holds("alice", "7", ("sre", "root"), extra) is False
    with pytest.raises(NoValue):
        rule.holds("alice", "7", ("sre",), {})


def test_a_rule_about_users_knows_their_fields() -> None:
    for text in ("user.name == 'x'", "user.username", "claims.sub == 'x'", "user.groups == 1"):
        with pytest.raises(ConditionInvalid):
            UserExpression(text)
