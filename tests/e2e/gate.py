"""The gate under test as a program: its configuration, its process, its agents, policies and journal.

Here belongs what a test needs to have a gate of its own: nothing is imported from `narrowgate`, everything goes through
the command line, the files and the ports that users have. A gate is stopped by its pid, with SIGTERM and a deadline.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from dev.cluster.processes import free_ports
from tests.e2e.wire import Connection, Response, request_bytes

REPOSITORY = Path(__file__).resolve().parents[2]
# Generous: with two cores and a cluster on them a cold start of Python and SQLAlchemy has taken eight seconds.
START_SECONDS = 120.0
# What is still running gets this long after SIGTERM (the gate's own default is 30 s, too long for whoever waits here).
DRAIN_SECONDS = 3
# After that long a gate that was told to end is stuck, which is a failure of its own.
STOP_SECONDS = 60.0
COMMAND_SECONDS = 120.0
# How long a change of policies or agents may take to be in force before a test calls it lost. The promise is a second
# or two; on a machine where ten programs want each core, all takes ten times as long, and only failures wait this out.
SETTLE_SECONDS = 90.0
POLL_SECONDS = 0.1

ALLOW_ALL_RULES: tuple[Mapping[str, Any], ...] = (
    {
        "id": "everything",
        "effect": "allow",
        "verbs": ["*"],
        "apiGroups": ["*"],
        "resources": ["*"],
        "namespaces": ["*"],
    },
    {"id": "every-path", "effect": "allow", "verbs": ["*"], "nonResourceURLs": ["*"]},
    {"id": "as-it-is", "effect": "reveal", "apiGroups": ["*"], "resources": ["*"], "approval": "none"},
)


UNREAD: Mapping[str, Any] = {"audit": {"sessions": "None", "portForwards": "None"}}
"""Settings of a gate in front of an API server whose sessions are no sessions: bytes that only a splice passes on."""

ECHO_RULES: tuple[Mapping[str, Any], ...] = ({**ALLOW_ALL_RULES[0], "mountedSecrets": "mask"}, *ALLOW_ALL_RULES[1:])
"""The same where nobody can tell which Secrets a pod holds: made-up API servers do not say."""


class GateFailure(AssertionError):
    """The gate did not do what every test needs of it (start, take an agent, stop); the message has its own words."""


@dataclass(frozen=True)
class Cluster:
    """The real cluster, as `.cluster/cluster.json` describes it."""

    kubeconfig: Path
    server: str
    ca: Path
    audit_log: Path
    bin: Path
    node: str
    image: str

    @property
    def kubectl(self) -> Path:
        return self.bin / "kubectl"

    def audit_position(self) -> int:
        """Where the API server's audit log ends now: what a test does afterwards is behind it."""
        return self.audit_log.stat().st_size

    def audited(self, containing: str, since: int) -> list[dict[str, Any]]:
        """The API server's own audit events behind a position whose lines contain the text, in its order."""
        with self.audit_log.open("rb") as log:
            log.seek(since)
            # The last line may still be being written.
            lines = log.read().split(b"\n")[:-1]
        return [json.loads(line) for line in lines if containing.encode() in line]


