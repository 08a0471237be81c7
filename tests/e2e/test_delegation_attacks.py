"""What delegates, and whoever holds their credentials, try so that they have more than was delegated, or longer.

Raw calls of the token endpoint, of the API and of the cluster, as programs make them that are no clients of ours.
"""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from tests.e2e.api_caller import by_token
from tests.e2e.gate import Cluster, Gate
from tests.e2e.signing_in import authority_of
from tests.e2e.tasks import credential_of, grantable
from tests.e2e.test_delegation import Lead

from narrowgate.core.task_fields import MOST_ACTIVE

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
TOKEN_SECONDS = 120.0
ASKED = 8
"""Connections by which two processes are met, but for once in a hundred times; each of them learns by itself."""


@pytest.fixture(scope="module")
def exchanging_gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("exchange"), [entry], settings={"workers": 2})
    gate.write_policy("nobody", [{"kind": "Agent", "name": "nobody"}], [grantable("none", "get", "pods", "none")])
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture
def lead(exchanging_gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path, marker: str) -> Lead:
    return Lead(exchanging_gate, cluster, f"head-{marker[-12:]}", namespace, tmp_path)


@pytest.fixture(scope="module")
def refused_lead(
    exchanging_gate: Gate, cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory, run_id: str
) -> Lead:
    """One whose attempts all come to nothing, so that nothing is left of them."""
    return Lead(exchanging_gate, cluster, f"refused-{run_id}", namespace, tmp_path_factory.mktemp("refused"))


@pytest.fixture(scope="module")
def refused_delegate(refused_lead: Lead) -> str:
    return delegated(refused_lead, root_of(refused_lead))


class Exchanged(NamedTuple):
    status: int
    document: dict[str, Any]

    @property
    def token(self) -> str:
        return str(self.document["access_token"])


def exchange(lead: Lead, token: str, **parameters: str) -> Exchanged:
    """One call of the token endpoint; a parameter that is empty is left out."""
    usual = {
        "grant_type": EXCHANGE,
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
        "scope": f"get:pods@{lead.namespace}",
        "narrowgate_name": "helper",
        "narrowgate_purpose": "count",
    }
    sent = urlencode({key: value for key, value in {**usual, **parameters}.items() if value})
    return _posted(lead.gate, sent)


