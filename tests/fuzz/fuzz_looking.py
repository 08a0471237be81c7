"""Changed bytes where sessions are looked at: tar streams, a terminal's output, the timeline and the page.

    python tests/fuzz/fuzz_looking.py --seconds 60 [--seed 7]

Archives are changed, cut and mixed; output is made of sequences that reach beyond the screen, put together anew.
Wherever it is cut the same must come out; what passes to a terminal holds no question, string or forbidden mode; of a
page no element is ended by what was recorded. Prints the seed, so that a failure can be had again. Exit status 1 on a
finding.
"""

from __future__ import annotations

import io
import random
import re
import sys
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
from tests.fuzz.driver import fuzz
from tests.recorded_sessions import header

from narrowgate.cli.session_page import Contents, page_of
from narrowgate.core.recording import Entry
from narrowgate.core.safe_terminal import SafeTerminal
from narrowgate.core.session_story import Telling
from narrowgate.core.session_timeline import Timeline
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.wire.tar_stream import BLOCK, LONGEST_HEADER, TarStream

SEQUENCES = (
    b"\x1b]52;c;eA==\x07", b"\x1b]0;t\x1b\\", b"\x1bP$qm\x1b\\", b"\x1b_x\x1b\\", b"\x1b[c", b"\x1b[6n", b"\x1b[?1000h",
    b"\x1b[31m", b"\x1b[2J", b"\x1b[3J", b"\x1b[?25l", b"\x1b", b"[", b"]", b"\x9b", b"\xc2\x9b", b"\x18", b";", b"5",
    b"n",
    b"\xe4\xb8\x96", b"\xe4", b"text", b"\r\n", b"\x05", b"</script>", b"<!--", b"\xe2\x80\xa8", b"\x00", b"\\",
)  # fmt: skip

BEYOND = re.compile(r"\x1b[\]PX^_Zc=>]|\x1b\[[0-?]*[ -/]*[cntipxyw]|\x1b\[\?(?:1000|1004|2004)|[\x00-\x07\x7f-\x9f]")


class Finding(AssertionError):
    """Something that must never be."""


def archive(chance: random.Random) -> bytes:
    written = io.BytesIO()
    form = chance.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=written, mode="w", format=form) as tar:
        for number in range(chance.randrange(4)):
            member = tarfile.TarInfo(f"{number}" * chance.choice((1, 90)))
            member.size = chance.choice((0, 5, BLOCK, 3 * BLOCK + 1))
            tar.addfile(member, io.BytesIO(chance.randbytes(member.size)))
    data = bytearray(written.getvalue())
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data))
        data[at : at + 12] = chance.choice((b"77777777777 ", b"\x80" + b"\xff" * 11, chance.randbytes(12), b"x" * 12))
    if chance.random() < 0.5:
        # Checksums made right again, so that what is behind them is read.
        for at in range(0, len(data) - BLOCK + 1, BLOCK):
            block = data[at : at + BLOCK]
            if any(block[148:154]):
                block[148:156] = b" " * 8
                data[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    return bytes(data)[: chance.randrange(len(data) + 1)]


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    edges = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(chance.randrange(6)))})
    return [data[a:b] for a, b in pairwise(edges)]


def told(pieces: list[bytes]) -> tuple[object, ...]:
    stream = TarStream()
    for piece in pieces:
        stream.feed(piece)
        if len(stream._header) >= BLOCK or (stream._extended is not None and len(stream._extended) > LONGEST_HEADER):
            raise Finding("more of an archive is held than may be")
    stream.finish()
    return stream.files, stream.problem, stream.unlisted


def shown(pieces: list[bytes], *, text_only: bool) -> str:
    terminal = SafeTerminal(text_only=text_only)
    return "".join(map(terminal.feed, pieces)) + terminal.finish()


def page(pieces: list[bytes], *, tty: bool) -> str:
    of = msgspec.structs.replace(header(), tty=tty, pod=pieces[0].decode("utf-8", "replace") if pieces else "")
    telling, contents, timeline = Telling(of), Contents(has_terminal=tty), Timeline(has_terminal=tty)
    for at, piece in enumerate(pieces):
        if piece:
            entry = Entry(at, ChannelData(random.Random(at).choice((Channel.STDOUT, Channel.STDIN)), piece))
            telling.feed(entry)
            contents.feed(entry)
            timeline.feed(entry)
    contents.finish()
    return "".join(page_of(telling.finish(), "whole", contents, timeline.rest()))


class Made(NamedTuple):
    """What is looked at: an archive, and what a program wrote."""

    archive: bytes
    output: bytes


def make(chance: random.Random) -> Made:
    return Made(archive(chance), b"".join(chance.choice(SEQUENCES) for _ in range(chance.randrange(40))))


def check(chance: random.Random, made: Made) -> tuple[str, ...]:
    data, output = made
    if told(cut(data, chance)) != told([data]):
        raise Finding("where an archive is cut matters")
    for text_only in (False, True):
        whole = shown([output], text_only=text_only)
        if shown(cut(output, chance), text_only=text_only) != whole:
            raise Finding("where output is cut matters")
        if BEYOND.search(whole):
            raise Finding("this reaches beyond the screen")
        if text_only and "\x1b" in whole:
            raise Finding("this is no text")
    text = page(cut(output, chance), tty=chance.random() < 0.5)
    if text.count("</script") != 2 or text.count("<script") != 2 or "<!--" in text:
        raise Finding("an element of the page is ended")
    return "archives", "outputs", "pages"


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "looks", make, check))
