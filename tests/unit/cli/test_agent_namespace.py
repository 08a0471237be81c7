"""`narrowgate clusters bundle`: what it takes, what it refuses, and what it prints."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests.unit.cli.terminal import Done, Terminal

GATE = ("--gate-address", "gate.corp:8443", "--gate-cidr", "10.0.0.5/32")


@pytest.fixture
def takes_pods(shell: Terminal) -> Terminal:
    text = shell.config.read_text()
    shell.config.write_text(f"{text}authentication: {{serviceAccounts: {{audience: gate}}}}\n")
    return shell


def bundle(shell: Terminal, *options: str) -> Done:
    return shell("clusters", "bundle", "prod", "--namespace", "agents", *options)


def printed(done: Done) -> dict[str, dict[str, Any]]:
    assert done.code == 0, done.err
    return {one["kind"]: one for one in yaml.safe_load_all(done.out)}


def test_it_prints_what_kubectl_applies_with_the_gates_own_ca_and_audience(takes_pods: Terminal) -> None:
    done = bundle(takes_pods, *GATE)
    found = printed(done)
    assert list(found) == ["Namespace", "ConfigMap", "NetworkPolicy", "PodTemplate", "ServiceAccount"]
    ca = (takes_pods.folder / "narrowgate-data" / "keys" / "ca.pem").read_text()
    assert found["ConfigMap"]["data"]["ca.crt"] == ca
    sources = found["PodTemplate"]["template"]["spec"]["volumes"][0]["projected"]["sources"]
    assert sources[0]["serviceAccountToken"]["audience"] == "gate"
    assert "name: agents/agent" in done.err
    assert bundle(takes_pods, *GATE, "-o", "json").json["kind"] == "List"


def test_pods_of_the_gate_and_its_own_port_stand_in_the_policy(takes_pods: Terminal) -> None:
    options = ("--gate-address", "gate.ng.svc", "--gate-pods", "ng/app=gate,tier=1", "--gate-port", "8443")
    rule, _ = printed(bundle(takes_pods, *options))["NetworkPolicy"]["spec"]["egress"]
    assert rule["to"][0]["podSelector"] == {"matchLabels": {"app": "gate", "tier": "1"}}
    assert rule["ports"] == [{"protocol": "TCP", "port": 8443}]


def test_a_gate_that_is_called_by_its_address_needs_no_names(takes_pods: Terminal) -> None:
    options = ("--gate-address", "10.0.0.5:8443", "--no-dns")
    assert len(printed(bundle(takes_pods, *options))["NetworkPolicy"]["spec"]["egress"]) == 1


@pytest.mark.parametrize(
    ("names", "is_certified"),
    [("[]", False), ("[gate.corp]", True), ("['*.corp']", True), ("[other.corp]", False), ("['*.gate.corp']", False)],
)
def test_a_certificate_for_another_name_is_told(takes_pods: Terminal, names: str, is_certified: bool) -> None:
    takes_pods.config.write_text(f"{takes_pods.config.read_text()}tls: {{names: {names}}}\n")
    done = bundle(takes_pods, *GATE)
    assert (done.code, "certificate is not for gate.corp" in done.err) == (0, not is_certified)


def test_a_patch_is_printed_instead(takes_pods: Terminal) -> None:
    done = bundle(takes_pods, *GATE, "--patch", "web")
    (container,) = yaml.safe_load(done.out)["spec"]["template"]["spec"]["containers"]
    assert container["name"] == "web"
    assert bundle(takes_pods, *GATE, "--patch", "web", "-o", "json").json == yaml.safe_load(done.out)


def test_a_gate_that_takes_no_pods_gets_no_bundle(shell: Terminal) -> None:
    done = bundle(shell, *GATE)
    assert (done.code, "takes no tokens of pods of prod" in done.err, done.out) == (1, True, "")
    assert shell("clusters", "bundle", "other", "--namespace", "agents", *GATE).code == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "pods cannot reach the gate at 127.0.0.1"),
        (("--gate-address", "localhost:1", "--gate-cidr", "10.0.0.5/32"), "pods cannot reach the gate at localhost"),
        (("--gate-address", "gate.corp:8443"), "no network policy can be about a name like gate.corp"),
    ],
)
def test_a_gate_that_pods_would_not_reach_is_refused_with_what_to_say(
    takes_pods: Terminal, options: tuple[str, ...], said: str
) -> None:
    done = bundle(takes_pods, *options)
    assert (done.code, said in done.err, done.out) == (1, True, "")


@pytest.mark.parametrize(
    "options",
    [
        ("--gate-address", "gate.corp:x"),
        ("--gate-address", "https://gate.corp"),
        ("--gate-address", "gate.corp:1", "--gate-cidr", "10.0.0.5/8"),
        ("--gate-address", "gate.corp:1", "--gate-pods", "ng"),
        ("--gate-address", "gate.corp:1", "--gate-pods", "ng/app"),
        (*GATE, "--dns-pods", "/a=b"),
        (*GATE, "--no-dns"),
        (*GATE, "--service-account", "a: b"),
        (*GATE, "--namespace", "Agents"),
    ],
)
def test_what_is_no_address_network_label_or_name_is_misuse(takes_pods: Terminal, options: tuple[str, ...]) -> None:
    done = bundle(takes_pods, *options)
    assert (done.code, done.out) == (2, "")


@pytest.mark.parametrize(
    ("admission", "more"),
    [
        ("refuse", ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] * 2),
        ("inject", [*["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] * 2,
                    "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"]),
    ],
)  # fmt: skip
def test_admission_is_printed_where_it_is_wanted(takes_pods: Terminal, admission: str, more: list[str]) -> None:
    plain = [one["kind"] for one in yaml.safe_load_all(bundle(takes_pods, *GATE).out)]
    done = bundle(takes_pods, *GATE, "--admission", admission)
    assert [one["kind"] for one in yaml.safe_load_all(done.out)] == [*plain, *more]
