"""A request in words becomes the intent the gate would have."""

from __future__ import annotations

import pytest

from narrowgate.cli.failure import Failed
from narrowgate.cli.question import about_object, chain_in, identity_of, intent_of, into_pod
from narrowgate.core.identity import Kind
from narrowgate.core.intent import Entry, PodSeen


def test_the_form_of_the_contract_is_read() -> None:
    what = intent_of("patch", "deployments.apps/web", "", "ci", "prod")
    assert (what.info.verb, what.info.api_group, what.info.resource, what.info.name) == (
        "patch",
        "apps",
        "deployments",
        "web",
    )
    assert (what.info.namespace, what.namespaced, what.cluster) == ("ci", True, "prod")


def test_the_group_of_what_kubernetes_brings_along_may_be_left_out() -> None:
    assert intent_of("get", "deployments", "", "ci", "c").info.api_group == "apps"
    assert intent_of("get", "pods", "", "ci", "c").info.api_group == ""


def test_cluster_scoped_resources_are_known() -> None:
    assert not intent_of("get", "nodes", "", "", "c").namespaced
    assert intent_of("list", "widgets.example.com", "", "", "c").namespaced


def test_a_subresource_is_a_part_of_its_own() -> None:
    info = intent_of("create", "pods/web", "exec", "ci", "c").info
    assert (info.resource, info.name, info.subresource) == ("pods", "web", "exec")


def test_a_path_is_no_resource() -> None:
    what = intent_of("get", "/metrics", "", "", "c")
    assert (what.info.is_resource_request, what.info.path) == (False, "/metrics")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("get", "Pods", "", "", "c"), '"Pods" is no resource'),
        (("get", "po", "", "", "c"), 'write "pods"'),
        (("get", "pod", "", "", "c"), 'write "pods"'),
        (("get", "widgets", "", "", "c"), "write its group"),
        (("get", "pods/web", "exec", "ci", "c"), "write create, as Kubernetes does"),
        (("get", "/metrics", "", "ci", "c"), "is a path"),
    ],
)
def test_what_no_rule_could_match_is_refused_with_what_to_write(
    words: tuple[str, str, str, str, str], said: str
) -> None:
    with pytest.raises(Failed, match=said):
        intent_of(*words)


def test_the_object_gives_the_name_and_what_it_uses() -> None:
    pod = {
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "ci"},
        "spec": {"volumes": [{"name": "key", "secret": {"secretName": "deploy-key"}}]},
    }
    what = about_object(intent_of("create", "pods", "", "ci", "c"), pod, "web.yaml")
    assert what.object is pod
    assert [(use.resource, use.name) for use in what.uses if use.resource == "secrets"] == [("secrets", "deploy-key")]


@pytest.mark.parametrize(
    "metadata", [{"name": "other", "namespace": "ci"}, {"name": "web", "namespace": "other"}], ids=["name", "namespace"]
)
def test_an_object_that_is_another_than_the_one_asked_about_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(Failed, match="make them agree"):
        about_object(intent_of("update", "pods/web", "", "ci", "c"), {"metadata": metadata}, "web.yaml")


def test_a_chain_is_written_root_first_and_groups_are_the_senders() -> None:
    chain = chain_in(("person:alice", "agent:ci"), ("night",))
    assert [(str(member), member.groups) for member in chain] == [("person:alice", ()), ("agent:ci", ("night",))]


def test_a_workload_is_named_with_its_namespace() -> None:
    assert identity_of("serviceaccount:ci/runner", ()).kind is Kind.WORKLOAD


@pytest.mark.parametrize("words", ["ci", "robot:ci", "agent:", "agent:CI", "person:system:admin"])
def test_nobody_is_refused(words: str) -> None:
    with pytest.raises(Failed, match="--as"):
        identity_of(words, ())


def test_a_question_may_say_what_is_run_where() -> None:
    what = intent_of("create", "pods/web", "exec", "ci", "prod")
    asked = into_pod(what, "app", ["ls", "-l"], ["tier=front", "app=web"])
    assert asked.entry == Entry(container="app", command=("ls", "-l"))
    assert asked.pod == PodSeen(labels=(("app", "web"), ("tier", "front")))
    assert into_pod(what, "app", [], []).pod is None, "nobody has looked"


@pytest.mark.parametrize(
    ("subresource", "command", "labels", "message"),
    [
        ("log", ["ls"], [], "getting into pods"),
        ("attach", ["ls"], [], "attach starts no command"),
        ("exec", [], ["app"], '"app" is no label'),
        ("exec", [], ["=web"], "is no label"),
    ],
)
def test_a_way_in_that_makes_no_sense_is_refused(
    subresource: str, command: list[str], labels: list[str], message: str
) -> None:
    verb = "get" if subresource == "log" else "create"
    with pytest.raises(Failed, match=message):
        into_pod(intent_of(verb, "pods/web", subresource, "ci", "prod"), "", command, labels)
