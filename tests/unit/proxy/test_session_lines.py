"""What is typed into a session, in either transport, and what the client is told when that ends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from tests.unit.proxy.loopback import PATIENCE, run

from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.patterns import TEXT_RULES, text_patterns
from narrowgate.core.masking.secret_parts import Known as KnownValue
from narrowgate.core.masking.stream_text import StreamMasker
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.stream_events import Channel, ChannelClosed, ChannelData
from narrowgate.core.typed_lines import LineAsked, LineGuard
from narrowgate.proxy.session_lines import SessionLines
from narrowgate.proxy.session_relay import LineRefused
from narrowgate.wire.stream_events import SessionCodec
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket_channels import websocket_channels

GUARD = LineGuard("shop/in", (("rm", "-rf"),))
WHY = "rule shop/in ends sessions at a line that was typed"


class Upper:
    """Rewrites what is shown, and holds its last byte back."""

    def __init__(self) -> None:
        self.held = b""

    def __call__(self, channel: Channel, data: bytes) -> bytes:  # noqa: ARG002
        whole = self.held + data.upper()
        self.held = whole[-1:]
        return whole[:-1]

    def flush(self, channel: Channel) -> bytes:  # noqa: ARG002
        held, self.held = self.held, b""
        return held

    def of_input(self) -> StreamMasker:
        return StreamMasker(text_patterns(frozenset()), ValueMasker(b"k" * 32), {}, NOTHING_KNOWN)


async def nobody(*_: object) -> str:
    return "nobody is asked here"


def lines(*, terminal: bool = True, masks: Upper | None = None) -> SessionLines:
    return SessionLines([GUARD], masks, nobody, has_terminal=terminal)


def test_a_line_that_may_not_be_typed_is_told_with_its_rule_and_without_its_text() -> None:
    with pytest.raises(LineRefused, match=WHY):
        lines().typed(b"rm -rf /secret\r")


def test_other_channels_are_not_typed() -> None:
    watched = lines()
    watched.judge([ChannelData(Channel.RESIZE, b"rm -rf /\r"), ChannelClosed(Channel.STDIN)])
    watched.judge([ChannelData(Channel.STDOUT, b"rm -rf /\r\n")])
    assert watched.typed(b"ls\r") == b"ls\r"


def test_what_the_terminal_shows_of_a_line_counts() -> None:
    watched = lines()
    watched.judge([ChannelData(Channel.STDOUT, b"$ rm -rf x")])
    with pytest.raises(LineRefused, match=WHY):
        watched.typed(b"\r")


def test_a_line_over_several_rows_is_read_as_one() -> None:
    watched = lines()
    watched.judge([ChannelData(Channel.RESIZE, b'{"Width":20,"Height":5}')])
    watched.judge([ChannelData(Channel.STDOUT, b"$ echo 34567890123456" + b"78; rm -r" + b"\rx8; rm -rf")])
    with pytest.raises(LineRefused, match=WHY):
        watched.typed(b"\r")


@pytest.mark.parametrize(("terminal", "shown_on"), [(True, Channel.STDOUT), (False, Channel.STDERR)])
def test_the_client_is_told_where_it_looks_and_in_a_status(terminal: bool, shown_on: Channel) -> None:
    watched = lines(terminal=terminal)
    channel, word = watched.tell(WHY)
    assert channel is shown_on
    assert watched.flush(shown_on) == f"\r\nnarrowgate: {WHY}\r\n".encode()
    status = json.loads(word)
    assert (status["status"], status["message"]) == ("Failure", f"narrowgate: {WHY}")
    assert watched.flush(shown_on) == b"", "once"


def test_masks_go_on_masking() -> None:
    watched = lines(masks=Upper())
    assert watched(Channel.STDOUT, b"abc") == b"AB"
    watched.tell(WHY)
    assert watched.flush(Channel.STDOUT).startswith(b"C\r\nnarrowgate: ")


def test_without_masks_nothing_is_changed() -> None:
    watched = lines()
    assert watched(Channel.STDOUT, b"abc") == b"abc"
    assert watched.flush(Channel.STDOUT) == b""


def test_the_words_leave_as_frames_of_the_session() -> None:
    watched = lines()
    codec: SessionCodec = websocket_channels("v5.channel.k8s.io", watched)
    channel, word = watched.tell(WHY)
    events = [*codec.flush(channel).events, *codec.last_word(word).events]
    said = [event for event in events if isinstance(event, ChannelData)]
    assert [one.channel for one in said] == [Channel.STDOUT, Channel.ERROR]
    assert WHY.encode() in said[0].data


class Hands:
    """Takes down what a session is told to do."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.typed = asyncio.Event()

    def let_type(self) -> None:
        self.done.append("types")
        self.typed.set()

    def say(self, channel: Channel) -> None:
        self.done.append(f"says on {channel.value}")

    def refuse(self, why: str) -> None:
        self.done.append(why)


