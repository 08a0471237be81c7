"""Objects of every kind that the cluster knows, generated from its own OpenAPI documents, full of secrets.

Here belongs what makes them: values by schema, secrets of known shapes in place of texts, and the talk with the API
server that finds out which of them it takes (a dry run says which fields it refuses; those get a secret that is a DNS
name, then a plain name, then nothing). What is learned about a field holds for the next object of its kind.

Nothing here knows a mask: a planted secret is told by where it stands and by the form it has.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import random
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

CALL_SECONDS = 120.0
DEPTH_LIMIT = 9
"""Levels of an object: schemas of schemas have no end."""
TRIES = 30
"""Dry runs for one object: each tells some of the fields that are refused."""
ROUNDS = 5
"""Objects that are begun for one that is taken."""
INCLUDED = 0.45
"""How many of a schema's optional fields an object has."""

REFERENCE = "#/components/schemas/"
FIELD_MANAGER = "?fieldManager=generated"

_STEP = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")


# --- secrets


class Plant(NamedTuple):
    """A secret and where it was put."""

    core: str
    """What nothing else can look like."""
    text: str
    """What was written: the core in the form of a secret."""
    kind: str
    path: str
    shape: str


SHAPES = (
    "jwt", "aws", "github", "url", "named", "pem", "bearer", "hash", "gitlab", "json", "yaml", "slack", "database",
)  # fmt: skip
"""Forms that the masks of text know."""

BARE = "bare"
"""A random word: only its place says that it is a secret."""
HOST = "host"
"""A bootstrap token is a DNS name as well: it fits where only names do."""


class Plants:
    """Makes secrets and finds them again."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.made: list[Plant] = []

    def plant(self, kind: str, path: str, shape: str = "") -> str:
        """Another secret for a place."""
        shape = shape or self.random.choice(SHAPES)
        core, text = self._written(shape)
        self.made.append(Plant(core, text, kind, path, shape))
        return text

    def _letters(self, count: int, alphabet: str = "abcdef0123456789") -> str:
        return "".join(self.random.choice(alphabet) for _ in range(count))

    def _written(self, shape: str) -> tuple[str, str]:
        core = f"z7{self._letters(28)}"
        upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        match shape:
            case "aws":
                core = self._letters(16, upper)
                return core, f"AKIA{core}"
            case "host":
                core = f"z7{self._letters(14)}"
                return core, f"abcd12.{core}"
            case "jwt":
                return core, f"eyJhbGciOiJIUzI1NiJ9.{core}.c2lnbmF0dXJl"
            case "pem":
                return core, f"-----BEGIN PRIVATE KEY-----\n{core}\n-----END PRIVATE KEY-----\n"
            case "json":
                return core, json.dumps({"auth": {"clientSecret": core}, "port": 1})
            case "yaml":
                return core, f"users:\n- name: admin\n  user:\n    token: {core}\n"
            case _:
                return core, _FORMS[shape].format(core)

    def found_in(self, data: bytes) -> list[tuple[Plant, str]]:
        """Which secrets are in these bytes, and in which form."""
        found: dict[tuple[Plant, str], None] = {}
        for run in _RUN.finditer(data):
            text = run[0]
            for at in range(len(text) - WINDOW + 1):
                for plant, name, form in self._by_beginning.get(text[at : at + WINDOW], ()):
                    if text.startswith(form, at):
                        found[plant, name] = None
        return list(found)

    def freeze(self) -> None:
        """Say that there will be no more: from now on they can be looked for."""
        self._by_beginning: dict[bytes, list[tuple[Plant, str, bytes]]] = {}
        for plant in self.made:
            for name, form in forms(plant.core):
                self._by_beginning.setdefault(form[:WINDOW], []).append((plant, name, form))


WINDOW = 12
"""Bytes that any form of a secret begins with, and by which it is looked up."""

_RUN = re.compile(rb"[A-Za-z0-9+/]{%d,}" % WINDOW)
"""What a secret could stand in, whatever its form."""

_FORMS = {
    "github": "ghp_{}abcdef",
    "url": "https://user:{}@example.com/x",
    "named": "password={}",
    "bearer": "Authorization: Bearer {}",
    "hash": "$2a$10${}",
    "gitlab": "glpat-{}",
    "slack": "xoxb-{}",
    "database": "postgres://app:{}@db:5432/app",
    "hook": "https://hooks.slack.com/services/{}",
    "bare": "{}",
}


def forms(core: str) -> Iterator[tuple[str, bytes]]:
    """A secret as it may have left."""
    plain = core.encode()
    yield "raw", plain
    yield "hex", binascii.hexlify(plain)
    for shift in range(3):
        # Base64 at each alignment, less the characters that hang on what stands beside it.
        encoded = base64.b64encode(b"\0" * shift + plain)
        yield f"base64 at {shift}", encoded[4 if shift else 0 : -4]


# --- the API server


class Answered(NamedTuple):
    status: int
    document: Any


class ApiServer:
    """The API server itself, with the cluster's own credential, on one connection."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode("ascii")
        )
        pair = folder / "client.pem"
        pair.touch(0o600)
        pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        context.load_cert_chain(pair)
        address = urlsplit(cluster["server"])
        self._connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, timeout=CALL_SECONDS, context=context
        )

    def __call__(self, method: str, target: str, body: Any = None, kind: str = "application/json") -> Answered:
        # What may hold anything is kept as the bytes that were sent, and compared as such: no spaces, as Go writes.
        sent = None if body is None else json.dumps(body, separators=(",", ":"))
        headers = {"Accept": "application/json", "Content-Type": kind}
        try:
            self._connection.request(method, target, sent, headers)
            answer = self._connection.getresponse()
        except http.client.RemoteDisconnected:
            # It was idle for too long; the next request opens another.
            self._connection.close()
            self._connection.request(method, target, sent, headers)
            answer = self._connection.getresponse()
        read = answer.read()
        return Answered(answer.status, json.loads(read) if read else None)

    def close(self) -> None:
        self._connection.close()


