"""What stands, for whom, since when, and whether it is used."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from narrowgate.core import standing
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.policy_file import parse_policies
from narrowgate.core.standing import (
    Access,
    Age,
    Revision,
    RuleUse,
    RuleUses,
    accesses,
    ages,
    rule_text,
    standing_of,
    standing_of_subjects,
    without_former,
)

READ = "{id: read, effect: allow, verbs: [get, list], apiGroups: [''], resources: [pods], namespaces: [ci]}"
WIDER = READ.replace("[get, list]", "[get, list, delete]")
OFFERED = (
    "{id: offered, effect: grantable, verbs: [get], apiGroups: [''], resources: [secrets], namespaces: [ci], "
    "maxDuration: 1h, approval: none}"
)


def text(*rules: str, name: str = "ci", subjects: str = "{kind: Agent, name: bot}", clusters: str = "prod") -> str:
    listed = "".join(f"    - {rule}\n" for rule in rules)
    return (
        f"apiVersion: narrowgate.dev/v1alpha1\nkind: Policy\nmetadata: {{name: {name}}}\n"
        f"spec:\n  subjects: [{subjects}]\n  clusters: ['{clusters}']\n  rules:\n{listed}"
    )


def revisions(*sets: dict[str, str]) -> list[Revision]:
    """Numbered from the newest, which is named first; revision n was made at n00 seconds."""
    numbers = range(len(sets), 0, -1)
    return [Revision(number, number * 100.0, tuple(one.items())) for number, one in zip(numbers, sets, strict=True)]


def aged(*sets: dict[str, str]) -> dict[Access, Age]:
    current, *older = revisions(*sets)
    return ages(current, [policy for file in current.files for policy in parse_policies(file[1], file[0])], older)


def only(found: dict[Access, Age]) -> Age:
    (age,) = found.values()
    return age


def agent(name: str, *groups: str, cluster: str = "prod") -> AgentRecord:
    return AgentRecord(
        name=name, owner="person:olga", purpose="test", cluster=cluster, credential_id="", credential_hash=b"",
        created_at=0, expires_at=9_000, groups=groups,
    )  # fmt: skip


def lines(
    written: str, *uses: RuleUse, since: float | None = 50.0, age: Age | None = None, agents: Sequence[AgentRecord] = ()
) -> list[standing.Standing]:
    at = age or Age(1, 100.0)
    return standing_of_subjects(parse_policies(written, "p"), lambda _: at, RuleUses(uses, since), agents)


def use(holder: str = "agent:bot", at: float = 500.0, **fields: str) -> RuleUse:
    return msgspec.structs.replace(RuleUse(holder=holder, cluster="prod", policy="ci", rule="read", at=at), **fields)


def test_only_allow_rules_stand_and_each_for_each_subject_and_cluster() -> None:
    written = text(READ, OFFERED, subjects="{kind: Agent, name: bot}, {kind: Group, name: ci}")
    found = list(accesses(parse_policies(written, "p")))
    assert [(one.subject.name, one.cluster, one.rule.id) for one in found] == [
        ("bot", "prod", "read"),
        ("ci", "prod", "read"),
    ]


def test_a_rule_is_as_old_as_the_oldest_revision_since_which_it_stands_without_a_gap() -> None:
    with_it, without = {"a": text(READ)}, {"a": text(OFFERED)}
    assert only(aged(with_it)) == Age(1, 100.0)
    assert only(aged(with_it, with_it, with_it)) == Age(1, 100.0)
    assert only(aged(with_it, with_it, without, with_it)) == Age(3, 300.0)


@pytest.mark.parametrize(
    "before",
    [
        text(WIDER),
        text(READ, name="other"),
        text(READ, clusters="dev"),
        text(READ, subjects="{kind: Agent, name: another}"),
        text(READ.replace("effect: allow", "effect: deny")),
        "not a policy",
    ],
)
def test_whatever_is_different_about_it_begins_a_new_age(before: str) -> None:
    assert only(aged({"a": text(READ)}, {"a": before})) == Age(2, 200.0)


def test_neither_another_line_nor_another_file_makes_it_another_rule() -> None:
    assert only(aged({"a": text(OFFERED, READ)}, {"b": "# moved\n" + text(READ)})) == Age(1, 100.0)


def test_how_far_is_looked_back_is_limited_and_said() -> None:
    many = [{"a": text(READ)}] * (standing.MOST_REVISIONS + 5)
    assert only(aged(*many)) == Age(5, 500.0, is_older=True)
    filler = "# " + "x" * standing.MOST_TEXT + "\n"
    assert only(aged({"a": text(READ)}, {"a": text(READ)}, {"a": filler + text(READ)})) == Age(2, 200.0, is_older=True)


def test_never_used_and_old_comes_first_and_lately_used_last() -> None:
    rules = [READ.replace("id: read", f"id: {name}") for name in ("fresh", "stale", "idle", "ancient")]
    at = {"fresh": 100.0, "stale": 100.0, "idle": 90.0, "ancient": 10.0}
    known = RuleUses((use(rule="fresh", at=900.0), use(rule="stale", at=200.0)), 50.0)
    found = standing_of_subjects(
        parse_policies(text(*rules), "p"), lambda access: Age(1, at[access.rule.id]), known, [agent("bot")]
    )
    assert [line.access.rule.id for line in found] == ["ancient", "idle", "stale", "fresh"]
    # Never used is said since it stands, or since anybody counts, whichever came later.
    assert [line.unused_since for line in found] == [50.0, 90.0, None, None]


def test_a_use_of_what_the_rule_said_before_counts_for_nothing() -> None:
    (line,) = lines(text(READ), use(at=99.0), agents=[agent("bot")])
    assert (line.last_use, line.unused_since) == (None, 100.0)
    # Where its age is not known to the end, it may have been this very rule.
    (line,) = lines(text(READ), use(at=99.0), age=Age(1, 100.0, is_older=True), agents=[agent("bot")])
    assert (line.last_use, line.unused_since) == (None, 50.0)


def test_where_nobody_counts_nothing_is_said_about_use() -> None:
    (line,) = lines(text(READ), since=None)
    assert (line.last_use, line.unused_since) == (None, None)


def test_a_group_is_used_by_its_agents_and_by_whoever_else_may_be_in_it() -> None:
    written = text(READ, subjects="{kind: Group, name: ci}")
    agents = [agent("bot", "ci"), agent("other"), agent("far", "ci", cluster="dev")]
    (line,) = lines(written, use("agent:other", 900.0), use("agent:far", 800.0), use(at=500.0), agents=agents)
    assert (line.holder, line.agents, line.last_use) == ("group:ci", 1, use(at=500.0))
    (line,) = lines(written, use("person:alice", 700.0), use(at=500.0), agents=agents)
    assert line.last_use == use("person:alice", 700.0)


def test_all_of_a_kind_are_counted_on_every_cluster_that_the_policy_means() -> None:
    agents = [agent("bot"), agent("far", cluster="dev")]
    (line,) = lines(text(READ, subjects="{kind: Agent, name: '*'}", clusters="*"), agents=agents)
    assert (line.holder, line.agents, line.access.cluster) == ("agent:*", 2, "*")
    (line,) = lines(text(READ, subjects="{kind: Person, name: '*'}"), use("agent:bot"), use("person:al", 300.0))
    assert (line.agents, line.last_use) == (0, use("person:al", 300.0))


def test_one_identity_sees_its_own_use_alone() -> None:
    policies = parse_policies(text(READ, subjects="{kind: Group, name: ci}"), "p")
    known = RuleUses((use("agent:other", 900.0), use(at=500.0)), 50.0)

    def seen(*groups: str, cluster: str = "prod") -> list[tuple[str, RuleUse | None]]:
        who = Identity(kind=Kind.AGENT, name="bot", groups=groups, proven_by="t", credential="c", cluster=cluster)
        return [(line.holder, line.last_use) for line in standing_of([who], policies, lambda _: None, known)]

    assert seen("ci") == [("agent:bot", use(at=500.0))]
    assert seen("else") == seen("ci", cluster="dev") == []


def test_an_agent_made_anew_has_used_nothing() -> None:
    known = RuleUses((use(at=500.0), use("agent:gone", at=1.0), use("person:al", at=1.0)), 50.0)
    anew = msgspec.structs.replace(agent("bot"), created_at=501.0)
    assert without_former(known, [anew]) == RuleUses((use("agent:gone", at=1.0), use("person:al", at=1.0)), 50.0)
    assert without_former(known, [agent("bot")]) == known


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("verbs: [get, list], apiGroups: [''], resources: [pods], namespaces: [ci, dev]", "get,list pods -n ci,dev"),
        (
            "verbs: [get], apiGroups: [apps], resources: [deployments/scale], namespaces: [ci]",
            "get deployments.apps/scale -n ci",
        ),
        ("verbs: ['*'], apiGroups: ['*'], resources: ['*'], namespaces: ['*']", "* * -n *"),
        (
            "verbs: [get], apiGroups: ['', apps], resources: [pods, deployments], namespaces: [ci]",
            "get pods,deployments of core,apps -n ci",
        ),
        ("verbs: [get], apiGroups: [''], resources: [nodes], names: [a, b]", "get nodes/a,b"),
        ("verbs: [get], nonResourceURLs: [/metrics, /logs/*]", "get /metrics,/logs/*"),
        ("verbs: [get], apiGroups: [''], resources: [nodes], when: 'request.name ==  \"a\"'", None),
    ],
)
def test_a_rule_in_words(fields: str, expected: str | None) -> None:
    ((access),) = accesses(parse_policies(text(f"{{id: one, effect: allow, {fields}}}"), "p"))
    assert rule_text(access.rule) == (expected or 'get nodes when request.name == "a"')


def test_a_rule_of_many_words_is_cut() -> None:
    names = ", ".join(f"name-{number}" for number in range(200))
    rule = f"{{id: one, effect: allow, verbs: [get], apiGroups: [''], resources: [nodes], names: [{names}]}}"
    ((access),) = accesses(parse_policies(text(rule), "p"))
    assert len(rule_text(access.rule)) == standing.LONGEST_TEXT
    assert rule_text(access.rule).endswith("...")
