"""The terminal that tests of commands type into, and the gate that answers as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import msgspec
import pytest
from tests.recorded_sessions import BEGAN, a_session, header
from tests.unit.cli.scripted_gate import ScriptedGate, granted, told
from tests.unit.cli.session_gate import FIRST, RUNNING, SECOND, SessionGate
from tests.unit.cli.terminal import Terminal

from narrowgate.core.recording import Ended, Entry, Header, Kind
from narrowgate.core.stream_events import PortOpened


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, capsys)


@pytest.fixture(scope="session")
def certificates_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates are made once: it takes openssl a moment."""
    return tmp_path_factory.mktemp("scripted-gate")


@pytest.fixture
def scripted(certificates_folder: Path) -> Iterator[ScriptedGate]:
    """A gate that describes itself, knows who asks, and grants what it is asked for."""
    gate = ScriptedGate(certificates_folder)
    gate.answers("/.well-known/oauth-authorization-server", told(gate.metadata()))
    gate.answers("/oauth/token", granted())
    gate.answers("/oauth/revoke", told(b""))
    gate.answers("/api/v1/whoami", told({"identity": "person:alice", "name": "alice", "clusters": ["prod"]}))
    items = [{"id": "x", "current": False}, {"id": "y", "current": True, "expiresAt": "2999-01-01T00:00:00Z"}]
    gate.answers("/api/v1/sign-ins?running=true", told({"items": items}))
    yield gate
    gate.down()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's command line keeps its state."""
    folder = tmp_path / "state"
    monkeypatch.setenv("NARROWGATE_HOME", str(folder))
    return folder


@pytest.fixture
def recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[SessionGate]:
    """A gate with two finished sessions and one that runs."""
    gate = SessionGate(tmp_path, capsys)
    gate.record(FIRST)
    later = Header(
        session="",
        began=BEGAN + 60_000_000,
        kind=Kind.PORT_FORWARD,
        chain=("person:bob",),
        cluster="dev",
        namespace="shop",
        pod="db-0",
    )
    gate.record(SECOND, [Entry(1, PortOpened(1, 5432)), Entry(2, Ended("the session ended"))], later)
    running = gate.begin(RUNNING, msgspec.structs.replace(header(), began=BEGAN + 120_000_000))
    running.write(a_session()[:3])
    yield gate
    running.close()
    gate.close()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands find the configuration of the folder they are in: what `make up` left in this one is not the tests'."""
    with chdir(tmp_path_factory.mktemp("elsewhere")):
        yield
