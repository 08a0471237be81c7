"""Objects that fill as many fields of the built-in kinds as the API server takes: what a reader of them must get right.

Nothing here runs: pods want a node that does not exist, webhooks and policies select what nobody has.
"""

from __future__ import annotations

import base64
import copy
from typing import Any

Document = dict[str, Any]

IMAGE = "local/busybox:1"
NOWHERE = {"narrowgate.dev/no-such": "node"}
LABELS = {"app": "web", "tier": "front"}
SELECTOR = {
    "matchLabels": LABELS,
    "matchExpressions": [
        {"key": "app", "operator": "In", "values": ["web", "other"]},
        {"key": "gone", "operator": "DoesNotExist"},
    ],
}
PROBE = {
    "httpGet": {"path": "/ready", "port": "http", "scheme": "HTTPS", "httpHeaders": [{"name": "X-A", "value": "1"}]},
    "initialDelaySeconds": 1,
    "timeoutSeconds": 2,
    "periodSeconds": 3,
    "failureThreshold": 4,
    "terminationGracePeriodSeconds": 5,
}
ENVIRONMENT = [
    {"name": "PLAIN", "value": "x=$(OTHER)"},
    {"name": "FIELD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
    {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k", "optional": True}}},
    {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": False}}},
]
CONTAINER: Document = {
    "name": "main",
    "image": IMAGE,
    "imagePullPolicy": "Never",
    "command": ["sh", "-c"],
    "args": ["sleep 1", ""],
    "workingDir": "/work",
    "ports": [
        {"name": "http", "containerPort": 8080, "hostPort": 18080, "protocol": "TCP", "hostIP": "127.0.0.1"},
        {"containerPort": 53, "protocol": "UDP"},
    ],
    "env": ENVIRONMENT,
    "envFrom": [
        {"prefix": "A_", "configMapRef": {"name": "m", "optional": True}},
        {"secretRef": {"name": "s"}},
    ],
    "resources": {
        "limits": {"cpu": "1500m", "memory": "1Gi", "ephemeral-storage": "2G"},
        "requests": {"cpu": "0.1", "memory": "128974848"},
    },
    "livenessProbe": PROBE,
    "readinessProbe": {"exec": {"command": ["true"]}, "successThreshold": 2},
    "startupProbe": {"tcpSocket": {"port": 8080, "host": "127.0.0.1"}},
    "lifecycle": {
        "preStop": {"exec": {"command": ["sync"]}},
        "postStart": {"httpGet": {"path": "/", "port": 80}},
    },
    "terminationMessagePath": "/dev/ended",
    "terminationMessagePolicy": "FallbackToLogsOnError",
    "securityContext": {
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
        "privileged": False,
        "runAsUser": 3_000_000_000 - (1 << 31),
        "runAsGroup": 1000,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": True,
        "procMount": "Default",
        "seLinuxOptions": {"user": "u", "role": "r", "type": "t", "level": "s0"},
        "seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"},
        "appArmorProfile": {"type": "RuntimeDefault"},
    },
    "stdin": True,
    "stdinOnce": True,
    "tty": True,
}
VOLUMES: list[Document] = [
    {"name": "empty", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
    {"name": "host", "hostPath": {"path": "/var", "type": "Directory"}},
    {
        "name": "secret",
        "secret": {"secretName": "s", "defaultMode": 256, "items": [{"key": "k", "path": "p", "mode": 0}]},
    },
    {"name": "map", "configMap": {"name": "m", "optional": True, "items": [{"key": "k", "path": "p"}]}},
    {"name": "claim", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
    {
        "name": "projected",
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"secret": {"name": "s", "items": [{"key": "k", "path": "a"}]}},
                {"configMap": {"name": "m", "items": [{"key": "k", "path": "b"}]}},
                {"serviceAccountToken": {"audience": "x", "expirationSeconds": 7200, "path": "t"}},
                {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            ],
        },
    },
    {
        "name": "downward",
        "downwardAPI": {
            "items": [
                {
                    "path": "m",
                    "mode": 292,
                    "resourceFieldRef": {"containerName": "main", "resource": "requests.memory", "divisor": "1Ki"},
                }
            ]
        },
    },
    {"name": "nfs", "nfs": {"server": "nfs.example", "path": "/x", "readOnly": True}},
    {
        "name": "csi",
        "csi": {
            "driver": "csi.example",
            "readOnly": False,
            "fsType": "ext4",
            "volumeAttributes": {"a": "b"},
            "nodePublishSecretRef": {"name": "s"},
        },
    },
    {
        "name": "ephemeral",
        "ephemeral": {
            "volumeClaimTemplate": {
                "metadata": {"labels": LABELS},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }
        },
    },
    {
        "name": "iscsi",
        "iscsi": {
            "targetPortal": "10.0.0.1:3260",
            "iqn": "iqn.2001-04.com.example:x",
            "lun": 2,
            "portals": ["10.0.0.2"],
        },
    },
    {"name": "fc", "fc": {"targetWWNs": ["50060e801049cfd1"], "lun": 0, "fsType": "xfs"}},
    {
        "name": "rbd",
        "rbd": {"monitors": ["10.0.0.1:6789"], "image": "i", "pool": "p", "user": "u", "secretRef": {"name": "s"}},
    },
    {"name": "cephfs", "cephfs": {"monitors": ["10.0.0.1:6789"], "path": "/x", "secretFile": "/s"}},
    {"name": "image", "image": {"reference": IMAGE, "pullPolicy": "Never"}},
]
POD_SPEC: Document = {
    "nodeSelector": NOWHERE,
    "containers": [CONTAINER, {"name": "side", "image": IMAGE}],
    "initContainers": [
        {"name": "first", "image": IMAGE, "restartPolicy": "Always"},
        {"name": "second", "image": IMAGE},
    ],
    "volumes": VOLUMES,
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 7,
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["x.y"], "options": [{"name": "ndots", "value": "2"}]},
    "serviceAccountName": "default",
    "automountServiceAccountToken": False,
    "hostNetwork": False,
    "hostPID": False,
    "shareProcessNamespace": True,
    "hostname": "h",
    "subdomain": "sub",
    "hostAliases": [{"ip": "10.0.0.3", "hostnames": ["a", "b"]}],
    "imagePullSecrets": [{"name": "pull"}],
    "schedulerName": "default-scheduler",
    "enableServiceLinks": False,
    "preemptionPolicy": "PreemptLowerPriority",
    "readinessGates": [{"conditionType": "x.example/ready"}],
    "securityContext": {
        "runAsUser": 1000,
        "runAsGroup": 3000,
        "fsGroup": 2000,
        "supplementalGroups": [1, 2, 4_000_000],
        "fsGroupChangePolicy": "OnRootMismatch",
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
    },
    "tolerations": [
        {"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute", "tolerationSeconds": 30},
        {"operator": "Exists"},
    ],
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": SELECTOR,
            "minDomains": None,
            "nodeAffinityPolicy": "Ignore",
            "matchLabelKeys": ["x"],
        }
    ],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [{"key": "n", "operator": "Gt", "values": ["3"]}],
                        "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["none"]}],
                    }
                ]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 5, "preference": {"matchExpressions": [{"key": "z", "operator": "Exists"}]}}
            ],
        },
        "podAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "podAffinityTerm": {"labelSelector": SELECTOR, "topologyKey": "zone"}}
            ]
        },
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": SELECTOR, "topologyKey": "host", "namespaces": ["a"], "namespaceSelector": SELECTOR}
            ]
        },
    },
}
TEMPLATE = {"metadata": {"labels": LABELS, "annotations": {"a": ""}}, "spec": POD_SPEC}
JOB_SPEC: Document = {
    "suspend": True,
    "parallelism": 2,
    "completions": 3,
    "completionMode": "Indexed",
    "backoffLimitPerIndex": 1,
    "maxFailedIndexes": 2,
    "activeDeadlineSeconds": 1 << 31,
    "ttlSecondsAfterFinished": 5,
    "podFailurePolicy": {
        "rules": [
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [1, 2, 255]}},
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        ]
    },
    "template": {"spec": {**POD_SPEC, "restartPolicy": "Never"}},
}
STATEFUL: Document = {
    "replicas": 0,
    "serviceName": "web",
    "selector": {"matchLabels": LABELS},
    "template": TEMPLATE,
    "podManagementPolicy": "Parallel",
    "revisionHistoryLimit": 3,
    "minReadySeconds": 4,
    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
    "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
    "ordinals": {"start": 2},
    "volumeClaimTemplates": [
        {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    ],
}
SERVICE: Document = {
    "type": "NodePort",
    "selector": LABELS,
    "ports": [
        {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "kubernetes.io/ws"},
        {"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"},
    ],
    "sessionAffinity": "ClientIP",
    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}},
    "externalTrafficPolicy": "Local",
    "internalTrafficPolicy": "Local",
    "publishNotReadyAddresses": True,
}
SCALER: Document = {
    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"},
    "minReplicas": 2,
    "maxReplicas": 9,
    "metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
        {
            "type": "External",
            "external": {
                "metric": {"name": "q", "selector": SELECTOR},
                "target": {"type": "Value", "value": "1500m"},
            },
        },
    ],
    "behavior": {
        "scaleDown": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Min",
            "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
        }
    },
}
POLICY: Document = {
    "podSelector": SELECTOR,
    "policyTypes": ["Ingress", "Egress"],
    "ingress": [
        {
            "from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, {"namespaceSelector": SELECTOR}],
            "ports": [{"protocol": "TCP", "port": 1, "endPort": 9}, {"port": "named"}],
        }
    ],
    "egress": [{}],
}
INGRESS: Document = {
    "ingressClassName": "none",
    "defaultBackend": {"service": {"name": "a", "port": {"number": 80}}},
    "tls": [{"hosts": ["x.example"], "secretName": "s"}],
    "rules": [
        {
            "host": "x.example",
            "http": {
                "paths": [
                    {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "b", "port": {"name": "p"}}}}
                ]
            },
        }
    ],
}
CLAIM: Document = {
    "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
    "resources": {"requests": {"storage": "1.5Gi"}},
    "storageClassName": "none",
    "volumeMode": "Block",
    "selector": SELECTOR,
    "dataSource": {"kind": "PersistentVolumeClaim", "name": "other"},
}
LIMITS: Document = {
    "limits": [
        {
            "type": "Container",
            "max": {"cpu": "2"},
            "min": {"cpu": "10m"},
            "default": {"cpu": "1"},
            "defaultRequest": {"cpu": "100m"},
            "maxLimitRequestRatio": {"cpu": "100"},
        }
    ]
}
QUOTA: Document = {
    "hard": {"pods": "50", "requests.cpu": "10"},
    "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]},
}
RULES = [
    {"apiGroups": ["", "apps"], "resources": ["pods", "pods/log"], "resourceNames": ["a"], "verbs": ["get", "*"]},
]
RBAC_GROUP = "rbac.authorization.k8s.io"
SUBJECTS = [
    {"kind": "User", "name": "u", "apiGroup": RBAC_GROUP},
    {"kind": "Group", "name": "g", "apiGroup": RBAC_GROUP},
    {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
]
SLICE: Document = {
    "addressType": "IPv4",
    "endpoints": [
        {
            "addresses": ["10.2.3.4"],
            "conditions": {"ready": True, "serving": False, "terminating": True},
            "hostname": "h",
            "nodeName": "none",
            "zone": "z",
            "hints": {"forZones": [{"name": "z"}]},
            "targetRef": {"kind": "Pod", "name": "p", "namespace": "n"},
        }
    ],
    "ports": [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "http"}],
}
EVENT: Document = {
    "involvedObject": {"kind": "Pod", "name": "p", "apiVersion": "v1", "fieldPath": "spec.containers{main}"},
    "reason": "Tested",
    "message": "nothing happened",
    "type": "Normal",
    "count": 3,
    "firstTimestamp": "2026-01-02T03:04:05Z",
    "eventTime": "2026-01-02T03:04:05.678901Z",
    "reportingComponent": "test",
    "reportingInstance": "t",
    "action": "Testing",
    "series": {"count": 2, "lastObservedTime": "2026-01-02T03:04:06.000001Z"},
}
DEPLOYMENT: Document = {
    "replicas": 0,
    "paused": True,
    "selector": {"matchLabels": LABELS},
    "template": TEMPLATE,
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
    "minReadySeconds": 1,
    "progressDeadlineSeconds": 99,
    "revisionHistoryLimit": 0,
}

