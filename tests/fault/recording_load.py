"""Records sessions until it is killed, and says of each entry that it may pass: `SESSION NUMBER`, once it is recorded.

python tests/fault/recording_load.py SPOOL FIRST SIZE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.recorded_sessions import KEY, header

from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.proxy.recordings import Recorder
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.spool import Spool

SESSIONS = 8


def payload(session: str, number: int, size: int) -> bytes:
    """What entry `number` of a session holds: itself, so that nothing can be taken for something else."""
    return f"{session} {number};".encode() * size


async def load(folder: Path, first: int, size: int) -> None:
    spool = Spool.open(folder / "spool", "w0", (KEY,))
    spool.recover()
    recorder = Recorder(spool, FolderStore(folder / "kept"), lambda _: None)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(recorder.run())
        number = first
        while True:
            names = [f"{number}-{index}" for index in range(SESSIONS)]
            sessions = [(name, recorder.begin(header(name))) for name in names]
            for turn in range(200):
                for name, live in sessions:
                    await live.wrote(ChannelData(Channel.STDOUT, payload(name, turn, 1 + size * (turn % 3))))
                    sys.stdout.write(f"{name} {turn}\n")
                    sys.stdout.flush()
                await asyncio.sleep(0)
            for _, live in sessions:
                await live.end("over")
            number += 1


if __name__ == "__main__":
    asyncio.run(load(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
