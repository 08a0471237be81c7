"""kubectl as a program: run it, and take from its output what differs by nature.

Here belongs what the tests with a real kubectl share. A normalisation hides a difference, so each says why that
difference is no fault of a gate.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

# Pods of the test cluster start in two or three seconds; rollouts take several of them.
CALL_SECONDS = 300.0

WEBSOCKETS: Mapping[str, str] = {}
SPDY: Mapping[str, str] = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
TRANSPORTS: Mapping[str, Mapping[str, str]] = {"websocket": WEBSOCKETS, "spdy": SPDY}


@dataclass(frozen=True)
class Ran:
    """What one kubectl said."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace") + self.err.decode(errors="replace")


@dataclass(frozen=True)
class Kubectl:
    """kubectl with one kubeconfig and a home of its own, so that no cache of discovery is shared with another."""

    program: Path
    kubeconfig: Path
    home: Path
    namespace: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, stdin: bytes = b"", seconds: float = CALL_SECONDS) -> Ran:
        done = subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, env=self.environment(), timeout=seconds
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def must(self, *arguments: str, stdin: bytes = b"", seconds: float = CALL_SECONDS) -> str:
        """Runs it as preparation of a test: its failure is said at once, with what it printed."""
        done = self(*arguments, stdin=stdin, seconds=seconds)
        if done.code != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: exit code {done.code}\n{done.text}")
        return done.out.decode()

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Starts one that runs until it is ended (watch, port-forward, proxy)."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment(),
        )

    def command(self, *arguments: str) -> list[str]:
        within = ["--namespace", self.namespace] if self.namespace else []
        return [str(self.program), *within, *arguments]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig),
            "TZ": "UTC",
            **self.variables,
        }

    def within(self, namespace: str) -> Kubectl:
        return replace(self, namespace=namespace)

    def using(self, variables: Mapping[str, str]) -> Kubectl:
        return replace(self, variables={**self.variables, **variables})


NORMALISATIONS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Go's log lines carry time and process id.
    (re.compile(r"[EWI]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ "), "LOG "),
    # Each object has its own uid.
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UID"),
    # Written at another moment: timestamps in both of Kubernetes' forms, and in describe's.
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4}( UTC)?"), "TIME"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"), "TIME"),
    # The cluster's revision moves with everybody's writes.
    (re.compile(r'("?resourceVersion"?: ?)"?\d+"?'), r"\1RV"),
    (re.compile(r'("?continue"?: ?)"[\w=-]{20,}"'), r"\1TOKEN"),
    # Ages, as tables and describe print them ("5s", "2m3s", "<invalid>" for clocks that disagree by a second).
    (re.compile(r"(?<![\w.])(\d+d)?(\d+h)?(\d+m)?\d+(\.\d+)?m?s(?!\w)|<invalid>"), "AGE"),
    (re.compile(r"(?<![\w.])\d+[dhm](\d+[hm])?(?![\w.])"), "AGE"),
    # "(x3 over 5m)" in events counts how often the kubelet said the same.
    (re.compile(r"\(x\d+ over AGE\)"), "(REPEATED)"),
    # Where the client thinks the server is.
    (re.compile(r"https://127\.0\.0\.1:\d+"), "SERVER"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    # Five random letters (from an alphabet without vowels) that generateName appends.
    (re.compile(r"(?<=-)[bcdfghjklmnpqrstvwxz2456789]{5}(?![\w-])"), "RANDOM"),
    # kubectl diff writes both sides into folders of its own.
    (re.compile(r"/tmp/(LIVE|MERGED)-\d+"), r"/tmp/\1"),
    # Signed for each caller and moment.
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "JWT"),
    # Addresses that a Service is given at random from the cluster's range.
    (re.compile(r"\b10\.\d{1,3}\.\d{1,3}\.\d{1,3}\b"), "CLUSTER-IP"),
    # NodePorts likewise.
    (re.compile(r"\b3[0-2]\d{3}\b"), "NODE-PORT"),
    # The container runtime's ids.
    (re.compile(r"\b[0-9a-f]{64}\b"), "CONTAINER-ID"),
    # How many steps of a rollout a watch sees depends on when it begins.
    (re.compile(r"^Waiting for (deployment|statefulset|\d+ pods) .*\n", re.MULTILINE), ""),
)


def without_warnings(text: bytes) -> str:
    """What kubectl prints besides the warnings of servers: the gate says in one what it has masked."""
    return "".join(line for line in text.decode().splitlines(keepends=True) if not line.startswith("Warning: "))


def normal(text: bytes | str, *names: str) -> str:
    """Output without what differs by nature; `names` are the namespace and other names made for one side."""
    plain = text.decode(errors="replace") if isinstance(text, bytes) else text
    # Longest first: the name of a node may contain that of the namespace.
    for name in sorted(names, key=len, reverse=True):
        plain = plain.replace(name, "NAMED")
    for pattern, replacement in NORMALISATIONS:
        plain = pattern.sub(replacement, plain)
    # Columns are as wide as their widest cell, ages among them.
    return "\n".join(re.sub(r"(?<=\S)(?: {2,}|\t+)", "  ", line).rstrip() for line in plain.splitlines())
