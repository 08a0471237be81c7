"""Who comes with a task's credential: the agent at work on it, while both are as they were."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.deciding import rule

from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.authenticators.task_credential import new_task_credential, task_credential_problem
from narrowgate.authenticators.task_credentials import TaskCredentials
from narrowgate.core.agent import AgentRecord
from narrowgate.core.delegated_task import LONGEST_CHAIN
from narrowgate.core.emergency import Present
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.tasks import Task, TaskEvent

MADE = new_task_credential()
RECORD = AgentRecord(
    name="bot",
    owner="person:alice",
    purpose="x",
    cluster="prod",
    credential_id="",
    credential_hash=b"",
    created_at=10.0,
    expires_at=99_999.0,
    groups=("bots",),
)
ACTIVE = Task(
    id=MADE.task,
    kind=Kind.AGENT,
    name="bot",
    requested_by="agent:bot",
    cluster="prod",
    purpose="x",
    rules=(rule("allow", "get", "pods", namespaces="ci"),),
    credential_id=MADE.task,
    credential_hash=MADE.hash,
    seconds=600.0,
    requested_at=1_000.0,
    lapses_at=1_300.0,
).after(TaskEvent.ACTIVATED, 1_000.0)


def ask(
    text: str = MADE.text, now: float = 1_100.0, *, task: Task = ACTIVE, agents: tuple[AgentRecord, ...] = (RECORD,)
) -> Answer:
    authenticator = TaskCredentials([task], agents)
    answer = asyncio.run(authenticator.authenticate(Presented(text), now))
    assert asyncio.run(authenticator.authenticate(Presented(text), now)) == answer
    return answer


def test_the_agent_is_proven_for_that_task_and_cluster_until_its_end() -> None:
    answer = ask()
    assert isinstance(answer, Identity)
    assert (answer.kind, answer.name, answer.groups, answer.owner) == (Kind.AGENT, "bot", ("bots",), "person:alice")
    assert (answer.task, answer.cluster, answer.expires_at) == (MADE.task, "prod", 1_600.0)


@pytest.mark.parametrize("now", [1_600.0, 9_999.0, float("nan")])
def test_it_is_worth_nothing_after_the_end(now: float) -> None:
    answer = ask(now=now)
    assert isinstance(answer, Rejected)
    assert "is over" in answer.reason


@pytest.mark.parametrize("event", [TaskEvent.COMPLETED, TaskEvent.REVOKED])
def test_it_is_worth_nothing_once_the_task_has_ended(event: TaskEvent) -> None:
    assert isinstance(ask(task=ACTIVE.after(event, 1_050.0)), Rejected)


def test_an_end_of_the_agent_is_one_of_its_tasks() -> None:
    for change in ({"paused": True}, {"ends_at": 1_050.0}):
        assert isinstance(ask(agents=(msgspec.structs.replace(RECORD, **change),)), Rejected)
    assert isinstance(ask(agents=()), Rejected)
    ending = ask(agents=(msgspec.structs.replace(RECORD, ends_at=1_200.0),))
    assert isinstance(ending, Identity)
    assert ending.expires_at == 1_200.0


def test_a_namesake_registered_later_has_not_its_tasks() -> None:
    assert isinstance(ask(agents=(msgspec.structs.replace(RECORD, created_at=1_050.0),)), Rejected)


def test_misspelt_ones_are_told_from_ended_ones() -> None:
    for text in (MADE.text[:-1], MADE.text[:-1] + ("A" if MADE.text[-1] != "A" else "B"), "ngt1_", MADE.text + "ü"):
        answer = ask(text)
        assert isinstance(answer, Rejected)
        assert "copy it again" in answer.reason
    assert task_credential_problem(MADE.text) == ""
    other = ask(new_task_credential().text)
    assert isinstance(other, Rejected)
    assert "over" in other.reason


def test_other_sorts_are_left_to_others() -> None:
    for text in ("", "ng1_x", "nga1_x", "eyJ.e30.x"):
        assert isinstance(ask(text), NotMine)


EMERGENCY = msgspec.structs.replace(
    ACTIVE, kind=Kind.PERSON, name="alice", requested_by="person:alice", emergency=True, sign_in="s1"
)


def taken(task: Task = EMERGENCY, now: float = 1_100.0, **present: object) -> Answer:
    told: dict[str, object] = {"groups": ("sre",), "expires_at": 1_500.0}
    people = {} if "absent" in present else {task.id: Present(**(told | present))}  # type: ignore[arg-type]
    # An agent of the same name is somebody else.
    authenticator = TaskCredentials([task], (msgspec.structs.replace(RECORD, name="alice"),), people)
    return asyncio.run(authenticator.authenticate(Presented(MADE.text), now))


def test_a_person_in_an_emergency_has_the_groups_of_now_and_no_longer_than_their_sign_in_runs() -> None:
    answer = taken()
    assert isinstance(answer, Identity)
    assert (answer.kind, answer.name, answer.groups, answer.owner) == (Kind.PERSON, "alice", ("sre",), "")
    assert (answer.task, answer.cluster, answer.emergency, answer.expires_at) == (MADE.task, "prod", True, 1_500.0)
    longer = taken(expires_at=9_999.0)
    assert isinstance(longer, Identity)
    assert longer.expires_at == 1_600.0


@pytest.mark.parametrize("now", [1_500.0, float("nan")])
def test_an_emergency_ends_with_the_sign_in_that_it_was_taken_with(now: float) -> None:
    answer = taken(absent=True)
    assert isinstance(answer, Rejected)
    assert 'the sign-in that "alice" took this emergency with is over' in answer.reason
    assert isinstance(taken(now=now), Rejected)


@pytest.mark.parametrize("change", [{"emergency": False}, {"kind": Kind.WORKLOAD}])
def test_nobody_else_comes_by_a_task_without_an_agent(change: dict[str, object]) -> None:
    assert isinstance(taken(msgspec.structs.replace(EMERGENCY, **change)), Rejected)


MADE_CHILD, MADE_SECOND = new_task_credential(), new_task_credential()
CHILD = msgspec.structs.replace(
    ACTIVE, id=MADE_CHILD.task, name="bot/helper", parent=MADE.task, credential_hash=MADE_CHILD.hash, ends_at=1_500.0
)
SECOND = msgspec.structs.replace(
    CHILD, id=MADE_SECOND.task, name="bot/helper/second", parent=MADE_CHILD.task, credential_hash=MADE_SECOND.hash
)


def delegate(*tasks: Task, text: str = MADE_SECOND.text, now: float = 1_100.0, record: AgentRecord = RECORD) -> Answer:
    return asyncio.run(TaskCredentials(tasks, (record,)).authenticate(Presented(text), now))


def test_a_delegate_speaks_for_everybody_whose_task_it_hangs_on() -> None:
    answer = delegate(ACTIVE, CHILD, SECOND)
    assert isinstance(answer, Identity)
    assert (answer.name, answer.task, answer.delegated_by) == ("bot/helper/second", MADE_SECOND.task, MADE_CHILD.task)
    assert [(one.name, one.task, one.delegated_by) for one in answer.on_behalf_of] == [
        ("bot", MADE.task, ""),
        ("bot/helper", MADE_CHILD.task, MADE.task),
    ]
    assert all(one.on_behalf_of == () for one in answer.on_behalf_of)
    assert (answer.groups, answer.owner, answer.cluster) == (("bots",), "person:alice", "prod")
    assert answer.expires_at == 1_500.0


def test_its_root_is_as_the_credential_of_the_roots_task_would_say() -> None:
    answer = delegate(ACTIVE, CHILD, text=MADE_CHILD.text)
    assert isinstance(answer, Identity)
    assert answer.on_behalf_of == (ask(),)


def test_a_delegate_is_worth_nothing_without_each_of_those_tasks() -> None:
    everything = (ACTIVE, CHILD, SECOND)
    for missing in everything:
        answer = delegate(*(one for one in everything if one is not missing))
        assert isinstance(answer, Rejected)
    for over in (ACTIVE, CHILD):
        ended = over.after(TaskEvent.REVOKED, 1_050.0)
        answer = delegate(*(ended if one is over else one for one in everything))
        assert isinstance(answer, Rejected)
        assert "is over" in answer.reason


@pytest.mark.parametrize("now", [1_400.0, 1_450.0])
def test_a_delegate_ends_with_the_first_of_them_to_end(now: float) -> None:
    short = msgspec.structs.replace(CHILD, ends_at=1_400.0)
    assert isinstance(delegate(ACTIVE, short, SECOND, now=now), Rejected)
    assert isinstance(delegate(ACTIVE, short, SECOND, now=1_399.0), Identity)


def test_an_end_of_the_agent_is_one_of_its_delegates() -> None:
    for change in ({"paused": True}, {"ends_at": 1_050.0}, {"created_at": 1_050.0}):
        assert isinstance(delegate(ACTIVE, CHILD, SECOND, record=msgspec.structs.replace(RECORD, **change)), Rejected)


@pytest.mark.parametrize(
    "strange",
    [
        {"name": "other/helper/second"},
        {"name": "bot/helper/second/third"},
        {"name": "bot/helper"},
        {"cluster": "dev"},
        {"parent": MADE_SECOND.task},
        {"parent": "t9"},
    ],
)
def test_a_task_that_hangs_on_none_that_fits_is_nobodys(strange: dict[str, str]) -> None:
    assert isinstance(delegate(ACTIVE, CHILD, msgspec.structs.replace(SECOND, **strange)), Rejected)


@pytest.mark.parametrize(("longest", "is_let_in"), [(4, True), (3, True), (2, False), (1, False)])
def test_a_chain_that_is_deeper_than_chains_may_be_by_now_is_refused(longest: int, is_let_in: bool) -> None:
    now_known = TaskCredentials([ACTIVE, CHILD, SECOND], (RECORD,), longest_chain=longest)
    answer = asyncio.run(now_known.authenticate(Presented(MADE_SECOND.text), 1_100.0))
    assert isinstance(answer, Identity) is is_let_in
    if isinstance(answer, Rejected):
        assert f"has 3 members, and this gate lets in chains of {longest} at most (tasks.maxDepth)" in answer.reason
    # Whatever they made is cut with it, and what is less deep goes on.
    assert isinstance(now_known.of_task(MADE_SECOND.task, 1_100.0), Identity) is is_let_in
    assert isinstance(now_known.of_task(ACTIVE.id, 1_100.0), Identity)
    child = asyncio.run(now_known.authenticate(Presented(MADE_CHILD.text), 1_100.0))
    assert isinstance(child, Identity) is (longest >= 2)


def test_no_configuration_lets_in_more_than_chains_ever_have() -> None:
    line, made = [ACTIVE], new_task_credential()
    for number in range(LONGEST_CHAIN):
        made = new_task_credential()
        line.append(
            msgspec.structs.replace(
                line[-1], id=made.task, name=f"{line[-1].name}/d{number}", parent=line[-1].id,
                credential_hash=made.hash,
            )
        )  # fmt: skip
    known = TaskCredentials(line, (RECORD,), longest_chain=100)
    assert isinstance(known.of_task(line[-1].id, 1_100.0), Rejected)
    assert isinstance(known.of_task(line[-2].id, 1_100.0), Identity)
