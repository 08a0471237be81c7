"""Policy files: what is read, and what each mistake is told."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from narrowgate.core.lint import lint
from narrowgate.core.policy import Approval, Approvers, Effect, MountedSecrets, OnEnd, Policy, Subject, SubjectKind
from narrowgate.core.policy_file import PolicyErrors, check_set, parse_policies
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.yaml_reader import MAX_ERRORS, MAX_TEXT_BYTES

EXAMPLES = Path(__file__).parents[3] / "examples" / "policies"

HEAD = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: test}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [prod]
"""


def with_rule(text: str) -> str:
    """A policy with one rule, which begins on line 8 with `- ` and goes on with `text`."""
    body = textwrap.indent(textwrap.dedent(text).strip(), "      ")
    return f"{HEAD}  rules:\n    - {body.strip()}\n"


def only(text: str) -> Policy:
    (found,) = parse_policies(text, "test.yaml")
    return found


def mistakes(text: str) -> list[str]:
    with pytest.raises(PolicyErrors) as caught:
        parse_policies(text, "test.yaml")
    assert str(caught.value) == "\n".join(map(str, caught.value.errors))
    return [str(error) for error in caught.value.errors]


FULL = (
    HEAD
    + """\
  rules:
    - id: read-deployments
      effect: grantable
      verbs: [get, list, watch]
      apiGroups: [apps]
      resources: [deployments, deployments/scale]
      namespaces: [ci]
      maxDuration: 1h30m
      approval: none
    - id: secrets-on-request
      effect: approve
      verbs: [get]
      apiGroups: [""]
      resources: [secrets]
      namespaces: [ci]
      names: [deploy-key]
      approval: {from: [{group: sre, count: 2}], within: 5m, notByOwner: true}
    - id: only-our-image
      effect: deny
      verbs: [create]
      apiGroups: [apps]
      resources: [deployments]
      when: object.spec.template.spec.containers.exists(c, !c.image.startsWith("registry.corp/"))
    - id: metrics
      effect: allow
      verbs: [get]
      nonResourceURLs: [/metrics, /healthz/*]
  masks:
    - id: mask-config-passwords
      apiGroups: [""]
      resources: [configmaps]
      fields: ["data.*password*", "data.dsn"]
"""
)


def test_every_field_of_the_format_is_read() -> None:
    found = only(FULL)
    assert (found.name, found.file, found.clusters) == ("test", "test.yaml", ("prod",))
    assert found.subjects == (Subject(SubjectKind.AGENT, "ci"),)
    grantable, approve, deny, urls = found.rules
    assert (grantable.id, grantable.effect, grantable.line) == ("read-deployments", Effect.GRANTABLE, 8)
    assert (grantable.max_duration, grantable.approval) == (5400.0, None)
    assert grantable.resources == ("deployments", "deployments/scale")
    assert approve.approval == Approval((Approvers("sre", 2),), 300.0, not_by_owner=True)
    assert (approve.names, approve.namespaces) == (("deploy-key",), ("ci",))
    assert deny.when.startswith("object.spec")
    assert (deny.namespaces, deny.names) == (None, None)
    assert urls.non_resource_urls == ("/metrics", "/healthz/*")
    assert found.masks[0].fields == ("data.*password*", "data.dsn")


def test_a_file_may_hold_several_documents_and_empty_ones() -> None:
    second = FULL.replace("name: test", "name: second")
    assert [one.name for one in parse_policies(f"{FULL}---\n---\n# nothing\n---\n{second}", "f")] == ["test", "second"]
    assert parse_policies("", "f") == []


