"""Selectors as questions: whoever may list objects by a masked field asks what it is, and is answered by who is listed.

`fieldSelector=spec.pin=1234` finds the objects whose masked pin that is, for fields that a CRD makes selectable
(KEP-4358) and those that Kubernetes does; `labelSelector=level>5` halves what a masked label may be with each request.
So a selector may not name a field that is masked. A text that is only looked through for secrets may be selected by,
unless what it is compared with is such a secret itself.

Paths are those of k8s.io/apiextensions-apiserver (`ValidFieldPath` without array notation): keys with dots between
them. What is written otherwise, as somebody else's API server may allow, is taken for masked where anything is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from narrowgate.core.masking.plan import Hide, Place
from narrowgate.core.request_info import field_requirements

STEPS_LIMIT: Final = 64
"""Steps of a selected field; CRD schemas nest in tens."""

_ALSO: Final[dict[tuple[str, str], dict[str, tuple[str, ...]]]] = {
    ("", "events"): {
        "source": ("source.component", "reportingComponent"),
        "reportingComponent": ("reportingComponent", "source.component"),
    },
    ("events.k8s.io", "events"): {
        "source": ("deprecatedSource.component", "reportingController"),
        "reportingController": ("reportingController", "deprecatedSource.component"),
    },
    ("", "pods"): {
        "status.podIP": ("status.podIP", "status.podIPs[].ip"),
        "spec.serviceAccountName": ("spec.serviceAccountName", "spec.serviceAccount"),
    },
    ("batch", "jobs"): {"status.successful": ("status.succeeded",)},
}
"""Selectable fields of Kubernetes' own that show another field, or one more
(`ToSelectableFields` of k8s.io/kubernetes/pkg/registry)."""

_ELEMENTS: Final = "[]"

_NEVER_MASKED: Final = ("metadata.name", "metadata.namespace")
"""What tells objects apart."""

_PATH: Final = re.compile(r"[\w-]+(?:\[\])?(?:\.[\w-]+(?:\[\])?)*")
_WORDS: Final = re.compile(r"[^\s,()=!<>]+")


def masked_field(
    resource: tuple[str, str], objects: Place | None, selector: str, masked: Callable[[str, Place], str]
) -> str:
    """The first field of a field selector that is masked; empty where none is. `resource` is its group and name,
    `objects` where its masked objects begin, `masked` makes of a text at a place what is shown of it.
    """
    if objects is None:
        return ""
    for key, value in field_requirements(selector):
        if any(_is_asked(objects, path, value, masked) for path in _ALSO.get(resource, {}).get(key, (key,))):
            return key
    return ""


def masked_label(objects: Place | None, selector: str) -> str:
    """The first label of a label selector that is masked; empty where none is."""
    labels = _below(_below(objects, "metadata"), "labels")
    if labels is None:
        return ""
    # Values are looked at as if they were keys, too: which is which need not be known for certain.
    return next((key for key in _words(selector) if _is_hidden(_below(labels, key))), "")


def _words(selector: str) -> Iterable[str]:
    return (found[0] for found in _WORDS.finditer(selector))


def _is_asked(objects: Place, path: str, value: str, masked: Callable[[str, Place], str]) -> bool:
    if path in _NEVER_MASKED:
        return False
    if _PATH.fullmatch(path) is None or path.count(".") >= STEPS_LIMIT:
        return True
    place: Place | None = objects
    for key in path.split("."):
        place = _below(place, key.removesuffix(_ELEMENTS))
        if place is not None and place.hides is None and key.endswith(_ELEMENTS):
            place = place.element
    return place is not None and (_hides(place) or masked(value, place) != value)


def _is_hidden(place: Place | None) -> bool:
    return place is not None and _hides(place)


def _hides(place: Place) -> bool:
    return place.hides is not None or isinstance(place.text, Hide)


def _below(place: Place | None, key: str) -> Place | None:
    """The place of an object's key; that which hides all of the object where one does."""
    if place is None or place.hides is not None:
        return place
    # What the name beside it is, nobody knows here.
    named = place.named(None) if place.by_name else place
    return named.child(key) if named is not None else None