NAMESPACED: list[tuple[str, str, Document]] = [
    ("/api/v1", "pods", {"spec": {**POD_SPEC, "activeDeadlineSeconds": 100_000}}),
    ("/api/v1", "configmaps", {"data": {"a": "b", "empty": ""}, "binaryData": {"x": "AP8="}, "immutable": True}),
    (
        "/api/v1",
        "secrets",
        {"type": "Opaque", "data": {"k": base64.b64encode(bytes(256)).decode()}, "immutable": False},
    ),
    (
        "/api/v1",
        "serviceaccounts",
        {"secrets": [{"name": "s"}], "imagePullSecrets": [{"name": "p"}], "automountServiceAccountToken": False},
    ),
    ("/api/v1", "podtemplates", {"template": TEMPLATE}),
    ("/api/v1", "services", {"spec": SERVICE}),
    ("/api/v1", "limitranges", {"spec": LIMITS}),
    ("/api/v1", "resourcequotas", {"spec": QUOTA}),
    ("/api/v1", "persistentvolumeclaims", {"spec": CLAIM}),
    ("/api/v1", "replicationcontrollers", {"spec": {"replicas": 0, "selector": LABELS, "template": TEMPLATE}}),
    ("/api/v1", "events", EVENT),
    ("/apis/apps/v1", "deployments", {"spec": DEPLOYMENT}),
    ("/apis/apps/v1", "statefulsets", {"spec": STATEFUL}),
    ("/apis/apps/v1", "daemonsets", {"spec": {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}}),
    ("/apis/apps/v1", "controllerrevisions", {"revision": 1 << 40, "data": {"spec": {"a": [1, 2.5, None, "x"]}}}),
    ("/apis/batch/v1", "jobs", {"spec": JOB_SPEC}),
    (
        "/apis/batch/v1",
        "cronjobs",
        {
            "spec": {
                "schedule": "0 3 * * *",
                "timeZone": "Europe/Vienna",
                "suspend": True,
                "concurrencyPolicy": "Replace",
                "startingDeadlineSeconds": 60,
                "successfulJobsHistoryLimit": 0,
                "jobTemplate": {"metadata": {"labels": LABELS}, "spec": JOB_SPEC},
            }
        },
    ),
    ("/apis/autoscaling/v2", "horizontalpodautoscalers", {"spec": SCALER}),
    ("/apis/networking.k8s.io/v1", "networkpolicies", {"spec": POLICY}),
    ("/apis/networking.k8s.io/v1", "ingresses", {"spec": INGRESS}),
    (
        "/apis/policy/v1",
        "poddisruptionbudgets",
        {"spec": {"selector": SELECTOR, "maxUnavailable": "30%", "unhealthyPodEvictionPolicy": "AlwaysAllow"}},
    ),
    (
        "/apis/coordination.k8s.io/v1",
        "leases",
        {
            "spec": {
                "holderIdentity": "h",
                "leaseDurationSeconds": 15,
                "acquireTime": "2026-01-02T03:04:05.000001Z",
                "renewTime": "2026-01-02T03:04:05.999999Z",
                "leaseTransitions": 3,
            }
        },
    ),
    ("/apis/discovery.k8s.io/v1", "endpointslices", SLICE),
    (f"/apis/{RBAC_GROUP}/v1", "roles", {"rules": RULES}),
    (
        f"/apis/{RBAC_GROUP}/v1",
        "rolebindings",
        {"roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": "view"}, "subjects": SUBJECTS},
    ),
]

