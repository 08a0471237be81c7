"""The API as unit tests call it: over a real store, with real credentials and sessions, and a journal in memory."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from tests.unit.control.browsing import ORIGIN, Answer, ask
from tests.unit.control.journal import Journal

from narrowgate.authenticators.access_credential import AccessSigner, Port
from narrowgate.authenticators.access_credentials import LONGEST_LIFE, AccessCredentials, Genuine
from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.credential import NewCredential, new_credential
from narrowgate.authenticators.first_match import FirstMatch
from narrowgate.authenticators.task_credential import NewTaskCredential, new_task_credential
from narrowgate.control.api import ApiParts, api_routes
from narrowgate.control.callers import CSRF_HEADER, Callers
from narrowgate.control.console_sessions import COOKIE, ConsoleSessions
from narrowgate.control.issuing import AccessIssuer
from narrowgate.control.recorder import Recorder
from narrowgate.control.settings import ControlSettings
from narrowgate.control.sign_in import Provider
from narrowgate.core.agent import AgentRecord
from narrowgate.core.cluster import UpstreamMode
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.policy_set import check_files
from narrowgate.core.roles import Role, RoleBinding
from narrowgate.core.rulebook import Rulebook, compile_policies
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.wanted import read_wanted
from narrowgate.recordings.folder import FolderStore
from narrowgate.store.open import open_store

SETTINGS = ControlSettings(
    url=ORIGIN,
    kubernetes_url="https://gate.example:8443",
    ca_pem="-----BEGIN CERTIFICATE-----\n",
    clusters=("dev", "prod"),
    sign_in_seconds=3600,
    access_seconds=600,
    remembered=frozenset({"dev"}),
)

BINDINGS = (
    RoleBinding(role=Role.ADMIN, groups=("admins",)),
    RoleBinding(role=Role.POLICY_AUTHOR, people=("paula",)),
    RoleBinding(role=Role.APPROVER, people=("ada",)),
    RoleBinding(role=Role.AUDITOR, people=("otto",)),
)

POLICY = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: look}
spec:
  subjects: [{kind: Person, name: mia}, {kind: ServiceAccount, name: ci/runner}]
  clusters: [dev]
  rules:
    - {id: look, effect: allow, verbs: [get], apiGroups: [""], resources: [pods], namespaces: ["*"]}
"""

OFFERED = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: offered}
spec:
  subjects: [{kind: Agent, name: hers}, {kind: Agent, name: theirs}, {kind: Group, name: workers}]
  clusters: [dev]
  rules:
    - {id: pods, effect: grantable, verbs: [get, list, watch], apiGroups: [""], resources: [pods], namespaces: [ci],
       maxDuration: 1h, approval: none}
    - {id: rollout, effect: grantable, verbs: [patch], apiGroups: [apps], resources: [deployments], namespaces: [ci],
       names: [web], maxDuration: 10m, approval: none}
    - {id: secrets, effect: grantable, verbs: [get], apiGroups: [""], resources: [secrets], namespaces: [ci],
       maxDuration: 5m, approval: {from: [{group: sre, count: 2}], within: 10m}}
"""

BREAK_GLASS = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: break-glass}
spec:
  subjects: [{kind: Group, name: on-call}, {kind: Agent, name: hers}]
  clusters: [dev]
  rules:
    - {id: web, effect: grantable, verbs: [get, patch], apiGroups: [apps], resources: [deployments], namespaces: [ci],
       maxDuration: 30m, approval: none, maxRequests: 100,
       emergency: {review: {from: [{group: leads, count: 1}], within: 24h}}}
"""


def person(name: str, *groups: str, proven_by: str = "oidc:corp") -> Identity:
    return Identity(
        kind=Kind.PERSON,
        name=name,
        groups=groups,
        proven_by=proven_by,
        credential=f"signin-{name}",
        expires_at=time.time() + 3000,
    )


ROOT = person("root", "admins")
PEOPLE = {
    "admin": ROOT,
    "policy-author": person("paula"),
    "approver": person("ada"),
    "auditor": person("otto"),
    "member": person("mia"),
    "owner": person("olga"),
    "group-owner": person("greta", "sre"),
}


