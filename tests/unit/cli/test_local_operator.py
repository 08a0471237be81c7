"""Who works here."""

from __future__ import annotations

import os
import pwd

import pytest

from narrowgate.cli.local_operator import local_operator


def test_it_is_the_user_of_the_process_and_not_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "mallory")
    monkeypatch.setenv("LOGNAME", "mallory")
    assert local_operator() == f"local:{pwd.getpwuid(os.getuid()).pw_name}"
