"""What makes two requests the same to an approval, and what does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.deciding import agent

from narrowgate.core.digest import line_digest, request_digest
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.intent import Intent
from narrowgate.core.request_info import request_info
from narrowgate.core.target import parse_target, split_cluster

PATCH = b'{"spec":{"replicas":2}}'


def digest(
    method: str = "PATCH",
    target: bytes = b"/apis/apps/v1/namespaces/ci/deployments/web?fieldManager=a&dryRun=All",
    **other: Any,
) -> str:
    _, parsed = split_cluster(parse_target(target))
    info = request_info(method, parsed)
    if info.subresource == "exec":
        info = msgspec.structs.replace(info, verb="create")
    intent = Intent(cluster=other.get("cluster", "prod"), info=info)
    content_type = other.get("content_type", b"application/merge-patch+json")
    return request_digest(
        other.get("sender", agent()),
        intent,
        parsed,
        content_type,
        other.get("body", PATCH),
        other.get("behind_proxy", ()),
    )


@pytest.mark.parametrize(
    "target",
    [
        b"/apis/apps/v1/namespaces/ci/deployments/web?dryRun=All&fieldManager=a",
        b"/apis/apps/v1/namespaces/%63i/deployments/we%62?fieldManager=%61&&dryRun=All",
        b"/clusters/prod/apis/apps/v1/namespaces/ci/deployments/web?fieldManager=a&dryRun=All",
    ],
)
def test_another_spelling_is_the_same_request(target: bytes) -> None:
    assert digest(target=target) == digest()


def test_an_exec_is_the_same_request_either_way() -> None:
    target = b"/api/v1/namespaces/ci/pods/web/exec?command=ls&command=-l&stdout=true"
    assert digest("GET", target, body=b"") == digest("POST", target, body=b"", content_type=b"text/plain")


def test_headers_that_reach_a_program_behind_proxy_are_part_of_the_request() -> None:
    def proxied(*headers: tuple[bytes, bytes]) -> str:
        return digest("GET", b"/api/v1/namespaces/ci/pods/web/proxy/admin", body=b"", behind_proxy=headers)

    one, two = (b"cookie", b"role=user"), (b"range", b"bytes=0-1")
    assert proxied(one, two) == proxied(two, one)
    assert len({proxied(), proxied(one), proxied(two), proxied((b"cookie", b"role=admin")), proxied(one, one)}) == 5


@pytest.mark.parametrize(
    "other",
    [
        {"body": PATCH + b" "},
        {"body": b""},
        {"content_type": b"application/strategic-merge-patch+json"},
        {"cluster": "test"},
        {"method": "PUT"},
        {"target": b"/apis/apps/v1/namespaces/ci/deployments/web?fieldManager=a"},
        {"target": b"/apis/apps/v1/namespaces/ci/deployments/web?fieldManager=b&dryRun=All"},
        {"target": b"/apis/apps/v1/namespaces/ci/deployments/web/scale?fieldManager=a&dryRun=All"},
        {"target": b"/apis/apps/v1/namespaces/prod/deployments/web?fieldManager=a&dryRun=All"},
        {"sender": agent("other")},
        {"sender": msgspec.structs.replace(agent(), credential="c-2")},
        {"sender": msgspec.structs.replace(agent(), proven_by="jwt")},
        {"sender": msgspec.structs.replace(agent(), task="t1")},
        {"sender": Identity(kind=Kind.PERSON, name="ci", proven_by="test", credential="c-ci")},
    ],
)
def test_a_change_in_anything_that_matters_is_another_request(other: dict[str, Any]) -> None:
    assert digest(**other) != digest()


def test_the_order_of_one_parameters_values_matters() -> None:
    target = b"/api/v1/namespaces/ci/pods/web/exec?command=%s&command=%s"
    assert digest("GET", target % (b"a", b"b"), body=b"") != digest("GET", target % (b"b", b"a"), body=b"")


def test_a_value_cannot_be_taken_for_two_parameters() -> None:
    one = digest(target=b"/api/v1/pods?a=1%26b%3D2")
    assert one != digest(target=b"/api/v1/pods?a=1&b=2")


def test_the_digest_stays_the_same_from_version_to_version() -> None:
    """Approvals outlive the process that asked: a change here must come with a new VERSION."""
    assert digest() == KNOWN


KNOWN = "69b3b8dfd496edd95890a01a7d15509156d38cb1ada87250ee21431f3e9f72b7"


def test_a_line_has_a_digest_of_its_own_in_each_session() -> None:
    request = digest()
    made = line_digest(request, "session", "rm -rf /")
    others = {
        line_digest(request, "session", "rm -rf / "),
        line_digest(request, "other", "rm -rf /"),
        line_digest(digest(sender=agent("another")), "session", "rm -rf /"),
        line_digest(request, "sessionrm", " -rf /"),
        request,
    }
    assert made not in others
    assert made == line_digest(digest(), "session", "rm -rf /")
