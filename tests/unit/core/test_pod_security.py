"""Levels of pods, one change at a time; the API server's own admission grades all of them together (contract)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.contract.pod_specs import (
    Change,
    changed,
    context,
    main,
    of_pod,
    pod_context,
    pod_without,
    probe,
    restricted_spec,
    volume,
    without,
)

from narrowgate.core.pod_rules import Level
from narrowgate.core.pod_security import violations


def broken(level: Level, *changes: Change, notes: dict[str, Any] | None = None) -> list[str]:
    return list(violations(changed(*changes), notes or {}, level))


def test_what_is_restricted_breaks_nothing() -> None:
    assert list(violations(restricted_spec(), {}, Level.RESTRICTED)) == []


def test_whatever_it_is_a_privileged_level_takes_it() -> None:
    assert broken(Level.PRIVILEGED, of_pod(hostNetwork=True), context(privileged=True)) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (of_pod(hostIPC=True), "hostIPC"),
        (context(privileged=True), "containers[main].securityContext.privileged"),
        (context(capabilities={"add": ["NET_ADMIN"]}), "containers[main].securityContext.capabilities.add"),
        (volume(hostPath={"path": "/"}), "volumes[v1].hostPath"),
        (main(ports=[{"hostPort": 80}]), "containers[main].ports.hostPort"),
        (probe("startupProbe", httpGet={"host": "h"}), "containers[main].startupProbe.host"),
        (pod_context(sysctls=[{"name": "kernel.x"}]), "securityContext.sysctls[kernel.x]"),
        (pod_context(windowsOptions={"hostProcess": True}), "securityContext.windowsOptions.hostProcess"),
        (context(appArmorProfile={}), "containers[main].securityContext.appArmorProfile.type"),
    ],
)
def test_what_is_not_baseline_says_where(change: Change, says: str) -> None:
    assert broken(Level.BASELINE, change) == [says]
    assert says in broken(Level.RESTRICTED, change)


@pytest.mark.parametrize(
    "change",
    [
        without("allowPrivilegeEscalation"),
        without("capabilities"),
        volume(nfs={"server": "n", "path": "/"}),
        context(runAsUser=0),
        pod_context(runAsNonRoot=False),
        context(allowPrivilegeEscalation="false"),
        context(runAsNonRoot="true"),
        context(capabilities={"drop": "ALL"}),
        context(runAsUser="1"),
    ],
)
def test_what_is_baseline_and_no_more(change: Change) -> None:
    assert broken(Level.BASELINE, change) == []
    assert broken(Level.RESTRICTED, change) != []


def test_what_the_pod_says_holds_for_containers_that_say_nothing() -> None:
    assert broken(Level.RESTRICTED, without("runAsNonRoot"), without("seccompProfile")) == []
    assert broken(Level.RESTRICTED, pod_without("runAsNonRoot"), pod_without("seccompProfile")) == []
    assert broken(Level.RESTRICTED, pod_without("runAsNonRoot"), without("runAsNonRoot")) != []


def test_an_annotation_takes_a_profile_away_as_a_field_does() -> None:
    key = "container.apparmor.security.beta.kubernetes.io/main"
    assert broken(Level.BASELINE, notes={key: "unconfined"}) == [f"annotation {key}"]
    assert broken(Level.BASELINE, notes={key: "localhost/p"}) == []
