"""What a program writes in an exec or attach, masked on its way: output, prompts, errors, copies, in both protocols."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from tests.e2e.gate import ALLOW_ALL_RULES, Cluster, Gate
from tests.e2e.kubectl import TRANSPORTS, Kubectl
from tests.e2e.terminal import MEBIBYTE, Terminal, noise
from tests.e2e.workloads import container, pod, yaml_of

READY_SECONDS = 90
KNOWN = b"[masked:narrowgate/known-value:"
UNMASKED_RULES = ALLOW_ALL_RULES[:2]
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


@pytest.fixture(scope="module")
def value() -> str:
    """A password that no pattern knows."""
    return "plover-" + secrets.token_hex(8)


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str], value: str) -> str:
    name = new_namespace("masked-exec")
    here = direct.within(name)
    holds = pod("holds", cluster.image)
    holds["spec"]["volumes"] = [{"name": "s", "secret": {"secretName": "words"}}]
    holds["spec"]["containers"][0] |= {
        "volumeMounts": [{"name": "s", "mountPath": "/words"}],
        "env": [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "words", "key": "word"}}}],
    }
    reader = pod("reader", cluster.image)
    script = "while read line; do echo $line: $(cat /words/word); done"
    reader["spec"]["volumes"] = holds["spec"]["volumes"]
    reader["spec"]["containers"] = [
        container(
            "main", cluster.image, script, stdin=True, volumeMounts=holds["spec"]["containers"][0]["volumeMounts"]
        )
    ]
    here.must("create", "secret", "generic", "words", f"--from-literal=word={value}")
    here.must("apply", "-f", "-", stdin=yaml_of(holds, reader, pod("free", cluster.image)))
    here.must("wait", "--for=condition=Ready", "pod/holds", "pod/reader", "pod/free", f"--timeout={READY_SECONDS}s")
    return name


@pytest.fixture(scope="module")
def knowing_gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("exec-gate")
    gate = Gate(folder, [{"name": "dev", "kubeconfig": str(cluster.kubeconfig), "maskKnownValues": True}])
    gate.agent("reader", UNMASKED_RULES)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(params=list(TRANSPORTS))
def here(
    request: pytest.FixtureRequest, knowing_gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path
) -> Kubectl:
    agent = knowing_gate.agent("reader", UNMASKED_RULES)
    kubectl = Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path)
    return kubectl.within(namespace).using(TRANSPORTS[request.param])


def in_pod(here: Kubectl, script: str, *options: str, stdin: bytes = b"") -> bytes:
    ran = here("exec", *options, "holds", "-c", "main", "--", "sh", "-c", script, stdin=stdin)
    assert ran.code == 0, ran.text
    return ran.out + ran.err


def test_a_secret_of_the_cluster_is_masked_where_a_program_prints_it(here: Kubectl, value: str) -> None:
    seen = in_pod(here, "cat /words/word; echo; echo $WORD >&2; env")
    assert value.encode() not in seen
    assert seen.count(KNOWN) == 3


@pytest.mark.parametrize("encoding", ["base64", "base64 -w0", "hexdump -ve '1/1 \"%02x\"'"])
def test_it_is_masked_however_it_is_written(here: Kubectl, value: str, encoding: str) -> None:
    seen = in_pod(here, f"cat /words/word | {encoding}; echo; echo plain")
    assert value.encode() not in seen
    assert base64.b64encode(value.encode())[:24] not in seen
    assert value.encode().hex().encode() not in seen
    assert KNOWN in seen
    assert seen.endswith(b"plain\n")


def test_it_is_masked_though_it_comes_in_pieces(here: Kubectl, value: str) -> None:
    seen = in_pod(here, "head -c 12 /words/word; sleep 0.3; tail -c +13 /words/word; echo; echo end")
    assert value.encode() not in seen
    assert value[12:].encode() not in seen
    assert seen.endswith(b"end\n")


def test_what_looks_like_a_secret_is_masked_too(here: Kubectl) -> None:
    seen = in_pod(here, f"echo token is {TOKEN}; echo password=hunter2hunter2")
    assert TOKEN.encode() not in seen
    assert b"hunter2" not in seen


def test_the_exit_code_and_an_error_come_through(here: Kubectl, value: str) -> None:
    ran = here("exec", "holds", "-c", "main", "--", "sh", "-c", "cat /words/word >&2; exit 7")
    assert ran.code == 7
    assert b"exit code 7" in ran.err
    assert value.encode() not in ran.err


def test_output_without_an_end_of_line_is_all_there(here: Kubectl) -> None:
    assert in_pod(here, "printf 'no end'") == b"no end"
    assert in_pod(here, "printf ''") == b""


def test_megabytes_of_text_come_through_as_they_are(here: Kubectl) -> None:
    seen = in_pod(here, "seq 1 200000")
    assert seen == b"".join(b"%d\n" % number for number in range(1, 200001))


def test_megabytes_of_every_byte_go_in_and_come_out_unchanged(here: Kubectl) -> None:
    data = noise(2 * MEBIBYTE, seed=5)
    assert in_pod(here, "cat", "-i", stdin=data) == data


def test_a_copy_comes_whole_with_the_secret_overwritten(here: Kubectl, value: str, tmp_path: Path) -> None:
    in_pod(
        here,
        "rm -rf /tmp/files; mkdir /tmp/files; cd /tmp/files; echo hello > a; cp /words/word b; seq 1 9999 > c",
    )
    target = tmp_path / "copied"
    ran = here("cp", "-c", "main", "holds:/tmp/files", str(target))
    assert ran.code == 0, ran.text
    assert (target / "a").read_bytes() == b"hello\n"
    assert (target / "b").read_bytes() == b"*" * len(value)
    assert (target / "c").read_bytes() == b"".join(b"%d\n" % number for number in range(1, 10000))


def test_attach_is_masked(here: Kubectl, value: str) -> None:
    with Terminal(here.command("attach", "-i", "reader", "-c", "main"), here.environment()) as attached:
        attached.type("word\n")
        attached.wait_for("word: [masked:narrowgate/known-value:")
        assert value not in attached.seen


def test_a_terminal_shows_prompts_and_echoes_at_once(here: Kubectl, value: str) -> None:
    command = here.command("exec", "-it", "holds", "-c", "main", "--", "sh")
    with Terminal(command, here.environment()) as terminal:
        terminal.wait_for("# ")
        terminal.type("echo one; read -p 'Who? ' who; echo hello $who; cat /words/word; echo\n")
        terminal.wait_for("Who? ")
        terminal.type("me\n")
        terminal.wait_for("hello me")
        terminal.wait_for("[masked:narrowgate/known-value:")
        terminal.type("exit 3\n")
        assert terminal.exit_code() == 3
        assert value not in terminal.seen


def test_the_record_says_what_was_masked(here: Kubectl, knowing_gate: Gate, value: str) -> None:
    mark = secrets.token_hex(4)
    in_pod(here, f"cat /words/word; echo; echo $WORD {mark}")
    entry = knowing_gate.wait_for_event(mark)
    assert entry["annotations"]["narrowgate.dev/masked"] == "narrowgate/known-value=2"
    assert value not in knowing_gate.journal_text()


# --- who gets in where nothing is known of the Secrets' values ---

INTO_PODS = """
    - id: into-pods
      effect: allow
      verbs: [create, get, patch]
      apiGroups: [""]
      resources: [pods, pods/exec, pods/attach, pods/ephemeralcontainers]
      namespaces: ["*"]
