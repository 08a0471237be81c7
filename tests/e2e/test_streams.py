"""What streams through the gate is what streams without it: terminals, pipes, copies, forwarded ports, followed logs.

Each test runs with both protocols that kubectl speaks (WebSocket, and SPDY/3.1 as kubectl up to 1.29 does), except
where kubectl has one way only. Expected bytes are computed or taken from a direct run, never from the gate itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import pty
import random
import re
import select
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.e2e.gate import Cluster, free_ports
from tests.e2e.kubectl import TRANSPORTS, Kubectl
from tests.e2e.workloads import SLEEP, container, pod, yaml_of

READY_SECONDS = 90
# A stream that says nothing for that long is broken.
SILENCE_SECONDS = 30.0
STOP_SECONDS = 15.0
# Longer than the gate gives a caller to send its headers when tests ask it to be strict.
QUIET_SECONDS = 6.0
MEBIBYTE = 1 << 20
# Several times what any buffer on the way holds, so that back-pressure works in both directions.
LARGE = 6 * MEBIBYTE
TERMINAL_ROWS, TERMINAL_COLUMNS = 33, 101
LINE = b"one line\n"


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    """A namespace with the pods that the streams end at."""
    name = new_namespace("streams")
    here = direct.within(name)
    two = pod("two", cluster.image)
    two["spec"]["containers"].append(container("second", cluster.image))
    reader = pod("reader", cluster.image)
    # A process that says what it reads: what attach talks to.
    reader["spec"]["containers"] = [
        container("main", cluster.image, "while read line; do echo heard $line; done", stdin=True)
    ]
    clock = "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done"
    here.must(
        "apply", "-f", "-",
        stdin=yaml_of(
            pod("shell", cluster.image), pod("patient", cluster.image), two, reader, pod("clock", cluster.image, clock)
        ),
    )  # fmt: skip
    names = ["pod/shell", "pod/patient", "pod/two", "pod/reader", "pod/clock"]
    here.must("wait", "--for=condition=Ready", *names, f"--timeout={READY_SECONDS}s")
    return name


@pytest.fixture(scope="module", params=list(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def here(through: Kubectl, namespace: str, transport: str) -> Kubectl:
    """Kubectl through the gate, in the namespace of the pods, speaking one of the two protocols."""
    return through.within(namespace).using(TRANSPORTS[transport])


def noise(count: int, seed: int) -> bytes:
    """Bytes of every value, the same each time."""
    return random.Random(seed).randbytes(count)


# --- exec ---


def test_exec_keeps_output_error_and_exit_code_apart(here: Kubectl) -> None:
    ran = here("exec", "shell", "-c", "main", "--", "sh", "-c", "echo to out; echo to err >&2; exit 7")

    assert ran.out == b"to out\n"
    assert ran.err.startswith(b"to err\n")
    assert b"exit code 7" in ran.err
    assert ran.code == 7


def test_exec_of_a_program_that_is_not_there_fails_as_it_does_directly(
    here: Kubectl, direct: Kubectl, namespace: str, transport: str
) -> None:
    arguments = ("exec", "shell", "-c", "main", "--", "no-such-program")

    found = here(*arguments)
    expected = direct.within(namespace).using(TRANSPORTS[transport])(*arguments)

    assert (found.code, found.out) == (expected.code, expected.out)
    # The runtime's own ids are in the message.
    assert re.sub(rb"[0-9a-f]{8,}", b"", found.err) == re.sub(rb"[0-9a-f]{8,}", b"", expected.err)


def test_exec_in_a_container_that_is_not_there_is_the_servers_refusal(
    here: Kubectl, direct: Kubectl, namespace: str, transport: str
) -> None:
    arguments = ("exec", "shell", "-c", "absent", "--", "true")

    found = here(*arguments)
    expected = direct.within(namespace).using(TRANSPORTS[transport])(*arguments)

    assert (found.code, found.out, found.err) == (expected.code, expected.out, expected.err)


def test_exec_chooses_the_container(here: Kubectl) -> None:
    assert here("exec", "two", "-c", "second", "--", "echo", "in the second").out == b"in the second\n"


def test_megabytes_of_every_byte_come_out_of_exec_unchanged(here: Kubectl) -> None:
    data = noise(LARGE, seed=1)
    # A shell stays behind cat: a program that has given away its output is over for the container runtime, whatever it
    # still has to read (so it is without a gate, too).
    here.must("exec", "-i", "shell", "-c", "main", "--", "sh", "-c", "cat > /tmp/noise; echo taken", stdin=data)

    assert here("exec", "shell", "-c", "main", "--", "cat", "/tmp/noise").out == data


def test_megabytes_piped_into_exec_arrive_and_return_at_once(here: Kubectl) -> None:
    data = noise(LARGE, seed=2)

    ran = here("exec", "-i", "shell", "-c", "main", "--", "cat", stdin=data)

    assert hashlib.sha256(ran.out).hexdigest() == hashlib.sha256(data).hexdigest()
    assert ran.code == 0


def test_the_end_of_the_input_reaches_the_program(here: Kubectl) -> None:
    ran = here("exec", "-i", "shell", "-c", "main", "--", "wc", "-c", stdin=b"x" * 12345)

    assert ran.out.strip() == b"12345"


def test_many_execs_at_once_do_not_mix(here: Kubectl) -> None:
    words = [f"word-{number}" for number in range(6)]
    running = [here.start("exec", "shell", "-c", "main", "--", "sh", "-c", f"sleep 0.5; echo {word}") for word in words]

    outputs = [process.communicate(timeout=SILENCE_SECONDS)[0] for process in running]

    assert outputs == [f"{word}\n".encode() for word in words]


def test_a_terminal_has_its_size_its_echo_and_its_exit_code(here: Kubectl) -> None:
    # The size follows the terminal by a moment; until then it has none.
    script = "until stty size 2>/dev/null | grep .; do sleep 0.2; done; tty; read answer; echo got $answer; exit 5"

    with Terminal(
        here.command("exec", "-it", "shell", "-c", "main", "--", "sh", "-c", script), here.environment()
    ) as terminal:
        size = f"{TERMINAL_ROWS} {TERMINAL_COLUMNS}"
        terminal.wait_for(size)
        terminal.type("forty-two\n")
        terminal.wait_for("got forty-two")

        assert terminal.exit_code() == 5
    assert "/dev/pts/" in terminal.seen
    # The remote terminal echoes what is typed, before the program answers.
    assert terminal.seen.index("forty-two") < terminal.seen.index("got forty-two")


def test_a_terminal_follows_its_window(here: Kubectl) -> None:
    script = "trap 'exit 4' INT; while true; do stty size; sleep 0.3; done"

    with Terminal(
        here.command("exec", "-it", "shell", "-c", "main", "--", "sh", "-c", script), here.environment()
    ) as terminal:
        terminal.wait_for(f"{TERMINAL_ROWS} {TERMINAL_COLUMNS}")
        terminal.resize(20, 70)
        terminal.wait_for("20 70")
        terminal.resize(50, 160)
        terminal.wait_for("50 160")
        terminal.type("\x03")

        assert terminal.exit_code() == 4


def test_ctrl_c_in_a_terminal_ends_the_program_behind_the_gate(here: Kubectl) -> None:
    script = "trap 'echo interrupted; exit 9' INT; echo waiting; while true; do sleep 1; done"

    with Terminal(
        here.command("exec", "-it", "shell", "-c", "main", "--", "sh", "-c", script), here.environment()
    ) as terminal:
        terminal.wait_for("waiting")
        terminal.type("\x03")
        terminal.wait_for("interrupted")

        assert terminal.exit_code() == 9


def test_a_caller_that_goes_away_is_gone_for_the_server_too(here: Kubectl, cluster: Cluster, marker: str) -> None:
    # What becomes of the program is between API server and kubelet; the gate's part is to end the stream behind it.
    begun = cluster.audit_position()
    process = here.start("exec", "shell", "-c", "main", "--", "sh", "-c", f"echo {marker}; exec sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == f"{marker}\n".encode()
    process.kill()
    process.communicate()

    def complete() -> bool:
        return any(event["stage"] == "ResponseComplete" for event in cluster.audited(marker, begun))

    assert eventually(complete), "the API server still serves a caller that is gone"


# --- attach, run ---


def test_attach_speaks_with_the_program_that_runs(here: Kubectl, transport: str) -> None:
    word = f"hello over {transport}"

    heard = conversation(here, "attach", "-i", "reader", "-c", "main", say=f"{word}\n", until=f"heard {word}")

    assert f"heard {word}" in heard


def test_run_waits_shows_and_removes(here: Kubectl, cluster: Cluster, transport: str) -> None:
    name = f"brief-{transport}"
    overrides = '{"spec":{"hostNetwork":true,"terminationGracePeriodSeconds":0}}'

    ran = here(
        "run", name, "-i", "--rm", "--restart=Never", f"--image={cluster.image}", "--image-pull-policy=Never",
        f"--overrides={overrides}", "--", "sh", "-c", "sleep 2; wc -c; exit 0",
        stdin=b"y" * 777,
    )  # fmt: skip

    assert ran.code == 0
    assert b"777" in ran.out
    assert f'pod "{name}" deleted'.encode() in ran.out + ran.err
    assert b"NotFound" in here("get", "pod", name).err


def test_debug_attaches_to_the_container_it_adds(here: Kubectl, cluster: Cluster, transport: str) -> None:
    script = "while read line; do echo heard $line; done"

    heard = conversation(
        here, "debug", "patient", "-i", f"--image={cluster.image}", "--image-pull-policy=Never", "--profile=general",
        "-c", f"helper-{transport}", "--", "sh", "-c", script,
        say="doctor\n", until="heard doctor",
    )  # fmt: skip

    assert "heard doctor" in heard


# --- cp ---


def test_cp_takes_a_tree_in_and_out_unchanged(here: Kubectl, transport: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep" / "deeper").mkdir(parents=True)
    (tree / "empty").write_bytes(b"")
    (tree / "with spaces").write_bytes(noise(1000, seed=3))
    (tree / "deep" / "large").write_bytes(noise(LARGE, seed=4))
    (tree / "deep" / "deeper" / "script.sh").write_text("echo hello\n")
    remote = f"/tmp/tree-{transport}"

    here.must("cp", str(tree), f"shell:{remote}")
    here.must("cp", f"shell:{remote}", str(tmp_path / "back"))

    assert hashes(tmp_path / "back") == hashes(tree)
    listed = here.must("exec", "shell", "-c", "main", "--", "sha256sum", f"{remote}/deep/large")
    assert listed.split()[0] == hashlib.sha256(noise(LARGE, seed=4)).hexdigest()


def test_cp_of_a_file_that_is_not_there_makes_none(here: Kubectl, tmp_path: Path) -> None:
    here("cp", "shell:/tmp/absent", str(tmp_path / "absent"))

    assert not (tmp_path / "absent").exists()


# --- port-forward ---


@contextmanager
def listening_in_pod(here: Kubectl) -> Iterator[list[int]]:
    """Two web servers in the pod, on loopback, for the time of a test; `/cgi-bin/back` says back what it is sent."""
    ports = free_ports(2)
    script = f"""
        mkdir -p /www/cgi-bin; echo served > /www/index.html
        printf '#!/bin/sh\\necho; exec head -c $CONTENT_LENGTH\\n' > /www/cgi-bin/back; chmod +x /www/cgi-bin/back
        httpd -f -p 127.0.0.1:{ports[0]} -h /www & one=$!
        httpd -f -p 127.0.0.1:{ports[1]} -h /www & two=$!
        echo listening; cat; kill $one $two; echo ended
    """
    process = here.start("exec", "-i", "shell", "-c", "main", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"
    try:
        yield ports
    finally:
        # The end of the input ends the servers: nothing stays behind on the node's own network.
        said, _ = process.communicate(timeout=SILENCE_SECONDS)
    assert said == b"ended\n"


@contextmanager
def forwarded(here: Kubectl, *ports: int, target: str = "pod/shell") -> Iterator[list[int]]:
    """Kubectl port-forward to the given ports, and the local ports it chose, in their order."""
    process = here.start("port-forward", "--address=127.0.0.1", target, *(f":{port}" for port in ports))
    assert process.stdout is not None
    local: list[int] = []
    try:
        while len(local) < len(ports):
            line = process.stdout.readline().decode()
            if not line:
                raise AssertionError("port-forward ended before it listened")
            if found := re.search(r"127\.0\.0\.1:(\d+) ->", line):
                local.append(int(found[1]))
        yield local
    finally:
        process.terminate()
        process.communicate()


def test_several_ports_are_forwarded_at_once_for_many_connections(here: Kubectl) -> None:
    with listening_in_pod(here) as ports, forwarded(here, *ports) as (one, other):
        # One connection after the other, then several at a time.
        assert [fetch(one), fetch(other), fetch(one)] == [b"served\n"] * 3
        with ThreadPoolExecutor(max_workers=8) as pool:
            answers = list(pool.map(fetch, [one, other] * 4))
        assert answers == [b"served\n"] * 8


def test_a_forwarded_port_carries_megabytes_both_ways(here: Kubectl) -> None:
    data = noise(MEBIBYTE, seed=5)
    with listening_in_pod(here) as ports, forwarded(here, ports[0]) as (local,):
        connection = http.client.HTTPConnection("127.0.0.1", local, timeout=SILENCE_SECONDS)
        connection.request("POST", "/cgi-bin/back", body=data)
        back = connection.getresponse().read()
        connection.close()

    assert hashlib.sha256(back).hexdigest() == hashlib.sha256(data).hexdigest()


def test_a_forwarded_connection_stays_open_while_nobody_speaks(here: Kubectl) -> None:
    head = b"POST /cgi-bin/back HTTP/1.1\r\nHost: pod\r\nContent-Length: 10\r\n\r\n"
    with (
        listening_in_pod(here) as ports,
        forwarded(here, ports[0]) as (local,),
        socket.create_connection(("127.0.0.1", local), timeout=SILENCE_SECONDS) as connection,
    ):
        connection.sendall(head + b"first")
        # An upgraded connection has no timeout for slow callers.
        time.sleep(QUIET_SECONDS)
        connection.sendall(b"later")
        answer = b""
        while part := connection.recv(65536):
            answer += part

    assert answer.endswith(b"firstlater")


def test_a_port_where_nobody_listens_fails_one_connection_and_is_named(here: Kubectl) -> None:
    (dead,) = free_ports(1)
    with forwarded(here, dead) as (local,):
        assert fetch(local) == b""


# --- logs, watches, proxy ---


def test_logs_follow_while_they_are_written(through: Kubectl, namespace: str) -> None:
    process = through.within(namespace).start("logs", "-f", "clock", "--tail=1")
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline().decode() for _ in range(6)]
    finally:
        process.kill()
        process.communicate()

    numbers = [int(line.removeprefix("tick ")) for line in lines]
    assert numbers == list(range(numbers[0], numbers[0] + 6))


def test_logs_follow_to_the_end_of_the_container(through: Kubectl, cluster: Cluster, namespace: str) -> None:
    here = through.within(namespace)
    script = "for i in 1 2 3; do echo part $i; sleep 0.5; done"
    here.must("create", "-f", "-", stdin=yaml_of(pod("ending", cluster.image, script, restartPolicy="Never")))
    here.must("wait", "--for=condition=PodReadyToStartContainers", "pod/ending", f"--timeout={READY_SECONDS}s")

    def followed() -> bytes:
        return here("logs", "-f", "ending").out

    assert eventually(lambda: followed() == b"part 1\npart 2\npart 3\n")
    here("delete", "pod", "ending", "--wait=false")


def test_a_long_log_arrives_whole(through: Kubectl, direct: Kubectl, cluster: Cluster, namespace: str) -> None:
    here = through.within(namespace)
    script = "seq 1 400000; " + SLEEP
    here.must("create", "-f", "-", stdin=yaml_of(pod("verbose", cluster.image, script)))
    here.must("wait", "--for=condition=Ready", "pod/verbose", f"--timeout={READY_SECONDS}s")
    expected = "".join(f"{number}\n" for number in range(1, 400001)).encode()

    assert eventually(lambda: direct.within(namespace)("logs", "verbose").out == expected)
    assert here("logs", "verbose").out == expected


def test_a_watch_shows_changes_in_their_order(through: Kubectl, direct: Kubectl, namespace: str) -> None:
    here, outside = through.within(namespace), direct.within(namespace)
    outside.must("create", "configmap", "watched", "--from-literal=step=0")
    columns = "custom-columns=STEP:.data.step"
    process = here.start("get", "configmaps", "watched", "--watch", "--no-headers", "-o", columns)
    assert process.stdout is not None
    try:
        seen = [process.stdout.readline().strip()]
        for step in range(1, 4):
            outside.must("patch", "configmap", "watched", "--type=merge", "-p", f'{{"data":{{"step":"{step}"}}}}')
            seen.append(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()

    assert seen == [b"0", b"1", b"2", b"3"]
    outside.must("delete", "configmap", "watched")


def test_a_watch_in_wide_tables_and_with_events_ends_when_it_is_told_to(through: Kubectl, namespace: str) -> None:
    ran = through.within(namespace)(
        "get", "pods", "shell", "--watch", "--output-watch-events", "-o", "wide", "--request-timeout=3s"
    )

    lines = ran.out.decode().splitlines()
    assert lines[0].split()[:2] == ["EVENT", "NAME"]
    assert lines[1].split()[:2] == ["ADDED", "shell"]


def test_kubectl_proxy_serves_the_cluster_behind_the_gate(through: Kubectl, namespace: str) -> None:
    process = through.start("proxy", "--port=0")
    assert process.stdout is not None
    try:
        announced = process.stdout.readline().decode()
        port = int(announced.rsplit(":", 1)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SILENCE_SECONDS)
        connection.request("GET", f"/api/v1/namespaces/{namespace}/pods/shell")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
    finally:
        process.terminate()
        process.communicate()

    assert answer.status == 200
    assert b'"name":"shell"' in body.replace(b'": "', b'":"')


def test_a_pods_own_http_is_reached_by_the_servers_proxy(through: Kubectl, direct: Kubectl, namespace: str) -> None:
    # The API server's proxy refuses loopback addresses, which every pod of this cluster has: the same words both ways.
    path = f"/api/v1/namespaces/{namespace}/pods/shell:8080/proxy/some/path/"

    found, expected = through("get", "--raw", path), direct("get", "--raw", path)

    assert (found.code, found.out, found.err) == (expected.code, expected.out, expected.err)


# --- instruments ---


class Terminal:
    """A program on a terminal of a known size, typed at and read as a person would."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.seen = ""
        self.controller, side = pty.openpty()
        self.resize(TERMINAL_ROWS, TERMINAL_COLUMNS)
        self.process = subprocess.Popen(
            command,
            stdin=side,
            stdout=side,
            stderr=side,
            env={**environment, "TERM": "xterm"},
            start_new_session=True,
            # A terminal is somebody's only when a session leader takes it: kubectl then gets its signals. One system
            # call between fork and exec, which no lock of another thread can hold up.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(side)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.controller)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.controller, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.controller, text.encode())

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + SILENCE_SECONDS
        while text not in self.seen:
            if time.monotonic() > deadline or (not self._read(1.0) and self.process.poll() is not None):
                raise AssertionError(f"the terminal never said {text!r}; it said {self.seen!r}")

    def exit_code(self) -> int:
        code = self.process.wait(SILENCE_SECONDS)
        while self._read(0.1):
            pass
        return code

    def _read(self, seconds: float) -> bool:
        if not select.select([self.controller], [], [], seconds)[0]:
            return False
        # Linux answers EIO when the other side of a terminal is closed.
        with suppress(OSError):
            data = os.read(self.controller, 65536)
            self.seen += data.decode(errors="replace")
            return bool(data)
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether something that takes its time comes true."""
    deadline = time.monotonic() + SILENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def conversation(here: Kubectl, *arguments: str, say: str, until: str) -> str:
    """Says something to a program until its answer is heard, and returns all that was heard."""
    process = here.start(*arguments, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    heard = ""
    deadline = time.monotonic() + SILENCE_SECONDS
    try:
        # What is said before the stream stands is lost by nature, hence again and again.
        while until not in heard and time.monotonic() < deadline and process.poll() is None:
            process.stdin.write(say.encode())
            process.stdin.flush()
            if select.select([process.stdout], [], [], 1.0)[0]:
                heard += os.read(process.stdout.fileno(), 65536).decode(errors="replace")
    finally:
        process.kill()
        process.communicate()
    return heard


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def fetch(port: int) -> bytes:
    """The body of an HTTP page, or nothing where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SILENCE_SECONDS)
    try:
        connection.request("GET", "/index.html")
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()
