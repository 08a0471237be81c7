"""Who asks: identities, and the chain of identities a request speaks for.

Kept apart from how an identity is proven (`narrowgate.authenticators`): here are only the values that decisions,
records and upstream headers are made from.
"""

from __future__ import annotations

import enum
from typing import Final, NewType

import msgspec


class Kind(enum.Enum):
    """What sort of thing an identity is; the values are the `kind` of a policy's subject."""

    AGENT = "Agent"
    PERSON = "Person"
    WORKLOAD = "ServiceAccount"


DELEGATES: Final = "/"
"""Between an agent's name and those of its delegates: `ci-reviewer/helper`. No agent that is registered has it in its
name (`names.agent_name_problem`), so that a delegate is called like nobody else."""


class Identity(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """One authenticated requester.

    `name` never begins with `system:` and holds no control character (`authenticators` refuse such names), so that it
    can be sent upstream in an impersonation header. A workload's name is `namespace/name`.
    """

    kind: Kind
    name: str
    groups: tuple[str, ...] = ()
    owner: str = ""
    proven_by: str
    """The authenticator that vouches for it, as written in the trail: `agent-credential`, `jwt`, ..."""
    credential: str
    """Public id of the credential it came with (never the secret); approvals and revocations name it."""
    claims: tuple[tuple[str, str], ...] = ()
    """What the proof told besides, as (name, value), sorted: `issuer`, `subject`, `pod`, `pod-uid`, `node`, ... It goes
    into the record; no rule looks at it."""
    cluster: str = ""
    """The one cluster this credential opens; empty where the request must name the cluster."""
    task: str = ""
    """The task whose credential it came with: its grant counts for nothing else. Empty for standing credentials."""
    delegated_by: str = ""
    """The task that its own was delegated from: it may do what that task's holder may, as far as its own task goes, and
    nothing besides. Empty for whoever works on a task of its own, or on none."""
    emergency: bool = False
    """Whether that task is an emergency; it goes into the record with everything that is done with it."""
    expires_at: float | None = None
    """Unix seconds after which the credential is worth nothing; None only where the proof has no end of its own."""
    recheck_seconds: float | None = None
    """How often whoever goes on relying on it (a stream) asks its authenticator again, where the proof can end without
    the gate hearing of it (a pod is deleted). None where every end comes by the store or by `expires_at`."""
    on_behalf_of: tuple[Identity, ...] = ()
    """Whom it speaks for, root first: who delegated to it, whose request made its pod. Each of them, as it is now, must
    be covered for whatever this one asks. None of these has any of its own: the order is told here once."""

    def __str__(self) -> str:
        return f"{self.kind.value.lower()}:{self.name}"

    @property
    def known_as(self) -> str:
        """The name that policies know it by: a delegate is whom its chain began with, as far as rules go."""
        return self.name.partition(DELEGATES)[0] if self.delegated_by else self.name


Chain = NewType("Chain", tuple[Identity, ...])
"""The identities a request speaks for, root first, the sender last; never empty."""


def chain_of(*members: Identity) -> Chain:
    """Make a chain, root first. Raises ValueError when there is nobody in it."""
    if not members:
        raise ValueError("a chain needs at least one identity")
    return Chain(members)


def chain_behind(sender: Identity) -> Chain:
    """The chain that whatever `sender` asks speaks for: those it acts on behalf of, root first, and itself."""
    return Chain((*sender.on_behalf_of, sender))


def giver_of(chain: Chain, place: int) -> int | None:
    """The place of whoever delegated to the member at `place`: somebody before it who holds the very task, by name,
    kind and groups the one below whom it is; None where nobody is. A pod with several authors speaks for all of their
    chains, one behind the other.
    """
    member = chain[place]
    for at in range(place - 1, -1, -1):
        one = chain[at]
        if one.task == member.delegated_by and (one.kind, one.groups) == (member.kind, member.groups):
            below = member.name.removeprefix(one.name + DELEGATES)
            if below != member.name and DELEGATES not in below:
                return at
    return None


def root_behind(chain: Chain, place: int) -> Identity | None:
    """With whom the delegations that lead to a delegate began; None where one of them leads to nobody."""
    at: int | None = place
    while at is not None and chain[at].delegated_by:
        at = giver_of(chain, at)
    return None if at is None else chain[at]
