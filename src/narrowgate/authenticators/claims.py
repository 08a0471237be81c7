"""From the claims of a verified token to a user: claim rules, mappings, user rules, as the issuer is configured.

The order is Kubernetes' (`apiserver/plugin/pkg/authenticator/token/oidc`): the token's own claims must be as required,
then they are mapped, then the user they make is judged. What cannot be mapped without a doubt is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from narrowgate.authenticators.claim_expressions import ClaimExpression, NoValue, UserExpression, Wanted
from narrowgate.authenticators.jwks import TokenRefused
from narrowgate.authenticators.jwt_issuer import ClaimMapping, ClaimRule, JWTIssuer
from narrowgate.core.identity import Kind
from narrowgate.core.names import agent_name_problem, groups_problem, name_problem

MAX_VALUE_CHARACTERS = 1024
"""Of one claim that goes into the record; subjects have at most 255 (OpenID Connect Core 1.0, section 2)."""

MOST_EXTRA_VALUES = 64
"""Of one token: each is in every entry of the trail about whoever sent it."""

GROUPS_ADVICE = (
    "have the issuer put only the groups of this application into it (Entra ID: assign groups to the application and "
    "emit those), or map roles instead of groups"
)


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a token stands for, by the mappings; every name in it is one that may be vouched for."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


class ClaimReader:
    """The rules and mappings of one issuer, compiled once."""

    def __init__(self, issuer: JWTIssuer) -> None:
        """Raises core.conditions.ConditionInvalid for an expression that cannot be compiled."""
        self._issuer = issuer
        self._rules = tuple((rule, _claim_expression(rule.expression, Wanted.YES_OR_NO)) for rule in issuer.claim_rules)
        self._user_rules = tuple((rule, UserExpression(rule.expression)) for rule in issuer.user_rules)
        self._username = _Mapping(issuer.username, Wanted.TEXT)
        self._groups = _Mapping(issuer.groups, Wanted.TEXTS) if issuer.groups else None
        self._uid = _Mapping(issuer.uid, Wanted.TEXT) if issuer.uid else None
        self._extra = tuple(
            (extra.key, ClaimExpression(extra.value_expression, Wanted.TEXTS)) for extra in issuer.extra
        )

    def user(self, claims: Mapping[str, Any]) -> User:
        """Whom these claims stand for. Raises TokenRefused."""
        for rule, expression in self._rules:
            _require_claim(rule, expression, claims)
        user = User(
            name=self._name(claims),
            groups=self._mapped_groups(claims),
            uid=self._mapped_uid(claims),
            extra=self._mapped_extra(claims),
        )
        self._judge(user)
        return user

    def actor(self, claims: Mapping[str, Any]) -> User:
        """Who an actor is (RFC 8693, section 4.1), by what `act` tells of it: of the sort of the issuer's subjects by
        the mappings of these, and judged as they are; else an agent that is called like its `sub`. Raises TokenRefused.
        """
        if self._issuer.actors is not self._issuer.subject:
            name = str(claims.get("sub", ""))
            if problem := agent_name_problem(name):
                raise TokenRefused(f'says that "{shown(name)}" acts, a name that {problem}; {_ASK}')
            return User(name=name)
        user = User(
            name=self._name(claims),
            groups=self._mapped_groups(claims),
            uid=self._mapped_uid(claims),
            extra=self._mapped_extra(claims),
        )
        self._judge(user)
        return user

    def _judge(self, user: User) -> None:
        """Raise TokenRefused where a user rule does not hold."""
        for user_rule, user_expression in self._user_rules:
            try:
                holds = user_expression.holds(user.name, user.uid, user.groups, dict(user.extra))
            except NoValue as error:
                raise TokenRefused(f"is for a user who cannot be judged ({error}); {_ASK}") from None
            if not holds:
                raise TokenRefused(f"is for a user who is not let in: {_said(user_rule.message, user_rule.expression)}")

    def _name(self, claims: Mapping[str, Any]) -> str:
        if self._issuer.username.claim == "email" and claims.get("email_verified", True) is not True:
            # As Kubernetes does: anybody can write down somebody else's address.
            raise TokenRefused(
                "has an e-mail address that its issuer has not verified (email_verified); verify it there"
            )
        texts = self._username.texts(claims, "user name")
        if len(texts) != 1:
            raise TokenRefused(f"gives no user name ({self._username.called}); {_ASK}")
        name = texts[0]
        is_agent = self._issuer.subject is Kind.AGENT
        if problem := agent_name_problem(name) if is_agent else name_problem(name):
            raise TokenRefused(f'is for "{shown(name)}", a name that {problem}; {_ASK}')
        if name.startswith(self._issuer.foreign_prefixes):
            raise TokenRefused(f'is for "{shown(name)}", a name that begins like those of another issuer; {_ASK}')
        return name

    def _mapped_groups(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        if self._groups is None:
            return ()
        if _is_overage(self._groups.of, claims):
            raise TokenRefused(
                f"does not hold the groups but says where to ask for them (it has too many); {GROUPS_ADVICE}"
            )
        # Twice the same group is the same as once.
        groups = tuple(dict.fromkeys(self._groups.texts(claims, "groups")))
        if problem := groups_problem(groups):
            raise TokenRefused(f"cannot be taken: {shown(problem)}; {GROUPS_ADVICE}")
        for group in groups:
            if group.startswith(self._issuer.foreign_group_prefixes):
                raise TokenRefused(
                    f'is for the group "{shown(group)}", which begins like those of another issuer; {_ASK}'
                )
        return groups

    def _mapped_uid(self, claims: Mapping[str, Any]) -> str:
        if self._uid is None:
            return ""
        texts = self._uid.texts(claims, "uid")
        if len(texts) != 1 or not texts[0]:
            raise TokenRefused(f"gives no uid ({self._uid.called}); {_ASK}")
        return recorded(texts[0], "uid")

    def _mapped_extra(self, claims: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        found = []
        for key, expression in self._extra:
            try:
                values = tuple(recorded(value, key) for value in expression.texts(claims) if value)
            except NoValue as error:
                raise TokenRefused(f"gives nothing for {key} ({error}); {_ASK}") from None
            if values:
                found.append((key, values))
        if sum(len(values) for _, values in found) > MOST_EXTRA_VALUES:
            raise TokenRefused(f"gives more than {MOST_EXTRA_VALUES} extra values; map fewer of its claims")
        return tuple(found)


_ASK = "ask whoever runs the identity provider or this gate"


class _Mapping:
    """One mapping, compiled."""

    def __init__(self, of: ClaimMapping, wanted: Wanted) -> None:
        self.of = of
        self._wanted = wanted
        self._expression = _claim_expression(of.expression, wanted)
        self.called = f'claim "{of.claim}"' if of.claim else "by expression"

    def texts(self, claims: Mapping[str, Any], what: str) -> tuple[str, ...]:
        """The values, prefixed. Raises TokenRefused."""
        if self._expression is not None:
            try:
                return self._expression.texts(claims)
            except NoValue as error:
                raise TokenRefused(f"gives no {what} ({error}); {_ASK}") from None
        value = claims.get(self.of.claim)
        if isinstance(value, str):
            # A prefix alone would be a name that everybody without one shares.
            return (self.of.prefix + value,) if value else ("",)
        if self._wanted is Wanted.TEXTS:
            if value is None:
                return ()
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                return tuple(self.of.prefix + item if item else "" for item in value)
        why = "is not there" if value is None else f"is not {self._wanted.value}"
        raise TokenRefused(f'gives no {what}: its claim "{self.of.claim}" {why}; {_ASK}')


def _claim_expression(text: str, wanted: Wanted) -> ClaimExpression | None:
    return ClaimExpression(text, wanted) if text else None


def _require_claim(rule: ClaimRule, expression: ClaimExpression | None, claims: Mapping[str, Any]) -> None:
    if expression is None:
        if claims.get(rule.claim) != rule.required_value:
            why = _said(rule.message, f'its claim "{rule.claim}" must be "{rule.required_value}"')
            raise TokenRefused(f"is not let in: {why}")
        return
    try:
        holds = expression.holds(claims)
    except NoValue as error:
        raise TokenRefused(f"cannot be judged ({error}); {_ASK}") from None
    if not holds:
        raise TokenRefused(f"is not let in: {_said(rule.message, rule.expression)}")


def _said(message: str, otherwise: str) -> str:
    """What the operator wants the caller to be told, else what is required; and what to do."""
    return f"{message or otherwise}; {_ASK}"


def _is_overage(mapping: ClaimMapping, claims: Mapping[str, Any]) -> bool:
    """Whether groups are left out because there are too many (Entra ID: more than 200), and asked for elsewhere.

    OpenID Connect Core 1.0, section 5.6.2 (`_claim_names`); `hasgroups` stands for it in Entra ID's implicit flow.
    """
    elsewhere: Sequence[Any] = ()
    if isinstance(claims.get("_claim_names"), dict):
        elsewhere = tuple(claims["_claim_names"])
    if claims.get("hasgroups") in (True, "true"):
        elsewhere = (*elsewhere, "groups")
    if mapping.claim:
        return mapping.claim in elsewhere and mapping.claim not in claims
    return any(name in mapping.expression and name not in claims for name in elsewhere)


def recorded(value: str, what: str) -> str:
    """`value`, if it can go into the record as it is. Raises TokenRefused."""
    if len(value) > MAX_VALUE_CHARACTERS or not value.isprintable():
        raise TokenRefused(f'has a value for "{what}" that is too long or not printable; map another claim')
    return value


def shown(text: str) -> str:
    """A foreign text in a message of ours: short, and nothing in it that acts on a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]
