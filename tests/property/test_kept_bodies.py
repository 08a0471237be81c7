"""Bodies that are kept are masked: what was planted as a secret is in nothing that is kept, whatever was sent."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narrowgate.core.masking.choosing import MaskChoice, masks_for_record
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.uses import JSON_PATCH
from narrowgate.proxy.kept_bodies import encoded
from narrowgate.proxy.masking import Masking

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a loaded machine making a Deployment up takes its time."""

PLANTED = "planted-4c1e"
MERGE = "application/merge-patch+json"

secret_names = st.sampled_from(["PASSWORD", "DB_PASSWORD", "API_TOKEN", "AWS_SECRET_ACCESS_KEY"])
plain_values = st.sampled_from(["", "a", "here", "by the sea", "8080"])
plain_env = st.fixed_dictionaries({"name": st.sampled_from(["PLACE", "MODE"]), "value": plain_values})
secret_env = st.fixed_dictionaries({"name": secret_names, "value": st.just(PLANTED)})
flags = st.sampled_from(["--password", "--token", "--api-key"])
arguments = st.one_of(
    st.lists(plain_values, max_size=3),
    st.tuples(flags, st.just(PLANTED)).map(list),
    flags.map(lambda flag: [f"{flag}={PLANTED}"]),
)
containers = st.lists(
    st.fixed_dictionaries(
        {"name": st.just("main"), "image": plain_values, "env": st.lists(plain_env | secret_env, max_size=3)},
        optional={"args": arguments, "command": arguments},
    ),
    min_size=1,
    max_size=2,
)
templates = containers.map(lambda found: {"spec": {"containers": found}})
annotations = st.dictionaries(
    st.sampled_from(["example.com/password", "token", "example.com/api-key"]), st.just(PLANTED), max_size=2
)


@st.composite
def deployments(draw: st.DrawFn) -> Any:
    """A Deployment, or some of one, with the whole of it once more where kubectl keeps it."""
    made: dict[str, Any] = {"spec": {"template": draw(templates)}, "metadata": {"annotations": draw(annotations)}}
    if draw(st.booleans()):
        applied = json.dumps(made | {"kind": "Deployment", "apiVersion": "apps/v1"})
        made["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = applied
    for part in draw(st.sets(st.sampled_from(["spec", "metadata"]), max_size=1)):
        del made[part]
    return made


def paths(document: Any, path: str = "") -> list[tuple[str, Any]]:
    """All places of a document, as JSON pointers, with what is there."""
    found = [(path, document)]
    if isinstance(document, dict):
        for key, value in document.items():
            found += paths(value, f"{path}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(document, list):
        for at, value in enumerate(document):
            found += paths(value, f"{path}/{at}")
    return found


def kept(document: Any, form: str, verb: str) -> bytes:
    info = RequestInfo(
        is_resource_request=True, path="/", verb=verb, api_group="apps", api_version="v1", resource="deployments",
        namespace="ci", name="web",
    )  # fmt: skip
    choice = MaskChoice("apps", "deployments", (masks_for_record((), ("apps", "deployments")),))
    return encoded(Masking(bytes(32)).in_record(choice, document, form, info, "prod"))


@PATIENT
@given(deployments(), st.sampled_from(["create", "update", "patch"]))
def test_of_objects_and_partial_objects(document: Any, verb: str) -> None:
    written = kept(document, MERGE if verb == "patch" else "application/json", verb)
    assert PLANTED.encode() not in written
    assert b"\n" not in written


@PATIENT
@given(deployments(), st.data())
def test_of_each_operation_that_writes_a_part_of_them(document: Any, data: st.DataObject) -> None:
    path, value = data.draw(st.sampled_from(paths(document)))
    operation = {"op": data.draw(st.sampled_from(["add", "replace", "test"])), "path": path, "value": value}
    assert PLANTED.encode() not in kept([operation], JSON_PATCH, "patch")


@PATIENT
@given(deployments())
def test_what_is_masked_once_stays_as_it_is(document: Any) -> None:
    once = kept(document, MERGE, "patch")
    assert kept(json.loads(once), MERGE, "patch") == once


@PATIENT
@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda below: st.lists(below) | st.dictionaries(st.text(), below)
    )
)
def test_everything_can_be_written_on_one_line(document: Any) -> None:
    written = encoded(document)
    assert b"\n" not in written
    assert json.loads(written) is not None or document is None
