"""Deciding: what covers, what withholds, and in which words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.deciding import NOW, agent, answer, asks, gets, is_part, is_whole, person, policy, rule, uses, workload

from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval, RuleRef
from narrowgate.core.identity import Chain, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rulebook import compile_policies

READ_PODS = rule("allow", "get list watch", "pods", namespaces="ci", id="read-pods")


def denied(decision: Decision) -> Deny:
    assert isinstance(decision, Deny), decision
    return decision


def test_nothing_written_is_nothing_allowed() -> None:
    refusal = denied(answer(asks("get", "pods", "web", namespace="ci")))
    assert refusal.rule is None
    assert refusal.code == 403
    assert 'agent "ci" holds nothing on this cluster' in refusal.message


def test_an_allow_names_the_rule_and_the_revision() -> None:
    allowed = answer(asks("get", "pods", "web", namespace="ci"), policy(READ_PODS))
    assert isinstance(allowed, Allow)
    assert msgspec.structs.replace(allowed, masks=None) == Allow(
        rule=RuleRef("test", "read-pods", 7), covers=(RuleRef("test", "read-pods", 7),), deadline=None
    )


@pytest.mark.parametrize(
    "what",
    [
        asks("delete", "pods", "web", namespace="ci"),
        asks("get", "pods", "web", namespace="prod"),
        asks("get", "pods/log", "web", namespace="ci"),
        asks("get", "secrets", "web", namespace="ci"),
        asks("get", "pods", "web", namespace="ci", group="metrics.k8s.io"),
        asks("list", "pods", namespace="prod"),
        asks("deletecollection", "pods"),
        asks("get", "pods", "web", namespace="ci", cluster="staging"),
        gets("/metrics"),
    ],
)
def test_a_rule_covers_only_what_it_says(what: Intent) -> None:
    assert isinstance(answer(what, policy(READ_PODS)), Deny)


@pytest.mark.parametrize(
    ("subjects", "covered"),
    [
        ("Agent/ci", True),
        ("Agent/*", True),
        ("Group/builders", True),
        ("Group/*", True),
        ("Agent/other", False),
        ("Person/ci", False),
        ("Person/*", False),
        ("ServiceAccount/ci", False),
        ("Group/ci", False),
        ("Agent/builders", False),
    ],
)
def test_subjects_mean_kind_and_name_or_a_group(subjects: str, covered: bool) -> None:
    decision = answer(
        asks("get", "pods", "web", namespace="ci"), policy(READ_PODS, subjects=subjects), by=agent(groups=("builders",))
    )
    assert isinstance(decision, Allow) is covered


def test_every_group_means_nobody_who_is_in_none() -> None:
    assert isinstance(answer(asks("get", "pods", "x", namespace="ci"), policy(READ_PODS, subjects="Group/*")), Deny)


def test_a_service_account_is_named_with_its_namespace() -> None:
    wanted = policy(READ_PODS, subjects="ServiceAccount/build/bot")
    assert isinstance(answer(asks("get", "pods", "x", namespace="ci"), wanted, by=workload("build/bot")), Allow)
    assert isinstance(answer(asks("get", "pods", "x", namespace="ci"), wanted, by=workload("other/bot")), Deny)


class TestNamespaces:
    @pytest.mark.parametrize(
        ("namespaces", "what", "covered"),
        [
            ("*", asks("list", "pods"), True),
            ("*", asks("get", "pods", "x", namespace="any"), True),
            ("*", asks("get", "nodes", "n1"), True),
            ("ci", asks("list", "pods", namespace="ci"), True),
            ("ci", asks("list", "pods"), False),
            ("ci", asks("get", "nodes", "n1"), False),
            ("ci", asks("get", "namespaces", "ci"), True),
            ("ci", asks("patch", "namespaces/status", "ci"), True),
            ("ci", asks("get", "namespaces", "prod"), False),
            ("ci", asks("list", "namespaces"), False),
            (None, asks("get", "nodes", "n1"), True),
            (None, asks("list", "nodes"), True),
            (None, asks("get", "namespaces", "ci"), True),
            (None, asks("get", "pods", "x", namespace="ci"), False),
            (None, asks("list", "pods"), False),
        ],
    )
    def test_what_an_allow_covers(self, namespaces: str | None, what: Intent, covered: bool) -> None:
        decision = answer(what, policy(rule("allow", "*", "*", namespaces=namespaces)))
        assert is_whole(decision) is covered

    @pytest.mark.parametrize(
        ("namespaces", "what", "withheld"),
        [
            (None, asks("list", "pods"), True),
            (None, asks("get", "pods", "x", namespace="ci"), True),
            (None, asks("get", "nodes", "n1"), True),
            ("*", asks("get", "nodes", "n1"), True),
            ("ci", asks("get", "pods", "x", namespace="ci"), True),
            ("ci", asks("list", "pods"), True),
            ("ci", asks("get", "pods", "x", namespace="prod"), False),
            ("ci", asks("get", "nodes", "n1"), False),
            ("ci", asks("delete", "namespaces", "ci"), True),
            ("ci", asks("delete", "namespaces", "prod"), False),
            ("ci", asks("list", "namespaces"), True),
        ],
    )
    def test_what_a_deny_withholds(self, namespaces: str | None, what: Intent, withheld: bool) -> None:
        everything = rule("allow", "*", "*", namespaces="*")
        decision = answer(what, policy(everything, rule("deny", "*", "*", namespaces=namespaces)))
        assert is_whole(decision) is not withheld

    def test_a_refused_request_over_all_namespaces_is_told_which_one_is_guarded(self) -> None:
        everything = rule("allow", "*", "*", namespaces="*")
        refusal = denied(
            answer(
                asks("deletecollection", "pods"),
                policy(everything, rule("deny", "deletecollection", "pods", namespaces="ci")),
            )
        )
        assert "deletecollection pods in all namespaces" in refusal.message
        assert "guards namespace ci, which this would reach" in refusal.hint

    def test_a_namespace_is_created_by_the_name_in_its_body(self) -> None:
        rules = policy(rule("allow", "create", "namespaces", namespaces="ci"))
        assert isinstance(answer(asks("create", "namespaces", object={"metadata": {"name": "ci"}}), rules), Allow)
        assert isinstance(answer(asks("create", "namespaces", object={"metadata": {"name": "prod"}}), rules), Deny)
        assert isinstance(answer(asks("create", "namespaces"), rules), Deny)


class TestNames:
    GIVES = policy(rule("allow", "*", "configmaps", namespaces="ci", names="settings"))
    GUARDS = policy(
        rule("allow", "*", "*", namespaces="*"), rule("deny", "*", "configmaps", namespaces="ci", names="settings")
    )

    @pytest.mark.parametrize(
        ("what", "covered"),
        [
            (asks("get", "configmaps", "settings", namespace="ci"), True),
            (asks("list", "configmaps", "settings", namespace="ci"), True),
            (asks("get", "configmaps", "other", namespace="ci"), False),
            (asks("list", "configmaps", namespace="ci"), False),
            (asks("deletecollection", "configmaps", namespace="ci"), False),
            (asks("create", "configmaps", namespace="ci"), False),
            (asks("create", "configmaps", namespace="ci", object={"metadata": {"name": "settings"}}), True),
            (asks("create", "configmaps", namespace="ci", object={"metadata": {"name": "other"}}), False),
            (asks("create", "configmaps", namespace="ci", object={"metadata": {"generateName": "settings"}}), False),
            (asks("create", "configmaps", namespace="ci", object={"metadata": "settings"}), False),
            (asks("create", "configmaps", namespace="ci", object=["settings"]), False),
        ],
    )
    def test_what_an_allow_with_names_covers(self, what: Intent, covered: bool) -> None:
        assert is_whole(answer(what, self.GIVES)) is covered

    @pytest.mark.parametrize(
        ("what", "withheld"),
        [
            (asks("get", "configmaps", "settings", namespace="ci"), True),
            (asks("get", "configmaps", "other", namespace="ci"), False),
            (asks("list", "configmaps", "other", namespace="ci"), False),
            (asks("list", "configmaps", namespace="ci"), True),
            (asks("watch", "configmaps"), True),
            (asks("deletecollection", "configmaps", namespace="ci"), True),
            (asks("create", "configmaps", namespace="ci"), True),
            (asks("create", "configmaps", namespace="ci", object={"metadata": {"name": "settings"}}), True),
            (asks("create", "configmaps", namespace="ci", object={"metadata": {"name": "other"}}), False),
            (asks("create", "configmaps", namespace="ci", object={"metadata": {"generateName": "sett"}}), True),
            (asks("create", "configmaps", namespace="ci", object={"metadata": {"generateName": "other-"}}), False),
            (asks("create", "configmaps", namespace="ci", object={"metadata": {}}), True),
        ],
    )
    def test_what_a_deny_with_names_withholds(self, what: Intent, withheld: bool) -> None:
        assert is_whole(answer(what, self.GUARDS)) is not withheld


class TestSameRisk:
    EVERYTHING = rule("allow", "*", "*", namespaces="*")

    def test_a_deny_over_one_verb_of_a_proxy_holds_for_every_method(self) -> None:
        guarded = policy(self.EVERYTHING, rule("deny", "create", "nodes/proxy"))
        assert isinstance(answer(asks("get", "nodes/proxy", "n1"), guarded), Deny)

    def test_a_deny_over_a_service_holds_for_every_spelling_before_proxy(self) -> None:
        guarded = policy(self.EVERYTHING, rule("deny", "get", "services/proxy", namespaces="ci", names="db"))
        for name in ("db", "db:80", "https:db:443", "https:db:"):
            assert isinstance(answer(asks("get", "services/proxy", name, namespace="ci"), guarded), Deny)
        assert isinstance(answer(asks("get", "services/proxy", "web:80", namespace="ci"), guarded), Allow)

    def test_an_allow_covers_its_own_verb_and_spelling_alone(self) -> None:
        gives = policy(rule("allow", "get", "services/proxy", namespaces="ci", names="db:80"))
        assert isinstance(answer(asks("get", "services/proxy", "db:80", namespace="ci"), gives), Allow)
        assert isinstance(answer(asks("create", "services/proxy", "db:80", namespace="ci"), gives), Deny)
        assert isinstance(answer(asks("get", "services/proxy", "db", namespace="ci"), gives), Deny)


class TestResources:
    @pytest.mark.parametrize(
        ("groups", "resources", "what", "covered"),
        [
            ("core", "pods/log", asks("get", "pods/log", "x", namespace="ci"), True),
            ("core", "pods/log", asks("get", "pods", "x", namespace="ci"), False),
            ("core", "*/log", asks("get", "pods/log", "x", namespace="ci"), True),
            ("core", "*/log", asks("get", "pods", "x", namespace="ci"), False),
            ("core", "*", asks("get", "pods/log", "x", namespace="ci"), True),
            ("*", "*/scale", asks("get", "deployments/scale", "x", namespace="ci", group="apps"), True),
            ("apps", "deployments", asks("get", "deployments", "x", namespace="ci", group="apps"), True),
            ("apps", "deployments", asks("get", "deployments", "x", namespace="ci", group="extensions"), False),
            ("core apps", "deployments", asks("get", "deployments", "x", namespace="ci", group="apps"), True),
        ],
    )
    def test_resources_match_as_in_rbac(self, groups: str, resources: str, what: Intent, covered: bool) -> None:
        decision = answer(what, policy(rule("allow", "get", resources, groups=groups, namespaces="ci")))
        assert is_whole(decision) is covered

    @pytest.mark.parametrize(
        ("urls", "path", "covered"),
        [
            ("/metrics", "/metrics", True),
            ("/metrics", "/metrics/", False),
            ("/healthz/*", "/healthz/etcd", True),
            ("/healthz/*", "/healthz", False),
            ("/heal*", "/healthz", True),
            ("*", "/anything", True),
        ],
    )
    def test_paths_match_as_in_rbac(self, urls: str, path: str, covered: bool) -> None:
        assert isinstance(answer(gets(path), policy(rule("allow", "get", urls=urls))), Allow) is covered

    def test_a_rule_about_everything_says_nothing_about_paths(self) -> None:
        assert isinstance(answer(gets("/metrics"), policy(rule("allow", "*", "*", groups="*", namespaces="*"))), Deny)


class TestBuiltInRules:
    REVIEW = asks("create", "selfsubjectaccessreviews", group="authorization.k8s.io", namespaced=False)

    @pytest.mark.parametrize("path", ["/api", "/api/v1", "/apis", "/apis/apps/v1", "/openapi/v3", "/version"])
    def test_whoever_is_allowed_anything_may_discover(self, path: str) -> None:
        decision = answer(gets(path), policy(READ_PODS))
        assert isinstance(decision, Allow)
        assert str(decision.rule) == "narrowgate/discovery"

    def test_whoever_is_allowed_anything_may_ask_about_itself(self) -> None:
        decision = answer(self.REVIEW, policy(READ_PODS))
        assert isinstance(decision, Allow)
        assert str(decision.rule) == "narrowgate/reviews"

    def test_who_holds_nothing_may_not_even_discover(self) -> None:
        assert "holds nothing" in denied(answer(gets("/api"), policy(READ_PODS, clusters="staging"))).message
        assert isinstance(answer(self.REVIEW), Deny)

    @pytest.mark.parametrize("effect", ["deny", "grantable", "approve"])
    def test_rules_that_allow_nothing_open_no_discovery(self, effect: str) -> None:
        assert isinstance(answer(gets("/api"), policy(rule(effect, "get", "pods", namespaces="ci"))), Deny)

    @pytest.mark.parametrize("what", [gets("/healthz"), gets("/metrics"), gets("/api", "post"), gets("/apiserver")])
    def test_discovery_is_reading_and_no_more(self, what: Intent) -> None:
        assert isinstance(answer(what, policy(READ_PODS)), Deny)

    def test_a_deny_rule_wins_over_them(self) -> None:
        decision = answer(gets("/openapi/v3"), policy(READ_PODS, rule("deny", "get", urls="/openapi/*")))
        assert denied(decision).rule == RuleRef("test", "deny-it", 7)


class TestChains:
    def test_every_member_must_be_covered(self) -> None:
        chain = chain_of(person("alice"), agent("ci"))
        what = asks("get", "pods", "web", namespace="ci")
        one, other = policy(READ_PODS, name="one"), policy(READ_PODS, name="other", subjects="Person/alice")
        assert isinstance(answer(what, one, by=chain), Deny)
        assert isinstance(answer(what, other, by=chain), Deny)
        both = answer(what, one, other, by=chain)
        assert isinstance(both, Allow)
        assert [str(cover) for cover in both.covers] == ["other/read-pods", "one/read-pods"]
        assert both.rule == both.covers[-1]

    def test_a_refusal_says_for_whom_it_is_not_covered(self) -> None:
        refusal = denied(
            answer(
                asks("get", "pods", "web", namespace="ci"),
                policy(READ_PODS),
                policy(rule("allow", "get", "nodes"), name="alices", subjects="Person/alice"),
                by=chain_of(person("alice"), agent("ci")),
            )
        )
        assert refusal.message.startswith('agent "ci", speaking for person "alice", may not get pods "web"')

    def test_a_deny_for_the_root_stops_the_sender(self) -> None:
        decision = answer(
            asks("get", "pods", "web", namespace="ci"),
            policy(READ_PODS, name="all", subjects="Agent/* Person/*"),
            policy(rule("deny", "get", "pods"), name="not-alice", subjects="Person/alice"),
            by=chain_of(person("alice"), agent("ci")),
        )
        assert denied(decision).rule == RuleRef("not-alice", "deny-it", 7)

    def test_the_first_credential_that_ends_is_the_deadline(self) -> None:
        chain = chain_of(agent("a", expires_at=NOW + 60), agent("b"), agent("c", expires_at=NOW + 30))
        decision = answer(asks("get", "pods", "x", namespace="ci"), policy(READ_PODS, subjects="Agent/*"), by=chain)
        assert isinstance(decision, Allow)
        assert decision.deadline == NOW + 30

    @pytest.mark.parametrize("expires_at", [NOW, NOW - 1, float("nan")])
    def test_a_credential_that_has_ended_opens_nothing(self, expires_at: float) -> None:
        chain = chain_of(agent("a", expires_at=expires_at), agent("b"))
        decision = answer(asks("get", "pods", "x", namespace="ci"), policy(READ_PODS, subjects="Agent/*"), by=chain)
        assert "has expired" in denied(decision).message

    def test_a_credential_opens_its_own_cluster_alone(self) -> None:
        everywhere = policy(READ_PODS, clusters="*")
        bound = agent(cluster="prod")
        assert isinstance(answer(asks("get", "pods", "x", namespace="ci"), everywhere, by=bound), Allow)
        other = asks("get", "pods", "x", namespace="ci", cluster="staging")
        assert 'opens cluster "prod" alone' in denied(answer(other, everywhere, by=bound)).message

    def test_nobody_is_allowed_nothing(self) -> None:
        decision = answer(asks("get", "pods", "x", namespace="ci"), policy(READ_PODS), by=Chain(()))
        assert isinstance(decision, Deny)


class TestUses:
    CREATE = rule("allow", "create", "deployments", groups="apps", namespaces="ci")
    WHAT = asks("create", "deployments", namespace="ci", group="apps", object={"metadata": {"name": "web"}})

    def deploys(self, *used: Any) -> Intent:
        return asks(
            "create", "deployments", namespace="ci", group="apps", object={"metadata": {"name": "web"}}, uses=used
        )

    def test_what_a_request_uses_must_be_covered_too(self) -> None:
        what = self.deploys(uses("secrets", "db"))
        refusal = denied(answer(what, policy(self.CREATE)))
        assert "no rule allows it to use or get secrets" in refusal.message
        assert "spec.template.spec.volumes[0]" in refusal.message
        for verb in ("use", "get"):
            gives = rule("allow", verb, "secrets", namespaces="ci", names="db", id="secret")
            decision = answer(what, policy(self.CREATE, gives))
            assert isinstance(decision, Allow)
            assert str(decision.rule) == "test/allow-it"

    def test_a_deny_over_any_verb_of_a_use_refuses(self) -> None:
        gives = rule("allow", "use", "secrets", namespaces="ci", id="secret")
        what = self.deploys(uses("configmaps", "c"), uses("secrets", "db"))
        refusal = denied(answer(what, policy(self.CREATE, gives, rule("deny", "get", "secrets"))))
        assert refusal.rule == RuleRef("test", "deny-it", 7)

    def test_each_member_of_the_chain_must_be_covered_for_uses(self) -> None:
        chain = chain_of(person("alice"), agent("ci"))
        secret = rule("allow", "use", "secrets", namespaces="ci", id="secret")
        root = policy(self.CREATE, name="root", subjects="Person/alice")
        sender = policy(self.CREATE, secret, name="sender")
        assert isinstance(answer(self.deploys(uses("secrets", "db")), root, sender, by=chain), Deny)

    def test_a_namespace_that_may_be_created_is_an_object_of_the_cluster(self) -> None:
        what = asks("patch", "namespaces", "ci", uses=(uses("namespaces", "ci", verbs="create"),))
        assert isinstance(answer(what, policy(rule("allow", "patch create", "namespaces"))), Allow)
        assert isinstance(answer(what, policy(rule("allow", "patch create", "namespaces", namespaces="ci"))), Allow)
        assert isinstance(answer(what, policy(rule("allow", "patch", "namespaces"))), Deny)

    def test_what_is_used_and_not_shown_is_not_judged(self) -> None:
        what = asks("patch", "pods", "x", namespace="ci", unseen="the request does not show\nthe roleRef")
        refusal = denied(answer(what, policy(rule("allow", "*", "*", groups="*", namespaces="*"))))
        assert "does not show?the roleRef, so it cannot be judged" in refusal.message

    def test_host_access_is_used_by_name(self) -> None:
        what = self.deploys(uses("hostaccess", "privileged", group="narrowgate.dev", verbs="use"))
        gives = rule("allow", "use", "hostaccess", groups="narrowgate.dev", namespaces="ci", names="privileged", id="h")
        assert isinstance(answer(what, policy(self.CREATE)), Deny)
        assert isinstance(answer(what, policy(self.CREATE, gives)), Allow)


class TestWhatIsMissing:
    """All that a sender lacks, in words: who asks for one part must not be refused the next one then."""

    CREATE = rule("grantable", "create", "deployments", groups="apps", namespaces="ci")
    SECRETS = rule("grantable", "get", "secrets", namespaces="ci", id="s")
    WHAT = asks(
        "create",
        "deployments",
        "web",
        namespace="ci",
        group="apps",
        uses=(uses("secrets", "key"), uses("configmaps", "conf")),
    )
    MAPS = rule("allow", "get", "configmaps", namespaces="ci", id="m")

    def test_it_is_the_request_and_what_it_uses_without_what_is_covered(self) -> None:
        refusal = denied(answer(self.WHAT, policy(self.CREATE, self.SECRETS, self.MAPS)))
        assert refusal.missing == ("create deployments.apps/web -n ci", "get secrets/key -n ci")
        assert refusal.hint.endswith(
            'narrowgate tasks request --cluster prod --reason ... --allow "create deployments.apps/web -n ci" '
            '--allow "get secrets/key -n ci"'
        )

    def test_where_not_all_is_offered_the_words_are_there_all_the_same(self) -> None:
        refusal = denied(answer(self.WHAT, policy(self.CREATE, self.MAPS)))
        assert refusal.missing == ("create deployments.apps/web -n ci", "use secrets/key -n ci")
        assert "secrets" not in refusal.hint

    @pytest.mark.parametrize(
        ("what", "rules"),
        [
            (asks("get", "pods", "web", namespace="ci"), (rule("deny", "get", "pods", namespaces="ci"),)),
            (WHAT, (CREATE, rule("deny", "get", "secrets", namespaces="ci", id="d"))),
            (gets("/metrics"), ()),
            (asks("get", "pods", "Web", namespace="ci"), ()),
            (asks("create", "pods", namespace="ci", uses=tuple(uses("secrets", f"s{n}") for n in range(40))), ()),
            (asks("create", "pods", namespace="ci", uses=(uses("secrets", "a b"),)), ()),
        ],
    )
    def test_what_no_words_would_let_pass_has_none(self, what: Intent, rules: tuple[Any, ...]) -> None:
        assert denied(answer(what, policy(rule("allow", "get", "nodes", id="n"), *rules))).missing == ()

    def test_what_another_member_of_the_chain_lacks_is_not_asked_for(self) -> None:
        who = chain_of(person("alice"), agent())
        given = policy(rule("allow", "get", "pods", namespaces="ci"))
        refusal = denied(answer(asks("get", "pods", "web", namespace="ci"), given, by=who))
        assert refusal.missing == ()


class TestGrantableAndApprove:
    WHAT = asks("get", "secrets", "deploy-key", namespace="ci")

    def test_what_is_only_grantable_is_denied_with_how_to_ask(self) -> None:
        refusal = denied(answer(self.WHAT, policy(READ_PODS, rule("grantable", "get", "secrets", namespaces="ci"))))
        assert (
            'narrowgate tasks request --cluster prod --reason ... --allow "get secrets/deploy-key -n ci"'
            in refusal.hint
        )

    def test_where_the_rule_asks_for_a_link_the_refusal_says_which_and_leaves_it_to_be_found(self) -> None:
        linked = rule("grantable", "get", "secrets", namespaces="ci", links=("https://tickets.corp/",))
        refusal = denied(answer(self.WHAT, policy(READ_PODS, linked)))
        assert "to a task whose link begins with https://tickets.corp/: narrowgate" in refusal.hint
        assert '--reason ... --link ... --allow "get secrets/deploy-key -n ci"' in refusal.hint

    def test_an_approve_rule_holds_what_nothing_covers(self) -> None:
        held = answer(self.WHAT, policy(rule("approve", "get", "secrets", namespaces="ci", names="deploy-key")))
        assert isinstance(held, NeedsApproval)
        assert held.rule == RuleRef("test", "approve-it", 7)
        assert "2 of group sre" in held.hint

    def test_an_approve_rule_holds_what_is_allowed(self) -> None:
        allowed = rule("allow", "get list", "secrets", namespaces="ci")
        guarded = policy(allowed, rule("approve", "get list", "secrets", names="deploy-key"))
        assert isinstance(answer(self.WHAT, guarded), NeedsApproval)
        assert is_part(answer(asks("list", "secrets", namespace="ci"), guarded))
        assert isinstance(answer(asks("list", "secrets", "deploy-key", namespace="ci"), guarded), NeedsApproval)
        assert isinstance(answer(asks("get", "secrets", "other", namespace="ci"), guarded), Allow)

    def test_an_approve_rule_offers_no_more_than_it_names(self) -> None:
        offered = policy(rule("approve", "get list", "secrets", namespaces="ci", names="deploy-key"))
        assert isinstance(answer(asks("list", "secrets", namespace="ci"), offered), Deny)
        assert isinstance(answer(asks("list", "secrets"), offered), Deny)

    def test_a_deny_wins_over_an_approve_rule(self) -> None:
        rules = policy(rule("approve", "get", "secrets"), rule("deny", "get", "secrets"))
        assert denied(answer(self.WHAT, rules)).rule == RuleRef("test", "deny-it", 7)

    def test_what_is_uncovered_elsewhere_is_no_question_for_people(self) -> None:
        chain = chain_of(person("alice"), agent("ci"))
        decision = answer(self.WHAT, policy(rule("approve", "get", "secrets")), by=chain)
        assert isinstance(decision, Deny)


class TestConditions:
    IMAGES = 'object.spec.images.exists(i, !i.startsWith("registry.corp/"))'
    EVERYTHING = rule("allow", "*", "*", namespaces="*", groups="*")

    def creates(self, images: Any, **more: Any) -> Intent:
        return asks("create", "pods", namespace="ci", object={"metadata": {"name": "x"}, "spec": images}, **more)

    def guarded(self, when: str, verbs: str = "create") -> Any:
        return policy(self.EVERYTHING, rule("deny", verbs, "pods", when=when))

    def test_a_deny_with_a_condition_looks_at_the_object(self) -> None:
        rules = self.guarded(self.IMAGES)
        assert isinstance(answer(self.creates({"images": ["registry.corp/a"]}), rules), Allow)
        assert isinstance(answer(self.creates({"images": ["registry.corp/a", "evil/b"]}), rules), Deny)

    def test_a_deny_whose_condition_errs_denies(self) -> None:
        refusal = denied(answer(self.creates({}), self.guarded(self.IMAGES)))
        assert "its condition cannot be decided" in refusal.message
        assert "images" in refusal.message

    def test_an_allow_whose_condition_errs_covers_nothing_and_says_so(self) -> None:
        rules = policy(rule("allow", "create", "pods", namespaces="ci", when=self.IMAGES))
        refusal = denied(answer(self.creates({}), rules))
        assert "would, but its condition cannot be decided" in refusal.message

    @pytest.mark.parametrize("effect", ["deny", "allow"])
    def test_an_object_that_is_not_to_be_had_denies(self, effect: str) -> None:
        rules = policy(
            *([self.EVERYTHING] if effect == "deny" else []), rule(effect, "*", "pods", when="has(object.x)")
        )
        refusal = denied(answer(asks("create", "pods", namespace="ci", object_missing="it came as protobuf"), rules))
        assert "it came as protobuf" in refusal.message or effect == "allow"

    def test_a_condition_on_the_old_object_needs_it(self) -> None:
        rules = self.guarded("object.spec != oldObject.spec", "update")
        old, new = {"spec": {"a": 1}}, {"spec": {"a": 2}}
        unchanged = asks("update", "pods", "x", namespace="ci", object=old, old_object=old)
        assert isinstance(answer(unchanged, rules), Allow)
        changed = asks("update", "pods", "x", namespace="ci", object=new, old_object=old)
        assert isinstance(answer(changed, rules), Deny)
        unknown = asks("update", "pods", "x", namespace="ci", object=old)
        assert "the object as it is now is not known" in denied(answer(unknown, rules)).message

    def test_a_create_has_no_old_object_and_a_delete_no_new_one(self) -> None:
        creating = self.guarded("oldObject != null", "create")
        assert isinstance(answer(self.creates({}), creating), Allow)
        deleting = self.guarded("object != null || oldObject.spec.keep", "delete")
        what = asks("delete", "pods", "x", namespace="ci", old_object={"spec": {"keep": False}})
        assert isinstance(answer(what, deleting), Allow)

    def test_a_condition_sees_who_is_judged_and_what_is_asked(self) -> None:
        when = (
            'request.userInfo.username == "ci" && "builders" in request.userInfo.groups && request.verb == "create" '
            '&& request.operation == "CREATE" && request.name == "x" && request.namespace == "ci" '
            '&& request.resource.resource == "pods" && request.resource.version == "v1" && request.kind.kind == "Pod" '
            '&& request.kind.version == "v1" && request.kind.group == "" && request.subResource == ""'
        )
        what = asks(
            "create",
            "pods",
            namespace="ci",
            object={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}},
        )
        rules = policy(rule("allow", "create", "pods", namespaces="ci", when=when))
        assert isinstance(answer(what, rules, by=agent(groups=("builders",))), Allow)
        assert isinstance(answer(what, rules, by=agent(groups=("others",))), Deny)

    @pytest.mark.parametrize(
        ("verb", "resource", "operation"),
        [
            ("create", "pods/exec", "CONNECT"),
            ("create", "pods/eviction", "CREATE"),
            ("patch", "pods", "UPDATE"),
            ("deletecollection", "pods", "DELETE"),
            ("get", "pods", ""),
            ("get", "services/proxy", "CONNECT"),
        ],
    )
    def test_operations_are_those_of_admission(self, verb: str, resource: str, operation: str) -> None:
        rules = policy(rule("allow", "*", "*", namespaces="ci", when=f'request.operation == "{operation}"'))
        assert isinstance(answer(asks(verb, resource, "x", namespace="ci"), rules), Allow)

    def test_a_condition_on_the_content_of_something_used_cannot_be_decided(self) -> None:
        what = self.creates({"images": []}, uses=(uses("secrets", "db"),))
        by_content = rule("allow", "use", "secrets", namespaces="ci", when="has(object.spec)", id="s")
        assert isinstance(answer(what, policy(rule("allow", "create", "pods", namespaces="ci"), by_content)), Deny)
        by_name = rule("allow", "use", "secrets", namespaces="ci", when='request.name == "db"', id="s")
        assert isinstance(answer(what, policy(rule("allow", "create", "pods", namespaces="ci"), by_name)), Allow)


class TestWords:
    def test_an_uncovered_request_is_told_what_it_may_do(self) -> None:
        refusal = denied(answer(asks("delete", "pods", "web-1", namespace="prod"), policy(READ_PODS)))
        assert refusal.message == (
            'agent "ci" may not delete pods "web-1" in namespace "prod" on cluster "prod": no rule allows it'
        )
        assert refusal.hint == "on pods it may: get, list, watch in namespace ci"

    def test_a_denied_request_is_told_the_rule(self) -> None:
        rules = policy(READ_PODS, rule("deny", "delete", "pods", id="no-deletes"), name="base")
        refusal = denied(answer(asks("delete", "pods", "web-1", namespace="prod"), rules))
        assert refusal.message == (
            'agent "ci" may not delete pods "web-1" in namespace "prod" on cluster "prod": '
            "rule no-deletes of policy base denies it"
        )
        assert refusal.rule == RuleRef("base", "no-deletes", 7)

    @pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", 'quo"te', "\u202egnp", "x" * 5000, "\ud800"])
    def test_a_message_is_one_printable_line_whatever_the_request_holds(self, name: str) -> None:
        refusal = denied(
            answer(
                asks(name, name, name, namespace=name, group=name),
                policy(READ_PODS),
                by=agent(groups=(name,)),
            )
        )
        assert refusal.message.isprintable()
        assert refusal.hint.isprintable()
        assert len(refusal.message) < 2000
        refusal.message.encode()


@pytest.mark.parametrize(
    "what",
    [
        Intent(cluster="", info=RequestInfo(is_resource_request=True, path="", verb="")),
        Intent(cluster="prod", info=RequestInfo(is_resource_request=False, path="", verb="")),
        asks("create", "pods", namespace="ci", object={"metadata": {"name": 7, "generateName": None}}),
        asks("create", "pods", namespace="ci", object=object()),
        asks("create", "pods", namespace="ci", object={"apiVersion": [], "kind": {}}),
        asks("", "pods", uses=(uses("", "", namespace="", verbs=""),)),
    ],
)
def test_it_answers_whatever_the_intent(what: Intent) -> None:
    guarded = policy(
        rule("allow", "*", "*", namespaces="*", groups="*", when='request.kind.kind == "x" || has(object.spec)'),
        rule("deny", "*", "*", groups="*", when="has(object.spec)", id="guard"),
    )
    assert isinstance(answer(what, guarded), Allow | Deny)


def test_the_fastest_road_gives_the_answer_of_the_slow_one() -> None:
    rules = policy(READ_PODS)
    book = compile_policies([rules], 7)
    what = asks("get", "pods", "web", namespace="ci")
    first = answer(what, rules)
    for _ in range(3):
        assert book.holding(agent(), "prod") is book.holding(agent(), "prod")
        assert answer(what, rules) == first
