"""What the gate masks by itself, for everybody but people, unless a policy reveals it: where secrets are in Kubernetes.

Each mask has an id (`narrowgate/secret-data`), by which policies reveal it. Those that know a place are here as paths;
those that know what a secret looks like are `patterns`' (`TEXT_RULES`), and here is where text is that they look at.

Not secret, and so not masked: certificates, certificate requests and CA bundles (public by their nature; a private key
that got among them is found by pattern), keys of Secrets and ConfigMaps, names of Secrets that something uses, names of
image pull secrets and volumes, managed fields (they hold keys, not values). Resources that hold nothing but names and
numbers (`_PLAIN`) are not masked at all, so that they pass as they are, in every encoding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from narrowgate.core.known_resources import GROUPS_OF
from narrowgate.core.masking.patterns import PRIVATE_KEY, TEXT_RULES
from narrowgate.core.masking.plan import (
    Anywhere,
    Arguments,
    Embedded,
    Encoded,
    Entry,
    Every,
    Forget,
    Hide,
    Key,
    OfKind,
    OtherThan,
    Prose,
    Root,
    Scan,
    SecretAnnotation,
    SecretHeader,
    SecretKey,
    SecretlyNamed,
    Step,
)

SECRET_DATA: Final = "narrowgate/secret-data"
ISSUED_TOKEN: Final = "narrowgate/issued-token"
CONFIG_SECRET: Final = "narrowgate/config-secret"
ENV: Final = "narrowgate/env"
ARGUMENT: Final = "narrowgate/argument"
HEADER: Final = "narrowgate/header"
FIELD: Final = "narrowgate/field"

PLACE_RULES: Final[dict[str, str]] = {
    SECRET_DATA: "every value of a Secret: tokens, keys, Helm releases, bootstrap tokens, registry credentials",
    ISSUED_TOKEN: "tokens that a TokenRequest issues, or that a TokenReview asks about",
    CONFIG_SECRET: "values of a ConfigMap whose key is named like a secret, and such keys in JSON within it",
    ENV: "values of environment variables that are named like secrets, in pods and whatever makes pods",
    ARGUMENT: "arguments that follow a flag named like a secret (--password x)",
    HEADER: "HTTP headers of probes that carry credentials",
    FIELD: "fields named like secrets: of custom resources, volumes, storage classes; annotations of such names",
}
"""The built-in masks that know a place, each with what it masks."""

BUILT_IN_RULES: Final[dict[str, str]] = PLACE_RULES | TEXT_RULES
"""All built-in masks, by the names that `reveal` takes."""

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which kubectl keeps a copy of the object (k8s.io/kubectl, pkg/util/apply.go)."""

UNREADABLE: Final = "narrowgate/unreadable"
"""The rule of a document within a document that cannot be read, and so is hidden whole. Nothing reveals it."""

_TEMPLATES: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("", "pods"): (),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("", "podtemplates"): ("template",),
    ("apps", "daemonsets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}
"""Where a resource has what a pod is made from; a pod is that itself."""

_OPAQUE: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("apps", "controllerrevisions"): ("data",),
    ("storage.k8s.io", "storageclasses"): ("parameters",),
    ("storage.k8s.io", "volumeattributesclasses"): ("parameters",),
    ("storage.k8s.io", "volumeattachments"): ("spec", "source", "inlineVolumeSpec"),
    ("networking.k8s.io", "ingressclasses"): ("spec",),
    ("", "persistentvolumes"): ("spec",),
    ("resource.k8s.io", "deviceclasses"): ("spec",),
    ("resource.k8s.io", "resourceclaims"): ("spec",),
    ("resource.k8s.io", "resourceclaimtemplates"): ("spec",),
}
"""Built-in resources that hold what somebody else defines: looked through as custom resources are."""

_TEXTS: Final[dict[tuple[str, str], tuple[tuple[str, ...], ...]]] = {
    ("", "events"): (("message",), ("note",)),
    ("events.k8s.io", "events"): (("message",), ("note",)),
    ("", "componentstatuses"): (("conditions",),),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): (("webhooks", "*", "clientConfig", "url"),),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): (("webhooks", "*", "clientConfig", "url"),),
    ("apiextensions.k8s.io", "customresourcedefinitions"): (("spec", "conversion", "webhook", "clientConfig", "url"),),
    ("storage.k8s.io", "storageclasses"): (("mountOptions",),),
    ("storage.k8s.io", "volumeattachments"): (
        ("status", "attachError", "message"),
        ("status", "detachError", "message"),
        ("status", "attachmentMetadata"),
    ),
}
"""Where text is besides annotations and conditions."""

