"""One process of the gate: its event loop, and everything that lives on it."""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence

import prometheus_client
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from narrowgate.authenticators.access_credential import Port
from narrowgate.config import Config, ReadLevel, SessionLevel
from narrowgate.control.health import serve_health
from narrowgate.core.body_levels import BodyLevels
from narrowgate.core.policy import Policy
from narrowgate.core.recording import Kind
from narrowgate.keys import Keys
from narrowgate.main.boot_check import refuse_wide_accounts
from narrowgate.main.clusters import connected
from narrowgate.main.identification import Identification
from narrowgate.main.lineage import lineage_of, lineage_writes, placing_rights
from narrowgate.main.loading import Loading
from narrowgate.main.policy_folder import PolicyFolder
from narrowgate.main.recordings import open_recorder
from narrowgate.main.shared_denied_requests import write_down
from narrowgate.main.shared_rule_uses import SharedRuleUses
from narrowgate.main.shared_sightings import share
from narrowgate.main.told_receivers import ToldReceivers
from narrowgate.main.trails import open_trail
from narrowgate.proxy.client import ClientLimits
from narrowgate.proxy.denied_requests import DeniedRequests
from narrowgate.proxy.forward import Forwarder
from narrowgate.proxy.kept_bodies import KeptBodies
from narrowgate.proxy.listener import Listener, ask_for_certificates, server_context
from narrowgate.proxy.masking import Masking
from narrowgate.proxy.pipeline import Keeps, Pipeline
from narrowgate.proxy.recordings import Recorder
from narrowgate.proxy.running import RunningRequests
from narrowgate.proxy.sessions import Ports, Sessions
from narrowgate.proxy.sightings import Sightings
from narrowgate.proxy.state import State, StateStale
from narrowgate.proxy.task_limits import Counting
from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.proxy.waiting import Waiting
from narrowgate.store.open import open_store
from narrowgate.store.port import Store

FIRST_LOOK_SECONDS = 5.0
"""How long starting waits for a cluster's discovery, and the values of its Secrets where they are masked, before it
serves anyway (that cluster's requests are refused)."""

GC_THRESHOLD = 20_000
"""Objects between two looks of the youngest collector generation: requests make few cycles, and 700 means a pause every
few requests."""

_PORTS = {
    SessionLevel.NONE: Ports.NOTHING,
    SessionLevel.METADATA: Ports.COUNTED,
    SessionLevel.REQUEST_RESPONSE: Ports.KEPT,
}

log = logging.getLogger("narrowgate")


