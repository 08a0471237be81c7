"""What a pod reaches, tried from within: `narrowgate doctor --pod NS/NAME --try`, with an operator's own right to exec.

kubectl runs a few lines of shell in the pod, which connect and hang up. The pod tells what came of it, so that one
whose programs lie can say less than there is: an open road is a finding, a closed one is what the pod says.
"""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from narrowgate.cli.api_server import ApiServer
from narrowgate.cli.doctor_report import Line, Outcome, plain
from narrowgate.cli.namespace_reader import NamespaceReader, NotRead
from narrowgate.core.cluster import ClusterAccess
from narrowgate.core.egress import Target
from narrowgate.core.pods_seen import mappings
from narrowgate.core.roads import PodsLike

CHECK: Final = "network from within"

GATE: Final = "the gate"

MOST_OF_A_KIND: Final = 3
"""Addresses of one kind (kubelets, say) that are tried: each may take CONNECT_SECONDS."""

CONNECT_SECONDS: Final = 3
EXEC_SECONDS: Final = 120.0
"""For all of them, and the exec itself."""
MOST_SAID: Final = 64 << 10
"""Bytes that are read of what a pod says; the script says some hundred, and a pod's own programs what they like."""

_TOOLS: Final = """\
if nc -h 2>&1 | grep -q -e '-z'; then tool=nc; try() { nc -z -w SECONDS "$1" "$2" </dev/null; }
elif command -v nc; then tool=nc; try() {
  timeout TWICE nc -w SECONDS "$1" "$2" </dev/null; [ $? -eq 0 ] || [ $? -ge 124 ]; }
elif command -v bash; then tool=bash; try() { timeout SECONDS bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2"; }
elif command -v python3; then tool=python3; try() {
  python3 -c 'import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), SECONDS)' "$1" "$2"; }
fi >/dev/null 2>&1
[ "$tool" ] || { echo no tool; exit 0; }
"""
"""A connected netcat that waits for the other end is ended by `timeout`, whose exit code is then 124 or more; one that
does not connect gives up before, with 1."""


def script_of(targets: Sequence[Target]) -> str:
    """Lines for a POSIX shell that say `open N` or `closed N` for each target, or `no tool`."""
    lines = _TOOLS.replace("SECONDS", str(CONNECT_SECONDS)).replace("TWICE", str(2 * CONNECT_SECONDS))
    for number, target in enumerate(targets):
        address = f"{shlex.quote(target.host)} {target.port}"
        lines += f"if try {address} >/dev/null 2>&1; then echo open {number}; else echo closed {number}; fi\n"
    return lines


def chosen(targets: Iterable[Target]) -> list[Target]:
    """A few of each kind, each address once."""
    by_kind: dict[str, dict[Target, None]] = defaultdict(dict)
    for target in targets:
        if len(by_kind[target.what]) < MOST_OF_A_KIND:
            by_kind[target.what][target] = None
    return [target for kind in by_kind.values() for target in kind]


def gate_of(pods: PodsLike) -> Target | None:
    """The gate as the pod's own variables have it, which should be reached from there; None where they do not."""
    for container in mappings(pods.spec.get("containers")):
        variables = {str(one.get("name")): str(one.get("value")) for one in mappings(container.get("env"))}
        host, port = variables.get("KUBERNETES_SERVICE_HOST", ""), variables.get("KUBERNETES_SERVICE_PORT", "")
        if host and port.isascii() and port.isdigit():
            return Target(GATE, host, int(port))
    return None


def within(access: ClusterAccess, kubeconfig: Path, namespace: str, pod: str) -> Line:
    """One line: what of the API servers, kubelets and the like can be reached from within. Raises Failed."""
    with ApiServer(access) as server:
        reader = NamespaceReader(server, namespace)
        try:
            targets, gate = reader.targets(), gate_of(reader.pod(pod))
        except NotRead as error:
            return _line(namespace, pod, Outcome.NOT_TRIED, f"not read: {plain(error)}")
    return tried_within(kubeconfig, namespace, pod, [*chosen(targets), *([gate] if gate else [])])


def tried_within(kubeconfig: Path, namespace: str, pod: str, asked: Sequence[Target]) -> Line:
    """Exec into the pod and connect to each."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        return _line(namespace, pod, Outcome.NOT_TRIED, "there is no kubectl here, which execs into the pod")
    command = [kubectl, f"--kubeconfig={kubeconfig}", "exec", f"--namespace={namespace}", pod, "--"]
    try:
        said, complaint = _said([*command, "sh", "-c", script_of(asked)])
    except (OSError, subprocess.TimeoutExpired):
        return _line(namespace, pod, Outcome.NOT_TRIED, f"the exec did not end within {EXEC_SECONDS:g} s")
    return judged(namespace, pod, asked, said.decode(errors="replace"), complaint.decode(errors="replace"))


def _said(command: Sequence[str]) -> tuple[bytes, bytes]:
    """What it says and what it complains of, until it ends or has said MOST_SAID. Raises OSError, TimeoutExpired."""
    until = time.monotonic() + EXEC_SECONDS
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process,
        selectors.DefaultSelector() as selector,
    ):
        heard = [b"", b""]
        try:
            for number, end in enumerate((process.stdout, process.stderr)):
                assert end is not None
                selector.register(end, selectors.EVENT_READ, number)
            while selector.get_map() and max(map(len, heard)) < MOST_SAID:
                ready = selector.select(max(until - time.monotonic(), 0.0))
                if not ready:
                    raise subprocess.TimeoutExpired(list(command), EXEC_SECONDS)
                for key, _ in ready:
                    piece = os.read(key.fd, MOST_SAID)
                    heard[key.data] += piece
                    if not piece:
                        selector.unregister(key.fileobj)
        finally:
            process.kill()
        return heard[0], heard[1]


def judged(namespace: str, pod: str, asked: Sequence[Target], said: str, complaint: str) -> Line:
    """What the answers of the pod mean. Only words that the script writes count."""
    words = said.split("\n")
    if "no tool" in words:
        return _line(namespace, pod, Outcome.NOT_TRIED, "the container has no nc, bash or python3 to connect with")
    is_open = [target for number, target in enumerate(asked) if f"open {number}" in words]
    is_closed = [target for number, target in enumerate(asked) if f"closed {number}" in words]
    around = [target for target in is_open if target.what != GATE]
    if around:
        told = ", ".join(f"{target.what} ({target.host}:{target.port})" for target in around)
        return _line(namespace, pod, Outcome.FINDING, f"reaches {told}")
    if len(is_open) + len(is_closed) < len(asked):
        why = plain(complaint.strip().rpartition("\n")[2])[:200] or "the container has no shell"
        return _line(namespace, pod, Outcome.NOT_TRIED, why)
    if any(target.what == GATE for target in is_closed):
        return _line(namespace, pod, Outcome.NOT_TRIED, "reaches nothing, and not the gate either: it says nothing")
    text = f"reaches none of {len(is_closed)} addresses around the gate, as its own programs tell"
    return _line(namespace, pod, Outcome.OK, text + (", and the gate" if is_open else ""))


def _line(namespace: str, pod: str, outcome: Outcome, found: str) -> Line:
    to_do = "see whether the cluster's network enforces network policies, and apply `narrowgate clusters bundle`"
    return Line(
        check=CHECK,
        where=f"pod {namespace}/{pod}",
        outcome=outcome,
        found=found,
        to_do=to_do if outcome is Outcome.FINDING else "",
    )
