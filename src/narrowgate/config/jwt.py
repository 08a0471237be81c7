"""`authentication.jwt`: shaped like Kubernetes' AuthenticationConfiguration, read into `JWTIssuer` values.

Keys and rules are those of `JWTAuthenticator` in apiserver.config.k8s.io/v1
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration), so that an
entry written for an API server works here; `subject`, `actors`, `algorithms`, `clockSkew` and `login` are ours.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import msgspec

from narrowgate.authenticators.claim_expressions import ClaimExpression, UserExpression, Wanted
from narrowgate.authenticators.jwt_issuer import (
    DEFAULT_ALGORITHMS,
    DEFAULT_CLOCK_SKEW,
    KNOWN_ALGORITHMS,
    ClaimMapping,
    ClaimRule,
    ExtraMapping,
    JWTIssuer,
    OIDCLogin,
    UserRule,
)
from narrowgate.config.document import Document, Path_, suggestion
from narrowgate.config.oidc_login import LoginEntry, read_login
from narrowgate.config.pem import read_authority
from narrowgate.core.conditions import ConditionInvalid
from narrowgate.core.duration import seconds_of
from narrowgate.core.identity import Kind
from narrowgate.core.names import name_problem

MOST_CLOCK_SKEW = 300
"""Seconds. Five minutes is what Kerberos grants; a clock that differs by more is to be mended."""

ANY_AUDIENCE = "MatchAny"
"""The one `audienceMatchPolicy` there is: it must be written where there are several audiences."""

RESERVED_DOMAINS = ("kubernetes.io", "k8s.io", "narrowgate.dev")
"""Extra keys below these mean something already."""

_EXTRA_KEY = re.compile(
    r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(?:\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)/[-a-z0-9._/]{1,63}"
)
"""A DNS name, and a path below it, lower case: Kubernetes asks for the same."""

_AGENT_PREFIX = re.compile(r"([a-z0-9][-a-z0-9]*)?")
_EMAIL = re.compile(r"claims\s*(\.\s*\??\s*email\b|\[\s*[\"']email[\"'])")


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Keys as written: camelCase with Kubernetes' spellings, unknown ones refused."""


class IssuerEntry(_Shape, frozen=True, kw_only=True):
    """`issuer` as written."""

    url: str
    discovery_url: str = msgspec.field(default="", name="discoveryURL")
    certificate_authority: str = ""
    audiences: list[str]
    audience_match_policy: str = ""


class RuleEntry(_Shape, frozen=True, kw_only=True):
    """One of `claimValidationRules` as written."""

    claim: str = ""
    required_value: str | None = None
    expression: str = ""
    message: str = ""


class UserRuleEntry(_Shape, frozen=True, kw_only=True):
    """One of `userValidationRules` as written."""

    expression: str
    message: str = ""


class MappingEntry(_Shape, frozen=True, kw_only=True):
    """`username`, `groups` or `uid` of `claimMappings` as written."""

    claim: str = ""
    prefix: str | None = None
    """None: not written, which is something else than none."""
    expression: str = ""


class ExtraEntry(_Shape, frozen=True, kw_only=True):
    """One of `claimMappings.extra` as written."""

    key: str
    value_expression: str


class MappingsEntry(_Shape, frozen=True, kw_only=True):
    """`claimMappings` as written."""

    username: MappingEntry
    groups: MappingEntry | None = None
    uid: MappingEntry | None = None
    extra: list[ExtraEntry] = []


class JWTEntry(_Shape, frozen=True, kw_only=True):
    """One entry as written."""

    issuer: IssuerEntry
    claim_validation_rules: list[RuleEntry] = []
    claim_mappings: MappingsEntry
    user_validation_rules: list[UserRuleEntry] = []
    subject: str = Kind.PERSON.value
    actors: str = ""
    algorithms: list[str] = msgspec.field(default_factory=lambda: list(DEFAULT_ALGORITHMS))
    clock_skew: str = f"{DEFAULT_CLOCK_SKEW:.0f}s"
    login: LoginEntry | None = None


