"""Roles and bindings as the gate reads them: in pages, at most so often, and refused where they cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.proxy.loopback import Peer, Play, Script, access_to, api_server, run

from narrowgate.core.account_rights import Account
from narrowgate.core.pods_seen import AccountSeen
from narrowgate.proxy.accounts import account_for
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.rbac import AccountRights

BUILDER = Account("ci", "builder")
GETS_PODS = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
ROLE = {"metadata": {"name": "r", "namespace": "ci"}, "rules": [GETS_PODS]}
BINDING = {
    "metadata": {"name": "b", "namespace": "ci"},
    "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
    "subjects": [{"kind": "ServiceAccount", "name": "builder", "namespace": "ci"}],
}


def listed(*items: Any, after: str = "") -> dict[str, Any]:
    return {"kind": "List", "apiVersion": "v1", "metadata": {"continue": after}, "items": list(items)}


def playing(answers: dict[str, Any], status: int = 200) -> Play:
    """Answers by what the target holds, the first that is in it; an empty list for everything else."""

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            target = (await script.take(peer)).target
            body = json.dumps(next((answer for word, answer in answers.items() if word in target), listed())).encode()
            await peer.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    return play


def seen(folder: Path, play: Play, times: int = 1) -> tuple[AccountSeen, list[str]]:
    async def main() -> tuple[AccountSeen, list[str]]:
        async with api_server(folder, play) as server:
            cluster = Cluster(access_to(server))
            account_for(cluster, str)
            try:
                rights = AccountRights(cluster)
                answers = [await rights.of(BUILDER) for _ in range(times)]
                return answers[-1], [message.target for message in server.received]
            finally:
                cluster.close()

    return run(main())


def test_an_account_has_what_is_bound_to_it_and_is_read_once(tmp_path: Path) -> None:
    found, asked = seen(tmp_path, playing({"/roles?": listed(ROLE), "/rolebindings?": listed(BINDING)}), times=3)
    assert [str(right) for right in found.rights] == ["get pods in ci (RoleBinding ci/b)"]
    assert found.unknown == ""
    assert len(asked) == 4


def test_a_list_in_pages_is_read_to_its_end(tmp_path: Path) -> None:
    pages = {
        "/roles?": listed(ROLE),
        "continue=next": listed(BINDING),
        "/rolebindings?": listed(after="next"),
    }
    found, asked = seen(tmp_path, playing(pages))
    assert len(found.rights) == 1
    assert len(asked) == 5


@pytest.mark.parametrize(
    ("play", "says"),
    [
        (playing({}, 403), "the gate's account may not list clusterroles.rbac.authorization.k8s.io (403)"),
        (playing({}, 500), "answers 500"),
        (playing({"roles": {"kind": "Echo", "metadata": {}}}), "is no list"),
        (playing({"roles": []}), "cannot be read"),
        (playing({"rolebindings": listed({"metadata": {}})}), "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_not_known_and_says_why(play: Play, says: str, tmp_path: Path) -> None:
    found, _ = seen(tmp_path, play, times=2)
    assert says in found.unknown
    assert found.rights == ()
