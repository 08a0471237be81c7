"""What passed in an exec, attach, cp or port-forward is in its recording, byte for byte, in both protocols."""

from __future__ import annotations

import gc
import hashlib
import http.client
import os
import re
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest
from dev.cluster.processes import free_ports
from tests.e2e.gate import ALLOW_ALL_RULES, Cluster, Gate
from tests.e2e.kubectl import TRANSPORTS, Kubectl
from tests.e2e.recorded import Shelf, holds
from tests.e2e.terminal import (
    MEBIBYTE,
    SILENCE_SECONDS,
    TERMINAL_COLUMNS,
    TERMINAL_ROWS,
    Terminal,
    conversation,
    noise,
)
from tests.e2e.wire import ConnectionEnded
from tests.e2e.workloads import pod, yaml_of

from narrowgate.core.recording import BodyData, Kind, PortCounted
from narrowgate.core.stream_events import Channel, ChannelData, Direction, PortClosed, PortData, PortOpened
from narrowgate.recordings.errors import RecordingDamaged, RecordingKeyMissing
from narrowgate.recordings.reading import open_file
from narrowgate.recordings.sealing import RecordingKey

with warnings.catch_warnings():
    # The client's own dependencies warn at import; what it does afterwards is under the tests' strict rule.
    warnings.simplefilter("ignore")
    from kubernetes import client, config, stream

# The client leaves the sockets of its WebSockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

READY_SECONDS = 90
READING_SECONDS = 1.0
MICROSECONDS = 1_000_000
CLOCK_SECONDS = 0.05
"""How far a time in a recording may be from what it was: its clock is set once, at the beginning."""
COMMANDS = 50
MUCH = 24 * MEBIBYTE
SECRET = "frobozz-magic-cave-company"
KEY = "forty characters of a key that is only for tests"


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    name = new_namespace("recorded")
    here = direct.within(name)
    listener = pod("listener", cluster.image, "while read line; do echo you said $line; done; sleep 3600")
    listener["spec"]["containers"][0]["stdin"] = True
    speaking = f"i=0; while [ $i -lt {COMMANDS} ]; do echo says $i; i=$((i+1)); done; sleep 3600"
    pods = yaml_of(pod("shell", cluster.image), pod("speaker", cluster.image, speaking), listener)
    here.must("apply", "-f", "-", stdin=pods)
    here.must(
        "wait", "--for=condition=Ready", "pod/shell", "pod/speaker", "pod/listener", f"--timeout={READY_SECONDS}s"
    )
    return name


@pytest.fixture(scope="module")
def recording_gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """All is kept, nothing masked, nothing encrypted."""
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig)}
    settings = {"audit": dict.fromkeys(("portForwards", "logs", "watches"), "RequestResponse")}
    gate = Gate(tmp_path_factory.mktemp("recording-gate"), [entry], settings=settings)
    gate.agent("all", ALLOW_ALL_RULES)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture
def shelf(recording_gate: Gate) -> Shelf:
    shelf = Shelf(recording_gate)
    shelf.pass_over()
    return shelf


