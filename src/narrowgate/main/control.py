"""The control process of the gate: sign-in, the gate's own API, pages. It shares files with the data plane, no more.

A process of its own, because it may be comfortable: what it waits for, or breaks on, must not delay a request to a
cluster.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl

from starlette.types import ASGIApp

from narrowgate.authenticators.access_credential import AccessSigner, Port
from narrowgate.authenticators.port import Answer, Authenticator, Presented, Unavailable
from narrowgate.config import Config, control_url, kubernetes_url, recording_keys, recording_store, saml_key
from narrowgate.control.app import ControlParts, Current, control_app
from narrowgate.control.issuing import AccessIssuer
from narrowgate.control.notifications.receivers import SlackReceiver
from narrowgate.control.notifications.telling import tell_receivers
from narrowgate.control.problems import Problem, Trouble
from narrowgate.control.recorder import Recorder
from narrowgate.control.serving import ServerLimits, serve_app
from narrowgate.control.settings import ControlSettings
from narrowgate.core.rulebook import Rulebook
from narrowgate.keys import Keys
from narrowgate.main.approval_ends import ApprovalEnds
from narrowgate.main.clusters import connected
from narrowgate.main.identification import Identification
from narrowgate.main.lineage import lineage_of, placed_clusters
from narrowgate.main.loading import Loading
from narrowgate.main.recordings import RecordingRetention
from narrowgate.main.retention import Retention
from narrowgate.main.search_index import SearchIndex
from narrowgate.main.task_ends import TaskEnds
from narrowgate.main.text_filling import text_filling
from narrowgate.main.text_following import TextFollowing
from narrowgate.main.trails import open_trail
from narrowgate.main.workload_ends import WorkloadEnds
from narrowgate.proxy.deletion import Deletion
from narrowgate.proxy.lineage_watch import LineageWatch
from narrowgate.proxy.listener import server_context
from narrowgate.proxy.state import State, StateStale
from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.store.open import open_store

MOST_CONNECTIONS = 512
"""Browsers, commands and plugins at one time; each asks rarely and briefly."""

GOODBYE_SECONDS = 3
"""Calls under way when the gate stops get this long: they are short."""

log = logging.getLogger("narrowgate.control")


class ControlProcess:
    """Serves the control port. Made inside its event loop; `run` serves until it is told to stop."""

    def __init__(self, config: Config, keys: Keys, bound: socket.socket) -> None:
        self._config = config
        self._keys = keys
        self._bound = bound
        self._store = open_store(config.store, config.data_dir)
        self._clusters = connected(config, keys)
        self._identification = Identification(
            config.authentication, keys, Port.CONTROL, self._clusters.by_name, longest_chain=config.longest_chain
        )
        self._loading = Loading(self._store, self._identification, needs_policies=False)
        lineage = lineage_of(self._store, config.authentication, self._clusters.by_name)
        placed = placed_clusters(config.authentication, self._clusters.by_name)
        self._watches = [LineageWatch(cluster, lineage, self._store.lineage) for cluster in placed.values()]
        self._state = State({})
        self._recordings = recording_store(config)
        self._retention = RecordingRetention(self._recordings, config.recordings_kept, recording_keys(config))
        self._texts = TextFollowing(text_filling(config))
        self._context = server_context(str(keys.certificate_path), str(keys.key_path), keys.serving_passphrase)

    async def run(self, parent_lives: int) -> None:
        """Serve until SIGTERM or SIGINT, or until `parent_lives` (a pipe's end) tells that the data plane is gone."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

        def orphaned() -> None:
            loop.remove_reader(parent_lives)
            stop.set()

        loop.add_reader(parent_lives, orphaned)
        trail = open_trail(self._config, self._keys, "control-0")
        try:
            app = control_app(self._parts(trail))
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(trail.run()),
                    tasks.create_task(self._state.follow(self._loading.stamp, self._loading.load)),
                    tasks.create_task(self._identification.follow()),
                    tasks.create_task(TaskEnds(self._store).follow()),
                    tasks.create_task(ApprovalEnds(self._store).follow()),
                    tasks.create_task(WorkloadEnds(self._store, self._clusters.by_name, Deletion(trail)).follow()),
                    tasks.create_task(SearchIndex(self._config.data_dir / "trail").follow()),
                    tasks.create_task(self._texts.follow()),
                    tasks.create_task(Retention(self._store, self._config.tasks_kept).follow()),
                    tasks.create_task(self._retention.follow()),
                    tasks.create_task(tell_receivers(self._store, self._config.receivers, control_url(self._config))),
                    *(tasks.create_task(watch.cluster.follow_discovery()) for watch in self._watches),
                    *(tasks.create_task(watch.follow()) for watch in self._watches),
                    *(tasks.create_task(token.follow()) for token in self._clusters.own_tokens.values()),
                    tasks.create_task(self._serve(app)),
                ]
                await stop.wait()
                for task in running:
                    task.cancel()
        finally:
            await trail.close()
            self._store.close()

    async def _serve(self, app: ASGIApp) -> None:
        limits = ServerLimits(connections=MOST_CONNECTIONS, goodbye=GOODBYE_SECONDS)
        host, port = self._config.listen.control
        log.info("serving sign-in and the API on https://%s:%d", host, port)
        await serve_app(app, self._bound, limits, self._context)

    def _parts(self, trail: TrailWriter) -> ControlParts:
        config, settings = self._config, self._settings()
        return ControlParts(
            settings=settings,
            store=self._store,
            issuer=AccessIssuer(AccessSigner(self._keys.access_key), settings),
            recorder=Recorder(trail),
            current=Current(
                authenticator=self._authenticator,
                agents=lambda: self._loading.agents,
                rulebook=self._rulebook,
            ),
            verifiers=self._identification.verifiers,
            saml=config.authentication.saml,
            saml_key=saml_key(config),
            bindings=config.roles,
            trail=config.data_dir / "trail",
            recordings=self._recordings,
            modes={cluster.name: cluster.mode for cluster in config.clusters},
            slack=[receiver for receiver in config.receivers if isinstance(receiver, SlackReceiver)],
        )

    def _authenticator(self) -> Authenticator:
        """The one of the current snapshot; while nobody knows what is current, one that vouches for nobody."""
        try:
            return self._state.current(asyncio.get_running_loop().time()).authenticator
        except StateStale as error:
            return Silent(str(error))

    def _rulebook(self) -> Rulebook:
        """What is in force. Raises Problem while nobody knows."""
        try:
            return self._state.current(asyncio.get_running_loop().time()).rulebook
        except StateStale as error:
            raise Problem(Trouble.UNAVAILABLE, str(error)) from None

    def _settings(self) -> ControlSettings:
        config = self._config
        return ControlSettings(
            url=control_url(config),
            kubernetes_url=kubernetes_url(config),
            ca_pem=self._keys.ca_pem.decode("ascii"),
            clusters=tuple(cluster.name for cluster in config.clusters),
            sign_in_seconds=config.authentication.sign_in.lifetime,
            access_seconds=config.authentication.sign_in.access_lifetime,
            remembered=frozenset(placed_clusters(config.authentication, self._clusters.by_name)),
            longest_chain=config.longest_chain,
        )

    def _reload(self) -> None:
        """SIGHUP: the serving certificate again."""
        files = str(self._keys.certificate_path), str(self._keys.key_path), self._keys.serving_passphrase
        try:
            server_context(*files)
            self._context.load_cert_chain(files[0], files[1], lambda: files[2])
            log.info("reloaded the serving certificate")
        except (OSError, ValueError, ssl.SSLError) as error:
            log.error("the serving certificate was not reloaded: %s", error)


class Silent:
    """An authenticator for the time when nobody knows who may still come."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def authenticate(self, presented: Presented, now: float) -> Answer:  # noqa: ARG002 (whoever it is)
        """See the port."""
        return Unavailable(self._reason)
