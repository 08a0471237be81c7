"""As much of a Kubernetes client as it takes to wait for a cluster: one request, one JSON answer."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from dev.cluster.certificates import Pair

# A probe of a server on the same machine that takes longer counts as unanswered.
ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Api:
    """One API server of this machine, spoken to with one client certificate."""

    port: int
    authority: Path
    client: Pair

    def get(self, path: str) -> tuple[int, bytes] | None:
        """Status and body, or nothing when nobody answers."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.client.certificate, self.client.key)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS, context=context)
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def object(self, path: str) -> dict[str, Any] | None:
        """The object at this path; nothing when there is none, or nobody to tell."""
        match self.get(path):
            case (200, body):
                return cast(dict[str, Any], json.loads(body))
            case _:
                return None

    def ready(self) -> bool:
        """Whether the API server says of itself that it may be used."""
        match self.get("/readyz"):
            case (200, _):
                return True
            case _:
                return False

    def node_ready(self, name: str, since: float = 0.0) -> bool:
        """Ready, no longer tainted as not ready (which the scheduler goes by), and heard of since that time.

        After a restart the API server remembers what a kubelet said that has ended long ago: hence the time.
        """
        node = self.object(f"/api/v1/nodes/{name}")
        if node is None or node["spec"].get("taints"):
            return False
        conditions = node["status"].get("conditions") or []
        return any(
            condition["type"] == "Ready" and condition["status"] == "True" and _time(condition) >= since
            for condition in conditions
        )

    def default_account_exists(self) -> bool:
        """Pods are refused in a namespace until its ServiceAccount exists."""
        return self.object("/api/v1/namespaces/default/serviceaccounts/default") is not None


def _time(condition: dict[str, Any]) -> float:
    return datetime.fromisoformat(condition["lastHeartbeatTime"]).timestamp()
