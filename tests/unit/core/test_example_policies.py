"""The example policies do what their first lines say."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from tests.deciding import agent, answer, asks, gets, person, policy, rule, uses, workload

from narrowgate.core.decision import Allow, Deny, NeedsApproval
from narrowgate.core.identity import chain_of
from narrowgate.core.intent import Entry, Intent, PodSeen
from narrowgate.core.mask_trial import see
from narrowgate.core.masking.choosing import Where
from narrowgate.core.masking.masked_value import KEY_BYTES, ValueMasker
from narrowgate.core.policy import Approvers, Policy
from narrowgate.core.policy_file import parse_policies
from narrowgate.core.rulebook import compile_policies

EXAMPLES = Path(__file__).parents[3] / "examples" / "policies"


def example(name: str) -> Policy:
    (found,) = parse_policies((EXAMPLES / f"{name}.yaml").read_text(), f"{name}.yaml")
    return found


WEB: dict[str, Any] = {
    "metadata": {"name": "frontend"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {}, "spec": {"containers": [{"name": "web", "image": "registry.example/shop/web:1"}]}},
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """WEB with one value changed."""
    document = copy.deepcopy(WEB)
    *way, last = path.split(".")
    inner = document
    for step in way:
        inner = inner[step]
    inner[last] = value
    return document


class TestRestartOnly:
    WHO = agent("restarter")

    def patches(self, result: Any, name: str = "frontend", verb: str = "patch") -> Intent:
        return asks(verb, "deployments", name, namespace="web", group="apps", object=result, old_object=WEB)

    def test_a_restart_passes(self) -> None:
        restarted = changed("spec.template.metadata", {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}})
        assert isinstance(answer(self.patches(restarted), example("restart-only"), by=self.WHO), Allow)

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("spec.template.spec", {"containers": [{"name": "web", "image": "evil"}]}),
            ("spec.replicas", 0),
            ("spec.selector", {}),
        ],
    )
    def test_any_other_change_is_refused(self, path: str, value: Any) -> None:
        refusal = answer(self.patches(changed(path, value)), example("restart-only"), by=self.WHO)
        assert isinstance(refusal, Deny)
        assert refusal.rule is not None
        assert refusal.rule.rule == "change-nothing-else"

    def test_nothing_else_is_touched(self) -> None:
        rules = example("restart-only")
        assert isinstance(answer(self.patches(WEB, "other"), rules, by=self.WHO), Deny)
        assert isinstance(answer(self.patches(WEB, verb="update"), rules, by=self.WHO), Deny)
        assert isinstance(answer(self.patches(None), rules, by=self.WHO), Deny)


class TestDenyBase:
    @pytest.mark.parametrize(
        "what",
        [
            asks("delete", "namespaces", "ci"),
            asks("patch", "namespaces", "ci"),
            asks("create", "rolebindings", namespace="ci", group="rbac.authorization.k8s.io"),
            asks("escalate", "clusterroles", "x", group="rbac.authorization.k8s.io"),
            asks("impersonate", "users", "admin", namespaced=False),
            asks("create", "serviceaccounts/token", "default", namespace="ci"),
            asks("patch", "certificatesigningrequests/approval", "x", group="certificates.k8s.io", namespaced=False),
            asks(
                "create",
                "validatingwebhookconfigurations",
                group="admissionregistration.k8s.io",
                namespaced=False,
            ),
            asks("create", "customresourcedefinitions", group="apiextensions.k8s.io", namespaced=False),
            asks("update", "persistentvolumes", "pv"),
            asks("patch", "nodes", "n1"),
            asks("get", "nodes/proxy", "n1"),
            asks(
                "create",
                "pods",
                namespace="ci",
                object={"metadata": {"name": "x"}},
                uses=(uses("hostaccess", "hostPath", group="narrowgate.dev", verbs="use"),),
            ),
        ],
        ids=lambda what: f"{what.info.verb} {what.info.resource}",
    )
    def test_nothing_lifts_what_it_denies(self, what: Intent) -> None:
        for one in (agent("trial"), person("root"), workload("kube-system/admin")):
            everything = policy(
                rule("allow", "*", "*", groups="*", namespaces="*"),
                name="all",
                subjects="Agent/* Person/* ServiceAccount/*",
            )
            refusal = answer(what, example("deny-base"), everything, by=one)
            assert isinstance(refusal, Deny)
            assert refusal.rule is not None
            assert refusal.rule.policy == "deny-base"

    def test_ordinary_work_goes_on(self) -> None:
        for what in (
            asks("get", "namespaces", "ci"),
            asks("list", "nodes"),
            asks("delete", "pods", "x", namespace="ci"),
            asks("create", "deployments", namespace="ci", group="apps", object=WEB),
            gets("/metrics"),
        ):
            assert isinstance(answer(what, example("deny-base"), example("allow-all"), by=agent("trial")), Allow)


def test_a_reader_of_a_namespace_sees_no_secret_and_changes_nothing() -> None:
    reader, rules = agent("ci-reviewer"), example("read-namespace")
    assert isinstance(answer(asks("list", "pods", namespace="ci"), rules, by=reader), Allow)
    assert isinstance(answer(asks("get", "pods/log", "x", namespace="ci"), rules, by=reader), Allow)
    assert isinstance(answer(asks("get", "namespaces", "ci"), rules, by=reader), Allow)
    for what in (
        asks("get", "secrets", "x", namespace="ci"),
        asks("list", "pods", namespace="prod"),
        asks("get", "pods", "x", namespace="prod"),
        asks("delete", "pods", "x", namespace="ci"),
        asks("create", "pods/exec", "x", namespace="ci"),
        asks("list", "namespaces"),
    ):
        assert isinstance(answer(what, rules, by=reader), Deny)
    everywhere = answer(asks("list", "pods"), rules, by=reader)
    assert isinstance(everywhere, Allow)
    assert everywhere.visible is not None
    assert everywhere.visible.shows(Where("ci", "x"))
    assert not everywhere.visible.shows(Where("prod", "x"))


def test_a_deployer_deploys_from_its_registry_with_its_own_secrets() -> None:
    rules, bot = example("deployer"), workload("ci/deployer")

    def creates(document: Any, *used: Any) -> Intent:
        return asks("create", "deployments", "web", namespace="shop", group="apps", object=document, uses=used)

    own = uses("secrets", "database", namespace="shop")
    assert isinstance(answer(creates(WEB, own), rules, by=bot), Allow)
    assert isinstance(answer(creates(WEB, uses("secrets", "admin", namespace="shop")), rules, by=bot), Deny)
    foreign = changed("spec.template.spec.containers", [{"name": "x", "image": "evil/x"}])
    assert isinstance(answer(creates(foreign, own), rules, by=bot), Deny)
    hidden = changed("spec.template.spec.initContainers", [{"name": "x", "image": "evil/x"}])
    assert isinstance(answer(creates(hidden, own), rules, by=bot), Deny)
    assert isinstance(answer(asks("get", "secrets", "database", namespace="shop"), rules, by=bot), Deny)


def test_people_on_call_ask_before_they_open_a_shell() -> None:
    rules, who = example("on-call"), person("ann", "on-call")
    assert isinstance(answer(asks("list", "pods", namespace="shop"), rules, by=who), Allow)
    assert isinstance(answer(asks("create", "pods/exec", "x", namespace="shop"), rules, by=who), NeedsApproval)
    assert isinstance(answer(asks("get", "secrets", "database", namespace="shop"), rules, by=who), NeedsApproval)
    scaling = answer(asks("patch", "deployments/scale", "x", namespace="shop", group="apps"), rules, by=who)
    assert isinstance(scaling, Deny)
    assert "narrowgate tasks request" in scaling.hint
    assert isinstance(answer(gets("/livez/etcd"), rules, by=who), Allow)


class TestReleaseAgent:
    WHO = agent("release")

    def test_a_task_looks_at_once_and_rolls_when_two_say_yes_who_do_not_own_it(self) -> None:
        rules = {one.id: one for one in example("release-agent").rules}
        assert rules["look"].approval is None
        asked = rules["roll"].approval
        assert asked is not None
        assert (asked.approvers, asked.not_by_owner) == ((Approvers("developers", 2),), True)

    def test_between_tasks_it_holds_nothing_and_the_key_waits_for_security(self) -> None:
        policy = example("release-agent")
        assert isinstance(answer(asks("get", "pods", "web-1", namespace="web"), policy, by=self.WHO), Deny)
        held = answer(asks("get", "secrets", "deploy-key", namespace="web"), policy, by=self.WHO)
        assert isinstance(held, NeedsApproval)
        assert [ask.not_by_owner for ask in held.asks] == [True]
        assert isinstance(answer(asks("get", "secrets", "other", namespace="web"), policy, by=self.WHO), Deny)


class TestInvestigator:
    WHO = agent("investigator")

    def seen(self, document: dict[str, Any]) -> Any:
        book = compile_policies([example("investigator")], 1)
        return see(document, chain_of(self.WHO), "prod", book, ValueMasker(bytes(KEY_BYTES)), None).document

    def test_variables_are_shown_and_addresses_are_not(self) -> None:
        pod = {"containers": [{"name": "a", "env": [{"name": "TOKEN_API", "value": "v2"}]}]}
        shown = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "shop"}, "spec": pod}
        assert self.seen(shown) == shown
        data = {"mailTo": "a@b", "smtp.recipients": "c@d", "level": "debug"}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}, "data": data}
        masked = self.seen(config)["data"]
        assert masked["level"] == "debug"
        assert masked["mailTo"].startswith("[masked:investigator/addresses:")
        assert masked["smtp.recipients"].startswith("[masked:investigator/addresses:")

    def test_two_officers_show_the_deploy_key_and_nobody_the_database(self) -> None:
        asked = answer(asks("get", "secrets", "deploy-key", namespace="shop"), example("investigator"), by=self.WHO)
        assert isinstance(asked, NeedsApproval)
        assert [one.approvers for one in asked.asks] == [(Approvers("security", 2),)]
        other = answer(asks("get", "secrets", "database", namespace="shop"), example("investigator"), by=self.WHO)
        assert isinstance(other, Allow)
        assert other.masks is not None


class TestTroubleshooter:
    WHO = agent("troubleshooter")

    def runs(self, *command: str, container: str = "app", team: str = "shop") -> Intent:
        return asks(
            "create",
            "pods/exec",
            "web-1",
            namespace="shop",
            entry=Entry(container=container, command=command),
            pod=PodSeen(labels=(("team", team),)),
        )

    @pytest.mark.parametrize("command", [("ls", "data"), ("tail", "-n", "50", "/var/log/app.log"), ("df", "-h")])
    def test_it_looks_at_any_time(self, command: tuple[str, ...]) -> None:
        assert isinstance(answer(self.runs(*command), example("troubleshooter"), by=self.WHO), Allow)

    def test_a_shell_needs_somebody_and_ends_at_some_lines(self) -> None:
        decision = answer(self.runs("bash"), example("troubleshooter"), by=self.WHO)
        assert isinstance(answer(self.runs("bash", "-c", "id"), example("troubleshooter"), by=self.WHO), Deny)
        assert isinstance(decision, NeedsApproval)
        assert decision.asks[0].approvers == (Approvers("on-call", 1),)
        assert example("troubleshooter").rules[-1].lines == (("rm", "-rf"), ("shutdown",))

    def test_nothing_else_runs_and_nowhere_else(self) -> None:
        refused = [
            self.runs("cat", "/etc/passwd"),
            self.runs("sh", "-c", "id"),
            self.runs("ls", "data", container="sidecar"),
            self.runs("ls", "data", team="bank"),
        ]
        for what in refused:
            assert isinstance(answer(what, example("troubleshooter"), by=self.WHO), Deny)
