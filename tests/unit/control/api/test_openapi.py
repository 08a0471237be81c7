"""The OpenAPI document: every call is in it, nothing else is, and real answers are what it says."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from starlette.routing import Route
from tests.unit.control.api.calling import PEOPLE, POLICY, Api, document
from tests.unit.control.api.questions import asked, bearer_of, signed_in, waiting_and_approved
from tests.unit.control.api.recorded import began, did, keep

from narrowgate.control.api import api_routes
from narrowgate.control.api.calls import PREFIX
from narrowgate.control.api.serving import Resource
from narrowgate.control.api.table import CALLS
from narrowgate.core.delegation import Delegation
from narrowgate.core.denied_request import DeniedRequest
from narrowgate.core.moment import moment_text
from narrowgate.store.port import RoleGrant

NEW = {"name": "bot", "owner": "person:olga", "purpose": "restarts pods", "cluster": "prod"}
KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,), "null": (type(None),),
}  # fmt: skip
ASKED = {"type", "properties", "required", "additionalProperties", "items", "enum", "minLength", "maxLength"}
SAID = {"title", "description", "default"}
"""Keywords that ask nothing of a value."""

WISH = {"agent": "hers", "purpose": "tests", "allow": ["get pods -n ci"]}


def fits(value: Any, schema: dict[str, Any], whole: dict[str, Any], where: str = "$") -> list[str]:
    """What of `value` is not as `schema` says: the keywords that we use of JSON Schema 2020-12, and no others.

    Stricter in one thing: a member that is not described is a mistake.
    """
    if "$ref" in schema:
        return fits(value, whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]], whole, where)
    if "anyOf" in schema:
        tried = [fits(value, one, whole, where) for one in schema["anyOf"]]
        return [] if [] in tried else [wrong for one in tried for wrong in one]
    unknown = set(schema) - SAID - ASKED
    if unknown:
        return [f"{where}: the test does not know {unknown}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r} is none of {schema['enum']}"]
    if "type" in schema and not isinstance(value, TYPES[schema["type"]]):
        return [f"{where}: {value!r} is no {schema['type']}"]
    if isinstance(value, str) and not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 30):
        return [f"{where}: {value!r} is too short or too long"]
    if isinstance(value, list):
        return [
            one for index, item in enumerate(value) for one in fits(item, schema["items"], whole, f"{where}[{index}]")
        ]
    return _members(value, schema, whole, where) if isinstance(value, dict) and "type" in schema else []


def _members(value: dict[str, Any], schema: dict[str, Any], whole: dict[str, Any], where: str) -> list[str]:
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    wrong = [f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value]
    if not known and rest is None:
        # An object of Kubernetes', which is described there.
        return wrong
    for name, item in value.items():
        if name in known or isinstance(rest, dict):
            wrong += fits(item, known.get(name, rest), whole, f"{where}.{name}")
        else:
            wrong.append(f"{where}: {name} is not described")
    return wrong


@pytest.fixture
def described(api: Api) -> dict[str, Any]:
    found = document(api.call("GET", "/openapi.json", who=None))
    assert isinstance(found, dict)
    return found


def operations(described: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    return {
        operation["operationId"]: (method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


def test_every_call_is_described_and_every_description_is_of_a_call(api: Api, described: dict[str, Any]) -> None:
    found = operations(described)
    assert {name: (method.upper(), path) for name, (method, path, _) in found.items()} == {
        call.id: (call.method, PREFIX + call.path.replace(":path", "")) for call in CALLS
    }
    served = {
        (method, route.path)
        for route in api_routes(api.parts)
        if isinstance(route, Route) and isinstance(route.app, Resource)
        for method in route.app.calls
    }
    assert served == {(call.method, PREFIX + call.path) for call in CALLS}


def test_every_parameter_of_a_path_is_described(described: dict[str, Any]) -> None:
    for _, path, operation in operations(described).values():
        in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path))


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    references = set(re.findall(r"#/components/schemas/(\w+)", str(described)))
    assert references <= set(described["components"]["schemas"])
    assert "ProblemDocument" in references


def test_every_description_says_who_may(described: dict[str, Any]) -> None:
    found = {name: operation["x-narrowgate-roles"] for name, (_, _, operation) in operations(described).items()}
    assert found["createAgent"] == {"admin": "all"}
    assert found["pauseAgent"] == {"admin": "all", "member": "own"}
    assert found["checkPolicies"] == {"policy-author": "all"}
    assert all(found.values())


def test_it_is_of_the_version_that_it_says(described: dict[str, Any]) -> None:
    assert described["openapi"] == "3.1.0"
    assert described["servers"] == [{"url": "https://gate.example:8444"}]


def requests(api: Api) -> list[tuple[str, str, str, object]]:
    """One good request for every call, in an order in which they can be made."""
    now = time.time()
    api.agent("other", keys=(), groups=("g",), labels=(("a", "b"),), ends_at=now + 50, certificate_names=("cn:other",))
    api.store.add_revision([("a.yaml", "text")], by="folder", at=now)
    api.store.roles.give(RoleGrant(person="zed", role="auditor", given_by="local:test", given_at=now))
    hers = api.agent("hers").text
    api.task("hers", id="first")
    api.task("hers", id="second")
    approver = bearer_of(api, signed_in(api, "ada", "sre"))
    signed_in(api, "ben")
    on_call = bearer_of(api, signed_in(api, "oskar", "on-call"))
    taken = {"cluster": "dev", "purpose": "the web is down", "allow": ["patch deployments.apps/web -n ci"]}
    gone = Delegation(
        id="away", person="zoe", delegate="ben", groups=("sre",), made_at=now, begins_at=now, ends_at=now + 600
    )
    api.store.delegations.add(gone, by="person:zoe", at=now)
    denied = DeniedRequest(
        audit_id="refused", holder="agent:hers", cluster="dev", at=time.time(), wanted=("get nodes",)
    )
    api.store.denied_requests.tell([denied], now=now)
    did(api.folder / "trail", ("hers-did", "agent:hers", "person:olga"))
    began(api.folder / "trail", ("hers-runs", "agent:hers", "person:olga", "exec", True))
    keep(api.folder / "spool", api.recordings, "hers-runs")
    bot = waiting_and_approved(api, "waitswaitswaitsw")
    asked(api)
    asked(api, id="q2", digest="other")
    api.cookie(PEOPLE["member"])
    to_end = api.store.sign_ins.listed("mia")[0].id
    thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    wrong = {"files": [{"name": "a.yaml", "text": "x: 1\n"}, {"name": "b.yaml", "text": POLICY}]}
    return [
        ("whoami", "admin", "/whoami", None),
        ("createAgent", "admin", "/agents", NEW),
        ("addAgentKey", "admin", "/agents/bot/keys", KEY),
        ("listAgents", "admin", "/agents?limit=1", None),
        ("getAgent", "admin", "/agents/bot", None),
        ("changeAgent", "admin", "/agents/bot", {"purpose": "x"}),
        ("pauseAgent", "admin", "/agents/bot/pause", {"because": "odd"}),
        ("resumeAgent", "admin", "/agents/bot/resume", None),
        ("rotateAgent", "admin", "/agents/bot/rotate", None),
        ("removeAgentKey", "admin", f"/agents/bot/keys/{thumbprint}", None),
        ("deleteAgent", "admin", "/agents/bot", None),
        ("listSignIns", "admin", "/sign-ins", None),
        ("endSignIn", "admin", f"/sign-ins/{to_end}", None),
        ("listRoles", "admin", "/roles", None),
        ("giveRole", "admin", "/roles", {"person": "zoe", "role": "auditor"}),
        ("takeRole", "admin", "/roles/auditor/people/zed", None),
        ("getPolicies", "policy-author", "/policies", None),
        ("listPolicyRevisions", "policy-author", "/policies/revisions", None),
        ("getPolicyRevision", "policy-author", "/policies/revisions/1", None),
        ("checkPolicies", "policy-author", "/policies/check", wrong),
        ("checkPolicies", "policy-author", "/policies/check", {"files": [{"name": "b.yaml", "text": POLICY}]}),
        ("listClusters", "admin", "/clusters", None),
        ("listChanges", "auditor", "/changes", None),
        ("listStanding", "admin", "/standing?limit=1", None),
        ("checkTask", "owner", "/tasks/check", WISH),
        ("requestTask", "owner", "/tasks", WISH),
        ("checkEmergency", on_call, "/emergencies/check", taken),
        ("takeEmergency", on_call, "/emergencies", taken),
        ("listTasks", "owner", "/tasks", None),
        ("getTask", "owner", "/tasks/first", None),
        ("delegateTask", hers, "/tasks/first/delegate", {"name": "a", "purpose": "x", "allow": ["get pods -n ci"]}),
        ("getTaskTree", "owner", "/tasks/first/tree", None),
        ("narrowTask", "owner", "/tasks/first/narrow", {"keep": ["allow-1"]}),
        ("completeTask", "owner", "/tasks/first/complete", None),
        ("revokeTask", "owner", "/tasks/second/revoke", {"because": "odd"}),
        ("collectTask", bot, "/tasks/waitswaitswaitsw/collect", None),
        ("getDenied", "owner", "/denied/refused", None),
        ("listRecords", "owner", "/records?limit=1", None),
        ("getRecord", "owner", "/records/hers-did", None),
        ("listSessions", "owner", "/sessions?running=true", None),
        ("getSessionTree", "owner", "/sessions/first/tree", None),
        ("endSession", "owner", "/sessions/hers-runs/end", {"because": "odd"}),
        ("holdSession", "auditor", "/sessions/hers-runs/hold", {"because": "case 12"}),
        ("liftHold", "auditor", "/sessions/hers-runs/lift", None),
        ("listApprovals", approver, "/approvals", None),
        ("getApproval", approver, "/approvals/q1", None),
        ("approve", approver, "/approvals/q1/approve", {"comment": "fine"}),
        ("deny", approver, "/approvals/q1/deny", {"reason": "odd"}),
        ("answerApprovals", approver, "/approvals/answers", {"ids": ["q2", "q1"], "answer": "yes"}),
        ("withdrawApproval", "owner", "/approvals/q2/withdraw", None),
        ("delegate", approver, "/delegations", {"to": "ben", "until": moment_text(now + 600)}),
        ("listDelegations", "auditor", "/delegations?all=true", None),
        ("endDelegation", "admin", "/delegations/away/end", None),
    ]


def test_real_answers_are_what_the_document_says(api: Api, described: dict[str, Any]) -> None:
    made = set()
    for name, who, target, body in requests(api):
        method, path, operation = operations(described)[name]
        assert re.fullmatch(re.sub(r"\{\w+\}", "[^?]+", path), (PREFIX + target).partition("?")[0])
        answer = api.call(method.upper(), target, body, who=PEOPLE.get(who, who))
        assert str(answer.status) in operation["responses"], (name, answer.text)
        content = operation["responses"][str(answer.status)].get("content")
        if content is None:
            assert answer.text == ""
        else:
            assert fits(document(answer), content["application/json"]["schema"], described) == [], name
        made.add(name)
    assert made == {call.id for call in CALLS}


def test_refusals_are_what_the_document_says(api: Api, described: dict[str, Any]) -> None:
    for _, path, operation in operations(described).values():
        schema = operation["responses"]["default"]["content"]["application/problem+json"]["schema"]
        answer = api.call("GET", re.sub(r"\{\w+\}", "x", path), who=None)
        assert fits(document(answer), schema, described) == []


def test_whats_public_is_where_to_go_and_whom_to_trust(api: Api) -> None:
    found = document(api.call("GET", "/.well-known/narrowgate", who=None))
    assert (found["apiVersions"], found["kubernetesURL"]) == (["v1"], "https://gate.example:8443")
    assert found["signIn"] == [
        {"source": "oidc:corp", "title": "Corp", "url": "https://gate.example:8444/sign-in/oidc/corp"}
    ]
    assert found["certificateAuthority"].startswith("-----BEGIN CERTIFICATE-----")
    assert api.call("POST", "/.well-known/narrowgate", who=None).status == 405
    assert api.entries() == []
