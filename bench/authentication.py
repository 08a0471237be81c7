"""`python -m bench.authentication`: what it costs to know a credential again, and what many of them take.

Processor time of one `authenticate` with a credential that was presented before, for each way to prove an identity: by
itself, and at its place among all of them as a gate asks them. Then the memory that distinct tokens take, past the
number that is remembered: it must not go on growing. No network takes part, and nothing else is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.oidc_issuer import Issuer, verifier_of
from tests.told_cluster import ENDS_AT, MADE_AT, ToldCluster

from narrowgate.authenticators.access_credential import AccessClaims, AccessSigner, Port
from narrowgate.authenticators.access_credentials import AccessCredentials, Genuine
from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.credential import new_credential
from narrowgate.authenticators.first_match import FirstMatch
from narrowgate.authenticators.jwt_issuers import JWTIssuers
from narrowgate.authenticators.port import Authenticator, Presented
from narrowgate.authenticators.service_account_rules import ServiceAccountRules
from narrowgate.authenticators.service_accounts import ServiceAccounts
from narrowgate.authenticators.token_verifier import MOST_REMEMBERED, TokenVerifier
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind

NOW = (MADE_AT + ENDS_AT) / 2
LIMIT = 10.0
"""Microseconds of processor time for a known credential: what is promised."""

AGENTS = 1_000
CALLS = 20_000
ROUNDS = 5
"""The least of them counts: what is beside it on the machine only ever adds."""

TOKENS = 10_000
GROUPS = 12
"""Of each person, with names as long as those of a directory."""

MOST_GROWTH = 0.1
"""Of what the first ten thousand tokens took: so much may the third ten thousand add, as allocators do."""


class Way(NamedTuple):
    """One way to prove an identity."""

    name: str
    authenticator: Authenticator
    presented: Presented


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when everything is within its limit, 1 when something is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=CALLS, help="calls in one round")
    options = parser.parse_args(arguments)
    return asyncio.run(_run(options.calls))


async def _run(calls: int) -> int:
    ways, verifier, issuer = _ways()
    # One object may stand for two ways: JWT issuers of people and of CI jobs are asked at once.
    together = FirstMatch(list(dict.fromkeys(way.authenticator for way in ways)))
    fine = True
    print(f"known credential, CPU µs for each call (least of {ROUNDS} rounds of {calls:,})")
    print(f"  {'':26}{'alone':>8}{'among all':>12}")
    for way in ways:
        alone = await _microseconds(way.authenticator, way.presented, calls)
        in_place = await _microseconds(together, way.presented, calls)
        fine &= in_place <= LIMIT
        print(f"  {way.name:26}{alone:8.2f}{in_place:12.2f}{'' if in_place <= LIMIT else '   over the limit'}")
    fine &= await _memory(verifier, issuer)
    return 0 if fine else 1


def _ways() -> tuple[list[Way], TokenVerifier, Issuer]:
    """All of them, in the order in which a gate asks; with them the people's issuer and its verifier."""
    credential = new_credential()
    agents = [_agent(f"agent-{number}", secrets.token_bytes(32)) for number in range(AGENTS)]
    agents.append(_agent("ci-bot", credential.hash))
    groups = [f"corp:department-{number:04}-engineers" for number in range(GROUPS)]

    key = Ed25519PrivateKey.generate()
    access = AccessClaims(
        id="signin", port=Port.KUBERNETES, kind=Kind.PERSON, name="corp:alice@corp.example", groups=tuple(groups),
        proven_by="oidc:corp", cluster="prod", issued_at=NOW - 1, expires_at=ENDS_AT,
    )  # fmt: skip

    people, ci = Issuer(), Issuer()
    verifier = verifier_of(people)
    jobs = verifier_of(ci, subject=Kind.AGENT, groups=None)
    issuers = JWTIssuers([verifier, jobs], agents)

    cluster = ToldCluster()
    accounts = ServiceAccounts(ServiceAccountRules(clusters=("prod",)), {"prod": cluster})
    ways = [
        Way("agent credential", AgentCredentials.of(agents), Presented(credential.text)),
        Way(
            "access credential",
            AccessCredentials(Genuine(key.public_key()), Port.KUBERNETES, (), agents),
            Presented(AccessSigner(key).sign(access)),
        ),
        Way("JWT, person", issuers, Presented(people.token(exp=ENDS_AT, groups=groups))),
        Way("JWT, CI job", issuers, Presented(ci.token(exp=ENDS_AT, sub="ci-bot", groups=groups))),
        Way("ServiceAccount token", accounts, Presented(cluster.token())),
    ]
    return ways, verifier, people


def _agent(name: str, credential_hash: bytes) -> AgentRecord:
    return AgentRecord(
        name=name, owner="group:sre", purpose="bench", cluster="prod", credential_id=name,
        credential_hash=credential_hash, created_at=0.0, expires_at=ENDS_AT, groups=("bots",),
    )  # fmt: skip


async def _microseconds(authenticator: Authenticator, presented: Presented, calls: int) -> float:
    """Processor time of one call, once the credential is known."""
    answer = await authenticator.authenticate(presented, NOW)
    if not isinstance(answer, Identity):
        raise SystemExit(f"error: the credential is not good, so that nothing is measured: {answer}")
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(calls):
            await authenticator.authenticate(presented, NOW)
        least = min(least, time.process_time() - began)
    return least / calls * 1e6


async def _memory(verifier: TokenVerifier, issuer: Issuer) -> bool:
    """Whether the memory of many tokens stays within a bound; says what they take."""
    groups = [f"corp:department-{number:04}-engineers" for number in range(GROUPS)]
    authenticator = JWTIssuers([verifier], [])
    print(f"\n{TOKENS:,} distinct tokens of people in {GROUPS} groups, and as many again, twice")
    grown: list[float] = []
    for part in range(3):
        before = _resident()
        for number in range(TOKENS):
            token = issuer.token(exp=ENDS_AT, sub=f"person-{part}-{number}", groups=groups)
            if not isinstance(await authenticator.authenticate(Presented(token), NOW), Identity):
                raise SystemExit("error: a token is not good, so that nothing is measured")
        gc.collect()
        grown.append(_resident() - before)
        each = f"{grown[0] / TOKENS * 1024:.1f} KiB each" if part == 0 else f"{len(verifier):,} remembered"
        print(f"  {(part + 1) * TOKENS:7,} tokens: resident memory grew by {grown[-1]:6.1f} MiB ({each})")
    bounded = len(verifier) <= MOST_REMEMBERED and grown[2] <= max(1.0, grown[0] * MOST_GROWTH)
    print("  bounded" if bounded else "  NOT bounded")
    return bounded


def _resident() -> float:
    """MiB of this process in memory (proc_pid_statm(5))."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
