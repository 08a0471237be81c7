"""Who is believed by a process of the gate: what outlives a snapshot, and the authenticator of each snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from narrowgate.authenticators.access_credential import Port
from narrowgate.authenticators.access_credentials import LONGEST_LIFE, AccessCredentials, Genuine
from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.bearer_and_certificate import BearerAndCertificate
from narrowgate.authenticators.certificate_names import CertificateNames
from narrowgate.authenticators.client_certificates import ClientCertificates
from narrowgate.authenticators.first_match import FirstMatch
from narrowgate.authenticators.issuer_keys import IssuerKeys
from narrowgate.authenticators.jwt_issuers import JWTIssuers
from narrowgate.authenticators.placed_workloads import Authors, Lineage, PlacedWorkloads
from narrowgate.authenticators.port import Authenticator
from narrowgate.authenticators.service_accounts import ServiceAccounts
from narrowgate.authenticators.task_credentials import TaskCredentials
from narrowgate.authenticators.token_verifier import TokenVerifier
from narrowgate.config import Authentication
from narrowgate.core.agent import AgentRecord
from narrowgate.core.delegated_task import USUAL_CHAIN
from narrowgate.core.tasks import Task
from narrowgate.keys import Keys
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.token_reviews import TokenReviews
from narrowgate.store.port import Store
from narrowgate.store.presence import people_present


class Identification:
    """One per process. What is slow to find out (a signature, an issuer's keys) is remembered here across snapshots."""

    def __init__(
        self,
        rules: Authentication,
        keys: Keys,
        port: Port,
        clusters: Mapping[str, Cluster],
        placing: Lineage | None = None,
        longest_chain: int = USUAL_CHAIN,
    ) -> None:
        """`clusters` by name, for whose ServiceAccounts their API servers vouch; by `placing` their pods speak for
        whoever had them made. Chains have `longest_chain` members at most. Made within the event loop.
        """
        self._longest_chain = longest_chain
        self._port = port
        self._placing = placing
        self._genuine = Genuine(keys.access_key.public_key())
        self.verifiers = tuple(TokenVerifier(issuer, IssuerKeys(issuer)) for issuer in rules.jwt)
        """What verifies the tokens of each configured issuer."""
        self._certificates = CertificateNames(rules.client_certificates) if rules.client_certificates else None
        accounts = rules.service_accounts
        self._accounts = (
            ServiceAccounts(accounts, {name: TokenReviews(clusters[name]) for name in accounts.clusters})
            if accounts
            else None
        )

    def load(self, store: Store, tasks: Sequence[Task], now: float) -> tuple[Authenticator, tuple[AgentRecord, ...]]:
        """The authenticator for what the store says at `now`, and the agents it knows; `tasks` are the active ones.

        Raises StoreUnavailable.
        """
        agents = store.agents()
        ended = store.sign_ins.ended_since(now - LONGEST_LIFE)
        present = people_present(store.sign_ins, tasks, now)
        bearers = FirstMatch(
            self._in_order(agents, ended, TaskCredentials(tasks, agents, present, self._longest_chain))
        )
        if self._certificates is None:
            return bearers, agents
        return BearerAndCertificate(bearers, ClientCertificates(self._certificates, agents)), agents

    def _in_order(
        self, agents: Sequence[AgentRecord], ended: Collection[str], at_work: TaskCredentials
    ) -> list[Authenticator]:
        """Most used first: each one that has to say that it is not asked costs a little."""
        found: list[Authenticator] = [
            AgentCredentials.of(agents),
            # A task's credential opens the cluster it is for; the gate's own API is asked with standing ones.
            *((at_work,) if self._port is Port.KUBERNETES else ()),
            # A pod may have exchanged its token for one of these, and speaks for the same as before.
            self._placed(AccessCredentials(self._genuine, self._port, ended, agents), at_work, agents),
        ]
        if self.verifiers:
            # Before ServiceAccounts: it knows a token of theirs again by one look-up, they read others' every time.
            found.append(JWTIssuers(self.verifiers, agents))
        if self._accounts is not None:
            found.append(self._placed(self._accounts, at_work, agents))
        return found

    def _placed(
        self, knows_workloads: Authenticator, at_work: TaskCredentials, agents: Sequence[AgentRecord]
    ) -> Authenticator:
        """The same, its workloads speaking for whoever had their pods made, where pods are placed."""
        if self._placing is None:
            return knows_workloads
        return PlacedWorkloads(knows_workloads, self._placing, Authors(at_work, agents), self._longest_chain)

    async def follow(self) -> None:
        """Keep issuers' keys fresh for as long as the process runs."""
        async with asyncio.TaskGroup() as tasks:
            for verifier in self.verifiers:
                tasks.create_task(verifier.keys.follow())