# --- kinds


@dataclass(frozen=True)
class ObjectKind:
    """A kind of which objects can be made."""

    group: str
    version: str
    kind: str
    collection: str
    """Its path, with `{namespace}` where it has one."""
    schema: Any
    schemas: Any

    @property
    def is_namespaced(self) -> bool:
        return "{namespace}" in self.collection

    def path(self, namespace: str) -> str:
        return self.collection.replace("{namespace}", namespace)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def kinds_of(api: ApiServer) -> list[ObjectKind]:
    """All kinds that can be created and read again, by the OpenAPI documents of the cluster."""
    found = {}
    index = api("GET", "/openapi/v3").document["paths"]
    for path, place in sorted(index.items()):
        if not path.startswith("api"):
            continue
        document = api("GET", place["serverRelativeURL"]).document
        schemas = document.get("components", {}).get("schemas", {})
        for target, item in document.get("paths", {}).items():
            post = item.get("post")
            # What cannot be listed is a question, no object: reviews and bindings.
            if post is None or "get" not in item or "{name}" in target:
                continue
            meant = post["x-kubernetes-group-version-kind"]
            content = post["requestBody"]["content"]
            schema = next(iter(content.values()))["schema"]
            one = ObjectKind(meant["group"], meant["version"], meant["kind"], target, schema, schemas)
            known = found.get((one.group, one.kind))
            if known is None or known.version < one.version or one.is_namespaced:
                found[one.group, one.kind] = one
    return [found[key] for key in sorted(found)]


# --- generation