GOOD = """
id: a
effect: allow
verbs: [get]
apiGroups: [""]
resources: [pods]
namespaces: [ci]
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("verbs: [get] -> verb: [get]", 'test.yaml:10: spec.rules[0].verb: unknown key, did you mean "verbs"?'),
        (
            "verbs: [get] -> verbs: [gett]",
            'test.yaml:10: spec.rules[0].verbs[0]: unknown verb "gett", did you mean "get"?',
        ),
        ("verbs: [get] -> verbs: [read]", 'spec.rules[0].verbs[0]: unknown verb "read", write get, list, watch'),
        ("verbs: [get] -> verbs: get", "spec.rules[0].verbs: must be a list of verbs, not a text, write [get]"),
        ("verbs: [get] -> verbs: []", "spec.rules[0].verbs: is empty, and an empty list of verbs matches nothing"),
        ("verbs: [get] -> verbs: [get, get]", 'spec.rules[0].verbs[1]: "get" is in the list already'),
        ("verbs: [get] -> verbs: {get: 1}", "spec.rules[0].verbs: must be a list of verbs, not a mapping"),
        ("verbs: [get] -> effect: deny", "test.yaml:10: spec.rules[0].effect: written twice, first on line 9"),
        ("effect: allow -> effect: alow", 'spec.rules[0].effect: "alow" is no effect, did you mean "allow"?'),
        ("effect: allow -> names: [x]", "spec.rules[0]: has no effect, write effect: and one of deny, allow"),
        ("id: a -> id: a/b", 'spec.rules[0].id: "a/b" is no id'),
        ("id: a -> names: [x]", "spec.rules[0]: has no id"),
        ('apiGroups: [""] -> apiGroups: [core]', 'apiGroups[0]: "core" is not its name, write ""'),
        ('apiGroups: [""] -> apiGroups: [v1]', 'apiGroups[0]: "v1" has a version, and groups have none, write ""'),
        ('apiGroups: [""] -> apiGroups: [apps/v1]', '"apps/v1" has a version, and groups have none, write "apps"'),
        ('apiGroups: [""] -> names: [x]', "spec.rules[0]: has no apiGroups"),
        ("resources: [pods] -> resources: [Pods]", '"Pods": resources are written in lower case, write "pods"'),
        ("resources: [pods] -> resources: [Pod]", '"Pod": resources are written in lower case, write "pods"'),
        ("resources: [pods] -> resources: [pod]", '"pod" is not the name of a resource, write "pods"'),
        ("resources: [pods] -> resources: [po/log]", '"po/log" is not the name of a resource, write "pods/log"'),
        ("resources: [pods] -> resources: [pods/logs]", '"pods/logs" is not the name of a resource, write "pods/log"'),
        ("resources: [pods] -> resources: [pods/*]", '"pods/*" does not exist in RBAC'),
        ("resources: [pods] -> resources: [po ds]", '"po ds" is no resource'),
        ("resources: [pods] -> resources: [deployments]", 'not in the core group, write apiGroups: ["apps"]'),
        ("resources: [pods] -> resources: [podz]", 'the core group has no "podz", did you mean "pods"?'),
        (
            "resources: [pods] -> resources: [pods/exec]",
            "only ever created, by GET (WebSocket) as by POST (SPDY), write create",
        ),
        (
            "resources: [pods] -> resources: [nodes]",
            "nodes are in no namespace, so this never matches, leave namespaces out",
        ),
        ("namespaces: [ci] -> names: [x]", "so it is about cluster-scoped resources alone, and pods are in namespaces"),
        ("namespaces: [ci] -> namespaces: [ci-*]", '"ci-*" is no namespace, names are exact; "*" alone means all'),
        ("namespaces: [ci] -> namespaces: [CI]", '"CI" is no namespace'),
        ("namespaces: [ci] -> namespaces: [123]", 'must be a text, and YAML reads this as a number, write "123"'),
        ("namespaces: [ci] -> namespaces: [on]", 'must be a text, and YAML reads this as a yes or no, write "on"'),
        (
            "namespaces: [ci] -> namespaces: [~]",
            "spec.rules[0].namespaces[0]: must be a text, and YAML reads this as nothing",
        ),
        ("namespaces: [ci] -> namespaces:", "spec.rules[0].namespaces: must be a list of namespaces, not nothing"),
        ("id: a -> id: a\nnames: []", "spec.rules[0].names: is empty, and an empty list of names matches nothing"),
        ("id: a -> id: a\nnames: [web-*]", '"web-*" is a pattern, and names are exact'),
        ("id: a -> id: a\nnames: [a/b]", '"a/b" cannot be the name of an object'),
        ("id: a -> id: a\nmaxRequests: 5", "maxRequests: goes with effect: grantable, and this rule's is allow"),
        ("id: a -> id: a\nonEnd: leave", "onEnd: goes with effect: grantable, and this rule's is allow"),
        ("id: a -> id: a\nlinks: [x]", "links: goes with effect: grantable, and this rule's is allow"),
        ("id: a -> id: a\nmaxDuration: 1h", "maxDuration: goes with effect: grantable, and this rule's is allow"),
        (
            "id: a -> id: a\napproval: none",
            "mountedSecrets: approve, and this rule's effect is allow",
        ),
        ("id: a -> id: a\nnonResourceURLs: [/x]", "resources: does not go with nonResourceURLs, write two rules"),
        ("effect: allow -> effect: grantable", "has no maxDuration, and what is granted must end"),
        ("effect: allow -> effect: grantable", "has no approval, write approval: none or approval:"),
        ("effect: allow -> effect: approve", "has no approval, write approval: {from:"),
        ("effect: allow -> effect: approve\napproval: none", "an approve rule that asks nobody"),
        ("effect: allow -> effect: approve\napproval: {from: []}", "approval: has no within"),
        (
            "effect: allow -> effect: approve\napproval: {from: [], within: 5m}",
            "approval.from: is empty, and an empty list of approvers matches nothing",
        ),
        (
            "effect: allow -> effect: approve\napproval: {from: [{group: sre, count: 0}], within: 5m}",
            "approval.from[0].count: must be between 1 and 1000",
        ),
        (
            "effect: allow -> effect: approve\napproval: {from: [{group: sre}], within: 5m, notByOwner: yes}",
            "approval.notByOwner: must be true or false",
        ),
        (
            'effect: allow -> effect: approve\napproval: {from: [{group: sre}], within: 5m, notByOwner: "true"}',
            "approval.notByOwner: must be true or false",
        ),
        (
            "effect: allow -> effect: approve\napproval: {from: [{group: sre}], within: 5m, notByOwners: true}",
            'did you mean "notByOwner"?',
        ),
        (
            'effect: allow -> effect: approve\napproval: {from: [{group: "*"}], within: 5m}',
            '"*" would let anybody approve',
        ),
        (
            "effect: allow -> effect: grantable\napproval: none\nmaxDuration: 90",
            'maxDuration: "90" has no unit, write 90s, 90m or so',
        ),
        ("effect: allow -> effect: grantable\napproval: none\nmaxDuration: 1d", '"1d" is no duration, write 10m'),
        ("effect: allow -> effect: grantable\napproval: none\nmaxDuration: 0s", "maxDuration: is no time at all"),
        ("id: a -> id: a\nwhen: object.spec ==", "spec.rules[0].when: syntax error: it ends before it is complete"),
        ("id: a -> id: a\nwhen: object.spec.replicas + 1", "spec.rules[0].when: a condition answers true or false"),
        (
            "id: a -> id: a\nwhen: request.nmae == 'a'",
            'spec.rules[0].when: unknown name "request.nmae": known are request.verb',
        ),
        ("id: a -> id: a\nwhen: request.name == 1", "spec.rules[0].when: found no matching overload"),
        ("id: a -> id: a\nwhen: true", "spec.rules[0].when: must be a text, and YAML reads this as a yes or no"),
        ('id: a -> id: a\nwhen: ""', "spec.rules[0].when: is empty"),
    ],
)
def test_a_mistake_is_told_where_it_is_and_what_was_meant(change: str, expected: str) -> None:
    before, _, after = change.partition(" -> ")
    assert before in GOOD
    found = mistakes(with_rule(GOOD.replace(before, after)))
    assert any(expected in mistake for mistake in found), found


def test_the_line_of_a_mistake_in_a_condition_is_that_of_the_condition() -> None:
    text = with_rule(GOOD + "when: |\n  true &&\n  reqest.name == object.x")
    assert mistakes(text) == ['test.yaml:16: spec.rules[0].when: unknown name "reqest.name"']


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("apiVersion: narrowgate.dev/v1alpha1 -> apiVersion: v1", 'apiVersion: "v1" is not known here'),
        ("kind: Policy -> kind: Role", 'kind: "Role" is not known here, write kind: Policy'),
        ("metadata: {name: test} -> metadata: {nam: test}", 'metadata.nam: unknown key, did you mean "name"?'),
        ("metadata: {name: test} -> metadata: {name: Test}", '"Test" is no name'),
        ("metadata: {name: test} -> metadata: {name: narrowgate}", "is the name of the built-in rules"),
        (
            "clusters: [prod] -> clusters: []",
            "spec.clusters: is empty, so the policy holds nowhere, write clusters: [...]",
        ),
        ("  clusters: [prod]\n ->", "spec: has no clusters, so it holds nowhere, write clusters: [...]"),
        ("clusters: [prod] -> clusters: [pr*]", '"pr*" is no name of a cluster'),
        ("subjects: [{kind: Agent, name: ci}] -> subjects: []", "spec.subjects: is empty"),
        ("  subjects: [{kind: Agent, name: ci}]\n ->", "has no subjects, so it is about nobody"),
        ("kind: Agent, -> kind: User,", 'subjects[0].kind: "User" is no kind of subject, write "Person"'),
        ("kind: Agent, -> kind: agent,", 'subjects[0].kind: "agent" is no kind of subject, did you mean "Agent"?'),
        ("kind: Agent, -> kind: ServiceAccount,", 'subjects[0].name: "ci" is no ServiceAccount, write namespace/name'),
        ("name: ci} -> name: 'ci-*'}", '"ci-*" is a pattern, and names are exact'),
        ("name: ci} -> name: 'system:x'}", 'nobody who comes through the gate has a name with "system:"'),
        ("name: ci} -> name: ''}", "subjects[0].name: is empty"),
        ("kind: Agent, name: ci -> kind: Agent", "subjects[0]: has no name"),
    ],
)
def test_a_mistake_around_the_rules_is_told_too(change: str, expected: str) -> None:
    before, _, after = change.partition(" ->")
    text = with_rule(GOOD)
    assert before in text
    found = mistakes(text.replace(before, after.removeprefix(" "), 1))
    assert any(expected in mistake for mistake in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b: c", "test.yaml:1: is not YAML: mapping values are not allowed"),
        ("a: [1", "is not YAML"),
        ("- a", "test.yaml:1: must be a mapping with the keys apiVersion, kind, metadata, spec, not a list"),
        ("apiVersion: !!python/object:os.system x", "apiVersion: must be a text"),
        ("\0", "is not YAML"),
        ("a: *nowhere", "is not YAML"),
        ("[" * 100_000, "test.yaml:1"),
        ("x" * (MAX_TEXT_BYTES + 1), "bytes, more than"),
    ],
)
def test_what_is_no_policy_at_all_is_refused(text: str, expected: str) -> None:
    assert any(expected in mistake for mistake in mistakes(text))


def test_a_small_file_cannot_unfold_into_a_large_one() -> None:
    layers = "".join(f"  a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9))
    assert mistakes(f"spec:\n  a0: &a0 [get]\n{layers}  rules: *a8\n")
    assert mistakes("spec: &s\n  rules: [*s]\n")
    assert mistakes("spec: &s\n  rules: [{verbs: &v [*v]}]\n")


def test_anchors_may_be_used() -> None:
    text = with_rule(GOOD.replace("verbs: [get]", "verbs: &reads [get, list]"))
    again = text + textwrap.indent(
        "- id: b\n  effect: deny\n  verbs: *reads\n  apiGroups: ['']\n  resources: [pods]\n", "    "
    )
    assert only(again).rules[1].verbs == ("get", "list")


def test_a_hopeless_file_is_not_read_to_its_end() -> None:
    rules = "".join("    - {}\n" for _ in range(MAX_ERRORS))
    assert len(mistakes(f"{HEAD}  rules:\n{rules}")) == MAX_ERRORS


def test_ids_are_unique_within_a_policy() -> None:
    text = FULL.replace("id: mask-config-passwords", "id: metrics")
    assert mistakes(text) == [
        'test.yaml:35: spec.masks[0]: the id "metrics" is taken, on line 30, ids are unique in a policy'
    ]


def test_names_are_unique_within_a_file_and_across_files() -> None:
    assert "written twice, first in test.yaml:1" in mistakes(f"{FULL}---\n{FULL}")[0]
    first, second = parse_policies(FULL, "a.yaml"), parse_policies(FULL, "b.yaml")
    check_set(first)
    with pytest.raises(PolicyErrors) as caught:
        check_set([*first, *second])
    assert str(caught.value) == (
        'b.yaml:1: metadata.name: the policy "test" is written twice, first in a.yaml:1, rename one'
    )


def test_mistakes_come_in_the_order_of_the_file() -> None:
    text = with_rule(GOOD.replace("verbs: [get]", "verbs: [gett]").replace("[pods]", "[pod]"))
    lines = [int(mistake.split(":")[1]) for mistake in mistakes(text.replace("clusters: [prod]", "clusters: []"))]
    assert lines == sorted(lines)
    assert len(lines) == 3


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("[pods]", "[pods, widgets]").replace('[""]', '["", example.com]'),
        GOOD.replace("[pods]", "[widgets]").replace('[""]', "[example.com]").replace("namespaces: [ci]", "names: [x]"),
        GOOD.replace("[pods]", "[nodes]").replace("namespaces: [ci]", "names: [x]"),
        GOOD.replace("[pods]", '["*"]').replace("namespaces: [ci]", "names: [x]"),
        GOOD.replace("[pods]", "[namespaces]"),
        GOOD.replace("[pods]", "[pods, pods/exec]").replace("[get]", "[get, create]"),
        GOOD.replace("[pods]", "['*/scale']"),
        GOOD.replace("effect: allow", "effect: deny").replace("namespaces: [ci]", ""),
    ],
)
def test_rules_that_can_match_something_are_taken(text: str) -> None:
    assert len(only(with_rule(text)).rules) == 1


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_good_policies(example: Path) -> None:
    policies = parse_policies(example.read_text(), example.name)
    assert policies
    compile_policies(policies, 1)
    checks = {finding.check for finding in lint(policies)}
    # Standing access is what this slice has; everything else worth a warning stands in the example that shows it.
    assert example.name == "allow-all.yaml" or checks <= {"no-expiry"}


def test_the_examples_make_one_set() -> None:
    policies = [one for path in EXAMPLES.glob("*.yaml") for one in parse_policies(path.read_text(), path.name)]
    check_set(policies)
    assert len(policies) >= 6


LIMITED = """
    id: limited
    effect: grantable
    verbs: [get, list, watch]
    apiGroups: [""]
    resources: [pods]
    namespaces: [ci]
    maxDuration: 1h
    approval: none
