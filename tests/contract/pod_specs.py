"""Pod specs for tests of the Pod Security Standards: one that is restricted, and everything that makes it less."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any, Final

Spec = dict[str, Any]
Change = Callable[[Spec], None]

_CONFINED: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def restricted_spec() -> Spec:
    """A pod that is as confined as the standards ask for, by its containers and by itself."""
    return {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "main", "image": "i:1", "securityContext": copy.deepcopy(_CONFINED)}],
        "initContainers": [{"name": "before", "image": "i:1", "securityContext": copy.deepcopy(_CONFINED)}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    }


def of_pod(**fields: Any) -> Change:
    return lambda spec: spec.update(copy.deepcopy(fields))


def pod_context(**fields: Any) -> Change:
    return lambda spec: spec["securityContext"].update(copy.deepcopy(fields))


def main(**fields: Any) -> Change:
    return lambda spec: spec["containers"][0].update(copy.deepcopy(fields))


def context(**fields: Any) -> Change:
    return lambda spec: spec["containers"][0]["securityContext"].update(copy.deepcopy(fields))


def init_context(**fields: Any) -> Change:
    return lambda spec: spec["initContainers"][0]["securityContext"].update(copy.deepcopy(fields))


def without(field: str) -> Change:
    def change(spec: Spec) -> None:
        spec["containers"][0]["securityContext"].pop(field, None)

    return change


def pod_without(field: str) -> Change:
    def change(spec: Spec) -> None:
        spec["securityContext"].pop(field, None)

    return change


def volume(**source: Any) -> Change:
    return lambda spec: spec["volumes"].append({"name": f"v{len(spec['volumes'])}", **copy.deepcopy(source)})


def probe(field: str, **handler: Any) -> Change:
    return main(**{field: handler})


CHANGES: Final[tuple[Change, ...]] = (
    of_pod(hostNetwork=True),
    of_pod(hostPID=True),
    of_pod(hostIPC=True),
    of_pod(hostUsers=False),
    of_pod(hostNetwork=False),
    context(privileged=True, allowPrivilegeEscalation=True),
    context(privileged=False),
    context(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
    context(capabilities={"drop": ["ALL"], "add": ["CHOWN"]}),
    context(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
    context(capabilities={"drop": ["CHOWN"]}),
    context(capabilities={"add": ["SETFCAP", "NET_RAW"]}),
    context(allowPrivilegeEscalation=True),
    init_context(allowPrivilegeEscalation=True),
    without("allowPrivilegeEscalation"),
    without("capabilities"),
    without("runAsNonRoot"),
    without("seccompProfile"),
    pod_without("runAsNonRoot"),
    pod_without("seccompProfile"),
    pod_context(runAsNonRoot=False),
    context(runAsNonRoot=False),
    pod_context(runAsUser=0),
    pod_context(runAsUser=1000),
    context(runAsUser=0),
    init_context(runAsUser=7),
    pod_context(seccompProfile={"type": "Unconfined"}),
    pod_context(seccompProfile={"type": "Localhost", "localhostProfile": "p.json"}),
    context(seccompProfile={"type": "Unconfined"}),
    context(seccompProfile={"type": "Localhost", "localhostProfile": "p.json"}),
    pod_context(appArmorProfile={"type": "Unconfined"}),
    pod_context(appArmorProfile={"type": "RuntimeDefault"}),
    context(appArmorProfile={"type": "Unconfined"}),
    context(appArmorProfile={"type": "Localhost", "localhostProfile": "p"}),
    pod_context(seLinuxOptions={"type": "container_t"}),
    pod_context(seLinuxOptions={"type": "container_engine_t"}),
    pod_context(seLinuxOptions={"type": "spc_t"}),
    pod_context(seLinuxOptions={"user": "system_u"}),
    context(seLinuxOptions={"role": "system_r"}),
    context(seLinuxOptions={"level": "s0:c1,c2"}),
    context(procMount="Default"),
    context(procMount="Unmasked"),
    pod_context(sysctls=[{"name": "kernel.shm_rmid_forced", "value": "0"}]),
    pod_context(sysctls=[{"name": "net.ipv4.tcp_rmem", "value": "1 2 3"}]),
    pod_context(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    pod_context(windowsOptions={"hostProcess": True}),
    context(windowsOptions={"hostProcess": True}),
    context(windowsOptions={"hostProcess": False}),
    main(ports=[{"containerPort": 80, "hostPort": 8080}]),
    main(ports=[{"containerPort": 80}]),
    volume(hostPath={"path": "/"}),
    volume(configMap={"name": "c"}),
    volume(secret={"secretName": "s"}),
    volume(downwardAPI={"items": []}),
    volume(projected={"sources": [{"configMap": {"name": "c"}}]}),
    volume(persistentVolumeClaim={"claimName": "p"}),
    volume(csi={"driver": "d.example.com"}),
    volume(
        ephemeral={
            "volumeClaimTemplate": {
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
            }
        }
    ),
    volume(nfs={"server": "n", "path": "/"}),
    volume(iscsi={"targetPortal": "1.2.3.4:3260", "iqn": "iqn.2001-04.com.example:a", "lun": 0}),
    volume(image={"reference": "i:1"}),
    probe("livenessProbe", httpGet={"port": 80, "host": "10.0.0.1"}),
    probe("livenessProbe", httpGet={"port": 80}),
    probe("readinessProbe", tcpSocket={"port": 80, "host": "10.0.0.1"}),
    main(lifecycle={"preStop": {"httpGet": {"port": 80, "host": "metadata"}}}),
    main(lifecycle={"postStart": {"exec": {"command": ["true"]}}}),
    of_pod(os={"name": "linux"}),
)
"""Each makes a spec other than it was; by itself, most break one check or keep to it in a way that is easily missed."""

ANNOTATIONS: Final = (
    {},
    {"container.apparmor.security.beta.kubernetes.io/main": "runtime/default"},
    {"container.apparmor.security.beta.kubernetes.io/main": "unconfined"},
)


def changed(*changes: Change) -> Spec:
    spec = restricted_spec()
    for change in changes:
        change(spec)
    return spec


def generated(seed: int, count: int) -> list[tuple[Spec, dict[str, str]]]:
    """Each change by itself, then as many of several at once, always the same for the same seed."""
    chosen = random.Random(seed)
    specs = [(changed(change), ANNOTATIONS[0]) for change in CHANGES]
    specs += [(restricted_spec(), annotations) for annotations in ANNOTATIONS]
    while len(specs) < count:
        changes = chosen.sample(CHANGES, chosen.randint(2, 4))
        specs.append((changed(*changes), ANNOTATIONS[0]))
    return specs
