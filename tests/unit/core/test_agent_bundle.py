"""Bundles for namespaces of agents: the gate where clients look for a cluster, and nothing for the API server."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from narrowgate.core.agent_bundle import (
    TOKEN_FOLDER,
    Bundle,
    PodPlace,
    Way,
    as_network,
    bundle_objects,
    is_this_machine,
    network_policy,
    template_patch,
)
from narrowgate.core.pod_rules import Level
from narrowgate.core.pod_security import violations

DNS = PodPlace("kube-system", (("k8s-app", "kube-dns"),))


def way(**given: Any) -> Way:
    return Way(**{"host": "10.0.0.5", "port": 8443, "to": ("10.0.0.5/32",), "to_port": 8443, "dns": (DNS,), **given})


def bundle(**given: Any) -> Bundle:
    return Bundle(
        **{
            "cluster": "prod",
            "namespace": "agents",
            "account": "agent",
            "audience": "gate",
            "authority": "PEM",
            "way": way(),
            **given,
        }
    )


def kinds(made: Bundle) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in bundle_objects(made):
        found.setdefault(one["kind"], []).append(one)
    return found


def spec_of_template(made: Bundle) -> dict[str, Any]:
    spec: dict[str, Any] = kinds(made)["PodTemplate"][0]["template"]["spec"]
    return spec


def test_no_account_hands_out_a_token_for_the_api_server_and_none_is_printed_twice() -> None:
    accounts = kinds(bundle())["ServiceAccount"]
    assert [one["metadata"]["name"] for one in accounts] == ["agent", "default"]
    assert all(one["automountServiceAccountToken"] is False for one in accounts)
    assert len(kinds(bundle(account="default"))["ServiceAccount"]) == 1


def test_a_pods_files_are_those_that_clients_look_for_and_its_token_is_for_the_gate() -> None:
    spec = spec_of_template(bundle())
    (volume,) = spec["volumes"]
    token, files, own = volume["projected"]["sources"]
    assert token == {"serviceAccountToken": {"audience": "gate", "expirationSeconds": 3600, "path": "token"}}
    assert [item["path"] for item in files["configMap"]["items"]] == ["ca.crt", "kubeconfig"]
    assert [item["path"] for item in own["downwardAPI"]["items"]] == ["namespace"]
    (container,) = spec["containers"]
    assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": TOKEN_FOLDER, "readOnly": True}]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert (variables["KUBERNETES_SERVICE_HOST"], variables["KUBERNETES_SERVICE_PORT"]) == ("10.0.0.5", "8443")
    assert spec["automountServiceAccountToken"] is False


def test_the_kubeconfig_names_files_and_holds_no_secret() -> None:
    (config_map,) = kinds(bundle(way=way(host="fd00::5")))["ConfigMap"]
    document = yaml.safe_load(config_map["data"]["kubeconfig"])
    assert document["clusters"][0]["cluster"] == {
        "server": "https://[fd00::5]:8443/clusters/prod",
        "certificate-authority": f"{TOKEN_FOLDER}/ca.crt",
    }
    assert document["users"][0]["user"] == {"tokenFile": f"{TOKEN_FOLDER}/token"}
    assert document["contexts"][0]["context"]["namespace"] == "agents"


def test_the_policy_leaves_the_gate_and_names_alone() -> None:
    spec = network_policy("agents", way(to_port=9443))["spec"]
    assert (spec["podSelector"], spec["policyTypes"]) == ({}, ["Ingress", "Egress"])
    assert "ingress" not in spec
    to_gate, to_dns = spec["egress"]
    assert to_gate == {"to": [{"ipBlock": {"cidr": "10.0.0.5/32"}}], "ports": [{"protocol": "TCP", "port": 9443}]}
    assert to_dns["to"] == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ]
    # A rule with no peers would mean everybody: where there are no name servers, there is no rule.
    assert len(network_policy("agents", way(dns=()))["spec"]["egress"]) == 1


def test_the_template_is_as_restricted_as_its_namespace_demands() -> None:
    made = bundle()
    assert list(violations(spec_of_template(made), {}, Level.RESTRICTED)) == []
    (namespace,) = kinds(made)["Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_patch_does_to_each_container_what_the_template_does() -> None:
    made = bundle()
    spec = template_patch(made, ["web", "sidecar"])["spec"]["template"]["spec"]
    (of_template,) = spec_of_template(made)["containers"]
    assert [one["name"] for one in spec["containers"]] == ["web", "sidecar"]
    assert all(one["env"] == of_template["env"] for one in spec["containers"])
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("agent", False)


@pytest.mark.parametrize(
    ("host", "network", "here"),
    [
        ("10.0.0.5", "10.0.0.5/32", False),
        ("10.0.0.0/8", "10.0.0.0/8", False),
        ("fd00::1", "fd00::1/128", False),
        ("gate.corp", "", False),
        ("10.0.0.5/8", "", False),
        ("127.0.0.1", "127.0.0.1/32", True),
        ("::1", "::1/128", True),
        ("0.0.0.0", "0.0.0.0/32", True),
        ("localhost", "", True),
    ],
)
def test_which_hosts_are_addresses_and_which_lead_nowhere(host: str, network: str, here: bool) -> None:
    assert (as_network(host), is_this_machine(host)) == (network, here)
