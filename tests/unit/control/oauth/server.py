"""An authorization server for unit tests: real store, real keys, a journal in memory, a clock that a test moves.

Here also is what stands around it: browsers of people who are signed in, a program on a loopback port, an issuer whose
tokens the gate takes, an agent with a key.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from tests.unit.control.browsing import FORM, ORIGIN, Answer, Browsing
from tests.unit.control.journal import Journal

from narrowgate.authenticators.access_credential import AccessSigner, Port
from narrowgate.authenticators.access_credentials import AccessCredentials, Genuine
from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.base64url import to_base64url
from narrowgate.authenticators.first_match import FirstMatch
from narrowgate.authenticators.issuer_keys import IssuerKeys, ProviderMetadata
from narrowgate.authenticators.jwks import KeySet
from narrowgate.authenticators.jwt_issuer import ClaimMapping, JWTIssuer
from narrowgate.authenticators.jwt_issuers import JWTIssuers
from narrowgate.authenticators.key_assertion import thumbprint
from narrowgate.authenticators.port import Answer as Answered
from narrowgate.authenticators.port import Authenticator, Presented
from narrowgate.authenticators.token_verifier import TokenVerifier
from narrowgate.control.console_sessions import COOKIE, ConsoleSessions, hash_of, new_session_secret
from narrowgate.control.issuing import AccessIssuer, new_id
from narrowgate.control.oauth import OAuthParts, Subjects, oauth_routes
from narrowgate.control.oauth.addresses import CLIENT_ID
from narrowgate.control.pages import Pages
from narrowgate.control.recorder import Recorder
from narrowgate.control.settings import ControlSettings
from narrowgate.core.agent import AgentKey, AgentRecord
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.open import open_store

URL = ORIGIN
CLUSTER = f"{URL}/clusters/dev"
REDIRECT = "http://127.0.0.1:40123/callback"
VERIFIER = "a-verifier-of-forty-three-letters-or-more-0123"
CHALLENGE = "ZbxGl2uGL2unKwJ5JtPErvlgZ4H6_X9RodabtH_54WE"
ISSUER = "https://127.0.0.1:9"
"""Nobody listens there: whoever needs newer keys than those that are held hears so at once."""
AGENT_ISSUER = f"{ISSUER}/agents"
LIFE = 3600.0
ACCESS = 600.0

SETTINGS = ControlSettings(
    url=URL,
    kubernetes_url="https://gate.example:8443",
    ca_pem="-----BEGIN CERTIFICATE-----\n",
    clusters=("dev", "prod"),
    sign_in_seconds=LIFE,
    access_seconds=ACCESS,
)
GRANTS = {
    "code": "authorization_code",
    "device": "urn:ietf:params:oauth:grant-type:device_code",
    "refresh": "refresh_token",
    "exchange": "urn:ietf:params:oauth:grant-type:token-exchange",
    "key": "client_credentials",
}


class OpensNothingFailure(AssertionError):
    """A credential does not do what it was given for."""


@dataclass
class Server:
    """See the top of this file."""

    folder: Path
    now: float = field(default_factory=time.time)
    journal: Journal = field(default_factory=Journal)
    agents: dict[str, AgentRecord] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store = open_store(f"sqlite:{self.folder}/gate.db", self.folder)
        self.access_key = Ed25519PrivateKey.generate()
        self.issuer_key = ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})
        self.app = self.new_app()

    def new_app(self) -> Starlette:
        """The server as it is after a restart, or as another process has it: nothing but the store is the same."""
        parts = OAuthParts(
            settings=SETTINGS,
            store=self.store,
            issuer=AccessIssuer(AccessSigner(self.access_key), SETTINGS),
            recorder=Recorder(self.journal),
            sessions=ConsoleSessions(self.store, SETTINGS),
            pages=Pages(),
            subjects=Subjects(authenticator=lambda: self.authenticator(Port.CONTROL), agents=lambda: self.agents),
            clock=lambda: self.now,
        )
        return Starlette(routes=oauth_routes(parts))

    def authenticator(self, port: Port) -> Authenticator:
        """Who is believed at a port now."""
        agents = tuple(self.agents.values())
        genuine = Genuine(self.access_key.public_key())
        ours = [AgentCredentials.of(agents), AccessCredentials(genuine, port, self.ended, agents)]
        return FirstMatch([*ours, JWTIssuers(self.verifiers, agents)])

    def presented(self, bearer: str, port: Port = Port.CONTROL) -> Answered:
        """What a port says to this credential now."""
        return asyncio.run(self.authenticator(port).authenticate(Presented(bearer=bearer), self.now))

    def opened(self, answer: Answer, port: Port = Port.CONTROL) -> Identity:
        """Whom the access credential in an answer stands for."""
        found = self.presented(json.loads(answer.text)["access_token"], port)
        if not isinstance(found, Identity):
            raise OpensNothingFailure(f"the credential opens nothing: {found}")
        return found

    # --- people ---

    def browser(self, person: str = "alice", *, life: float = LIFE, address: str = "192.0.2.7") -> Browsing:
        """The browser of somebody who is signed in to the console."""
        secret = new_session_secret()
        sign_in = SignIn(
            id=new_id(),
            person=person,
            groups=("sre",),
            source="oidc:corp",
            claims=(("issuer", "https://idp"),),
            client=Client.CONSOLE,
            secret_hash=hash_of(secret),
            renewed_at=self.now,
            created_at=self.now,
            expires_at=self.now + life,
        )
        self.store.sign_ins.add(sign_in, by=f"person:{person}", at=self.now)
        return Browsing(self.app, {COOKIE: secret}, address)

    def console_of(self, browser: Browsing) -> SignIn:
        return self.store.sign_ins.by_secret(hash_of(browser.cookies[COOKIE]))

    def code_for(self, browser: Browsing, **changed: str) -> str:
        """An authorization code, by way of the page and its form."""
        return redirected(self.said_yes(browser, **changed))["code"]

    def said_yes(self, browser: Browsing, **changed: str) -> Answer:
        page = browser.get(authorize_target(**changed))
        form = {**authorization(**changed), "csrf_token": page.csrf_token(), "decision": "allow"}
        return browser.post("/oauth/authorize", form)

    def signed_in(self, browser: Browsing | None = None) -> dict[str, Any]:
        """The members of the answer to a whole sign-in with the command line."""
        return members(self.redeem(self.code_for(browser or self.browser())))

    # --- programs ---

    def post(self, path: str, form: Mapping[str, str], *, address: str = "192.0.2.9", agent: str = "cli/1") -> Answer:
        return self.raw(path, urlencode(form).encode(), address=address, headers={"user-agent": agent})

    def raw(
        self, path: str, body: bytes, *, address: str = "192.0.2.9", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """What a program posts: no cookie, no Origin."""
        program = Browsing(self.app, address=address)
        return asyncio.run(program.sent("POST", path, body, {"content-type": FORM, **(headers or {})}))

    def token(self, grant: str, form: Mapping[str, str] | None = None, /, **fields: str) -> Answer:
        """A call to the token endpoint; `client_id` is there unless it is set to something else."""
        usual = {"grant_type": GRANTS.get(grant, grant), "client_id": CLIENT_ID}
        if grant in ("exchange", "key"):
            del usual["client_id"]
        return self.post("/oauth/token", {**usual, **(form or {}), **fields})

    def redeem(self, code: str, /, **fields: str) -> Answer:
        return self.token("code", {"code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER, **fields})

    def refresh(self, secret: str, /, **fields: str) -> Answer:
        return self.token("refresh", {"refresh_token": secret, **fields})

    def device(self, **fields: str) -> dict[str, Any]:
        return members(self.post("/oauth/device_authorization", {"client_id": CLIENT_ID, **fields}))

    def poll(self, device_code: str, /, **fields: str) -> Answer:
        """A poll five seconds after the last one."""
        self.now += 5
        return self.token("device", {"device_code": device_code, **fields})

    def answer_device(self, browser: Browsing, user_code: str, decision: str = "allow") -> Answer:
        page = browser.get(f"/device?user_code={user_code}")
        form = {"user_code": user_code, "decision": decision, "csrf_token": page.csrf_token()}
        return browser.post("/device", form)

    # --- workloads ---

    @functools.cached_property
    def verifiers(self) -> list[TokenVerifier]:
        """Of an issuer whose tokens stand for people, and of one whose tokens stand for agents."""
        people = JWTIssuer(
            url=ISSUER,
            audiences=(URL,),
            username=ClaimMapping(claim="sub", prefix="ci:"),
            groups=ClaimMapping(claim="groups", prefix="ci:"),
            algorithms=("ES256",),
        )
        agents = JWTIssuer(
            url=AGENT_ISSUER,
            audiences=(URL,),
            username=ClaimMapping(claim="sub"),
            subject=Kind.AGENT,
            algorithms=("ES256",),
        )
        return [self._holding_keys(issuer) for issuer in (people, agents)]

    def _holding_keys(self, issuer: JWTIssuer) -> TokenVerifier:
        keys = IssuerKeys(issuer)
        document = json.dumps({"keys": [self.issuer_key.as_dict(private=False)]}).encode()
        keys.hold(ProviderMetadata(issuer=issuer.url, jwks_uri=f"{issuer.url}/keys"), KeySet.of(document))
        return TokenVerifier(issuer, keys)

    def forget_keys(self) -> None:
        """As after a restart while the issuers are away."""
        self.verifiers = [TokenVerifier(one.issuer, IssuerKeys(one.issuer)) for one in self.verifiers]

    def id_token(self, **changed: Any) -> str:
        claims = {"iss": ISSUER, "sub": "erin", "aud": URL, "exp": int(self.now) + 300, "iat": int(self.now)}
        return jwt.encode({"alg": "ES256", "kid": "one"}, {**claims, **changed}, self.issuer_key, algorithms=["ES256"])

    def exchange(self, token: str, /, **fields: str) -> Answer:
        usual = {"subject_token": token, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
        return self.token("exchange", {**usual, **fields})

    def key_agent(self, name: str = "ci-bot", **changed: Any) -> Ed25519PrivateKey:
        """Register an agent with a key."""
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw()
        usual: dict[str, Any] = {
            "name": name,
            "owner": "person:alice",
            "purpose": "test",
            "cluster": "dev",
            "credential_id": "",
            "credential_hash": b"",
            "created_at": self.now - 60,
            "expires_at": self.now + LIFE,
            "groups": ("bots",),
            "keys": (AgentKey(id=thumbprint(public), public=public, added_at=0.0),),
        }
        self.agents[name] = AgentRecord(**{**usual, **changed})
        return key

    def assertion(self, key: Ed25519PrivateKey, name: str = "ci-bot", **changed: Any) -> str:
        header = {"alg": "EdDSA", "typ": "JWT", "kid": thumbprint(key.public_key().public_bytes_raw())}
        claims = {"iss": name, "sub": name, "aud": URL, "iat": self.now, "exp": self.now + 60, "jti": new_id()}
        parts = [to_base64url(json.dumps(part).encode()) for part in (header, {**claims, **changed})]
        signed = ".".join(parts)
        return f"{signed}.{to_base64url(key.sign(signed.encode()))}"

    def with_key(self, assertion: str, /, **fields: str) -> Answer:
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return self.token("key", {"client_assertion_type": kind, "client_assertion": assertion, **fields})

    # --- the record ---

    def recorded(self) -> list[tuple[str, str, str, int]]:
        """Stage, resource, decision and status of each entry."""
        return [
            (
                entry["stage"],
                entry.get("objectRef", {}).get("resource", ""),
                entry["annotations"].get("narrowgate.dev/decision", ""),
                entry.get("responseStatus", {}).get("code", 0),
            )
            for entry, _ in self.journal.entries
        ]


def authorization(**changed: str) -> dict[str, str]:
    """The parameters of a good authorization request; an empty one is left out."""
    usual = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "the-state",
    }
    return {name: value for name, value in {**usual, **changed}.items() if value}


def authorize_target(**changed: str) -> str:
    return f"/oauth/authorize?{urlencode(authorization(**changed))}"


def members(answer: Answer) -> dict[str, Any]:
    """The JSON members of a good answer."""
    if answer.status != 200:
        raise AssertionError(f"{answer.status}: {answer.text}")
    found: dict[str, Any] = json.loads(answer.text)
    return found


def error(answer: Answer) -> str:
    """The error code of a refusal, which must have all that a refusal has."""
    document = json.loads(answer.text)
    if not (answer.status >= 400 and document["error_description"] and answer.header("cache-control") == "no-store"):
        raise AssertionError(f"not a refusal as RFC 6749, section 5.2, has it: {answer}")
    found: str = document["error"]
    return found


def redirected(answer: Answer) -> dict[str, str]:
    """The parameters of the address that an answer leads to, by a redirect or by our page that leads on."""
    url = answer.location
    if not url and answer.status == 200:
        url = answer.text.partition('href="http')[2].partition('"')[0]
        url = f"http{url}".replace("&amp;", "&")
    return dict(parse_qsl(urlsplit(url).query))