_BYTES: Final[dict[tuple[str, str], tuple[tuple[str, ...], ...]]] = {
    ("", "configmaps"): (("binaryData", "*"),),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): (("webhooks", "*", "clientConfig", "caBundle"),),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): (
        ("webhooks", "*", "clientConfig", "caBundle"),
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): (
        ("spec", "conversion", "webhook", "clientConfig", "caBundle"),
    ),
    ("apiregistration.k8s.io", "apiservices"): (("spec", "caBundle"),),
    ("certificates.k8s.io", "certificatesigningrequests"): (("spec", "request"), ("status", "certificate")),
}
"""Where text is in base64: public by its nature, and looked at because a private key may have got there."""

_PLAIN: Final = frozenset(
    {
        ("", "bindings"), ("", "endpoints"), ("", "limitranges"), ("", "resourcequotas"),
        ("authorization.k8s.io", "localsubjectaccessreviews"), ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"), ("authorization.k8s.io", "subjectaccessreviews"),
        ("authentication.k8s.io", "selfsubjectreviews"), ("coordination.k8s.io", "leases"),
        ("discovery.k8s.io", "endpointslices"), ("metrics.k8s.io", "nodes"), ("metrics.k8s.io", "pods"),
        ("node.k8s.io", "runtimeclasses"), ("policy", "poddisruptionbudgets"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"), ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "rolebindings"), ("rbac.authorization.k8s.io", "roles"),
        ("scheduling.k8s.io", "priorityclasses"), ("storage.k8s.io", "csinodes"),
        ("storage.k8s.io", "csistoragecapacities"),
    }
)  # fmt: skip
"""Resources of names and numbers, whose objects have no place for a secret but one that nobody reads it from."""

_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")
_HOOKS: Final = (
    ("livenessProbe",), ("readinessProbe",), ("startupProbe",), ("lifecycle", "postStart"), ("lifecycle", "preStop"),
)  # fmt: skip
_TOP: Final = OtherThan(frozenset({"apiVersion", "kind", "metadata"}))


def built_in_rules(group: str, resource: str) -> tuple[str, ...]:
    """The built-in masks that may find something in answers about a resource (`pods`, `pods/log`): empty where there
    is nothing to be found, so that such answers pass untouched.
    """
    base = resource.partition("/")[0]
    if (group, base) in _PLAIN:
        return ()
    said = [entry.action for entry in _entries(group, resource)]
    places = {action.rule for action in said if isinstance(action, Hide | Arguments)}
    return tuple(sorted(places | TEXT_RULES.keys()))


def entries_of(group: str, resource: str, rules: Collection[str]) -> Iterator[Entry]:
    """What these of the built-in masks look for in objects of a resource."""
    texts = not TEXT_RULES.keys().isdisjoint(rules)
    for entry in _entries(group, resource):
        match entry.action:
            case Forget(texts=True):
                if texts:
                    yield entry
            case Hide(rule=rule) | Forget(rule=rule) if rule not in rules:
                pass
            case Arguments(rule=rule) if rule not in rules:
                if texts:
                    yield Entry(entry.root, entry.steps, Scan())
            case Scan() if not texts:
                pass
            case _:
                yield entry


def structure_of(group: str, resource: str) -> Iterator[Entry]:
    """What a plan must know of a resource, whatever it masks: where a copy of the object is, and what is base64."""
    base = resource.partition("/")[0]
    yield Entry(Root.OBJECT, (*_keys("metadata", "annotations"), Key(LAST_APPLIED)), Embedded(Root.OBJECT, UNREADABLE))
    if (group, base) == ("", "secrets"):
        yield Entry(Root.OBJECT, (Key("data"), Every()), Encoded())
    for path in _BYTES.get((group, base), ()):
        yield Entry(Root.OBJECT, _keys(*path), Encoded())


def _entries(group: str, resource: str) -> Iterator[Entry]:
    base = resource.partition("/")[0]
    yield from _everywhere()
    for path in _TEXTS.get((group, base), ()):
        yield _scan(_keys(*path))
    for path in _BYTES.get((group, base), ()):
        yield _scan(_keys(*path))
    if (group, base) in _TEMPLATES:
        yield from _pod_template(_TEMPLATES[(group, base)])
    elif (group, base) in _OPAQUE:
        yield from _custom(_keys(*_OPAQUE[(group, base)]))
    elif not is_known(group, base):
        yield from _custom((_TOP,))
        yield from _at_the_top()
        yield Entry(Root.CELL, (SecretKey(),), Hide(FIELD))
    match group, base:
        case "", "secrets":
            yield _hide(_keys("data"), SECRET_DATA)
            yield _hide(_keys("stringData"), SECRET_DATA)
            # Copies that operators keep in annotations, without the kind.
            copied = (Anywhere(), Key("data"), Every())
            yield Entry(Root.ANYTHING, copied, Hide(SECRET_DATA, strings_only=True))
            yield Entry(Root.ANYTHING, copied, Encoded())
        case "", "configmaps":
            yield from _config_map()
        case "", "serviceaccounts":
            yield _hide(_keys("status", "token"), ISSUED_TOKEN)
        case "authentication.k8s.io", ("tokenreviews" | "tokenrequests"):
            yield _hide(_keys("spec", "token"), ISSUED_TOKEN)
            yield _hide(_keys("status", "token"), ISSUED_TOKEN)
        case _:
            pass


def is_known(group: str, resource: str) -> bool:
    """Whether a resource is Kubernetes' own, so that its shape is known."""
    return group in GROUPS_OF.get(resource.partition("/")[0], ())


def _everywhere() -> Iterator[Entry]:
    """What any answer may hold: annotations, conditions, refusals, tables, JSON in texts."""
    yield Entry(Root.OBJECT, (*_keys("metadata", "annotations"), Every()), Embedded(Root.ANYTHING))
    yield _hide((*_keys("metadata", "annotations"), SecretAnnotation()), FIELD)
    yield _scan(_keys("status", "message"))
    yield _scan(_keys("status", "conditions", "*", "message"))
    for path in (_keys("message"), _keys("details", "causes", "*", "message")):
        yield Entry(Root.STATUS, path, Scan(Prose.STATUS))
    yield Entry(Root.CELL, (Every(),), Scan())
    yield Entry(Root.ANYTHING, (Every(),), Scan())
    yield Entry(Root.ANYTHING, (Anywhere(), SecretKey()), Hide(FIELD, strings_only=True))
    yield Entry(Root.ANYTHING, (Anywhere(), Every(), SecretlyNamed(), Key("value")), Hide(ENV, strings_only=True))
    yield from _secrets_within(Root.ANYTHING, ())
    for member in ("d", "dp", "dq", "qi"):
        # The private members of a JSON Web Key (RFC 7518, section 6.3.2).
        yield Entry(Root.ANYTHING, (Anywhere(), Key(member)), Hide(PRIVATE_KEY, strings_only=True))


def _config_map() -> Iterator[Entry]:
    yield Entry(Root.OBJECT, (Key("data"), Every()), Embedded(Root.ANYTHING))
    yield _hide((Key("data"), SecretKey()), CONFIG_SECRET)
    yield _hide((Key("binaryData"), SecretKey()), CONFIG_SECRET)
    # What is in JSON within a ConfigMap is revealed with the keys beside it.
    yield Entry(Root.ANYTHING, (Anywhere(), SecretKey()), Hide(CONFIG_SECRET, strings_only=True))


def _custom(top: tuple[Step, ...]) -> Iterator[Entry]:
    """Objects of unknown shape: pods' containers wherever they are, fields by their names, and all text."""
    yield _scan(top)
    yield _hide((*top, Anywhere(), SecretKey()), FIELD)
    # Environment variables, HTTP headers, parameters of workflows and charts: {name: ..., value: ...}.
    yield _hide((*top, Anywhere(), Every(), SecretlyNamed(), Key("value")), ENV)
    yield _hide((*top, Anywhere(), Key("httpHeaders"), Every(), SecretHeader(), Key("value")), HEADER)
    yield from _secrets_within(Root.OBJECT, top)
    for command in ("command", "args"):
        yield Entry(Root.OBJECT, (*top, Anywhere(), Key(command)), Arguments(ARGUMENT))
    managed = _keys("metadata", "managedFields", "*", "fieldsV1")
    yield Entry(Root.OBJECT, (*managed, Anywhere(), SecretKey()), Forget(FIELD))
    yield Entry(Root.OBJECT, (*managed, Anywhere()), Forget(FIELD, secret_fields=True))
    yield Entry(Root.OBJECT, (*managed, Anywhere()), Forget(FIELD, texts=True))
    yield Entry(Root.OBJECT, (*top, Anywhere(), Key("annotations"), Every()), Embedded(Root.ANYTHING))
    yield Entry(Root.OBJECT, (*top, Anywhere(), Key("caBundle")), Encoded())


def _at_the_top() -> Iterator[Entry]:
    """Fields of objects that have no `spec` around them."""
    yield _hide((SecretKey(),), FIELD)
    yield _hide((Key("stringData"),), SECRET_DATA)
    yield _hide((Key("httpHeaders"), Every(), SecretHeader(), Key("value")), HEADER)
    for command in ("command", "args"):
        yield Entry(Root.OBJECT, (Key(command),), Arguments(ARGUMENT))
    yield Entry(Root.OBJECT, (Key("annotations"), Every()), Embedded(Root.ANYTHING))
    yield Entry(Root.OBJECT, (Key("caBundle"),), Encoded())


def _secrets_within(root: Root, top: tuple[Step, ...]) -> Iterator[Entry]:
    """Secrets as parts of other objects: manifests that some controller applies elsewhere."""
    within = (*top, Anywhere(), OfKind("Secret"))
    yield Entry(root, (*within, Key("data"), Every()), Hide(SECRET_DATA))
    yield Entry(root, (*within, Key("data"), Every()), Encoded())
    yield Entry(root, (*top, Anywhere(), Key("stringData")), Hide(SECRET_DATA))


def _pod_template(prefix: tuple[str, ...]) -> Iterator[Entry]:
    """A pod, or what one is made from, at `prefix`."""
    for at in range(1, len(prefix) + 1):
        # A CronJob has the template of a Job around that of the pod, each with annotations.
        annotations = _keys(*prefix[:at], "metadata", "annotations")
        yield Entry(Root.OBJECT, (*annotations, Every()), Embedded(Root.ANYTHING))
        yield _hide((*annotations, SecretAnnotation()), FIELD)
    spec = _keys(*prefix, "spec")
    for containers in _CONTAINERS:
        yield from _container((*spec, Key(containers), Every()))
    volume = (*spec, Key("volumes"), Every())
    for options in (("flexVolume", "options"), ("csi", "volumeAttributes")):
        yield _hide((*volume, *_keys(*options), SecretKey()), FIELD)
        yield _scan((*volume, *_keys(*options)))
    yield _scan((*volume, *_keys("gitRepo", "repository")))
    status = _keys("status")
    for statuses in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for state in ("state", "lastState"):
            # The last lines of a container's log, where it was asked for that (terminationMessagePolicy).
            yield _scan((*status, *_keys(statuses, "*", state, "*", "message")))


def _container(top: tuple[Step, ...]) -> Iterator[Entry]:
    env = (*top, *_keys("env", "*"))
    yield _hide((*env, SecretlyNamed(), Key("value")), ENV)
    yield Entry(Root.OBJECT, (*env, Key("value")), Embedded(Root.ANYTHING))
    for command in ("command", "args"):
        yield Entry(Root.OBJECT, (*top, Key(command)), Arguments(ARGUMENT))
    for hook in _HOOKS:
        yield Entry(Root.OBJECT, (*top, *_keys(*hook, "exec", "command")), Arguments(ARGUMENT))
        request = (*top, *_keys(*hook, "httpGet"))
        yield _scan((*request, Key("path")))
        header = (*request, *_keys("httpHeaders", "*"))
        yield _hide((*header, SecretHeader(), Key("value")), HEADER)
        yield _scan((*header, Key("value")))


def _hide(steps: tuple[Step, ...], rule: str) -> Entry:
    """All of a Secret goes, whatever it is; elsewhere a field that is named like a secret may also name one."""
    return Entry(Root.OBJECT, steps, Hide(rule, strings_only=rule not in (SECRET_DATA, ISSUED_TOKEN)))


def _scan(steps: tuple[Step, ...]) -> Entry:
    return Entry(Root.OBJECT, steps, Scan())


def _keys(*names: str) -> tuple[Step, ...]:
    return tuple(Every() if name == "*" else Key(name) for name in names)
