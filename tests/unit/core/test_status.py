from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.core.writes import info_of, intent_of

from narrowgate.core import status
from narrowgate.core.decision import Deny, NeedsApproval, RuleRef
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo

RULE = RuleRef("base", "no-namespace-deletes", 7)


def document(of: status.Status) -> dict[str, Any]:
    return json.loads(status.to_json(of))


def test_a_refusal_has_the_shape_of_the_api_servers_own():
    said = document(status.forbidden(info_of("delete", "deployments.apps", "web"), "no rule allows it", "ask"))
    assert said == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "web" is forbidden: no rule allows it; ask',
        "reason": "Forbidden",
        "details": {
            "name": "web",
            "group": "apps",
            "kind": "deployments",
            "causes": [{"reason": "NarrowgateHint", "message": "ask"}],
        },
        "code": 403,
    }


def test_a_denied_request_names_the_rule_for_people_and_for_programs():
    decision = Deny(message="agent:bot may not delete it", hint="nothing lifts this rule", rule=RULE)
    said = document(status.refusal(decision, intent_of("delete", "namespaces", "prod", namespace="prod")))
    assert said["message"] == (
        'namespaces "prod" is forbidden: agent:bot may not delete it (rule base/no-namespace-deletes); '
        "nothing lifts this rule"
    )
    assert said["details"]["causes"] == [
        {"reason": "NarrowgateRule", "message": "base/no-namespace-deletes"},
        {"reason": "NarrowgateRevision", "message": "7"},
        {"reason": "NarrowgateHint", "message": "nothing lifts this rule"},
    ]


def test_a_message_that_names_its_rule_does_not_name_it_twice():
    decision = Deny(message="rule no-namespace-deletes of policy base denies it", rule=RULE)
    said = document(status.refusal(decision, intent_of("delete", "namespaces", "prod")))
    assert said["message"].count("no-namespace-deletes") == 1


def test_a_request_that_needs_approval_is_forbidden_and_says_which_rule_asks_people():
    said = document(status.refusal(NeedsApproval(rule=RULE, message="held"), intent_of("get", "secrets", "s")))
    assert said["code"] == 403
    assert {"reason": "NarrowgateNeedsApproval", "message": "base/no-namespace-deletes"} in said["details"]["causes"]


def test_a_question_that_was_put_is_named_for_programs() -> None:
    needs = NeedsApproval(rule=RULE, message="held", approval="q1")
    said = document(status.refusal(needs, intent_of("get", "secrets", "s")))
    assert {"reason": "NarrowgateApproval", "message": "q1"} in said["details"]["causes"]


def test_a_decision_keeps_its_own_code():
    said = document(status.refusal(Deny(message="not there", code=404), intent_of("get", "pods", "p")))
    assert (said["code"], said["reason"], said["message"]) == (404, "NotFound", "not there")


def test_a_refused_path_is_not_called_a_resource():
    info = RequestInfo(is_resource_request=False, path="/metrics", verb="get")
    said = document(status.forbidden(info, 'cannot get path "/metrics"'))
    assert said["message"] == 'forbidden: cannot get path "/metrics"'
    assert "details" not in said


@pytest.mark.parametrize(
    ("made", "code", "reason"),
    [
        (status.bad_request("no"), 400, "BadRequest"),
        (status.unauthorized(), 401, "Unauthorized"),
        (status.not_found(info_of("get", "pods", "p")), 404, "NotFound"),
        (status.method_not_allowed(info_of("get", "pods", "p"), "TRACE"), 405, "MethodNotAllowed"),
        (status.not_acceptable("no"), 406, "NotAcceptable"),
        (status.request_too_large(3), 413, "RequestEntityTooLarge"),
        (status.unsupported_media_type("no"), 415, "UnsupportedMediaType"),
        (status.too_many("no"), 429, "TooManyRequests"),
        (status.internal("no"), 500, "InternalError"),
        (status.gateway("no"), 502, "InternalError"),
        (status.unavailable("no"), 503, "ServiceUnavailable"),
        (status.of_malformed(Malformed("no", 415)), 415, "UnsupportedMediaType"),
        (status.failure(418, "no"), 418, "InternalError"),
    ],
)
def test_each_failure_has_the_code_and_reason_that_client_go_looks_for(made: status.Status, code: int, reason: str):
    said = document(made)
    assert (said["code"], said["reason"]) == (code, reason)


def test_what_is_worth_asking_again_says_when():
    assert document(status.unavailable("the cluster is away", 3))["details"]["retryAfterSeconds"] == 3


def test_a_message_is_one_printable_line_whatever_a_name_holds():
    said = status.forbidden(info_of("get", "pods", "a\x1b[2J\nb\u202e"), "no\r\nway", "try\tthis")
    assert said.message.isprintable()
    assert said.name.isprintable()
    assert all(cause.message.isprintable() for cause in said.causes)
    assert "\\x1b[2J\\nb\\u202e" in said.message


def test_a_lone_surrogate_in_a_name_is_written_too():
    assert b"udc80" in status.to_json(status.bad_request("\udc80"))


def test_a_message_has_an_end():
    assert len(status.bad_request("x" * 100_000).message) == status.MESSAGE_LIMIT
