"""Writes about certificates use the signers whose word they are, as the API server's own admission has it."""

from __future__ import annotations

import pytest
from tests.unit.core.writes import facts, info_of

from narrowgate.core.certificate_uses import may_use_signer
from narrowgate.core.uses import JSON_PATCH, may_use, uses_of, uses_of_patch

MERGE_PATCH = "application/merge-patch+json"


@pytest.mark.parametrize(
    ("resource", "verb"),
    [
        ("certificatesigningrequests.certificates.k8s.io/approval", "approve"),
        ("certificatesigningrequests.certificates.k8s.io/status", "sign"),
        ("clustertrustbundles.certificates.k8s.io", "attest"),
    ],
)
def test_a_certificate_uses_its_signer_whatever_is_said_of_it(resource: str, verb: str) -> None:
    used = {f"{verb} signers.certificates.k8s.io/"}
    lie = {"spec": {"signerName": "example.com/harmless"}}
    assert facts(uses_of(info_of("update", resource, "c", ""), lie)) == used
    assert facts(uses_of_patch(info_of("patch", resource, "c", ""), MERGE_PATCH, {"status": {}})) == used
    added = [{"op": "add", "path": "/status/conditions", "value": []}]
    assert facts(uses_of_patch(info_of("patch", resource, "c", ""), JSON_PATCH, added)) == used


def test_asking_for_a_certificate_uses_no_signer_unless_a_controller_says_yes_to_it() -> None:
    info = info_of("create", "certificatesigningrequests.certificates.k8s.io", namespace="")
    assert uses_of(info, {"spec": {"signerName": "kubernetes.io/kube-apiserver-client"}}) == ()
    of_a_node = {"spec": {"signerName": "kubernetes.io/kube-apiserver-client-kubelet"}}
    assert facts(uses_of(info, of_a_node)) == {"create certificatesigningrequests/nodeclient.certificates.k8s.io/"}


@pytest.mark.parametrize(
    "resource", ["certificatesigningrequests", "pods/approval", "roles.rbac.authorization.k8s.io", "things.example.com"]
)
def test_nothing_else_has_a_signer(resource: str) -> None:
    assert not may_use_signer(info_of("update", resource, "c"))


def test_what_has_a_signer_is_read() -> None:
    assert may_use(info_of("update", "certificatesigningrequests.certificates.k8s.io/approval", "c"))
    assert not may_use(info_of("update", "certificatesigningrequests.certificates.k8s.io/other", "c"))
