"""A real S3 server over a folder, for the tests: started, stopped, held up. Built from `dev/object_storage`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from dev.build import build
from dev.cluster.processes import free_ports

from narrowgate.recordings.bucket import Bucket

REPOSITORY = Path(__file__).resolve().parents[2]
ACCESS_KEY = "narrowgate-test"
SECRET_KEY = "a secret of the tests alone"
BUCKET = "recordings"
START_SECONDS = 90.0


class ObjectServer:
    """One running server, whose buckets are folders."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        (folder / BUCKET).mkdir(exist_ok=True)
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def bucket(self, secret: str = SECRET_KEY, prefix: str = "kept/here") -> Bucket:
        return Bucket(
            bucket=BUCKET,
            prefix=prefix,
            endpoint=f"http://127.0.0.1:{self.port}",
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_key=secret,
        )

    def start(self) -> None:
        program = build(REPOSITORY / "dev/object_storage", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"})
        command = [program / "versitygw", "--quiet", "--port", f"127.0.0.1:{self.port}", "posix", self._folder]
        environment = {**os.environ, "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the object server does not listen")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def hold_up(self) -> None:
        """It takes connections and does not answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
