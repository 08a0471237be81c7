"""The control port's routes put together: what each part is, is in its own file; here is what it is given."""

from __future__ import annotations

import msgspec
from starlette.applications import Starlette

from narrowgate.control.issuing import AccessIssuer
from narrowgate.control.recorder import Recorder
from narrowgate.control.settings import ControlSettings
from narrowgate.store.port import Store


class ControlParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the control port is made of, once per process."""

    settings: ControlSettings
    store: Store
    issuer: AccessIssuer
    recorder: Recorder


def control_app(parts: ControlParts) -> Starlette:
    """Everything that the control port serves."""
    del parts
    return Starlette(routes=[])
