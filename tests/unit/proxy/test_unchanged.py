"""Answers that left as they came are known again by all that this hangs on, and by nothing less."""

from __future__ import annotations

import msgspec
import pytest

from narrowgate.core.masking.choosing import MaskChoice, masks_of_member
from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues
from narrowgate.core.masking.secret_parts import Known
from narrowgate.core.request_info import RequestInfo
from narrowgate.proxy.masking import Masking
from narrowgate.proxy.unchanged import MAX_KEPT, MAX_LENGTH, Seen, Unchanged
from narrowgate.wire.http1 import Framing, ResponseHead
from narrowgate.wire.masked_answer import Form

JSON = b"application/json"
BODY = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"},"data":{"a":"b"}}'
SECRET = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"},"data":{"password":"Zq7-x"}}'


def choice_of(resource: str) -> MaskChoice:
    masks = masks_of_member((), (), ("", resource), is_person=False)
    assert masks is not None
    return MaskChoice("", resource, (masks,))


CHOICE = choice_of("configmaps")


def seen_by(
    unchanged: Unchanged,
    choice: MaskChoice = CHOICE,
    form: Form = Form.OBJECT,
    known: KnownValues = NOTHING_KNOWN,
    answer: tuple[bytes, bytes] = (JSON, BODY),
) -> Seen:
    seen = unchanged.seen(choice, form, known, *answer)
    assert seen is not None
    return seen


def whole(masking: Masking, choice: MaskChoice, body: bytes) -> tuple[bytes, bytes, tuple[str, ...]]:
    """The head, the body and the record of an answer."""
    info = RequestInfo(is_resource_request=True, path="/", verb="get", resource=choice.resource)
    masks = masking.of(choice, info, "prod")
    assert masks is not None
    relayed = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
    head, masked = masks.whole(ResponseHead(200, relayed, Framing(len(body)), keep_alive=True), body)
    return head.relayed, masked, masks.told()


def test_an_answer_is_known_again_once_it_was_kept() -> None:
    unchanged = Unchanged()
    assert not unchanged.is_kept(seen_by(unchanged))
    unchanged.keep(seen_by(unchanged))
    assert unchanged.is_kept(seen_by(unchanged))


@pytest.mark.parametrize(
    "other",
    [
        {"choice": choice_of("pods")},
        {"form": Form.LIST},
        {"answer": (b"application/json;as=Table", BODY)},
        {"answer": (JSON, BODY + b"\n")},
    ],
    ids=["masks", "form", "content type", "bytes"],
)
def test_an_answer_that_differs_in_anything_is_another(other: dict[str, object]) -> None:
    unchanged = Unchanged()
    unchanged.keep(seen_by(unchanged))
    assert not unchanged.is_kept(seen_by(unchanged, **other))  # type: ignore[arg-type]


def test_masks_that_say_the_same_in_another_object_are_the_same() -> None:
    unchanged = Unchanged()
    unchanged.keep(seen_by(unchanged))
    assert unchanged.is_kept(seen_by(unchanged, msgspec.structs.replace(CHOICE)))


def test_other_known_values_forget_what_was_judged_by_those_before() -> None:
    unchanged = Unchanged()
    unchanged.keep(seen_by(unchanged))
    known = KnownValues([Known(b"Zq7-known-value", b"Zq7-known-value")])
    assert not unchanged.is_kept(seen_by(unchanged, known=known))
    unchanged.keep(seen_by(unchanged, known=known))
    assert unchanged.is_kept(seen_by(unchanged, known=known))
    assert not unchanged.is_kept(seen_by(unchanged))


def test_values_that_are_gone_are_not_taken_for_others_in_their_place() -> None:
    unchanged = Unchanged()
    for _ in range(3):
        # Each may be made where the one before has been.
        known = KnownValues([Known(b"Zq7-known-value", b"Zq7-known-value")])
        seen = seen_by(unchanged, known=known)
        assert not unchanged.is_kept(seen)
        unchanged.keep(seen)
        del known


def test_what_is_remembered_is_bounded() -> None:
    unchanged = Unchanged()
    first = seen_by(unchanged, answer=(JSON, b"0"))
    for number in range(MAX_KEPT + 1):
        unchanged.keep(seen_by(unchanged, answer=(JSON, b"%d" % number)))
    assert not unchanged.is_kept(first)
    assert unchanged.seen(CHOICE, Form.OBJECT, NOTHING_KNOWN, JSON, b"x" * (MAX_LENGTH + 1)) is None


def test_an_answer_sent_twice_leaves_alike_and_is_told_alike() -> None:
    masking = Masking(b"0" * 32)
    for body in (BODY, SECRET):
        once, again = whole(masking, CHOICE, body), whole(masking, CHOICE, body)
        assert once == again
    assert whole(masking, CHOICE, BODY)[1:] == (BODY, ())
    assert b"Zq7-x" not in whole(masking, CHOICE, SECRET)[1]
    assert whole(masking, CHOICE, SECRET)[2] == ("narrowgate/config-secret=1",)


def test_what_leaves_as_it_is_for_one_is_masked_for_another() -> None:
    masking = Masking(b"0" * 32)
    # To whoever asks for pods this is one without a single container.
    assert whole(masking, choice_of("pods"), SECRET)[1] == SECRET
    assert whole(masking, choice_of("pods"), SECRET)[1] == SECRET
    assert b"Zq7-x" not in whole(masking, CHOICE, SECRET)[1]