def _posted(gate: Gate, form: str) -> Exchanged:
    context = ssl.create_default_context(cafile=str(authority_of(gate)))
    # From another address each time: whoever is refused too often at one is told to wait, whatever is asked.
    source = ".".join(["127", *(str(secrets.randbelow(250) + 2) for _ in range(3))])
    connection = http.client.HTTPSConnection(
        "127.0.0.1", gate.control_port, timeout=TOKEN_SECONDS, context=context, source_address=(source, 0)
    )
    try:
        connection.request("POST", "/oauth/token", form, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        return Exchanged(answer.status, json.loads(answer.read()))
    finally:
        connection.close()


def root_of(lead: Lead) -> str:
    return credential_of(lead.file)


def reads(lead: Lead, token: str, thing: str = "pods/clock") -> int:
    path = f"/api/v1/namespaces/{lead.namespace}/{thing}"
    return lead.agent.agent.request("GET", path, {"Authorization": f"Bearer {token}"}).status


def delegated(lead: Lead, token: str, **parameters: str) -> str:
    """The token of a delegate, once every process of the gate knows it."""
    made = exchange(lead, token, **parameters)
    assert made.status == 200, made.document
    known_everywhere(lead, {made.token: 403}, "none/x")
    return made.token


def known_everywhere(lead: Lead, expected: Mapping[str, int], thing: str = "pods/clock") -> None:
    """Wait until what each token opens is so at every process: each connection comes to any of them."""

    def is_so() -> bool:
        return all(reads(lead, token, thing) == status for _ in range(ASKED) for token, status in expected.items())

    lead.gate.wait_until(is_so, "every process knows it")


WIDER: Mapping[str, Mapping[str, str]] = {
    "another verb": {"scope": "delete:pods@{ns}"},
    "every verb": {"scope": "*:pods@{ns}"},
    "another resource": {"scope": "get:secrets@{ns}"},
    "every resource": {"scope": "get:*@{ns}"},
    "a subresource": {"scope": "get:pods/exec@{ns}"},
    "every subresource": {"scope": "get:pods/*@{ns}"},
    "another group": {"scope": "get:pods.apps@{ns}"},
    "every group": {"scope": "get:pods.*@{ns}"},
    "another namespace": {"scope": "get:pods@kube-system"},
    "one namespace more": {"scope": "get:pods@{ns},kube-system"},
    "every namespace": {"scope": "get:pods@*"},
    "no namespace": {"scope": "get:pods"},
    "namespaces that begin so": {"scope": "get:pods@{ns}*"},
    "another among its own": {"scope": "get:pods@{ns} get:secrets@{ns}"},
    "another cased": {"scope": "GET:Pods@{ns}"},
    "a letter that looks like one": {"scope": "get:p\u043eds@{ns}"},
    "an option within": {"scope": "get:pods@{ns}\t-n\tkube-system"},
    "an option in the resource": {"scope": "get:pods\u00a0-n\u00a0kube-system@{ns}"},
    "a path": {"scope": "get:/metrics"},
    "details and a scope": {"authorization_details": "[]"},
    "another cluster": {"audience": "prod"},
    "another gate's cluster": {"resource": "https://gate.example.com/clusters/dev"},
    "a token for an audience": {"requested_token_type": "urn:ietf:params:oauth:token-type:jwt"},
    "a token of another sort": {"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"},
    "an actor": {"actor_token": "ngt1_x", "actor_token_type": ACCESS_TOKEN},
    "another program": {"client_id": "other"},
}


@pytest.mark.parametrize("how", WIDER)
def test_an_exchange_gives_no_more_than_the_subject_has(refused_lead: Lead, refused_delegate: str, how: str) -> None:
    wanted = {key: value.replace("{ns}", refused_lead.namespace) for key, value in WIDER[how].items()}
    for subject in (root_of(refused_lead), refused_delegate):
        refused = exchange(refused_lead, subject, narrowgate_name="more", **wanted)
        assert refused.status in (400, 401), refused
        assert "access_token" not in refused.document


NAMES = (
    "Helper", "HELPER", "helper/x", "../helper", "helper.", "-helper", "helper-", "hel per", "helper\n", "\nhelper",
    "h\u0435lper", "helper\x00", "a" * 64,
    "%2e%2e", "*", "\uff48elper", "helper\u200b", "\u0131", "helper@x", "agent:x",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_delegate_is_called_what_can_be_read_in_one_way(refused_lead: Lead, name: str) -> None:
    refused = exchange(refused_lead, root_of(refused_lead), narrowgate_name=name)
    assert (refused.status, refused.document["error"]) == (400, "invalid_request"), refused.document


TIMES = (
    "0", "0s", "-1s", "-10m", "10", "1e3s", "inf", "nan", "10m ", " 10m", "10m\n", "\u0661\u0660m", "1.5h", "0x10s",
    "9999999999d",
)  # fmt: skip


@pytest.mark.parametrize("time", TIMES)
def test_a_time_is_read_in_one_way(refused_lead: Lead, time: str) -> None:
    refused = exchange(refused_lead, root_of(refused_lead), narrowgate_for=time)
    assert (refused.status, refused.document["error"]) == (400, "invalid_request"), refused.document


def test_no_delegate_outlasts_its_root_however_long_it_asks(lead: Lead) -> None:
    long = exchange(lead, root_of(lead), narrowgate_for="999999999d")
    assert long.status == 200, long.document
    deeper = exchange(lead, long.token, narrowgate_for="999999999d")
    root = lead.agent.document("tasks", "show", lead.task["id"])
    for one in (long, deeper):
        task = lead.agent.document("tasks", "show", one.document["narrowgate_task"])
        assert task["endsAt"] <= root["endsAt"]


def test_whoever_repeats_an_exchange_gets_nothing_twice(lead: Lead) -> None:
    with ThreadPoolExecutor(8) as pool:
        racing = [pool.submit(exchange, lead, root_of(lead)) for _ in range(8)]
        answers = [one.result() for one in racing]
    assert sorted(one.status for one in answers) == [200, *[400] * 7]
    # Once it is over, the name is free, and what was given under it before stays over.
    first = next(one for one in answers if one.status == 200)
    assert (
        by_token(lead.gate, first.token)("POST", f"/tasks/{first.document['narrowgate_task']}/complete").status == 200
    )
    again = delegated(lead, root_of(lead))
    assert again != first.token
    known_everywhere(lead, {again: 200, first.token: 401})
    over = exchange(lead, first.token, narrowgate_name="late")
    assert (over.status, over.document["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("subject", ["nearly", "another gate's", "standing", "kubernetes", "empty", "twice"])
def test_what_is_no_tasks_credential_is_exchanged_for_nothing(refused_lead: Lead, subject: str) -> None:
    root = root_of(refused_lead)
    tokens = {
        "nearly": root[:-1] + ("A" if root[-1] != "A" else "B"),
        "another gate's": "ngt1_abcdefghij_" + "A" * 32,
        "standing": refused_lead.agent.agent.token,
        "kubernetes": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06bWFzdGVycyJ9.",
        "empty": " ",
        "twice": f"{root} {root}",
    }
    refused = exchange(refused_lead, tokens[subject])
    assert refused.status in (400, 401), refused.document
    assert "access_token" not in refused.document


def test_a_parameter_twice_is_a_request_that_nobody_makes(refused_lead: Lead) -> None:
    for twice in ("subject_token", "scope", "narrowgate_name", "narrowgate_for"):
        one = {"grant_type": EXCHANGE, "subject_token": root_of(refused_lead), "subject_token_type": ACCESS_TOKEN,
               "scope": f"get:pods@{refused_lead.namespace}", "narrowgate_name": "helper", "narrowgate_purpose": "x",
               "narrowgate_for": "1m"}  # fmt: skip
        refused = _posted(refused_lead.gate, urlencode([*one.items(), (twice, one[twice])]))
        assert (refused.status, refused.document["error"]) == (400, "invalid_request")


def test_at_the_gates_own_api_a_delegate_reaches_nobody_above_or_beside_it(lead: Lead) -> None:
    token = delegated(lead, root_of(lead))
    beside = exchange(lead, root_of(lead), narrowgate_name="beside")
    call, mine = by_token(lead.gate, token), lead.agent.agent.name
    below = exchange(lead, token, narrowgate_name="below")
    for task in (lead.task["id"], beside.document["narrowgate_task"]):
        for method, action, body in (
            ("GET", "", None),
            ("GET", "/tree", None),
            ("POST", "/complete", None),
            ("POST", "/revoke", {"reason": "x"}),
            ("POST", "/narrow", {"allow": [f"get pods -n {lead.namespace}"]}),
            ("POST", "/collect", None),
            ("POST", "/delegate", {"name": "x", "purpose": "x", "allow": [f"get pods -n {lead.namespace}"]}),
        ):
            assert call(method, f"/tasks/{task}{action}", body).status in (400, 403, 404), (method, action)
    for method, path, body in (
        ("POST", "/tasks", {"cluster": "dev", "purpose": "x", "allow": [f"get pods -n {lead.namespace}"]}),
        ("POST", "/tasks/check", {"cluster": "dev", "purpose": "x", "allow": [f"get pods -n {lead.namespace}"]}),
        ("POST", f"/agents/{mine}/rotate", {}),
        ("POST", f"/agents/{mine}%2Fhelper/rotate", {}),
        ("POST", f"/agents/{mine}/pause", {}),
        ("DELETE", f"/agents/{mine}", None),
        ("GET", f"/agents/{mine}", None),
        ("POST", "/agents", {"name": "x", "cluster": "dev"}),
        ("GET", "/agents", None),
        ("GET", "/policies", None),
        ("GET", "/records", None),
        ("GET", "/sign-ins", None),
    ):
        assert call(method, path, body).status in (400, 403, 404, 415, 422), (method, path)
    listed = call("GET", "/tasks")
    known = {one["id"] for one in listed.document["items"]} if listed.status == 200 else set()
    assert not known & {lead.task["id"], beside.document["narrowgate_task"]}
    # What it delegated itself is its own to end.
    ended = call("POST", f"/tasks/{below.document['narrowgate_task']}/complete")
    assert ended.status == 200, ended.document
    known_everywhere(lead, dict.fromkeys((root_of(lead), token, beside.token), 200))


def test_of_more_delegations_at_once_than_an_agent_may_have_no_more_begin(lead: Lead) -> None:
    def one(number: int) -> int:
        return exchange(lead, root_of(lead), narrowgate_name=f"many-{number}").status

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(MOST_ACTIVE + 8)))
    # The root's own task counts.
    assert answers.count(200) == MOST_ACTIVE - 1
    assert set(answers) == {200, 400}
    active = [each for each in lead.agent.document("tasks", "list") if each["state"] == "active"]
    assert len(active) <= MOST_ACTIVE


def test_exchanges_that_race_with_the_end_leave_nobody_with_access(lead: Lead) -> None:
    first = delegated(lead, root_of(lead))

    def one(number: int) -> Exchanged:
        return exchange(lead, (root_of(lead), first)[number % 2], narrowgate_name=f"late-{number}")

    with ThreadPoolExecutor(6) as pool:
        racing = [pool.submit(one, number) for number in range(24)]
        ended = by_token(lead.gate, root_of(lead))("POST", f"/tasks/{lead.task['id']}/complete")
        answers = [each.result() for each in racing]
    assert ended.status == 200
    tokens = [first, *(each.token for each in answers if each.status == 200)]
    lead.gate.wait_until(
        lambda: all(reads(lead, token) == 401 for token in tokens), "nobody's credential opens anything any more"
    )
    assert all(exchange(lead, token, narrowgate_name="again").status == 400 for token in tokens)
