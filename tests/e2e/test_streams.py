"""What streams through the gate into a container and back is what streams without it: terminals, pipes, copies.

Each test runs with both protocols that kubectl speaks (WebSocket, and SPDY/3.1 as kubectl up to 1.29 does), except
where kubectl has one way only. Expected bytes are computed or taken from a direct run, never from the gate itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import TRANSPORTS, Kubectl
from tests.e2e.terminal import (
    MEBIBYTE,
    SILENCE_SECONDS,
    TERMINAL_COLUMNS,
    TERMINAL_ROWS,
    Terminal,
    conversation,
    eventually,
    noise,
)
from tests.e2e.workloads import container, pod, yaml_of

READY_SECONDS = 90
# Several times what any buffer on the way holds, so that back-pressure works in both directions.
LARGE = 6 * MEBIBYTE


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
    here.must(
        "apply", "-f", "-",
        stdin=yaml_of(
            pod("shell", cluster.image), pod("patient", cluster.image), two, reader
        ),
    )  # fmt: skip
    names = ["pod/shell", "pod/patient", "pod/two", "pod/reader"]
    here.must("wait", "--for=condition=Ready", *names, f"--timeout={READY_SECONDS}s")
    return name


@pytest.fixture(scope="module", params=list(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def here(through: Kubectl, namespace: str, transport: str) -> Kubectl:
    """Kubectl through the gate, in the namespace of the pods, speaking one of the two protocols."""
    return through.within(namespace).using(TRANSPORTS[transport])


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


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