"""


def test_a_grantable_rule_may_limit_requests_and_streams_and_ask_for_a_link() -> None:
    more = "    maxRequests: 1000000\n    maxStreams: 3\n    links: [https://tickets.corp/, https://bugs.corp/x]\n"
    (rule,) = only(with_rule(LIMITED + more)).rules
    assert (rule.max_requests, rule.max_streams) == (1_000_000, 3)
    assert rule.links == ("https://tickets.corp/", "https://bugs.corp/x")
    (plain,) = only(with_rule(LIMITED)).rules
    assert (plain.max_requests, plain.max_streams, plain.links) == (None, None, None)


@pytest.mark.parametrize(("written", "kept"), [("", OnEnd.LEAVE), ("leave", OnEnd.LEAVE), ("deleteWorkloads", None)])
def test_a_grantable_rule_may_have_deleted_what_a_task_leaves_behind(written: str, kept: OnEnd | None) -> None:
    (rule,) = only(with_rule(LIMITED + (f"    onEnd: {written}\n" if written else ""))).rules
    assert rule.on_end is (kept or OnEnd.DELETE_WORKLOADS)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("onEnd: delete", 'onEnd: "delete" is none of leave, deleteWorkloads'),
        ("onEnd: deleteworkloads", 'did you mean "deleteWorkloads"?'),
        ("onEnd: [deleteWorkloads]", "onEnd: must be"),
        ("maxRequests: 0", "maxRequests: must be between 1 and 1000000"),
        ("maxRequests: 1000001", "maxRequests: must be between 1 and 1000000"),
        ("maxRequests: many", "maxRequests: must be a whole number"),
        ("maxRequests: null", "maxRequests: must be a whole number"),
        ("maxStreams: 0", "maxStreams: must be between 1 and 1000"),
        ("maxStreams: 010", "maxStreams: must be between 1 and 1000"),
        ("maxStreams: 1.5", "maxStreams: must be a whole number"),
        ("maxStreams: -1", "maxStreams: must be a whole number"),
        ("links: []", "links: is empty"),
        ("links: https://tickets.corp/", "links: must be a list of addresses"),
        ("links: [http://tickets.corp/]", 'links[0]: "http://tickets.corp/" is no https address'),
        ("links: [https://tickets.corp/?id=]", "has a query or a fragment"),
        ("maxrequests: 5", 'unknown key, did you mean "maxRequests"?'),
    ],
)
def test_a_limit_that_is_none_is_told(line: str, says: str) -> None:
    (mistake,) = mistakes(with_rule(LIMITED + f"    {line}\n"))
    assert says in mistake


def test_more_links_than_a_company_has_trackers_are_refused() -> None:
    many = ", ".join(f"https://tickets-{number}.corp/" for number in range(17))
    (mistake,) = mistakes(with_rule(LIMITED + f"    links: [{many}]\n"))
    assert "has more than 16 addresses" in mistake


EMERGENCY = """
    id: break-glass
    effect: grantable
    verbs: [get, patch]
    apiGroups: [apps]
    resources: [deployments]
    namespaces: [ci]
    maxDuration: 1h
    approval: none
    emergency: {review: {from: [{group: sre-leads, count: 1}], within: 24h}}
