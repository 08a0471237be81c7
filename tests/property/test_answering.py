"""Nobody begins alone what needs another person, whatever they call in whatever order."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.control.api.calling import ROOT, Api, document
from tests.unit.control.api.questions import bearer_of, signed_in

from narrowgate.core.approvals import ApprovalState, Voice
from narrowgate.core.tasks import TaskState

EXAMPLES = 30
"""Each is a gate of its own and up to fourteen calls: a tenth of a second."""

WISH = {"agent": "hers", "purpose": "rotate", "for": "5m", "allow": ["get secrets -n ci"]}

CALLS = {
    "approve": ("POST", "/approvals/{id}/approve", {"comment": "please"}),
    "withdraw": ("POST", "/approvals/{id}/withdraw", None),
    "collect": ("POST", "/tasks/{id}/collect", None),
    "ask": ("POST", "/tasks", WISH),
    "complete": ("POST", "/tasks/{id}/complete", None),
    "narrow": ("POST", "/tasks/{id}/narrow", {"keep": ["allow-1"]}),
    "revoke": ("POST", "/tasks/{id}/revoke", {"because": "x"}),
    "pause": ("POST", "/agents/hers/pause", None),
    "resume": ("POST", "/agents/hers/resume", None),
}
ALONE = ("agent", "owner", "owner-at-console", "admin", "ben")
"""One person of the two who are needed, and everybody who is none of them."""

EVERYTHING = [(who, name) for name in ("approve", "collect") for who in ALONE]
"""What they would do in the end, with whatever is left."""

moves = st.lists(
    st.tuples(st.sampled_from(ALONE), st.sampled_from(sorted(CALLS))),
    max_size=14,
)
told = st.lists(
    st.tuples(st.sampled_from(("ben", "cora", "dan")), st.sampled_from(Voice)), min_size=1, max_size=5, unique=True
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moves)
def test_an_agent_its_owner_an_admin_and_one_person_of_two_never_begin_it(sent: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        api = Api(Path(folder))
        with closing(api.store):
            owner = bearer_of(api, signed_in(api, "olga", "sre"))
            proofs: dict[str, Any] = {
                "agent": api.agent("hers").text,
                "owner": owner,
                "owner-at-console": bearer_of(api, signed_in(api, "olga", "sre", "admins", number=2)),
                "admin": bearer_of(api, signed_in(api, ROOT.name, "admins")),
                "ben": bearer_of(api, signed_in(api, "ben", "sre")),
            }
            task = document(api.call("POST", "/tasks", WISH, who=proofs["agent"]))["id"]
            for who, name in [*sent, *EVERYTHING]:
                method, path, body = CALLS[name]
                answer = api.call(method, path.replace("{id}", task), body, who=proofs[who])
                assert answer.status < 500, answer.text
                assert '"credential":"ngt1_' not in answer.text
                task = document(answer)["id"] if answer.status == 201 else task
            assert api.store.tasks.active() == ()
            assert {one.state for one in api.store.tasks.listed()} <= {
                TaskState.REQUESTED,
                TaskState.DENIED,
                TaskState.LAPSED,
            }


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(told)
def test_what_the_answers_come_to_is_what_the_first_no_or_the_second_yes_says(said: list[tuple[str, Voice]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        api = Api(Path(folder))
        with closing(api.store):
            people = {name: bearer_of(api, signed_in(api, name, "sre")) for name in ("ben", "cora", "dan")}
            agent = api.agent("hers").text
            task = document(api.call("POST", "/tasks", WISH, who=agent))["id"]
            yes: set[str] = set()
            expected = ApprovalState.PENDING
            for name, voice in said:
                path = "approve" if voice is Voice.YES else "deny"
                body = {} if voice is Voice.YES else {"reason": "no"}
                answer = api.call("POST", f"/approvals/{task}/{path}", body, who=people[name])
                assert answer.status == (200 if expected is ApprovalState.PENDING else 409)
                if expected is ApprovalState.PENDING:
                    yes |= {name} if voice is Voice.YES else set()
                    expected = (
                        ApprovalState.DENIED
                        if voice is Voice.NO
                        else ApprovalState.APPROVED
                        if len(yes) == 2
                        else ApprovalState.PENDING
                    )
            assert api.store.approvals.get(task).state is expected
            collected = api.call("POST", f"/tasks/{task}/collect", who=agent)
            assert (collected.status == 200) == (expected is ApprovalState.APPROVED)
            assert len(api.store.tasks.active()) == (expected is ApprovalState.APPROVED)
            assert api.store.approvals.get(task).lapses_at > time.time()
