"""Those who are measured: each a way to the API server, started for the bench and stopped after it."""

from __future__ import annotations

from bench.contenders import direct, gate, nginx, pods, rbac_proxy, reverse_proxy
from bench.contenders.contender import Contender, Running, Stage

__all__ = ["CONTENDERS", "YARDSTICK", "Contender", "Running", "Stage"]

CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        direct.DIRECT,
        nginx.NGINX,
        reverse_proxy.REVERSE_PROXY,
        reverse_proxy.REVERSE_PROXY_H2,
        rbac_proxy.KUBE_RBAC_PROXY,
        gate.GATE,
        gate.GATE_REVEALED,
        pods.GATE_POD,
        pods.GATE_POD_PLACED,
    )
}
"""In the order of tables and pictures."""

YARDSTICK = reverse_proxy.REVERSE_PROXY.name
"""What ratios are made to: the promise is to cost no more than this one."""
