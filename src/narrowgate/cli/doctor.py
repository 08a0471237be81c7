"""`narrowgate doctor`: who holds access between tasks, is there a road around the gate, does the record show it.

Here is the command line and the order of the checks; each check is a file of its own (`doctor_*.py`) that returns lines
of one shape. A later check is one more function in `_checks`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from narrowgate.cli import failure
from narrowgate.cli.credential_plugin import VARIABLE, read_credential
from narrowgate.cli.doctor_report import Line, Outcome, is_well, plain
from narrowgate.cli.doctor_resting import KnownGate, Looked, resting
from narrowgate.cli.failure import Failed
from narrowgate.cli.gate_address import authority_of, gate_to_sign_in, local_config, read_metadata
from narrowgate.cli.kubeconfig_contexts import CannotUse, Way, ways_in
from narrowgate.cli.oauth_client import GatePort
from narrowgate.cli.output import config_option, note, output_option, write_json, write_table
from narrowgate.cli.private_text import Unusable
from narrowgate.config import Config, kubernetes_url

_FILE = click.Path(path_type=Path)


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The words of the command line."""

    kubeconfigs: tuple[Path, ...]
    credential_file: Path | None
    agent: str
    gate: str
    certificate_authority: Path | None
    search_home: bool
    recordings: bool
    namespace: str
    pod: str
    cluster: str
    operator_kubeconfig: Path | None
    tries: bool
    config: str | None


@click.command()
@click.option(
    "--kubeconfig", "kubeconfigs", multiple=True, type=_FILE, metavar="FILE",
    help="What is to open nothing now; every context of it is tried. Can be given again.",
)  # fmt: skip
@click.option("--credential-file", type=_FILE, metavar="FILE", help=f"An agent's credential (also: ${VARIABLE}).")
@click.option("--agent", default="", metavar="NAME", help="On the gate's machine: what stands for this agent, too.")
@click.option("--search-home", is_flag=True, help="Look for credentials around the gate in the usual places.")
@click.option(
    "--recordings", is_flag=True, help="On the gate's machine: how recordings are kept, and whether they are."
)
@click.option("--namespace", default="", metavar="NS", help="The roads around the gate that pods of a namespace have.")
@click.option("--pod", default="", metavar="NS/NAME", help="The same for one pod.")
@click.option("--cluster", default="", metavar="NAME", help="For --namespace and --pod: in which cluster.")
@click.option(
    "--operator-kubeconfig", type=_FILE, metavar="FILE",
    help="For --namespace and --pod: look with this one, not with the gate's account.",
)  # fmt: skip
@click.option(
    "--try", "tries", is_flag=True, help="Try what --search-home finds; run credential plugins; exec into --pod."
)
@click.option("--gate", default="", envvar="NARROWGATE_GATE", metavar="URL", help="The gate's control port.")
@click.option(
    "--certificate-authority", type=_FILE, envvar="NARROWGATE_CERTIFICATE_AUTHORITY", metavar="FILE",
    help="The gate's CA, where it is not known here.",
)  # fmt: skip
@config_option
@output_option
def doctor(output: str, **options: Any) -> int:
    """Try whether anybody holds access between tasks, and whether there is a road around the gate.

    With --namespace or --pod it looks at objects of a cluster: tokens, rights, credentials, network, nodes.

    It makes a few reads with each credential (version, namespaces, pods, names of secrets) and expects them to be
    refused. Exit code 0: no finding; 1: a finding, or something that was asked for could not be tried.
    """
    asked = _Asked(**options)
    credential = _credential(asked)
    in_cluster = asked.namespace or asked.pod
    if not (asked.kubeconfigs or credential or asked.agent or asked.search_home or asked.recordings or in_cluster):
        raise click.UsageError(
            "say what to try: --kubeconfig FILE, --credential-file FILE, --agent, --search-home, --recordings, "
            "--namespace or --pod"
        )
    if (asked.cluster or asked.operator_kubeconfig) and not in_cluster:
        raise click.UsageError("--cluster and --operator-kubeconfig go with --namespace or --pod")
    if asked.tries and not (asked.search_home or asked.kubeconfigs or (asked.pod and asked.operator_kubeconfig)):
        raise click.UsageError(
            "--try goes with --search-home, with a kubeconfig that has a credential plugin, or with --pod and "
            "--operator-kubeconfig"
        )
    lines: list[Line] = []
    for looked in _checks(asked, credential):
        # The gate's API and its store may say the same of one agent.
        lines += [line for line in looked.lines if line not in lines]
    if output == "json":
        write_json({"well": is_well(lines), "checks": lines})
    else:
        rows = [(line.check, line.outcome.value, line.where, line.found) for line in lines]
        write_table(("CHECK", "RESULT", "WHERE", "FOUND"), rows, "there was nothing to look at")
        for to_do in dict.fromkeys(line.to_do for line in lines if line.to_do):
            note(f"to do: {to_do}")
    return failure.DONE if is_well(lines) else failure.REFUSED


