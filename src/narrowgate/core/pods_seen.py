"""What was found out about the pods that a request makes or gets into, and of accounts whose tokens it has made, for
`pod_judging`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from narrowgate.core.account_rights import Account, HeldRight

DEFAULT_ACCOUNT: Final = "default"
"""What a pod runs as that names no account (k8s.io/kubernetes/plugin/pkg/admission/serviceaccount)."""

CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")
_PROVING: Final = (("serviceAccountToken", "audience"), ("podCertificate", "signerName"))
"""What a volume can be projected from that proves who its pod is, and the field that says to whom."""
ITEM: Final = re.compile(r"\[[0-9]+\]\Z")
"""How a place in a list is written. A key of a mapping that reads so leads elsewhere once it is written down."""
ACCOUNT_FIELDS: Final = ("serviceAccountName", "serviceAccount")


class Template(msgspec.Struct, frozen=True):
    """One pod's spec in an object."""

    at: str
    """`spec.template.spec`, for sentences."""
    spec: Mapping[str, Any]
    annotations: Mapping[str, Any] = {}
    """Of the pods that are made of it."""
    steps: tuple[str, ...] = ()
    """Where it stands, where that can be written to by its path alone; empty where it stands in a list."""

    @property
    def accounts(self) -> tuple[str, ...]:
        """What its pods run as: one name, unless both fields are written and differ."""
        named = [name for name in map(self.spec.get, ACCOUNT_FIELDS) if isinstance(name, str) and name]
        return tuple(dict.fromkeys(named)) or (DEFAULT_ACCOUNT,)

    @property
    def mounts_token(self) -> bool:
        """Whether its pods are given the token of their account without asking for it."""
        return self.spec.get("automountServiceAccountToken") is not False

    @property
    def audiences(self) -> tuple[str, ...]:
        """The audiences of the tokens that it projects; empty for the API server's own. Signers of certificates that
        name the pod and its account count as such (KEP-4317).
        """
        found = []
        for volume in mappings(self.spec.get("volumes")):
            for source in mappings(_inside(volume, "projected").get("sources")):
                for kind, field in _PROVING:
                    proof = source.get(kind)
                    if isinstance(proof, dict):
                        audience = proof.get(field)
                        found.append(audience if isinstance(audience, str) else "")
        return tuple(dict.fromkeys(found))

    @property
    def images(self) -> tuple[str, ...]:
        """The images of its containers, and what it mounts as a volume; empty for one that is not written."""
        images = [container.get("image") for field in CONTAINERS for container in mappings(self.spec.get(field))]
        images += [
            volume["image"].get("reference")
            for volume in mappings(self.spec.get("volumes"))
            if isinstance(volume.get("image"), dict)
        ]
        return tuple(image if isinstance(image, str) else "" for image in images)

    @property
    def chooses_node(self) -> str:
        """The first field by which it chooses nodes; empty where it does not."""
        affinity = _inside(self.spec, "affinity")
        if affinity.get("nodeAffinity"):
            return "affinity.nodeAffinity"
        return next((field for field in ("nodeName", "nodeSelector", "tolerations") if self.spec.get(field)), "")


class AccountSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A ServiceAccount that pods run as, and what it may do."""

    account: Account
    rights: tuple[HeldRight, ...] = ()
    """What everybody may do left out."""
    unknown: str = ""
    """Why its rights are not known; empty where they are."""


class PodsSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The pods of one request."""

    templates: tuple[Template, ...] = ()
    """What the request writes, as it would be stored; of a pod that is entered by a debug container, that pod."""
    inexact: str = ""
    """Why the templates are not known; empty where they are."""
    made_of: Any = None
    """The object that they stand in, for rules that say where (`named_templates`); None where it is not known."""
    named: tuple[AccountSeen, ...] = ()
    """Further accounts, that stand where some rule says."""
    accounts: tuple[AccountSeen, ...] = ()
    """Each account that comes with the request; none where nothing that runs is changed, or no token is reached."""
    unknown: str = ""
    """Why the accounts are not known; empty where they are."""
    of_node: tuple[HeldRight, ...] = ()
    """What a pod that is entered has of its node, as the rights that making it takes."""
    audiences: tuple[str, ...] = ()
    """For whom the token is that the request itself asks for (`minted_tokens`); empty where it asks for none."""


def mappings(value: Any) -> list[dict[str, Any]]:
    """The mappings in a list; none in whatever else it is."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _inside(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