"""


@pytest.fixture(scope="module")
def unknowing_gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    gate = Gate(tmp_path_factory.mktemp("unknowing"), [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}])
    for name, says in (("default", ""), ("masked", "mountedSecrets: mask"), ("denied", "mountedSecrets: deny")):
        gate.agent(name, yaml.safe_load(INTO_PODS + (f"      {says}\n" if says else "")))
    gate.start()
    yield gate
    gate.stop()


@pytest.mark.parametrize("transport", list(TRANSPORTS))
@pytest.mark.parametrize(
    ("name", "says"), [("default", "maskKnownValues"), ("masked", ""), ("denied", "mountedSecrets: deny")]
)
def test_a_pod_that_holds_secrets_is_entered_as_the_rule_says(
    unknowing_gate: Gate,
    cluster: Cluster,
    namespace: str,
    tmp_path: Path,
    *,
    name: str,
    says: str,
    transport: str,
) -> None:
    agent = unknowing_gate.agent(name)
    kubectl = Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path).within(namespace).using(TRANSPORTS[transport])
    ran = kubectl("exec", "holds", "-c", "main", "--", "echo", "in")
    assert (ran.code == 0) is (not says), ran.text
    if says:
        assert b"the pod holds Secret words" in ran.err
        assert says.encode() in ran.err
    else:
        assert ran.out == b"in\n"
    assert kubectl("exec", "free", "-c", "main", "--", "echo", "in").out == b"in\n"
    debugged = kubectl(
        "patch", "pod", "holds", "--subresource=ephemeralcontainers", "--type=strategic", "-p",
        json.dumps({"spec": {"ephemeralContainers": [container(f"d-{secrets.token_hex(3)}", cluster.image)]}}),
    )  # fmt: skip
    assert (debugged.code == 0) is (not says), debugged.text
    assert (b"the pod holds Secret words" in debugged.err) is bool(says), debugged.text
