"""Tasks and approvals where the gate speaks to the cluster in others' names, and not with rights of its own.

The cluster's RBAC is as the printed manifests have it: it gives what a task or an approval lets through, to whoever the
gate speaks for, and its audit log says whose work it was.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from tests.e2e.api_caller import by_token
from tests.e2e.browser import browser
from tests.e2e.dex import Dex
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow
from tests.e2e.signing_in import SignInGate, authority_of, control_url
from tests.e2e.tasks import grantable
from tests.e2e.team import Team, approve, task_of
from tests.e2e.test_upstream_modes import Installed, audited

WORKER = "worker"


class Speaking(NamedTuple):
    """A gate of one mode, its people, an agent that holds nothing but for asking, and a namespace to work in."""

    mode: str
    team: Team
    agent: Agent
    installed: Installed

    @property
    def where(self) -> str:
        return f"/api/v1/namespaces/{self.installed.namespace}"

    def speaks_as(self, event: dict[str, Any]) -> str:
        """In whose name the cluster was asked, by its own audit log."""
        return str((event.get("impersonatedUser") or event["user"])["username"])

    @property
    def name(self) -> str:
        """The one in which the gate speaks for the agent."""
        if self.mode == "impersonate":
            return f"narrowgate:agent:{WORKER}"
        return f"system:serviceaccount:{self.installed.account}:narrowgate-{WORKER}"


@pytest.fixture(scope="module", params=["impersonate", "serviceAccount"])
def speaking(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    direct: Kubectl,
    new_namespace: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Speaking]:
    mode, folder = str(request.param), tmp_path_factory.mktemp("modes")
    account, namespace = new_namespace(f"gate-{secrets.token_hex(2)}"), new_namespace("work")
    entry = {
        "name": "dev",
        "server": cluster.server,
        "certificateAuthority": str(cluster.ca),
        "tokenFile": str(folder / "gate" / "token"),
        "upstream": {"mode": mode, "accountNamespace": account},
    }
    dex = Dex(folder / "dex", settings={"sessions": True})
    gate = Gate(folder / "gate", [entry], settings={"authentication": {"jwt": [dex.entry()]}})
    dex.serve(control_url(gate))
    made = Installed(gate, direct, account, namespace)
    made.token_file.write_text("none-yet")
    rules = [
        allow("see", "get", "pods", namespace),
        grantable("maps", "get list watch create", "configmaps", namespace),
        approve("keys", "get", "secrets", namespace),
    ]
    gate.agent(WORKER, rules)
    made.install()
    try:
        dex.start()
        gate.start()
        with browser(folder / "home", [authority_of(gate), dex.ca]) as running:
            team = Team(SignInGate(gate, dex, running))
            # The pod is not there, which only the cluster can tell.
            yield Speaking(mode, team, team.agent(WORKER, rules, f"/api/v1/namespaces/{namespace}/pods/x"), made)
    finally:
        gate.stop()
        dex.stop()
        made.remove()


def test_a_task_works_in_the_agents_name_and_not_beyond_its_end(
    speaking: Speaking, cluster: Cluster, marker: str
) -> None:
    gate, maps = speaking.team.gate, f"{speaking.where}/configmaps"
    task, working = task_of(gate, speaking.agent, f"get,watch,create configmaps -n {speaking.installed.namespace}")
    since, name = cluster.audit_position(), f"made-{marker.lower()}"
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%b"}}' % name.encode()
    made = working.request("POST", f"{maps}?fieldManager={name}", {"Content-Type": "application/json"}, body)
    assert made.status == 201, made.body
    event = audited(cluster, name, since)
    assert speaking.speaks_as(event) == speaking.name
    with working.connect() as watch:
        watch.send(working.bytes_of("GET", f"{maps}?watch=1&resourceVersion=0"))
        assert watch.head()[0] == 200
        done = by_token(gate, working.token)("POST", f"/tasks/{task}/complete")
        assert done.status == 200
        # The last words of a watch: why it ends. What came before is read away.
        said = watch.buffer + b"".join(iter(watch.receive, b""))
    assert b'"type":"ERROR"' in said
    assert [working.request("GET", f"{maps}/{name}").status for _ in range(2)] == [401, 401]
    assert speaking.agent.request("GET", f"{maps}/{name}").status == 403


def test_what_people_approve_passes_once_in_the_agents_name(speaking: Speaking, cluster: Cluster, marker: str) -> None:
    name = f"key-{marker.lower()}"
    speaking.installed.direct.within(speaking.installed.namespace).must(
        "create", "secret", "generic", name, "--from-literal=word=hush"
    )
    since, target = cluster.audit_position(), f"{speaking.where}/secrets/{name}"
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(speaking.agent.request, "GET", target)
        speaking.team.approve(speaking.team.one_waiting(WORKER))
        answer = sent.result()
        # It is the Secret; what is in it leaves masked, as nothing reveals it.
        assert (answer.status, b'"word"' in answer.body, b"aHVzaA==" in answer.body) == (200, True, False)
        event = audited(cluster, f"secrets/{name}", since)
        assert speaking.speaks_as(event) == speaking.name
        again = threads.submit(speaking.agent.request, "GET", target)
        speaking.team.answer("bob", speaking.team.one_waiting(WORKER), "deny")
        assert again.result().status == 403
    through = [one for one in cluster.audited(f"secrets/{name}", since) if one["stage"] == "ResponseComplete"]
    assert len(through) == 1


def test_a_delegate_works_in_the_name_of_its_agent_with_the_chain_beside_it(
    speaking: Speaking, cluster: Cluster, marker: str
) -> None:
    gate, maps = speaking.team.gate, f"{speaking.where}/configmaps"
    where = f"-n {speaking.installed.namespace}"
    task, working = task_of(gate, speaking.agent, f"get,create configmaps {where}")
    wish = {"name": "helper", "purpose": "test", "allow": [f"create configmaps {where}"]}
    made = by_token(gate, working.token)("POST", f"/tasks/{task}/delegate", wish)
    assert made.status == 201, made.document
    helper = replace(working, token=made.document["credential"])
    gate.wait_until(lambda: helper.request("GET", "/version").status == 200, "the delegate is known")
    since, name = cluster.audit_position(), f"made-{marker.lower()}"
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%b"}}' % name.encode()
    sent = helper.request("POST", f"{maps}?fieldManager={name}", {"Content-Type": "application/json"}, body)
    assert sent.status == 201, sent.body
    event = audited(cluster, name, since)
    assert speaking.speaks_as(event) == speaking.name
    if speaking.mode == "impersonate":
        chain = event["impersonatedUser"]["extra"]["narrowgate.dev/chain"]
        assert chain == [f"agent:{WORKER}", f"agent:{WORKER}/helper"]
    assert helper.request("GET", f"{maps}/{name}").status == 403
    assert by_token(gate, working.token)("POST", f"/tasks/{task}/complete").status == 200
    gate.wait_until(lambda: helper.request("GET", f"{maps}/{name}").status == 401, "the delegate is cut")
