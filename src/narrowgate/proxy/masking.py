"""The masks of one answer: from what `decide` obliges to, to what masks the bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from narrowgate.core.accept import PROTOBUF
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import ANYWHERE, MaskChoice, Where, is_masked
from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.objects import ObjectMasker
from narrowgate.core.masking.operations import masked_operations
from narrowgate.core.masking.patterns import KNOWN_VALUE, text_patterns
from narrowgate.core.masking.plan import Plan
from narrowgate.core.masking.selected import masked_field, masked_label
from narrowgate.core.masking.text import TextMasker
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.status import one_line
from narrowgate.core.target import Target
from narrowgate.core.understand import is_streaming
from narrowgate.core.uses import JSON_PATCH
from narrowgate.proxy.cluster import ClusterNotReady
from narrowgate.proxy.known_values import KnownSecrets
from narrowgate.proxy.reduction import Reduction
from narrowgate.proxy.session_masks import SessionMasks
from narrowgate.proxy.transform import (
    Client,
    MaskedSink,
    content_type,
    form_of,
    length_of,
    masked_whole,
    unmaskable,
    unreadable,
    warnings_for,
)
from narrowgate.proxy.unchanged import Seen, Unchanged
from narrowgate.proxy.upstream import UpstreamBroken
from narrowgate.wire.http1 import ResponseHead, reframed
from narrowgate.wire.json_mask import REMEMBERED_BYTES, REMEMBERED_OF_WATCH, JsonMasker
from narrowgate.wire.json_spans import Unreadable
from narrowgate.wire.masked_answer import Form, MaskedAnswer, masked_answer
from narrowgate.wire.protobuf_answer import protobuf_answer

MASKERS_LIMIT: Final = 4
"""Plans of one answer that are made ready at a time: there are as many as there are sorts of namespaces to a policy."""

PLANS_LIMIT: Final = 1_024
"""Namespaces, and objects that a reveal names, whose plan one answer remembers."""


_LABELS: Final = "labelSelector"
_SELECTORS: Final = frozenset({"fieldSelector", _LABELS})


SHOWING_OUTPUT: Final = frozenset({"exec", "attach"})
"""Streams into a pod that bring back what a program writes. What is behind a forwarded port is its own affair."""

OK: Final = 200
"""The HTTP status of an answer that is what was asked for."""

_WARNING: Final = re.compile(rb"^(warning:[ \t]*)([^\r\n]+)", re.IGNORECASE | re.MULTILINE)


class Masking:
    """Makes what masks answers. One per process."""

    def __init__(self, key: bytes, known: Mapping[str, KnownSecrets] | None = None) -> None:
        """`key` is that of masked values, the same in every process of the gate; `known` is by cluster."""
        self._values = ValueMasker(key)
        self._known = known or {}
        self._unchanged: dict[str, Unchanged] = {}

    def is_needed(self, choice: MaskChoice | None, info: RequestInfo) -> bool:
        """Whether an answer to this request must be masked."""
        return choice is not None and is_masked(info)

    def of(
        self,
        choice: MaskChoice | None,
        info: RequestInfo,
        cluster: str = "",
        *,
        cut: bool = False,
        reduction: Reduction | None = None,
    ) -> AnswerMasks | None:
        """What masks one answer of a cluster to this request; None where it is passed on as it is. `cut` says that the
        request has text end anywhere, `reduction` what the answer is reduced to.

        Raises ClusterNotReady where the values of its Secrets are to be masked and nobody knows them now.
        """
        if reduction is not None and choice is None:
            choice = MaskChoice(info.api_group, info.resource, ())
        if choice is None or (reduction is None and not is_masked(info)):
            return None
        unchanged = self._unchanged.get(cluster)
        if unchanged is None:
            unchanged = self._unchanged[cluster] = Unchanged()
        remembered = Remembered(self._known_to(choice, cluster), unchanged)
        return AnswerMasks(choice, self._values, info, remembered, reduction, cut=cut)

    def of_session(self, choice: MaskChoice | None, info: RequestInfo, cluster: str) -> SessionMasks | None:
        """What masks what a program writes in an exec or attach; None where it is passed on as it is.

        Raises ClusterNotReady as `of` does.
        """
        if choice is None or info.subresource not in SHOWING_OUTPUT or not is_streaming(info):
            return None
        plan = choice.plan(Where(info.namespace, info.name))
        if plan is None or not plan.text_rules:
            return None
        known = self._known_to(choice, cluster) if KNOWN_VALUE in plan.text_rules else _nothing
        return SessionMasks(text_patterns(plan.text_rules), self._values, lambda: _now(known))

    def _known_to(self, choice: MaskChoice, cluster: str) -> Callable[[], KnownValues]:
        known = self._known.get(cluster)
        if known is None:
            return _nothing
        plan = choice.plan(ANYWHERE)
        if plan is None or KNOWN_VALUE not in plan.text_rules:
            return _nothing
        known.current()
        return known.current

    def shown(self, choice: MaskChoice | None, document: Any, of: Any, cluster: str = "") -> Any:
        """An object as these masks show it, the very same where nothing of it is masked. `of` is the object as it is:
        which masks hold hangs on its name and namespace. Raises ClusterNotReady as `of` does.
        """
        metadata = of.get("metadata") if isinstance(of, dict) else None
        where = ANYWHERE
        if isinstance(metadata, dict) and "name" in metadata:
            where = Where(metadata.get("namespace", ""), metadata["name"])
        plan = choice.plan(where) if choice is not None else None
        if plan is None or plan.objects is None:
            return document
        known = self._known_to(choice, cluster)() if choice is not None else NOTHING_KNOWN
        return ObjectMasker(plan, self._values, {}, known).mask(document, plan.objects)

    def in_record(self, choice: MaskChoice, document: Any, form: str, info: RequestInfo, cluster: str) -> Any:
        """What was sent with a request, as values, masked where it is kept; `form` is its media type. Raises
        ClusterNotReady as `of` does, Malformed where it is nested too deeply.
        """
        plan = choice.plan(Where(info.namespace or None, None))
        if plan is None or plan.objects is None:
            return document
        known = self._known_to(choice, cluster)()
        masker = ObjectMasker(plan, self._values, {}, known, are_parts=info.verb == "patch")
        return masked_operations(document, masker) if form == JSON_PATCH else masker.mask(document, plan.objects)

    def require_unmasked_selectors(
        self, choice: MaskChoice | None, info: RequestInfo, target: Target, cluster: str
    ) -> None:
        """Raise Malformed 403 where a request selects objects by what is masked of them: which come would tell it.

        Raises ClusterNotReady as `of` does.
        """
        selectors = [(key, value) for key, value in target.query if value and key in _SELECTORS]
        if choice is None or not selectors or not is_masked(info):
            return
        plan = choice.plan(Where(info.namespace or None, info.name or None))
        if plan is None:
            return
        masker = ObjectMasker(plan, self._values, {}, self._known_to(choice, cluster)())
        for key, selector in selectors:
            if key == _LABELS:
                field = masked_label(plan.objects, selector)
            else:
                field = masked_field((info.api_group, info.resource), plan.objects, selector, masker.mask)
            if field:
                raise Malformed(
                    f"{one_line(field)} is masked for you, and {key} would tell what it is: leave it out of the "
                    f"selector",
                    403,
                )

    def told(self, choice: MaskChoice | None, status: Any, cluster: str) -> Any:
        """A `metav1.Status` of the cluster's as these masks show it. Raises ClusterNotReady as `of` does."""
        plan = choice.plan(ANYWHERE) if choice is not None else None
        if choice is None or plan is None or plan.status is None:
            return status
        masker = ObjectMasker(plan, self._values, {}, _now(self._known_to(choice, cluster)))
        return masker.mask(status, plan.status)


