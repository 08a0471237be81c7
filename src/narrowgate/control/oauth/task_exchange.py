"""A delegated task for a task's credential, in one call to the token endpoint (RFC 8693).

    grant_type=urn:ietf:params:oauth:grant-type:token-exchange
    subject_token=ngt1_...   subject_token_type=urn:ietf:params:oauth:token-type:access_token
    scope=get,list:pods@ci get:nodes        or authorization_details=[...] (RFC 9396)
    narrowgate_name=helper   narrowgate_purpose=count pods   narrowgate_for=10m

The subject is whoever works on the task; the actor is the delegate that comes of it, which has no token of its own
before. Nothing is given that the API's call would refuse: both end in `control.delegating`.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Mapping
from typing import assert_never

import msgspec

from narrowgate.authenticators.port import NotMine, Presented, Rejected, Unavailable
from narrowgate.control.delegating import Delegating, Wish
from narrowgate.control.oauth.addresses import CLIENT_ID, TOKEN_ACCESS
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.parameters import Parameters, required
from narrowgate.control.oauth.work import Call, Work
from narrowgate.control.problems import Problem, Trouble
from narrowgate.control.settings import ControlSettings
from narrowgate.control.task_proofs import knows_task_of
from narrowgate.core.actor_claims import actor_claims
from narrowgate.core.audit import ActsOn
from narrowgate.core.authorization_details import TaskDetails, locations_of, words_of
from narrowgate.core.duration import seconds_of
from narrowgate.core.identity import Identity, chain_behind
from narrowgate.core.wanted import MOST_WANTED, WantedRefused, wanted_text
from narrowgate.store.port import Store

NAME, PURPOSE, LASTS = "narrowgate_name", "narrowgate_purpose", "narrowgate_for"
"""Parameters of our own (RFC 6749, section 8.2): what the delegate is called, what for, and for how long."""

UNUSED = ("actor_token", "actor_token_type", "client_secret", "client_assertion", "client_assertion_type")
"""Parameters of RFC 8693 and of client authentication that would mean something else than what is done here."""

_SCOPE = re.compile(r"(?P<verbs>[a-z*,]+):(?P<thing>[^\s@:]+)(?:@(?P<namespaces>[^\s@:]+))?")
"""`get,list:deployments.apps/web@ci`: what `get,list deployments.apps/web -n ci` is elsewhere; scopes have no spaces in
them (RFC 6749, section 3.3)."""

_ERRORS = {
    Trouble.INVALID: "invalid_request",
    Trouble.FORBIDDEN: "invalid_scope",
    Trouble.NOT_FOUND: "invalid_request",
    Trouble.CONFLICT: "invalid_request",
}
"""What a refusal is called here (RFC 6749, section 5.2; RFC 8693, section 2.2.2)."""


class TaskExchange:
    """Gives the credentials of delegated tasks for those of the tasks that they are delegated from."""

    def __init__(self, store: Store, settings: ControlSettings, requesting: threading.Lock) -> None:
        """`requesting` is held while tasks are counted and kept."""
        self._store = store
        self._settings = settings
        self._delegating = Delegating(store, requesting, settings.longest_chain)

    async def prove(self, parameters: Parameters, call: Call) -> Work:
        """That the token is of somebody who works on a task. Raises Refused, StoreUnavailable."""
        _check(parameters)
        who = await self._subject(required(parameters, "subject_token"), call.now)
        acts_on = ActsOn(verb="delegate", resource="tasks", name=who.task)
        try:
            wish = self._wish(parameters, who)
        except Refused as error:
            raise error.of(who, acts_on) from None
        return Work(who, acts_on, "token exchange", lambda: self._made(who, wish, acts_on, call.now))

    async def _subject(self, token: str, now: float) -> Identity:
        authenticator = await asyncio.to_thread(knows_task_of, self._store, token, self._settings.longest_chain)
        answer = await authenticator.authenticate(Presented(bearer=token), now)
        match answer:
            case Identity():
                return answer
            case Rejected(reason=reason) | Unavailable(reason=reason):
                raise Refused("invalid_request", f"the subject_token is not good: {reason}")
            case NotMine():
                raise Refused("invalid_request", "the subject_token is no task's credential")
            case _:
                assert_never(answer)

    def _wish(self, parameters: Parameters, who: Identity) -> Wish:
        self._check_target(parameters, who.cluster)
        lasts = parameters.get(LASTS, "")
        try:
            seconds = float(seconds_of(lasts)) if lasts else None
        except ValueError as error:
            raise Refused("invalid_request", f"{LASTS}: {error}") from None
        if seconds is not None and not seconds > 0:
            raise Refused("invalid_request", f"{LASTS}: {lasts} is no time; write it like 10m")
        return Wish(
            name=required(parameters, NAME),
            purpose=required(parameters, PURPOSE),
            allow=_words(parameters, who.cluster),
            seconds=seconds,
        )

    def _check_target(self, parameters: Parameters, cluster: str) -> None:
        """Raise Refused where the token is asked for a place that it is not for (RFC 8693, section 2.1; RFC 8707)."""
        here = f"{self._settings.url}/clusters/{cluster}"
        if parameters.get("resource", here) not in (here, self._settings.kubernetes_url):
            raise Refused("invalid_target", f"a delegated task is on the cluster of its task: resource is {here}")
        if parameters.get("audience", cluster) != cluster:
            raise Refused("invalid_target", f"a delegated task is on the cluster of its task: audience is {cluster}")

    def _made(self, who: Identity, wish: Wish, acts_on: ActsOn, now: float) -> Mapping[str, object]:
        """Delegate, and say what came of it (RFC 8693, section 2.2.1)."""
        try:
            made = self._delegating.delegate(who.task, who, wish, now)
        except Problem as problem:
            error = _ERRORS.get(problem.trouble)
            if error is None:
                raise
            raise Refused(error, problem.detail).of(who, acts_on) from None
        task = made.task
        delegate = msgspec.structs.replace(who, name=task.name, on_behalf_of=(*who.on_behalf_of, _alone(who)))
        return {
            "access_token": made.credential,
            "issued_token_type": TOKEN_ACCESS,
            "token_type": "Bearer",
            "expires_in": max(0, int((task.ends_at or now) - now)),
            "scope": " ".join(_scope_of(wanted_text(rule)) for rule in task.rules),
            "narrowgate_task": task.id,
            **actor_claims(chain_behind(delegate)),
        }


def _alone(who: Identity) -> Identity:
    return msgspec.structs.replace(who, on_behalf_of=())


def _check(parameters: Parameters) -> None:
    """Raise Refused for what has no meaning where a task is delegated."""
    if parameters.get("client_id", CLIENT_ID) != CLIENT_ID:
        raise Refused("invalid_client", f"there is no such client: leave client_id out, or say {CLIENT_ID}", code=401)
    if unused := [name for name in UNUSED if name in parameters]:
        raise Refused("invalid_request", f"{unused[0]} has no meaning here: the delegate is named by {NAME}")
    for name in ("subject_token_type", "requested_token_type"):
        if parameters.get(name, TOKEN_ACCESS if name.startswith("requested") else "") != TOKEN_ACCESS:
            raise Refused("invalid_request", f"{name} must be {TOKEN_ACCESS}, as the subject_token is a task's")


def _words(parameters: Parameters, cluster: str) -> tuple[str, ...]:
    """What is delegated, in the words that tasks are asked for with. Raises Refused."""
    scope, details = parameters.get("scope", ""), parameters.get("authorization_details", "")
    if bool(scope) == bool(details):
        raise Refused("invalid_scope", "say what is delegated by scope or by authorization_details: send one of them")
    if details:
        return _words_of_details(details, cluster)
    words = []
    for token in scope.split():
        match = _SCOPE.fullmatch(token)
        if match is None:
            raise Refused("invalid_scope", f"{token[:200]} is not written like get,list:deployments.apps/web@ci")
        where = f" -n {match['namespaces']}" if match["namespaces"] else ""
        words.append(f"{match['verbs']} {match['thing']}{where}")
    return tuple(words)


def _words_of_details(text: str, cluster: str) -> tuple[str, ...]:
    try:
        details = msgspec.json.decode(text, type=tuple[TaskDetails, ...])
        words = words_of(details)
    except (msgspec.MsgspecError, WantedRefused) as error:
        raise Refused("invalid_authorization_details", f"authorization_details: {error}") from None
    if elsewhere := sorted(locations_of(details) - {cluster}):
        sentence = f"authorization_details: the task is on {cluster}, and not on {elsewhere[0]}"
        raise Refused("invalid_authorization_details", sentence)
    if len(words) > MOST_WANTED:
        raise Refused("invalid_authorization_details", f"authorization_details: at most {MOST_WANTED} datatypes")
    return words


def _scope_of(words: str) -> str:
    """Words of a rule as one scope."""
    what, _, namespaces = words.partition(" -n ")
    verbs, _, thing = what.partition(" ")
    return f"{verbs}:{thing}@{namespaces}" if namespaces else f"{verbs}:{thing}"
