"""Nobody becomes more by calling the API: whatever those who are no admins send, in whatever order."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.control.api.calling import PEOPLE, Api

from narrowgate.control.api.table import CALLS
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind

EXAMPLES = 30
"""Each is a gate of its own and up to twelve calls: a tenth of a second."""

WORDS = (
    "hers",
    "theirs",
    "bot",
    "olga",
    "greta",
    "root",
    "admin",
    "admins",
    "sre",
    "auditor",
    "dev",
    "prod",
    "1",
    "365d",
    "",
)
KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
FIELDS = (
    "name", "owner", "purpose", "cluster", "groups", "labels", "endsAt", "lifetime", "keys", "certificateNames", "role",
    "roles", "person", "paused", "credential", "because", "expiresAt", "admin", "keepOldFor",
)  # fmt: skip

values = st.one_of(
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), max_size=2),
    st.dictionaries(st.sampled_from(WORDS), st.sampled_from(WORDS), max_size=2),
    st.sampled_from([None, True, 0, 1e300, "person:olga", "group:admins", "2999-01-01T00:00:00Z", "cn:root", [KEY]]),
)
bodies = st.one_of(st.none(), st.just(KEY), st.dictionaries(st.sampled_from(FIELDS), values, max_size=5))
headers = st.dictionaries(
    st.sampled_from(["X-HTTP-Method-Override", "Impersonate-User", "X-Remote-User", "If-Match", "Idempotency-Key"]),
    st.sampled_from(["PATCH", "root", '"abc"', "k"]),
    max_size=2,
)
callers = st.sampled_from(
    ["member", "approver", "policy-author", "auditor", "owner", "group-owner", "agent", "workload"]
)
calls = st.tuples(
    callers,
    st.sampled_from(CALLS),
    st.dictionaries(st.sampled_from(("a", "b")), st.sampled_from(WORDS)),
    bodies,
    headers,
)

WORKLOAD = Identity(kind=Kind.WORKLOAD, name="ci/runner", groups=("sre", "admins"), proven_by="sa:dev", credential="w")


def target(path: str, words: Mapping[str, str]) -> str:
    first, second = words.get("a") or "hers", words.get("b") or "theirs"
    filled = path.replace("{name}", first).replace("{role}", first).replace("{person:path}", second)
    return filled.replace("{key}", second).replace("{id}", first).replace("{number}", first)


def strength(agent: AgentRecord) -> tuple[object, ...]:
    """Everything that makes an agent more; the ends of its credential and of itself are looked at apart."""
    return agent.owner, agent.purpose, agent.cluster, agent.groups, agent.labels, agent.keys, agent.certificate_names


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(calls, min_size=1, max_size=12))
def test_whatever_others_than_admins_send_nobody_and_nothing_becomes_more(sent: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        api = Api(Path(folder))
        with closing(api.store):
            api.agent("hers", ends_at=time.time() + 5000)
            agent = api.agent("theirs", owner="group:sre", groups=("sre", "admins")).text
            proofs: dict[str, Identity | str] = {**PEOPLE, "agent": agent, "workload": WORKLOAD}
            before = {one.name: one for one in api.store.agents()}
            for who, call, words, body, named in sent:
                answer = api.call(call.method, target(call.path, words), body, who=proofs[who], headers=named)
                assert answer.status < 500, answer.text
            after = {one.name: one for one in api.store.agents()}
            assert set(after) <= set(before)
            for name, one in after.items():
                assert strength(one) == strength(before[name])
                assert one.ends_at == before[name].ends_at
                assert one.expires_at <= before[name].expires_at
                assert bool(one.credential_id) == bool(before[name].credential_id)
            assert api.store.roles.listed() == ()
            assert api.store.revisions() == ()