@pytest.fixture(scope="module", params=list(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def here(recording_gate: Gate, cluster: Cluster, namespace: str, transport: str, tmp_path: Path) -> Kubectl:
    agent = recording_gate.agent("all", ALLOW_ALL_RULES)
    return Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path).within(namespace).using(TRANSPORTS[transport])


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- exec ---


def test_output_errors_and_exit_code_are_as_they_were(here: Kubectl, shelf: Shelf, namespace: str) -> None:
    done = here("exec", "shell", "-c", "main", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.code, done.out) == (3, b"out\n")
    found = shelf.next()
    header = found.header
    assert (header.kind, header.namespace, header.pod, header.container) == (Kind.EXEC, namespace, "shell", "main")
    assert header.command == ("sh", "-c", "echo out; echo err >&2; exit 3")
    assert header.chain == ("agent:all",)
    assert (found.bytes_of(Channel.STDOUT), found.bytes_of(Channel.STDERR)) == (b"out\n", b"err\n")
    assert (found.bytes_of(Channel.STDIN), found.exit.code) == (b"", 3)
    assert found.event["responseStatus"]["code"] == 101


def test_fifty_commands_that_were_piped_and_their_answers_are_there(here: Kubectl, shelf: Shelf) -> None:
    script = b"".join(b"echo $((%d*7)); echo no %d >&2\n" % (number, number) for number in range(COMMANDS))
    done = here("exec", "-i", "shell", "--", "sh", stdin=script)
    assert done.out.splitlines() == [b"%d" % (number * 7) for number in range(COMMANDS)]
    found = shelf.next()
    assert found.bytes_of(Channel.STDIN) == script
    assert found.bytes_of(Channel.STDOUT) == done.out
    assert found.bytes_of(Channel.STDERR) == done.err
    assert found.exit.code == 0


def test_megabytes_of_bytes_of_every_value_are_there_both_ways(here: Kubectl, shelf: Shelf) -> None:
    sent = noise(MUCH, seed=6)
    done = here("exec", "-i", "shell", "--", "cat", stdin=sent)
    assert done.code == 0
    assert digest(done.out) == digest(sent)
    found = shelf.next()
    assert digest(found.bytes_of(Channel.STDIN)) == digest(sent)
    assert digest(found.bytes_of(Channel.STDOUT)) == digest(sent)


def test_a_terminal_is_there_as_it_was_seen_with_its_sizes(here: Kubectl, shelf: Shelf) -> None:
    with Terminal(here.command("exec", "-it", "shell", "--", "sh"), here.environment()) as terminal:
        terminal.wait_for("# ")
        for number in range(COMMANDS):
            terminal.type(f"echo answer $(({number}*13))\r")
            terminal.wait_for(f"answer {number * 13}\r\n")
        terminal.resize(TERMINAL_ROWS + 5, TERMINAL_COLUMNS + 7)
        terminal.type("sleep 1; stty size; exit 4\r")
        terminal.wait_for(f"{TERMINAL_ROWS + 5} {TERMINAL_COLUMNS + 7}")
        assert terminal.exit_code() == 4
    found = shelf.next()
    assert found.header.tty
    typed = "".join(f"echo answer $(({number}*13))\r" for number in range(COMMANDS)) + "sleep 1; stty size; exit 4\r"
    assert found.bytes_of(Channel.STDIN).decode() == typed
    shown = found.bytes_of(Channel.STDOUT).decode()
    # After the session kubectl itself speaks.
    assert terminal.seen.startswith(shown)
    assert terminal.seen.removeprefix(shown) in ("", "command terminated with exit code 4\r\n")
    assert found.sizes[0] == (TERMINAL_COLUMNS, TERMINAL_ROWS)
    assert found.sizes[-1] == (TERMINAL_COLUMNS + 7, TERMINAL_ROWS + 5)
    assert found.exit.code == 4


@pytest.mark.parametrize("said", ["tty=False", "tty=", "tty=1"])
def test_a_terminal_is_one_where_the_cluster_makes_one(
    recording_gate: Gate, shelf: Shelf, namespace: str, said: str
) -> None:
    """What is sent to a program without a terminal is all kept, whatever the query says besides."""
    agent = recording_gate.agent("all", ALLOW_ALL_RULES)
    script = "stty -echo; test -t 0; echo code $?; read line"
    command = urlencode([("command", "sh"), ("command", "-c"), ("command", script)])
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "YWFhYWFhYWFhYWFhYWFhYQ==",
        "Sec-WebSocket-Protocol": "v4.channel.k8s.io",
    }
    target = f"/api/v1/namespaces/{namespace}/pods/shell/exec?{command}&stdin=true&stdout=true&{said}"
    with agent.connect() as connection:
        connection.send(agent.bytes_of("GET", target, upgrade))
        assert connection.head()[0] == 101
        seen = b""
        while not re.search(rb"code \d", seen):
            seen += connection.take(1)
        has_terminal = seen.endswith(b"0")
        # Masked with a key that changes nothing.
        connection.send(b"\x82\x87" + bytes(5) + b"hello\n")
        with suppress(ConnectionEnded):
            while True:
                connection.take(1)
    found = shelf.next()
    assert has_terminal is (said != "tty=False")
    assert found.header.tty is has_terminal
    assert found.bytes_of(Channel.STDIN) == (b"" if has_terminal else b"hello\n")


