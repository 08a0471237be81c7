"""Nobody begins alone what needs another person, whatever they call in whatever order."""

from __future__ import annotations

import itertools
import json
import random
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.unit.control.api.calling import OFFERED, ROOT, Api, document
from tests.unit.control.api.questions import bearer_of, signed_in

from narrowgate.core.approvals import ApprovalEvent, ApprovalQuestion, ApprovalState, Said, Voice, verdict
from narrowgate.core.decision import RuleRef
from narrowgate.core.moment import moment_text
from narrowgate.core.people import People, Seat
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.policy_set import check_files
from narrowgate.core.rulebook import compile_policies
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


ONE_OF_SRE = OFFERED.replace("{group: sre, count: 2}", "{group: sre, count: 1}")
KEYS = (
    {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty": "OKP", "crv": "Ed25519", "x": "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"},
)


class Scheme:
    """A team's agent, for whose secrets one of the team says yes; and alice of the team, an admin, who is after them.

    Eve, who is in no group that is asked, says yes to whatever she can. Bob of the team, an admin too, works as he
    always does, delegates to alice, and says yes to nothing. The agent keeps the credential that it has from bob.
    """

    def __init__(self, folder: Path) -> None:
        self.api = Api(folder)
        self.api.put_in_force(compile_policies(check_files([("offered.yaml", ONE_OF_SRE)]).policies, 2))
        self.signed: Counter[str] = Counter()
        self.proofs: dict[str, str] = {}
        for name in ("alice", "bob", "eve"):
            self.sign_in(name)
        self.agents = self.api.agent("hers", owner="group:sre").text
        self.tasks: list[str] = []
        self.shown_to_alice: list[str] = []
        self.began = 0

    # --- what anybody does

    def sign_in(self, name: str) -> None:
        groups = ("developers",) if name == "eve" else ("sre", "admins")
        self.signed[name] += 1
        self.proofs[name] = bearer_of(self.api, signed_in(self.api, name, *groups, number=self.signed[name]))

    def call(self, proof: str, method: str, path: str, body: object = None) -> Any:
        answer = self.api.call(method, path, body, who=proof)
        assert answer.status < 500, answer.text
        return document(answer) if answer.status in (200, 201) else {}

    def ask(self, proof: str) -> None:
        if task := self.call(proof, "POST", "/tasks", WISH | {"purpose": f"number {len(self.tasks)}"}):
            self.tasks.append(task["id"])

    def collect(self, proof: str, task: str) -> None:
        if self.call(proof, "POST", f"/tasks/{task}/collect").get("credential"):
            self.began += 1
            assert not self.alice_could_ask(task), "alice began it alone"

    def alice_could_ask(self, task: str) -> bool:
        """Told by what opens the gate, not by what it remembers."""
        record = self.api.store.agent("hers")
        return (
            any(self.call(shown, "GET", "/whoami") for shown in self.shown_to_alice)
            or bool(self.alices_keys() & {key.id for key in record.keys})
            or self.api.store.tasks.get(task).requested_by == "person:alice"
            or record.owner == "person:alice"
        )

    def alices_keys(self) -> set[str]:
        changes = self.api.store.changes(10_000)
        details = [json.loads(one.detail) for one in changes if one.by == "person:alice" and one.subject == "hers"]
        return {key["id"] for told in details for key in told["keys"]}

    # --- the moves

    def move(self, name: str, pick: int) -> None:
        task = self.tasks[pick % len(self.tasks)] if self.tasks else "none"
        alice, bob, eve = (self.proofs[one] for one in ("alice", "bob", "eve"))
        mine = self.shown_to_alice[-1 - pick % 3 :][0] if self.shown_to_alice else alice
        keep = {"keepOldFor": "10m"} if pick % 2 else {}
        until = {"until": moment_text(time.time() + 600)}
        match name:
            case "alice asks":
                self.ask(alice)
            case "alice asks as the agent":
                self.ask(mine)
            case "bob asks":
                self.ask(bob)
            case "the agent asks":
                self.ask(self.agents)
            case "alice collects":
                self.collect(alice, task)
            case "alice collects as the agent":
                self.collect(mine, task)
            case "the agent collects":
                self.collect(self.agents, task)
            case "alice says yes":
                self.call(alice, "POST", f"/approvals/{task}/approve")
            case "eve says yes":
                self.call(eve, "POST", f"/approvals/{task}/approve")
            case "alice rotates":
                made = self.call(alice, "POST", "/agents/hers/rotate", keep)
                self.shown_to_alice += [made["credential"]] if made else []
            case "bob rotates":
                self.agents = self.call(bob, "POST", "/agents/hers/rotate", keep).get("credential", self.agents)
            case "alice adds a key":
                self.call(alice, "POST", "/agents/hers/keys", KEYS[pick % 2])
            case "bob removes a key":
                for key in self.api.store.agent("hers").keys[:1]:
                    self.call(bob, "DELETE", f"/agents/hers/keys/{key.id}")
            case "alice makes somebody its owner":
                owner = ("person:alice", "person:bob", "group:sre", "group:developers")[pick % 4]
                self.call(alice, "PATCH", "/agents/hers", {"owner": owner})
            case "alice delegates":
                self.call(alice, "POST", "/delegations", until | {"to": ("eve", "bob")[pick % 2]})
            case "bob delegates":
                self.call(bob, "POST", "/delegations", until | {"to": "alice"})
            case "all delegations end":
                for one in self.api.store.delegations.listed():
                    self.call(alice, "POST", f"/delegations/{one.id}/end")
            case "alice signs in anew":
                self.api.store.sign_ins.end(
                    self.api.store.sign_ins.listed("alice")[0].id, "out", by="person:alice", at=time.time()
                )
                self.sign_in("alice")
            case "alice makes the agent anew":
                self.call(alice, "DELETE", "/agents/hers")
                wish = {"name": "hers", "owner": "group:sre", "purpose": "x", "cluster": "dev"}
                self.shown_to_alice.append(self.call(alice, "POST", "/agents", wish)["credential"])


MOVES = (
    "alice asks", "alice asks as the agent", "bob asks", "the agent asks", "alice collects",
    "alice collects as the agent", "the agent collects", "alice says yes", "eve says yes", "alice rotates",
    "bob rotates", "alice adds a key", "bob removes a key", "alice makes somebody its owner", "alice delegates",
    "bob delegates", "all delegations end", "alice signs in anew", "alice makes the agent anew",
)  # fmt: skip
FINALLY = ("eve says yes", "alice says yes", "the agent collects", "alice collects", "alice collects as the agent")
"""What is tried in the end with every task, whatever happened before."""

schemes = st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 5)), max_size=16)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schemes)
@example([("alice asks as the agent", 0), ("alice rotates", 0), ("alice asks as the agent", 0)])
@example([("alice rotates", 0), ("alice asks as the agent", 0), ("alice delegates", 0), ("bob rotates", 1)])
@example([("the agent asks", 0), ("alice says yes", 0), ("alice rotates", 1)])
@example([("alice adds a key", 0), ("bob rotates", 0), ("the agent asks", 0), ("alice says yes", 0)])
@example([("bob asks", 0), ("alice delegates", 0), ("eve says yes", 0), ("alice makes somebody its owner", 0)])
@example([("alice makes the agent anew", 0), ("bob delegates", 0), ("alice asks as the agent", 0)])
def test_nobody_who_can_ask_as_the_agent_lets_it_begin(sent: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scheme = Scheme(Path(folder))
        with closing(scheme.api.store):
            for name, pick in sent:
                scheme.move(name, pick)
            for number in range(len(scheme.tasks)):
                for name in FINALLY:
                    scheme.move(name, number)
            assert len(scheme.api.store.tasks.listed()) == len(scheme.tasks) >= scheme.began


def test_what_somebody_else_asks_alice_lets_begin() -> None:
    # The law above would hold of a gate where nothing ever begins, too.
    with tempfile.TemporaryDirectory() as folder:
        scheme = Scheme(Path(folder))
        with closing(scheme.api.store):
            for name in ("the agent asks", "alice says yes", "the agent collects"):
                scheme.move(name, 0)
            assert scheme.began == 1
            for name in ("alice rotates", "bob rotates", "the agent asks", "alice delegates", "eve says yes"):
                scheme.move(name, 0 if name != "eve says yes" else 1)
            scheme.move("the agent collects", 1)
            assert scheme.began == 2


names = ("ann", "ben", "cat", "dan")
some_groups = st.frozensets(st.sampled_from(("sre", "sec", "team")), max_size=2)


@st.composite
def crowds(draw: Any) -> tuple[People, dict[str, tuple[str, frozenset[str], frozenset[str]]]]:
    """People as they are known, and of each who is away who fills their place, for what, and what they are in."""
    signed = {name: draw(some_groups) for name in names if draw(st.booleans())}
    away = {}
    for name in names:
        if draw(st.booleans()):
            member_of = draw(st.frozensets(st.sampled_from(("sre", "sec", "team")), min_size=1))
            filled_by = draw(st.sampled_from([other for other in names if other != name]))
            away[name] = (filled_by, member_of - draw(some_groups), member_of)
    seats = {
        name: tuple(
            Seat(person=gone, groups=groups, member_of=member_of)
            for gone, (filled_by, groups, member_of) in away.items()
            if filled_by == name
        )
        for name in names
    }
    known = People(
        groups=signed, seats=seats, excluded=draw(st.frozensets(st.sampled_from(names), max_size=1)),
        owner_groups=draw(st.sampled_from((frozenset({"team"}), frozenset[str]()))),
    )  # fmt: skip
    return known, away


asked_of = st.lists(
    st.builds(
        lambda places, kept_out: Approval(tuple(Approvers(*place) for place in places), 60.0, kept_out),
        st.lists(st.tuples(st.sampled_from(("sre", "sec")), st.integers(1, 2)), min_size=1, max_size=2),
        st.booleans(),
    ),
    min_size=1,
    max_size=2,
)
voices = st.dictionaries(st.sampled_from(names), st.sampled_from(Voice), max_size=4)


@settings(max_examples=600, deadline=None)
@given(crowds(), asked_of, voices, st.frozensets(st.sampled_from(names), max_size=1), st.randoms())
def test_every_place_is_filled_by_another_person_for_another_member(
    crowd: Any, asks: list[Approval], said: dict[str, Voice], excluded: frozenset[str], chance: random.Random
) -> None:
    people, away = crowd
    answers = [
        Said(person=name, voice=voice, at=1.0, stands_for=tuple(one.person for one in people.seats[name]))
        for name, voice in said.items()
    ]
    question = ApprovalQuestion(
        id="a",
        asks=tuple(asks),
        rules=(RuleRef("p", "r"),),
        excluded=tuple(excluded),
        asked_at=0.0,
        lapses_at=100.0,
        said=tuple(answers),
    )
    barred = excluded | people.excluded

    def fills(person: str, member: str, group: str, ask: Approval) -> bool:
        """Whether this person may fill a place of that group as that member of it."""
        if person in barred or member in barred or person not in people.groups:
            return False
        own = people.groups[person]
        if person == member:
            given, all_of_theirs = own, own
        else:
            filled_by, given, all_of_theirs = away.get(member, ("", frozenset(), frozenset()))
            if filled_by != person or member in said:
                return False
        kept_out = ask.not_by_owner and not people.owner_groups.isdisjoint(own | all_of_theirs)
        return group in given and not kept_out

    def speaks(person: str, ask: Approval) -> bool:
        return any(fills(person, member, one.group, ask) for member in names for one in ask.approvers)

    def seated(ask: Approval) -> bool:
        places = [one.group for one in ask.approvers for _ in range(one.count)]
        yes = [name for name, voice in said.items() if voice is Voice.YES]
        return any(
            len(set(members)) == len(places)
            and all(fills(*filled, ask) for filled in zip(persons, members, places, strict=True))
            for persons in itertools.permutations(yes, len(places))
            for members in itertools.product(names, repeat=len(places))
        )

    denied = any(voice is Voice.NO and speaks(name, ask) for name, voice in said.items() for ask in asks)
    approved = ApprovalEvent.APPROVED if all(map(seated, asks)) else None
    expected = ApprovalEvent.DENIED if denied else approved
    assert verdict(question, people) is expected
    shuffled = tuple(chance.sample(answers, len(answers)))
    assert verdict(msgspec.structs.replace(question, said=shuffled), people) is expected
