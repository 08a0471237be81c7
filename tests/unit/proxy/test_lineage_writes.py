"""Writes that make pods, kept until it is known what came of them, through a whole gate."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.proxy.loopback import (
    JSON,
    PODS,
    InProcess,
    Message,
    Peer,
    Script,
    api_server,
    gate,
    request,
    run,
)

from narrowgate.core.lineage import PendingWrite

POLICY = """
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: test}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [dev]
  rules:
    - {id: pods, effect: allow, verbs: [get, create], apiGroups: [""], resources: [pods], namespaces: [ci],
       pods: {strongerAccounts: allow}}
"""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


def pending(made: InProcess) -> list[PendingWrite]:
    return list(made.store.lineage.pending("dev", "pods", "ci"))


async def created(made: InProcess) -> Message:
    await made.change_policy(POLICY)
    client = await made.client()
    await client.send(request("POST", PODS, json.dumps(POD).encode(), JSON))
    answer = await client.message()
    await client.close()
    return answer


def test_nobody_is_kept_for_a_write_that_could_not_be_sent(tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)

    async def main() -> tuple[int, list[PendingWrite]]:
        async with api_server(tmp_path, play) as server:
            gone = server
        async with gate(tmp_path, gone, places_pods=True) as made:
            return (await created(made)).status, pending(made)

    assert run(main()) == (503, [])


def test_somebody_is_kept_for_a_write_whose_answer_was_lost(tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        peer.cut()

    async def main() -> tuple[int, list[PendingWrite]]:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server, places_pods=True) as made:
            return (await created(made)).status, pending(made)

    status, kept = run(main())
    assert status == 502
    assert [(one.name, one.author[0].name) for one in kept] == [("p", "ci")]
