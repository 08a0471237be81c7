"""A folder with a configuration, and the command line in it: commands run as they are typed, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from narrowgate.cli.program import run

CONFIGURATION = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Config
clusters:
  - name: prod  # ours
    inCluster: true
"""

POLICY = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: NAME}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [prod]
  rules:
    - id: read
      effect: allow
      verbs: [get, list, watch]
      apiGroups: [""]
      resources: [pods]
      namespaces: [ci]
    - id: never
      effect: deny
      verbs: [delete, deletecollection]
      apiGroups: [""]
      resources: [namespaces]
"""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Terminal:
    """One folder to work in."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.folder = folder
        self.config = folder / "narrowgate.yaml"
        self.policies = folder / "policies"
        self.policies.mkdir()
        self.write("narrowgate.yaml", CONFIGURATION)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def policy(self, name: str, old: str = "", new: str = "") -> str:
        """The text of a policy, one piece of it replaced."""
        assert old in POLICY
        return POLICY.replace("NAME", name).replace(old, new) if old else POLICY.replace("NAME", name)

    def __call__(self, *arguments: str | Path) -> Done:
        """Run a command with this folder's configuration."""
        self._capsys.readouterr()
        code = run([*map(str, arguments), "--config", str(self.config)])
        return Done(code, *self._capsys.readouterr())

    def bare(self, *arguments: str | Path) -> Done:
        """Run a command line exactly as it is."""
        self._capsys.readouterr()
        code = run(list(map(str, arguments)))
        return Done(code, *self._capsys.readouterr())
