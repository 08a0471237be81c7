"""What the gate makes of an API server that does not answer as it should: silence, with a reason, and never a yes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.proxy.loopback import UPSTREAM_TOKEN, Message, Peer, Play, Script, access_to, api_server, run

from narrowgate.authenticators.cluster_tokens import ClusterSilent, TokenReview
from narrowgate.proxy.accounts import account_for
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.token_reviews import DISCOVERY_PATH, KEYS_PATH, REVIEWS_PATH, TokenReviews

GOOD = {
    "kind": "TokenReview",
    "status": {
        "authenticated": True,
        "audiences": ["narrowgate"],
        "user": {"username": "system:serviceaccount:ci:x", "uid": "u", "groups": ["g"], "extra": {"k": ["v"]}},
    },
}


def answering(status: int, body: Any) -> Play:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            await script.take(peer)
            await peer.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(content), content))

    return play


def asked(folder: Path, play: Play, question: Callable[[TokenReviews], Awaitable[Any]]) -> tuple[Any, list[Message]]:
    async def main() -> tuple[Any, list[Message]]:
        async with api_server(folder, play) as server:
            cluster = Cluster(access_to(server))
            account_for(cluster, str)
            try:
                return await question(TokenReviews(cluster)), server.received
            finally:
                cluster.close()

    return run(main())


def review(tokens: TokenReviews) -> Awaitable[TokenReview]:
    return tokens.review("a.b.c", "narrowgate")


def silence(folder: Path, play: Play, question: Callable[[TokenReviews], Awaitable[Any]]) -> str:
    with pytest.raises(ClusterSilent) as caught:
        asked(folder, play, question)
    text = str(caught.value)
    assert text.startswith("cluster 'dev' cannot say now whose token this is: ")
    assert UPSTREAM_TOKEN not in text
    assert "a.b.c" not in text
    return text


def test_a_review_asks_for_one_audience_as_the_gate_itself(tmp_path: Path) -> None:
    found, received = asked(tmp_path, answering(201, GOOD), review)
    assert found == TokenReview(
        authenticated=True,
        audiences=("narrowgate",),
        username="system:serviceaccount:ci:x",
        uid="u",
        extra={"k": ("v",)},
    )
    (request,) = received
    assert (request.method, request.target) == ("POST", REVIEWS_PATH)
    assert request.fields["authorization"] == f"Bearer {UPSTREAM_TOKEN}"
    assert "impersonate-user" not in request.fields
    assert json.loads(request.body)["spec"] == {"token": "a.b.c", "audiences": ["narrowgate"]}


def test_an_answer_without_a_verdict_is_a_no(tmp_path: Path) -> None:
    found, _ = asked(tmp_path, answering(201, {"status": {}}), review)
    assert found == TokenReview()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, {}, "narrowgate clusters manifests dev | kubectl apply -f -"),
        (401, {}, "narrowgate clusters manifests dev | kubectl apply -f -"),
        (500, {}, "answers 500"),
        (404, {}, "answers 404"),
        (302, {}, "answers 302"),
        (201, b"nonsense", "cannot be read"),
        (201, {}, "cannot be read"),
        (201, {"status": {"authenticated": "true"}}, "cannot be read"),
        (201, {"status": {"authenticated": 1}}, "cannot be read"),
        (201, {"status": {"authenticated": True, "audiences": "narrowgate"}}, "cannot be read"),
        (201, [GOOD], "cannot be read"),
    ],
)
def test_any_other_answer_to_a_review_is_no_answer(tmp_path: Path, status: int, body: Any, said: str) -> None:
    assert said in silence(tmp_path, answering(status, body), review)


def test_issuer_and_keys_are_read_where_the_api_server_has_them(tmp_path: Path) -> None:
    document = {"issuer": "https://issuer.example", "jwks_uri": "https://elsewhere.example/keys"}
    issuer, first = asked(tmp_path, answering(200, document), lambda tokens: tokens.issuer())
    keys, second = asked(tmp_path, answering(200, b'{"keys":[]}'), lambda tokens: tokens.keys())
    assert (issuer, keys) == ("https://issuer.example", b'{"keys":[]}')
    assert [request.target for request in (*first, *second)] == [DISCOVERY_PATH, KEYS_PATH]
    assert "application/jwk-set+json" in second[0].fields["accept"]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, {}, "system:service-account-issuer-discovery"),
        (404, {}, "answers 404"),
        (200, b"nonsense", "names no issuer"),
        (200, {"issuer": 7}, "names no issuer"),
        (200, {}, "names no issuer"),
    ],
)
def test_an_issuer_that_cannot_be_read_is_silence_with_what_to_do(
    tmp_path: Path, status: int, body: Any, said: str
) -> None:
    assert said in silence(tmp_path, answering(status, body), lambda tokens: tokens.issuer())


def test_a_cluster_that_breaks_off_is_silent(tmp_path: Path) -> None:
    async def hang_up(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        peer.cut()

    assert silence(tmp_path, hang_up, review)


def test_a_cluster_that_cannot_be_reached_is_silent_and_its_address_untold(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = Cluster(access_to(Script(port=1)))
        account_for(cluster, str)
        await TokenReviews(cluster).keys()

    with pytest.raises(ClusterSilent) as caught:
        run(main())
    assert "127.0.0.1" not in str(caught.value)
    assert tmp_path
