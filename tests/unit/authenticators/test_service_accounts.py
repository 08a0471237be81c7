"""Whose ServiceAccount token it is: which cluster signed it, for whom, until when, and whether its pod still is."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey
from tests.told_cluster import AUDIENCE, ENDS_AT, ISSUER, MADE_AT, ToldCluster

from narrowgate.authenticators.cluster_tokens import MAX_KEY_AGE, TokenReview
from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected, Unavailable
from narrowgate.authenticators.service_account_rules import ServiceAccountRules, Verify
from narrowgate.authenticators.service_accounts import (
    FRESH_SECONDS,
    MOST_ASKED,
    MOST_REMEMBERED,
    REFUSED_SECONDS,
    SILENT_SECONDS,
    USABLE_SECONDS,
    ServiceAccounts,
)
from narrowgate.core.identity import Identity, Kind

NOW = 5_000.0
BOTH = (Verify.KEYS, Verify.TOKEN_REVIEW)
KEYS_ALONE = (Verify.KEYS,)
REVIEW_ALONE = (Verify.TOKEN_REVIEW,)
WAYS = pytest.mark.parametrize("verify", [BOTH, KEYS_ALONE, REVIEW_ALONE], ids=["both", "keys", "review"])


def gate(*, verify: tuple[Verify, ...] = BOTH, **clusters: ToldCluster) -> ServiceAccounts:
    rules = ServiceAccountRules(audience=AUDIENCE, verify=verify, clusters=tuple(clusters))
    return ServiceAccounts(rules, clusters)


def ask(accounts: ServiceAccounts, token: str, now: float = NOW) -> Answer:
    return asyncio.run(accounts.authenticate(Presented(token), now))


def reason(answer: Answer) -> str:
    assert isinstance(answer, Rejected)
    assert ";" in answer.reason, "what is wrong; what to do"
    return answer.reason


def unsigned(claims: dict[str, Any], **header: Any) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none", **header}, claims))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


# --- who it is


@WAYS
def test_a_projected_token_is_its_workload_of_its_cluster(verify: tuple[Verify, ...]) -> None:
    prod = ToldCluster()
    token = prod.token(jti="j-1")
    answer = ask(gate(verify=verify, prod=prod), token)
    assert answer == Identity(
        kind=Kind.WORKLOAD,
        name="ci/deployer",
        proven_by="service-account",
        credential="sa-j-1",
        cluster="prod",
        claims=(
            ("issuer", ISSUER),
            ("node", "node-1"),
            ("pod", "web-1"),
            ("pod-uid", prod.pods["ci/web-1"]),
            ("serviceaccount-uid", prod.accounts["ci/deployer"]),
        ),
        expires_at=float(ENDS_AT),
        recheck_seconds=10.0,
    )


def test_a_workload_is_in_no_group_of_kubernetes_own() -> None:
    prod = ToldCluster()
    answer = ask(gate(prod=prod), prod.token(groups=["system:masters"]))
    assert isinstance(answer, Identity)
    assert answer.groups == ()


def test_a_token_without_pod_or_id_is_told_apart_by_its_hash() -> None:
    prod = ToldCluster()
    claims = prod.claims(pod="")
    del claims["jti"]
    one, other = (ask(gate(verify=KEYS_ALONE, prod=prod), prod.sign({**claims, "exp": end})) for end in (9_000, 9_001))
    assert isinstance(one, Identity)
    assert isinstance(other, Identity)
    assert one.credential != other.credential
    assert dict(one.claims).keys() == {"issuer", "serviceaccount-uid"}


# --- which cluster


def test_clusters_with_one_issuer_are_told_apart_by_their_keys() -> None:
    prod, staging = ToldCluster(), ToldCluster(key=RSAKey.generate_key(2048, {"kid": "rsa"}))
    accounts = gate(prod=prod, staging=staging)
    for name, cluster in (("prod", prod), ("staging", staging)):
        answer = ask(accounts, cluster.token())
        assert isinstance(answer, Identity)
        assert (answer.name, answer.cluster) == ("ci/deployer", name)


def test_with_the_same_key_id_the_signature_decides() -> None:
    prod, staging = (ToldCluster(key=ECKey.generate_key("P-256", {"kid": "one"})) for _ in range(2))
    answer = ask(gate(prod=prod, staging=staging), staging.token())
    assert isinstance(answer, Identity)
    assert answer.cluster == "staging"


def test_clusters_that_share_issuer_and_key_are_a_doubt() -> None:
    prod = ToldCluster()
    clone = ToldCluster(key=prod.key)
    assert "several clusters" in reason(ask(gate(prod=prod, clone=clone), prod.token()))


def test_a_cluster_that_the_rules_do_not_name_has_no_say() -> None:
    prod = ToldCluster()
    clone = ToldCluster(key=prod.key)
    rules = ServiceAccountRules(clusters=("prod",))
    answer = ask(ServiceAccounts(rules, {"prod": prod, "clone": clone}), prod.token())
    assert isinstance(answer, Identity)
    assert answer.cluster == "prod"
    assert clone.keys_asked + clone.reviews_asked == 0


def test_without_keys_no_cluster_is_shown_a_token_that_may_be_anothers() -> None:
    prod, staging = ToldCluster(), ToldCluster()
    answer = ask(gate(verify=REVIEW_ALONE, prod=prod, staging=staging), prod.token())
    assert "tell them apart" in reason(answer)
    assert prod.reviews_asked + staging.reviews_asked == 0


def test_only_the_cluster_that_signed_a_token_is_shown_it() -> None:
    prod, staging = ToldCluster(), ToldCluster()
    assert isinstance(ask(gate(prod=prod, staging=staging), prod.token()), Identity)
    assert (prod.reviews_asked, staging.reviews_asked) == (1, 0)


@WAYS
def test_a_token_of_a_cluster_that_is_not_registered_is_left_to_others(verify: tuple[Verify, ...]) -> None:
    elsewhere = ToldCluster("https://elsewhere.example")
    accounts = gate(verify=verify, prod=ToldCluster())
    for token in (elsewhere.token(), elsewhere.token(aud=["sts"])):
        assert ask(accounts, token) == NotMine()
    # Now that the issuers are known, nothing of it is looked at.
    assert ask(accounts, elsewhere.token(exp=1)) == NotMine()


def test_a_cluster_that_never_answered_does_not_keep_the_others_waiting() -> None:
    prod, away = ToldCluster(), ToldCluster()
    accounts = gate(prod=prod, away=away)
    assert isinstance(ask(accounts, prod.token()), Identity)
    away.silent = "cluster 'away' is away"
    asked = away.keys_asked
    assert isinstance(ask(accounts, prod.token(), NOW + 200), Identity)
    assert away.keys_asked == asked


# --- attacks


@WAYS
@pytest.mark.parametrize("audience", ["https://kubernetes.default.svc", "other", "", "narrowgate "])
def test_a_token_for_another_audience_opens_nothing(verify: tuple[Verify, ...], audience: str) -> None:
    prod = ToldCluster()
    assert ask(gate(verify=verify, prod=prod), prod.token(aud=[audience])) != NotMine()
    assert isinstance(ask(gate(verify=verify, prod=prod), prod.token(aud=[audience])), Rejected)


@WAYS
def test_a_token_for_the_gate_and_for_the_api_server_is_too_much_in_one(verify: tuple[Verify, ...]) -> None:
    prod = ToldCluster()
    both = prod.token(aud=[AUDIENCE, "https://kubernetes.default.svc"])
    assert "for narrowgate alone" in reason(ask(gate(verify=verify, prod=prod), both))


def test_the_message_says_which_audience_to_project() -> None:
    prod = ToldCluster()
    assert "audience narrowgate" in reason(ask(gate(prod=prod), prod.token(aud=["https://kubernetes.default.svc"])))


@WAYS
def test_what_another_key_signed_opens_nothing(verify: tuple[Verify, ...]) -> None:
    prod, forger = ToldCluster(), ToldCluster()
    for key_id in (prod.key.kid, forger.key.kid):
        forged = prod.sign(prod.claims(), key=forger.key, kid=key_id)
        assert isinstance(ask(gate(verify=verify, prod=prod), forged), Rejected)


@WAYS
def test_what_nobody_signed_opens_nothing(verify: tuple[Verify, ...]) -> None:
    prod = ToldCluster()
    claims = prod.claims()
    head, body, signature = prod.sign(claims).split(".")
    for token in (
        unsigned(claims),
        unsigned(claims, kid=prod.key.kid),
        f"{head}.{body}.",
        f"{head}.{body}.{'A' * 342}",
    ):
        answer = ask(gate(verify=verify, prod=prod), token)
        assert isinstance(answer, Rejected | NotMine)
    assert signature


@WAYS
def test_claims_that_were_changed_open_nothing(verify: tuple[Verify, ...]) -> None:
    prod = ToldCluster()
    token = prod.token()
    other = prod.claims("kube-system/admin")
    head, _, signature = token.split(".")
    body = base64.urlsafe_b64encode(json.dumps(other).encode()).decode().rstrip("=")
    assert isinstance(ask(gate(verify=verify, prod=prod), f"{head}.{body}.{signature}"), Rejected)


@WAYS
def test_an_hmac_with_the_public_key_as_secret_opens_nothing(verify: tuple[Verify, ...]) -> None:
    prod = ToldCluster()
    secret = prod.key.as_pem(private=False)
    signed = unsigned(prod.claims(), alg="HS256", kid=prod.key.kid).rstrip(".")
    tag = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).decode().rstrip("=")
    assert isinstance(ask(gate(verify=verify, prod=prod), f"{signed}.{tag}"), Rejected)


@WAYS
@pytest.mark.parametrize("now", [ENDS_AT, ENDS_AT + 1.0, float("inf"), float("nan")])
def test_an_expired_token_opens_nothing_though_it_was_good(verify: tuple[Verify, ...], now: float) -> None:
    prod = ToldCluster()
    accounts, token = gate(verify=verify, prod=prod), prod.token()
    assert isinstance(ask(accounts, token, ENDS_AT - 1.0), Identity)
    assert "expired on 1970-01-01" in reason(ask(accounts, token, now))


@WAYS
def test_a_token_from_the_future_opens_nothing_yet(verify: tuple[Verify, ...]) -> None:
    prod = ToldCluster()
    for early in ({"nbf": 6_000}, {"iat": 6_000}):
        assert "not valid yet" in reason(ask(gate(verify=verify, prod=prod), prod.token(**early)))
    assert isinstance(ask(gate(verify=verify, prod=prod), prod.token(), MADE_AT - 5.0), Identity)


def test_a_token_from_a_secret_is_refused_with_the_way_out() -> None:
    prod = ToldCluster()
    legacy = {
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:ci:deployer",
        "kubernetes.io/serviceaccount/namespace": "ci",
        "kubernetes.io/serviceaccount/service-account.name": "deployer",
    }
    assert "projected volume" in reason(ask(gate(prod=prod), prod.sign(legacy)))


@WAYS
def test_a_pod_cannot_be_called_otherwise_than_its_cluster_calls_it(verify: tuple[Verify, ...]) -> None:
    prod = ToldCluster()
    claims = prod.claims()
    claims["sub"] = "system:serviceaccount:kube-system:admin"
    assert isinstance(ask(gate(verify=verify, prod=prod), prod.sign(claims)), Rejected)


# --- what its cluster says


@pytest.mark.parametrize("verify", [BOTH, REVIEW_ALONE])
def test_a_deleted_pod_ends_once_its_answer_is_old(verify: tuple[Verify, ...]) -> None:
    prod = ToldCluster()
    accounts, token = gate(verify=verify, prod=prod), prod.token()
    assert isinstance(ask(accounts, token), Identity)
    prod.pods.clear()
    assert isinstance(ask(accounts, token, NOW + FRESH_SECONDS - 0.1), Identity)
    assert "invalidated" in reason(ask(accounts, token, NOW + FRESH_SECONDS))
    assert isinstance(ask(accounts, token, NOW + FRESH_SECONDS + 0.1), Rejected)


def test_a_deleted_account_ends_its_tokens() -> None:
    prod = ToldCluster()
    token = prod.token()
    prod.accounts.clear()
    assert "not found" in reason(ask(gate(prod=prod), token))


def test_an_account_made_anew_under_the_same_name_is_another_one() -> None:
    prod = ToldCluster()
    token = prod.token()
    prod.accounts["ci/deployer"] = "another-uid"
    assert isinstance(ask(gate(prod=prod), token), Rejected)


def test_by_keys_alone_a_deleted_pod_is_good_until_its_token_ends() -> None:
    prod = ToldCluster()
    accounts, token = gate(verify=KEYS_ALONE, prod=prod), prod.token()
    prod.pods.clear()
    assert isinstance(ask(accounts, token), Identity)
    assert prod.reviews_asked == 0


class Lying(ToldCluster):
    """A cluster whose reviews say something else than its tokens."""

    lie: Mapping[str, Any]

    async def review(self, token: str, audience: str) -> TokenReview:
        honest = await super().review(token, audience)
        said = {name: getattr(honest, name) for name in honest.__struct_fields__}
        extra = {**honest.extra, **self.lie.get("extra", {})}
        return TokenReview(**{**said, **self.lie, "extra": extra})


@pytest.mark.parametrize(
    "lie",
    [
        {"authenticated": False},
        {"audiences": ()},
        {"audiences": ("https://kubernetes.default.svc",)},
        {"username": "system:serviceaccount:ci:other"},
        {"username": "system:admin"},
        {"username": ""},
        {"uid": "another"},
        {"uid": ""},
        {"extra": {"authentication.kubernetes.io/pod-name": ("web-2",)}},
        {"extra": {"authentication.kubernetes.io/pod-uid": ("another",)}},
        {"extra": {"authentication.kubernetes.io/node-name": ("node-2",)}},
        {"extra": {"authentication.kubernetes.io/credential-id": ("JTI=another",)}},
    ],
)
def test_a_review_that_says_anything_else_than_the_token_is_a_no(lie: dict[str, Any]) -> None:
    prod = Lying()
    prod.lie = lie
    assert isinstance(ask(gate(prod=prod), prod.token()), Rejected)


def test_an_older_cluster_that_tells_less_is_believed() -> None:
    class Terse(ToldCluster):
        async def review(self, token: str, audience: str) -> TokenReview:
            honest = await super().review(token, audience)
            return TokenReview(authenticated=True, audiences=honest.audiences, username=honest.username, uid=honest.uid)

    prod = Terse()
    assert isinstance(ask(gate(prod=prod), prod.token()), Identity)


# --- keys that change


def test_a_new_key_is_found_without_a_restart() -> None:
    prod = ToldCluster()
    accounts = gate(prod=prod)
    assert isinstance(ask(accounts, prod.token()), Identity)
    prod.key = ECKey.generate_key("P-256", {"kid": "new"})
    prod.published.append(prod.key)
    assert isinstance(ask(accounts, prod.token(), NOW + 5), Identity)


def test_a_key_that_was_taken_away_ends_what_it_signed() -> None:
    prod = ToldCluster()
    accounts, token = gate(verify=KEYS_ALONE, prod=prod), prod.token()
    assert isinstance(ask(accounts, token), Identity)
    prod.published[:] = [ECKey.generate_key("P-256", {"kid": "new"})]
    assert isinstance(ask(accounts, token, NOW + 300 + FRESH_SECONDS), Rejected)


def test_made_up_key_ids_do_not_make_the_gate_fetch_keys_each_time() -> None:
    prod, forger = ToldCluster(), ToldCluster()
    accounts = gate(prod=prod)
    for number in range(50):
        forged = prod.sign(prod.claims(), key=forger.key, kid=f"made-up-{number}")
        assert isinstance(ask(accounts, forged, NOW + number / 100), Rejected)
    assert prod.keys_asked == 1
    assert prod.reviews_asked == 0


# --- a cluster that does not answer


def test_a_silent_cluster_is_no_verdict_on_the_token() -> None:
    prod = ToldCluster()
    prod.silent = "cluster 'prod' is away"
    assert ask(gate(prod=prod), prod.token()) == Unavailable("cluster 'prod' is away")


def test_it_is_asked_again_soon_and_no_restart_is_needed() -> None:
    prod = ToldCluster()
    accounts, token = gate(prod=prod), prod.token()
    assert isinstance(ask(accounts, token), Identity)
    new = prod.token()
    prod.silent = "cluster 'prod' is away"
    assert isinstance(ask(accounts, new), Unavailable)
    prod.silent = ""
    assert isinstance(ask(accounts, new, NOW + SILENT_SECONDS), Identity)


def test_what_was_good_a_moment_ago_stays_good_for_a_moment_and_no_longer() -> None:
    prod = ToldCluster()
    accounts, token = gate(prod=prod), prod.token()
    assert isinstance(ask(accounts, token), Identity)
    prod.silent = "cluster 'prod' is away"
    assert isinstance(ask(accounts, token, NOW + FRESH_SECONDS + 1), Identity)
    assert isinstance(ask(accounts, token, NOW + USABLE_SECONDS - 0.1), Identity)
    assert isinstance(ask(accounts, token, NOW + USABLE_SECONDS), Unavailable)


def test_a_good_token_never_outlives_itself_because_its_cluster_is_silent() -> None:
    prod = ToldCluster()
    accounts, token = gate(prod=prod), prod.token()
    assert isinstance(ask(accounts, token, ENDS_AT - FRESH_SECONDS - 5), Identity)
    prod.silent = "cluster 'prod' is away"
    assert isinstance(ask(accounts, token, ENDS_AT - 1), Identity)
    assert isinstance(ask(accounts, token, ENDS_AT), Rejected)


def test_keys_that_cannot_be_fetched_again_are_used_for_a_while_only() -> None:
    prod = ToldCluster()
    accounts = gate(verify=KEYS_ALONE, prod=prod)
    assert isinstance(ask(accounts, prod.token()), Identity)
    prod.silent = "cluster 'prod' is away"
    assert isinstance(ask(accounts, prod.token(), NOW + MAX_KEY_AGE - 1), Identity)
    assert isinstance(ask(accounts, prod.token(), NOW + MAX_KEY_AGE), Unavailable)


# --- what is remembered


def test_a_known_token_is_answered_without_asking_anybody() -> None:
    prod = ToldCluster()
    accounts, token = gate(prod=prod), prod.token()
    for step in range(20):
        assert isinstance(ask(accounts, token, NOW + step), Identity)
    assert (prod.keys_asked, prod.reviews_asked) == (1, 1)


def test_a_refused_token_is_refused_for_a_moment_without_asking_again() -> None:
    prod = ToldCluster()
    accounts, token = gate(prod=prod), prod.token()
    prod.pods.clear()
    for _ in range(20):
        assert isinstance(ask(accounts, token), Rejected)
    assert prod.reviews_asked == 1
    assert isinstance(ask(accounts, token, NOW + REFUSED_SECONDS), Rejected)
    assert prod.reviews_asked == 2


def test_many_callers_with_one_new_token_make_one_review() -> None:
    prod = ToldCluster()
    accounts, token = gate(prod=prod), prod.token()

    async def at_once() -> list[Answer]:
        return await asyncio.gather(*(accounts.authenticate(Presented(token), NOW) for _ in range(100)))

    assert all(isinstance(answer, Identity) for answer in asyncio.run(at_once()))
    assert prod.reviews_asked == 1


class Slow(ToldCluster):
    """A cluster whose reviews take until they are let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()

    async def review(self, token: str, audience: str) -> TokenReview:
        self.begun.release()
        await self.go_on.wait()
        return await super().review(token, audience)


