"""A cluster that somebody else runs, named by KUBECONFIG: described in cluster.json like our own, and never changed."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from dev.cluster.binaries import kubectl
from dev.cluster.processes import ClusterError

# Overridden by NARROWGATE_TEST_IMAGE where the cluster pulls from a registry of its own.
IMAGE = "busybox:stable"


def kubeconfig(directory: Path) -> Path | None:
    """The kubeconfig to use instead of a cluster of ours; nothing when there is none, or when it is ours."""
    configured = os.environ.get("KUBECONFIG")
    if not configured:
        return None
    paths = [Path(part).resolve() for part in configured.split(os.pathsep) if part]
    # Whoever has exported our own kubeconfig still means our own cluster.
    if paths == [directory / "admin.kubeconfig"]:
        return None
    if len(paths) != 1:
        raise ClusterError(f"KUBECONFIG={configured}: name one file")
    if not paths[0].is_file():
        raise ClusterError(f"KUBECONFIG={configured}: no such file; correct it, or unset it to start a cluster here")
    return paths[0]


def summary(path: Path, directory: Path) -> dict[str, Any]:
    """What cluster.json says of it: all that can be learnt by asking."""
    tool = kubectl()
    view = _json(tool, path, "config", "view", "--raw", "--minify", "--flatten", "-o", "json")
    cluster = view["clusters"][0]["cluster"]
    authority = directory / "external-ca.crt"
    if "certificate-authority-data" in cluster:
        directory.mkdir(parents=True, exist_ok=True)
        authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    nodes = _json(tool, path, "get", "nodes", "-o", "json")["items"]
    return {
        "external": True,
        "kubeconfig": str(path),
        "context": view["current-context"],
        "server": cluster["server"],
        "ca": str(authority) if "certificate-authority-data" in cluster else None,
        "auditLog": None,
        "bin": str(tool.parent),
        "nodeName": nodes[0]["metadata"]["name"] if nodes else None,
        "nodeAddress": None,
        "image": os.environ.get("NARROWGATE_TEST_IMAGE", IMAGE) if nodes else None,
        "imagePullPolicy": "IfNotPresent",
        "etcd": None,
        "logs": None,
        "pids": {},
    }


def answers(path: Path) -> bool:
    """Whether its API server may be used."""
    result = subprocess.run([kubectl(), "--kubeconfig", path, "get", "--raw=/readyz"], capture_output=True)
    return result.returncode == 0


def _json(tool: Path, path: Path, *arguments: str) -> Any:
    result = subprocess.run([tool, "--kubeconfig", path, *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        raise ClusterError(f"KUBECONFIG={path}: kubectl {arguments[0]} failed: {result.stderr.strip()}")
    return json.loads(result.stdout)
