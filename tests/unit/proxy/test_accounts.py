"""In whose name requests travel: the registered credential, impersonation, and tokens minted for each policy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.unit.proxy.loopback import UPSTREAM_TOKEN, Message, Peer, Play, Script, access_to, api_server, run

from narrowgate.core.cluster import ClusterAccess, UpstreamMode
from narrowgate.core.decision import RuleRef
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.proxy.accounts import Headers, RegisteredCredential, account_for
from narrowgate.proxy.cluster import Cluster, ClusterNotReady

RULE = RuleRef(policy="ci", rule="pods")
ACCESS = access_to(Script(port=1))


def whole(name: str = "ci", groups: tuple[str, ...] = ()) -> Identity:
    return Identity(kind=Kind.AGENT, name=name, groups=groups, proven_by="test", credential="c")


def registered(read: Callable[[str], str], **more: str) -> RegisteredCredential:
    return RegisteredCredential(msgspec.structs.replace(ACCESS, token="", token_file="file", **more), read)


def test_a_registered_token_is_sent_as_it_is() -> None:
    credential = RegisteredCredential(ACCESS, lambda path: path)
    assert credential.own_headers() == [(b"authorization", b"Bearer " + UPSTREAM_TOKEN.encode())]


def test_a_client_certificate_needs_no_header() -> None:
    access = msgspec.structs.replace(ACCESS, token="", client_certificate=b"x", client_key=b"y")
    assert RegisteredCredential(access, lambda path: path).own_headers() == []


def test_a_token_file_is_read_before_the_first_request() -> None:
    assert registered(lambda path: f"from-{path}").own_headers() == [(b"authorization", b"Bearer from-file")]


@pytest.mark.parametrize("content", ["", "two words", "line\nline", "a\r\nImpersonate-User: root", "é", "tab\t"])
def test_a_token_file_without_one_token_refuses_requests_and_says_nothing_of_its_content(content: str) -> None:
    with pytest.raises(ClusterNotReady, match="token file of cluster 'dev'") as refusal:
        registered(lambda _: content).own_headers()
    assert not content or content not in str(refusal.value)


@pytest.mark.parametrize(
    "problem", [FileNotFoundError(2, "No such file"), UnicodeDecodeError("ascii", b"\xff", 0, 1, "no")]
)
def test_a_token_file_that_cannot_be_read_refuses_requests(problem: Exception) -> None:
    def read(_: str) -> str:
        raise problem

    with pytest.raises(ClusterNotReady):
        registered(read).own_headers()


# --- impersonation


def impersonated(tmp_path: Path, *chain: Identity) -> Headers:
    async def main() -> Headers:
        cluster = Cluster(msgspec.structs.replace(ACCESS, mode=UpstreamMode.IMPERSONATE))
        return await account_for(cluster, lambda path: path).headers(chain_of(*chain), RULE, "request-1")

    return run(main())


def test_a_caller_is_impersonated_beside_the_gates_own_credential(tmp_path: Path) -> None:
    assert impersonated(tmp_path, whole("ci", ("bots",))) == [
        (b"authorization", b"Bearer " + UPSTREAM_TOKEN.encode()),
        (b"impersonate-user", b"narrowgate:agent:ci"),
        (b"impersonate-group", b"narrowgate:agents"),
        (b"impersonate-group", b"narrowgate:group:bots"),
        (b"impersonate-extra-narrowgate.dev%2fchain", b"agent:ci"),
        (b"impersonate-extra-narrowgate.dev%2frequest", b"request-1"),
    ]


@pytest.mark.parametrize("name", ["a\r\nx", "", "a "])
def test_a_name_that_no_header_can_hold_is_nobody(name: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterNotReady):
        impersonated(tmp_path, whole("ci", (name,) if name else tuple(str(each) for each in range(80))))


# --- minted tokens


class Minting:
    """An API server that mints tokens of this life, or refuses to."""

    def __init__(self, life: int) -> None:
        self.life = life
        self.minted = 0
        self.refuses = False

    async def play(self, script: Script, peer: Peer, _: int) -> None:
        while True:
            await script.take(peer)
            if self.refuses:
                await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
                continue
            self.minted += 1
            answer = {"spec": {"expirationSeconds": self.life}, "status": {"token": f"minted-{self.minted}"}}
            body = json.dumps(answer).encode()
            await peer.send(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def scoped(script: Script, **more: object) -> ClusterAccess:
    return access_to(script, mode=UpstreamMode.SERVICE_ACCOUNT, account_namespace="gate", **more)


def tokens(tmp_path: Path, server: Minting, rules: list[RuleRef], refuse_after: int = 99) -> tuple[list[str], Script]:
    async def main() -> tuple[list[str], Script]:
        play: Play = server.play
        async with api_server(tmp_path, play) as script:
            account = account_for(Cluster(scoped(script)), lambda path: path)
            found = []
            for index, rule in enumerate(rules):
                server.refuses = index >= refuse_after
                ((name, value),) = await account.headers(chain_of(whole()), rule, "r")
                assert name == b"authorization"
                found.append(value.decode())
            return found, script

    return run(main())


def test_a_token_is_minted_once_for_each_policy_and_kept(tmp_path: Path) -> None:
    other = RuleRef(policy="other", rule="x")
    found, script = tokens(tmp_path, Minting(3600), [RULE, other, RULE, RULE])
    assert found == ["Bearer minted-1", "Bearer minted-2", "Bearer minted-1", "Bearer minted-1"]
    asked: list[Message] = script.received
    assert [each.target for each in asked] == [
        "/api/v1/namespaces/gate/serviceaccounts/narrowgate-ci/token",
        "/api/v1/namespaces/gate/serviceaccounts/narrowgate-other/token",
    ]
    assert all(each.fields["authorization"] == f"Bearer {UPSTREAM_TOKEN}" for each in asked)


def test_a_token_whose_time_is_nearly_over_is_renewed(tmp_path: Path) -> None:
    assert tokens(tmp_path, Minting(0), [RULE, RULE])[0] == ["Bearer minted-1", "Bearer minted-2"]


def test_without_a_token_nothing_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ClusterNotReady, match=r"gate/narrowgate-ci.*answers 404"):
        tokens(tmp_path, Minting(3600), [RULE], refuse_after=0)


def test_a_token_that_is_over_is_not_used_when_there_is_no_other(tmp_path: Path) -> None:
    with pytest.raises(ClusterNotReady):
        tokens(tmp_path, Minting(0), [RULE, RULE], refuse_after=1)
