"""The resources every Kubernetes has, so that a policy file can be told what it meant: plurals, short names, scope.

Only the reading of policy files uses this, to refuse rules that cannot match anything; what a cluster really serves is
discovery's to say. Taken from `kubectl api-resources` of Kubernetes 1.36; custom resources are of course not here, so
that nothing is refused for being absent, except in the core group, which only Kubernetes itself can extend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec


class KnownResource(msgspec.Struct, frozen=True):
    """A built-in resource; `also` are the names kubectl takes for it besides the plural."""

    plural: str
    group: str
    namespaced: bool
    also: tuple[str, ...]


_TABLE: Final = """
bindings                                -                            ns binding
componentstatuses                       -                            -- componentstatus cs
configmaps                              -                            ns configmap cm
endpoints                               -                            ns endpoint ep
events                                  -                            ns event ev
limitranges                             -                            ns limitrange limits
namespaces                              -                            -- namespace ns
nodes                                   -                            -- node no
persistentvolumeclaims                  -                            ns persistentvolumeclaim pvc
persistentvolumes                       -                            -- persistentvolume pv
pods                                    -                            ns pod po
podtemplates                            -                            ns podtemplate
replicationcontrollers                  -                            ns replicationcontroller rc
resourcequotas                          -                            ns resourcequota quota
secrets                                 -                            ns secret
serviceaccounts                         -                            ns serviceaccount sa
services                                -                            ns service svc
mutatingadmissionpolicies               admissionregistration.k8s.io -- mutatingadmissionpolicy
mutatingadmissionpolicybindings         admissionregistration.k8s.io -- mutatingadmissionpolicybinding
mutatingwebhookconfigurations           admissionregistration.k8s.io -- mutatingwebhookconfiguration
validatingadmissionpolicies             admissionregistration.k8s.io -- validatingadmissionpolicy
validatingadmissionpolicybindings       admissionregistration.k8s.io -- validatingadmissionpolicybinding
validatingwebhookconfigurations         admissionregistration.k8s.io -- validatingwebhookconfiguration
customresourcedefinitions               apiextensions.k8s.io         -- customresourcedefinition crd crds
apiservices                             apiregistration.k8s.io       -- apiservice
controllerrevisions                     apps                         ns controllerrevision
daemonsets                              apps                         ns daemonset ds
deployments                             apps                         ns deployment deploy
replicasets                             apps                         ns replicaset rs
statefulsets                            apps                         ns statefulset sts
selfsubjectreviews                      authentication.k8s.io        -- selfsubjectreview
tokenreviews                            authentication.k8s.io        -- tokenreview
localsubjectaccessreviews               authorization.k8s.io         ns localsubjectaccessreview
selfsubjectaccessreviews                authorization.k8s.io         -- selfsubjectaccessreview
selfsubjectrulesreviews                 authorization.k8s.io         -- selfsubjectrulesreview
subjectaccessreviews                    authorization.k8s.io         -- subjectaccessreview
horizontalpodautoscalers                autoscaling                  ns horizontalpodautoscaler hpa
cronjobs                                batch                        ns cronjob cj
jobs                                    batch                        ns job
certificatesigningrequests              certificates.k8s.io          -- certificatesigningrequest csr
leases                                  coordination.k8s.io          ns lease
endpointslices                          discovery.k8s.io             ns endpointslice
flowschemas                             flowcontrol.apiserver.k8s.io -- flowschema
prioritylevelconfigurations             flowcontrol.apiserver.k8s.io -- prioritylevelconfiguration
ingressclasses                          networking.k8s.io            -- ingressclass
ingresses                               networking.k8s.io            ns ingress ing
ipaddresses                             networking.k8s.io            -- ipaddress ip
networkpolicies                         networking.k8s.io            ns networkpolicy netpol
servicecidrs                            networking.k8s.io            -- servicecidr
runtimeclasses                          node.k8s.io                  -- runtimeclass
poddisruptionbudgets                    policy                       ns poddisruptionbudget pdb
clusterrolebindings                     rbac.authorization.k8s.io    -- clusterrolebinding
clusterroles                            rbac.authorization.k8s.io    -- clusterrole
rolebindings                            rbac.authorization.k8s.io    ns rolebinding
roles                                   rbac.authorization.k8s.io    ns role
deviceclasses                           resource.k8s.io              -- deviceclass
resourceclaims                          resource.k8s.io              ns resourceclaim
resourceclaimtemplates                  resource.k8s.io              ns resourceclaimtemplate
resourceslices                          resource.k8s.io              -- resourceslice
priorityclasses                         scheduling.k8s.io            -- priorityclass pc
csidrivers                              storage.k8s.io               -- csidriver
csinodes                                storage.k8s.io               -- csinode
csistoragecapacities                    storage.k8s.io               ns csistoragecapacity
storageclasses                          storage.k8s.io               -- storageclass sc
volumeattachments                       storage.k8s.io               -- volumeattachment
volumeattributesclasses                 storage.k8s.io               -- volumeattributesclass
"""


def _read(row: str) -> KnownResource:
    plural, group, scope, *also = row.split()
    return KnownResource(plural, "" if group == "-" else group, scope == "ns", tuple(also))


KNOWN_RESOURCES: Final = tuple(_read(row) for row in _TABLE.strip().splitlines())

GROUPS_OF: Final[Mapping[str, frozenset[str]]] = {
    "events": frozenset({"", "events.k8s.io"}),
    **{
        plural: frozenset(known.group for known in KNOWN_RESOURCES if known.plural == plural)
        for plural in {known.plural for known in KNOWN_RESOURCES} - {"events"}
    },
}
"""The groups that serve each built-in plural."""

PLURAL_OF: Final[Mapping[str, str]] = {other: known.plural for known in KNOWN_RESOURCES for other in known.also}
"""Singulars and short names, to the plural that a rule must write."""

CLUSTER_SCOPED: Final = frozenset((known.group, known.plural) for known in KNOWN_RESOURCES if not known.namespaced)
"""Built-in resources that live in no namespace, as (group, plural)."""

NAMESPACED: Final = frozenset(
    (group, known.plural) for known in KNOWN_RESOURCES if known.namespaced for group in GROUPS_OF[known.plural]
)
"""Built-in resources that live in namespaces, as (group, plural)."""