ASKS = LineGuard("shop/in", (("rm", "-rf"),), Approval((Approvers("sre", 1),), 60.0))


def followed(
    typed: bytes, answer: str, *, masks: Upper | None = None, terminal: bool = True
) -> tuple[Hands, list[str], bytes]:
    """What a session does with a line until it is typed or the session ends; what people were shown; what goes on."""
    shown: list[str] = []

    async def ask(line: LineAsked, text: str, say: Callable[[str], None]) -> str:
        assert line.guards == (ASKS,)
        shown.append(text)
        say("waiting")
        return answer

    async def main() -> tuple[Hands, list[str], bytes]:
        hands = Hands()
        watched = SessionLines([ASKS], masks, ask, has_terminal=terminal)
        passed = watched.typed(typed)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            following = group.create_task(watched.follow(hands))
            waiting = group.create_task(hands.typed.wait())
            await asyncio.wait((following, waiting), return_when=asyncio.FIRST_COMPLETED)
            following.cancel()
            waiting.cancel()
        return hands, shown, passed + (b"" if answer else watched.let_go().data)

    return run(main())


@pytest.mark.parametrize(("terminal", "shown_on"), [(True, "stdout"), (False, "stderr")])
def test_a_line_goes_on_once_people_have_said_yes(terminal: bool, shown_on: str) -> None:
    hands, shown, passed = followed(b"ls\nrm -rf a\n", "", terminal=terminal)
    assert hands.done == [f"says on {shown_on}", "types"]
    assert shown == ["rm -rf a"]
    assert passed == b"ls\nrm -rf a\n"


def test_a_no_ends_the_session_and_nothing_of_the_line_has_gone_on() -> None:
    hands, _, passed = followed(b"ls\nrm -rf a\n", "denied")
    assert hands.done == ["says on stdout", "denied"]
    assert passed == b"ls\n"


def test_what_people_are_shown_is_masked_as_the_session_is() -> None:
    class Known(Upper):
        def of_input(self) -> StreamMasker:
            secret = KnownValues([KnownValue(b"correct horse battery", b"correct horse battery")])
            return StreamMasker(text_patterns(frozenset(TEXT_RULES)), ValueMasker(b"k" * 32), {}, secret)

    _, shown, passed = followed(b"rm -rf 'correct horse battery'\r", "", masks=Known())
    assert "correct horse" not in shown[0]
    assert shown[0].startswith("rm -rf '[masked:narrowgate/known-value:")
    assert b"correct horse" in passed


def test_where_nobody_knows_what_is_secret_nobody_is_shown_the_line() -> None:
    class Unknown(Upper):
        def of_input(self) -> StreamMasker:
            raise Unreadable("the cluster's Secrets are not known now")

    hands, shown, _ = followed(b"rm -rf a\r", "never asked", masks=Unknown())
    assert hands.done == ["the cluster's Secrets are not known now"]
    assert shown == []


def test_keys_that_fetch_text_wait_for_it_to_be_shown_and_nobody_is_asked() -> None:
    hands, shown, passed = followed(b"\x1b[A\r", "")
    assert hands.done == ["types"]
    assert shown == []
    assert passed == b"\x1b[A\r"
