"""What `narrowgate up` makes on its first run and finds again on the next: folder, configuration, policies, agent.

Every step looks first whether its result is there, so that a run that was interrupted can simply be repeated. Nothing
that exists is written over.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import msgspec
import yaml

from narrowgate.authenticators.credential import new_credential
from narrowgate.cli.api_server import ApiServer
from narrowgate.cli.cluster_entries import Entry, with_entry
from narrowgate.cli.failure import Failed
from narrowgate.cli.kubeconfig_file import InlineToken, kubeconfig_document
from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.private_file import written_together
from narrowgate.config import CONFIG_NAME, Config, cluster_access, gate_keys, load_config, parse_config
from narrowgate.config.document import read_text
from narrowgate.core.agent import AgentRecord
from narrowgate.core.names import agent_name_problem
from narrowgate.store.open import open_store
from narrowgate.store.port import Store

AGENT_LIFETIME = 30 * 86_400
"""Seconds that the first agent's credential lives: a month, as for every agent that is added without saying."""

KUBECONFIG_VARIABLE = "KUBECONFIG"
SAMPLES = resources.files("narrowgate.cli") / "samples"


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said; empty means: find it out."""

    data_dir: Path
    kubeconfig: str = ""
    context: str = ""
    cluster_name: str = ""
    agent: str = "demo"
    port: int = 8443


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A gate ready to be served, and what of it this run has made."""

    config: Config
    made: tuple[str, ...]
    agent_kubeconfig: Path
    """Where the first agent's kubeconfig is, or would be."""

    @property
    def first_run(self) -> bool:
        """Whether anything had to be made."""
        return bool(self.made)


def prepare(wishes: Wishes) -> Prepared:
    """Make what is missing. Raises Failed, ConfigError and the store's errors, before or between two whole steps."""
    if problem := agent_name_problem(wishes.agent):
        raise Failed(f'"{wishes.agent}" {problem}', "--agent", "choose another name")
    folder = wishes.data_dir
    made: list[str] = []
    path = folder / CONFIG_NAME
    new = not path.exists()
    if new:
        text = _configuration(wishes, path)
        planned = parse_config(text, path)
        # Before anything is made: a port that is taken is then chosen anew by the same command.
        refuse_taken_ports(planned)
        _folder(folder)
        made += _policies(folder / "policies", wishes.agent, planned.clusters[0].name)
        _write_new(path, text)
        made.append(f"{path} (the configuration)")
    config = load_config(path)
    if not (folder / "gate.db").exists():
        made.append(f"{folder} (keys, certificate, store)")
    gate_keys(config)
    kubeconfig = folder / f"{wishes.agent}.kubeconfig"
    store = open_store(config.store, config.data_dir)
    try:
        if not _had_agents(store):
            _register(store, config, wishes.agent, kubeconfig)
            made.append(f"{kubeconfig} (what the agent {wishes.agent} uses)")
    finally:
        store.close()
    return Prepared(config=config, made=tuple(made), agent_kubeconfig=kubeconfig)


def refuse_taken_ports(config: Config) -> None:
    """Raise Failed, naming the address, if something listens where the gate is to listen."""
    for name in ("kubernetes", "control", "health"):
        host, port = getattr(config.listen, name)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                place, to_do = f"listen.{name} in {config.path}", "stop what listens there, or change it"
                if not config.path.exists():
                    place, to_do = "--port", "stop what listens there, or choose another port"
                raise Failed(f"cannot listen on {host}:{port} ({why})", place, to_do) from error


def _configuration(wishes: Wishes, path: Path) -> str:
    """The text of a new configuration whose cluster answers. Raises Failed where there is none to use."""
    ports = {"kubernetes_port": wishes.port, "control_port": wishes.port + 1, "health_port": wishes.port + 2}
    text = _sample("narrowgate.yaml", ports)
    kubeconfig, context, cluster = _current_cluster(wishes, os.environ)
    name = wishes.cluster_name or cluster_name_of(cluster or context)
    entry: Entry = {"name": name, "kubeconfig": str(kubeconfig), "context": context, "upstream": {"mode": "credential"}}
    text = with_entry(text, entry, str(path))
    with ApiServer(cluster_access(parse_config(text, path).clusters[0])) as server:
        answer = server.get("/api")
        if answer.status == 401:
            to_do = "sign in to the cluster again, or name another with --kubeconfig and --context"
            raise Failed(f"the cluster does not accept the credential ({answer.message})", f"{kubeconfig}", to_do)
    return text


