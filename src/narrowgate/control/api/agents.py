"""Calls about agents. Whoever answers for an agent can make it less; only an admin can make it more.

A change is made from the record that was read, and refused by the store where another one is there by then: a pause is
never undone by somebody who had read the record before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from narrowgate.authenticators.base64url import from_base64url
from narrowgate.authenticators.credential import new_credential
from narrowgate.authenticators.key_assertion import thumbprint
from narrowgate.control.api.calls import PREFIX, Answered, Sent
from narrowgate.control.api.paging import ListMeta, Page, page_of, read_token
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.agent import AgentKey, AgentRecord
from narrowgate.core.agent_credential import (
    DEFAULT_LIFETIME,
    LONGEST_LIFETIME,
    LONGEST_OVERLAP,
    NextCredential,
    handed_over,
    with_credential,
)
from narrowgate.core.agent_document import AgentDocument, agent_document
from narrowgate.core.agent_fields import record_problem
from narrowgate.core.call_rights import answers_for
from narrowgate.core.duration import duration_text, seconds_of
from narrowgate.core.moment import moment_of
from narrowgate.store.port import ChangedMeanwhile, NotThere
from narrowgate.store.task_trees import end_paused

ATTEMPTS = 5
"""A change without If-Match is made anew where another one came first; more than five at once is nobody's work."""

_TAG_CHARACTERS = 32
"""128 bits of a SHA-256 in hex: records that differ never share one."""

_LIST = "agents"


class PublicKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An Ed25519 public key as a JWK (RFC 8037). A private member (`d`) is refused: it must never travel."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: Annotated[str, msgspec.Meta(max_length=64, description="The 32 bytes, base64url without padding.")]


class NewAgent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An agent to be registered."""

    name: str
    owner: Annotated[str, msgspec.Meta(description="Who answers for it: person:NAME or group:NAME.")]
    purpose: str
    cluster: Annotated[str, msgspec.Meta(description="The cluster it opens; may be left out with a single one.")] = ""
    groups: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    ends_at: Annotated[str | None, msgspec.Meta(description="When the agent is over, RFC 3339.")] = None
    credential: Annotated[bool, msgspec.Meta(description="Whether it gets a simple credential.")] = True
    lifetime: Annotated[str, msgspec.Meta(description="Of the credential, like 12h or 30d.")] = DEFAULT_LIFETIME
    keys: tuple[PublicKey, ...] = ()
    certificate_names: tuple[str, ...] = ()


class AgentPatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What shall be another one, as RFC 7396 merges it: what is left out stays, a label of null goes."""

    owner: str | msgspec.UnsetType = msgspec.UNSET
    purpose: str | msgspec.UnsetType = msgspec.UNSET
    cluster: str | msgspec.UnsetType = msgspec.UNSET
    groups: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    labels: dict[str, str | None] | msgspec.UnsetType = msgspec.UNSET
    ends_at: str | msgspec.UnsetType | None = msgspec.UNSET
    certificate_names: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class Pause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why an agent is paused."""

    because: Annotated[str, msgspec.Meta(max_length=200, description="One line for people; the agent is not told.")] = (
        ""
    )


class Rotation(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How the new credential shall be."""

    lifetime: Annotated[str, msgspec.Meta(description="Like 12h or 30d.")] = DEFAULT_LIFETIME
    keep_old_for: Annotated[str, msgspec.Meta(description="How long the old one stays good, like 10m; 1d at most.")] = (
        ""
    )


