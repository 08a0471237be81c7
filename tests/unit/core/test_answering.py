"""Who may see, answer and take back a question; what a task asks of people."""

from __future__ import annotations

import msgspec
import pytest

from narrowgate.core.agent import AgentRecord
from narrowgate.core.answering import (
    agents_of,
    asked_groups,
    asks_in_words,
    excluded_people,
    is_own,
    known_by_now,
    may_see,
    owner_groups,
    question_for_task,
    refusal_to_answer,
    waits_for,
)
from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, Matter, Said, Voice
from narrowgate.core.decision import RuleRef
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.people import People
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.core.wanted import Offer, read_wanted

NOW = 1_000.0
SRE = frozenset({"sre"})
NONE: frozenset[str] = frozenset()


def who(kind: Kind, name: str, *groups: str, owner: str = "") -> Identity:
    return Identity(kind=kind, name=name, groups=groups, owner=owner, proven_by="test", credential="c")


def person(name: str, *groups: str) -> Identity:
    return who(Kind.PERSON, name, *groups)


def people(**groups: str) -> People:
    """Each with the one group that they are in."""
    return People(groups={name: frozenset({group}) for name, group in groups.items()})


def record(owner: str, *handed_to: str) -> AgentRecord:
    return AgentRecord(
        name="bot",
        owner=owner,
        purpose="tests",
        cluster="dev",
        credential_id="",
        credential_hash=b"",
        created_at=NOW,
        expires_at=NOW,
        handed_to=handed_to,
    )


BOT = who(Kind.AGENT, "bot", owner="person:olga")
ASK = Approval((Approvers("sre", 2),), 600.0)
QUESTION = ApprovalQuestion(
    id="q1",
    asks=(ASK,),
    rules=(RuleRef("p", "r"),),
    digest="d",
    about=Matter(asked_by="agent:bot", chain=("agent:bot",), owner="person:olga"),
    excluded=("olga",),
    asked_at=NOW,
    lapses_at=NOW + 600,
)
TASK = Task(
    id="t1",
    kind=Kind.AGENT,
    name="bot",
    requested_by="person:rita",
    cluster="dev",
    purpose="roll back web",
    link="https://tickets.example/7",
    rules=(read_wanted("patch deployments.apps/web -n ci", 1), read_wanted("get,list pods -n ci", 2)),
    seconds=1200.0,
    requested_at=NOW,
    lapses_at=NOW + 3600,
)
OFFER = Offer(("ci/patch", "ci/read"), (ASK, Approval((Approvers("security", 1),), 300.0)))


def test_only_people_answer_whatever_group_somebody_else_is_in() -> None:
    assert refusal_to_answer(QUESTION, person("ada"), people(ada="sre")) == ""
    for other in (who(Kind.AGENT, "ada", "sre"), who(Kind.WORKLOAD, "ci/ada", "sre")):
        assert "only people answer" in refusal_to_answer(QUESTION, other, people(ada="sre"))
        assert not waits_for(QUESTION, other, people(ada="sre"))


def test_nobody_answers_who_is_excluded_or_in_no_group_that_is_asked() -> None:
    assert "by or for themselves" in refusal_to_answer(QUESTION, person("olga", "sre"), people(olga="sre"))
    assert "in none of the groups" in refusal_to_answer(QUESTION, person("ada"), people(ada="dev"))


def test_the_groups_that_count_are_those_of_now_and_not_those_of_the_proof() -> None:
    assert "in none of the groups" in refusal_to_answer(QUESTION, person("ada", "sre"), People())
    assert not may_see(QUESTION, person("ada", "sre"), NONE)


def test_it_waits_for_those_who_may_answer_and_have_not_while_it_is_open() -> None:
    heard = msgspec.structs.replace(QUESTION, said=(Said(person="ada", voice=Voice.YES, at=NOW),))
    assert waits_for(QUESTION, person("ada"), people(ada="sre"))
    assert not waits_for(heard, person("ada"), people(ada="sre"))
    assert waits_for(heard, person("ben"), people(ben="sre"))
    for state in set(ApprovalState) - {ApprovalState.PENDING}:
        assert not waits_for(msgspec.structs.replace(QUESTION, state=state), person("ben"), people(ben="sre"))


def test_it_is_its_askers_its_holders_and_its_owners() -> None:
    question = msgspec.structs.replace(
        QUESTION, about=Matter(asked_by="person:rita", chain=("person:zoe", "agent:bot"), owner="group:team")
    )
    assert is_own(question, person("rita"))
    assert is_own(question, person("zoe"))
    assert is_own(question, BOT)
    assert is_own(question, person("tim", "team"))
    assert is_own(QUESTION, person("olga"))
    assert not is_own(question, person("olga"))
    # Of another kind and the same name, or an agent in the group that owns.
    assert not is_own(question, person("bot"))
    assert not is_own(question, who(Kind.AGENT, "rita"))
    assert not is_own(question, who(Kind.AGENT, "other", "team"))


def test_what_names_nobody_is_nobodys() -> None:
    bare = msgspec.structs.replace(QUESTION, about=Matter())
    assert not is_own(bare, person(""))
    assert not is_own(bare, BOT)


