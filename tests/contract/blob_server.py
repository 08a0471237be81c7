"""A real server for Azure's blob protocol, for the tests: Azurite, as `dev/blob_storage` pins it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from email.utils import formatdate
from pathlib import Path

from dev.cluster.processes import free_ports
from dev.npm import installed, node

from narrowgate.recordings.bucket import Bucket, Protocol

REPOSITORY = Path(__file__).resolve().parents[2]
ACCOUNT = "narrowgatetest"
ACCOUNT_KEY = base64.b64encode(b"a key of the tests alone" * 2).decode()
CONTAINER = "recordings"
START_SECONDS = 120.0
"""Hundreds of files are read before it listens."""


class BlobServer:
    """One running server with one empty container, over a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def bucket(self, secret: str = ACCOUNT_KEY, prefix: str = "kept/here", container: str = CONTAINER) -> Bucket:
        return Bucket(
            protocol=Protocol.AZURE,
            bucket=container,
            prefix=prefix,
            endpoint=f"http://127.0.0.1:{self.port}/{ACCOUNT}",
            account=ACCOUNT,
            secret_key=secret,
        )

    def start(self) -> None:
        program = installed(REPOSITORY / "dev/blob_storage") / "node_modules/azurite/dist/src/blob/main.js"
        command: list[str | Path] = [node(), program, "--blobPort", str(self.port), "--location", self._folder]
        command += ["--silent", "--disableTelemetry", "--disableProductStyleUrl"]
        environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{ACCOUNT_KEY}"}
        with (self._folder / "said").open("wb") as said:
            self._process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                self._make_container()
                return
            except (OSError, TimeoutError):
                assert self._process.poll() is None, (self._folder / "said").read_text()
                time.sleep(0.1)
        self.stop()
        raise AssertionError(f"the blob server does not listen: {(self._folder / 'said').read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _make_container(self) -> None:
        """PUT ?restype=container, signed with the account's key (Azure's "Authorize with Shared Key")."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03", "Content-Length": "0"}
        signed = "PUT" + "\n" * 12
        signed += "".join(f"{name}:{headers[name]}\n" for name in ("x-ms-date", "x-ms-version"))
        signed += f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
        digest = hmac.new(base64.b64decode(ACCOUNT_KEY), signed.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        url = f"http://127.0.0.1:{self.port}/{ACCOUNT}/{CONTAINER}?restype=container"
        request = urllib.request.Request(url, method="PUT", headers=headers)
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except urllib.error.HTTPError as error:
            # Conflict: it was there before the server was stopped.
            if error.code != 409:
                raise AssertionError(f"no container: {error.code} {error.read()!r}") from error
            error.close()
