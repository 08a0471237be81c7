"""The API server's own admission grades our reading of the Pod Security Standards, without storing anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.api_server import ApiServer
from tests.contract.pod_specs import generated

from narrowgate.core.pod_rules import Level
from narrowgate.core.pod_security import violations

SEED = 20261121
SPECS = 400
LEAST_OF_EACH = 40
"""Agreement that was bought by specs which are all refused, or all taken, would be worth nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    folder: Path = tmp_path_factory.mktemp("pod-security")
    with ApiServer(folder) as server:
        # Pods are refused until their account is there; nobody has to wait for the controller that makes it.
        account = {"metadata": {"name": "runner"}}
        made = server.ask("POST", f"/api/v1/namespaces/{server.namespace}/serviceaccounts", account)
        assert made.code == 201, made
        yield server


@pytest.mark.parametrize("level", [Level.BASELINE, Level.RESTRICTED])
def test_a_pod_is_of_a_level_exactly_where_the_api_server_says_so(server: ApiServer, level: Level) -> None:
    labels = {
        "pod-security.kubernetes.io/enforce": level.value,
        "pod-security.kubernetes.io/enforce-version": "latest",
    }
    patch = {"metadata": {"labels": labels}}
    namespace = f"/api/v1/namespaces/{server.namespace}"
    assert server.ask("PATCH", namespace, patch, "application/merge-patch+json").code == 200
    differing, taken, refused = [], 0, 0
    for spec, notes in generated(SEED, SPECS):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "annotations": notes},
            "spec": {**spec, "serviceAccountName": "runner", "automountServiceAccountToken": False},
        }
        answer = server.ask("POST", f"{namespace}/pods?dryRun=All", pod)
        violating = answer.code == 403 and "violates PodSecurity" in answer.json["message"]
        if not violating and answer.code != 201:
            # Invalid whatever its level: the API server asks for admission before it looks, so this is what is left.
            continue
        taken, refused = taken + (not violating), refused + violating
        found = list(violations(pod["spec"], notes, level))
        if bool(found) != violating:
            differing.append((found, answer.json.get("message", "taken"), json.dumps(spec)))
    assert differing == []
    assert min(taken, refused) >= LEAST_OF_EACH, (taken, refused)