def test_each_piece_bears_the_time_at_which_it_passed(here: Kubectl, shelf: Shelf) -> None:
    """By the client's own clock: after it was said, and before its answer was heard."""
    process = here.start("exec", "-i", "shell", "--", "sh", "-c", "while read l; do echo got $l; done",
                         stdin=subprocess.PIPE)  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    said, heard = [], []
    for number in range(COMMANDS):
        said.append(time.time())
        process.stdin.write(b"%d\n" % number)
        process.stdin.flush()
        assert process.stdout.readline() == b"got %d\n" % number
        heard.append(time.time())
    process.communicate(timeout=SILENCE_SECONDS)
    found = shelf.next()
    passed: dict[Channel, list[float]] = {Channel.STDIN: [], Channel.STDOUT: []}
    for entry in found.entries:
        if isinstance(entry.what, ChannelData) and entry.what.channel in passed:
            at = (found.header.began + entry.at) / MICROSECONDS
            passed[entry.what.channel] += [at] * entry.what.data.count(b"\n")
    assert [len(times) for times in passed.values()] == [COMMANDS, COMMANDS]
    for asked_at, in_at, out_at, heard_at in zip(said, *passed.values(), heard, strict=True):
        assert asked_at - CLOCK_SECONDS <= in_at <= out_at <= heard_at + CLOCK_SECONDS


def test_a_process_that_cannot_start_is_told_with_the_reason(here: Kubectl, shelf: Shelf) -> None:
    done = here("exec", "shell", "--", "no-such-program")
    assert done.code != 0
    found = shelf.next()
    assert found.bytes_of(Channel.STDOUT) == b""
    assert found.exit.code != 0
    assert "no-such-program" in found.exit.message