@dataclass
class Generator:
    """Makes objects of kinds."""

    plants: Plants
    image: str
    run: str
    """The label of all objects of a run."""
    learned: dict[tuple[str, str], int] = field(default_factory=dict)
    """By kind and field: how often a value there was refused."""

    def object_of(self, kind: ObjectKind, name: str, namespace: str) -> dict[str, Any]:
        """Another object of a kind; whether the API server takes it is not known yet."""
        self._kind = kind
        made = self._value(kind.schema, "", 0)
        assert isinstance(made, dict)
        metadata: dict[str, Any] = {"name": name, "labels": {"generated": self.run}}
        if kind.is_namespaced:
            metadata["namespace"] = namespace
        metadata["annotations"] = self._annotations(kind.kind)
        made.pop("status", None)
        return made | {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}

    def _annotations(self, kind: str) -> dict[str, str]:
        made = {
            f"example.com/{shape}": self.plants.plant(kind, f"metadata.annotations.{shape}", shape) for shape in SHAPES
        }
        copy = {"kind": kind, "metadata": {"annotations": {"token": self.plants.plant(kind, "last-applied", BARE)}}}
        return made | {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(copy)}

    def _value(self, schema: Any, path: str, depth: int) -> Any:
        schema = self._resolved(schema)
        if "enum" in schema:
            return self.plants.random.choice(schema["enum"])
        if schema.get("x-kubernetes-embedded-resource"):
            return self._embedded(path)
        if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
            return self.plants.random.randint(1, 60)
        if "oneOf" in schema and "type" not in schema:
            return "1"  # A quantity: a text or a number.
        match schema.get("type"):
            case "object":
                return self._object(schema, path, depth)
            case "array":
                if depth > DEPTH_LIMIT:
                    return []
                return [
                    self._value(schema["items"], f"{path}[]", depth + 1)
                    for _ in range(self.plants.random.randint(1, 2))
                ]
            case "string":
                return self._text(schema, path)
            case "integer":
                return self.plants.random.randint(max(1, schema.get("minimum", 1)), 60)
            case "number":
                return 1.5
            case "boolean":
                return self.plants.random.random() < 0.5
            case _:
                # Anything goes: raw extensions, JSON.
                return {
                    "auth": {"password": self._plant(f"{path}.auth.password", BARE)},
                    "text": self._plant(f"{path}.text"),
                }

    def _object(self, schema: Any, path: str, depth: int) -> Any:
        properties = schema.get("properties")
        if properties is None:
            below = schema.get("additionalProperties")
            if below is None or depth > DEPTH_LIMIT:
                # Nothing is said of its fields.
                keeps = schema.get("x-kubernetes-preserve-unknown-fields") or below is None
                return self._free(path) if keeps else {}
            return {
                key: self._value(below, f"{path}[{key}]", depth + 1)
                for key in self.plants.random.sample(_KEYS, self.plants.random.randint(1, 3))
            }
        required = schema.get("required", ())
        made = {}
        for name, below in properties.items():
            inner = f"{path}.{name}" if path else name
            if (
                inner in ("apiVersion", "kind", "metadata", "status")
                or name == "managedFields"
                or self.learned.get(self._about(inner), 0) >= GIVEN_UP
            ):
                continue
            chance = INCLUDED if depth < 4 else INCLUDED / 2
            wanted = name in required or name in _WANTED or self.plants.random.random() < chance
            if wanted and (depth <= DEPTH_LIMIT or name in required):
                made[name] = self._value(below, inner, depth + 1)
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            made |= self._free(path)
        return made

    def _free(self, path: str) -> dict[str, Any]:
        return {
            "freeText": self._plant(f"{path}.freeText"),
            "apiKey": self._plant(f"{path}.apiKey", BARE),
            "deep": {"list": [{"name": "DB_PASSWORD", "value": self._plant(f"{path}.deep.list[].value", BARE)}]},
        }

    def _embedded(self, path: str) -> dict[str, Any]:
        secret = self._plant(f"{path}.data.any", BARE)
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "within", "annotations": {"note": self._plant(f"{path}.metadata.annotations.note")}},
            "data": {"any": base64.b64encode(secret.encode()).decode()},
            "stringData": {"other": self._plant(f"{path}.stringData.other", BARE)},
        }

    def _text(self, schema: Any, path: str) -> str:
        match schema.get("format"):
            case "date-time":
                return "2030-01-01T00:00:00.000000Z"
            case "byte":
                return base64.b64encode(self._plant(path).encode()).decode()
            case _:
                pass
        refused = self.learned.get(self._about(path), 0)
        if refused == 0 and not path.endswith(_NAMES):
            return self._plant(path)
        if refused <= 1 and not path.endswith("env[].name"):
            # A variable whose very name is masked cannot be told from another.
            return self._plant(path, HOST)
        return f"n{self.plants.random.randrange(1 << 32):08x}"

    def plant(self, kind: ObjectKind, path: str, shape: str = "") -> str:
        """A secret for a place of an object of that kind."""
        return self.plants.plant(kind.kind, path, shape)

    def plant_at(self, path: str, shape: str) -> str:
        """The same for the kind at hand."""
        return self._plant(path, shape)

    def _plant(self, path: str, shape: str = "") -> str:
        return self.plants.plant(self._kind.kind, path, shape)

    def _about(self, path: str) -> tuple[str, str]:
        return self._kind.kind, path

    def _resolved(self, schema: Any) -> Any:
        while True:
            if "$ref" in schema:
                schema = self._kind.schemas[schema["$ref"].removeprefix(REFERENCE)]
            elif len(schema.get("allOf", ())) == 1:
                schema = {key: value for key, value in schema.items() if key != "allOf"} | schema["allOf"][0]
            else:
                return schema

    def mend(self, kind: ObjectKind, made: dict[str, Any], causes: list[dict[str, str]]) -> None:
        """Take out, or write anew, what the API server refuses."""
        self._kind = kind
        # From the end: what stands before an element keeps its number.
        for cause in reversed(causes):
            self._mend(made, cause)

    def _mend(self, made: dict[str, Any], cause: dict[str, str]) -> None:
        steps: list[str | int] = []
        above: list[Any] = [made]
        missing = ""
        for index, key in _STEP.findall(cause.get("field", "")):
            step: str | int = key or (int(index) if index.isdigit() else index)
            below = _child(above[-1], step)
            if below is _NOTHING:
                missing = str(step)
                break
            steps.append(step)
            above.append(below)
        if missing and cause["reason"] == "FieldValueRequired" and isinstance(above[-1], dict):
            path = generic([*steps, missing])
            schema = self._schema_at([*steps, missing])
            if schema is not None and self._count(path) < GIVEN_UP:
                above[-1][missing] = self._value(schema, path, len(steps))
                return
        if not steps or steps[0] in ("apiVersion", "kind"):
            return
        path, value = generic(steps), above[-1]
        count = self._count(path) if not missing else 0
        supported = re.findall(r'"([^"]*)"', cause.get("message", "").partition("supported values: ")[2])
        if isinstance(value, str) and supported:
            above[-2][steps[-1]] = self.plants.random.choice(supported)
        elif isinstance(value, str) and count < GIVEN_UP and cause["reason"] != "FieldValueForbidden":
            above[-2][steps[-1]] = self._text({}, path)
        elif isinstance(value, dict) and value and len(steps) == 1:
            value.pop(self.plants.random.choice(sorted(value)))
        else:
            _drop(above, steps)

    def _count(self, path: str) -> int:
        count = self.learned[self._about(path)] = self.learned.get(self._about(path), 0) + 1
        return count

    def _schema_at(self, steps: list[str | int]) -> Any:
        schema = self._resolved(self._kind.schema)
        for step in steps:
            properties = schema.get("properties", {})
            below = (
                schema.get("items")
                if isinstance(step, int)
                else properties.get(step, schema.get("additionalProperties"))
            )
            if below is None or below is True:
                return None
            schema = self._resolved(below)
        return schema


