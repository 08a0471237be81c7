"""Random WebSocket sessions in random pieces: the cut never matters, and what is told of a client is what a pod gets.

    python tests/fuzz/fuzz_websocket.py --seconds 60 [--seed 7]

Beside the codec the frames are read as the API server's reader does it (golang.org/x/net/websocket and wsstream), which
heeds neither opcodes nor reserved bits nor fragments. Whatever the codec lets pass, both must have read alike. Prints
the seed, so that a failure can be had again, and how much was read and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import base64
import random
import re
import struct
import sys
from collections import Counter
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzz.driver import fuzz

from narrowgate.wire.stream_events import Channel, ChannelData, SessionCodec
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import unmasked
from narrowgate.wire.websocket_channels import websocket_channels
from narrowgate.wire.websocket_ports import websocket_ports

PLAIN, BASE64, V5 = "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "v5.channel.k8s.io"
TO_POD = {Channel.STDIN: 0, Channel.RESIZE: 4}
PADDED = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
LONGEST = 32 << 20
"""Bytes of a frame that x/net/websocket reads."""


def frame(source: random.Random, opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A frame of a client, now and then with something odd in its head."""
    first = (0x80 if final else 0) | opcode
    if source.random() < 0.02:
        first ^= 1 << source.randrange(8)
    size, mask = len(payload), 0 if source.random() < 0.02 else 0x80
    form = source.random()
    if size < 126 and form > 0.03:
        head = bytes((first, mask | size))
    elif size < 1 << 16 and form > 0.015:
        head = struct.pack(">BBH", first, mask | 126, size)
    else:
        head = struct.pack(">BBQ", first, mask | 127, size | (1 << 63 if source.random() < 0.2 else 0))
    key = source.choice((b"\0\0\0\0", source.randbytes(4)))
    return head + (key + unmasked(payload, key) if mask else payload)


def message(source: random.Random, subprotocol: str) -> bytes:
    """The payload of a message, mostly one that clients send."""
    channel = source.choice((0, 0, 0, 0, 0, 4, 4, 1, 3, 5, 48, 255))
    content = source.choice((b"", b"x", b"ls -l\n", source.randbytes(source.randint(0, 300))))
    if source.random() < 0.01:
        content = source.randbytes(70_000)
    if source.random() < 0.03:
        return b""
    if subprotocol == V5 and source.random() < 0.15:
        return bytes((255, source.choice((0, 0, 4, 1, 7)))) + (b"x" if source.random() < 0.1 else b"")
    if subprotocol != BASE64:
        return bytes((channel,)) + content
    text = bytes(((48 + channel) & 0xFF,)) + base64.b64encode(content)
    if source.random() < 0.05:
        at = source.randint(0, len(text))
        text = text[:at] + source.choice((b"=", b"\n", b"A", b"-", b"==", b" ", b"\0")) + text[at:]
    return text


def make(source: random.Random, subprotocol: str) -> bytes:
    """What a client sends, whole frames of it."""
    sent: list[bytes] = []
    for _ in range(source.randint(1, 6)):
        payload, opcode = message(source, subprotocol), source.choice((1, 2, 2, 2))
        match source.randrange(24):
            case 0:
                at = source.randint(0, len(payload))
                sent += [frame(source, opcode, payload[:at], final=False), frame(source, 0, payload[at:])]
            case 1:
                sent += [frame(source, 9, source.randbytes(source.choice((0, 4, 125, 126))))]
            case 2:
                sent += [frame(source, source.choice((0, 3, 7, 8, 10, 11, 15)), payload)]
            case _:
                sent += [frame(source, opcode, payload)]
    return b"".join(sent)


def frames(raw: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of each frame, as x/net/websocket reads them; it ends where that reader ends."""
    read, at = [], 0
    while at + 2 <= len(raw):
        opcode, masks, length = raw[at] & 0x0F, raw[at + 1] >= 0x80, raw[at + 1] & 0x7F
        at += 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(raw[at : at + size], "big") & (1 << 63) - 1
            at += size
        key = raw[at : at + 4]
        at += 4
        if not masks or opcode == 8 or (length > LONGEST and opcode not in (9, 10)):
            break
        read.append((opcode, unmasked(raw[at : at + length], key)))
        at += length
    return read


def pods(raw: bytes, subprotocol: str) -> dict[int, bytes]:
    """What gets to the pod on each channel, as wsstream has it."""
    got: Counter[int] = Counter()
    content: dict[int, list[bytes]] = {0: [], 4: []}
    for opcode, payload in frames(raw):
        if opcode in (9, 10) or not payload:
            continue
        if subprotocol == V5 and payload[0] == 255:
            if len(payload) != 2 or payload[1] > 4:
                break
            got[payload[1]] += 1
            continue
        number = (payload[0] - 48) & 0xFF if subprotocol == BASE64 else payload[0]
        if number not in content or got[number]:
            continue
        text = payload[1:]
        if subprotocol == BASE64:
            text = text.replace(b"\n", b"").replace(b"\r", b"")
            if len(text) % 4 or PADDED.fullmatch(text) is None:
                continue
            text = base64.b64decode(text)
        content[number].append(text)
    return {number: b"".join(parts) for number, parts in content.items() if any(parts)}


def told(codec: SessionCodec, raw: bytes, sizes: list[int]) -> dict[int, bytes] | None:
    """What the codec says got to the pod; None where it refuses."""
    content: dict[int, bytes] = {}
    at = 0
    for size in [*sizes, len(raw)]:
        try:
            passed = codec.from_client(raw[at : at + size])
        except Unreadable:
            return None
        assert passed.data == raw[at : at + size]
        at += size
        for event in passed.events:
            if isinstance(event, ChannelData):
                number = TO_POD[event.channel]
                content[number] = content.get(number, b"") + event.data
    codec.finish()
    return content


def check(source: random.Random) -> str:
    """One session of a client, and one of random bytes from either end; what became of the first."""
    subprotocol = source.choice((PLAIN, BASE64, V5))
    raw = make(source, subprotocol)
    sizes = [source.randint(1, 50) for _ in range(source.randint(0, 20))]
    whole, cut = told(websocket_channels(subprotocol), raw, []), told(websocket_channels(subprotocol), raw, sizes)
    if whole != cut:
        raise AssertionError(f"{subprotocol} {raw!r} cut at {sizes}: {whole} and {cut}")
    if whole is not None and whole != pods(raw, subprotocol):
        raise AssertionError(f"{subprotocol} {raw!r}: {whole} is told, and the pod gets {pods(raw, subprotocol)}")
    noise(source, raw)
    return "refused" if whole is None else "read"


def noise(source: random.Random, raw: bytes) -> None:
    """Nothing but Unreadable comes of bytes that were changed, whichever codec reads them from whichever end."""
    codec = source.choice(
        (
            lambda: websocket_channels(V5),
            lambda: websocket_ports(PLAIN, ["80", "443"]),
            lambda: websocket_ports(BASE64, ["80"]),
            lambda: websocket_ports("SPDY/3.1+portforward.k8s.io", []),
        )
    )()
    changed = bytearray(raw)
    for _ in range(source.randint(1, 8)):
        changed[source.randrange(len(changed))] = source.randrange(256)
    try:
        source.choice((codec.from_client, codec.from_upstream))(bytes(changed))
    except Unreadable:
        return
    codec.finish()


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "sessions", lambda _: None, lambda source, _: check(source)))
