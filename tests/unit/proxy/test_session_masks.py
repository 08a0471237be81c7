"""The masks of one session: a masker for each channel, a pause that is not an end, and what is told of it."""

from __future__ import annotations

from narrowgate.core.masking.known_values import KnownValues
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.patterns import TEXT_RULES, text_patterns
from narrowgate.core.masking.secret_parts import Known
from narrowgate.proxy.session_masks import SessionMasks
from narrowgate.wire.stream_events import Channel

FIRST, SECOND = b"plover-zeta-0x91ab", b"quetzal-omega-77fe"


def made(*values: bytes) -> tuple[SessionMasks, list[KnownValues]]:
    known = [KnownValues([Known(value, value) for value in values])]
    return SessionMasks(text_patterns(frozenset(TEXT_RULES)), ValueMasker(b"k" * 32), lambda: known[-1]), known


def test_channels_are_masked_each_by_itself() -> None:
    masks, _ = made(FIRST)
    assert masks(Channel.STDOUT, FIRST[:9]) == b""
    assert masks(Channel.STDERR, FIRST[9:] + b"\n") == FIRST[9:] + b"\n"
    assert FIRST[:9] not in masks(Channel.STDOUT, FIRST[9:] + b"\n")
    assert masks.told() == ("narrowgate/known-value=1",)


def test_a_pause_lets_a_prompt_go_and_an_end_everything() -> None:
    masks, _ = made()
    key = b"-----BEGIN PRIVATE KEY-----\n"
    assert masks(Channel.STDOUT, key + b"MIIEvQ") == b""
    assert list(masks.waiting()) == [Channel.STDOUT]
    masks.is_pausing = True
    assert masks.flush(Channel.STDOUT) == b""
    masks.is_pausing = False
    assert b"[masked:narrowgate/private-key:" in masks.flush(Channel.STDOUT)


def test_how_a_program_ended_is_not_let_go_before_it_is_whole() -> None:
    masks, _ = made()
    masks(Channel.ERROR, b'{"status":"Suc')
    assert list(masks.waiting()) == []
    assert masks.flush(Channel.ERROR) == b'{"status":"Suc'


def test_values_that_become_known_are_masked_from_then_on() -> None:
    masks, known = made(FIRST)
    assert masks(Channel.STDOUT, SECOND + b"\n") == SECOND + b"\n"
    known.append(KnownValues([Known(SECOND, SECOND)]))
    assert SECOND not in masks(Channel.STDOUT, SECOND + b"\n")


def test_an_echo_may_go_at_once() -> None:
    masks, _ = made()
    masks(Channel.STDOUT, b"ls")
    assert masks.is_short(Channel.STDOUT)
    masks(Channel.STDOUT, b" correcthorsebattery")
    assert not masks.is_short(Channel.STDOUT)
