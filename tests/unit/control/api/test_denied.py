"""What a refused request lacked is told to its agent and to who answers for it, and to nobody else."""

from __future__ import annotations

import time

from tests.unit.control.api.calling import PEOPLE, ROOT, Api, detail, document

from narrowgate.core.denied_request import DeniedRequest


def refused(api: Api, holder: str = "agent:hers", at: float | None = None, audit_id: str = "r-1") -> None:
    now = time.time()
    words = ("create deployments.apps/web -n ci", "get secrets/key -n ci")
    denied = DeniedRequest(audit_id=audit_id, holder=holder, cluster="dev", at=now if at is None else at, wanted=words)
    api.store.denied_requests.tell([denied], now=now)


def test_an_agent_reads_what_its_refused_request_lacked(api: Api) -> None:
    credential = api.agent("hers").text
    refused(api)
    found = document(api.call("GET", "/denied/r-1", who=credential))
    assert (found["auditId"], found["agent"], found["cluster"]) == ("r-1", "hers", "dev")
    assert found["allow"] == ["create deployments.apps/web -n ci", "get secrets/key -n ci"]
    assert document(api.call("GET", "/denied/r-1", who=PEOPLE["owner"])) == found


def test_whoever_may_not_see_it_is_told_what_is_told_of_none(api: Api) -> None:
    api.agent("hers")
    refused(api)
    for who in (api.agent("theirs").text, PEOPLE["member"], PEOPLE["auditor"], PEOPLE["approver"]):
        answer = api.call("GET", "/denied/r-1", who=who)
        none = api.call("GET", "/denied/r-2", who=who)
        assert (answer.status, none.status) == (404, 404)
        assert detail(answer).replace("r-1", "r-2") == detail(none)


def test_a_task_credential_asks_for_nothing(api: Api) -> None:
    api.agent("hers")
    refused(api)
    answer = api.call("GET", "/denied/r-1", who=api.task("hers").text)
    assert (answer.status, "task's credential cannot" in detail(answer)) == (403, True)


def test_an_agent_made_anew_under_the_name_of_another_sees_nothing_of_it(api: Api) -> None:
    refused(api, at=time.time() - 60.0)
    credential = api.agent("hers").text
    for who in (credential, PEOPLE["owner"], ROOT):
        assert api.call("GET", "/denied/r-1", who=who).status == 404


def test_nobody_is_taken_for_an_agent_of_their_name(api: Api) -> None:
    api.agent("mia", owner="person:olga")
    refused(api, holder="agent:mia")
    assert api.call("GET", "/denied/r-1", who=PEOPLE["member"]).status == 404
