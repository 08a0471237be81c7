"""Who may act for the subject of a token, and what comes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from joserfc import jws
from tests.unit.control.browsing import Answer
from tests.unit.control.oauth.server import AGENT_ISSUER, CLUSTER, ISSUER, URL, Server, error, members

from narrowgate.authenticators.access_credential import Port
from narrowgate.authenticators.port import Rejected
from narrowgate.core.identity import chain_behind

JWT = "urn:ietf:params:oauth:token-type:jwt"
BOT = {"sub": "ci-bot", "iss": AGENT_ISSUER}


@pytest.fixture
def acting(server: Server) -> Server:
    """The agents `ci-bot` and `other` are registered on the cluster `dev`."""
    for name in ("ci-bot", "other"):
        server.key_agent(name)
    return server


def actor(server: Server, name: str = "ci-bot", **claims: Any) -> str:
    return server.id_token(**{"iss": AGENT_ISSUER, "sub": name, **claims})


def exchange(server: Server, may_act: Any, actor_token: str | None = None, /, **fields: str) -> Answer:
    token = server.id_token(may_act=may_act, groups=["dev"])
    given = {"actor_token": actor_token, "actor_token_type": JWT} if actor_token is not None else {}
    return server.exchange(token, **{"resource": CLUSTER, **given, **fields})


def refusal(answer: Answer) -> str:
    assert (answer.status, error(answer)) == (400, "invalid_request"), answer.text
    assert "nga1_" not in answer.text
    return str(json.loads(answer.text)["error_description"])


def test_whoever_may_act_gets_a_credential_that_speaks_for_both(acting: Server) -> None:
    answer = exchange(acting, BOT, actor(acting))
    got = members(answer)
    assert (got["sub"], got["act"]) == ("person:ci:erin", {"sub": "agent:ci-bot"})
    who = acting.opened(answer, Port.KUBERNETES)
    assert [str(one) for one in chain_behind(who)] == ["person:ci:erin", "agent:ci-bot"]
    (subject,) = who.on_behalf_of
    assert (subject.groups, subject.cluster, who.groups, who.owner, who.cluster) == (
        ("ci:dev",), "dev", ("bots",), "person:alice", "dev",
    )  # fmt: skip


def test_it_is_recorded_with_both_before_it_is_given(acting: Server) -> None:
    exchange(acting, BOT, actor(acting))
    (received, durable), _ = acting.journal.entries
    assert (received["stage"], durable, received["user"]["username"]) == ("RequestReceived", True, "agent:ci-bot")
    assert '"person:ci:erin","agent:ci-bot"' in received["annotations"]["narrowgate.dev/chain"].replace(" ", "")


@pytest.mark.parametrize("first", ["subject", "actor"])
def test_it_ends_with_whichever_token_ends_first(acting: Server, first: str) -> None:
    ends, later = int(acting.now) + 100, int(acting.now) + 200
    token = acting.id_token(may_act=BOT, exp=ends if first == "subject" else later)
    by = actor(acting, exp=ends if first == "actor" else later)
    answer = acting.exchange(token, resource=CLUSTER, actor_token=by, actor_token_type=JWT)
    assert acting.opened(answer, Port.KUBERNETES).expires_at == ends


def test_a_pause_of_whoever_acts_is_the_end_of_it(acting: Server) -> None:
    answer = exchange(acting, BOT, actor(acting))
    acting.key_agent("ci-bot", paused=True)
    assert isinstance(acting.presented(members(answer)["access_token"], Port.KUBERNETES), Rejected)


def test_nobody_else_exchanges_it(acting: Server) -> None:
    assert "somebody else" in refusal(exchange(acting, BOT, actor(acting, "other")))
    # Not even its subject, nor whoever has it and nothing else.
    assert "send an actor_token" in refusal(exchange(acting, BOT))
    assert "somebody else" in refusal(exchange(acting, BOT, acting.id_token()))


@pytest.mark.parametrize(
    ("may_act", "claims", "says"),
    [
        ({"sub": "ci-bot"}, {}, "somebody else"),
        ({"sub": "ci-bot", "iss": ISSUER}, {}, "somebody else"),
        ({**BOT, "env": "prod"}, {"env": "test"}, "somebody else"),
        ({**BOT, "env": "prod"}, {}, "somebody else"),
        ({"sub": ""}, {}, "names nobody"),
        ({"iss": AGENT_ISSUER}, {}, "names nobody"),
        ("ci-bot", {}, "no object"),
        ([BOT], {}, "no object"),
        (True, {}, "no object"),
    ],
)
def test_whom_it_does_not_name_in_so_many_words_it_does_not_name(
    acting: Server, may_act: Any, claims: dict[str, Any], says: str
) -> None:
    assert says in refusal(exchange(acting, may_act, actor(acting, **claims)))


def test_every_claim_that_it_names_the_actor_by_counts(acting: Server) -> None:
    assert exchange(acting, {**BOT, "env": "prod"}, actor(acting, env="prod")).status == 200


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"exp": 1_000_000_000}, "expired"),
        ({"aud": "https://kubernetes.default.svc"}, "audience"),
        ({"iss": "https://evil.example"}, "no issuer"),
        ({"act": {"sub": "other"}}, "acts for its subject"),
        ({"sub": "ghost"}, "no agent"),
    ],
)
def test_an_actor_token_that_is_not_good_proves_nobody(acting: Server, claims: dict[str, Any], says: str) -> None:
    assert says in refusal(exchange(acting, BOT, actor(acting, **claims)))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"actor_token_type": ""}, "actor_token_type"),
        ({"actor_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "actor_token_type"),
        ({"actor_token": "nga1_x.y"}, "no signed JWT"),
    ],
)
def test_what_is_no_token_is_refused(acting: Server, fields: dict[str, str], says: str) -> None:
    assert says in refusal(exchange(acting, BOT, actor(acting), **fields))


def test_what_a_forger_signs_is_nobodys(acting: Server) -> None:
    token = actor(acting)
    assert "not good" in refusal(exchange(acting, BOT, token[:-8] + "AAAAAAAA"))


def test_nobody_acts_for_themselves(acting: Server) -> None:
    token = acting.id_token(iss=AGENT_ISSUER, sub="ci-bot", may_act=BOT)
    answer = acting.exchange(token, resource=CLUSTER, actor_token=actor(acting), actor_token_type=JWT)
    assert "in the chain" in refusal(answer)


def test_it_opens_clusters_and_not_the_gates_own_api(acting: Server) -> None:
    answer = exchange(acting, BOT, actor(acting), resource=URL)
    assert (answer.status, error(answer)) == (400, "invalid_target")


def test_nor_a_cluster_that_one_of_them_does_not_open(acting: Server) -> None:
    answer = exchange(acting, BOT, actor(acting), resource=CLUSTER.replace("dev", "prod"))
    assert (answer.status, error(answer)) == (400, "invalid_target")
    assert "agent:ci-bot opens cluster" in answer.text


def test_what_comes_of_it_cannot_be_exchanged_again(acting: Server) -> None:
    got = members(exchange(acting, BOT, actor(acting)))["access_token"]
    assert error(acting.exchange(got, resource=CLUSTER)) == "invalid_request"
    assert "no signed JWT" in refusal(exchange(acting, BOT, got))


@pytest.mark.parametrize("fields", [{"actor_token": "x"}, {"actor_token_type": JWT}])
def test_where_nobody_is_named_an_actor_has_no_meaning(acting: Server, fields: dict[str, str]) -> None:
    assert "has no meaning here" in refusal(acting.exchange(acting.id_token(), resource=CLUSTER, **fields))


@pytest.mark.parametrize("depth", [100, 450, 900, 990, 5_000])
def test_claims_that_are_nested_deeply_are_compared_or_refused(acting: Server, depth: int) -> None:
    key, header = acting.issuer_key, {"alg": "ES256", "kid": "one"}
    usual = f'"aud":"{URL}","exp":{int(acting.now) + 300}'
    deep = "[" * depth + "1" + "]" * depth
    subject = (
        f'{{"iss":"{ISSUER}","sub":"erin",{usual},"may_act":{{"sub":"ci-bot","iss":"{AGENT_ISSUER}","x":{deep}}}}}'
    )
    token = f'{{"iss":"{AGENT_ISSUER}","sub":"ci-bot",{usual},"x":{deep}}}'
    made = [jws.serialize_compact(header, text.encode(), key, algorithms=["ES256"]) for text in (subject, token)]
    answer = acting.exchange(made[0], resource=CLUSTER, actor_token=made[1], actor_token_type=JWT)
    assert answer.status in (200, 400), answer.text
