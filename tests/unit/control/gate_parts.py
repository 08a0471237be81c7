"""What the pages of the control port work with, for unit tests: a real store in a folder, a journal in memory."""

from __future__ import annotations

from pathlib import Path

from tests.unit.control.browsing import ORIGIN
from tests.unit.control.journal import Journal

from narrowgate.control.console_sessions import ConsoleSessions
from narrowgate.control.pages import Pages
from narrowgate.control.recorder import Recorder
from narrowgate.control.settings import ControlSettings
from narrowgate.control.sign_in import SignInParts
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.roles import RoleBinding
from narrowgate.store.open import open_store
from narrowgate.store.port import Store

SETTINGS = ControlSettings(
    url=ORIGIN,
    kubernetes_url="https://gate.example:8443",
    ca_pem="",
    clusters=("dev",),
    sign_in_seconds=3600,
    access_seconds=600,
)

ALICE = Identity(
    kind=Kind.PERSON,
    name="alice",
    groups=("sre",),
    proven_by="oidc:corp",
    credential="t1",
    claims=(("issuer", "https://idp"),),
)
BOB = Identity(kind=Kind.PERSON, name="bob", proven_by="oidc:corp", credential="t2")


def a_store(folder: Path) -> Store:
    folder.mkdir(parents=True, exist_ok=True)
    return open_store(f"sqlite:{folder}/gate.db", folder)


def parts_of(store: Store, journal: Journal, bindings: tuple[RoleBinding, ...] = ()) -> SignInParts:
    return SignInParts(
        settings=SETTINGS,
        store=store,
        sessions=ConsoleSessions(store, SETTINGS),
        pages=Pages(),
        recorder=Recorder(journal),
        bindings=bindings,
    )