def test_a_client_that_is_killed_leaves_what_it_saw(here: Kubectl, shelf: Shelf) -> None:
    process = here.start("exec", "shell", "--", "sh", "-c", "echo seen; sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == b"seen\n"
    process.kill()
    process.communicate()
    found = shelf.next()
    assert found.bytes_of(Channel.STDOUT) == b"seen\n"
    assert found.exits == []


# --- attach, cp ---


def test_an_attached_conversation_is_there(here: Kubectl, shelf: Shelf) -> None:
    heard = conversation(here, "attach", "-i", "listener", say="hello\n", until="you said hello")
    found = shelf.next()
    assert found.header.kind is Kind.ATTACH
    assert set(found.bytes_of(Channel.STDIN).splitlines()) == {b"hello"}
    # kubectl explains itself first, and is ended while more may be on its way.
    assert found.bytes_of(Channel.STDOUT).decode().startswith(heard[heard.index("you said") :])


def test_files_that_were_copied_are_there_as_they_were(here: Kubectl, shelf: Shelf, tmp_path: Path) -> None:
    sent = noise(3 * MEBIBYTE, seed=8)
    (tmp_path / "sent").write_bytes(sent)
    here.must("cp", str(tmp_path / "sent"), "shell:/tmp/kept")
    # kubectl looks first whether the target is a folder.
    (to_pod,) = (found for found in shelf.several(2) if found.header.command[0] == "tar")
    assert sent in to_pod.bytes_of(Channel.STDIN)
    here.must("cp", "shell:/tmp/kept", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == sent
    from_pod = shelf.next()
    assert sent in from_pod.bytes_of(Channel.STDOUT)


# --- ports ---


@contextmanager
def served(here: Kubectl) -> Iterator[tuple[int, int]]:
    """A web server and a small database in the pod, for the time of a test."""
    web, lines = free_ports(2)
    answering = "while read -r question; do echo row $question; echo end; done"
    script = f"""
        mkdir -p /www; echo served > /www/index.html
        httpd -f -p 127.0.0.1:{web} -h /www & one=$!
        nc -ll -p {lines} -e sh -c '{answering}' & two=$!
        echo listening; cat; kill $one $two; echo ended
    """
    process = here.start("exec", "-i", "shell", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"
    try:
        yield web, lines
    finally:
        said, _ = process.communicate(timeout=SILENCE_SECONDS)
    assert said.endswith(b"ended\n")


@contextmanager
def forwarded(here: Kubectl, *ports: int) -> Iterator[list[int]]:
    process = here.start("port-forward", "--address=127.0.0.1", "shell", *(f":{port}" for port in ports))
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in ports]
        yield [int(line.split()[2].rpartition(b":")[2]) for line in lines]
    finally:
        process.terminate()
        process.communicate(timeout=SILENCE_SECONDS)


def asked(port: int, questions: int) -> tuple[bytes, bytes]:
    """All that was said and heard in a conversation of whole lines."""
    sent, heard = bytearray(), bytearray()
    with socket.create_connection(("127.0.0.1", port), SILENCE_SECONDS) as connection:
        reading = connection.makefile("rb")
        for number in range(questions):
            question = b"select %d\n" % number
            connection.sendall(question)
            sent += question
            heard += reading.readline() + reading.readline()
    return bytes(sent), bytes(heard)


def fetched(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SILENCE_SECONDS)
    connection.request("GET", "/index.html")
    content = connection.getresponse().read()
    connection.close()
    return content


def test_forwarded_connections_are_there_with_all_they_carried(here: Kubectl, shelf: Shelf) -> None:
    with served(here) as (web, lines):
        with forwarded(here, web, lines) as (near_web, near_lines):
            assert fetched(near_web) == b"served\n"
            sent, heard = asked(near_lines, questions=30)
        found = shelf.ports()
    assert found.header.kind is Kind.PORT_FORWARD
    opened = {each.port: each.connection for each in found.all_of(PortOpened)}
    assert set(opened) == {web, lines}
    assert found.carried(Direction.TO_POD, opened[web]).startswith(b"GET /index.html HTTP/1.1\r\n")
    assert found.carried(Direction.FROM_POD, opened[web]).endswith(b"served\n")
    assert found.carried(Direction.TO_POD, opened[lines]) == sent
    assert found.carried(Direction.FROM_POD, opened[lines]) == heard
    assert {each.connection for each in found.all_of(PortClosed)} == set(opened.values())


# --- what is not to be kept ---

PASSWORD = "plover-xyzzy-81"
ASKING = {
    "read -s": "printf 'Password: '; read -s word; echo; echo thanks",
    "stty -echo": "stty -echo; printf 'Password: '; read -r word; stty echo; echo; echo thanks",
    "passwd": "passwd root; echo thanks",
}


@pytest.mark.parametrize("asking", list(ASKING))
@pytest.mark.parametrize("manner", ["at once", "key by key"])
def test_a_password_that_is_typed_is_in_no_file(
    here: Kubectl, shelf: Shelf, recording_gate: Gate, asking: str, manner: str
) -> None:
    with Terminal(here.command("exec", "-it", "shell", "--", "sh"), here.environment()) as terminal:
        terminal.wait_for("# ")
        terminal.type(f"{ASKING[asking]}\r")
        for prompt in ("assword: ", "Retype password: ") if asking == "passwd" else ("assword: ",):
            terminal.wait_for(f"\n{prompt}" if prompt[0] == "R" else prompt)
            # Some ask before they turn the echo off, and whoever types reads first.
            time.sleep(READING_SECONDS)
            for keys in [f"{PASSWORD}\r"] if manner == "at once" else [*PASSWORD, "\r"]:
                terminal.type(keys)
        terminal.wait_for("thanks\r\n")
        terminal.type("echo after\r")
        terminal.wait_for("after\r\n")
        # What waits in the spool while the session goes on is looked at as well.
        assert holds(recording_gate.data_dir, PASSWORD.encode()) == []
        so_far = [path.read_bytes() for path in (recording_gate.data_dir / "spool").rglob("*tail*")]
        terminal.type("exit\r")
        terminal.exit_code()
        assert PASSWORD not in terminal.seen
    assert so_far
    found = shelf.next()
    everything = b"".join(found.bytes_of(channel) for channel in Channel)
    assert PASSWORD.encode() not in everything
    assert found.notes
    assert found.bytes_of(Channel.STDIN).decode().endswith("echo after\rexit\r")
    assert holds(recording_gate.data_dir, PASSWORD.encode()) == []


# --- masked, encrypted, counted ---


@pytest.fixture(scope="module")
def careful_gate(
    cluster: Cluster, direct: Kubectl, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gate]:
    """Secrets are masked, recordings encrypted, ports counted."""
    direct.within(namespace).must("create", "secret", "generic", "words", f"--from-literal=word={SECRET}")
    folder = tmp_path_factory.mktemp("careful-gate")
    (folder / "recording.key").write_text(KEY)
    (folder / "recording.key").chmod(0o600)
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "maskKnownValues": True}
    gate = Gate(folder, [entry], settings={"encryption": {"recordingKeyFile": str(folder / "recording.key")}})
    gate.agent("reader", ALLOW_ALL_RULES[:2])
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture
def safe(careful_gate: Gate) -> Shelf:
    shelf = Shelf(careful_gate, RecordingKey(KEY))
    shelf.pass_over()
    return shelf


@pytest.fixture
def carefully(careful_gate: Gate, cluster: Cluster, namespace: str, transport: str, tmp_path: Path) -> Kubectl:
    agent = careful_gate.agent("reader", ALLOW_ALL_RULES[:2])
    return Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path).within(namespace).using(TRANSPORTS[transport])