class Worker:
    """A gate process. Made inside its event loop; `run` serves until it is told to stop."""

    def __init__(self, config: Config, keys: Keys, bound: socket.socket, number: int) -> None:
        self._config = config
        self._keys = keys
        self._bound = bound
        self._number = number
        self._store: Store = open_store(config.store, config.data_dir)
        clusters = connected(config, keys)
        self._clusters = clusters.by_name
        self._own_tokens = clusters.own_tokens
        self._known_secrets = clusters.known_secrets
        self._state = State(clusters.served)
        self._folder = PolicyFolder(config, self._store)
        self._told = ToldReceivers(self._store, [receiver.name for receiver in config.receivers])
        lineage = lineage_of(self._store, config.authentication, self._clusters)
        self._identification = Identification(
            config.authentication, keys, Port.KUBERNETES, self._clusters, lineage, config.longest_chain
        )
        self._loading = Loading(self._store, self._identification, also=lineage.hear)
        self._running = RunningRequests(self._state)
        self._trail: TrailWriter
        self._recorder: Recorder | None = None
        self._listener: Listener
        self._sightings: Sightings
        self._denied: DeniedRequests
        self._waiting: Waiting
        self._rule_uses: SharedRuleUses
        self._counting: Counting
        self._name = f"gate-{number}-{secrets.token_hex(8)}"
        """This process's own, as the others know it, and never another one's."""
        self._context = server_context(str(keys.certificate_path), str(keys.key_path), keys.serving_passphrase)
        if rules := config.authentication.client_certificates:
            ask_for_certificates(self._context, "\n".join(rule.certificate_authority for rule in rules))
        self.on_reload: list[Callable[[], None]] = []
        """Called on SIGHUP as well."""

    async def run(self, others_live: int) -> None:
        """Serve until SIGTERM or SIGINT, then drain. Raises what makes starting impossible.

        `others_live` is the end of a pipe that can be read when the other processes of this gate are gone.
        """
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

        def alone() -> None:
            loop.remove_reader(others_live)
            stop.set()

        loop.add_reader(others_live, alone)
        if self._number == 0:
            self._folder.load_first()
        self._trail = open_trail(self._config, self._keys, f"gate-{self._number}")
        try:
            self._recorder = self._open_recorder()
            try:
                await self._serve_until(stop)
            finally:
                if self._recorder is not None:
                    await self._recorder.close()
        finally:
            # Whatever ended it: the last notes are written and the head is sealed.
            await self._trail.close()
            self._store.close()

    def _open_recorder(self) -> Recorder | None:
        """What records sessions; None where none are to be recorded."""
        audit = self._config.audit
        sorts = (audit.sessions, audit.port_forwards, audit.logs, audit.watches)
        if all(level is SessionLevel.NONE for level in sorts) and not BodyLevels(audit.bodies).keep_some:
            return None
        return open_recorder(self._config, f"gate-{self._number}", self._trail.note_recording)

    async def _serve_until(self, stop: asyncio.Event) -> None:
        self._listener = self._make_listener()
        async with asyncio.TaskGroup() as connections, asyncio.TaskGroup() as followers:
            tasks = [followers.create_task(cluster.follow_discovery()) for cluster in self._clusters.values()]
            tasks += [followers.create_task(token.follow()) for token in self._own_tokens.values()]
            tasks += [followers.create_task(known.follow()) for known in self._known_secrets.values()]
            tasks.append(followers.create_task(self._state.follow(self._loading.stamp, self._loading.load)))
            await self._first_look()
            accounts = self._config.authentication.service_accounts
            placing = placing_rights(self._config.authentication, self._policies())
            await refuse_wide_accounts(self._clusters.values(), accounts.reviewing if accounts else (), placing)
            tasks.append(followers.create_task(self._identification.follow()))
            tasks.append(followers.create_task(self._trail.run()))
            tasks.append(followers.create_task(self._running.watch_over()))
            if self._recorder is not None:
                tasks.append(followers.create_task(self._recorder.run()))
            tasks.append(followers.create_task(write_down(self._denied, self._store)))
            tasks.append(followers.create_task(self._rule_uses.follow()))
            tasks.append(followers.create_task(self._counting.follow()))
            tasks.append(followers.create_task(self._listener.sweep()))
            if self._config.workers > 1:
                tasks.append(followers.create_task(share(self._sightings, self._store, self._name)))
            if self._number == 0:
                tasks.append(followers.create_task(self._folder.follow()))
                tasks.append(followers.create_task(self._told.follow()))
                tasks.append(followers.create_task(self._serve_health()))
            _settle_memory()
            await self._listener.start(self._bound, self._context, connections)
            host, port = self._config.listen.kubernetes
            log.info("serving %s on https://%s:%d", ", ".join(self._clusters) or "no cluster", host, port)
            await stop.wait()
            log.info("stopping: running requests get %.0f s", self._config.limits.drain_timeout)
            await self._drain()
            await self._counting.settle()
            for task in tasks:
                task.cancel()

    def _make_listener(self) -> Listener:
        limits = self._config.limits
        of_clients = ClientLimits(
            head_seconds=limits.header_timeout,
            body_seconds=limits.body_timeout,
            idle_seconds=limits.idle_timeout,
            head_bytes=limits.header_bytes,
            headers=limits.header_count,
            body_bytes=limits.body_bytes,
        )
        keeps_reads = self._config.audit.reads is not ReadLevel.NONE
        self._waiting = Waiting(self._state, self._store, self._config.hold)
        self._counting = Counting(self._store.task_limits, self._name)
        audit = self._config.audit
        sessions = Sessions(
            self._recorder,
            channels=audit.sessions is not SessionLevel.NONE,
            ports=_PORTS[audit.port_forwards],
            bodies=frozenset(
                kind
                for kind, level in ((Kind.LOG, audit.logs), (Kind.WATCH, audit.watches))
                if level is not SessionLevel.NONE
            ),
        )
        masking = Masking(self._keys.mask_key, self._known_secrets)
        levels = BodyLevels(audit.bodies)
        bodies = KeptBodies(levels, masking, self._trail, self._recorder) if audit.bodies else None
        pipeline = Pipeline(
            self._state,
            self._trail,
            Forwarder(
                self._running,
                masking,
                sessions,
                lineage_writes(self._store, self._config.authentication, self._clusters),
            ),
            self._waiting,
            self._counting,
            keeps=Keeps(keeps_reads, bodies),
        )
        self._sightings = pipeline.sightings
        self._denied = pipeline.denied
        self._rule_uses = SharedRuleUses(pipeline.rule_uses, self._store)
        return Listener(pipeline.serve, pipeline.refuse_head, of_clients, limits.connections)

    async def _first_look(self) -> None:
        """Wait until there is something to judge by, and a moment for the clusters."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + FIRST_LOOK_SECONDS
        while loop.time() < give_up:
            clusters = all(cluster.discovery is not None for cluster in self._clusters.values())
            if self._state.number and clusters and not any(known.trouble for known in self._known_secrets.values()):
                return
            await asyncio.sleep(0.01)

    def _policies(self) -> Sequence[Policy]:
        """Those in force; none while nobody knows."""
        try:
            return self._state.current(asyncio.get_running_loop().time()).rulebook.policies
        except StateStale:
            return ()

    async def _drain(self) -> None:
        """Long-running requests never end by themselves: they are told at once; the others may finish."""
        self._listener.stop_accepting()
        self._running.end_long("the gate is stopping; connect again")
        self._waiting.stop()
        await self._listener.drain(self._config.limits.drain_timeout)
        await self._rule_uses.tell()

    def _reload(self) -> None:
        """SIGHUP: the serving certificate again; policies are followed anyway, clusters need a restart."""
        for also in self.on_reload:
            also()
        files = str(self._keys.certificate_path), str(self._keys.key_path), self._keys.serving_passphrase
        try:
            # In a context of its own first: a pair that does not match would leave the one in use without a key.
            server_context(*files)
            self._context.load_cert_chain(files[0], files[1], lambda: files[2])
            log.info("reloaded the serving certificate")
        except (OSError, ValueError) as error:
            log.error("the serving certificate was not reloaded: %s", error)

    # --- health

    async def _serve_health(self) -> None:
        registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=registry)
        gauge = prometheus_client.Gauge("narrowgate_running_requests", "Requests being answered.", registry=registry)
        gauge.set_function(lambda: len(self._running))
        gauge = prometheus_client.Gauge("narrowgate_client_connections", "Open client connections.", registry=registry)
        gauge.set_function(lambda: len(self._listener))
        registry.register(_Noticed(self._sightings))
        registry.register(self._told)
        host, port = self._config.listen.health
        await serve_health(host, port, self._readiness, registry)

    def _readiness(self) -> Mapping[str, str | None]:
        conditions: dict[str, str | None] = {
            "requests": None if self._listener.is_serving else "no connections are taken: the gate starts or stops",
            "trail": self._trail.problem() or None,
            "store": self._state.trouble or None,
            "policies": self._folder.trouble or None,
        }
        if self._recorder is not None:
            conditions["recordings"] = self._recorder.problem() or None
        for name, cluster in self._clusters.items():
            conditions[f"cluster {name}"] = cluster.problem or None
        for name, known in self._known_secrets.items():
            conditions[f"known values {name}"] = known.trouble or None
        return conditions


class _Noticed(Collector):
    """A counter that is kept where it counts."""

    def __init__(self, sightings: Sightings) -> None:
        self._sightings = sightings

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What Prometheus asks for."""
        told = "Requests that revealed a credential in two places, or a person's with an agent."
        yield CounterMetricFamily("narrowgate_noticed", told, value=self._sightings.noticed)


def _settle_memory() -> None:
    """What was made while starting stays: keep the collector from walking it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