@dataclass(frozen=True)
class Agent:
    """An agent's way in: the kubeconfig that `narrowgate agents add` wrote, and what raw connections need of it."""

    name: str
    kubeconfig: Path
    host: str
    port: int
    ca: str
    token: str

    def connect(self, **options: Any) -> Connection:
        return Connection(self.host, self.port, self.ca, **options)

    def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """One request on a connection of its own."""
        with self.connect() as connection:
            connection.send(self.bytes_of(method, target, headers, body))
            return connection.response(method)

    def bytes_of(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
        """A well-formed request with this agent's credential."""
        return request_bytes(method, target, {"Authorization": f"Bearer {self.token}", **(headers or {})}, body)


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass
class Gate:
    """One running `narrowgate serve`, in a folder of its own."""

    folder: Path
    clusters: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Path | None = None
    _process: subprocess.Popen[bytes] | None = None
    _agents: dict[str, Agent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.policies.mkdir(exist_ok=True)
        self.data_dir = self.data or self.folder / "data"
        self.kubernetes_port, self.control_port, self.health_port = free_ports(3)
        document = {
            "apiVersion": "narrowgate.dev/v1alpha1",
            "kind": "Config",
            "dataDir": str(self.data_dir),
            "listen": {
                "kubernetes": f"127.0.0.1:{self.kubernetes_port}",
                "control": f"127.0.0.1:{self.control_port}",
                "health": f"127.0.0.1:{self.health_port}",
            },
            "policies": str(self.policies),
            "clusters": list(self.clusters),
            **self.settings,
            "limits": {"drainTimeout": f"{DRAIN_SECONDS}s", **self.settings.get("limits", {})},
        }
        self.config.write_text(yaml.safe_dump(document, sort_keys=False))

    # --- the process ---

    @property
    def config(self) -> Path:
        return self.folder / "narrowgate.yaml"

    @property
    def policies(self) -> Path:
        return self.folder / "policies"

    @property
    def log(self) -> Path:
        return self.folder / "gate.log"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise GateFailure("the gate is not running")
        return self._process.pid

    def start(self, *, ready: bool = True) -> Gate:
        """Starts the gate and waits until it says that it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [narrowgate(), "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment(),
                start_new_session=True,
            )
        if ready:
            self.wait_until(self.ready, "ready", START_SECONDS)
        return self

    def stop(self) -> int:
        """Ends the gate as an operator would, and returns its exit code; one that does not end is killed and named."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            raise GateFailure(
                f"the gate did not end within {STOP_SECONDS:.0f} s of SIGTERM\n{self.last_words()}"
            ) from None

    def kill(self) -> None:
        """`kill -9`: nothing of the gate gets to run any more, its workers included; all of it is gone on return."""
        if self._process is None:
            return
        process, self._process = self._process, None
        _kill_group(process)

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_for_end(self, seconds: float = START_SECONDS) -> int:
        """The exit code of a gate that is expected to end by itself."""
        if self._process is None:
            raise GateFailure("the gate was not started")
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise GateFailure(f"the gate still runs after {seconds:.0f} s\n{self.last_words()}") from None
        self._process = None
        return code

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = SETTLE_SECONDS) -> None:
        """Waits for something that the gate will do by itself; says what it logged when it does not."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self._process is not None and self._process.poll() is not None:
                raise GateFailure(f"the gate ended ({self._process.returncode}) before: {what}\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise GateFailure(f"not after {seconds:.0f} s: {what}\n{self.last_words()}")
            time.sleep(POLL_SECONDS)

    def last_words(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.is_file() else "(no log)"
        return "\n".join(text.splitlines()[-15:])

    # --- the command line ---

    def command(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> Finished:
        """Runs `narrowgate` with this gate's configuration (by NARROWGATE_CONFIG, as a shell would have it)."""
        process = subprocess.run(
            [narrowgate(), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self.folder,
            env={**environment(), "NARROWGATE_CONFIG": str(self.config)},
            timeout=seconds,
        )
        return Finished(process.returncode, process.stdout.decode(), process.stderr.decode())

    def agent(self, name: str, rules: Iterable[Mapping[str, Any]] = (), *, cluster: str = "dev") -> Agent:
        """An agent with a credential, and a policy of its own name when there are rules; in force on return."""
        if name not in self._agents:
            self._agents[name] = self._add_agent(name, cluster)
        agent = self._agents[name]
        listed = list(rules)
        if listed:
            self.allow(name, listed, cluster=cluster)
        if self.running():
            # Who holds something may read /version; who holds nothing is known by the time the answer is not 401.
            wanted = (200,) if listed else (200, 403)
            try:
                self.wait_until(lambda: agent.request("GET", "/version").status in wanted, f"agent {name} is known")
            except GateFailure:
                # A policy that the gate refuses would keep every later one out of force, and blame other tests for it.
                (self.policies / f"{name}.yaml").unlink(missing_ok=True)
                raise
        return agent

    def agent_from(self, name: str, kubeconfig: Path) -> Agent:
        """An agent that a test registered itself, by the kubeconfig that was written for it."""
        return read_agent(name, kubeconfig)

    def _add_agent(self, name: str, cluster: str) -> Agent:
        kubeconfig = self.folder / f"{name}.kubeconfig"
        done = self.command(
            "agents", "add", name, "--owner", "person:test", "--purpose", "test", "--cluster", cluster,
            "--kubeconfig", str(kubeconfig),
        )  # fmt: skip
        if done.code != 0:
            raise GateFailure(f"narrowgate agents add {name}: exit code {done.code}\n{done.text}")
        return read_agent(name, kubeconfig)

    def allow(self, agent: str, rules: Iterable[Mapping[str, Any]], *, cluster: str = "dev") -> None:
        """Writes the policy named after the agent; it is in force when the gate has seen the file."""
        self.write_policy(agent, [{"kind": "Agent", "name": agent}], rules, cluster=cluster)

    def write_policy(
        self,
        name: str,
        subjects: Sequence[Mapping[str, str]],
        rules: Iterable[Mapping[str, Any]],
        *,
        cluster: str = "dev",
    ) -> None:
        document = {
            "apiVersion": "narrowgate.dev/v1alpha1",
            "kind": "Policy",
            "metadata": {"name": name},
            "spec": {"subjects": list(subjects), "clusters": [cluster], "rules": [dict(rule) for rule in rules]},
        }
        self.write_policy_text(f"{name}.yaml", yaml.safe_dump(document, sort_keys=False))

    def write_policy_text(self, file: str, text: str) -> None:
        # Written beside and renamed, as configuration tools do: the gate never sees half a file.
        unfinished = self.folder / f".{file}.{secrets.token_hex(4)}"
        unfinished.write_text(text)
        unfinished.rename(self.policies / file)

    # --- the record ---

    def journal_text(self) -> str:
        """Everything in the journal's files, as bytes on disk: no index, no command in between."""
        segments = sorted((self.data_dir / "trail").rglob("*.jsonl"))
        return "".join(segment.read_text(errors="replace") for segment in segments)

    def events(self, containing: str = "") -> list[dict[str, Any]]:
        """The audit events whose lines contain the text, in the order of the journal."""
        lines = (line for line in self.journal_text().splitlines() if containing in line)
        documents = (json.loads(line) for line in lines)
        return [document["event"] for document in documents if isinstance(document.get("event"), dict)]

    def wait_for_event(self, containing: str, stage: str = "ResponseComplete") -> dict[str, Any]:
        """The last event of that stage that contains the text; finished entries may follow the answer by a moment."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [event for event in self.events(containing) if event.get("stage") == stage]
            return bool(found)

        self.wait_until(there, f"a {stage} entry for {containing} in the journal")
        return found[-1]


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kills a process with its whole group, which it leads (start_new_session), and waits until nobody of it is left.

    Each ends for itself, and the leader may be the first: the others hold ports and locks until they are gone.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + STOP_SECONDS
    while left := _members(process.pid):
        if time.monotonic() > deadline:
            raise GateFailure(f"killed, and still there after {STOP_SECONDS:.0f} s: {left}")
        time.sleep(POLL_SECONDS)


def _members(group: int) -> list[int]:
    """The processes of a group that have not ended; the dead who wait for their parent hold nothing any more.

    A process is dead with its last thread: its first may be a zombie while another still ends, and keeps every lock.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            _, its_group = _state_and_group(entry)
            if its_group == group and any(map(_lives, (entry / "task").iterdir())):
                found.append(int(entry.name))
    return found


def _lives(thread: Path) -> bool:
    try:
        return _state_and_group(thread)[0] not in "ZX"
    except OSError:
        return False


def _state_and_group(entry: Path) -> tuple[str, int]:
    """What `stat` of a process or a thread says (proc_pid_stat(5)); raises OSError for one that is gone."""
    # The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
    state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
    return state, int(group)


def read_agent(name: str, kubeconfig: Path) -> Agent:
    """What a kubeconfig made by the gate says; it must verify the gate's certificate and hold the credential inline."""
    document = yaml.safe_load(kubeconfig.read_text())
    cluster = document["clusters"][0]["cluster"]
    address = urlsplit(cluster["server"])
    return Agent(
        name=name,
        kubeconfig=kubeconfig,
        host=address.hostname or "",
        port=address.port or 0,
        ca=base64.b64decode(cluster["certificate-authority-data"]).decode(),
        token=document["users"][0]["user"]["token"],
    )


def narrowgate() -> str:
    """The command under test: this environment's, or the one that NARROWGATE_COMMAND names (an installed package)."""
    return os.environ.get("NARROWGATE_COMMAND") or str(Path(sys.executable).parent / "narrowgate")


def environment() -> dict[str, str]:
    """What a service would get: no variable of the tester's shell decides anything."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "NARROWGATE_DEBUG") if name in os.environ}
    return {**kept, "TZ": "UTC"}