class Api:
    """The API of a gate of its own, and everybody's way to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = open_store("", folder)
        (folder / "trail").mkdir()
        self.recordings = FolderStore(folder / "recordings")
        self.memory = Journal()
        key = Ed25519PrivateKey.generate()
        self._genuine = Genuine(key.public_key())
        self.issuer = AccessIssuer(AccessSigner(key), SETTINGS)
        self.sessions = ConsoleSessions(self.store, SETTINGS)
        self.recorder = Recorder(self.memory)
        files = [("look.yaml", POLICY), ("offered.yaml", OFFERED), ("emergency.yaml", BREAK_GLASS)]
        self._rulebook = compile_policies(check_files(files).policies, 1)
        callers = Callers(self.authenticator, self.sessions, self.store, BINDINGS, SETTINGS.url)
        self.parts = ApiParts(
            settings=SETTINGS,
            store=self.store,
            recorder=self.recorder,
            callers=callers,
            bindings=BINDINGS,
            rulebook=self.rulebook,
            modes={"dev": UpstreamMode.CREDENTIAL, "prod": UpstreamMode.IMPERSONATE},
            providers=(Provider(source="oidc:corp", title="Corp"),),
            trail=folder / "trail",
            recordings=self.recordings,
        )
        self.app = Starlette(routes=api_routes(self.parts))

    def put_in_force(self, rulebook: Rulebook) -> None:
        """Other policies from now on."""
        self._rulebook = rulebook

    def rulebook(self) -> Rulebook:
        """As the gate has it: only the event loop may ask (`State.current` takes the loop's time)."""
        asyncio.get_running_loop()
        return self._rulebook

    def authenticator(self) -> FirstMatch:
        agents = self.store.agents()
        ended = self.store.sign_ins.ended_since(time.time() - LONGEST_LIFE)
        return FirstMatch([AgentCredentials.of(agents), AccessCredentials(self._genuine, Port.CONTROL, ended, agents)])

    # --- who calls ---

    def bearer(self, who: Identity, port: Port = Port.CONTROL, cluster: str = "") -> str:
        """An access credential of theirs."""
        return self.issuer.for_identity(who, port, cluster, time.time()).text

    def cookie(self, who: Identity) -> tuple[str, str]:
        """A console session of theirs: its cookie and its CSRF token."""
        response = Response()
        request = Request({"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""})
        sign_in = asyncio.run(self.sessions.start(request, who, response))
        value = response.headers["set-cookie"].split(";")[0].partition("=")[2]
        return f"{COOKIE}={value}", self.sessions.csrf_token(sign_in)

    def agent(self, name: str, **other: Any) -> NewCredential:
        """A registered agent, and its credential."""
        made = new_credential()
        now = time.time()
        told: dict[str, Any] = {
            "name": name,
            "owner": "person:olga",
            "purpose": "tests",
            "cluster": "dev",
            "credential_id": made.id,
            "credential_hash": made.hash,
            "created_at": now,
            "expires_at": now + 3600,
        }
        self.store.add_agent(msgspec.convert(told | other, AgentRecord), by="local:test", at=now)
        return made

    def task(self, agent: str, **other: Any) -> NewTaskCredential:
        """An active task of that agent, which began just now, and its credential."""
        made = new_task_credential()
        now = time.time()
        told: dict[str, Any] = {
            "id": made.task,
            "kind": Kind.AGENT,
            "name": agent,
            "requested_by": f"agent:{agent}",
            "cluster": "dev",
            "purpose": "tests",
            "rules": (read_wanted("get,list pods -n ci", 1), read_wanted("patch deployments.apps/web -n ci", 2)),
            "credential_id": made.task,
            "credential_hash": made.hash,
            "seconds": 600.0,
            "requested_at": now,
            "lapses_at": now + 1,
            "state": TaskState.ACTIVE,
            "began_at": now,
            "ends_at": now + 600,
        }
        self.store.tasks.add(Task(**(told | other)), by="local:test", at=now)
        return made

    # --- calls ---

    def call(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        who: Identity | str | None = ROOT,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One call of `who`: an identity by access credential, a bearer text, or nobody. Bodies but bytes are JSON."""
        return asyncio.run(self.called(method, target, body, who=who, headers=headers))

    async def called(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        who: Identity | str | None = ROOT,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The same inside a running event loop."""
        fields = {"host": "gate.example:8444"}
        if who is not None:
            fields["authorization"] = f"Bearer {who if isinstance(who, str) else self.bearer(who)}"
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if content:
            fields["content-type"] = "application/json"
        fields |= {name.lower(): value for name, value in (headers or {}).items()}
        path, _, query = (target if target.startswith(("/api", "/.well")) else f"/api/v1{target}").partition("?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "https",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in fields.items() if value],
            "client": ("192.0.2.7", 40000),
            "server": ("127.0.0.1", 8444),
        }
        return await ask(self.app, scope, content, chunk=4096)

    def by_cookie(self, who: Identity, method: str, target: str, body: object = None, **headers: str) -> Answer:
        """One call out of a console session, as a page of ours would send it; headers given replace a browser's."""
        cookie, token = self.cookie(who)
        usual = {"cookie": cookie, "origin": ORIGIN, "sec-fetch-site": "same-origin", CSRF_HEADER: token}
        given = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call(method, target, body, who=None, headers=given)

    def entries(self) -> list[dict[str, Any]]:
        return [entry for entry, _ in self.memory.entries]


def document(answer: Answer) -> Any:
    """The JSON of an answer."""
    return json.loads(answer.text)


def detail(answer: Answer) -> str:
    """The sentence of a problem document; fails where the answer is none."""
    assert answer.header("content-type") == "application/problem+json", answer.text
    found = json.loads(answer.text)
    assert found["status"] == answer.status
    assert found["instance"].startswith("tag:narrowgate.dev,2026:audit:control-")
    return str(found["detail"])
