"""Who becomes an author by a write, what a lost write may have made, and which requests make pods."""

from __future__ import annotations

import msgspec
import pytest

from narrowgate.core import uses
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.lineage import (
    AFTER_SECONDS,
    BEFORE_SECONDS,
    MOST_AUTHORS,
    POD_MAKERS,
    Ancestor,
    PendingWrite,
    Placement,
    Sighted,
    author_of,
    makes_pods,
    merged,
    qualified,
)
from narrowgate.core.request_info import request_info
from narrowgate.core.target import parse_target

AGENT = Identity(kind=Kind.AGENT, name="bot", task="t1", proven_by="task-credential", credential="t1", cluster="dev")
PERSON = Identity(kind=Kind.PERSON, name="alice", proven_by="jwt", credential="j1")
POD = Identity(
    kind=Kind.WORKLOAD, name="ci/worker", proven_by="service-account", credential="sa-1", cluster="dev",
    claims=(("pod", "one"), ("pod-uid", "u1")),
)  # fmt: skip
BOT = Ancestor(kind=Kind.AGENT, name="bot", task="t1")


def write(name: str = "one", generate_name: str = "", *, is_create: bool = True) -> PendingWrite:
    return PendingWrite(
        audit_id="a", cluster="dev", resource="pods", namespace="ci", name=name, generate_name=generate_name,
        is_create=is_create, author=(BOT,), at=10_000.0,
    )  # fmt: skip


def seen(name: str = "one", at: float = 10_000.0, *, resource: str = "pods", namespace: str = "ci") -> Sighted:
    return Sighted(uid="u", resource=resource, namespace=namespace, name=name, created_at=at)


def test_the_whole_chain_becomes_an_author_by_reference() -> None:
    worker = Ancestor(kind=Kind.WORKLOAD, name="ci/worker", cluster="dev", pod="one", pod_uid="u1")
    assert author_of(chain_of(AGENT, POD), 5.0) == (BOT, worker)


def test_people_are_no_authors() -> None:
    assert author_of(chain_of(PERSON), 5.0) == ()


def test_whoever_acts_for_a_person_is_an_author_with_them() -> None:
    made_by = author_of(chain_of(PERSON, AGENT), 5.0)
    assert [(one.kind, one.name) for one in made_by] == [(Kind.PERSON, PERSON.name), (Kind.AGENT, AGENT.name)]


def test_what_a_create_may_have_made_has_its_name_and_was_made_about_then() -> None:
    assert write().may_have_made(seen())
    assert write().may_have_made(seen(at=10_000.0 - BEFORE_SECONDS))
    assert write().may_have_made(seen(at=10_000.0 + AFTER_SECONDS))
    assert not write().may_have_made(seen(at=9_999.0 - BEFORE_SECONDS))
    assert not write().may_have_made(seen(at=10_001.0 + AFTER_SECONDS))
    assert not write().may_have_made(seen("two"))
    assert not write().may_have_made(seen(resource="jobs.batch"))
    assert not write().may_have_made(seen(namespace="other"))


def test_a_generated_name_is_known_by_how_it_begins() -> None:
    assert write("", "one-").may_have_made(seen("one-x7f2p"))
    assert not write("", "one-").may_have_made(seen("two-x7f2p"))


def test_a_change_may_have_been_made_to_whatever_was_there() -> None:
    assert write(is_create=False).may_have_made(seen(at=1.0))
    assert not write(is_create=False).may_have_made(seen(at=10_001.0 + AFTER_SECONDS))


def test_a_change_of_which_nobody_knows_counts_for_what_was_known_before() -> None:
    kept = Placement(cluster="dev", uid="u", resource="pods", namespace="ci", name="one", first_at=1.0)
    assert write(is_create=False).may_have_changed(kept)
    assert not write().may_have_changed(kept)
    assert not write("two", is_create=False).may_have_changed(kept)


