"""Who asks, which cluster is meant, and what becomes of requests that cannot be served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.proxy.loopback import (
    AGENT,
    DISCOVERY,
    JSON,
    MADE,
    POD,
    PODS,
    POLICY,
    SECRETS,
    UPSTREAM_TOKEN,
    Message,
    Peer,
    Script,
    access_to,
    always_ok,
    api_server,
    gate,
    request,
    run,
    until,
)

from narrowgate.authenticators.port import Answer, Unavailable
from narrowgate.proxy.accounts import account_for
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.state import ServedCluster


def told(answer: Message) -> str:
    status: dict[str, Any] = json.loads(answer.body)
    assert (status["kind"], status["apiVersion"], status["code"]) == ("Status", "v1", answer.status)
    assert UPSTREAM_TOKEN not in str(status)
    return str(status["message"])


def ask(folder: Path, *requests: bytes) -> list[Message]:
    async def main() -> list[Message]:
        async with api_server(folder, always_ok) as server, gate(folder, server) as made:
            client = await made.client()
            found = []
            for each in requests:
                await client.send(each)
                found.append(await client.message())
            await client.close()
            return found

    return run(main())


@pytest.mark.parametrize(
    "sent",
    [
        request("GET", PODS, token="x"),
        request("GET", PODS, token=MADE.text[:-1]),
        request("GET", PODS).replace(b"Bearer", b"Basic"),
        b"GET " + PODS.encode() + b" HTTP/1.1\r\nHost: gate\r\n\r\n",
        b"GET " + PODS.encode() + b"?access_token=" + MADE.text.encode() + b" HTTP/1.1\r\nHost: gate\r\n\r\n",
    ],
    ids=["another token", "a token cut short", "another scheme", "nothing", "a token in the query"],
)
def test_who_proves_nothing_is_401_with_a_challenge_and_stays_connected(sent: bytes, tmp_path: Path) -> None:
    refused, served = ask(tmp_path, sent, request("GET", PODS))
    assert refused.status == 401
    assert refused.fields["www-authenticate"].startswith("Bearer")
    assert told(refused)
    assert served.status == 200


def test_everything_is_recorded_with_who_what_and_the_decision(tmp_path: Path) -> None:
    async def main() -> list[tuple[Any, ...]]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            client = await made.client()
            found = []
            for name, method, path in (("a", "GET", PODS), ("b", "GET", SECRETS), ("c", "GET", "/nonsense/")):
                await client.send(request(method, f"{path}/{name}-marked"))
                answer = await client.message()
                event = await made.finished(f"{name}-marked")
                decided = event["annotations"]["narrowgate.dev/decision"]
                assert event["responseStatus"]["code"] == answer.status
                found.append((answer.status, decided, event["user"]["username"]))
            await client.close()
            return found

    assert run(main())[:2] == [(200, "allow", "agent:ci"), (403, "deny", "agent:ci")]


def test_a_write_is_recorded_before_the_cluster_gets_it(tmp_path: Path) -> None:
    async def main() -> list[str]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("POST", f"{PODS}?fieldManager=marked", POD, JSON))
            await until(lambda: bool(server.received))
            stages = [event["stage"] for event in made.events("marked")]
            await client.message()
            await client.close()
            return stages

    assert run(main())[0] == "RequestReceived"


@pytest.mark.parametrize(("what", "code"), [("the policy", 403), ("the agent", 401)])
def test_a_body_that_comes_slowly_does_not_outlast_the_permission_it_began_with(
    tmp_path: Path, what: str, code: int
) -> None:
    async def main() -> tuple[int, int]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            client = await made.client()
            asked = request("POST", f"{PODS}?fieldManager=slow", POD, JSON)
            await client.send(asked[:-10])
            await until(lambda: bool(made.events("slow")))
            if what == "the agent":
                made.agent = msgspec.structs.replace(AGENT, paused=True)
                await made.change_policy(POLICY)
            else:
                await made.change_policy(POLICY.replace("namespaces: [ci]", "namespaces: [elsewhere]"))
            await client.send(asked[-10:])
            answer = await client.message()
            await client.close()
            return answer.status, len(server.received)

    assert run(main()) == (code, 0)


def test_a_trail_that_cannot_be_written_lets_nothing_pass(tmp_path: Path) -> None:
    async def main() -> tuple[int, str, int]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await made.trail.close()
            await client.send(request("GET", PODS))
            answer = await client.message()
            await client.close()
            return answer.status, told(answer), len(server.received)

    status, message, received = run(main())
    assert (status, received) == (500, 0)
    assert "cannot be recorded" in message


def test_a_store_that_is_silent_too_long_lets_nothing_pass(tmp_path: Path) -> None:
    async def main() -> tuple[int, int]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            client = await made.client()
            made.store_hangs = True
            await made.hanging.wait()
            # As if the last answer were long ago.
            made.state._fresh_at = float("-inf")
            await client.send(request("GET", PODS))
            answer = await client.message()
            await client.close()
            return answer.status, len(server.received)

    assert run(main()) == (503, 0)


def test_a_cluster_that_cannot_be_reached_is_503_with_the_reason(tmp_path: Path) -> None:
    async def main() -> Message:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, Script(port=1)) as made:
            assert server.port
            client = await made.client()
            await client.send(request("GET", PODS))
            answer = await client.message()
            await client.close()
            return answer

    answer = run(main())
    assert answer.status == 503
    assert "no connection to the API server" in told(answer)
    assert "127.0.0.1" not in told(answer)


class Silent:
    """An authenticator that has nobody to ask."""

    async def authenticate(self, *_: object) -> Answer:
        return SILENT


SILENT = Unavailable("cluster 'dev' cannot say now whose token this is")


def test_where_nobody_can_vouch_now_the_caller_is_told_503_and_why(tmp_path: Path) -> None:
    async def main() -> tuple[Message, str, int]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            made.authenticator = lambda _: Silent()
            await made.change_policy(POLICY)
            client = await made.client()
            await client.send(request("GET", f"{PODS}/marked"))
            answer = await client.message()
            await client.close()
            event = await made.finished("marked")
            return answer, event["annotations"]["narrowgate.dev/decision"], len(server.received)

    answer, decided, received = run(main())
    assert (answer.status, decided, received) == (503, "error", 0)
    assert told(answer) == SILENT.reason
    assert "retry-after" in answer.fields


def test_a_stream_for_which_nobody_vouches_any_more_is_ended(tmp_path: Path) -> None:
    async def watched(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.ended()

    async def main() -> dict[str, Any]:
        async with api_server(tmp_path, watched) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("GET", f"{PODS}?watch=1"))
            await until(lambda: len(made.running) == 1)
            made.authenticator = lambda _: Silent()
            await made.change_policy(POLICY)
            answer = await client.message()
            await client.close()
            found: dict[str, Any] = json.loads(answer.body)
            return found

    event = run(main())
    assert event["type"] == "ERROR"
    assert event["object"]["message"] == SILENT.reason


def test_a_request_that_somebody_ended_is_over_for_their_reason_and_no_other_one_is(tmp_path: Path) -> None:
    async def watched(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.ended()

    async def main() -> tuple[dict[str, Any], int]:
        async with api_server(tmp_path, watched) as server, gate(tmp_path, server) as made:
            ended, other = await made.client(), await made.client()
            for client, marked in ((ended, "&marked=1"), (other, "")):
                await client.send(request("GET", f"{PODS}?watch=1{marked}"))
            await until(lambda: len(made.running) == 2)
            session = next(event for event in made.events() if "marked=1" in event["requestURI"])["auditID"]
            made.store.session_ends.end(session, "it looked at secrets", by="person:alice", at=1.0)
            answer = await ended.message()
            await until(lambda: len(made.running) <= 1)
            still = len(made.running)
            await ended.close()
            await other.close()
            found: dict[str, Any] = json.loads(answer.body)
            return found, still

    event, still = run(main())
    assert event["object"]["message"] == "the session was ended by person:alice: it looked at secrets"
    assert still == 1


# --- which cluster


def misdirected(folder: Path, bound: str, target: str, *names: str) -> Message:
    """What an agent that is bound like this is told by a gate with clusters of these names."""

    async def main() -> Message:
        async with api_server(folder, always_ok) as server, gate(folder, server) as made:
            made.agent = msgspec.structs.replace(AGENT, cluster=bound)
            for name in names:
                cluster = Cluster(access_to(server, name=name))
                cluster.discovery = DISCOVERY
                made.state.clusters[name] = ServedCluster(cluster, account_for(cluster, str))
            await made.change_policy(POLICY)
            client = await made.client()
            await client.send(request("GET", target))
            answer = await client.message()
            await client.close()
            return answer

    return run(main())


def test_with_a_single_cluster_its_name_may_be_left_out(tmp_path: Path) -> None:
    assert misdirected(tmp_path, "", PODS).status == 200


def test_an_unbound_credential_says_in_the_path_which_cluster_it_means(tmp_path: Path) -> None:
    assert misdirected(tmp_path, "", f"/clusters/dev{PODS}", "other").status == 200


@pytest.mark.parametrize("target", [PODS, f"/clusters/nowhere{PODS}"])
def test_who_does_not_say_which_is_told_the_names_that_may_be_used(target: str, tmp_path: Path) -> None:
    answer = misdirected(tmp_path, "", target, "other")
    assert answer.status == 400
    # The policy speaks of `dev` alone: other names are nobody's business.
    assert told(answer).endswith("with one of: dev")


def test_a_bound_credential_and_another_name_in_the_path_disagree(tmp_path: Path) -> None:
    answer = misdirected(tmp_path, "dev", f"/clusters/other{PODS}", "other")
    assert answer.status == 403
    assert "'dev'" in told(answer)


def test_a_credential_of_a_cluster_that_is_gone_is_told_so(tmp_path: Path) -> None:
    answer = misdirected(tmp_path, "gone", PODS)
    assert answer.status == 400
    assert "'gone'" in told(answer)


def test_a_refusal_names_its_request_and_is_kept_for_asking_for_just_that(tmp_path: Path) -> None:
    async def main() -> None:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("GET", f"{SECRETS}/key"))
            refused = await client.message()
            await client.close()
            (denied,) = await made.pipeline.denied.taken()
            causes = {each["reason"]: each["message"] for each in json.loads(refused.body)["details"]["causes"]}
            assert causes["NarrowgateRequest"] == dict(refused.headers)["audit-id"] == denied.audit_id
            assert (denied.holder, denied.cluster, denied.wanted) == ("agent:ci", "dev", ("get secrets/key -n ci",))

    run(main())