"""


def test_an_emergency_rule_says_who_looks_at_it_afterwards() -> None:
    (rule,) = only(with_rule(EMERGENCY)).rules
    assert rule.review == Approval((Approvers("sre-leads", 1),), 86_400.0)
    assert (rule.approval, rule.max_duration) == (None, 3_600.0)


@pytest.mark.parametrize(
    ("was", "line", "says"),
    [
        ("maxDuration: 1h", "maxDuration: 61m", "an emergency lasts 1h at most, write maxDuration: 1h"),
        ("approval: none", "approval: {from: [{group: sre, count: 1}], within: 5m}", "an emergency waits for nobody"),
        ("approval: none", "approval: none\n    onEnd: deleteWorkloads", "onEnd: does not go with emergency"),
        ("within: 24h", "within: 169h", "a review is due within 168h at most"),
        ("{review: {from: [{group: sre-leads, count: 1}], within: 24h}}", "true", "emergency: must be a mapping"),
        ("{review: {from: [{group: sre-leads, count: 1}], within: 24h}}", "{}", "has no review"),
        ("{from: [{group: sre-leads, count: 1}], within: 24h}", "none", "an emergency that nobody looks at"),
        ("[{group: sre-leads, count: 1}]", "[]", "from: is empty"),
        (", within: 24h", "", "has no within"),
        ("sre-leads", '"*"', '"*" would let anybody approve'),
        ("effect: grantable", "effect: allow", "emergency: goes with effect: grantable, and this rule's is allow"),
        ("emergency: {", "emergency: {by: me, ", "emergency.by: unknown key, known are review"),
    ],
)
def test_an_emergency_that_is_long_waits_or_is_seen_by_nobody_is_refused(was: str, line: str, says: str) -> None:
    assert was in EMERGENCY
    found = mistakes(with_rule(EMERGENCY.replace(was, line)))
    assert any(says in mistake for mistake in found), found


INTO_PODS = """
    id: into-pods
    effect: allow
    verbs: [create]
    apiGroups: [""]
    resources: [pods/exec]
    namespaces: [ci]
    mountedSecrets: approve
    approval: {from: [{group: sre, count: 1}], within: 5m}
