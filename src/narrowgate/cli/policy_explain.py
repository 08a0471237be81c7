"""`policy explain`: from the words of the command line to the gate's own answer, with all rules considered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from narrowgate.cli.api_server import ApiServer
from narrowgate.cli.asked_pods import Known, rights_in, with_asked_pods
from narrowgate.cli.failure import Failed
from narrowgate.cli.namespace_reader import NamespaceReader, NotRead
from narrowgate.cli.output import note
from narrowgate.cli.policy_check import SourceFile, parse_all, read_sources
from narrowgate.cli.question import about_object, chain_in, cluster_meant, intent_of, into_pod
from narrowgate.config import Config, ConfigError, cluster_access, find_config, load_policy_files
from narrowgate.config.document import read_bytes
from narrowgate.core.documents import parse_yaml
from narrowgate.core.explain import Explanation, explain
from narrowgate.core.identity import Chain, Kind, chain_of
from narrowgate.core.malformed import Malformed
from narrowgate.core.policy import EVERYTHING, Policy
from narrowgate.core.rulebook import compile_policies
from narrowgate.store.open import open_store
from narrowgate.store.port import NotThere


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The words of the command line; empty means not given."""

    whom: tuple[str, ...]
    groups: tuple[str, ...]
    namespace: str
    cluster: str
    subresource: str
    filename: Path | None
    policies: Path | None
    config: str | None
    verb: str
    resource: str
    container: str = ""
    labels: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    rights: Path | None = None
    look: bool = False


def explained(asked: Asked) -> Explanation:
    """Judge the question as the gate would. Raises Failed, ConfigError, PolicyErrors, StoreUnavailable."""
    config = _configuration(asked)
    policies = parse_all(_sources(asked, config))
    cluster = _cluster(asked, config, policies)
    what = intent_of(asked.verb, asked.resource, asked.subresource, asked.namespace, cluster)
    if asked.container or asked.labels or asked.command:
        what = into_pod(what, asked.container, asked.command, asked.labels)
    if asked.filename is not None:
        what = about_object(what, _document(asked.filename), str(asked.filename))
    chain = chain_in(asked.whom, asked.groups)
    if config is not None and asked.policies is None:
        chain = _as_registered(chain, config)
    rulebook = compile_policies(policies, revision=0)
    with _known(asked, config, cluster) as known:
        what, not_looked = with_asked_pods(what, chain, rulebook, known)
    return explain(chain, what, rulebook, time.time(), not_looked)


@contextmanager
def _known(asked: Asked, config: Config | None, cluster: str) -> Iterator[Known]:
    """What may be asked about pods: a file, or the cluster with the gate's own account. Raises Failed, ConfigError."""
    if asked.look and asked.rights is not None:
        raise Failed("--look and --rights say the same", "the question", "give one of them")
    if not asked.look:
        yield Known(rights_in(asked.rights)) if asked.rights else Known()
        return
    entries = {one.name: one for one in config.clusters} if config else {}
    if cluster not in entries:
        told = f'cluster "{cluster}" is in no configuration'
        raise Failed(told, "--look", "give its roles and bindings by --rights FILE")
    with ApiServer(cluster_access(entries[cluster])) as server:
        try:
            yield Known(NamespaceReader(server, "").rights(), server)
        except NotRead as error:
            to_do = "`narrowgate clusters manifests` prints the role that lets the gate read them"
            raise Failed(str(error), f'cluster "{cluster}"', to_do) from None


def _configuration(asked: Asked) -> Config | None:
    """The gate's configuration; policies given by name can be asked without one."""
    if asked.policies is not None and asked.config is None:
        try:
            return find_config(None)
        except ConfigError:
            return None
    return find_config(asked.config)


def _sources(asked: Asked, config: Config | None) -> list[SourceFile]:
    if asked.policies is not None:
        return read_sources([asked.policies])
    assert config is not None, "without --policies there is a configuration"
    return [SourceFile(name, text) for name, text in load_policy_files(config.policies)]


def _cluster(asked: Asked, config: Config | None, policies: Sequence[Policy]) -> str:
    """The cluster asked about: the one given, or the only one there is."""
    known = [cluster.name for cluster in config.clusters] if config else []
    if not known:
        known = sorted({name for policy in policies for name in policy.clusters} - {EVERYTHING})
    return cluster_meant(asked.cluster, known)


def _document(path: Path) -> object:
    content = read_bytes(path, "the object")
    try:
        return parse_yaml(content)
    except Malformed as error:
        raise Failed(error.message, str(path), "give one object in YAML or JSON") from None


def _as_registered(chain: Chain, config: Config) -> Chain:
    """Give agents the groups they are registered with; say so when one is not registered."""
    store = open_store(config.store, config.data_dir)
    try:
        members = []
        for member in chain:
            if member.kind is not Kind.AGENT:
                members.append(member)
                continue
            try:
                record = store.agent(member.name)
            except NotThere:
                note(f"agent {member.name} is not registered; this is what it would be told if it were")
                members.append(member)
                continue
            groups = tuple(dict.fromkeys([*record.groups, *member.groups]))
            members.append(
                msgspec.structs.replace(member, groups=groups, cluster=record.cluster, expires_at=record.expires_at)
            )
        return chain_of(*members)
    finally:
        store.close()
