"""Laws of chains over random trees of tasks, delegations and pods, mixed: whoever is started may do a part of what
each of those may that it came from, and whatever ends takes with it what came of it, and nothing else.

Everything is asked as a gate would: identities from the tasks that are in force and from who had which pod made, and a
decision for the whole chain.
"""

from __future__ import annotations

from typing import Final

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deciding import NOW, policy
from tests.property.test_delegation import REQUESTS, policies, rules, trees

from narrowgate.authenticators.placed_workloads import Authors, PlacedWorkloads
from narrowgate.authenticators.port import Answer, Presented, Rejected
from narrowgate.authenticators.task_credentials import TaskCredentials
from narrowgate.core.agent import AgentRecord
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow
from narrowgate.core.delegated_task import LONGEST_CHAIN, USUAL_CHAIN, in_force
from narrowgate.core.identity import Identity, Kind, chain_behind
from narrowgate.core.lineage import Author, Placement, author_of
from narrowgate.core.policy import Effect, Policy, Rule
from narrowgate.core.rulebook import Rulebook, compile_policies
from narrowgate.core.tasks import Task, TaskEvent

STANDING: Final = "other"
"""An agent that works on no task."""
ACCOUNTS: Final = ("ci/worker", "ci/idle")
EVERYTHING: Final = Rule(
    id="all", effect=Effect.ALLOW, verbs=("*",), api_groups=("",), resources=("*",), namespaces=("*",)
)


class Pod(msgspec.Struct, frozen=True):
    """A pod, and the places (among tasks, the standing agent and the pods before it) of those who had it made."""

    account: str
    makers: tuple[str, ...]
    """Names of nodes: `t1` a task, `p1` a pod, `other` the standing agent."""


class Forest(msgspec.Struct, frozen=True):
    """All that came of one root task, and of an agent with a standing credential."""

    tasks: tuple[Task, ...]
    pods: tuple[Pod, ...]
    policies: tuple[Policy, ...]
    longest: int

    def behind(self, node: str) -> frozenset[str]:
        """The nodes that this one came from, however far back."""
        direct = self._direct(node)
        return frozenset(direct).union(*(self.behind(one) for one in direct))

    def _direct(self, node: str) -> tuple[str, ...]:
        if node.startswith("p"):
            return self.pods[int(node[1:])].makers
        parents = [task.parent for task in self.tasks if task.id == node and task.parent]
        return tuple(parents)

    @property
    def nodes(self) -> tuple[str, ...]:
        """All of them, those that others came from first."""
        return (*(task.id for task in self.tasks), STANDING, *(f"p{number}" for number in range(len(self.pods))))


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    tasks = tuple(msgspec.structs.replace(task, credential_hash=task.id.encode()) for task in draw(trees()))
    nodes, pods = [*(task.id for task in tasks), STANDING], []
    for number in range(draw(st.integers(1, 5))):
        makers = draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=2, unique=True))
        pods.append(Pod(draw(st.sampled_from(ACCOUNTS)), tuple(makers)))
        nodes.append(f"p{number}")
    written = list(draw(policies()))
    if draw(st.booleans()):
        offered = msgspec.structs.replace(EVERYTHING, effect=Effect.GRANTABLE, max_duration=10_000.0)
        written.append(policy(offered, name="offered", subjects="Agent/bot"))
    for name in (f"Agent/{STANDING}", *(f"ServiceAccount/{account}" for account in ACCOUNTS)):
        held = (EVERYTHING,) if draw(st.booleans()) else draw(rules(Effect.ALLOW))
        written.append(policy(*held, name=f"of-{name.replace('/', '-').lower()}", subjects=name))
    longest = draw(st.sampled_from((USUAL_CHAIN, LONGEST_CHAIN)))
    return Forest(tasks, tuple(pods), tuple(written), longest)


def agent(name: str) -> AgentRecord:
    return AgentRecord(
        name=name, owner="person:alice", purpose="x", cluster="prod", credential_id="", credential_hash=b"",
        created_at=1.0, expires_at=1e9, groups=("bots",),
    )  # fmt: skip


class _Accounts:
    """Nobody comes in by this: the identities of pods are put together by hand."""

    async def authenticate(self, presented: Presented, now: float) -> Answer:
        raise AssertionError((presented, now))


class _NoLineage:
    def covers(self, cluster: str) -> bool:
        raise AssertionError(cluster)

    def known(self, cluster: str, uid: str) -> Placement | None:
        raise AssertionError((cluster, uid))

    async def placed(self, cluster: str, namespace: str, pod: str, uid: str) -> Placement | None:
        raise AssertionError((cluster, namespace, pod, uid))


class Snapshot:
    """What a gate knows at one moment: the tasks as they are by then, and the agents that are registered."""

    def __init__(self, forest: Forest, tasks: tuple[Task, ...], agents: tuple[str, ...] = ("bot", STANDING)) -> None:
        self._rulebook: Rulebook = compile_policies(forest.policies, 1)
        counting = in_force(tasks)
        self._grants = [grant for one in counting if (grant := one.grant()) is not None]
        records = [agent(name) for name in agents]
        credentials = TaskCredentials(counting, records, longest_chain=forest.longest)
        self._authors = Authors(credentials, records)
        self._pods = PlacedWorkloads(_Accounts(), _NoLineage(), self._authors, forest.longest)
        self._credentials = credentials

    def of_task(self, task: str) -> Answer:
        return self._credentials.of_task(task, NOW)

    def standing(self) -> Answer:
        who = Identity(
            kind=Kind.AGENT, name=STANDING, groups=("bots",), proven_by="test", credential="c", cluster="prod"
        )
        (ancestor,) = author_of(chain_behind(who), NOW)[0:1]
        found = self._authors.now(ancestor, NOW)
        return who if isinstance(found, Identity) else found

    def of_pod(self, number: int, pod: Pod, authors: tuple[Author, ...]) -> Answer:
        uid = f"u{number}"
        claims = (("pod", f"p{number}"), ("pod-uid", uid))
        who = Identity(
            kind=Kind.WORKLOAD, name=pod.account, proven_by="test", credential=uid, cluster="prod", claims=claims
        )
        placement = Placement(
            cluster="prod", uid=uid, resource="pods", namespace="ci", name=f"p{number}", authors=authors,
            is_settled=True, first_at=NOW,
        )  # fmt: skip
        return self._pods.in_chain(who, placement, NOW)

    def may(self, who: Answer) -> frozenset[int]:
        """The places of the requests that it may make."""
        if not isinstance(who, Identity):
            return frozenset()
        chain = chain_behind(who)
        return frozenset(
            place
            for place, what in enumerate(REQUESTS)
            if isinstance(decide(chain, what, self._rulebook, self._grants, (), NOW), Allow)
        )


