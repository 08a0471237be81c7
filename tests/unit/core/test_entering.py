"""What a request into a pod would do there, and what rules of each effect say of that."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.deciding import agent, answer, asks, person, policy, rule, uses

from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.entering import entries_of, new_debug_containers, pod_seen
from narrowgate.core.explain import explain
from narrowgate.core.grants import Grant, granted_rule
from narrowgate.core.identity import Kind, chain_of
from narrowgate.core.intent import Entry, Intent, PodSeen
from narrowgate.core.judging import Evidence
from narrowgate.core.matching import CompiledRule
from narrowgate.core.policy import Approval, Approvers, Rule
from narrowgate.core.preview import could_be_entered, wants_pod
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.typed_lines import LineGuard

POD = {
    "metadata": {"name": "web", "labels": {"app": "web", "tier": "front", "odd": 1}},
    "spec": {"containers": [{"name": "app"}]},
}
SEEN = PodSeen(labels=(("app", "web"), ("tier", "front")), only_container="app")
OTHER = PodSeen(labels=(("app", "db"),), only_container="db")
UNKNOWN = PodSeen(unknown="the cluster answers 403 to reading it")


def gives(effect: str = "allow", resources: str = "pods/exec", **terms: Any) -> Rule:
    terms.setdefault("id", f"{effect}-in")
    return rule(effect, "create patch", resources, namespaces="ci", **terms)


def execs(*command: str, container: str = "app", pod: PodSeen | None = None) -> Intent:
    entry = Entry(container=container, command=command)
    return asks("create", "pods/exec", "web", namespace="ci", entry=entry, pod=pod)


def attaches(pod: PodSeen | None = None) -> Intent:
    return asks("create", "pods/attach", "web", namespace="ci", entry=Entry(container="app"), pod=pod)


def debugs(*containers: Any, before: Any = ()) -> Intent:
    now = {"spec": {"ephemeralContainers": [*before, *containers]}}
    old = {"spec": {"ephemeralContainers": [*before]}}
    return asks("patch", "pods/ephemeralcontainers", "web", namespace="ci", object=now, old_object=old)


def debug(name: str = "shell", *command: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", "command": list(command), **more}


def found(what: Intent, *rules: Rule) -> Decision:
    return answer(what, policy(*rules))


LS = gives(commands=(("ls", "*"), ("sh", "-c", "ls /")))
ANY = gives(resources="pods/exec pods/attach pods/ephemeralcontainers")
NO_RM = gives("deny", "pods/exec pods/attach pods/ephemeralcontainers", commands=(("rm",),))


def test_a_listed_command_is_let_in() -> None:
    assert isinstance(found(execs("ls", "data"), LS), Allow)
    assert isinstance(found(execs("sh", "-c", "ls /"), LS), Allow)


@pytest.mark.parametrize(
    "what",
    [
        execs("ls"),
        execs("ls", "-R"),
        execs("sh"),
        execs("sh", "-c", "ls /;id"),
        execs("sh", "-c", "ls /", "x"),
        execs(),
        asks("create", "pods/exec", "web", namespace="ci"),
    ],
)
def test_no_other_command_is(what: Intent) -> None:
    assert isinstance(found(what, LS), Deny)


def test_the_refusal_says_what_may_be_run() -> None:
    refused = found(execs("rm", "-rf", "/"), LS)
    assert isinstance(refused, Deny)
    said = 'no rule allows running ["rm", "-rf", "/"] in container "app": commands allowed are ls *, [sh, -c, "ls /"]'
    assert said in refused.message
    assert "\n" not in refused.message


def test_a_refusal_writes_nothing_to_a_terminal() -> None:
    refused = found(execs("rm\x1b[2J\n", "\u202e", "x" * 10_000), LS)
    assert isinstance(refused, Deny)
    assert refused.message.isprintable()
    assert len(refused.message) < 1_000


def test_an_attach_is_given_by_no_rule_about_commands() -> None:
    assert isinstance(found(attaches(), gives(resources="pods/attach", commands=(("ls",),))), Deny)


@pytest.mark.parametrize(
    "what",
    [
        execs("rm", "-rf", "/"),
        execs("/bin/rm"),
        execs("sh"),
        execs("env", "ls"),
        execs("busybox", "ls"),
        execs(),
        attaches(),
        debugs(debug("shell", "ls")),
        asks("patch", "pods/ephemeralcontainers", "web", namespace="ci"),
    ],
)
def test_a_deny_of_a_command_holds_for_all_that_could_hide_it(what: Intent) -> None:
    refused = found(what, ANY, NO_RM)
    assert isinstance(refused, Deny)
    assert refused.rule is not None
    assert "the rule guards the commands rm" in refused.hint


def test_a_deny_of_a_command_leaves_others_alone() -> None:
    assert isinstance(found(execs("ls", "-R"), ANY, NO_RM), Allow)


def test_what_may_run_a_held_command_is_held_and_what_cannot_is_not() -> None:
    holds = gives("approve", commands=(("migrate",),))
    assert isinstance(found(execs("migrate"), ANY, holds), NeedsApproval)
    assert isinstance(found(execs("sh"), ANY, holds), NeedsApproval)
    assert isinstance(found(execs("ls"), ANY, holds), Allow)


def test_an_approve_rule_offers_the_listed_commands_and_no_shell() -> None:
    offers = gives("approve", commands=(("migrate", "**"),))
    assert isinstance(found(execs("migrate", "--all"), offers), NeedsApproval)
    refused = found(execs("sh"), offers)
    assert isinstance(refused, Deny)
    assert "commands allowed are migrate **" in refused.message


def test_a_container_is_matched_by_its_name() -> None:
    app = gives(containers=("app",))
    assert isinstance(found(execs("ls"), app), Allow)
    refused = found(execs("ls", container="sidecar"), app)
    assert isinstance(refused, Deny)
    assert 'no rule allows getting into container "sidecar": containers allowed are app' in refused.message


def test_a_container_that_is_not_named_is_the_only_one_where_the_pod_is_seen() -> None:
    app = gives(containers=("app",))
    assert isinstance(found(execs("ls", container="", pod=SEEN), app), Allow)
    for pod in (None, OTHER, UNKNOWN, PodSeen()):
        assert isinstance(found(execs("ls", container="", pod=pod), app), Deny)


def test_a_guard_over_a_container_holds_where_it_may_be_meant() -> None:
    no_app = gives("deny", "pods/exec pods/ephemeralcontainers", containers=("app",))
    assert isinstance(found(execs("ls", container=""), ANY, no_app), Deny)
    assert isinstance(found(execs("ls", container="", pod=SEEN), ANY, no_app), Deny)
    assert isinstance(found(execs("ls", container="", pod=OTHER), ANY, no_app), Allow)
    assert isinstance(found(execs("ls", container="side"), ANY, no_app), Allow)
    assert isinstance(found(debugs(debug("side", "ls")), ANY, no_app), Deny)


def test_pods_are_chosen_by_their_labels() -> None:
    web = gives(pod_labels=(("app", "web"),))
    assert isinstance(found(execs("ls", pod=SEEN), web), Allow)
    refused = found(execs("ls", pod=OTHER), web)
    assert isinstance(refused, Deny)
    assert "no rule allows getting into this pod: it must have the labels app=web" in refused.message
    for pod in (None, UNKNOWN):
        refused = found(execs("ls", pod=pod), web)
        assert isinstance(refused, Deny)
        assert "labels are not known" in refused.message


def test_every_label_counts() -> None:
    both = gives(pod_labels=(("app", "web"), ("tier", "back")))
    assert isinstance(found(execs("ls", pod=SEEN), both), Deny)


def test_a_guard_over_labels_holds_where_they_are_not_known() -> None:
    no_web = gives("deny", pod_labels=(("app", "web"),))
    assert isinstance(found(execs("ls", pod=SEEN), ANY, no_web), Deny)
    assert isinstance(found(execs("ls", pod=None), ANY, no_web), Deny)
    assert isinstance(found(execs("ls", pod=UNKNOWN), ANY, no_web), Deny)
    assert isinstance(found(execs("ls", pod=OTHER), ANY, no_web), Allow)


DEBUGGER = gives(
    resources="pods/ephemeralcontainers", containers=("shell", "app"), commands=(("ls", "*"), ("sh", "-c", "ls /"))
)


@pytest.mark.parametrize(
    ("what", "let_in"),
    [
        (debugs(debug("shell", "ls", "x")), True),
        (debugs(debug("shell", "ls", args=["x"])), True),
        (debugs(debug("shell", "ls", "x", targetContainerName="app")), True),
        (debugs(debug("shell", "ls", "x"), before=[debug("old", "sh")]), True),
        (debugs(debug("shell", "ls", "x", targetContainerName="db")), False),
        (debugs(debug("other", "ls", "x")), False),
        (debugs(debug("shell")), False),
        (debugs(debug("shell", args=["ls", "x"])), False),
        (debugs(debug("shell", "ls", "$(X)")), False),
        (debugs(debug("shell", "ls", "x"), debug("more", "sh")), False),
        (debugs(debug("shell", "ls", "x"), debug("app", "sh")), False),
        (debugs(), False),
        (debugs(None), False),
        (debugs({"name": 1, "command": ["ls", "x"]}), False),
        (debugs({"name": "shell", "command": "ls x"}), False),
        (asks("patch", "pods/ephemeralcontainers", "web", namespace="ci"), False),
    ],
)
def test_a_debug_container_is_judged_by_what_it_would_run(what: Intent, let_in: bool) -> None:
    assert isinstance(found(what, DEBUGGER), Allow) is let_in


def test_the_containers_of_a_debug_are_asked_for_where_a_rule_looks_at_them() -> None:
    patch = asks("patch", "pods/ephemeralcontainers", "web", namespace="ci")
    asked = compile_policies([policy(DEBUGGER)], 1).object_needs(chain_of(agent()), patch)
    assert (asked.object, asked.old_object) == (True, True)
    plain = compile_policies([policy(ANY)], 1).object_needs(chain_of(agent()), patch)
    assert (plain.object, plain.old_object) == (False, False)


def test_only_ways_into_pods_are_entries() -> None:
    assert entries_of(execs("ls")) == (Entry(container="app", command=("ls",)),)
    assert entries_of(asks("create", "pods/portforward", "web", namespace="ci")) == ()
    assert entries_of(asks("get", "pods/ephemeralcontainers", "web", namespace="ci")) == ()
    assert entries_of(asks("create", "jobs/exec", "web", namespace="ci", group="batch")) == ()


def test_what_is_seen_of_a_pod() -> None:
    assert pod_seen(POD) == SEEN
    two = {**POD, "spec": {"containers": [{"name": "app"}, {"name": "db"}]}}
    assert pod_seen(two).only_container == ""
    for odd in (None, {}, [], {"metadata": {"name": "x"}}, {"metadata": [], "spec": {"containers": []}}):
        assert pod_seen(odd).unknown


def test_the_pod_is_looked_at_where_a_rule_asks_for_it_and_somebody_may_get_in() -> None:
    book = compile_policies([policy(gives(containers=("app",)))], 1)
    who = chain_of(agent())
    assert wants_pod(book, who, execs("ls", container=""))
    assert not wants_pod(book, who, execs("ls"))
    labels = compile_policies([policy(gives("approve", pod_labels=(("app", "web"),)))], 1)
    assert wants_pod(labels, who, execs("ls"))
    assert could_be_entered(who, execs("ls"), labels, (), 0.0) is not None
    denied = compile_policies([policy(gives("approve", pod_labels=(("app", "web"),)), gives("deny"))], 1)
    assert could_be_entered(who, execs("ls"), denied, (), 0.0) is None
    assert could_be_entered(chain_of(person("ada")), execs("ls"), labels, (), 0.0) is None


def test_everybody_in_a_chain_must_be_allowed_the_command() -> None:
    first = policy(gives(commands=(("ls",), ("id",))), name="one", subjects="Agent/ci")
    second = policy(gives(commands=(("ls",),)), name="two", subjects="Agent/sub")
    who = chain_of(agent("ci"), agent("sub"))
    assert isinstance(answer(execs("ls"), first, second, by=who), Allow)
    assert isinstance(answer(execs("id"), first, second, by=who), Deny)


def test_a_grant_is_as_narrow_as_the_rule_that_grants_it() -> None:
    grantable = gives("grantable", commands=(("ls",),))
    book = compile_policies([policy(grantable)], 1)
    words = rule("allow", "create", "pods/exec", namespaces="ci")
    grant = Grant(
        task="t1",
        kind=Kind.AGENT,
        name="ci",
        cluster="prod",
        rules=(granted_rule(words, "t1"),),
        begins_at=0.0,
        ends_at=50.0,
    )
    who = chain_of(agent(task="t1"))
    assert isinstance(decide(who, execs("ls"), book, (grant,), (), 1.0), Allow)
    refused = decide(who, execs("sh"), book, (grant,), (), 1.0)
    assert isinstance(refused, Deny)
    assert "commands allowed are ls" in refused.message
    assert "tasks request" not in refused.hint, "no task would be granted that"


def test_a_task_holds_no_rule_that_looks_inside() -> None:
    with pytest.raises(ValueError, match="plain"):
        granted_rule(gives(commands=(("ls",),)), "t1")


def test_of_what_a_request_only_uses_nothing_is_known() -> None:
    use = uses("pods/exec", "web", verbs="create")
    what = execs("ls")
    evidence = Evidence(what)
    assert not evidence.fits(CompiledRule("p", gives(commands=(("ls",),)), 1), use)
    assert evidence.fits(CompiledRule("p", gives("deny", commands=(("ls",),)), 1), use)


def test_explain_says_which_commands_a_rule_is_about() -> None:
    told = str(explain(chain_of(agent()), execs("id"), compile_policies([policy(LS)], 1), 0.0))
    assert "it does not speak of this way into a pod, not allowing running" in told
    assert "commands allowed are ls *" in told


def test_a_near_rule_is_summed_up_with_what_it_looks_at() -> None:
    narrow = gives(commands=(("ls", "*"),), containers=("app",), pod_labels=(("app", "web"),))
    refused = found(execs("id", pod=SEEN), narrow)
    assert isinstance(refused, Deny)
    assert "commands ls *, container app, pods with app=web" in refused.hint


def test_a_rule_that_looks_inside_is_never_plain() -> None:
    assert not CompiledRule("p", LS, 1).is_plain
    assert CompiledRule("p", msgspec.structs.replace(LS, commands=None), 1).is_plain


def lines_of(decision: Decision) -> tuple[str, ...]:
    assert isinstance(decision, Allow)
    return tuple(guard.rule for guard in decision.lines)


def test_what_may_not_be_typed_is_said_by_every_rule_that_lets_somebody_in() -> None:
    first = policy(gives(lines=(("rm",),), id="a"), name="one", subjects="Agent/ci")
    second = policy(gives(lines=(("dd",),), id="b"), name="two", subjects="Agent/sub")
    who = chain_of(agent("ci"), agent("sub"))
    decision = answer(execs("sh"), first, second, by=who)
    assert isinstance(decision, Allow)
    assert decision.lines == (LineGuard("one/a", (("rm",),)), LineGuard("two/b", (("dd",),)))


def test_rules_that_let_nobody_in_say_nothing_about_lines() -> None:
    quiet, other = gives(id="a"), gives(lines=(("rm",),), id="z", names="db")
    assert lines_of(found(execs("sh"), quiet, other)) == ()
    assert (
        lines_of(found(asks("get", "pods", "web", namespace="ci"), rule("allow", "get", "pods", namespaces="ci"))) == ()
    )


def test_lines_are_the_same_for_the_same_words_of_another_revision() -> None:
    rules = policy(gives(lines=(("rm",),)))
    before = decide(chain_of(agent()), execs("sh"), compile_policies([rules], 1), (), (), 0.0)
    after = decide(chain_of(agent()), execs("sh"), compile_policies([rules], 2), (), (), 0.0)
    assert isinstance(before, Allow)
    assert isinstance(after, Allow)
    assert before.lines == after.lines


APPROVAL = Approval((Approvers("sre", 1),), 300.0)


def test_lines_that_people_are_asked_about_come_with_whom_to_ask() -> None:
    asks_about = gives(lines=(("shutdown",),), asked_lines=(("rm",),), lines_approval=APPROVAL, id="a")
    decision = found(execs("sh"), asks_about)
    assert isinstance(decision, Allow)
    assert decision.lines == (LineGuard("test/a", (("shutdown",),)), LineGuard("test/a", (("rm",),), APPROVAL))
    nobody = found(execs("sh"), gives(asked_lines=(("rm",),), id="a"))
    assert isinstance(nobody, Allow)
    assert nobody.lines == (LineGuard("test/a", (("rm",),)),), "what asks nobody ends the session"


def test_other_people_to_ask_are_other_lines() -> None:
    def lines(within: float) -> tuple[LineGuard, ...]:
        approval = Approval((Approvers("sre", 1),), within)
        decision = found(execs("sh"), gives(asked_lines=(("rm",),), lines_approval=approval))
        assert isinstance(decision, Allow)
        return decision.lines

    assert lines(60.0) == lines(60.0) != lines(61.0)


def offers(*commands: tuple[str, ...]) -> Rule:
    return rule(
        "approve",
        "patch",
        "pods/ephemeralcontainers",
        namespaces="ci",
        commands=commands,
        id="offers",
    )


def test_a_rule_that_asks_people_holds_every_debug_container_and_offers_what_it_says() -> None:
    offered = offers(("echo", "*"))
    assert isinstance(found(debugs(debug("shell", "echo", "a")), offered), NeedsApproval)
    assert isinstance(found(debugs(debug("shell", "rm", "a")), offered), Deny)
    assert isinstance(found(debugs(debug("shell")), offered), Deny)
    anything = rule("allow", "patch", "pods/ephemeralcontainers", namespaces="ci", id="all")
    for one in (debug("shell", "rm", "a"), debug("shell")):
        assert isinstance(found(debugs(one), anything, offered), NeedsApproval)
    unseen = asks("patch", "pods/ephemeralcontainers", "web", namespace="ci")
    assert isinstance(found(unseen, offered), Deny), "of what nobody has seen nothing is offered"
    assert isinstance(found(unseen, anything, offered), NeedsApproval)


def test_a_debug_container_that_is_only_offered_is_looked_at_before_people_are_asked() -> None:
    unseen = asks("patch", "pods/ephemeralcontainers", "web", namespace="ci")
    book = compile_policies([policy(offers(("echo", "*")))], 1)
    assert could_be_entered(chain_of(agent()), unseen, book, (), 0.0) is not None
    needs = book.object_needs(chain_of(agent()), unseen)
    assert (needs.object, needs.old_object) == (True, True)


def test_the_new_debug_containers_are_told_with_their_images() -> None:
    before = debug("old", "id")
    added = new_debug_containers(debugs(debug("shell", "ls", "/", targetContainerName="app"), before=[before]))
    assert added == ((Entry(container="shell", command=("ls", "/"), is_debug=True, target="app"), "busybox"),)
    assert new_debug_containers(execs("ls")) == ()
    assert new_debug_containers(asks("patch", "pods/ephemeralcontainers", "web", namespace="ci")) == ()