def _nothing() -> KnownValues:
    return NOTHING_KNOWN


class Remembered(NamedTuple):
    """What the gate remembers of the cluster that answers."""

    known: Callable[[], KnownValues]
    """Which values of its Secrets are masked now; it may raise ClusterNotReady."""
    unchanged: Unchanged


class AnswerMasks:
    """Masks one answer, and counts what it masks."""

    def __init__(
        self,
        choice: MaskChoice,
        values: ValueMasker,
        info: RequestInfo,
        remembered: Remembered,
        reduction: Reduction | None,
        *,
        cut: bool = False,
    ) -> None:
        """`reduction` is what the answer is reduced to, where it is; `cut` says that text of it ends anywhere."""
        self._cut = cut
        self._reduction = reduction
        self._known, self._unchanged = remembered
        self._known_last = NOTHING_KNOWN
        self._choice = choice
        self._values = values
        self._info = info
        self._form = form_of(info)
        self._counts: dict[str, int] = {}
        self._maskers: dict[Plan, JsonMasker] = {}
        self._plans: dict[Where, Plan | None] = {}

    def require_readable(self, head: ResponseHead) -> None:
        """Raise UpstreamBroken where an answer with this head cannot be masked."""
        if problem := unmaskable(head, self._info):
            raise UpstreamBroken(f"the API server's answer cannot be masked, and is not passed on: {problem}")

    def whole(self, head: ResponseHead, body: bytes) -> tuple[ResponseHead, bytes]:
        """A whole answer, masked. Raises UpstreamBroken where it cannot be read."""
        head = self._masked_head(head)
        if head.framing.empty:
            return head, body
        seen = self._seen(head, body)
        if seen is not None and self._unchanged.is_kept(seen):
            return head, body
        masked = masked_whole(self._answer(head), body)
        if seen is not None and masked == body and not self._counts:
            self._unchanged.keep(seen)
        return reframed(head, length_of(masked), self._warnings(head)), masked

    def beginning(self, head: ResponseHead, body: bytes) -> bytes:
        """The beginning of an answer, masked as far as it can be read by now. Raises UpstreamBroken where it cannot."""
        try:
            return self._answer(head).feed(body)
        except Unreadable as error:
            raise UpstreamBroken(unreadable(error)) from None

    def _seen(self, head: ResponseHead, body: bytes) -> Seen | None:
        """What an answer is remembered by where nothing is masked in it; None where it cannot be any more."""
        if self._form is None or self.shows is not None or self._counts:
            return None
        try:
            known = self._known()
        except ClusterNotReady:
            return None
        return self._unchanged.seen(self._choice, self._form, known, head.field(b"content-type"), body)

    def sink(
        self, client: Client, head: ResponseHead, fail: Callable[[str], None], answer: MaskedAnswer | None = None
    ) -> MaskedSink:
        """Where the body of an answer goes that has not come whole; `answer` reads it where it is one of several."""

        def warnings(is_whole: bool) -> tuple[tuple[bytes, bytes], ...]:
            return self._warnings(head, is_whole=is_whole)

        sink = MaskedSink(client, self._masked_head(head), answer or self._answer(head), fail, warnings)
        if self._form in (Form.WATCH, None):
            # Whoever follows something waits for the head before there is anything to mask.
            sink.begin()
        return sink

    def _masked_head(self, head: ResponseHead) -> ResponseHead:
        """The head with its warnings masked: admission policies and webhooks write them, and may repeat values."""
        if b"\nwarning:" not in head.relayed.lower():
            return head
        plan = self._choice.plan(ANYWHERE)
        if plan is None:
            return head
        known = self._known() if KNOWN_VALUE in plan.text_rules else NOTHING_KNOWN

        def masked(found: re.Match[bytes]) -> bytes:
            text = TextMasker(text_patterns(plan.text_rules), self._values, self._counts, known)
            return found[1] + text.feed(found[2]) + text.finish()

        return ResponseHead(head.status, _WARNING.sub(masked, head.relayed), head.framing, head.keep_alive)

    def _warnings(self, head: ResponseHead, *, is_whole: bool = True) -> tuple[tuple[bytes, bytes], ...]:
        """What the caller is told: what was masked, and that a list is reduced."""
        masked = warnings_for(self._counts, is_whole=is_whole)
        return masked if self._reduction is None or head.status != OK else (*masked, *self._reduction.warnings())

    def reduced(self) -> tuple[str, ...]:
        """How much was shown and hidden so far; nothing where all of it is shown."""
        return self._reduction.told() if self._reduction is not None else ()

    def told(self) -> tuple[str, ...]:
        """What was masked so far: `policy/mask=count`, sorted."""
        return tuple(f"{rule}={count}" for rule, count in sorted(self._counts.items()))

    # --- what `wire.masked_answer` asks

    @property
    def shows(self) -> Callable[[Where], bool] | None:
        """See `Masks`."""
        return self._reduction.shows if self._reduction is not None else None

    @property
    def varies(self) -> bool:
        """See `Masks`."""
        return self._choice.varies

    def plan(self, where: Where) -> Plan | None:
        """See `Masks`."""
        if where.name not in self._choice.names:
            where = Where(where.namespace, None)
        if where not in self._plans:
            if len(self._plans) >= PLANS_LIMIT:
                self._plans.clear()
            self._plans[where] = self._choice.plan(where)
        return self._plans[where]

    def masker(self, plan: Plan) -> JsonMasker:
        """See `Masks`."""
        known = _now(self._known)
        if known is not self._known_last:
            # What was remembered of a long watch was judged by fewer values.
            self._maskers.clear()
            self._known_last = known
        masker = self._maskers.get(plan)
        if masker is None:
            if len(self._maskers) >= MASKERS_LIMIT:
                self._maskers.clear()
            remembers = REMEMBERED_OF_WATCH if self._form is Form.WATCH else REMEMBERED_BYTES
            objects = ObjectMasker(plan, self._values, self._counts, known)
            masker = JsonMasker(objects.mask, self._counts, remembers, objects.leaves)
            self._maskers[plan] = masker
        return masker

    def _answer(self, head: ResponseHead) -> MaskedAnswer:
        if self._form is None and not head.field(b"content-type").startswith(b"application/json"):
            plan = self._choice.plan(ANYWHERE)
            rules = plan.text_rules if plan is not None else frozenset[str]()
            masker = TextMasker(text_patterns(rules), self._values, self._counts)
            return _Text(masker, self._known if KNOWN_VALUE in rules else _nothing, cut=self._cut)
        read = protobuf_answer if content_type(head) == PROTOBUF else masked_answer
        # A watch that is refused is answered with a Status, and no event around it.
        is_refused = self._form is Form.WATCH and head.status != OK
        return read(Form.OBJECT if is_refused else self._form or Form.OBJECT, self)


class _Text:
    """Lines of a log as an answer."""

    def __init__(self, masker: TextMasker, known: Callable[[], KnownValues], *, cut: bool) -> None:
        self._cut = cut
        self._masker = masker
        self._known = known
        self.at_boundary = False

    def feed(self, data: bytes) -> bytes:
        """See `MaskedAnswer`."""
        self._masker.known = _now(self._known)
        return self._masker.feed(data)

    def finish(self) -> bytes:
        """See `MaskedAnswer`."""
        self._masker.known = _now(self._known)
        return self._masker.finish(cut=self._cut)


def _now(known: Callable[[], KnownValues]) -> KnownValues:
    """What is known in the middle of an answer. Raises Unreadable where that is nothing any more."""
    try:
        return known()
    except ClusterNotReady as error:
        raise Unreadable(str(error)) from None