def _drop(above: list[Any], steps: list[str | int]) -> None:
    """Take a value out, and what is empty without it."""
    for parent, step in zip(reversed(above[:-1]), reversed(steps), strict=True):
        if len(steps) == 1 and step == "metadata":
            return
        if isinstance(parent, list):
            del parent[int(step)]
        else:
            parent.pop(step, None)
        if parent or len(above) <= 2:
            return


GIVEN_UP = 4
"""Refusals after which a field is left out."""

_NAMES = (".name", "Name", ".namespace", ".topologyKey", ".key", "ClassName")
"""Fields that hold names more often than not."""

_WANTED = (
    "env",
    "args",
    "command",
    "annotations",
    "data",
    "stringData",
    "httpHeaders",
    "containers",
    "spec",
    "template",
)
"""Fields that an object always has: where people put secrets."""

_KEYS = ("alpha", "beta", "gamma", "delta")

_NOTHING = object()


def _child(value: Any, step: str | int) -> Any:
    if isinstance(value, list):
        return value[step] if isinstance(step, int) and step < len(value) else _NOTHING
    if isinstance(value, dict):
        return value.get(str(step), _NOTHING)
    return _NOTHING


def generic(steps: list[str | int]) -> str:
    """A path as the generator writes it: elements without their numbers."""
    path = ""
    for step in steps:
        path = f"{path}[]" if isinstance(step, int) else f"{path}.{step}" if path else str(step)
    return path


# --- what the API server wants of kinds, and what keeps the cluster as it is

NOBODYS = {
    "apiGroups": ["nobody.example.com"],
    "apiVersions": ["v1"],
    "resources": ["nothings"],
    "operations": ["CREATE"],
}