def test_somebody_in_a_group_that_is_asked_sees_it_and_a_stranger_does_not() -> None:
    assert may_see(QUESTION, person("ada"), SRE)
    assert may_see(QUESTION, person("olga"), NONE)
    assert not may_see(QUESTION, person("eve", "developers"), frozenset({"developers"}))
    assert not may_see(QUESTION, who(Kind.AGENT, "other", "sre"), SRE)


def test_the_people_of_a_chain_and_the_owners_of_its_agents_are_excluded() -> None:
    shared = who(Kind.AGENT, "shared", owner="group:sre")
    assert excluded_people((person("zoe"), BOT, shared)) == ("olga", "zoe")
    assert excluded_people(()) == ()


def test_whoever_asked_for_the_task_has_its_credential_and_does_not_answer_what_comes_with_it() -> None:
    shared = who(Kind.AGENT, "shared", owner="group:sre")
    assert excluded_people((shared,), ("person:rita", "local:root")) == ("rita",)
    assert excluded_people((shared,), ("agent:rita",)) == ()


def test_a_task_asks_for_everything_that_its_rules_need() -> None:
    question = question_for_task(TASK, OFFER, record("person:olga"), NOW)
    assert (question.id, question.task, question.digest, question.credential) == ("t1", "t1", "", "")
    assert question.asks == OFFER.approvals
    assert question.rules == (RuleRef("ci", "patch"), RuleRef("ci", "read"))
    assert asked_groups(question) == ("security", "sre")
    assert question.about == Matter(
        asked_by="person:rita",
        chain=("agent:bot",),
        owner="person:olga",
        purpose="roll back web",
        link="https://tickets.example/7",
        cluster="dev",
        wanted=("patch deployments.apps/web -n ci", "get,list pods -n ci"),
        seconds=1200.0,
    )


def test_neither_who_asked_nor_the_owner_nor_the_person_it_is_for_answers_a_task() -> None:
    assert question_for_task(TASK, OFFER, record("person:olga"), NOW).excluded == ("olga", "rita")
    own = msgspec.structs.replace(TASK, kind=Kind.PERSON, name="zoe", requested_by="person:zoe")
    assert question_for_task(own, OFFER, None, NOW).excluded == ("zoe",)
    # An agent that is called like a person excludes nobody of that name.
    agent = msgspec.structs.replace(TASK, name="ada", requested_by="agent:ada")
    assert question_for_task(agent, OFFER, record("group:sre"), NOW).excluded == ()


def test_it_lapses_with_the_first_deadline_of_all() -> None:
    assert question_for_task(TASK, OFFER, None, NOW).lapses_at == NOW + 300
    soon = msgspec.structs.replace(TASK, lapses_at=NOW + 20)
    assert question_for_task(soon, OFFER, None, NOW).lapses_at == NOW + 20


def test_nobody_is_asked_where_nobody_need_be_or_nothing_waits() -> None:
    with pytest.raises(ValueError, match="nobody is to be asked about task t1"):
        question_for_task(TASK, Offer(("ci/read",), ()), None, NOW)
    with pytest.raises(ValueError, match="nobody is to be asked about task t1"):
        question_for_task(TASK.after(TaskEvent.ACTIVATED, NOW), OFFER, None, NOW)


def test_who_must_say_yes_is_told_a_line_for_each_rule() -> None:
    both = Approval((Approvers("sre", 2), Approvers("security", 1)), 600.0)
    assert asks_in_words(msgspec.structs.replace(QUESTION, asks=(both, ASK))) == (
        "2 of sre and 1 of security, within 10m",
        "2 of sre, within 10m",
    )


def test_everybody_who_was_shown_a_credential_of_the_agent_is_kept_out_of_its_task() -> None:
    question = question_for_task(TASK, OFFER, record("group:sre", "person:rae", "local:root"), NOW)
    assert (question.excluded, question.excluded_groups) == (("rae", "rita"), ("sre",))


def test_what_the_records_say_by_now_keeps_out_whoever_was_shown_a_credential_since() -> None:
    known = known_by_now([record("person:olga", "person:rae", "local:root"), record("group:team")])
    assert known == People(excluded=frozenset({"olga", "rae"}), owner_groups=frozenset({"team"}))
    assert known_by_now([]) == People()


def test_its_agents_are_those_of_the_chain() -> None:
    about = Matter(chain=("person:zoe", "agent:one", "agent:two"))
    assert agents_of(msgspec.structs.replace(QUESTION, about=about)) == ("one", "two")
    assert owner_groups(("person:olga", "group:sre", "", "group:a:b")) == ("a:b", "sre")


def test_a_rule_that_keeps_the_owner_out_says_so() -> None:
    kept_out = msgspec.structs.replace(ASK, not_by_owner=True)
    (line,) = asks_in_words(msgspec.structs.replace(QUESTION, asks=(kept_out,)))
    assert line == "2 of sre, within 10m, not by who answers for the agent"


def test_a_question_tells_the_limits_of_its_task() -> None:
    limited = msgspec.structs.replace(TASK, max_requests=50, max_streams=3)
    about = question_for_task(limited, OFFER, None, NOW).about
    assert (about.max_requests, about.max_streams) == (50, 3)