def read_jwt_issuers(
    document: Document,
    here: Path_,
    written: Sequence[JWTEntry],
    folder: Path,
    others: Sequence[str] = (),
    other_groups: Sequence[str] = (),
) -> tuple[JWTIssuer, ...]:
    """The issuers, checked. Raises ConfigError with file, line and key.

    `others` are the user name prefixes of further sources of people (SAML), `other_groups` their groups': none of ours
    may be taken for theirs.
    """
    issuers = tuple(_Entry(document, (*here, index), folder).issuer(entry) for index, entry in enumerate(written))
    for index, issuer in enumerate(issuers):
        for earlier, other in enumerate(issuers[:index]):
            _check_apart(document, (*here, index), issuer, other, f"jwt[{earlier}]")
    return tuple(_kept_apart(issuer, issuers, others, other_groups) for issuer in issuers)


def _check_apart(document: Document, here: Path_, issuer: JWTIssuer, other: JWTIssuer, earlier: str) -> None:
    """That two issuers are two, and that nobody of the one can be taken for somebody of the other."""
    if issuer.url == other.url:
        document.refuse((*here, "issuer", "url"), f"the same issuer as {earlier}; put both into one entry")
    if issuer.discovery_url and issuer.discovery_url == other.discovery_url:
        document.refuse((*here, "issuer", "discoveryURL"), f"the same as {earlier}; each issuer has its own")
    if issuer.login and other.login and issuer.login.name == other.login.name:
        document.refuse((*here, "login", "name"), f'"{issuer.login.name}" is {earlier} already; give it another name')
    if issuer.subject is not other.subject:
        return
    for key, one, two in (("username", issuer.username, other.username), ("groups", issuer.groups, other.groups)):
        # With an expression it is the operator who keeps them apart.
        if one and two and one.claim and two.claim and one.prefix == two.prefix:
            document.refuse(
                (*here, "claimMappings", key, "prefix"),
                f'"{one.prefix}" is the prefix of {earlier} too, so that somebody of the one could be taken for '
                'somebody of the other; give each its own, like "corp:" and "partner:"',
            )


def _kept_apart(
    issuer: JWTIssuer, issuers: Sequence[JWTIssuer], others: Sequence[str], other_groups: Sequence[str]
) -> JWTIssuer:
    """The issuer, knowing which names look like those of another: where a longer prefix begins with its own."""
    same = [other for other in issuers if other.subject is issuer.subject]
    users = {other.username.prefix for other in same if other.username.claim}
    groups = {other.groups.prefix for other in same if other.groups and other.groups.claim}
    if issuer.subject is Kind.PERSON:
        users |= set(others)
        groups |= set(other_groups)
    return msgspec.structs.replace(
        issuer,
        foreign_prefixes=_longer(users, issuer.username),
        foreign_group_prefixes=_longer(groups, issuer.groups),
    )


def _longer(prefixes: Collection[str], own: ClaimMapping | None) -> tuple[str, ...]:
    if own is None or not own.claim:
        return ()
    return tuple(sorted(prefix for prefix in prefixes if prefix.startswith(own.prefix) and prefix != own.prefix))


