"""In which chain a pod stands: everybody who had a hand in it, each as the agents and tasks of now say."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.unit.authenticators.test_task_credentials import ACTIVE, MADE, RECORD

from narrowgate.authenticators.first_match import FirstMatch
from narrowgate.authenticators.placed_workloads import Authors, PlacedWorkloads
from narrowgate.authenticators.port import NotMine, Presented, Rejected
from narrowgate.authenticators.task_credentials import TaskCredentials
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind, chain_behind
from narrowgate.core.lineage import MOST_AUTHORS, Ancestor, Author, Placement
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.proxy.lineage import Lineage
from narrowgate.store.sqlite import SQLiteStore

NOW = 1_100.0
POD = Identity(
    kind=Kind.WORKLOAD, name="ci/worker", proven_by="service-account", credential="sa-1", cluster="prod",
    claims=(("pod", "one"), ("pod-uid", "u1")), expires_at=5_000.0,
)  # fmt: skip
TASK = Ancestor(kind=Kind.AGENT, name="bot", task=MADE.task)
STANDING = Ancestor(kind=Kind.AGENT, name="bot", since=500.0)
PARENT = Ancestor(kind=Kind.WORKLOAD, name="ci/parent", cluster="prod", pod="zero", pod_uid="u0")


@pytest.fixture
def lineage(tmp_path_factory: pytest.TempPathFactory) -> Lineage:
    return Lineage(SQLiteStore(tmp_path_factory.mktemp("store") / "gate.db").lineage, {})


def placed(
    lineage: Lineage,
    *authors: Author,
    tasks: tuple[Task, ...] = (ACTIVE,),
    agents: tuple[AgentRecord, ...] = (RECORD,),
    now: float = NOW,
) -> Identity | Rejected:
    authenticator = PlacedWorkloads(FirstMatch([]), lineage, Authors(TaskCredentials(tasks, agents), agents))
    placement = Placement(
        cluster="prod", uid="u1", resource="pods", namespace="ci", name="one", authors=authors, first_at=1_000.0
    )
    found = authenticator.in_chain(POD, placement, now)
    assert authenticator.in_chain(POD, placement, now) == found
    return found


def chain(answer: Identity | Rejected) -> list[str]:
    assert isinstance(answer, Identity), answer
    return [str(member) + (f" {member.task}" if member.task else "") for member in chain_behind(answer)]


def refusal(answer: Identity | Rejected) -> str:
    assert isinstance(answer, Rejected), answer
    return answer.reason


def test_a_pod_of_nobody_is_just_itself(lineage: Lineage) -> None:
    assert placed(lineage) == POD


def test_a_pod_speaks_for_the_task_that_had_it_made(lineage: Lineage) -> None:
    answer = placed(lineage, (TASK,))
    assert chain(answer) == [f"agent:bot {MADE.task}", "serviceaccount:ci/worker"]
    assert isinstance(answer, Identity)
    assert answer.on_behalf_of[0].groups == ("bots",)


def test_a_pod_of_a_pod_speaks_for_both(lineage: Lineage) -> None:
    answer = placed(lineage, (TASK, PARENT))
    assert chain(answer) == [f"agent:bot {MADE.task}", "serviceaccount:ci/parent", "serviceaccount:ci/worker"]


def test_whoever_had_a_hand_in_it_counts_once(lineage: Lineage) -> None:
    answer = placed(lineage, (STANDING,), (TASK,), (TASK, PARENT))
    assert chain(answer) == [
        "agent:bot", f"agent:bot {MADE.task}", "serviceaccount:ci/parent", "serviceaccount:ci/worker",
    ]  # fmt: skip


@pytest.mark.parametrize("event", [TaskEvent.REVOKED, TaskEvent.COMPLETED])
def test_the_end_of_a_task_is_that_of_its_pods_and_it_is_said_whose(lineage: Lineage, event: TaskEvent) -> None:
    reason = refusal(placed(lineage, (TASK, PARENT), tasks=(ACTIVE.after(event, 1_050.0),)))
    assert reason == (
        f"this pod was made by agent:bot (task {MADE.task}) → serviceaccount:ci/parent → serviceaccount:ci/worker: "
        f"task {MADE.task} is over"
    )


def test_a_task_whose_time_is_over_is_over(lineage: Lineage) -> None:
    assert "made by agent:bot" in refusal(placed(lineage, (TASK,), now=1_600.0))


def test_one_author_who_is_over_is_enough(lineage: Lineage) -> None:
    gone = Ancestor(kind=Kind.AGENT, name="gone", since=500.0)
    assert 'agent "gone" is not registered any more' in refusal(placed(lineage, (TASK,), (gone,)))


def test_what_was_made_for_a_person_is_not_the_agents_alone(lineage: Lineage) -> None:
    alice = Ancestor(kind=Kind.PERSON, name="alice", since=500.0)
    reason = refusal(placed(lineage, (alice, STANDING)))
    assert reason.startswith("this pod was made by person:alice → agent:bot → serviceaccount:ci/worker: alice is a")


def test_an_agent_is_what_its_record_says_now(lineage: Lineage) -> None:
    paused = msgspec.structs.replace(RECORD, paused=True)
    assert "is paused" in refusal(placed(lineage, (STANDING,), agents=(paused,)))
    assert "is paused" in refusal(placed(lineage, (TASK,), agents=(paused,)))


def test_an_agent_made_anew_under_the_old_name_is_another_one(lineage: Lineage) -> None:
    anew = msgspec.structs.replace(RECORD, created_at=600.0)
    assert "not registered any more" in refusal(placed(lineage, (STANDING,), agents=(anew,)))


def test_a_chain_has_four_members_at_most(lineage: Lineage) -> None:
    parents = tuple(msgspec.structs.replace(PARENT, pod_uid=f"p{number}") for number in range(3))
    assert len(chain(placed(lineage, (TASK, *parents[:2])))) == 4
    assert "a chain has 4 members at most" in refusal(placed(lineage, (TASK, *parents)))


def test_a_pod_with_too_many_hands_behind_it_is_refused(lineage: Lineage) -> None:
    authors = tuple((msgspec.structs.replace(PARENT, pod_uid=f"p{number}"),) for number in range(MOST_AUTHORS + 1))
    assert "more than 32" in refusal(placed(lineage, *authors))


def test_what_is_of_no_pod_is_for_others_to_answer(lineage: Lineage) -> None:
    authenticator = PlacedWorkloads(FirstMatch([]), lineage, Authors(TaskCredentials([], []), []))
    assert isinstance(asyncio.run(authenticator.authenticate(Presented("x"), NOW)), NotMine)


class Knows:
    """An authenticator that knows one proof, whatever sort it is."""

    def __init__(self, who: Identity) -> None:
        self._who = who

    async def authenticate(self, presented: Presented, now: float) -> Identity:  # noqa: ARG002 the port's shape
        return self._who


class Remembers:
    """Lineage of one pod on the cluster `prod`; of any other it has never heard."""

    def covers(self, cluster: str) -> bool:
        return cluster == "prod"

    def known(self, cluster: str, uid: str) -> Placement | None:
        return self._of((TASK,)) if (cluster, uid) == ("prod", "u1") else None

    async def placed(self, cluster: str, namespace: str, pod: str, uid: str) -> Placement | None:  # noqa: ARG002 nobody made it
        return None

    @staticmethod
    def _of(author: Author) -> Placement:
        return Placement(
            cluster="prod", uid="u1", resource="pods", namespace="ci", name="one", authors=(author,), first_at=1.0
        )


def known_by(who: Identity) -> Identity:
    authors = Authors(TaskCredentials((ACTIVE,), (RECORD,)), (RECORD,))
    answer = asyncio.run(PlacedWorkloads(Knows(who), Remembers(), authors).authenticate(Presented("x"), NOW))
    assert isinstance(answer, Identity)
    return answer


@pytest.mark.parametrize("proven_by", ["service-account", "access-credential"])
def test_a_pod_speaks_for_its_makers_by_whatever_it_proves_itself(proven_by: str) -> None:
    answer = known_by(msgspec.structs.replace(POD, proven_by=proven_by, recheck_seconds=None))
    assert chain(answer) == [f"agent:bot {MADE.task}", "serviceaccount:ci/worker"]


@pytest.mark.parametrize("kind", [Kind.PERSON, Kind.AGENT])
def test_nobody_else_is_placed_whatever_claims_they_bring(kind: Kind) -> None:
    who = msgspec.structs.replace(POD, kind=kind, name="x")
    assert known_by(who) == who


@pytest.mark.parametrize(("longest", "is_let_in"), [(3, True), (2, False)])
def test_a_pod_is_cut_where_chains_may_not_be_as_deep_any_more(longest: int, is_let_in: bool) -> None:
    authors = Authors(TaskCredentials((ACTIVE,), (RECORD,), longest_chain=longest), (RECORD,))
    authenticator = PlacedWorkloads(Knows(POD), Remembers(), authors, longest)
    answer = authenticator.in_chain(POD, Remembers._of((TASK, PARENT)), NOW)
    assert isinstance(answer, Identity) is is_let_in
    if isinstance(answer, Rejected):
        assert "a chain has 2 members at most" in answer.reason
