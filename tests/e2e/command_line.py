"""`narrowgate` as a command in a folder of its own, as people type it: what it printed, and its exit code.

Here belongs what the tests of the command line share. Nothing of the tester's environment reaches a command but what a
test gives it: no KUBECONFIG, no NARROWGATE_ variable, no ~/.kube.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from dev.cluster.processes import free_ports, port_is_free
from tests.e2e.gate import Cluster, Finished, environment, narrowgate

COMMAND_SECONDS = 180.0
"""A gate that starts in the background gets 30 of them by itself, and this machine may be busy."""

CONFIGURATION = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Config
listen: {{kubernetes: "127.0.0.1:{ports[0]}", control: "127.0.0.1:{ports[1]}", health: "127.0.0.1:{ports[2]}"}}
clusters:
  - name: dev
    kubeconfig: {kubeconfig}
"""

POLICY = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: look}
spec:
  subjects: [{kind: Agent, name: demo}]
  clusters: [dev]
  rules:
    - {id: look, effect: allow, verbs: [get, list], apiGroups: [""], resources: [namespaces], namespaces: ["*"]}
"""


class Shell:
    """One folder and the commands typed in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)

    def __call__(self, *arguments: str | Path, **variables: str) -> Finished:
        """Run `narrowgate` with these arguments, and these variables in its environment."""
        return self.run([narrowgate(), *map(str, arguments)], variables)

    def run(self, command: list[str], variables: Mapping[str, str] | None = None) -> Finished:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**environment(), "HOME": str(self.home), **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def configure(self, kubeconfig: Path | str, more: str = "") -> Path:
        """A configuration with the cluster `dev` and one policy."""
        self.write("policies/look.yaml", POLICY)
        text = CONFIGURATION.format(ports=free_ports(3), kubeconfig=kubeconfig)
        return self.write("narrowgate.yaml", text + more)

    def up(self, cluster: Cluster, *more: str) -> Finished:
        """`narrowgate up --detach` on free ports, for the cluster as `dev`."""
        arguments = ["--cluster-name", "dev", "--port", str(three_ports()), *more]
        return self("up", "--detach", "--kubeconfig", cluster.kubeconfig, *arguments)


def three_ports() -> int:
    """A port of loopback that is free, as are the two behind it."""
    while True:
        first = free_ports(1)[0]
        if all(port_is_free(port) for port in range(first, first + 3)):
            return first


def one_line(done: Finished) -> str:
    """The one line of an error, its first word taken off; fails where there is more, or less, or another."""
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("narrowgate: "), done.err
    assert "Traceback" not in done.text
    return lines[0].removeprefix("narrowgate: ")
