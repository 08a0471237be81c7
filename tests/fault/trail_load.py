"""A process that writes the trail as a gate does and says on stdout what it was told is recorded; tests kill it.

    python tests/fault/trail_load.py FOLDER WRITER START

Each line on stdout is `r <n>` (recorded) or `d <n>` (recorded on disk), written only after `record` returned.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.trail.journal import Bounds

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def client(trail: TrailWriter, start: int) -> None:
    number = start
    while True:
        durable = number % 3 == 0
        await trail.record(b'{"auditID":"%d","stage":"RequestReceived"}' % number, durable)
        # Straight to the pipe: what is said before the kill is in it whatever happens to this process.
        os.write(1, b"%b %d\n" % (b"d" if durable else b"r", number))
        trail.note(b'{"auditID":"%d","stage":"ResponseComplete"}' % number)
        number += 8
        await asyncio.sleep(0)


async def load(folder: Path, writer: str, start: int) -> None:
    trail = TrailWriter.open(folder, writer, PEM, bounds=Bounds(segment_bytes=200_000))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(trail.run())
        for offset in range(8):
            tasks.create_task(client(trail, start + offset))


if __name__ == "__main__":
    uvloop.run(load(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