def test_what_is_masked_is_masked_in_the_recording(carefully: Kubectl, safe: Shelf) -> None:
    half = len(SECRET) // 2
    script = f"echo is {SECRET}; printf {SECRET[:half]}; sleep 0.2; echo {SECRET[half:]}; echo {SECRET} >&2\n"
    done = carefully("exec", "-i", "shell", "--", "sh", stdin=script.encode())
    assert done.code == 0, done.text
    assert SECRET.encode() not in done.out + done.err
    found = safe.next()
    assert found.bytes_of(Channel.STDOUT) == done.out
    assert found.bytes_of(Channel.STDERR) == done.err
    everything = b"".join(found.bytes_of(channel) for channel in Channel)
    assert SECRET.encode() not in everything
    assert everything.count(b"[masked:narrowgate/known-value:") >= 4
    assert found.event["annotations"]["narrowgate.dev/masked"]


def test_encrypted_recordings_hold_nothing_that_can_be_read(
    carefully: Kubectl, safe: Shelf, careful_gate: Gate
) -> None:
    word = f"unhidden-word-{os.getpid()}"
    process = carefully.start("exec", "-i", "shell", "--", "sh", "-c", "while read l; do echo $l-$l; done",
                              stdin=subprocess.PIPE)  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{word}\n".encode())
    process.stdin.flush()
    assert process.stdout.readline() == f"{word}-{word}\n".encode()
    assert safe.live()
    assert holds(careful_gate.data_dir, word.encode()) == []
    process.communicate(timeout=SILENCE_SECONDS)
    found = safe.next()
    assert found.bytes_of(Channel.STDOUT) == f"{word}-{word}\n".encode()
    assert holds(careful_gate.data_dir, word.encode()) == []
    with pytest.raises(RecordingKeyMissing), open_file(found.path, ()):
        pass


def test_forwarded_ports_are_counted(carefully: Kubectl, safe: Shelf) -> None:
    with served(carefully) as (_, lines):
        with forwarded(carefully, lines) as (near,):
            sent, heard = asked(near, questions=20)
        found = safe.ports()
    assert found.all_of(PortData) == []
    counted = {way: sum(each.count for each in found.all_of(PortCounted) if each.direction is way) for way in Direction}
    assert counted == {Direction.TO_POD: len(sent), Direction.FROM_POD: len(heard)}


