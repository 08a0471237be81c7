"""Questions that wait for people, and the sign-ins of whoever answers them, for tests of the API."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from tests.unit.control.api.calling import Api

from narrowgate.authenticators.access_credential import Port
from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, Matter, Said, Voice
from narrowgate.core.decision import RuleRef
from narrowgate.core.identity import Kind
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.core.tasks import Task
from narrowgate.core.wanted import read_wanted

ABOUT = Matter(
    asked_by="agent:bot",
    chain=("person:zoe", "agent:bot"),
    owner="person:olga",
    cluster="dev",
    verb="delete",
    resource="secrets",
    namespace="ci",
    name="deploy-key",
    path="/api/v1/namespaces/ci/secrets/deploy-key",
    audit_id="w-1",
)


def signed_in(api: Api, name: str, *groups: str, number: int = 0, **other: Any) -> SignIn:
    """A sign-in of the command line; the access credentials of `person(name)` rest on the first."""
    now = time.time()
    made = SignIn(
        id=f"signin-{name}" + (f"-{number}" if number else ""),
        person=name,
        groups=groups,
        source="oidc:corp",
        client=Client.CLI,
        secret_hash=f"{name}-{number}".encode(),
        renewed_at=now,
        created_at=now - 100 + number,
        expires_at=now + 600,
    )
    made = msgspec.structs.replace(made, **other)
    api.store.sign_ins.add(made, by=f"person:{name}", at=now)
    return made


def asked(api: Api, *approvers: tuple[str, int], **other: Any) -> ApprovalQuestion:
    """A question of bot's, whom olga answers for, about one request."""
    now = time.time()
    made = ApprovalQuestion(
        id="q1",
        asks=(Approval(tuple(Approvers(group, count) for group, count in approvers or (("sre", 2),)), 600.0),),
        rules=(RuleRef("ci", "secrets-on-request"),),
        digest="d" * 64,
        credential="c1",
        about=ABOUT,
        excluded=("olga", "zoe"),
        asked_at=now,
        lapses_at=now + 600,
    )
    made = msgspec.structs.replace(made, **other)
    api.store.approvals.add(made, by="agent:bot", at=now)
    return made


def bearer_of(api: Api, sign_in: SignIn) -> str:
    """An access credential of that sign-in."""
    return api.issuer.for_sign_in(sign_in, Port.CONTROL, "", time.time()).text


def waiting_and_approved(api: Api, task: str) -> str:
    """A task of the agent worker's, which ada (in sre) has said yes to; the agent's credential."""
    bearer = api.agent("worker", groups=("workers",)).text
    signed_in(api, "ada-of-sre", "sre")
    signed_in(api, "ben-of-sre", "sre")
    now = time.time()
    wanted = Task(
        id=task,
        kind=Kind.AGENT,
        name="worker",
        requested_by="agent:worker",
        cluster="dev",
        purpose="look",
        rules=(read_wanted("get secrets -n ci", 1),),
        seconds=60.0,
        requested_at=now,
        lapses_at=now + 600,
    )
    api.store.tasks.add(wanted, by="agent:worker", at=now)
    asked(
        api,
        id=task,
        task=task,
        digest="",
        credential="",
        about=Matter(asked_by="agent:worker", chain=("agent:worker",), owner="person:olga"),
        state=ApprovalState.APPROVED,
        said=tuple(Said(person=f"{name}-of-sre", voice=Voice.YES, at=now) for name in ("ada", "ben")),
    )
    return bearer
