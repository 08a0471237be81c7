"""What one request would do: its request info and everything that follows from its body. `decide` sees only this."""

from __future__ import annotations

from typing import Any

import msgspec

from narrowgate.core.pods_seen import PodsSeen
from narrowgate.core.request_info import RequestInfo

GATE_GROUP = "narrowgate.dev"
"""API group of the gate's own virtual resources in rules (`hostaccess`: hostPath, hostNetwork, privileged, ...)."""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Something else that the request makes use of and that must be covered too.

    A pod template uses the ServiceAccount, Secrets, ConfigMaps, claims and host access that it names. Any one of
    `verbs` covers it (`use`, or `get` for what could be read anyway); a deny rule for any of them refuses it.
    """

    verbs: tuple[str, ...]
    api_group: str
    resource: str
    namespace: str
    name: str
    because: str
    """Where in the object it is named, for the refusal: `spec.template.spec.volumes[0].secret.secretName`."""


class HeldSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """The Secrets in the pod that a request goes into."""

    names: tuple[str, ...] = ()
    """Sorted."""
    unknown: str = "nobody has looked"
    """Why they are not known; empty where they are."""
    known_values: bool = False
    """Whether the gate knows the values of this cluster's Secrets, and can mask them."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One way into a pod that a request opens: an exec, an attach, a new debug container."""

    container: str = ""
    """The one that is entered, or that is made; empty where the request names none."""
    command: tuple[str, ...] = ()
    """The arguments of the process that is started, the program first; empty where the request does not tell."""
    is_debug: bool = False
    """Whether it is an ephemeral container, whose image its sender has chosen."""
    target: str = ""
    """The container whose processes a debug container shares."""


class PodSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the pod that a request goes into."""

    labels: tuple[tuple[str, str], ...] = ()
    only_container: str = ""
    """The container of a pod that has one; which is entered where a request names none is not known of others."""
    unknown: str = ""
    """Why nothing is known of it; empty where it was seen."""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `decide` may look at about the request itself."""

    cluster: str
    info: RequestInfo
    namespaced: bool = False
    """Whether the resource lives in namespaces (discovery tells); False for non-resource requests."""
    uses: tuple[Use, ...] = ()
    object: Any = None
    """The object as it would be stored, plain JSON values; None where the request writes none."""
    old_object: Any = None
    """The object as it is now; None where there is none or no condition asked for it."""
    object_missing: str = ""
    """Why `object`/`old_object` could not be had though the request writes one; conditions that need it then deny."""
    unseen: str = ""
    """What the request uses without naming it (a patch of a binding whose role it does not show): the pipeline gets the
    result by dry run (`core/body.py`, `with_patched`), or refuses; it never decides while this is set."""
    masked_will_do: bool = False
    """Whether the gate itself looks, for the sender, and shows what is masked at most: then no reveal asks people, and
    none that would shows anything.
    """
    held: HeldSecrets | None = None
    """What is in the pod that an exec, attach or debug goes into; None where nobody has looked, and for all else."""
    user_agent: str = ""
    entry: Entry | None = None
    """What an exec or attach enters, as its query tells; None for all else. `entering.entries_of` knows the rest."""
    pod: PodSeen | None = None
    """What was seen of the pod that a request goes into; None where nobody has looked."""
    pods: PodsSeen | None = None
    """What was found out about the pods that a request makes or gets into; None where nobody has looked, and for all
    else."""