def test_beyond_what_can_be_looked_at_at_once_new_tokens_wait_and_known_ones_do_not() -> None:
    async def crowded() -> tuple[Answer, Answer]:
        prod = Slow()
        accounts, known = gate(prod=prod), prod.token()
        prod.go_on.set()
        await accounts.authenticate(Presented(known), NOW)
        await prod.begun.acquire()
        prod.go_on.clear()
        later = NOW + FRESH_SECONDS + 1
        async with asyncio.timeout(60), asyncio.TaskGroup() as callers:
            for _ in range(MOST_ASKED):
                callers.create_task(accounts.authenticate(Presented(prod.token()), later))
            for _ in range(MOST_ASKED):
                await prod.begun.acquire()
            answers = [await accounts.authenticate(Presented(token), later) for token in (prod.token(), known)]
            prod.go_on.set()
        return answers[0], answers[1]

    new, known = asyncio.run(crowded())
    assert isinstance(new, Unavailable)
    assert isinstance(known, Identity)


def test_one_caller_who_leaves_takes_no_other_along() -> None:
    async def leave() -> Answer:
        prod = Slow()
        accounts, token = gate(prod=prod), prod.token()
        async with asyncio.timeout(10), asyncio.TaskGroup() as callers:
            first = callers.create_task(accounts.authenticate(Presented(token), NOW))
            await prod.begun.acquire()
            second = callers.create_task(accounts.authenticate(Presented(token), NOW))
            await asyncio.sleep(0)
            first.cancel()
            prod.go_on.set()
        return second.result()

    assert isinstance(asyncio.run(leave()), Identity)


def test_a_flood_of_tokens_is_forgotten_oldest_first() -> None:
    prod = ToldCluster()
    accounts = gate(verify=KEYS_ALONE, prod=prod)
    first = prod.token()
    assert isinstance(ask(accounts, first), Identity)
    # Forged ones, because making good ones takes long; good ones are bounded by the same function.
    head, body, _ = first.split(".")

    async def flood() -> None:
        for number in range(MOST_REMEMBERED + 10):
            signature = base64.urlsafe_b64encode(number.to_bytes(64, "big")).decode().rstrip("=")
            answer = await accounts.authenticate(Presented(f"{head}.{body}.{signature}"), NOW)
            assert isinstance(answer, Rejected)

    asyncio.run(flood())
    assert len(accounts) == MOST_REMEMBERED + 1
    assert isinstance(ask(accounts, first), Identity)
