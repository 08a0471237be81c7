"""`narrowgate agents keys`: public keys with which an agent signs for itself; the private half is never the gate's."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from narrowgate.authenticators.key_assertion import thumbprint
from narrowgate.cli.agent_changes import change_agent, tell
from narrowgate.cli.agent_options import opened_store
from narrowgate.cli.failure import Failed
from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.output import config_option, output_option, write_json, write_table
from narrowgate.cli.private_file import written_together
from narrowgate.cli.public_key import read_public_key
from narrowgate.config import find_config
from narrowgate.core.agent import AgentKey, AgentRecord
from narrowgate.core.agent_credential import handed_over
from narrowgate.core.agent_document import agent_document
from narrowgate.core.agent_fields import keys_problem
from narrowgate.core.moment import moment_text


@click.group()
def keys() -> None:
    """An agent's Ed25519 keys: it signs with one to get a short credential, and sends no secret anywhere."""


@keys.command("list")
@click.argument("name")
@config_option
@output_option
def list_keys(name: str, config: str | None, output: str) -> None:
    """List an agent's keys."""
    with opened_store(find_config(config)) as store:
        agent = store.agent(name)
    if output == "json":
        write_json(agent_document(agent, time.time()).keys)
        return
    rows = [(key.id, moment_text(key.added_at)) for key in agent.keys]
    write_table(("ID", "ADDED"), rows, f"agent {name} has no key: `narrowgate agents keys generate {name}`")


@keys.command()
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@config_option
@output_option
def add(name: str, file: Path, config: str | None, output: str) -> None:
    """Register the public key in FILE (PEM, OpenSSH or JWK)."""
    key = public_key(file, time.time())
    agent, _ = change_agent(find_config(config), name, lambda agent: with_key(agent, key))
    tell(agent, output, f"agent {name} may sign with key {key.id}")


@keys.command()
@click.argument("name")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="For the private key.")
@config_option
@output_option
def generate(name: str, out: Path, config: str | None, output: str) -> None:
    """Make a key: the private half goes into a new file (mode 0600), the public half into the agent's record."""
    if out.exists() or out.is_symlink():
        raise Failed("this file is there already", str(out), "name a new file; a key is never overwritten")
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
    key = _agent_key(private.public_key().public_bytes_raw(), time.time())
    found = find_config(config)
    with written_together({out: pem}):
        agent, _ = change_agent(found, name, lambda agent: with_key(agent, key))
    tell(agent, output, f"agent {name} may sign with key {key.id}, whose private half is in {out}: give it that file")


@keys.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("key_id")
@config_option
@output_option
def remove(name: str, key_id: str, config: str | None, output: str) -> None:
    """Take a key away; what was got with it ends within a second.

    An id may begin with "-": write -- before it where it is taken for an option.
    """

    def without(agent: AgentRecord) -> AgentRecord:
        kept = tuple(key for key in agent.keys if key.id != key_id)
        if len(kept) == len(agent.keys):
            known = ", ".join(key.id for key in agent.keys) or "none"
            raise Failed(f'agent {name} has no key "{key_id[:64]}"', "", f"its keys are: {known}")
        return msgspec.structs.replace(agent, keys=kept)

    agent, _ = change_agent(find_config(config), name, without)
    tell(agent, output, f"agent {name} may not sign with key {key_id} any more")


def public_key(file: Path, now: float) -> AgentKey:
    """The public key in a file. Raises Failed, OSError."""
    return _agent_key(read_public_key(file), now)


def with_key(agent: AgentRecord, key: AgentKey) -> AgentRecord:
    """The agent with one key more, registered by whoever works here; as it was where it has that one. Raises Failed."""
    if any(known.public == key.public for known in agent.keys):
        return agent
    listed = (*agent.keys, key)
    if problem := keys_problem(listed):
        raise Failed(problem, f"agent {agent.name}", "`narrowgate agents keys list` shows them")
    return msgspec.structs.replace(handed_over(agent, local_operator()), keys=listed)


def _agent_key(public: bytes, now: float) -> AgentKey:
    return AgentKey(id=thumbprint(public), public=public, added_at=now)
