"""Nobody becomes more by calling the API: every call, by everybody, against what is written down here by hand."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest
from tests.unit.control.api.calling import PEOPLE, ROOT, Api, detail, person
from tests.unit.control.api.recorded import began, did, keep

from narrowgate.authenticators.access_credential import Port
from narrowgate.control.api.calls import PREFIX, Call
from narrowgate.control.api.table import CALLS
from narrowgate.core.approvals import ApprovalQuestion, Matter
from narrowgate.core.decision import RuleRef
from narrowgate.core.delegation import Delegation
from narrowgate.core.denied_request import DeniedRequest
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.port import RoleGrant

CALLERS = (
    "nobody", "data-port", "rubbish", "agent", "agent-in-sre", "workload", "member", "approver", "policy-author",
    "auditor", "admin", "owner", "group-owner",
)  # fmt: skip

# One line for each call: the answer to every caller above. The agent a call is about belongs to olga ("owner"), for
# the caller "group-owner" to the group sre. The sign-in belongs to somebody else.
EXPECTED = {
    "whoami":              "401 401 401  200 200 200  200 200 200 200 200  200 200",
    "listAgents":          "401 401 401  200 200 200  200 200 200 200 200  200 200",
    "createAgent":         "401 401 401  403 403 403  403 403 403 403 201  403 403",
    "getAgent":            "401 401 401  404 404 404  404 404 404 200 200  200 200",
    "changeAgent":         "401 401 401  403 403 403  403 403 403 403 200  403 403",
    "pauseAgent":          "401 401 401  404 404 404  404 404 404 404 200  200 200",
    "resumeAgent":         "401 401 401  404 404 404  404 404 404 404 200  200 200",
    "rotateAgent":         "401 401 401  404 404 404  404 404 404 404 200  200 200",
    "addAgentKey":         "401 401 401  403 403 403  403 403 403 403 200  403 403",
    "removeAgentKey":      "401 401 401  403 403 403  403 403 403 403 404  403 403",
    "deleteAgent":         "401 401 401  404 404 404  404 404 404 404 204  204 204",
    "listSignIns":         "401 401 401  200 200 200  200 200 200 200 200  200 200",
    "endSignIn":           "401 401 401  404 404 404  404 404 404 404 204  404 404",
    "listRoles":           "401 401 401  403 403 403  403 403 403 200 200  403 403",
    "giveRole":            "401 401 401  403 403 403  403 403 403 403 201  403 403",
    "takeRole":            "401 401 401  403 403 403  403 403 403 403 204  403 403",
    "getPolicies":         "401 401 401  403 403 403  403 403 200 200 200  403 403",
    "listPolicyRevisions": "401 401 401  403 403 403  403 403 200 200 200  403 403",
    "getPolicyRevision":   "401 401 401  403 403 403  403 403 200 200 200  403 403",
    "checkPolicies":       "401 401 401  403 403 403  403 403 200 403 403  403 403",
    "listClusters":        "401 401 401  200 200 200  200 200 200 200 200  200 200",
    "listChanges":         "401 401 401  403 403 403  403 403 403 200 200  403 403",
    "checkTask":           "401 401 401  404 404 404  404 404 404 404 200  200 200",
    "requestTask":         "401 401 401  404 404 404  404 404 404 404 201  201 201",
    # Nobody was asked about these; whoever did not ask themselves, and is not the agent, collects nothing.
    "collectTask":         "401 401 401  404 404 404  404 404 404 404 404  404 404",
    "listTasks":           "401 401 401  200 200 200  200 200 200 200 200  200 200",
    "getTask":             "401 401 401  404 404 404  404 404 404 200 200  200 200",
    "completeTask":        "401 401 401  404 404 404  404 404 404 404 200  200 200",
    "revokeTask":          "401 401 401  404 404 404  404 404 404 404 200  200 200",
    "narrowTask":          "401 401 401  404 404 404  404 404 404 404 200  200 200",
    "getTaskTree":         "401 401 401  404 404 404  404 404 404 200 200  200 200",
    # Whoever works on a task delegates of it, and nobody in their place: see test_delegates.
    "delegateTask":        "401 401 401  404 404 404  404 404 404 404 404  404 404",
    "getDenied":           "401 401 401  404 404 404  404 404 404 404 200  200 200",
    # A question that hers asks of the group sre. Who may see it may not therefore answer it, and these access
    # credentials rest on no sign-in, by which alone a person is in a group: see test_approvals.
    # An emergency takes a sign-in that runs, and no role takes one for somebody else: see test_emergencies.
    "checkEmergency":      "401 401 401  403 403 403  403 403 403 403 403  403 403",
    "takeEmergency":       "401 401 401  403 403 403  403 403 403 403 403  403 403",
    "listApprovals":       "401 401 401  200 200 200  200 200 200 200 200  200 200",
    "getApproval":         "401 401 401  404 404 404  404 200 404 200 200  200 404",
    "approve":             "401 401 401  404 404 404  404 403 404 403 403  403 404",
    "deny":                "401 401 401  404 404 404  404 403 404 403 403  403 404",
    # Each is answered by itself: what nobody may answer is said there, and nothing of it is changed.
    "answerApprovals":     "401 401 401  200 200 200  200 200 200 200 200  200 200",
    "withdrawApproval":    "401 401 401  404 404 404  404 403 404 403 200  200 404",
    "listStanding":        "401 401 401  200 200 200  200 200 200 200 200  200 200",
    # An agent may be called what another was called before it: the record is for people.
    "listRecords":         "401 401 401  403 403 403  200 200 200 200 200  200 200",
    "getRecord":           "401 401 401  403 403 403  404 404 404 200 200  200 200",
    "listSessions":        "401 401 401  403 403 403  200 200 200 200 200  200 200",
    "getSessionTree":      "401 401 401  404 404 404  404 404 404 200 200  200 200",
    # Whoever may watch one may stop it.
    "endSession":          "401 401 401  403 403 403  404 404 404 200 200  200 200",
    "holdSession":         "401 401 401  403 403 403  403 403 403 200 200  403 403",
    "liftHold":            "401 401 401  403 403 403  403 403 403 200 200  403 403",
    # Delegating takes a sign-in that runs, like answering: see test_delegations. The one that is ended is zoe's.
    "listDelegations":     "401 401 401  200 200 200  200 200 200 200 200  200 200",
    "delegate":            "401 401 401  403 403 403  403 403 403 403 403  403 403",
    "endDelegation":       "401 401 401  404 404 404  404 404 404 404 200  404 404",
}  # fmt: skip

KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}

BODIES: dict[str, Any] = {
    "createAgent": {"name": "new", "owner": "person:olga", "purpose": "tests", "cluster": "dev"},
    "changeAgent": {"purpose": "other"},
    "addAgentKey": KEY,
    "giveRole": {"person": "zoe", "role": "approver"},
    "checkPolicies": {"files": [{"name": "a.yaml", "text": "x"}]},
    "checkTask": {"agent": "{name}", "purpose": "tests", "allow": ["get pods -n ci"]},
    "requestTask": {"agent": "{name}", "purpose": "tests", "allow": ["get pods -n ci"]},
    "checkEmergency": {"cluster": "dev", "purpose": "it is down", "allow": ["get deployments.apps -n ci"]},
    "takeEmergency": {"cluster": "dev", "purpose": "it is down", "allow": ["get deployments.apps -n ci"]},
    "revokeTask": {"because": "tests"},
    "narrowTask": {"keep": ["allow-1"]},
    "delegateTask": {"name": "helper", "purpose": "tests", "allow": ["get pods -n ci"]},
    "deny": {"reason": "tests"},
    "endSession": {"because": "tests"},
    "holdSession": {"because": "tests"},
    "answerApprovals": {"ids": ["hers-asks"], "answer": "yes"},
    "delegate": {"to": "zed", "until": "2999-01-01T00:00:00Z"},
}

TASK_CALLS = ("getTask", "collectTask", "completeTask", "revokeTask", "narrowTask", "delegateTask", "getTaskTree")


def body_of(call_id: str, caller: str) -> Any:
    """The body of a call, about the agent that the caller answers for, if any."""
    body = BODIES.get(call_id)
    named = isinstance(body, dict) and body.get("agent") == "{name}"
    return body | {"agent": agent_of(caller)} if named else body


def agent_of(caller: str) -> str:
    return "theirs" if caller == "group-owner" else "hers"


def target_of(path: str, caller: str) -> str:
    agent = agent_of(caller)
    if path.startswith("/tasks/{id}"):
        # One task for each call: each of them may end it.
        called = next(call.id for call in CALLS if call.path == path)
        return path.replace("{id}", f"{agent}-{called}")
    if path.startswith("/denied/{id}"):
        return path.replace("{id}", f"{agent}-refused")
    if path.startswith("/records/{id}"):
        return path.replace("{id}", f"{agent}-did")
    if path == "/sessions/{id}/tree":
        # A task is a session, too.
        return path.replace("{id}", f"{agent}-getTask")
    if path.startswith("/sessions/{id}"):
        return path.replace("{id}", f"{agent}-runs")
    if path.startswith("/approvals/{id}"):
        return path.replace("{id}", "hers-asks")
    return (
        path.replace("{name}", agent)
        .replace("{key}", "no-such-key")
        .replace("{id}", "zoes")
        .replace("{role}", "auditor")
        .replace("{person:path}", "zed")
        .replace("{number}", "1")
    )


LAST = ("pauseAgent", "resumeAgent", "deleteAgent")
"""What ends the agent, or all that it has under way: the other calls are about that."""


def in_turn(calls: Iterable[Call]) -> list[Call]:
    return sorted(calls, key=lambda call: LAST.index(call.id) if call.id in LAST else -1)


def prepare(api: Api) -> None:
    """What the calls are about: agents of two owners, a revision, somebody's sign-in, somebody's role."""
    now = time.time()
    api.agent("hers")
    api.agent("theirs", owner="group:sre")
    for agent in ("hers", "theirs"):
        for called in TASK_CALLS:
            api.task(agent, id=f"{agent}-{called}")
        refused = DeniedRequest(
            audit_id=f"{agent}-refused", holder=f"agent:{agent}", cluster="dev", at=time.time(), wanted=("get nodes",)
        )
        api.store.denied_requests.tell([refused], now=now)
    did(api.folder / "trail", ("hers-did", "agent:hers", "person:olga"), ("theirs-did", "agent:theirs", "group:sre"))
    began(
        api.folder / "trail",
        ("hers-runs", "agent:hers", "person:olga", "exec", True),
        ("theirs-runs", "agent:theirs", "group:sre", "exec", True),
    )
    for session in ("hers-runs", "theirs-runs"):
        keep(api.folder / "spool", api.recordings, session)
    question = ApprovalQuestion(
        id="hers-asks",
        asks=(Approval((Approvers("sre", 1),), 600.0),),
        rules=(RuleRef("offered", "secrets"),),
        about=Matter(asked_by="agent:hers", chain=("agent:hers",), owner="person:olga"),
        excluded=("olga",),
        asked_at=now,
        lapses_at=now + 600,
    )
    api.store.approvals.add(question, by="agent:hers", at=now)
    api.store.add_revision([("a.yaml", "text")], by="local:test", at=now)
    api.store.roles.give(RoleGrant(person="zed", role="auditor", given_by="local:test", given_at=now))
    zoes = SignIn(
        id="zoes", person="zoe", source="oidc:corp", client=Client.CLI, secret_hash=b"z" * 32, renewed_at=now,
        created_at=now, expires_at=now + 600,
    )  # fmt: skip
    api.store.sign_ins.add(zoes, by="person:zoe", at=now)
    away = Delegation(
        id="zoes", person="zoe", delegate="zed", groups=("sre",), made_at=now, begins_at=now, ends_at=now + 600
    )
    api.store.delegations.add(away, by="person:zoe", at=now)


def proof_of(api: Api, caller: str) -> Identity | str | None:
    workload = Identity(
        kind=Kind.WORKLOAD, name="ci/runner", groups=("sre", "admins"), proven_by="sa:dev", credential="w"
    )
    match caller:
        case "nobody":
            return None
        case "data-port":
            return api.bearer(ROOT, Port.KUBERNETES, "dev")
        case "rubbish":
            return "eyJhbGciOiJub25lIn0.e30."
        case "agent":
            return api.agent("paula", owner="person:paula").text
        case "agent-in-sre":
            # In its owner's group and in the admins', and called what an admin is called.
            return api.agent("root", owner="group:sre", groups=("sre", "admins")).text
        case "workload":
            return workload
        case _:
            return PEOPLE[caller]


@pytest.mark.parametrize("caller", CALLERS)
def test_every_call_answers_every_caller_as_the_table_says(api: Api, caller: str) -> None:
    prepare(api)
    proof = proof_of(api, caller)
    column = CALLERS.index(caller)
    for call in in_turn(CALLS):
        changes = len(api.store.changes(1000))
        answer = api.call(call.method, target_of(call.path, caller), body_of(call.id, caller), who=proof)
        assert (call.id, answer.status) == (call.id, int(EXPECTED[call.id].split()[column])), answer.text
        if answer.status >= 400:
            assert detail(answer)
            assert len(api.store.changes(1000)) == changes, f"{call.id} was refused and changed something"


def test_the_table_above_names_every_call_there_is() -> None:
    assert set(EXPECTED) == {call.id for call in CALLS}
    assert {len(line.split()) for line in EXPECTED.values()} == {len(CALLERS)}


def test_by_a_cookie_the_same_holds_as_by_a_token(api: Api) -> None:
    prepare(api)
    for name in ("member", "approver", "policy-author", "auditor", "owner"):
        # A session is a sign-in that runs, which delegating takes.
        for call in (call for call in in_turn(CALLS) if call.id not in ("deleteAgent", "delegate")):
            expected = int(EXPECTED[call.id].split()[CALLERS.index(name)])
            answer = api.by_cookie(PEOPLE[name], call.method, target_of(call.path, name), body_of(call.id, name))
            assert (name, call.id, answer.status) == (name, call.id, expected), answer.text


def test_every_method_that_no_call_has_is_refused_on_every_path(api: Api) -> None:
    prepare(api)
    paths: dict[str, set[str]] = {}
    for call in CALLS:
        paths.setdefault(call.path, set()).add(call.method)
    for path, known in paths.items():
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "BREW"):
            if method not in known:
                answer = api.call(method, target_of(path, "admin"))
                assert (method, path, answer.status) == (method, path, 405)
                assert answer.header("allow") == ", ".join(sorted(known))


@pytest.mark.parametrize(
    "header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"]
)
def test_headers_that_override_method_or_path_mean_nothing(api: Api, header: str) -> None:
    prepare(api)
    value = "DELETE" if "Method" in header else "/api/v1/roles"
    assert api.call("GET", "/agents/hers", who=PEOPLE["owner"], headers={header: value}).status == 200
    assert api.store.agent("hers").name == "hers"
    assert api.call("POST", "/agents/hers?_method=DELETE", who=PEOPLE["owner"]).status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/agents/hers/", "//agents/hers", "/agents//hers", "/agents/../roles", "/agents/hers/../../roles",
        "/agents/%2e%2e/roles", "/agents/hers%2fpause", "/agents/hers%2Fpause", "/%61gents/hers", "/agents/h%65rs",
        "/Agents/hers", "/agents/hers;/roles", "/agents/hers/pause/", "/agents/hers%00", "/v1/agents",
        "/policies/revisions/1/../../../roles", "/whoami/roles", "/agents/hers\\pause", "/agents/hers%5cpause",
    ],
)  # fmt: skip
def test_a_path_in_disguise_is_no_path(api: Api, path: str) -> None:
    prepare(api)
    for who in (PEOPLE["owner"], ROOT):
        for method in ("GET", "POST", "DELETE"):
            assert api.call(method, PREFIX + path, who=who).status in (404, 405)
    assert [agent.paused for agent in api.store.agents()] == [False, False]


def test_roles_are_never_what_a_caller_says(api: Api) -> None:
    claims = {
        "X-Remote-User": "root",
        "X-Remote-Group": "admins",
        "X-Forwarded-User": "root",
        "Impersonate-User": "root",
    }
    answer = api.call("GET", "/roles", who=PEOPLE["member"], headers=claims)
    assert answer.status == 403
    assert "person:mia may not list roles: it takes the role auditor or admin" in detail(answer).replace(
        "admin or auditor", "auditor or admin"
    )
    assert api.call("GET", "/roles?role=admin", who=PEOPLE["member"]).status == 403


def test_a_person_of_another_provider_with_the_same_groups_is_judged_by_the_groups_alone(api: Api) -> None:
    assert api.call("GET", "/roles", who=person("mallory", "admin", "Admins", "admins2")).status == 403
    assert api.call("GET", "/roles", who=person("newcomer", "admins", proven_by="saml:corp")).status == 200


def test_a_role_that_is_taken_is_gone_at_the_next_call(api: Api) -> None:
    zed = person("zed")
    credential = api.bearer(zed)
    now = time.time()
    api.store.roles.give(RoleGrant(person="zed", role="admin", given_by="local:test", given_at=now))
    assert api.call("GET", "/roles", who=credential).status == 200
    api.store.roles.take("zed", "admin", by="local:test", at=now)
    assert api.call("GET", "/roles", who=credential).status == 403