NOBODY = {"matchLabels": {"narrowgate.dev/no-such": "namespace"}}
WEBHOOK: Document = {
    "name": "none.narrowgate.dev",
    "failurePolicy": "Ignore",
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "timeoutSeconds": 1,
    "matchPolicy": "Exact",
    "namespaceSelector": NOBODY,
    "objectSelector": NOBODY,
    "clientConfig": {"url": "https://nowhere.invalid/x", "caBundle": ""},
    "matchConditions": [{"name": "never", "expression": "false"}],
    "rules": [
        {
            "apiGroups": ["narrowgate.dev"],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["none"],
            "scope": "Namespaced",
        }
    ],
}
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CLUSTER_SCOPED: list[tuple[str, str, Document]] = [
    (
        "/api/v1",
        "persistentvolumes",
        {
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/none", "type": ""},
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "none",
                "mountOptions": ["ro"],
                "claimRef": {"namespace": "none", "name": "none"},
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]}]
                    }
                },
            }
        },
    ),
    (f"/apis/{RBAC_GROUP}/v1", "clusterroles", {"rules": [*RULES, {"nonResourceURLs": ["/x"], "verbs": ["get"]}]}),
    (
        f"/apis/{RBAC_GROUP}/v1",
        "clusterrolebindings",
        {
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": "none"},
            "subjects": [{"kind": "User", "name": "none", "apiGroup": RBAC_GROUP}],
        },
    ),
    (
        "/apis/storage.k8s.io/v1",
        "storageclasses",
        {
            "provisioner": "none.narrowgate.dev",
            "parameters": {"a": "b"},
            "allowVolumeExpansion": True,
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": [{"matchLabelExpressions": [{"key": "k", "values": ["v"]}]}],
        },
    ),
    ("/apis/storage.k8s.io/v1", "csidrivers", {"spec": {"attachRequired": False, "fsGroupPolicy": "File"}}),
    (
        "/apis/scheduling.k8s.io/v1",
        "priorityclasses",
        {"value": -5, "description": "none", "preemptionPolicy": "Never", "globalDefault": False},
    ),
    (
        "/apis/node.k8s.io/v1",
        "runtimeclasses",
        {"handler": "none", "overhead": {"podFixed": {"cpu": "1m"}}, "scheduling": {"nodeSelector": NOWHERE}},
    ),
    ("/apis/networking.k8s.io/v1", "ingressclasses", {"spec": {"controller": "narrowgate.dev/none"}}),
    (ADMISSION, "validatingwebhookconfigurations", {"webhooks": [WEBHOOK]}),
    (ADMISSION, "mutatingwebhookconfigurations", {"webhooks": [{**WEBHOOK, "reinvocationPolicy": "Never"}]}),
    (
        ADMISSION,
        "validatingadmissionpolicies",
        {
            "spec": {
                "failurePolicy": "Ignore",
                "matchConstraints": {"resourceRules": WEBHOOK["rules"], "namespaceSelector": NOBODY},
                "validations": [{"expression": "true", "message": "m", "reason": "Invalid"}],
                "variables": [{"name": "v", "expression": "1"}],
            }
        },
    ),
    (
        "/apis/certificates.k8s.io/v1",
        "certificatesigningrequests",
        {},
    ),
    (
        "/apis/apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        {
            "spec": {
                "scope": "Cluster",
                "names": {"plural": "nones", "singular": "none", "kind": "None", "shortNames": ["no"]},
                "versions": [
                    {
                        "name": "v1",
                        "served": False,
                        "storage": True,
                        "subresources": {"status": {}},
                        "additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ".a"}],
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "properties": {
                                    "spec": {
                                        "type": "object",
                                        "required": ["size"],
                                        "properties": {
                                            "size": {"type": "number", "minimum": 1, "maximum": 2.5, "default": 1},
                                            "words": {"type": "string", "enum": ["a", "b"], "pattern": "^[ab]$"},
                                        },
                                        "x-kubernetes-validations": [{"rule": "self.size > 0.0", "message": "m"}],
                                    }
                                },
                            }
                        },
                    }
                ],
            }
        },
    ),
]


def named(content: Document, name: str) -> Document:
    """A whole object of this content and with this name."""
    document = copy.deepcopy(content)
    # Not LABELS: whatever selects those would adopt the object, and delete it.
    document["metadata"] = {"name": name, "labels": {"a": "b", "c": ""}, "annotations": {"d": "e", "empty": ""}}
    return document
