"""Sessions over SPDY, damaged: nothing but Unreadable may come out, whatever was sent and however it was cut.

    python tests/fuzz/fuzz_spdy.py --seconds 60 [--seed 7]

Sessions of exec and port-forward are written as kubectl and kubelet write them, then frames are lost, repeated, put in
other places, said to be of another length or stream, and bytes are changed. Whether it is read to its end must not
depend on the cuts, and what is passed on then is what came; with a rewriter, it is what is told. Prints the seed, so
that a failure can be had again, and how much was read. Exit status 1 on a finding.
"""

from __future__ import annotations

import random
import struct
import sys
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzz.driver import fuzz
from tests.property.test_spdy import FROM_POD, TO_POD, WRITTEN_BY_POD, Lines, Script, cut, on_channels, played
from tests.unit.wire import spdy_by_hand as by_hand
from tests.unit.wire.spdy_by_hand import CHANNELS, FIN, Exec, Sender, merged

from narrowgate.wire.spdy_channels import spdy_channels
from narrowgate.wire.spdy_ports import spdy_ports
from narrowgate.wire.stream_events import Channel, Direction, SessionCodec, StreamEvent
from narrowgate.wire.unreadable import Unreadable


def text(source: random.Random) -> bytes:
    return source.choice((b"", b"x", b"a line\n", b"\n", bytes(source.randrange(256) for _ in range(9)), b"z" * 5000))


def exec_session(source: random.Random) -> Script:
    session = Exec()
    opening = [session.client.opened(stream, streamtype=channel.value) for channel, stream in CHANNELS.items()]
    script: Script = [(TO_POD, frame) for frame in opening]
    script += [(FROM_POD, session.upstream.replied(stream)) for stream in CHANNELS.values()]
    for _ in range(source.randint(0, 8)):
        channel = source.choice(tuple(Channel))
        frame = by_hand.data(CHANNELS[channel], text(source), source.choice((0, 0, 0, FIN)))
        script.append((channel.direction, frame))
    return script


def port_session(source: random.Random) -> Script:
    client, server = Sender(), Sender()
    script: Script = []
    for number in range(1, source.randint(1, 4)):
        request = {"requestid": str(number)} if source.random() < 0.7 else {}
        for kind, stream in (("error", 4 * number - 3), ("data", 4 * number - 1)):
            script.append((TO_POD, client.opened(stream, streamtype=kind, port="80", **request)))
            script.append((FROM_POD, server.replied(stream)))
        for _ in range(source.randint(0, 4)):
            side = source.choice((TO_POD, FROM_POD))
            script.append((side, by_hand.data(4 * number - 1, text(source), source.choice((0, 0, FIN)))))
    return script


def asides(source: random.Random) -> bytes:
    stream = source.randrange(12)
    return source.choice(
        (
            by_hand.reset(stream),
            by_hand.ping(source.randrange(3)),
            by_hand.settings((source.randrange(9), 1)),
            by_hand.go_away(stream),
            by_hand.window(stream, 10),
            by_hand.data(stream, text(source), source.randrange(3)),
            by_hand.control(source.randrange(12), bytes(source.randrange(256) for _ in range(source.randrange(20)))),
            bytes(source.randrange(256) for _ in range(source.randrange(20))),
        )
    )


def damaged(source: random.Random, script: Script) -> Script:
    """The same with some frames lost, repeated, moved or changed; the order of header blocks matters most."""
    script = list(script)
    for _ in range(source.choice((0, 0, 1, 1, 2, 3))):
        if not script:
            break
        at = source.randrange(len(script))
        side, frame = script[at]
        match source.randrange(7):
            case 0:
                del script[at]
            case 1:
                script.insert(source.randrange(len(script) + 1), script[at])
            case 2:
                script.insert(source.randrange(len(script) + 1), script.pop(at))
            case 3:
                script[at] = (TO_POD if side is FROM_POD else FROM_POD), frame
            case 4:
                script.insert(at, (source.choice((TO_POD, FROM_POD)), asides(source)))
            case 5 if len(frame) >= 8:
                first, second = struct.unpack_from(">II", frame)
                changed = source.choice(((first ^ 1 << source.randrange(32), second), (first, second + 1)))
                script[at] = side, struct.pack(">II", *changed) + frame[8:]
            case _:
                raw = bytearray(frame)
                if raw:
                    raw[source.randrange(len(raw))] = source.randrange(256)
                script[at] = side, bytes(raw)
    return script


def outcome(codec: SessionCodec, script: Script) -> tuple[dict[Direction, bytes], list[StreamEvent]] | None:
    """What is passed on and told; None where it is refused."""
    try:
        out, events = played(codec, script)
    except Unreadable:
        codec.finish()
        return None
    return {side: data for side, data in out.items() if data}, merged([*events, *codec.finish()])


def check(source: random.Random) -> str:
    """Read one session whole, cut, and rewritten; what became of it, for the count."""
    is_exec = source.random() < 0.6
    make = spdy_channels if is_exec else spdy_ports
    script = damaged(source, exec_session(source) if is_exec else port_session(source))
    again = cut(script, [source.randint(1, 40) for _ in range(source.randint(0, 40))])
    whole = outcome(make(), script)
    if outcome(make(), again) != whole:
        raise AssertionError(f"cut, it is another: {script!r}")
    if whole is not None:
        sent = {side: b"".join(data for one, data in script if one is side) for side in Direction}
        if whole[0] != {side: data for side, data in sent.items() if data}:
            raise AssertionError(f"it was changed: {script!r}")
    if is_exec:
        rewritten = outcome(spdy_channels(Lines()), script)
        if outcome(spdy_channels(Lines()), again) != rewritten:
            raise AssertionError(f"rewritten and cut, it is another: {script!r}")
        if rewritten is not None and whole is not None:
            compare(whole[1], rewritten[1], script)
    return "refused" if whole is None else "read"


def compare(plain: list[StreamEvent], rewritten: list[StreamEvent], script: Script) -> None:
    """What is told of rewritten channels is what was told without, but for what was held back at the end."""
    before, after = on_channels(plain), on_channels(rewritten)
    for channel in WRITTEN_BY_POD:
        if not before[channel].startswith(after[channel]):
            raise AssertionError(f"{channel} was changed: {script!r}")


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "sessions", lambda _: None, lambda source, _: check(source)))