TEMPLATE = "{template}"


_WITH_SPEC = frozenset({
    "Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job", "CronJob",
    "HorizontalPodAutoscaler",
})  # fmt: skip


def fit(made: dict[str, Any], kind: ObjectKind, generator: Generator, name: str) -> None:
    """Write into an object what its kind needs, whatever was generated: nothing of it runs, or watches others."""
    spec = made.setdefault("spec", {}) if kind.kind in _WITH_SPEC else {}
    labels = {"app": name}
    match kind.kind:
        case "Pod":
            _fit_pod(spec, generator, "spec")
        case "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "ReplicationController" | "Job":
            template = spec.setdefault("template", {})
            template["metadata"] = {
                "labels": labels,
                "annotations": {"note": generator.plant(kind, "spec.template.metadata.annotations.note")},
            }
            _fit_pod(template.setdefault("spec", {}), generator, "spec.template.spec")
            if kind.kind == "Job":
                for key in ("selector", "manualSelector", "podFailurePolicy", "successPolicy", "managedBy"):
                    spec.pop(key, None)
                spec |= {"suspend": True}
                template["spec"]["restartPolicy"] = "Never"
            else:
                spec["selector"] = labels if kind.kind == "ReplicationController" else {"matchLabels": labels}
                template["spec"].pop("restartPolicy", None)
                if kind.kind != "DaemonSet":
                    spec["replicas"] = 0
        case "CronJob":
            spec |= {"schedule": "0 0 1 1 *", "suspend": True, "timeZone": "UTC"}
            job = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
            for key in ("selector", "manualSelector", "podFailurePolicy", "successPolicy", "managedBy"):
                job.pop(key, None)
            template = job.setdefault("template", {})
            template["metadata"] = {
                "annotations": {
                    "note": generator.plant(kind, "spec.jobTemplate.spec.template.metadata.annotations.note")
                }
            }
            _fit_pod(template.setdefault("spec", {}), generator, "spec.jobTemplate.spec.template.spec")
            template["spec"]["restartPolicy"] = "Never"
        case "PodTemplate":
            template = made.setdefault("template", {})
            template["metadata"] = {"labels": labels}
            _fit_pod(template.setdefault("spec", {}), generator, "template.spec")
        case "Secret":
            made.pop("immutable", None)
            made["type"] = "Opaque"
            made["data"] = {
                key: base64.b64encode(generator.plant(kind, "data", BARE).encode()).decode() for key in _KEYS
            }
            made["stringData"] = {"other": generator.plant(kind, "stringData", BARE)}
        case "ConfigMap":
            made.pop("immutable", None)
            made["data"] = {
                **{f"file-{shape}": generator.plant(kind, f"data.{shape}", shape) for shape in SHAPES},
                "password": generator.plant(kind, "data.password", BARE),
                "kubeconfig": json.dumps(
                    {"users": [{"user": {"token": generator.plant(kind, "data.kubeconfig", BARE)}}]}
                ),
            }
            made["binaryData"] = {
                "blob": base64.b64encode(generator.plant(kind, "binaryData", "named").encode()).decode(),
            }
        case "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration":
            for at, hook in enumerate(made.get("webhooks", ())):
                hook |= {
                    "rules": [NOBODYS],
                    "failurePolicy": "Ignore",
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                    "name": f"n{at}.{name}.example.com",
                }
                hook["clientConfig"] = {"url": generator.plant(kind, "webhooks[].clientConfig.url", "hook")}
                hook.pop("matchConditions", None)
        case "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy":
            spec = made["spec"] = {
                "matchConstraints": {"resourceRules": [NOBODYS]},
                "variables": [
                    {"name": "x", "expression": f"'{generator.plant(kind, 'spec.variables[].expression', 'named')}'"}
                ],
            }
            if kind.kind == "ValidatingAdmissionPolicy":
                message = generator.plant(kind, "spec.validations[].message", "database")
                spec["validations"] = [{"expression": "true", "message": message}]
            else:
                expression = 'Object{metadata: Object.metadata{labels: {"a": "b"}}}'
                applied = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
                spec |= {"reinvocationPolicy": "Never", "mutations": [applied]}
        case "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding":
            # There is no such policy: it binds nothing.
            made["spec"] = {"policyName": "nobodys"}
            if kind.kind == "ValidatingAdmissionPolicyBinding":
                made["spec"]["validationActions"] = ["Audit"]
        case "PriorityClass":
            made |= {"globalDefault": False, "value": 7}
        case "Namespace":
            made.pop("spec", None)
        case "Service":
            made["spec"] = {"ports": [{"port": 80}], "type": "ClusterIP", "selector": labels}
        case "PersistentVolume":
            attributes = {"apiKey": generator.plant(kind, "spec.csi.volumeAttributes.apiKey", BARE)}
            csi = {"driver": "none.example.com", "volumeHandle": "x", "volumeAttributes": attributes}
            made["spec"] = {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "nobodys",
                "csi": csi,
                "mountOptions": [generator.plant(kind, "spec.mountOptions[]", "named")],
            }
        case "PersistentVolumeClaim":
            resources = {"requests": {"storage": "1Gi"}}
            made["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": resources, "storageClassName": "nobodys"}
        case "HorizontalPodAutoscaler":
            spec["maxReplicas"], spec["minReplicas"] = 3, 1
            spec["scaleTargetRef"] = {"kind": "Deployment", "name": "nobodys", "apiVersion": "apps/v1"}
            spec.pop("metrics", None)
        case "CertificateSigningRequest":
            request = (Path(__file__).parent / "request.csr.b64").read_text().strip()
            signer = "nobodys.example.com/none"
            made["spec"] = {"request": request, "usages": ["client auth"], "signerName": signer}
        case "Ingress":
            made["spec"] = {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}
        case "IngressClass":
            made["spec"] = {"controller": "example.com/nobody"}
        case "VolumeAttachment":
            inline = {
                "csi": {
                    "driver": "none.example.com",
                    "volumeHandle": "x",
                    "volumeAttributes": {
                        "password": generator.plant(
                            kind, "spec.source.inlineVolumeSpec.csi.volumeAttributes.password", BARE
                        ),
                        "note": generator.plant(kind, "spec.source.inlineVolumeSpec.csi.volumeAttributes.note"),
                    },
                },
                "accessModes": ["ReadWriteOnce"],
            }
            made["spec"] = {
                "attacher": "none.example.com",
                "nodeName": "nobodys",
                "source": {"inlineVolumeSpec": inline},
            }
        case "VolumeAttributesClass" | "StorageClass":
            made["parameters"] = {
                "apiKey": generator.plant(kind, "parameters.apiKey", BARE),
                **{f"p-{shape}": generator.plant(kind, f"parameters.{shape}", shape) for shape in SHAPES},
            }
            made["driverName" if kind.kind == "VolumeAttributesClass" else "provisioner"] = "none.example.com"
        case "ResourceSlice":
            pool = {"name": "none", "resourceSliceCount": 1, "generation": 1}
            made["spec"] = {"driver": "none.example.com", "pool": pool, "nodeName": "nobodys"}
        case "PriorityLevelConfiguration":
            made["spec"] = {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}
        case "ServiceCIDR":
            made["spec"] = {"cidrs": ["192.0.2.0/24"]}
        case "IPAddress":
            made["metadata"]["name"] = f"192.0.2.{generator.plants.random.randrange(1, 250)}"
            made["spec"] = {"parentRef": {"resource": "services", "name": "x", "namespace": "default"}}
        case "APIService":
            group = f"{name}.example.com"
            made["metadata"]["name"] = f"v1.{group}"
            made["spec"] = {"group": group, "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
        case "CustomResourceDefinition":
            made["metadata"]["name"] = f"things.{name}.example.com"
            schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            versions = [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]
            url = generator.plant(kind, "spec.conversion.webhook.clientConfig.url", "hook")
            webhook = {"conversionReviewVersions": ["v1"], "clientConfig": {"url": url}}
            made["spec"] = {
                "group": f"{name}.example.com",
                "scope": "Namespaced",
                "names": {"plural": "things", "kind": "Thing"},
                "versions": versions,
                "conversion": {"strategy": "Webhook", "webhook": webhook},
            }
        case "Event":
            if kind.group == "events.k8s.io":
                about = {"namespace": made["metadata"]["namespace"], "name": "x", "kind": "Pod"}
                made |= {
                    "regarding": about,
                    "type": "Normal",
                    "action": "Tested",
                    "reason": "Tested",
                    "eventTime": "2030-01-01T00:00:00.000000Z",
                    "reportingController": "example.com/test",
                    "reportingInstance": "test",
                    "note": generator.plant(kind, "note", "database"),
                }
                for key in (
                    "series",
                    "deprecatedSource",
                    "deprecatedCount",
                    "deprecatedFirstTimestamp",
                    "deprecatedLastTimestamp",
                ):
                    made.pop(key, None)
            else:
                for key in ("series", "eventTime", "reportingComponent", "reportingInstance", "action"):
                    made.pop(key, None)
                made["involvedObject"] = {"namespace": made["metadata"]["namespace"], "name": "x", "kind": "Pod"}
                made["message"] = generator.plant(kind, "message", "named")
        case _:
            pass


def _fit_pod(spec: dict[str, Any], generator: Generator, path: str) -> None:
    containers = spec.get("containers") or [{}]
    for at, container in enumerate(containers):
        container |= {"name": f"c{at}", "image": generator.image, "imagePullPolicy": "Never"}
        for key in (
            "resources",
            "volumeMounts",
            "volumeDevices",
            "restartPolicy",
            "restartPolicyRules",
            "resizePolicy",
        ):
            container.pop(key, None)
        here = f"{path}.containers[]"
        container["env"] = [
            {"name": "DB_PASSWORD", "value": generator.plant_at(f"{here}.env[].value", BARE)},
            *(
                {"name": f"VAR_{shape.upper()}", "value": generator.plant_at(f"{here}.env[].value", shape)}
                for shape in SHAPES
            ),
        ]
        container["args"] = [
            "--password",
            generator.plant_at(f"{here}.args[]", BARE),
            f"--api-key={generator.plant_at(f'{here}.args[]', BARE)}",
            generator.plant_at(f"{here}.args[]", "database"),
        ]
        container["command"] = ["/bin/sh", "-c", f"mysql -p{generator.plant_at(f'{here}.command[]', BARE)}"]
        header = {"name": "Authorization", "value": f"Basic {generator.plant_at(f'{here}.httpHeaders[].value', BARE)}"}
        container["livenessProbe"] = {"httpGet": {"port": 80, "path": "/", "httpHeaders": [header]}}
        for key in ("startupProbe", "readinessProbe", "lifecycle"):
            container.pop(key, None)
    spec["containers"] = containers
    for key in (
        "initContainers",
        "ephemeralContainers",
        "nodeName",
        "resourceClaims",
        "os",
        "priority",
        "overhead",
        "preemptionPolicy",
        "runtimeClassName",
        "workloadRef",
        "schedulingGroup",
        "hostnameOverride",
        "resources",
        "priorityClassName",
        "serviceAccount",
        "serviceAccountName",
    ):
        spec.pop(key, None)
    # Nobody runs it.
    spec |= {
        "schedulerName": "nobody",
        "nodeSelector": {"example.com/nowhere": "none"},
        "terminationGracePeriodSeconds": 0,
    }


DRY_ONLY = frozenset({
    "APIService", "CustomResourceDefinition", "FlowSchema", "IPAddress", "Node", "PriorityLevelConfiguration",
    "ServiceCIDR",
})  # fmt: skip
"""Kinds that the cluster itself goes by: other tests run in it. Their objects are sent through the gate as dry runs."""


def created(
    api: ApiServer, generator: Generator, kind: ObjectKind, name: str, namespace: str
) -> tuple[dict[str, Any] | None, str]:
    """An object that the API server takes, as it is sent, and what it said last; None where none was found."""
    said = ""
    for _ in range(ROUNDS):
        made = generator.object_of(kind, name, namespace)
        for _ in range(TRIES):
            fit(made, kind, generator, name)
            answer = api("POST", f"{kind.path(namespace)}?dryRun=All&fieldValidation=Ignore", made)
            if answer.status in (200, 201):
                return made, ""
            said = str(answer.document.get("message"))
            causes = (answer.document.get("details") or {}).get("causes") or []
            causes = [cause for cause in causes if cause.get("field", "<nil>") != "<nil>" and "reason" in cause]
            if answer.status not in (400, 403, 422):
                break
            # Where nothing says which field it is, one goes.
            generator.mend(kind, made, causes or [{"field": "spec", "reason": "Unknown"}])
    return None, said