def _checks(asked: _Asked, credential: str) -> Iterator[Looked]:
    """All checks in their order, each said to begin: one that waits for a server takes seconds."""
    config = local_config(asked.config)
    gate, trouble = _gate(asked, config)
    if trouble:
        note(f"the gate cannot be asked why something is open: {trouble}")
    for way in _ways(asked, credential, gate):
        note(f"trying {way.name} at {plain(way.server)}")
        looked = resting(way, gate, runs_plugins=asked.tries)
        yield looked
        if config is not None and looked.tries is not None and _is_at(config, way):
            yield _in_record(config, way, looked)
    if asked.agent:
        note(f"looking at what stands for agent {plain(asked.agent)}")
        yield _by_rules(asked, config)
    if asked.recordings:
        note("looking at how recordings are kept")
        yield _kept_recordings(config)
    if asked.namespace or asked.pod:
        yield from _in_cluster(asked, config, gate)
    if asked.search_home:
        from narrowgate.cli.doctor_search import searched

        note("looking for credentials in the usual places")
        yield from searched(gate, os.environ, tries=asked.tries)


def _ways(asked: _Asked, credential: str, gate: KnownGate | None) -> Iterator[Way]:
    for path in asked.kubeconfigs:
        try:
            ways = ways_in(path)
        except FileNotFoundError:
            raise Failed("no such file", str(path), "name a kubeconfig") from None
        except CannotUse as error:
            raise Failed(str(error), str(path), "name a kubeconfig") from None
        if not ways:
            raise Failed("has no context", str(path), "name a kubeconfig that opens something")
        yield from ways
    if credential:
        yield _way_of_credential(asked, credential, gate)


def _way_of_credential(asked: _Asked, credential: str, gate: KnownGate | None) -> Way:
    if gate is None:
        raise Failed("it is not known where the credential is for", "", "name the gate with --gate URL")
    host, port = gate.hosts[0]
    named = asked.credential_file or f"${VARIABLE}"
    return Way(
        file=str(named),
        context="",
        server=f"https://{host}:{port}",
        host=host,
        port=port,
        authority=gate.authority.encode(),
        proof=credential,
    )


def _credential(asked: _Asked) -> str:
    """An agent's own, where one is at hand and no kubeconfig says otherwise."""
    if asked.credential_file is not None:
        return read_credential(str(asked.credential_file), "")[0]
    variable = os.environ.get(VARIABLE, "")
    return read_credential("", variable)[0] if variable and not asked.kubeconfigs else ""


def _gate(asked: _Asked, config: Config | None) -> tuple[KnownGate | None, str]:
    """The gate, as far as one is known here, or why it cannot be asked."""
    known = None if config is None else _host_of(kubernetes_url(config))
    try:
        url = gate_to_sign_in(asked.gate, asked.config)
    except Failed:
        return None, ""
    try:
        authority = authority_of(url, file=asked.certificate_authority, fingerprint="", config=asked.config)
        port = GatePort(url, authority)
        host = _host_of(read_metadata(port).kubernetes_url)
    except (Failed, Unusable) as error:
        if known is None:
            return None, str(error)
        # What it is called is known all the same: its tries are still told from those around it.
        return KnownGate(GatePort(url, ""), (known,), ""), str(error)
    return KnownGate(port, (host,) if known is None else (host, known), authority), ""


def _host_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 443


def _is_at(config: Config, way: Way) -> bool:
    return _host_of(kubernetes_url(config)) == (way.host, way.port)


def _in_record(config: Config, way: Way, looked: Looked) -> Looked:
    from narrowgate.cli.doctor_record import recorded
    from narrowgate.trail.index_file import IndexUnusable

    assert looked.tries is not None, "the caller has seen to it"
    try:
        return Looked(tuple(recorded(config.data_dir / "trail", way.name, looked.tries)))
    except (IndexUnusable, OSError) as error:
        line = Line(check="recorded", where=way.name, outcome=Outcome.NOT_TRIED, found=plain(error), counts=False)
        return Looked((line,))


def _kept_recordings(config: Config | None) -> Looked:
    from narrowgate.cli.doctor_recordings import kept_recordings

    if config is None:
        raise Failed(
            "no gate is configured here", "--recordings", "run it on the gate's machine, or give --config FILE"
        )
    return Looked(tuple(kept_recordings(config, time.time())))


def _in_cluster(asked: _Asked, config: Config | None, gate: KnownGate | None) -> Iterator[Looked]:
    from narrowgate.cli.doctor_namespace import around_namespace, place_of
    from narrowgate.cli.doctor_within import within

    hosts = () if gate is None else gate.hosts
    place = place_of(config, asked.cluster, asked.operator_kubeconfig, hosts)
    wanted = [(asked.namespace, "")] if asked.namespace else []
    if asked.pod:
        namespace, _, name = asked.pod.partition("/")
        if not namespace or not name:
            raise click.BadParameter("write NAMESPACE/NAME", param_hint="--pod")
        wanted.append((namespace, name))
    for namespace, pod in wanted:
        note(f"looking at {'pod ' + namespace + '/' + pod if pod else 'namespace ' + namespace}")
        yield Looked(tuple(around_namespace(place, namespace, pod)))
        if pod and asked.tries and asked.operator_kubeconfig:
            note(f"trying what {namespace}/{pod} reaches, from within")
            yield Looked((within(place.access, asked.operator_kubeconfig, namespace, pod),))


def _by_rules(asked: _Asked, config: Config | None) -> Looked:
    from narrowgate.cli.doctor_rules import held_by_agent

    if config is None:
        raise Failed("no gate is configured here", "--agent", "run it on the gate's machine, or give --kubeconfig FILE")
    tried = bool(asked.kubeconfigs or asked.credential_file or os.environ.get(VARIABLE))
    return Looked(tuple(held_by_agent(config, asked.agent, time.time(), was_tried=tried)))
