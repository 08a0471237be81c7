"""What writes about certificates use besides themselves: the signers whose word they are, and a node's identity.

Kubernetes' admission asks for these rights of whoever sends the request, which is the gate's own account
(k8s.io/kubernetes/plugin/pkg/admission/certificates). So they are the policies' to give, as `bind` and `escalate` are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from narrowgate.core.intent import Use
from narrowgate.core.pod_uses import mapping_at, use_of
from narrowgate.core.request_info import RequestInfo

GROUP: Final = "certificates.k8s.io"

_ASKING: Final = ("certificatesigningrequests", "")
_SIGNING: Final = {
    ("certificatesigningrequests", "approval"): "approve",
    ("certificatesigningrequests", "status"): "sign",
    ("clustertrustbundles", ""): "attest",
}
"""What of a signer such a write uses. Its name is in what is stored, whatever is written: rules that give it name none.
"""

_KUBELETS: Final = "kubernetes.io/kube-apiserver-client-kubelet"
_OF_A_NODE: Final = "certificatesigningrequests/nodeclient"
"""Whoever may create these has certificates of nodes approved without anybody's word
(k8s.io/kubernetes/pkg/controller/certificates/approver)."""


def may_use_signer(info: RequestInfo) -> bool:
    """Whether writing at this place can use something of those."""
    place = (info.resource, info.subresource)
    return info.api_group == GROUP and (place == _ASKING or place in _SIGNING)


def certificate_uses(info: RequestInfo, written: Any) -> Iterator[Use]:
    """What a write uses where `may_use_signer` says that it may."""
    place = (info.resource, info.subresource)
    if place != _ASKING:
        yield use_of((_SIGNING[place],), "signers", "", "", "spec.signerName", GROUP)
    elif mapping_at(written, ("spec",)).get("signerName") == _KUBELETS:
        yield use_of(("create",), _OF_A_NODE, "", "", "spec.signerName", GROUP)
