"""A gate's folder with recordings in it, for the commands of `narrowgate sessions`."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from tests.recorded_sessions import SECRET, a_session, header
from tests.unit.trail.sealed import SIGNER

from narrowgate.cli.program import run
from narrowgate.core.recording import Entry, Header, RecordingHead
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.sealing import RecordingKey
from narrowgate.recordings.spool import Spool
from narrowgate.trail.journal import Journal

FIRST, SECOND, RUNNING = "6b2a1f9e-0001", "77aa0000-0002", "77bb0000-0003"


class SessionGate:
    """Its configuration, its recordings, and its record."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], *, encrypted: bool = False) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._capsys = capsys
        self._keys = (RecordingKey(SECRET),) if encrypted else ()
        self.key_file = folder / "recording.key"
        self.key_file.write_text(SECRET)
        self.key_file.chmod(0o600)
        self.config = folder / "narrowgate.yaml"
        self.configure(encrypted=encrypted)
        self.store = FolderStore(self.data / "recordings")
        self.spool = Spool.open(self.data / "spool", "gate-0", self._keys)
        self._journal = Journal.open(self.data / "trail", "gate-0", SIGNER)

    def configure(self, *, encrypted: bool, **more: object) -> None:
        document = {
            "apiVersion": "narrowgate.dev/v1alpha1",
            "kind": "Config",
            "dataDir": str(self.data),
            "policies": str(self.folder),
            "clusters": [],
            **more,
        } | ({"encryption": {"recordingKeyFile": str(self.key_file)}} if encrypted else {})
        self.config.write_text(json.dumps(document))

    def begin(self, session: str, of: Header | None = None) -> LiveFile:
        made = msgspec.structs.replace(of or header(), session=session)
        return self.spool.begin(made, session.encode().ljust(16, b"s")[:16])

    def record(self, session: str, entries: list[Entry] | None = None, of: Header | None = None) -> Path:
        """A finished recording that the record vouches for, in its store."""
        live = self.begin(session, of)
        live.write(entries if entries is not None else a_session())
        self.vouch(live.finish())
        (waiting,) = self.spool.finished()
        self.spool.send(waiting, self.store)
        return self.data / "recordings" / waiting.name

    def vouch(self, head: RecordingHead) -> None:
        self._journal.append_recording(head)
        self._journal.write()

    def note(self, *events: bytes) -> None:
        """Events in the record."""
        for event in events:
            self._journal.append(event)
        self._journal.write()

    def reopen(self) -> None:
        """Hold the spool again, after its `close`, without taking up what is in it."""
        self.spool = Spool.open(self.data / "spool", "gate-0", self._keys)

    def close(self) -> None:
        self.spool.close()
        self._journal.close()

    def sessions(self, *arguments: str) -> tuple[int, str, str]:
        code = run(["sessions", *arguments, "--config", str(self.config)])
        said = self._capsys.readouterr()
        return code, said.out, said.err