class Living(msgspec.Struct, frozen=True):
    """What the pods were made by, as it was when they were made: none where nobody who wrote was let in."""

    authors: dict[str, tuple[Author, ...]]


def made(forest: Forest) -> Living:
    """Everything is made while all of it still holds."""
    then, authors = Snapshot(forest, forest.tasks), dict[str, tuple[Author, ...]]()
    answers = answers_of(forest, then, Living({}))
    for number, pod in enumerate(forest.pods):
        makers = [answers[maker] for maker in pod.makers]
        wrote = [author_of(chain_behind(one), NOW) for one in makers if isinstance(one, Identity)]
        if len(wrote) == len(makers):
            authors[f"p{number}"] = tuple(wrote)
            answers[f"p{number}"] = then.of_pod(number, pod, tuple(wrote))
    return Living(authors)


def answers_of(forest: Forest, snapshot: Snapshot, living: Living) -> dict[str, Answer]:
    """Who each of them is now."""
    found: dict[str, Answer] = {task.id: snapshot.of_task(task.id) for task in forest.tasks}
    found[STANDING] = snapshot.standing()
    for number, pod in enumerate(forest.pods):
        authors = living.authors.get(f"p{number}")
        found[f"p{number}"] = Rejected("was never made") if authors is None else snapshot.of_pod(number, pod, authors)
    return found


def allowed(forest: Forest, living: Living, snapshot: Snapshot) -> dict[str, frozenset[int]]:
    return {name: snapshot.may(who) for name, who in answers_of(forest, snapshot, living).items()}


@given(forests())
@settings(max_examples=60, deadline=None)
def test_whoever_is_started_may_do_a_part_of_what_each_may_that_it_came_from(forest: Forest) -> None:
    found = allowed(forest, made(forest), Snapshot(forest, forest.tasks))
    for node in forest.nodes:
        for above in forest.behind(node):
            assert found[node] <= found[above], (node, above)


@given(forests())
@settings(max_examples=60, deadline=None)
def test_a_pod_may_do_a_part_of_what_its_account_may(forest: Forest) -> None:
    living, snapshot = made(forest), Snapshot(forest, forest.tasks)
    found = allowed(forest, living, snapshot)
    for number, pod in enumerate(forest.pods):
        assert found[f"p{number}"] <= snapshot.may(snapshot.of_pod(number, pod, ()))


@given(forests(), st.data())
@settings(max_examples=60, deadline=None)
def test_ending_any_task_ends_exactly_what_came_of_it(forest: Forest, data: st.DataObject) -> None:
    living = made(forest)
    before = allowed(forest, living, Snapshot(forest, forest.tasks))
    chosen = data.draw(st.sampled_from(forest.tasks))
    event = data.draw(st.sampled_from((TaskEvent.REVOKED, TaskEvent.COMPLETED)))
    left = tuple(one.after(event, NOW) if one is chosen else one for one in forest.tasks)
    after = allowed(forest, living, Snapshot(forest, left))
    for node in forest.nodes:
        is_below = node == chosen.id or chosen.id in forest.behind(node)
        assert after[node] == (frozenset() if is_below else before[node]), node


@given(forests(), st.sampled_from(("bot", STANDING)))
@settings(max_examples=40, deadline=None)
def test_removing_an_agent_ends_exactly_what_came_of_it(forest: Forest, name: str) -> None:
    living = made(forest)
    before = allowed(forest, living, Snapshot(forest, forest.tasks))
    left = "bot" if name == STANDING else STANDING
    after = allowed(forest, living, Snapshot(forest, forest.tasks, (left,)))
    root = STANDING if name == STANDING else forest.tasks[0].id
    for node in forest.nodes:
        is_below = node == root or root in forest.behind(node)
        assert after[node] == (frozenset() if is_below else before[node]), node


@given(forests(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_pod_that_somebody_else_changes_may_do_a_part_of_what_it_might(forest: Forest, data: st.DataObject) -> None:
    living, snapshot = made(forest), Snapshot(forest, forest.tasks)
    before = allowed(forest, living, snapshot)
    answers = answers_of(forest, snapshot, living)
    pod = data.draw(st.sampled_from([node for node in forest.nodes if node.startswith("p")]))
    who = answers[data.draw(st.sampled_from([node for node in forest.nodes if node != pod]))]
    if pod not in living.authors or not isinstance(who, Identity):
        return
    more = Living({**living.authors, pod: (*living.authors[pod], author_of(chain_behind(who), NOW))})
    after = allowed(forest, more, snapshot)
    assert after[pod] <= before[pod] & snapshot.may(who)
    # Those that it had made before stay as they were.
    assert {node: may for node, may in after.items() if node != pod} == {
        node: may for node, may in before.items() if node != pod
    }