"""


def test_a_rule_that_lets_into_pods_says_what_happens_where_they_hold_secrets() -> None:
    (rule,) = only(with_rule(INTO_PODS)).rules
    assert (rule.mounted_secrets, rule.approval) == (
        MountedSecrets.APPROVE,
        Approval((Approvers("sre", 1),), 300.0),
    )
    (masked,) = only(with_rule(INTO_PODS.replace("approve\n", "mask\n").partition("    approval:")[0])).rules
    assert (masked.mounted_secrets, masked.approval) == (MountedSecrets.MASK, None)


@pytest.mark.parametrize(
    ("was", "line", "says"),
    [
        ("approval: {from: [{group: sre, count: 1}], within: 5m}", "", "has no approval"),
        ("{from: [{group: sre, count: 1}], within: 5m}", "none", "asks somebody"),
        ("mountedSecrets: approve", "mountedSecrets: mask", "or with mountedSecrets: approve"),
        ("mountedSecrets: approve", "mountedSecrets: ask", '"ask" is none of mask, approve, deny'),
        ("[pods/exec]", "[pods/log]", "is about getting into pods"),
        ("effect: allow", "effect: deny", "goes with effect: allow or grantable, and this rule's is deny"),
        ("effect: allow", "effect: approve", "goes with effect: allow or grantable, and this rule's is approve"),
    ],
)
def test_what_makes_no_sense_about_mounted_secrets_is_refused(was: str, line: str, says: str) -> None:
    assert was in INTO_PODS
    found = mistakes(with_rule(INTO_PODS.replace(was, line)))
    assert any(says in mistake for mistake in found), found
