"""`authentication.jwt`: what an entry means, and what each mistake in it is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.oidc_issuer import Issuer

from narrowgate.authenticators.jwt_issuer import ClaimMapping, ClaimRule, ExtraMapping, JWTIssuer, OIDCLogin, UserRule
from narrowgate.config import ConfigError, parse_config
from narrowgate.core.identity import Kind

HEAD = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\nauthentication:\n  jwt:\n"

WHOLE = """\
    - issuer:
        url: https://login.corp.example/realms/staff
        discoveryURL: https://internal.corp.example/staff/.well-known/openid-configuration
        audiences: [narrowgate, kubernetes]
        audienceMatchPolicy: MatchAny
      claimValidationRules:
        - {claim: hd, requiredValue: corp.example}
        - {expression: "claims.level > 1", message: ask for more}
      claimMappings:
        username: {expression: "'corp:' + claims.email"}
        groups: {claim: groups, prefix: "corp:"}
        uid: {claim: oid}
        extra:
          - {key: corp.example/team, valueExpression: claims.team}
          - {key: corp.example/verified, valueExpression: "claims.email_verified ? 'yes' : 'no'"}
      userValidationRules:
        - {expression: "!user.username.endsWith('@')", message: odd}
      subject: Person
      algorithms: [ES256, EdDSA]
      clockSkew: 1m
      login: {name: corp, title: Corp, clientID: gate, scopes: [openid, groups]}
"""

SMALL = """\
    - issuer: {url: "https://ci.example", audiences: [narrowgate]}
      claimMappings: {username: {claim: sub, prefix: "ci:"}}