class AgentWithCredential(AgentDocument, frozen=True, kw_only=True, rename="camel"):
    """An agent and its new credential, at the one moment when that is known."""

    credential: str | msgspec.UnsetType = msgspec.UNSET
    """Shown this once. Left out where an idempotency key replays the answer, and for an agent without one."""


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of agents, by name."""

    items: tuple[AgentDocument, ...]
    metadata: ListMeta


def list_agents(parts: ApiParts, sent: Sent) -> Answered:
    """All agents, or those that the caller answers for."""
    page: Page = sent.query
    behind = read_token(page, _LIST)
    visible = [agent for agent in parts.store.agents() if agent.name > behind and _visible(sent, agent)]
    shown, meta = page_of(visible, page, _LIST, lambda agent: agent.name)
    return Answered(document=AgentList(items=tuple(agent_document(one, sent.now) for one in shown), metadata=meta))


def get_agent(parts: ApiParts, sent: Sent) -> Answered:
    """One agent."""
    return _answer(_found(parts, sent), sent)


def create_agent(parts: ApiParts, sent: Sent) -> Answered:
    """Register an agent."""
    asked: NewAgent = sent.body
    made = new_credential()
    until = sent.now + _seconds(asked.lifetime, "lifetime", LONGEST_LIFETIME)
    agent = AgentRecord(
        name=asked.name,
        owner=asked.owner,
        purpose=asked.purpose,
        cluster=_cluster(parts, asked.cluster),
        credential_id="",
        credential_hash=b"",
        created_at=sent.now,
        expires_at=until,
        groups=tuple(dict.fromkeys(asked.groups)),
        labels=tuple(sorted(asked.labels.items())),
        ends_at=_end(asked.ends_at, sent.now),
        keys=tuple(_key(key, sent.now) for key in asked.keys),
        certificate_names=asked.certificate_names,
        handed_to=(sent.by,) if asked.keys or asked.certificate_names else (),
    )
    if asked.credential:
        given = NextCredential(id=made.id, hash=made.hash, to=sent.by, until=until)
        agent = with_credential(agent, given, sent.now)
    _refuse_problem(agent)
    parts.store.add_agent(agent, by=sent.by, at=sent.now)
    answer = _shown_once(agent, made.text if asked.credential else "", sent)
    location = {"Location": f"{PREFIX}/agents/{agent.name}"}
    return msgspec.structs.replace(answer, headers={**answer.headers, **location})


def change_agent(parts: ApiParts, sent: Sent) -> Answered:
    """Change what is written about an agent."""
    asked: AgentPatch = sent.body

    def changed(agent: AgentRecord) -> AgentRecord:
        told: dict[str, object] = {
            name: getattr(asked, name)
            for name in ("owner", "purpose", "certificate_names")
            if getattr(asked, name) is not msgspec.UNSET
        }
        if asked.cluster is not msgspec.UNSET:
            told["cluster"] = _cluster(parts, asked.cluster)
        if asked.groups is not msgspec.UNSET:
            told["groups"] = tuple(dict.fromkeys(asked.groups))
        if asked.labels is not msgspec.UNSET:
            merged: dict[str, str | None] = {**dict(agent.labels), **asked.labels}
            told["labels"] = tuple(sorted((key, value) for key, value in merged.items() if value is not None))
        if asked.ends_at is not msgspec.UNSET:
            told["ends_at"] = _end(asked.ends_at, sent.now)
        if asked.certificate_names and not set(asked.certificate_names) <= set(agent.certificate_names):
            agent = handed_over(agent, sent.by)
        return msgspec.structs.replace(agent, **told)

    return _answer(_change(parts, sent, changed), sent)


def pause_agent(parts: ApiParts, sent: Sent) -> Answered:
    """Let it in nowhere from now on; what it has running ends."""
    asked: Pause = sent.body
    if not asked.because.isprintable():
        raise Problem(Trouble.INVALID, "because: write one line")

    def paused(agent: AgentRecord) -> AgentRecord:
        return msgspec.structs.replace(agent, paused=True, paused_because=asked.because)

    return _answer(_change(parts, sent, paused), sent)


def resume_agent(parts: ApiParts, sent: Sent) -> Answered:
    """Let it go on, without what it had under way before."""
    was = _found(parts, sent)
    _check_tag(was, sent)
    if was.paused:
        end_paused(parts.store.tasks, was.name, by=sent.by, at=sent.now)
    resumed = _change(parts, sent, lambda agent: msgspec.structs.replace(agent, paused=False, paused_because=""))
    return _answer(resumed, sent)


def rotate_agent(parts: ApiParts, sent: Sent) -> Answered:
    """Replace its credential; the old one is worth nothing from then on."""
    asked: Rotation = sent.body
    until = sent.now + _seconds(asked.lifetime, "lifetime", LONGEST_LIFETIME)
    overlap = _seconds(asked.keep_old_for, "keepOldFor", LONGEST_OVERLAP) if asked.keep_old_for else 0.0
    made = new_credential()

    def rotated(agent: AgentRecord) -> AgentRecord:
        ends = until if sent.reaches_all else _owners_end(agent, until, sent.now)
        given = NextCredential(id=made.id, hash=made.hash, to=sent.by, until=ends, old_until=sent.now + overlap)
        return with_credential(agent, given, sent.now)

    return _shown_once(_change(parts, sent, rotated), made.text, sent)


def add_key(parts: ApiParts, sent: Sent) -> Answered:
    """Register a public key that the agent signs with."""
    key = _key(sent.body, sent.now)

    def added(agent: AgentRecord) -> AgentRecord:
        if any(one.id == key.id for one in agent.keys):
            raise Problem(Trouble.CONFLICT, f'agent "{agent.name}" has this key already')
        return msgspec.structs.replace(handed_over(agent, sent.by), keys=(*agent.keys, key))

    return _answer(_change(parts, sent, added), sent)


def remove_key(parts: ApiParts, sent: Sent) -> Answered:
    """Remove a key; what it was exchanged for ends with it."""
    wanted = sent.path["key"]

    def removed(agent: AgentRecord) -> AgentRecord:
        left = tuple(key for key in agent.keys if key.id != wanted)
        if len(left) == len(agent.keys):
            raise Problem(Trouble.NOT_FOUND, f'agent "{agent.name}" has no key "{wanted}"; look at its keys')
        return msgspec.structs.replace(agent, keys=left)

    return _answer(_change(parts, sent, removed), sent)


def delete_agent(parts: ApiParts, sent: Sent) -> Answered:
    """Remove an agent; no proof of it is worth anything from then on."""
    agent = _found(parts, sent)
    _check_tag(agent, sent)
    parts.store.remove_agent(agent.name, by=sent.by, at=sent.now)
    return Answered()


def agent_tag(agent: AgentRecord) -> str:
    """The entity tag of a record: another one for every other record."""
    return hashlib.sha256(msgspec.json.encode(agent)).hexdigest()[:_TAG_CHARACTERS]


def _visible(sent: Sent, agent: AgentRecord) -> bool:
    return sent.reaches_all or answers_for(sent.caller.identity, agent)


def _found(parts: ApiParts, sent: Sent) -> AgentRecord:
    """The agent of the path. Whoever may not see it is told what they would be told if it were not there."""
    name = sent.path["name"]
    try:
        agent = parts.store.agent(name)
    except NotThere:
        agent = None
    if agent is None or not _visible(sent, agent):
        more = "" if sent.reaches_all else ", or you do not answer for it"
        raise Problem(Trouble.NOT_FOUND, f'there is no agent "{name}"{more}; look at the list of agents')
    return agent


def _change(parts: ApiParts, sent: Sent, change: Callable[[AgentRecord], AgentRecord]) -> AgentRecord:
    """The agent of the path, changed and kept."""
    for _ in range(ATTEMPTS):
        was = _found(parts, sent)
        _check_tag(was, sent)
        agent = change(was)
        if agent == was:
            return was
        _refuse_problem(agent)
        try:
            parts.store.change_agent(agent, by=sent.by, at=sent.now, was=was)
        except ChangedMeanwhile:
            continue
        return agent
    raise Problem(Trouble.CONFLICT, f'agent "{sent.path["name"]}" is being changed by others again and again; wait')


def _check_tag(agent: AgentRecord, sent: Sent) -> None:
    if sent.if_match and agent_tag(agent) not in sent.if_match:
        raise Problem(
            Trouble.CHANGED, f'agent "{agent.name}" is not what you have seen any more; read it again, then change it'
        )


def _refuse_problem(agent: AgentRecord) -> None:
    if problem := record_problem(agent):
        raise Problem(Trouble.INVALID, problem)


def _owners_end(agent: AgentRecord, until: float, now: float) -> float:
    """When the credential ends that an owner makes: never later than the one that it replaces."""
    if not agent.credential_id:
        raise Problem(Trouble.FORBIDDEN, f'agent "{agent.name}" has no credential; only an admin can give it one')
    if not now < agent.expires_at:
        raise Problem(
            Trouble.FORBIDDEN,
            f'the credential of agent "{agent.name}" has expired; only an admin can give it more time',
        )
    return min(until, agent.expires_at)


def _cluster(parts: ApiParts, wanted: str) -> str:
    known = parts.settings.clusters
    if not wanted and len(known) == 1:
        return known[0]
    if wanted not in known:
        named = f'there is no cluster "{wanted}"' if wanted else "`cluster` is needed, because there are several"
        raise Problem(Trouble.INVALID, f"{named}; registered are: {', '.join(known) or 'none'}")
    return wanted


def _seconds(text: str, field: str, longest: float) -> float:
    try:
        seconds = seconds_of(text)
    except ValueError as error:
        raise Problem(Trouble.INVALID, f"{field}: {error}") from None
    if not 0 < seconds <= longest:
        raise Problem(Trouble.INVALID, f"{field}: {text} is not between 1s and {duration_text(longest)}")
    return seconds


def _end(text: str | None, now: float) -> float | None:
    if text is None:
        return None
    try:
        ends_at = moment_of(text)
    except ValueError as error:
        raise Problem(Trouble.INVALID, f"endsAt: {error}") from None
    if not now < ends_at:
        raise Problem(Trouble.INVALID, "endsAt: this has passed; pause or remove the agent to end it now")
    return ends_at


def _key(key: PublicKey, now: float) -> AgentKey:
    try:
        public = from_base64url(key.x)
    except ValueError:
        raise Problem(Trouble.INVALID, "the key's `x` is not base64url without padding") from None
    return AgentKey(id=thumbprint(public), public=public, added_at=now)


def _tagged(agent: AgentRecord) -> dict[str, str]:
    return {"ETag": f'"{agent_tag(agent)}"'}


def _answer(agent: AgentRecord, sent: Sent) -> Answered:
    return Answered(document=agent_document(agent, sent.now), headers=_tagged(agent))


def _shown_once(agent: AgentRecord, credential: str, sent: Sent) -> Answered:
    plain = agent_document(agent, sent.now)
    fields = msgspec.structs.asdict(plain)
    shown = AgentWithCredential(**fields, credential=credential or msgspec.UNSET)
    return Answered(document=shown, headers=_tagged(agent), kept=AgentWithCredential(**fields))
