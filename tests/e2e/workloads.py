"""Objects that the end-to-end tests create, as YAML that kubectl applies.

Every pod uses the test cluster's one image without pulling it, shares the node's network (the cluster has no other),
and ends at once when it is deleted.
"""

from __future__ import annotations

from typing import Any

import yaml

SLEEP = "trap 'exit 0' TERM; sleep 3600 & wait"


def pod_spec(image: str, script: str = SLEEP, **more: Any) -> dict[str, Any]:
    return {
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 0,
        "containers": [container("main", image, script)],
        **more,
    }


def container(name: str, image: str, script: str = SLEEP, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": image, "imagePullPolicy": "Never", "command": ["sh", "-c", script], **more}


def pod(
    name: str, image: str, script: str = SLEEP, *, labels: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app": name, **(labels or {})}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(image, script, **more)}


def deployment(name: str, image: str, *, replicas: int = 1, script: str = SLEEP) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec(image, script)},
        },
    }


def configmap(name: str, **data: str) -> dict[str, Any]:
    labels = {"app": "config", "rank": name[-1]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": data}


def service(name: str, port: int) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": port, "targetPort": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def yaml_of(*documents: dict[str, Any]) -> bytes:
    return yaml.safe_dump_all(documents, sort_keys=False).encode()
