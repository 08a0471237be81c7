"""What is asked of a server, and what its answers mean, where servers do what a gate and Kubernetes would not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.cli.scripted_gate import Called, ScriptedGate, Told, told

from narrowgate.cli.doctor_tries import RULES_REVIEW, Came, Tries, tries_of
from narrowgate.cli.kubeconfig_contexts import CannotUse, Way

POD_LIST = "/api/v1/pods?limit=1"
OPENED, REFUSED, UNKNOWN = Came.OPENED, Came.REFUSED, Came.UNKNOWN


def way(scripted: ScriptedGate, **more: Any) -> Way:
    fields: dict[str, Any] = {
        "file": "f", "context": "x", "server": scripted.url, "host": "127.0.0.1", "port": scripted.port,
        "authority": scripted.authority_pem.encode(), "namespace": "ci", "proof": "abc",
    }  # fmt: skip
    return Way(**fields | more)


def refusing(scripted: ScriptedGate, status: int = 403) -> None:
    for path in ("namespaces", "pods", "secrets", "namespaces/ci/pods", "namespaces/ci/secrets"):
        scripted.answers(f"/api/v1/{path}?limit=1", told({}, status))
    scripted.answers("/version", told({}, status))
    scripted.answers(RULES_REVIEW, told({}, status))


def came(tries: Tries) -> dict[str, Came]:
    return {one.request.path: one.came for one in tries.tried}


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, OPENED), (401, REFUSED), (403, REFUSED), (302, UNKNOWN), (404, UNKNOWN), (503, UNKNOWN)],
)
def test_only_a_refusal_is_a_refusal(scripted: ScriptedGate, status: int, expected: Came) -> None:
    refusing(scripted)
    scripted.answers(POD_LIST, told({}, status, Location="https://elsewhere.example/"))
    tries = tries_of(way(scripted), "abc")
    assert came(tries).pop(POD_LIST) is expected
    assert len(tries.those(REFUSED)) == (7 if expected is REFUSED else 6)


def test_what_everybody_is_told_counts_for_nothing(scripted: ScriptedGate) -> None:
    refusing(scripted)
    scripted.answers("/version", told({}))
    assert "/version" not in came(tries_of(way(scripted), "abc"))

    def for_the_known(call: Called) -> Told:
        return told({}, 200 if "Authorization" in call.headers else 401)

    scripted.answers("/version", for_the_known)
    assert came(tries_of(way(scripted), "abc"))["/version"] is OPENED


def test_secrets_are_asked_for_without_what_is_in_them(scripted: ScriptedGate) -> None:
    refusing(scripted)
    tries = tries_of(way(scripted), "abc")
    (call,) = scripted.called("/api/v1/secrets?limit=1")
    assert call.headers["Accept"].startswith("application/json;as=PartialObjectMetadataList")
    assert (call.headers["User-Agent"], call.headers["Authorization"]) == (tries.user_agent, "Bearer abc")
    assert {call.method for call in scripted.calls} == {"GET", "POST"}
    assert [call.path for call in scripted.calls if call.method == "POST"] == [RULES_REVIEW]


def test_the_rules_of_a_review_are_told_without_what_everybody_may(scripted: ScriptedGate) -> None:
    def review(*rules: dict[str, Any]) -> str:
        refusing(scripted)
        scripted.answers(RULES_REVIEW, told({"status": {"resourceRules": list(rules)}}, 201))
        return tries_of(way(scripted), "abc").those(OPENED)[0].said

    own = {"verbs": ["create"], "resources": ["selfsubjectaccessreviews"]}
    pods = {"verbs": ["get", "list"], "resources": ["po\x1bds"]}
    assert review(own) == "nothing but asking about itself"
    assert review(own, pods) == "get,list po?ds"
    assert review(*[pods] * 5).endswith(" and 2 more")
    for nonsense in ({"status": None}, [], b"{"):
        scripted.answers(RULES_REVIEW, told(nonsense, 201))
        assert tries_of(way(scripted), "abc").those(OPENED)[0].said == "an answer that is none"


def test_a_server_that_cannot_be_verified_is_shown_nothing(scripted: ScriptedGate) -> None:
    refusing(scripted)
    with pytest.raises(CannotUse, match="its certificate is not trusted"):
        tries_of(way(scripted, authority=b""), "abc")
    with pytest.raises(CannotUse, match="its certificate is not trusted"):
        tries_of(way(scripted, server_name="other.example"), "abc")
    assert scripted.calls == []
    scripted.down()
    with pytest.raises(CannotUse, match="cannot be reached"):
        tries_of(way(scripted), "abc")


def test_a_token_that_would_break_the_header_is_sent_to_nobody(scripted: ScriptedGate) -> None:
    refusing(scripted)
    tries = tries_of(way(scripted), "abc\r\nX-Other: 1")
    assert {one.came for one in tries.tried} == {UNKNOWN}
    assert scripted.calls == []
