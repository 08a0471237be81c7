"""Admission policies for namespaces of agents: where they hold, and what they say."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.core.agent_admission import injecting, refusing
from narrowgate.core.agent_bundle import Bundle, Way

WAY = Way(host="10.0.0.5", port=8443, to=("10.0.0.5/32",), to_port=8443)


def bundle(**given: Any) -> Bundle:
    fields = {"cluster": "c", "namespace": "agents", "account": "a", "audience": "gate", "authority": "PEM", "way": WAY}
    return Bundle(**fields | given)


@pytest.mark.parametrize("make", [refusing, injecting])
def test_each_policy_is_bound_to_the_one_namespace_and_fails_closed(make: Any) -> None:
    objects = list(make(bundle()))
    while objects:
        policy, binding, *objects = objects
        assert policy["metadata"]["name"] == binding["spec"]["policyName"]
        assert binding["spec"]["matchResources"] == {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "agents"}}
        }
        assert policy["spec"]["failurePolicy"] == "Fail"
        (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
        assert (rule["operations"], len(rule["resources"])) == (["CREATE"], 1)


def test_two_namespaces_have_policies_of_their_own() -> None:
    names = [one["metadata"]["name"] for space in ("a", "b") for one in refusing(bundle(namespace=space))]
    assert len(set(names)) == 4


def test_refusing_denies_and_names_the_audience() -> None:
    pods, bound, *_ = refusing(bundle(audience='g"\\te'))
    assert bound["spec"]["validationActions"] == ["Deny"]
    (validation,) = pods["spec"]["validations"]
    # As a string of CEL, whatever is in it.
    assert 'audience == "g\\"\\\\te"' in validation["expression"]


def test_what_is_injected_is_what_the_template_has() -> None:
    policy, _ = injecting(bundle())
    of_volume, of_containers = policy["spec"]["mutations"]
    volume = of_volume["jsonPatch"]["expression"]
    assert (
        'Object.spec.volumes.projected.sources.serviceAccountToken{audience: "gate", expirationSeconds: 3600' in volume
    )
    containers = of_containers["applyConfiguration"]["expression"]
    assert 'name: "KUBERNETES_SERVICE_HOST", value: "10.0.0.5"' in containers
    for field in ("containers", "initContainers"):
        assert f"object.spec.{field}.map(c, Object.spec.{field}{{name: c.name, " in containers
    # A port is a text among variables, as it is in the template, and a switch is none.
    assert 'value: "8443"' in containers
    assert "readOnly: true" in containers
