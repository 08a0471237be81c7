"""A gate that is killed, kept waiting and cut off while pods are being made: their chain is never lost.

The pods are those of a real cluster, and none of them has to run: a token that is bound to a pod says which it is.
Whatever is asked while nobody knows is refused (503), or judged by the chain, and never let through as of nobody.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.gate import Agent, Cluster
from tests.e2e.held_line import LARGE, WAIT_SECONDS, Held, Line, held_line
from tests.e2e.kubectl import Kubectl
from tests.e2e.placed_pods import Place, placed_gate
from tests.e2e.rules import allow
from tests.e2e.wire import ConnectionEnded

JSON = {"Content-Type": "application/json"}
CHAIN = "judged by the chain"
NOBODYS = "of nobody"
UNKNOWN = "not let in"


@dataclasses.dataclass(frozen=True)
class Site:
    """A place whose gate reaches the cluster over a line, and an agent that may have pods made there."""

    place: Place
    line: Line
    agent: Agent

    def pod(self, name: str, **metadata: Any) -> dict[str, Any]:
        """A pod that no scheduler takes, too large to be mistaken for anything else the gate sends."""
        labels = {"app": name}
        container = {"name": "main", "image": self.place.cluster.image}
        spec = {
            "serviceAccountName": "worker",
            "automountServiceAccountToken": False,
            "schedulerName": "nobody",
            "containers": [container],
        }
        padding = {"annotations": {"padding": "x" * (LARGE + 20_000)}, "labels": labels}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **padding, **metadata}, "spec": spec}

    def create(self, document: dict[str, Any]) -> int:
        """The status of the answer to the agent's write; 0 where the connection ended without one."""
        group = "apis/apps/v1" if document["apiVersion"] == "apps/v1" else "api/v1"
        path = f"/{group}/namespaces/{self.place.namespace}/{document['kind'].lower()}s"
        try:
            return self.agent.request("POST", path, JSON, json.dumps(document).encode()).status
        except (ConnectionEnded, OSError, ValueError):
            return 0

    def pods(self, name: str) -> list[str]:
        """The names of the pods with that label, by the cluster itself."""
        listed = json.loads(self.place.direct.must("get", "pods", "-l", f"app={name}", "-o", "json"))
        return [one["metadata"]["name"] for one in listed["items"]]

    def one_pod(self, name: str) -> str:
        """The one pod with that label, once the cluster has it."""
        self.place.gate.wait_until(lambda: len(self.pods(name)) == 1, f"the cluster has one pod of {name}")
        return self.pods(name)[0]

    def token(self, pod: str) -> str:
        """What the kubelet would give to that pod."""
        return self.place.direct.must(
            "create", "token", "worker", "--audience=narrowgate", "--duration=1h",
            "--bound-object-kind=Pod", f"--bound-object-name={pod}",
        ).strip()  # fmt: skip

    def judged(self, token: str) -> str:
        """How the gate takes a call of that pod for what only its own account may."""
        path = f"/api/v1/namespaces/{self.place.namespace}/services"
        answer = dataclasses.replace(self.agent, token=token).request("GET", path)
        match answer.status:
            case 200:
                return NOBODYS
            case 403 if f'speaking for agent "{self.agent.name}"' in answer.message:
                return CHAIN
            case 401 | 503:
                # The cluster itself may hear of a new pod a moment late, and calls its token nobody's until then.
                return UNKNOWN
            case _:
                raise AssertionError(f"{answer.status}: {answer.message}")

    def require_chain(self, pod: str) -> None:
        """The chain, or first that it is not known yet; never a pod of nobody."""
        token = self.token(pod)
        found: list[str] = []

        def known() -> bool:
            found.append(self.judged(token))
            return found[-1] != UNKNOWN

        self.place.gate.wait_until(known, f"the gate knows whose {pod} is")
        assert found[-1] == CHAIN, found
        assert set(found) <= {CHAIN, UNKNOWN}

    def begun(self, threads: ThreadPoolExecutor, document: dict[str, Any], held: Held) -> Future[int]:
        """The write, held on its way; on return it has come as far as the line lets it."""
        self.line.hold(held)
        writings = [threads.submit(self.create, document)]

        def has_come() -> bool:
            if not self.line.has_large and writings[-1].done():
                # One of two processes did not know yet what the agent may.
                writings.append(threads.submit(self.create, document))
            return self.line.has_large

        self.place.gate.wait_until(has_come, "the large write is on its way", WAIT_SECONDS)
        return writings[-1]

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.place.gate.data_dir / "gate.db", timeout=60, isolation_level=None)

    def pending(self) -> list[str]:
        """The names of what is under way, or of which nobody knows what became."""
        with contextlib.closing(self.database()) as database:
            return [json.loads(one)["name"] for (one,) in database.execute("SELECT document FROM lineage_writes")]


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def site(
    request: pytest.FixtureRequest, cluster: Cluster, direct: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("faults")
    with held_line(cluster.server) as line:
        document = yaml.safe_load(cluster.kubeconfig.read_text())
        for each in document["clusters"]:
            each["cluster"]["server"] = line.url
        over_line = folder / "over-line.kubeconfig"
        over_line.write_text(yaml.safe_dump(document))
        behind = dataclasses.replace(cluster, kubeconfig=over_line)
        with placed_gate(behind, direct, folder, workers=request.param) as place:
            rules = [
                allow("make", "create get list delete patch", "pods", place.namespace),
                allow("sets", "create get list delete patch", "deployments", place.namespace, groups=["apps"]),
                allow("as", "use", "serviceaccounts", place.namespace, names=["worker"]),
                allow("maps", "get list", "configmaps", place.namespace),
            ]
            yield Site(place, line, place.gate.agent("maker", rules))


@pytest.fixture
def threads(site: Site) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool
        # What a failed test has left held would be waited for here.
        site.line.pass_on()


def test_killed_before_the_cluster_has_it_nothing_is_made_and_who_makes_it_soon_is_in_doubt(
    site: Site, threads: ThreadPoolExecutor
) -> None:
    writing = site.begun(threads, site.pod("unsent"), Held.REQUEST)
    assert "unsent" in site.pending()
    site.place.gate.kill()
    assert writing.result() == 0
    site.place.gate.start()
    assert site.pods("unsent") == []
    # Somebody else makes one of that name; nobody can tell it from the one that was to be made.
    document = site.pod("unsent")
    document["metadata"]["annotations"] = {}
    site.place.direct.must("create", "-f", "-", stdin=json.dumps(document).encode())
    site.line.pass_on()
    site.require_chain("unsent")
    document["metadata"]["name"] = "unsent-too"
    site.place.direct.must("create", "-f", "-", stdin=json.dumps(document).encode())
    token = site.token("unsent-too")
    site.place.gate.wait_until(lambda: site.judged(token) == NOBODYS, "another name is nobody's")


def test_killed_while_the_answer_is_on_its_way_its_pod_is_the_chains(site: Site, threads: ThreadPoolExecutor) -> None:
    writing = site.begun(threads, site.pod("sent"), Held.ANSWER)
    pod = site.one_pod("sent")
    site.place.gate.kill()
    assert writing.result() == 0
    site.line.pass_on()
    site.place.gate.start()
    site.require_chain(pod)


def test_killed_before_the_name_is_known_that_the_cluster_made_up(site: Site, threads: ThreadPoolExecutor) -> None:
    document = site.pod("generated", generateName="generated-")
    del document["metadata"]["name"]
    writing = site.begun(threads, document, Held.ANSWER)
    pod = site.one_pod("generated")
    site.place.gate.kill()
    assert writing.result() == 0
    site.line.pass_on()
    site.place.gate.start()
    site.require_chain(pod)


def test_killed_while_controllers_make_pods_of_what_was_not_answered(site: Site, threads: ThreadPoolExecutor) -> None:
    pod = site.pod("deployed")
    labels = {"app": "deployed"}
    template = {"metadata": {"labels": labels}, "spec": pod["spec"]}
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": pod["metadata"],
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    writing = site.begun(threads, document, Held.ANSWER)
    made = site.one_pod("deployed")
    site.place.gate.kill()
    assert writing.result() == 0
    site.line.pass_on()
    site.place.gate.start()
    site.require_chain(made)
    # One that is made from now on is, too.
    site.place.direct.must("delete", "pod", made, "--wait=true", "--grace-period=0", "--force")
    site.require_chain(site.one_pod("deployed"))
    site.place.direct("delete", "deployment", "deployed", "--wait=false")


def test_killed_between_the_answer_and_its_record(site: Site, threads: ThreadPoolExecutor) -> None:
    writing = site.begun(threads, site.pod("unkept"), Held.ANSWER)
    pod = site.one_pod("unkept")
    with contextlib.closing(site.database()) as other:
        other.execute("BEGIN IMMEDIATE")
        site.line.pass_on()
        # The answer is with the gate, and cannot be kept; it is not told before it is, or has been given up.
        site.line.wait_for_answer()
        site.place.gate.kill()
        other.execute("ROLLBACK")
    assert writing.result() == 0
    assert "unkept" in site.pending()
    site.place.gate.start()
    site.require_chain(pod)


def test_a_pod_that_calls_before_its_making_was_answered_is_the_chains(site: Site, threads: ThreadPoolExecutor) -> None:
    writing = site.begun(threads, site.pod("early"), Held.ANSWER)
    pod = site.one_pod("early")
    site.require_chain(pod)
    assert not writing.done()
    site.line.pass_on()
    assert writing.result() == 201
    site.place.gate.wait_until(lambda: "early" not in site.pending(), "what was made is kept by its UID")
    site.require_chain(pod)


def test_pods_that_call_while_they_are_being_made_are_never_nobodys(site: Site, threads: ThreadPoolExecutor) -> None:
    """Each calls as soon as the cluster has it, whatever has been recorded of it by then."""
    names = [f"race-{number}" for number in range(12)]
    over = threading.Event()

    def make() -> list[int]:
        try:
            return [site.create(site.pod(name)) for name in names]
        finally:
            over.set()

    making = threads.submit(make)
    seen: dict[str, str] = {}
    while len(seen) < len(names):
        listed = json.loads(site.place.direct.must("get", "pods", "-o", "json"))["items"]
        there = [one["metadata"]["name"] for one in listed if one["metadata"]["name"].startswith("race-")]
        for name in there:
            if name not in seen:
                seen[name] = site.judged(site.token(name))
        assert len(there) == len(names) or not over.is_set() or not making.done() or making.result() == [201] * 12
    assert making.result() == [201] * len(names)
    assert set(seen.values()) <= {CHAIN, UNKNOWN}, seen
    for name in names:
        site.require_chain(name)


def test_while_the_store_is_locked_nothing_is_sent_and_no_pod_is_taken_for_nobodys(
    site: Site, threads: ThreadPoolExecutor
) -> None:
    assert site.create(site.pod("before-lock")) == 201
    token = site.token("before-lock")
    with contextlib.closing(site.database()) as other:
        other.execute("BEGIN IMMEDIATE")
        assert site.create(site.pod("in-lock")) in (500, 503)
        assert site.judged(token) in (CHAIN, UNKNOWN)
        other.execute("ROLLBACK")
    assert site.pods("in-lock") == []
    site.require_chain("before-lock")
    assert site.create(site.pod("after-lock")) == 201
    site.require_chain("after-lock")


def test_an_answer_that_cannot_be_kept_stands_for_what_fits_it(site: Site, threads: ThreadPoolExecutor) -> None:
    writing = site.begun(threads, site.pod("locked"), Held.ANSWER)
    pod = site.one_pod("locked")
    with contextlib.closing(site.database()) as other:
        other.execute("BEGIN IMMEDIATE")
        site.line.pass_on()
        # It has happened: whoever asked for it is told so, also where the store has been given up.
        assert writing.result() == 201
        other.execute("ROLLBACK")
    assert "locked" in site.pending()
    site.require_chain(pod)


def test_a_cluster_that_falls_silent_makes_no_pod_nobodys(site: Site, threads: ThreadPoolExecutor) -> None:
    assert site.create(site.pod("silenced")) == 201
    token = site.token("silenced")
    site.line.silence()
    try:
        assert site.judged(token) == UNKNOWN
    finally:
        site.line.pass_on()
    site.require_chain("silenced")


def test_the_same_name_made_anew_by_somebody_else_is_another_pod(site: Site, threads: ThreadPoolExecutor) -> None:
    assert site.create(site.pod("anew")) == 201
    site.require_chain("anew")
    before = site.token("anew")
    site.place.direct.must("delete", "pod", "anew", "--wait=true", "--grace-period=0", "--force")
    document = site.pod("anew")
    document["metadata"]["annotations"] = {}
    site.place.direct.must("create", "-f", "-", stdin=json.dumps(document).encode())
    token = site.token("anew")
    site.place.gate.wait_until(lambda: site.judged(token) == NOBODYS, "the new one is its own account")
    # What the old one left behind opens nothing: its cluster does not know that pod any more.
    path = f"/api/v1/namespaces/{site.place.namespace}/services"
    old = dataclasses.replace(site.agent, token=before)
    site.place.gate.wait_until(lambda: old.request("GET", path).status in (401, 403), "the old one opens nothing")


def test_a_gate_that_was_down_while_everything_changed_finds_it_again(site: Site, tmp_path: Path) -> None:
    assert site.create(site.pod("kept-on")) == 201
    assert site.create(site.pod("taken")) == 201
    site.place.gate.kill()
    site.place.direct.must("delete", "pod", "taken", "--wait=true", "--grace-period=0", "--force")
    site.place.direct.must("label", "pod", "kept-on", "app=other", "--overwrite")
    site.place.direct.must("annotate", "pod", "kept-on", "padding-")
    site.place.gate.start()
    site.require_chain("kept-on")

    def marked() -> bool:
        with contextlib.closing(site.database()) as database:
            rows = database.execute("SELECT gone_at IS NULL FROM lineage WHERE name = 'kept-on'").fetchall()
        return rows == [(1,)]

    site.place.gate.wait_until(marked, f"what is there is not taken for gone ({tmp_path})")


def test_whoever_changes_a_running_pod_and_hangs_up_bounds_it_all_the_same(
    site: Site, threads: ThreadPoolExecutor
) -> None:
    """The write has happened, and nobody is there any more who could be told of it."""
    document = site.pod("hung-up")
    document["metadata"]["annotations"] = {}
    site.place.direct.must("create", "-f", "-", stdin=json.dumps(document).encode())
    token = site.token("hung-up")
    # Each process knows it by then as nobody's.
    for _ in range(20):
        site.place.gate.wait_until(lambda: site.judged(token) == NOBODYS, "it is just its account")
    path = f"/api/v1/namespaces/{site.place.namespace}/pods/hung-up"
    body = json.dumps({"metadata": {"annotations": {"padding": "x" * (LARGE + 20_000)}}}).encode()
    site.line.hold(Held.ANSWER)
    with site.agent.connect() as connection:
        connection.send(site.agent.bytes_of("PATCH", path, {"Content-Type": "application/merge-patch+json"}, body))
        site.line.wait_for_large()

        def changed() -> bool:
            found = json.loads(site.place.direct.must("get", "pod", "hung-up", "-o", "json"))["metadata"]
            return "padding" in found.get("annotations", {})

        site.place.gate.wait_until(changed, "the cluster has it")
    site.line.pass_on()
    for _ in range(20):
        site.place.gate.wait_until(lambda: site.judged(token) == CHAIN, "it is its changer's as well")
    site.require_chain("hung-up")