def _current_cluster(wishes: Wishes, environ: Mapping[str, str]) -> tuple[Path, str, str]:
    """File, context and cluster that kubectl would use. Raises Failed."""
    listed = wishes.kubeconfig or environ.get(KUBECONFIG_VARIABLE) or "~/.kube/config"
    paths = [Path(one).expanduser().absolute() for one in listed.split(os.pathsep) if one]
    wanted = wishes.context
    # kubectl merges the files of $KUBECONFIG; the gate registers one file, the first that knows the context.
    for path in paths:
        if len(paths) > 1 and not path.exists():
            continue
        found = _plain_yaml(path)
        wanted = wanted or str(found.get("current-context") or "")
        contexts = {one.get("name"): one.get("context") or {} for one in found.get("contexts") or []}
        if wanted in contexts:
            return path, wanted, str(contexts[wanted].get("cluster") or "")
    what = f'no context "{wanted}"' if wanted else "no current context"
    to_do = "name a cluster with --kubeconfig FILE and --context NAME, or choose one by `kubectl config use-context`"
    raise Failed(what, listed, to_do)


def _plain_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(read_text(path, "the kubeconfig"))
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise Failed("not a kubeconfig", str(path), "name one with --kubeconfig")
    return found


def cluster_name_of(name: str) -> str:
    """A cluster's name for the gate from what a kubeconfig calls it: `arn:aws:eks:...:cluster/Prod_1` is `prod-1`."""
    last = re.split(r"[/@]", name)[-1].lower()
    return re.sub(r"[^a-z0-9.-]+", "-", last).strip("-.")[:63].strip("-.") or "default"


def _folder(folder: Path) -> None:
    """The data folder, for its owner alone: the keys and the record live in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "policies").mkdir(exist_ok=True)
    except FileExistsError:
        raise Failed("this is a file", str(folder), "name a folder with --data-dir") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Failed(f"cannot make the folder ({why})", str(folder), "name another with --data-dir") from error


def _policies(folder: Path, agent: str, cluster: str) -> list[str]:
    if any(folder.glob("*.yaml")):
        return []
    _write_new(folder / "deny-base.yaml", _sample("deny-base.yaml", {}))
    _write_new(folder / f"{agent}.yaml", _sample("agent.yaml", {"agent": agent, "cluster": cluster}))
    return [f"{folder} (what nobody may do, and what the agent {agent} may)"]


def _sample(name: str, values: Mapping[str, object]) -> str:
    text = (SAMPLES / name).read_text(encoding="utf-8")
    return Template(text).substitute(values) if values else text


def _write_new(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


def _had_agents(store: Store) -> bool:
    """Whether there is or ever was an agent: one that people removed must not come back by itself."""
    changes = store.changes()
    return bool(store.agents()) or any(change.action.startswith("agent.") for change in changes)


def _register(store: Store, config: Config, name: str, kubeconfig: Path) -> None:
    """Add the first agent, owned by whoever runs this, and write its kubeconfig."""
    credential, now = new_credential(), time.time()
    operator = local_operator()
    agent = AgentRecord(
        name=name,
        owner=f"person:{operator.partition(':')[2]}",
        purpose="made by `narrowgate up`, to try the gate out",
        cluster=config.clusters[0].name,
        credential_id=credential.id,
        credential_hash=credential.hash,
        created_at=now,
        expires_at=now + AGENT_LIFETIME,
        handed_to=(operator,),
    )
    host, port = config.listen.kubernetes
    token = InlineToken(credential.text)
    document = kubeconfig_document(f"https://{host}:{port}", gate_keys(config).ca_pem, agent.cluster, name, token)
    with written_together({kubeconfig: document}):
        store.add_agent(agent, by=operator, at=now)
