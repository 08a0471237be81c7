"""Agents that ask for access: a gate, agents in terminals of their own, and what they type.

Here belongs what the tests of tasks share. An agent's terminal knows the gate by three variables and nothing else: no
configuration of the gate's is within its reach.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.command_line import Shell
from tests.e2e.gate import Agent, Cluster, Finished, Gate
from tests.e2e.kubectl import Kubectl, Ran
from tests.e2e.rules import allow
from tests.e2e.signing_in import authority_of, control_url

HINT = re.compile(r"narrowgate (tasks request --cluster .*)")


def grantable(identifier: str, verbs: str, resources: str, namespace: str, **more: Any) -> dict[str, Any]:
    """A rule that gives for a task what `allow` gives at any time; nobody is asked unless `approval` says so."""
    usual = {"effect": "grantable", "maxDuration": "1h", "approval": "none"}
    return {**allow(identifier, verbs, resources, namespace), **usual, **more}


class AgentTerminal:
    """One agent, in a folder of its own, with its standing credential in the environment."""

    def __init__(self, gate: Gate, agent: Agent, folder: Path, kubectl: Path) -> None:
        self.gate = gate
        self.agent = agent
        self.shell = Shell(folder)
        self._kubectl = kubectl
        self.variables = {
            "NARROWGATE_GATE": control_url(gate),
            "NARROWGATE_CERTIFICATE_AUTHORITY": str(authority_of(gate)),
            "NARROWGATE_CREDENTIAL": agent.token,
        }

    def __call__(self, *arguments: str | Path, **variables: str) -> Finished:
        """`narrowgate` as the agent types it."""
        return self.shell(*arguments, **(self.variables | variables))

    def document(self, *arguments: str | Path, **variables: str) -> Any:
        """What `narrowgate ... -o json` says, which must be said."""
        done = self(*arguments, "-o", "json", **variables)
        assert done.code == 0, done.text
        return json.loads(done.out)

    def request(self, *arguments: str, file: str = "task.kubeconfig") -> tuple[Mapping[str, Any], Kubectl]:
        """Ask for a task; its document and kubectl with its kubeconfig."""
        path = self.shell.folder / file
        task = self.document("tasks", "request", *arguments, "--kubeconfig", path)
        return task, self.kubectl(path)

    def kubectl(self, kubeconfig: Path) -> Kubectl:
        home = self.shell.folder / f"home-{kubeconfig.name}"
        home.mkdir(exist_ok=True)
        return Kubectl(self._kubectl, kubeconfig, home)


def terminal(gate: Gate, cluster: Cluster, name: str, folder: Path) -> AgentTerminal:
    """A new agent without a policy of its own, and its terminal."""
    return AgentTerminal(gate, gate.agent(name), folder / f"terminal-{name}", cluster.kubectl)


def hinted(refused: Ran) -> list[str]:
    """The arguments of the command that a refusal names, as a shell would read them."""
    found = HINT.search(refused.text)
    assert found is not None, refused.text
    return shlex.split(found[1])


def credential_of(kubeconfig: Path) -> str:
    return str(yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"])
