"""What whoever gets into a pod has of its node by that: who may not make such a pod may not get into it either.

A process that sees the node's disks or processes, or is root there, reaches every pod of the node and the token of
each. The node's network is not among it: what listens there asks who calls.
"""

from __future__ import annotations

from typing import Any, Final

from narrowgate.core.account_rights import HeldRight
from narrowgate.core.held_secrets import goes_into_pod
from narrowgate.core.intent import GATE_GROUP
from narrowgate.core.pod_uses import mapping_at, pod_spec
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rights import Right

OF_NODE: Final = frozenset({"capabilities", "hostPID", "hostPath", "hostProcess", "privileged"})
"""Names of host access (`pod_uses.HOST_ACCESS`)."""


def rights_of_node(info: RequestInfo, pod: Any) -> tuple[HeldRight, ...]:
    """The rights that making the pod takes for that, where a request gets into it; `pod` as it runs."""
    if not goes_into_pod(info):
        return ()
    names = {use.name for use in pod_spec(mapping_at(pod, ("spec",)), "spec", "") if use.resource == "hostaccess"}
    return tuple(
        HeldRight(Right("use", GATE_GROUP, "hostaccess", (name,)), info.namespace, f"pod {info.name}")
        for name in sorted(names & OF_NODE)
    )
