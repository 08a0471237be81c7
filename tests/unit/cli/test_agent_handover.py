"""How a new credential reaches its agent; the commands that do it are in test_agents.py."""

from __future__ import annotations

import click
import pytest
import yaml
from tests.unit.cli.terminal import Terminal

from narrowgate.authenticators.credential import new_credential
from narrowgate.cli.agent_handover import Destination, files_for
from narrowgate.cli.failure import Failed
from narrowgate.config import find_config
from narrowgate.core.agent import AgentRecord

MADE = new_credential()
AGENT = AgentRecord(
    name="ci-bot",
    owner="person:alice",
    purpose="restarts pods",
    cluster="prod",
    credential_id=MADE.id,
    credential_hash=MADE.hash,
    created_at=0.0,
    expires_at=1_700_000_000.0,
)


def test_without_a_kubeconfig_nothing_is_written(shell: Terminal) -> None:
    config = find_config(str(shell.config))
    assert files_for(config, AGENT, MADE, Destination(None, plugin=False, server="")) == {}
    for idle in (Destination(None, plugin=True, server=""), Destination(None, plugin=False, server="https://x")):
        with pytest.raises(click.UsageError):
            files_for(config, AGENT, MADE, idle)


@pytest.mark.parametrize("plugin", [True, False])
def test_the_credential_is_in_exactly_one_file(shell: Terminal, plugin: bool) -> None:
    config = find_config(str(shell.config))
    path = shell.folder / "k"
    texts = files_for(config, AGENT, MADE, Destination(path, plugin=plugin, server="https://gate.corp"))
    holding = [file for file, text in texts.items() if MADE.text in text]
    assert holding == [shell.folder / "k.credential" if plugin else path]
    assert yaml.safe_load(texts[path])["clusters"][0]["cluster"]["server"] == "https://gate.corp"


def test_a_file_that_somebody_else_wrote_is_left_alone(shell: Terminal) -> None:
    config = find_config(str(shell.config))
    with pytest.raises(Failed, match="not one that narrowgate wrote"):
        files_for(config, AGENT, MADE, Destination(shell.write("k", "mine"), plugin=False, server=""))