class _Entry:
    """One entry on its way to a JWTIssuer: where it stands, and how complaints about it are placed."""

    def __init__(self, document: Document, here: Path_, folder: Path) -> None:
        self._document = document
        self._here = here
        self._folder = folder

    def issuer(self, written: JWTEntry) -> JWTIssuer:
        subject = self._subject(written)
        mappings = written.claim_mappings
        self._check_email(written)
        return JWTIssuer(
            url=self._url(written.issuer.url, "url"),
            discovery_url=self._discovery_url(written.issuer),
            certificate_authority=read_authority(
                self._document, (*self._here, "issuer", "certificateAuthority"),
                written.issuer.certificate_authority, self._folder,
            ),
            audiences=self._audiences(written.issuer),
            username=self._username(mappings.username, subject),
            groups=self._mapping(mappings.groups, "groups", Wanted.TEXTS) if mappings.groups else None,
            uid=self._uid(mappings.uid) if mappings.uid else None,
            extra=self._extra(mappings.extra),
            claim_rules=self._claim_rules(written.claim_validation_rules),
            user_rules=self._user_rules(written.user_validation_rules),
            subject=subject,
            actors=self._actors(written.actors, subject),
            algorithms=self._algorithms(written.algorithms),
            clock_skew=self._clock_skew(written.clock_skew),
            login=self._login(written.login),
            where=self._document.place(self._here),
        )  # fmt: skip

    def _refuse(self, complaint: str, *path: str | int) -> NoReturn:
        self._document.refuse((*self._here, *path), complaint)

    def _subject(self, written: JWTEntry) -> Kind:
        known = {kind.value: kind for kind in (Kind.PERSON, Kind.AGENT)}
        if written.subject not in known:
            self._refuse(
                f'"{written.subject}" is nobody that a token can stand for{suggestion(written.subject, known)}',
                "subject",
            )
        subject = known[written.subject]
        if subject is Kind.AGENT and written.claim_mappings.groups:
            self._refuse("an agent's groups are those it is registered with; take them out", "claimMappings", "groups")
        if subject is Kind.AGENT and written.login:
            self._refuse("agents do not sign in in a browser; take it out, or write subject: Person", "login")
        return subject

    def _actors(self, written: str, subject: Kind) -> Kind | None:
        """What acts for the subjects; None where nobody may."""
        known = {kind.value: kind for kind in (subject, Kind.AGENT)}
        if written and written not in known:
            self._refuse(
                f'"{written}" is nobody that can act for the subjects of this issuer{suggestion(written, known)}',
                "actors",
            )
        return known[written] if written else None

    def _url(self, url: str, key: str) -> str:
        """As Kubernetes checks it: https, and nothing in it that is no part of an issuer's name."""
        try:
            parts = urlsplit(url)
            fine = parts.scheme == "https" and parts.hostname and parts.username is None and parts.port != 0
        except ValueError:
            fine = False
        if not fine or "?" in url or "#" in url or not url.isascii() or not url.isprintable() or " " in url:
            self._refuse(
                f'"{url}" is no issuer; write https://host/path, without user, query and fragment', "issuer", key
            )
        return url

    def _discovery_url(self, written: IssuerEntry) -> str:
        if not written.discovery_url:
            return ""
        if written.discovery_url == written.url:
            self._refuse("the same as url; leave it out", "issuer", "discoveryURL")
        return self._url(written.discovery_url, "discoveryURL")

    def _audiences(self, written: IssuerEntry) -> tuple[str, ...]:
        if not written.audiences:
            self._refuse("names none; write what tokens for this gate carry in aud", "issuer", "audiences")
        for index, audience in enumerate(written.audiences):
            if not audience or audience in written.audiences[:index]:
                self._refuse("empty, or there twice; write each audience once", "issuer", "audiences", index)
        policy = written.audience_match_policy
        if policy not in ("", ANY_AUDIENCE):
            self._refuse(f'"{policy}" is not known here; write {ANY_AUDIENCE}', "issuer", "audienceMatchPolicy")
        if len(written.audiences) > 1 and not policy:
            self._refuse(
                f"several audiences need audienceMatchPolicy: {ANY_AUDIENCE} beside them, as in Kubernetes; add it",
                "issuer", "audiences",
            )  # fmt: skip
        return tuple(written.audiences)

    def _username(self, written: MappingEntry, subject: Kind) -> ClaimMapping:
        mapping = self._mapping(written, "username", Wanted.TEXT)
        if subject is Kind.AGENT and not _AGENT_PREFIX.fullmatch(mapping.prefix):
            self._refuse(
                f'"{mapping.prefix}" cannot begin an agent\'s name; use lower case letters, digits and "-"',
                "claimMappings", "username", "prefix",
            )  # fmt: skip
        return mapping

    def _uid(self, written: MappingEntry) -> ClaimMapping:
        if written.prefix is not None:
            self._refuse("a uid has no prefix; take it out", "claimMappings", "uid", "prefix")
        return self._mapping(msgspec.structs.replace(written, prefix="" if written.claim else None), "uid", Wanted.TEXT)

    def _mapping(self, written: MappingEntry, name: str, wanted: Wanted) -> ClaimMapping:
        here = ("claimMappings", name)
        if bool(written.claim) == bool(written.expression):
            self._refuse("needs either claim or expression; write one of them", *here)
        if written.expression:
            if written.prefix is not None:
                self._refuse("goes with claim only; let the expression put it before the name", *here, "prefix")
            self._compile(written.expression, wanted, *here, "expression")
        elif written.prefix is None:
            self._refuse('needs a prefix beside claim; write prefix: "corp:", or prefix: "" for none', *here)
        # A prefix alone is not a name; with any letter after it, it must be able to become one.
        elif problem := name_problem(written.prefix + "x"):
            self._refuse(f'"{written.prefix}" cannot begin a name: it {problem}', *here, "prefix")
        return ClaimMapping(claim=written.claim, prefix=written.prefix or "", expression=written.expression)

    def _extra(self, written: Sequence[ExtraEntry]) -> tuple[ExtraMapping, ...]:
        for index, extra in enumerate(written):
            here = ("claimMappings", "extra", index)
            match = _EXTRA_KEY.fullmatch(extra.key)
            if match is None:
                self._refuse(f'"{extra.key}" is no key; write it like corp.example/team, in lower case', *here, "key")
            elif any(match[1] == domain or match[1].endswith(f".{domain}") for domain in RESERVED_DOMAINS):
                self._refuse(f'"{extra.key}" is reserved; use a domain of yours', *here, "key")
            if extra.key in [other.key for other in written[:index]]:
                self._refuse(f'"{extra.key}" is there already; write each key once', *here, "key")
            self._compile(extra.value_expression, Wanted.TEXTS, *here, "valueExpression")
        return tuple(ExtraMapping(key=extra.key, value_expression=extra.value_expression) for extra in written)

    def _claim_rules(self, written: Sequence[RuleEntry]) -> tuple[ClaimRule, ...]:
        seen: set[str] = set()
        for index, rule in enumerate(written):
            here = ("claimValidationRules", index)
            if bool(rule.claim) == bool(rule.expression):
                self._refuse("needs either claim or expression; write one of them", *here)
            if rule.expression and rule.required_value is not None:
                self._refuse("goes with claim only; compare in the expression", *here, "requiredValue")
            if rule.claim in seen:
                self._refuse(f'"{rule.claim}" has a rule already; use an expression for both', *here, "claim")
            if rule.expression:
                self._compile(rule.expression, Wanted.YES_OR_NO, *here, "expression")
            else:
                seen.add(rule.claim)
        return tuple(
            ClaimRule(
                claim=rule.claim,
                required_value=rule.required_value or "",
                expression=rule.expression,
                message=rule.message,
            )
            for rule in written
        )

    def _user_rules(self, written: Sequence[UserRuleEntry]) -> tuple[UserRule, ...]:
        for index, rule in enumerate(written):
            try:
                UserExpression(rule.expression)
            except ConditionInvalid as error:
                self._refuse(error.message, "userValidationRules", index, "expression")
        return tuple(UserRule(expression=rule.expression, message=rule.message) for rule in written)

    def _check_email(self, written: JWTEntry) -> None:
        """As Kubernetes: whoever names people by an address that nobody verified lets them choose whom to be."""
        mappings = written.claim_mappings
        looks = [extra.value_expression for extra in mappings.extra]
        looks += [mappings.username.expression, *(rule.expression for rule in written.claim_validation_rules)]
        if _EMAIL.search(mappings.username.expression) and not any("email_verified" in text for text in looks):
            self._refuse(
                "uses claims.email, which anybody may have typed in; require claims.email_verified too, for example in "
                "claimValidationRules: claims.?email_verified.orValue(true) == true",
                "claimMappings", "username", "expression",
            )  # fmt: skip

    def _algorithms(self, written: Sequence[str]) -> tuple[str, ...]:
        if not written:
            self._refuse(f"names none; leave the key out for {' and '.join(DEFAULT_ALGORITHMS)}", "algorithms")
        for index, algorithm in enumerate(written):
            if algorithm not in KNOWN_ALGORITHMS:
                known = ", ".join(KNOWN_ALGORITHMS)
                self._refuse(f'"{algorithm}" does not prove who signed; allowed are {known}', "algorithms", index)
        return tuple(dict.fromkeys(written))

    def _clock_skew(self, written: str) -> float:
        try:
            seconds = seconds_of(written)
        except ValueError as error:
            self._refuse(str(error), "clockSkew")
        if seconds > MOST_CLOCK_SKEW:
            self._refuse(f"expected {MOST_CLOCK_SKEW} seconds at most; set the clocks right instead", "clockSkew")
        return float(seconds)

    def _login(self, written: LoginEntry | None) -> OIDCLogin | None:
        return read_login(self._document, (*self._here, "login"), written, self._folder) if written else None

    def _compile(self, expression: str, wanted: Wanted, *path: str | int) -> None:
        try:
            ClaimExpression(expression, wanted)
        except ConditionInvalid as error:
            self._refuse(error.message, *path)
