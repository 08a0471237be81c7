"""What one request would do: its request info and everything that follows from its body. `decide` sees only this."""

from __future__ import annotations

from typing import Any

import msgspec

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