@pytest.mark.parametrize(
    ("method", "path", "makes"),
    [
        ("POST", "/api/v1/namespaces/ci/pods", True),
        ("POST", "/apis/batch/v1/namespaces/ci/jobs", True),
        ("PATCH", "/apis/apps/v1/namespaces/ci/deployments/web", True),
        ("PUT", "/apis/apps/v1/namespaces/ci/deployments/web/scale", True),
        ("PATCH", "/api/v1/namespaces/ci/pods/one/ephemeralcontainers", True),
        ("POST", "/apis/example.com/v1/namespaces/ci/databases", True),
        ("PATCH", "/apis/example.com/v1/namespaces/ci/databases/one/status", False),
        ("PATCH", "/api/v1/namespaces/ci/pods/one/status", False),
        ("POST", "/api/v1/namespaces/ci/pods/one/eviction", False),
        ("POST", "/api/v1/namespaces/ci/pods/one/exec", False),
        ("POST", "/api/v1/namespaces/ci/pods/one/proxy", False),
        ("POST", "/api/v1/namespaces/ci/configmaps", False),
        ("GET", "/api/v1/namespaces/ci/pods/one", False),
        ("DELETE", "/apis/apps/v1/namespaces/ci/deployments/web", False),
    ],
)
def test_which_requests_write_what_pods_are_made_from(method: str, path: str, makes: bool) -> None:
    assert makes_pods(request_info(method, parse_target(path.encode()))) is makes


def test_every_kind_whose_template_is_read_is_one_that_pods_are_made_from() -> None:
    path = {"": "/api/v1", "apps": "/apis/apps/v1", "batch": "/apis/batch/v1", "extensions": "/apis/extensions/v1"}
    spec = {"serviceAccountName": "worker"}
    template = {"spec": {**spec, "template": {"spec": spec}, "jobTemplate": {"spec": {"template": {"spec": spec}}}}}
    reading = set()
    for group, resource in POD_MAKERS:
        info = request_info("POST", parse_target(f"{path[group]}/namespaces/ci/{resource}".encode()))
        if uses.uses_of(info, {**template, "template": {"spec": spec}}):
            reading.add((group, resource))
    assert POD_MAKERS - reading == {("apps", "controllerrevisions")}


def test_authors_are_merged_whatever_order_they_come_in() -> None:
    others = [(Ancestor(kind=Kind.AGENT, name=f"a{number}"),) for number in range(MOST_AUTHORS + 5)]
    assert merged(others[:3], others[2:4]) == merged(reversed(others[:4]), ())
    assert merged([()], []) == ()
    assert len(merged(others, others)) == MOST_AUTHORS + 1


def test_an_agent_with_a_standing_credential_is_an_author_since_it_first_wrote() -> None:
    standing = Identity(kind=Kind.AGENT, name="bot", proven_by="agent-credential", credential="c1")
    first, later = author_of(chain_of(standing), 5.0), author_of(chain_of(standing), 9.0)
    assert merged([later], [first]) == merged([first], [later]) == (first,)
    assert first[0].since == 5.0


def test_resources_are_written_with_their_group() -> None:
    assert (qualified("pods", ""), qualified("jobs", "batch")) == ("pods", "jobs.batch")


def test_a_pod_that_writes_itself_is_no_author_of_itself() -> None:
    made = Placement(
        cluster="dev", uid="u1", resource="pods", namespace="ci", name="one", authors=((BOT,),), first_at=1.0
    )
    by_itself = author_of(chain_of(AGENT, POD), 2.0)
    assert by_itself[-1].pod_uid == "u1"
    assert made.grown([by_itself]) == made
    # Of another one it is, and whoever it had made is one of it.
    other = msgspec.structs.replace(made, uid="u2")
    assert other.grown([by_itself]).authors == merged(((BOT,),), (by_itself,))
    child = (*by_itself, Ancestor(kind=Kind.WORKLOAD, name="ci/child", cluster="dev", pod="two", pod_uid="u2"))
    assert child in made.grown([child]).authors