# --- the record ---


def test_the_record_vouches_for_recordings_and_a_changed_byte_is_found(
    here: Kubectl, shelf: Shelf, recording_gate: Gate, tmp_path: Path
) -> None:
    here.must("exec", "shell", "--", "sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done")
    found = shelf.next()
    verified = recording_gate.command("audit", "verify")
    assert verified.code == 0, verified.text
    vouched = shelf.vouched(f"{found.path.parent.name}/{found.path.name}")
    content = found.path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 40)):
        changed = bytearray(content)
        changed[place] ^= 0x10
        (tmp_path / "changed").write_bytes(changed)
        with pytest.raises(RecordingDamaged), open_file(tmp_path / "changed", ()) as recording:
            recording.check(vouched)
    for length in (len(content) - 1, len(content) // 2, 200):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(RecordingDamaged), open_file(tmp_path / "cut", ()) as recording:
            recording.check(vouched)


def test_another_recording_in_its_place_is_found(here: Kubectl, shelf: Shelf) -> None:
    here.must("exec", "shell", "--", "echo", "one")
    here.must("exec", "shell", "--", "echo", "two")
    one, two = shelf.several(2)
    with pytest.raises(RecordingDamaged, match="trail"), open_file(two.path, ()) as recording:
        recording.check(shelf.vouched(f"{one.path.parent.name}/{one.path.name}"))


# --- logs and watches ---


def test_a_log_that_was_followed_is_there_as_far_as_it_was_seen(here: Kubectl, shelf: Shelf) -> None:
    process = here.start("logs", "-f", "speaker")
    assert process.stdout is not None
    seen = b"".join(process.stdout.readline() for _ in range(COMMANDS))
    process.kill()
    process.communicate()
    found = shelf.next()
    assert (found.header.kind, found.header.pod) == (Kind.LOG, "speaker")
    assert "follow=true" in found.header.target
    said = b"".join(each.data for each in found.all_of(BodyData))
    assert said == seen == b"".join(b"says %d\n" % number for number in range(COMMANDS))


def test_a_watch_is_there_byte_for_byte(recording_gate: Gate, shelf: Shelf, namespace: str) -> None:
    agent = recording_gate.agent("all", ALLOW_ALL_RULES)
    answer = agent.request("GET", f"/api/v1/namespaces/{namespace}/pods?watch=1&resourceVersion=0&timeoutSeconds=2")
    assert answer.body.count(b'"type":"ADDED"') >= 3
    found = shelf.next()
    assert (found.header.kind, found.header.namespace) == (Kind.WATCH, namespace)
    assert b"".join(each.data for each in found.all_of(BodyData)) == answer.body
    assert found.ended == "the session ended"


# --- the Python client ---


def test_what_the_python_client_sent_and_saw_is_there(recording_gate: Gate, shelf: Shelf, namespace: str) -> None:
    agent = recording_gate.agent("all", ALLOW_ALL_RULES)
    with config.new_client_from_config(str(agent.kubeconfig)) as connection:
        session = stream.stream(
            client.CoreV1Api(connection).connect_get_namespaced_pod_exec,
            "shell",
            namespace,
            command=["sh", "-c", "read a; echo got $a; echo bad >&2; exit 9"],
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        session.write_stdin("a line\n")
        session.run_forever(timeout=SILENCE_SECONDS)
        assert (session.read_stdout(), session.read_stderr(), session.returncode) == ("got a line\n", "bad\n", 9)
        session.close()
        del session
    # Here, and not in the middle of whatever test comes next.
    gc.collect()
    found = shelf.next()
    assert found.header.protocol == "v5.channel.k8s.io"
    assert found.bytes_of(Channel.STDIN) == b"a line\n"
    assert (found.bytes_of(Channel.STDOUT), found.bytes_of(Channel.STDERR)) == (b"got a line\n", b"bad\n")
    assert found.exit.code == 9