"""


def issuers(entries: str, folder: Path = Path("/srv/gate")) -> tuple[JWTIssuer, ...]:
    return parse_config(HEAD + entries, folder / "narrowgate.yaml").authentication.jwt


def complaint(entries: str) -> str:
    with pytest.raises(ConfigError) as caught:
        issuers(entries)
    message = str(caught.value)
    assert message.startswith("/srv/gate/narrowgate.yaml:"), "file and line"
    assert "authentication.jwt[" in message, "the key"
    return message


def test_an_entry_means_what_it_says() -> None:
    (issuer,) = issuers(WHOLE)
    assert issuer == JWTIssuer(
        url="https://login.corp.example/realms/staff",
        discovery_url="https://internal.corp.example/staff/.well-known/openid-configuration",
        audiences=("narrowgate", "kubernetes"),
        username=ClaimMapping(expression="'corp:' + claims.email"),
        groups=ClaimMapping(claim="groups", prefix="corp:"),
        uid=ClaimMapping(claim="oid"),
        extra=(
            ExtraMapping(key="corp.example/team", value_expression="claims.team"),
            ExtraMapping(key="corp.example/verified", value_expression="claims.email_verified ? 'yes' : 'no'"),
        ),
        claim_rules=(
            ClaimRule(claim="hd", required_value="corp.example"),
            ClaimRule(expression="claims.level > 1", message="ask for more"),
        ),
        user_rules=(UserRule(expression="!user.username.endsWith('@')", message="odd"),),
        subject=Kind.PERSON,
        algorithms=("ES256", "EdDSA"),
        clock_skew=60.0,
        login=OIDCLogin(name="corp", title="Corp", client_id="gate", scopes=("openid", "groups")),
        where="/srv/gate/narrowgate.yaml:5: authentication.jwt[0]",
    )


def test_what_may_be_left_out_has_a_meaning() -> None:
    (issuer,) = issuers(SMALL)
    assert issuer.algorithms == ("RS256", "ES256")
    assert issuer.clock_skew == 30.0
    assert issuer.subject is Kind.PERSON
    assert (issuer.groups, issuer.uid, issuer.login) == (None, None, None)
    assert issuer.certificate_authority == ""


def test_nobody_acts_for_the_subjects_unless_it_is_written() -> None:
    assert issuers(SMALL)[0].actors is None
    assert issuers(SMALL + "      actors: Agent\n")[0].actors is Kind.AGENT
    assert issuers(SMALL + "      actors: Person\n")[0].actors is Kind.PERSON
    agents = SMALL.replace('"ci:"', '"ci-"') + "      subject: Agent\n"
    assert issuers(agents + "      actors: Agent\n")[0].actors is Kind.AGENT
    assert "nobody that can act" in complaint(agents + "      actors: Person\n")


def test_a_ca_is_written_out_or_named(tmp_path: Path) -> None:
    pem = Issuer().ca
    (tmp_path / "ca.pem").write_text(pem)
    written = "\n".join(f"          {line}" for line in pem.splitlines())
    for authority in ("ca.pem", f"|\n{written}"):
        entry = SMALL.replace(
            '{url: "https://ci.example", audiences: [narrowgate]}',
            "\n        url: https://ci.example\n        audiences: [narrowgate]"
            f"\n        certificateAuthority: {authority}",
        )
        assert issuers(entry, tmp_path)[0].certificate_authority == pem


@pytest.mark.parametrize(
    ("written", "instead", "says"),
    [
        ("discoveryURL:", "discoveryUrl:", 'unknown key, did you mean "discoveryURL"?'),
        ("clientID:", "clientId:", 'unknown key, did you mean "clientID"?'),
        ("groups: {claim", "groups: {clam", 'unknown key, did you mean "claim"?'),
        ("url: https://login.corp.example/realms/staff", "url: http://login.corp.example", "is no issuer"),
        ("url: https://login.corp.example/realms/staff", "url: https://a@login.corp.example", "is no issuer"),
        ("url: https://login.corp.example/realms/staff", "url: https://login.corp.example/?a", "is no issuer"),
        ("url: https://login.corp.example/realms/staff", 'url: "https://login.corp.example#"', "is no issuer"),
        ("url: https://login.corp.example/realms/staff", 'url: "https://[x"', "is no issuer"),
        ("url: https://login.corp.example/realms/staff", 'url: "https://x/ y"', "is no issuer"),
        ("url: https://login.corp.example/realms/staff", 'url: ""', "is no issuer"),
        ("https://internal.corp.example", "http://internal.corp.example", "discoveryURL"),
        (
            "https://internal.corp.example/staff/.well-known/openid-configuration",
            "https://login.corp.example/realms/staff",
            "leave it out",
        ),
        ("[narrowgate, kubernetes]", "[]", "names none"),
        ("[narrowgate, kubernetes]", "[a, a]", "audiences[1]"),
        ("[narrowgate, kubernetes]", '[""]', "audiences[0]"),
        ("audienceMatchPolicy: MatchAny", "audienceMatchPolicy: MatchAll", "write MatchAny"),
        ("        audienceMatchPolicy: MatchAny\n", "", "audienceMatchPolicy: MatchAny"),
        ("{claim: hd, requiredValue: corp.example}", "{message: x}", "claim or expression"),
        ("{claim: hd, requiredValue: corp.example}", "{claim: a, expression: 'true'}", "claim or expression"),
        ("{claim: hd, requiredValue: corp.example}", "{expression: 'true', requiredValue: a}", "requiredValue"),
        ("claims.level > 1", "claims.level >", "syntax error"),
        ("claims.level > 1", "claim.level > 1", "unknown name"),
        ("claims.level > 1", "'x'", "true or false"),
        ("{expression: \"'corp:' + claims.email\"}", "{}", "claim or expression"),
        ("{expression: \"'corp:' + claims.email\"}", "{claim: sub}", 'prefix: ""'),
        ("{expression: \"'corp:' + claims.email\"}", "{claim: sub, expression: claims.sub}", "claim or expression"),
        ("{expression: \"'corp:' + claims.email\"}", "{expression: claims.sub, prefix: x}", "expression put it"),
        ("{expression: \"'corp:' + claims.email\"}", "{expression: '[claims.sub]'}", "has to be text"),
        ('{claim: groups, prefix: "corp:"}', "{claim: groups}", 'prefix: ""'),
        ('{claim: groups, prefix: "corp:"}', '{claim: groups, prefix: "system:"}', "reserved"),
        ('{claim: groups, prefix: "corp:"}', '{claim: groups, prefix: " "}', "begins or ends"),
        ("{claim: oid}", "{claim: oid, prefix: x}", "no prefix"),
        ("corp.example/team", "team", "is no key"),
        ("corp.example/team", "Corp.example/team", "is no key"),
        ("corp.example/team", "k8s.io/team", "reserved"),
        ("corp.example/team", "auth.kubernetes.io/team", "reserved"),
        ("corp.example/team", "narrowgate.dev/team", "reserved"),
        ("corp.example/team", "corp.example/verified", "there already"),
        ("claims.team", "claims", "list of texts"),
        ("!user.username", "!user.name", "unknown name"),
        ("subject: Person", "subject: person", 'did you mean "Person"?'),
        ("subject: Person", "subject: ServiceAccount", "nobody that a token can stand for"),
        ("subject: Person", "subject: Agent", "take them out"),
        ("subject: Person", "subject: Person\n      actors: agent", 'did you mean "Agent"?'),
        ("subject: Person", "subject: Person\n      actors: ServiceAccount", "nobody that can act for the subjects"),
        ("subject: Person", 'subject: Person\n      actors: "deny"', "nobody that can act for the subjects"),
        ("[ES256, EdDSA]", "[]", "names none"),
        ("[ES256, EdDSA]", "[HS256]", "does not prove who signed"),
        ("[ES256, EdDSA]", "[none]", "does not prove who signed"),
        ("clockSkew: 1m", "clockSkew: 1h", "300 seconds"),
        ("clockSkew: 1m", 'clockSkew: "60"', "not a length of time"),
        ("email_verified", "email_checked", "claims.email_verified"),
        ("        url: https://login.corp.example/realms/staff\n", "", '"url" is missing'),
    ],
)
def test_a_mistake_is_refused_with_its_line_its_key_and_what_to_do(written: str, instead: str, says: str) -> None:
    assert written in WHOLE
    assert says in complaint(WHOLE.replace(written, instead))


@pytest.mark.parametrize("email", ["claims.email", "claims . email", "claims.?email.orValue('')", "claims['email']"])
def test_an_address_names_people_only_with_the_word_that_it_was_verified(email: str) -> None:
    entry = SMALL.replace('{claim: sub, prefix: "ci:"}', f'{{expression: "{email}"}}')
    assert "email_verified" in complaint(entry)
    rule = "\n      claimValidationRules: [{expression: 'claims.?email_verified.orValue(true) == true'}]\n"
    assert issuers(entry.rstrip() + rule)


class TestSeveral:
    """Nobody of one issuer can be taken for somebody of another."""

    OTHER = SMALL.replace("https://ci.example", "https://other.example")

    def test_the_same_issuer_twice_is_refused(self) -> None:
        assert "same issuer as jwt[0]" in complaint(SMALL + SMALL.replace("ci:", "x:"))

    def test_the_same_prefix_twice_is_refused_with_what_to_write(self) -> None:
        assert 'like "corp:" and "partner:"' in complaint(SMALL + self.OTHER)

    def test_the_same_prefix_of_groups_is_refused_too(self) -> None:
        groups = '{username: {claim: sub, prefix: "%s"}, groups: {claim: groups, prefix: ""}}'
        first = SMALL.replace('{username: {claim: sub, prefix: "ci:"}}', groups % "a:")
        second = self.OTHER.replace('{username: {claim: sub, prefix: "ci:"}}', groups % "b:")
        assert "claimMappings.groups.prefix" in complaint(first + second)

    def test_agents_of_two_issuers_are_kept_apart_as_people_are(self) -> None:
        agents = "      subject: Agent\n"
        one, other = SMALL.replace('"ci:"', '"ci-"'), self.OTHER.replace('"ci:"', '"ci-"')
        assert 'like "corp:"' in complaint(one + agents + other + agents)
        assert len(issuers(one + agents + other)) == 2

    def test_a_prefix_that_begins_like_another_is_known_to_the_shorter(self) -> None:
        first, second = issuers(SMALL.replace('"ci:"', '""') + self.OTHER)
        assert first.foreign_prefixes == ("ci:",)
        assert second.foreign_prefixes == ()

    def test_with_expressions_the_operator_keeps_them_apart(self) -> None:
        other = self.OTHER.replace('{claim: sub, prefix: "ci:"}', "{expression: \"'ci:' + claims.sub\"}")
        assert len(issuers(SMALL + other)) == 2

    def test_each_has_its_own_name_to_sign_in_with(self) -> None:
        login = "      login: {name: corp, clientID: gate}\n"
        assert '"corp" is jwt[0] already' in complaint(SMALL + login + self.OTHER.replace("ci:", "x:") + login)


def test_agents_do_not_sign_in_and_have_names_that_can_be_registered() -> None:
    agent = SMALL.replace('"ci:"', '"ci-"') + "      subject: Agent\n"
    assert issuers(agent)[0].subject is Kind.AGENT
    assert "take it out" in complaint(agent + "      login: {name: corp, clientID: gate}\n")
    assert "cannot begin an agent's name" in complaint(SMALL + "      subject: Agent\n")
