"""Rules that say where custom resources keep their pods, on the real cluster: what stands there is judged, and mended,
as a pod's spec is, in whatever form it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow
from tests.e2e.test_escalation import (
    APPLY,
    CONFINED,
    JSON,
    JSON_PATCH,
    MERGE,
    READY_SECONDS,
    Body,
    Place,
    an_object,
    custom_definition,
    sent,
)
from tests.e2e.workloads import yaml_of

TEMPLATES = ["spec.head", "spec.workers[*].template?", "spec.runAs?"]
PODS = {
    "templates": TEMPLATES,
    "serviceAccounts": ["default", "weak"],
    "automountToken": "mend",
    "level": "restricted",
    "images": ["registry.corp/*"],
}


@pytest.fixture(scope="module")
def place(
    cluster: Cluster,
    direct: Kubectl,
    new_namespace: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
    run_id: str,
) -> Iterator[Place]:
    """A custom resource whose pods are not seen by their looks, and a gate of its own."""
    namespace, group = new_namespace("namedpods"), f"namedpods-{run_id}.narrowgate.test"
    here = direct.within(namespace)
    direct.must("apply", "-f", "-", stdin=yaml_of(custom_definition(group)))
    direct.must("wait", "--for=condition=Established", f"crd/widgets.{group}", f"--timeout={READY_SECONDS}s")
    here.must("create", "serviceaccount", "weak")
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("gate-named"), [entry])
    made = Place(gate, direct, namespace, cluster.image, group)
    here.must("apply", "-f", "-", stdin=yaml_of(widget(made, "there", head=confined(), workers=[worker()])))
    gate.start()
    yield made
    gate.stop()
    direct("delete", "crd", f"widgets.{group}", "--wait=false")


@pytest.fixture(scope="module")
def maker(place: Place) -> Agent:
    """May write the custom resource, whose pods the rule describes."""
    return known(place, "maker", PODS)


def known(place: Place, name: str, pods: Mapping[str, Any], **more: Any) -> Agent:
    rules = [
        allow("custom", "get create update patch", "widgets", place.namespace, groups=[place.crd], pods=pods, **more),
        allow("accounts", "use", "serviceaccounts", place.namespace),
    ]
    agent = place.gate.agent(name, rules)
    path = place.path(f"{place.crd}/v1", "widgets", "none")
    place.gate.wait_until(lambda: agent.request("GET", path).status == 404, "the gate knows the custom resource")
    return agent


def confined(**more: Any) -> Body:
    container = {"name": "main", "image": "registry.corp/a:1", "securityContext": CONFINED}
    return {"containers": [container], **more}


def worker(**more: Any) -> Body:
    return {"template": {"metadata": {"labels": {"a": "b"}}, "spec": confined(**more)}}


def widget(place: Place, name: str = "new", **spec: Any) -> Body:
    return an_object(f"{place.crd}/v1", "Widget", name, spec=spec)


def path_of(place: Place, name: str = "", query: str = "?dryRun=All") -> str:
    return place.path(f"{place.crd}/v1", "widgets", name) + query


OUTSIDE: Mapping[str, tuple[Body, str]] = {
    "not there": ({"workers": [worker()]}, "spec.head is not there"),
    "no pod": ({"head": [confined()]}, "spec.head is neither a pod"),
    "an account by its name": ({"head": confined(), "runAs": "strong"}, "spec.runAs runs as service account strong"),
    "an account in a list": (
        {"head": confined(), "workers": [worker(), worker(serviceAccountName="strong")]},
        "spec.workers[1].template.spec runs as service account strong",
    ),
    "an image": (
        {"head": {"containers": [{"name": "m", "image": "evil.corp/a", "securityContext": CONFINED}]}},
        "evil.corp/a",
    ),
    "the node, with no container in sight": ({"head": {"hostPID": True}}, "hostPID"),
}


@pytest.mark.parametrize("how", OUTSIDE)
def test_what_stands_there_is_judged_in_every_form_of_a_write(place: Place, maker: Agent, how: str) -> None:
    spec, says = OUTSIDE[how]
    for method, path, form, document in (
        ("POST", path_of(place), JSON, widget(place, **spec)),
        ("PATCH", path_of(place, "new", "?fieldManager=ng&dryRun=All"), APPLY, widget(place, **spec)),
        ("PATCH", path_of(place, "there"), JSON_PATCH, [{"op": "replace", "path": "/spec", "value": spec}]),
    ):
        refused = sent(maker, (method, path, form, document))
        assert refused.status == 403, refused.body[:500]
        assert says in refused.message


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"head": confined(), "workers": None}, ""),
        ({"head": None}, "spec.head is not there"),
        ({"workers": [worker(nodeName="n", hostNetwork=True)]}, "hostNetwork"),
    ],
)
def test_a_merge_is_judged_by_what_comes_of_it(place: Place, maker: Agent, spec: Body, says: str) -> None:
    answer = sent(maker, ("PATCH", path_of(place, "there"), MERGE, {"spec": spec}))
    assert (answer.status, says in answer.body.decode()) == (403 if says else 200, True), answer.body[:500]


FALSE = {"automountServiceAccountToken": False}


@pytest.mark.parametrize(
    ("method", "name", "form", "spec"),
    [
        ("POST", "", JSON, {"head": confined(), "workers": [worker(), worker(**FALSE), worker()]}),
        ("PATCH", "there", MERGE, {"head": confined(), "workers": [worker(), worker()]}),
        ("PATCH", "there", JSON_PATCH, {"head": confined(), "workers": [worker(), worker()]}),
        ("PATCH", "new", APPLY, {"head": confined()}),
    ],
)
def test_a_token_is_taken_away_where_the_rule_says_that_pods_are(
    place: Place, maker: Agent, method: str, name: str, form: str, spec: Body
) -> None:
    document: Any = widget(place, name or "new", **spec)
    if form == MERGE:
        document = {"spec": spec}
    elif form == JSON_PATCH:
        document = [{"op": "replace", "path": "/spec", "value": spec}]
    answer = sent(maker, (method, path_of(place, name, "?fieldManager=ng&dryRun=All"), form, document))
    assert answer.status in (200, 201), answer.body[:500]
    made = answer.json()["spec"]
    pods = [made["head"], *(one["template"]["spec"] for one in made.get("workers", []))]
    assert [pod.get("automountServiceAccountToken") for pod in pods] == [False] * len(pods)
    assert "automountServiceAccountToken: false was set" in answer.header("warning")


def test_in_a_list_that_is_merged_by_others_nothing_is_guessed(place: Place, maker: Agent) -> None:
    document = widget(place, head=confined(**FALSE), workers=[worker()])
    refused = sent(maker, ("PATCH", path_of(place, "new", "?fieldManager=ng&dryRun=All"), APPLY, document))
    assert refused.status == 422, refused.body[:500]
    assert "they stand in a list" in refused.message


def test_kubectl_says_what_was_changed(place: Place, maker: Agent, kubectl_of: Callable[[Agent], Kubectl]) -> None:
    here = kubectl_of(maker).within(place.namespace)
    made = yaml_of(widget(place, "by-kubectl", head=confined()))
    ran = here("create", "-f", "-", stdin=made)
    assert ran.code == 0, ran.text
    assert "Warning: automountServiceAccountToken: false was set in the pods" in ran.err.decode()
    stored = here.must("get", f"widgets.{place.crd}", "by-kubectl", "-o", "jsonpath={.spec.head}")
    assert '"automountServiceAccountToken":false' in stored


def test_who_names_no_account_there_runs_as_the_default_one(place: Place, new_namespace: Callable[[str], str]) -> None:
    place = replace(place, namespace=new_namespace("nameddefault"))
    here = place.direct.within(place.namespace)
    here.must("create", "role", "reads", "--verb=get", "--resource=secrets")
    here.must("create", "rolebinding", "reads", "--role=reads", f"--serviceaccount={place.namespace}:default")
    unnamed = known(place, "unnamed", {"strongerAccounts": "deny"})
    named = known(place, "named", {"templates": ["spec.head"]})
    request = ("POST", path_of(place), JSON, widget(place, head={"image": "registry.corp/a:1"}))
    says = f"service account {place.namespace}/default may also get secrets"
    # What is known of roles is some seconds old.
    place.gate.wait_until(lambda: says in sent(named, request).body.decode(), "the new binding counts")
    assert sent(unnamed, request).status == 201
