"""Access credentials for agents that sign with a registered key (`private_key_jwt`, RFC 7523)."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from narrowgate.authenticators.key_assertion import (
    CLOCK_SKEW,
    KeyAssertion,
    KeyAssertionRefused,
    read_key_assertion,
)
from narrowgate.control.issuing import AccessIssuer
from narrowgate.control.oauth.addresses import ASSERTION_JWT, TOKEN_PATH
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.parameters import Parameters, check_no_scope, required
from narrowgate.control.oauth.parts import Subjects
from narrowgate.control.oauth.targets import issue_for_identity, target_of, token_answer
from narrowgate.control.oauth.work import Call, Work
from narrowgate.core.agent import AgentRecord
from narrowgate.core.audit import ActsOn
from narrowgate.core.identity import Identity, Kind
from narrowgate.store.port import Once, Store

PROVEN_BY = "agent-key"

_SHOWN = "oauth-assertion"


class KeyGrant:
    """Gives access credentials for assertions, each of which counts once. May raise StoreUnavailable."""

    def __init__(self, store: Store, subjects: Subjects, issuer: AccessIssuer, url: str) -> None:
        """`url`: the control port's."""
        self._store = store
        self._subjects = subjects
        self._issuer = issuer
        self._url = url

    async def prove(self, parameters: Parameters, call: Call) -> Work:
        """That an agent signed this, for this gate, now (RFC 7523, section 3). Raises Refused."""
        check_no_scope(parameters)
        if parameters.get("client_assertion_type") != ASSERTION_JWT:
            sentence = f"agents prove themselves by a signed assertion: client_assertion_type must be {ASSERTION_JWT}"
            raise Refused("invalid_client", sentence, code=401)
        target = target_of(parameters, self._url)
        assertion = self._read(required(parameters, "client_assertion"), self._subjects.agents(), call.now)
        # RFC 7521, section 4.2: where a client says besides who it is, it must say the same.
        if parameters.get("client_id", assertion.agent.name) != assertion.agent.name:
            raise Refused("invalid_client", "client_id is another one than the assertion's sub", code=401)
        who = _identity(assertion)
        issued = issue_for_identity(self._issuer, who, target, call.now)
        acts_on = ActsOn(verb="create", resource="accesscredentials", name=issued.id)
        spend = functools.partial(_spend, self._store.once, assertion, call.now, token_answer(issued, call.now))
        return Work(who, acts_on, "agent key", spend)

    def _read(self, text: str, agents: Mapping[str, AgentRecord], now: float) -> KeyAssertion:
        try:
            return read_key_assertion(text, agents, (self._url, f"{self._url}{TOKEN_PATH}"), now)
        except KeyAssertionRefused as error:
            raise Refused("invalid_client", f"this assertion {error}", code=401) from None


def _spend(once: Once, assertion: KeyAssertion, now: float, answer: dict[str, object]) -> dict[str, object]:
    """The answer, for whoever shows this assertion first."""
    # Remembered a little longer than it is good: another gate's clock may be behind.
    until = assertion.expires_at + CLOCK_SKEW
    if not once.put(_SHOWN, f"{assertion.agent.name}\n{assertion.jti}", "", expires_at=until, now=now):
        raise Refused("invalid_client", "this assertion was shown before: make a new one for each call", code=401)
    return answer


def _identity(assertion: KeyAssertion) -> Identity:
    """The agent, with the key that it was proven by: a credential ends with the key that it rests on."""
    agent = assertion.agent
    return Identity(
        kind=Kind.AGENT,
        name=agent.name,
        groups=agent.groups,
        owner=agent.owner,
        proven_by=PROVEN_BY,
        credential=assertion.key_id,
        claims=(("key", assertion.key_id),),
        cluster=agent.cluster,
        expires_at=agent.ends_at,
    )
